/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_core.c
 *		The relay without its host: what is sent, answered, sent again.
 *
 * The window is a ring of events in the order of push.  An event is READY
 * (to be sent), SENT (an answer will come), DONE (acknowledged) or REFUSED
 * (the host has to bury it; it counts as done for the lane's position only
 * when the host has fetched it).  The cursor is the next event to look at for
 * sending; what it passed over, as that has to wait for the answer to another,
 * it comes back to with the next answer.  Each event holds a copy of its data
 * until it leaves the window, so that it can be sent again without asking the
 * host.
 *
 * Recovery is what broker.h prescribes: purge, wait for the answers, a new
 * producer, and then everything that is not done once more, in order.
 */
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "relay_core.h"
#include "relay_later.h"

#define MAX_REPORTS		512
#define MAX_TOPICS		1024
#define TOPIC_OPAQUE	(UINT64_C(1) << 63)
#define TOPIC_TRIES		3		/* then the records themselves have to tell */
#define TOPIC_WAIT_MS	1000
#define DRAIN_MS		1000
#define RESTART_MS		2000
#define STALL_MS		10000	/* no progress for so long is a failure */
#define ERROR_LEN		256
#define ROOM_SPARE		64		/* bytes, for the next event to fit as well */
#define ROOM_KEPT		2048	/* bytes that stay with a place of the window */

typedef enum EntryState
{
	ENTRY_READY,
	ENTRY_SENT,
	ENTRY_DONE,
	ENTRY_REFUSED
} EntryState;

typedef struct Entry
{
	EntryState	state;
	int			lane;
	int64_t		next_pos;
	int64_t		next_in_lane;	/* ring index, -1: last of its lane */
	bool		passed;			/* by its lane: the place is free */
	SnRecordEvent event;
	char	   *data;			/* all strings of the event; stays with the
								 * place */
	size_t		room;			/* of data */
	size_t		bytes;
	bool		refused;
	char	   *error;			/* why; NULL when there was no memory for it */
} Entry;

typedef struct Topic
{
	char		name[SN_RECORD_MAX_TOPIC + 1];
	bool		ready;
	bool		asked;
	bool		unsure;			/* ready because nobody would say */
	int			tries;
	int64_t		ask_at;			/* not before this time */
} Topic;

typedef struct Lane
{
	int64_t		first;			/* ring index of the oldest event, -1: none */
	int64_t		last;
	int64_t		pos;			/* passed */
	bool		moved;			/* since the host asked last */
} Lane;

/* A redriven event that was acknowledged */
typedef struct Redriven
{
	int			lane;
	char		event_id[37];
} Redriven;

struct SnRelayCore
{
	SnRelayCoreConfig config;
	SnBroker   *broker;
	SnRecordMaker *maker;
	SnBreaker	breaker;
	Entry	   *ring;
	int64_t		head;			/* oldest event; indexes only rise */
	int64_t		tail;			/* next to push */
	int64_t		cursor;			/* next to send */
	Lane	   *lanes;
	size_t		bytes;
	int			inflight;
	int			refused_waiting;	/* REFUSED, not fetched by the host */
	Redriven	redriven[SN_MAX_REDRIVEN];	/* not fetched by the host */
	int			nredriven;
	bool		recover;		/* a new producer is needed */
	bool		isolate;		/* the one running sends one by one */
	bool		want_isolate;
	Topic	   *topics;
	int			ntopics;
	SnLater		later;			/* keys of what the cursor passed over */
	Topic	   *last_topic;		/* found last */
	uint64_t	seen_failures;
	int64_t		stalled_at;		/* last time a stall was counted */
	SnRelayCoreStats stats;
	char		last_error[ERROR_LEN];
};

static Entry *
entry_at(const SnRelayCore *core, int64_t index)
{
	return &core->ring[index % core->config.max_events];
}

static void
note_error(SnRelayCore *core, const char *error)
{
	core->stats.errors++;
	strncpy(core->last_error, error ? error : "unknown error", ERROR_LEN - 1);
}

/* sn_relay_core_open: NULL and a message in err when it cannot be */
SnRelayCore *
sn_relay_core_open(const SnRelayCoreConfig *config, char *err, size_t err_len)
{
	SnRelayCore *core = calloc(1, sizeof(SnRelayCore));
	int			i;

	if (core == NULL)
		return NULL;
	core->config = *config;
	core->ring = calloc(config->max_events, sizeof(Entry));
	core->lanes = calloc(config->lanes, sizeof(Lane));
	core->topics = calloc(MAX_TOPICS, sizeof(Topic));
	if (core->ring == NULL || core->lanes == NULL || core->topics == NULL)
	{
		strncpy(err, "out of memory", err_len);
		sn_relay_core_close(core, 0);
		return NULL;
	}
	for (i = 0; i < config->lanes; i++)
		core->lanes[i].first = core->lanes[i].last = -1;
	sn_breaker_init(&core->breaker, config->breaker_failures,
					config->breaker_open_ms);
	core->maker = sn_record_open(config->format, config->topic_template,
								 config->database, config->occurred_timestamp,
								 err, err_len);
	if (core->maker != NULL)
		core->broker = config->provider->open(&config->broker, err, err_len);
	if (core->broker == NULL)
	{
		sn_relay_core_close(core, 0);
		return NULL;
	}
	return core;
}

/* drop_entry: forget an event; small memory stays with the place */
static void
drop_entry(SnRelayCore *core, Entry *entry)
{
	core->bytes -= entry->bytes;
	if (entry->room > ROOM_KEPT)
	{
		free(entry->data);
		entry->data = NULL;
		entry->room = 0;
	}
	free(entry->error);
	entry->error = NULL;
	entry->state = ENTRY_DONE;
	entry->passed = true;
}

/* sn_relay_core_close: frees everything; what is outstanding is given up */
void
sn_relay_core_close(SnRelayCore *core, int timeout_ms)
{
	int			i;

	if (core == NULL)
		return;
	if (core->broker != NULL)
		core->config.provider->close(core->broker, timeout_ms);
	if (core->maker != NULL)
		sn_record_close(core->maker);
	for (i = 0; core->ring != NULL && i < core->config.max_events; i++)
	{
		free(core->ring[i].data);
		free(core->ring[i].error);
	}
	free(core->ring);
	free(core->lanes);
	free(core->topics);
	free(core);
}

/* sn_relay_core_room: events that may be pushed now */
int
sn_relay_core_room(const SnRelayCore *core)
{
	if (core->want_isolate || core->isolate ||
		core->bytes >= core->config.max_bytes)
		return 0;
	return core->config.max_events - (int) (core->tail - core->head);
}

/* copy_string: append a string to the event's data */
static const char *
copy_string(char **at, const char *s)
{
	char	   *start = *at;
	size_t		len;

	if (s == NULL)
		return NULL;
	len = strlen(s) + 1;
	memcpy(start, s, len);
	*at += len;
	return start;
}

static size_t
string_size(const char *s)
{
	return s == NULL ? 0 : strlen(s) + 1;
}

/*
 * make_room: memory for an event's strings.  That of the event before it in
 * the place is used again: most events of a database are of like size.
 */
static char *
make_room(Entry *entry, size_t size)
{
	if (size <= entry->room)
		return entry->data;
	size += ROOM_SPARE;
	free(entry->data);
	entry->data = malloc(size);
	entry->room = entry->data == NULL ? 0 : size;
	return entry->data;
}

/* copy_block: an event whose strings are one piece of memory */
static bool
copy_block(Entry *entry, const SnRecordEvent *e)
{
	SnRecordEvent *copy = &entry->event;
	const char **strings[] = {
		&copy->event_id, &copy->event_type, &copy->tenant_id,
		&copy->aggregate_type, &copy->aggregate_id, &copy->correlation_id,
		&copy->causation_id, &copy->traceparent, &copy->tracestate,
		&copy->payload
	};
	char	   *data = make_room(entry, e->block_len);
	size_t		i;

	if (data == NULL)
		return false;
	memcpy(data, e->block, e->block_len);
	entry->bytes = e->block_len + sizeof(Entry);
	*copy = *e;
	copy->block = data;
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (*strings[i] != NULL)
			*strings[i] = data + (*strings[i] - e->block);
	return true;
}

/* copy_event: an event that owns its strings */
static bool
copy_event(Entry *entry, const SnRecordEvent *e)
{
	size_t		size = string_size(e->event_id) + string_size(e->event_type) +
	string_size(e->tenant_id) + string_size(e->aggregate_type) +
	string_size(e->aggregate_id) + string_size(e->correlation_id) +
	string_size(e->causation_id) + string_size(e->traceparent) +
	string_size(e->tracestate) + e->payload_len + 1;
	char	   *at = make_room(entry, size);

	if (at == NULL)
		return false;
	entry->bytes = size + sizeof(Entry);
	entry->event = *e;
	entry->event.event_id = copy_string(&at, e->event_id);
	entry->event.event_type = copy_string(&at, e->event_type);
	entry->event.tenant_id = copy_string(&at, e->tenant_id);
	entry->event.aggregate_type = copy_string(&at, e->aggregate_type);
	entry->event.aggregate_id = copy_string(&at, e->aggregate_id);
	entry->event.correlation_id = copy_string(&at, e->correlation_id);
	entry->event.causation_id = copy_string(&at, e->causation_id);
	entry->event.traceparent = copy_string(&at, e->traceparent);
	entry->event.tracestate = copy_string(&at, e->tracestate);
	memcpy(at, e->payload, e->payload_len);
	at[e->payload_len] = '\0';
	entry->event.payload = at;
	return true;
}

/*
 * sn_relay_core_push: take the next event of a lane; next_pos is the lane's
 * position behind it, or SN_REDRIVEN, of which there may be SN_MAX_REDRIVEN at
 * a time.  False: no room, or no memory.
 */
bool
sn_relay_core_push(SnRelayCore *core, int lane, int64_t next_pos,
				   const SnRecordEvent *event)
{
	Lane	   *l = &core->lanes[lane];
	Entry	   *entry = entry_at(core, core->tail);

	if (core->tail - core->head >= core->config.max_events)
		return false;
	entry->error = NULL;
	if (event->block != NULL ? !copy_block(entry, event) :
		!copy_event(entry, event))
		return false;
	entry->state = ENTRY_READY;
	entry->passed = false;
	entry->lane = lane;
	entry->next_pos = next_pos;
	entry->next_in_lane = -1;
	entry->event.opaque = core->tail;
	core->bytes += entry->bytes;
	if (l->last >= 0)
		entry_at(core, l->last)->next_in_lane = core->tail;
	else
		l->first = core->tail;
	l->last = core->tail;
	core->tail++;
	return true;
}

/* note_redriven: the host has to know that a redriven event arrived */
static void
note_redriven(SnRelayCore *core, const Entry *entry)
{
	Redriven   *r = &core->redriven[core->nredriven++];

	r->lane = entry->lane;
	memcpy(r->event_id, entry->event.event_id, 36);
	r->event_id[36] = '\0';
}

/* pass: move a lane behind its leading events that are done */
static void
pass(SnRelayCore *core, Lane *lane)
{
	while (lane->first >= 0)
	{
		Entry	   *entry = entry_at(core, lane->first);
		int64_t		next = entry->next_in_lane;

		if (entry->state != ENTRY_DONE)
			break;
		if (entry->next_pos >= 0)
		{
			lane->pos = entry->next_pos;
			lane->moved = true;
		}
		else if (!entry->refused)
			note_redriven(core, entry);
		drop_entry(core, entry);
		core->stats.passed++;
		lane->first = next;
		if (next < 0)
			lane->last = -1;
	}
	while (core->head < core->tail &&
		   entry_at(core, core->head)->passed)
		core->head++;
	if (core->cursor < core->head)
		core->cursor = core->head;
}

/* refuse: the broker will never take this event */
static void
refuse(SnRelayCore *core, Entry *entry, const char *error)
{
	entry->state = ENTRY_REFUSED;
	entry->refused = true;
	entry->error = strdup(error ? error : "refused by the broker");
	core->refused_waiting++;
	core->stats.refused++;
	note_error(core, error);
}

/* find_topic: the state of a topic, made at first sight; NULL: table full */
static Topic *
find_topic(SnRelayCore *core, const char *name)
{
	int			i;

	if (core->last_topic != NULL && strcmp(core->last_topic->name, name) == 0)
		return core->last_topic;
	for (i = 0; i < core->ntopics; i++)
		if (strcmp(core->topics[i].name, name) == 0)
			return core->last_topic = &core->topics[i];
	if (core->ntopics == MAX_TOPICS)
		return NULL;
	strncpy(core->topics[core->ntopics].name, name, SN_RECORD_MAX_TOPIC);
	return core->last_topic = &core->topics[core->ntopics++];
}

/*
 * topic_ready: whether records may go to a topic; asks for it if need be.  A
 * topic beyond the table is left to the broker's own creation.
 */
static bool
topic_ready(SnRelayCore *core, const char *name, int64_t now_ms)
{
	Topic	   *topic;
	char		err[ERROR_LEN];

	if (core->config.topic_partitions == 0)
		return true;
	topic = find_topic(core, name);
	if (topic == NULL || topic->ready)
		return true;
	if (topic->asked || now_ms < topic->ask_at)
		return false;
	if (topic->tries++ >= TOPIC_TRIES)
	{
		topic->ready = topic->unsure = true;
		return true;
	}
	topic->asked = core->config.provider->create_topic(core->broker, name,
													   core->config.topic_partitions,
													   core->config.topic_replication,
													   TOPIC_OPAQUE | (topic - core->topics),
													   err, sizeof(err));
	if (!topic->asked)
	{
		note_error(core, err);
		topic->ask_at = now_ms + TOPIC_WAIT_MS;
	}
	return false;
}

/*
 * send_one: send the event at the cursor, or pass over it when it has to wait
 * for the answer to another; false when sending has to pause.
 */
static bool
send_one(SnRelayCore *core, Entry *entry, int64_t now_ms)
{
	SnRecord	record;
	char		err[ERROR_LEN];

	if (!sn_record_make(core->maker, &entry->event, &record, err, sizeof(err)))
	{
		refuse(core, entry, err);
		return true;
	}
	if (sn_later_has(&core->later, &record))
		return true;
	if (!topic_ready(core, record.topic, now_ms))
		return false;
	switch (core->config.provider->send(core->broker, &record, err,
										sizeof(err)))
	{
		case SN_SEND_OK:
			entry->state = ENTRY_SENT;
			core->inflight++;
			core->stats.sent++;
			return true;
		case SN_SEND_REFUSED:
		case SN_SEND_NO_TOPIC:
			refuse(core, entry, err);
			return true;
		case SN_SEND_LATER:
			sn_later_add(&core->later, &record, now_ms);
			return true;
		case SN_SEND_STOPPED:
			note_error(core, err);
			core->recover = true;
			return false;
		default:
			return false;
	}
}

/* send_ready: send what is ready, as far as breaker and broker let it */
static void
send_ready(SnRelayCore *core, int64_t now_ms)
{
	while (core->cursor < core->tail && !core->recover)
	{
		Entry	   *entry = entry_at(core, core->cursor);
		bool		trial = core->breaker.state != SN_BREAKER_CLOSED;

		if (entry->state == ENTRY_READY)
		{
			bool		goes_on;

			if (trial && !sn_breaker_allow(&core->breaker, now_ms))
				break;
			goes_on = send_one(core, entry, now_ms);
			/* an event that cannot be sent tells nothing of the broker */
			if (trial && entry->state != ENTRY_SENT)
				sn_breaker_untried(&core->breaker, now_ms);
			if (!goes_on)
				break;
		}
		core->cursor++;
		if (trial && entry->state == ENTRY_SENT)
			break;
	}
}

/*
 * forget_unsure: ask anew for the topics that nobody could be asked for; says
 * whether there are any.
 */
static bool
forget_unsure(SnRelayCore *core)
{
	bool		found = false;
	int			t;

	for (t = 0; t < core->ntopics; t++)
	{
		Topic	   *topic = &core->topics[t];

		if (!topic->unsure)
			continue;
		topic->ready = topic->unsure = false;
		topic->tries = 0;
		found = true;
	}
	return found;
}

/* topic_report: the answer to create_topic() */
static void
topic_report(SnRelayCore *core, const SnBrokerReport *report, int64_t now_ms)
{
	Topic	   *topic = &core->topics[report->opaque & ~TOPIC_OPAQUE];

	topic->asked = false;
	if (report->status == SN_REPORT_OK || report->status == SN_REPORT_REFUSED)
	{
		sn_breaker_success(&core->breaker); /* the broker has answered */
		topic->ready = true;
	}
	else
		topic->ask_at = now_ms + TOPIC_WAIT_MS;
	if (report->status != SN_REPORT_OK)
		note_error(core, report->error);
}

/* record_report: the answer to send() */
static void
record_report(SnRelayCore *core, const SnBrokerReport *report)
{
	Entry	   *entry = entry_at(core, (int64_t) report->opaque);

	if ((int64_t) report->opaque < core->head || entry->state != ENTRY_SENT)
		return;
	core->inflight--;
	if (report->status == SN_REPORT_OK ||
		report->status == SN_REPORT_REFUSED ||
		report->status == SN_REPORT_NO_TOPIC)
		sn_breaker_success(&core->breaker); /* it answers: it is well */
	switch (report->status)
	{
		case SN_REPORT_OK:
			entry->state = ENTRY_DONE;
			core->stats.acked++;
			SN_FAULT(relay_ack);
			pass(core, &core->lanes[entry->lane]);
			break;
		case SN_REPORT_NO_TOPIC:
		case SN_REPORT_REFUSED:
			if (report->alone || report->status == SN_REPORT_NO_TOPIC)
			{
				refuse(core, entry, report->error);
				core->want_isolate = false;
				core->recover |= core->isolate;
				break;
			}
			core->want_isolate = true;
			/* FALLTHROUGH */
		default:
			entry->state = ENTRY_READY;
			if (report->status != SN_REPORT_RETRY)
				note_error(core, report->error);
			core->recover = !SN_BUG(resend);
			core->cursor = SN_BUG(resend) ? core->head : core->cursor;
			break;
	}
}

/* take_reports: treat what the broker answered; true if there was any */
static bool
take_reports(SnRelayCore *core, int timeout_ms, int64_t now_ms)
{
	SnBrokerReport reports[MAX_REPORTS];
	bool		any = false;
	int			n;

	do
	{
		int			i;

		n = core->config.provider->poll(core->broker, timeout_ms, reports,
										MAX_REPORTS);
		for (i = 0; i < n; i++)
		{
			if (reports[i].kind == SN_REPORT_TOPIC)
				topic_report(core, &reports[i], now_ms);
			else
				record_report(core, &reports[i]);
		}
		any |= n > 0;
		timeout_ms = 0;
	} while (n == MAX_REPORTS);
	if (any && sn_later_forget(&core->later))
		core->cursor = core->head;
	return any;
}

/* drain: wait until everything sent has its answer, for a while */
static void
drain(SnRelayCore *core, int64_t now_ms)
{
	int			i;

	for (i = 0; i < DRAIN_MS / 50 && core->inflight > 0; i++)
		(void) take_reports(core, 50, now_ms);
}

/* check_health: feed the breaker; a stopped producer has to be replaced */
static void
check_health(SnRelayCore *core, int64_t now_ms)
{
	SnBrokerHealth health;
	bool		anew = false;

	core->config.provider->health(core->broker, &health);
	if (health.stopped)
		core->recover = true;
	for (; core->seen_failures < health.failures; core->seen_failures++)
	{
		note_error(core, health.last_error);
		anew |= sn_breaker_failure(&core->breaker, now_ms);
	}
	if (health.stalled_ms > STALL_MS && now_ms - core->stalled_at > STALL_MS)
	{
		note_error(core, "broker does not answer");
		core->stalled_at = now_ms;
		anew |= sn_breaker_failure(&core->breaker, now_ms);
		/* it may be a topic that is not there, as it could not be made */
		anew |= forget_unsure(core);
	}
	if (anew)
		core->recover = true;
}

/* recover: a new producer, and everything that is not done once more */
static void
recover(SnRelayCore *core, int64_t now_ms)
{
	const SnBrokerProvider *provider = core->config.provider;
	char		err[ERROR_LEN];
	int64_t		i;
	int			t;

	provider->purge(core->broker, false);
	drain(core, now_ms);
	provider->purge(core->broker, true);
	drain(core, now_ms);
	if (!provider->restart(core->broker, core->want_isolate, RESTART_MS, err,
						   sizeof(err)))
	{
		note_error(core, err);
		(void) sn_breaker_failure(&core->breaker, now_ms);
		return;
	}
	core->isolate = core->want_isolate;
	core->recover = false;
	if (core->config.broker.log != NULL)
		core->config.broker.log(core->config.broker.log_arg, 7, "START",
								"a new producer sends what is not done");
	for (i = core->head; i < core->tail; i++)
		if (entry_at(core, i)->state == ENTRY_SENT)
			entry_at(core, i)->state = ENTRY_READY;
	for (t = 0; t < core->ntopics; t++)
		core->topics[t].asked = false;
	core->inflight = 0;
	(void) sn_later_forget(&core->later);
	core->cursor = core->head;
}

/* all_done: nothing in the window waits for the broker */
static bool
all_done(const SnRelayCore *core)
{
	int64_t		i;

	for (i = core->head; i < core->tail; i++)
		if (entry_at(core, i)->state == ENTRY_READY ||
			entry_at(core, i)->state == ENTRY_SENT)
			return false;
	return true;
}

/*
 * sn_relay_core_turn: treat the answers, replace a broken producer, send what
 * can be sent.  Returns the milliseconds after which another turn is due even
 * if nothing happens, -1 for "no need".
 */
int64_t
sn_relay_core_turn(SnRelayCore *core, int64_t now_ms)
{
	bool		waiting;

	(void) take_reports(core, 0, now_ms);
	check_health(core, now_ms);
	if (core->isolate && !core->recover && all_done(core))
	{
		core->want_isolate = false;
		core->recover = true;
	}
	if (core->recover)
		recover(core, now_ms);
	if (core->later.any && now_ms - core->later.since >= SN_LATER_MS)
	{
		(void) sn_later_forget(&core->later);
		core->cursor = core->head;
	}
	if (!core->recover)
		send_ready(core, now_ms);
	waiting = core->later.any;
	(void) take_reports(core, 0, now_ms);
	if (core->recover)
		return 100;
	if (waiting && !core->later.any)
		return 0;				/* what was passed over may go now */
	if (core->breaker.state != SN_BREAKER_CLOSED)
	{
		int64_t		wait = sn_breaker_wait(&core->breaker, now_ms);

		/* when one could be tried, it waits for the answer about its topic */
		return wait > 0 ? wait + 1 : 10;
	}
	if (core->cursor < core->tail)
		return 10;
	return core->later.any ? SN_LATER_MS : core->inflight > 0 ? 1000 : -1;
}

/*
 * sn_relay_core_settle: for a host that is about to close: nothing more is
 * sent, and what was sent gets its answer if that comes soon.
 */
void
sn_relay_core_settle(SnRelayCore *core, int64_t now_ms)
{
	core->config.provider->purge(core->broker, false);
	drain(core, now_ms);
}

/*
 * sn_relay_core_waits: whether answers are all there is to wait for.  They
 * free the window and are noted, but nothing is held up until they are taken.
 */
bool
sn_relay_core_waits(const SnRelayCore *core)
{
	return core->inflight > 0 && core->cursor == core->tail &&
		!core->later.any &&
		!core->recover && !core->isolate && !core->want_isolate &&
		core->breaker.state == SN_BREAKER_CLOSED;
}

/* sn_relay_core_has_news: redriven or refused events wait to be fetched */
bool
sn_relay_core_has_news(const SnRelayCore *core)
{
	return core->nredriven > 0 || core->refused_waiting > 0;
}

/* sn_relay_core_wake_fd: readable when a turn has answers to treat */
int
sn_relay_core_wake_fd(const SnRelayCore *core)
{
	return core->config.provider->wake_fd(core->broker);
}

/*
 * sn_relay_core_progress: where a lane is, if it moved since the last call;
 * otherwise *pos is left as it is.
 */
bool
sn_relay_core_progress(SnRelayCore *core, int lane, int64_t *pos)
{
	Lane	   *l = &core->lanes[lane];

	if (!l->moved)
		return false;
	*pos = SN_BUG(mark_before_ack) && l->last >= 0 ?
		entry_at(core, l->last)->next_pos : l->pos;
	l->moved = false;
	return true;
}

/* sn_relay_core_redriven: the next redriven event that was acknowledged */
bool
sn_relay_core_redriven(SnRelayCore *core, int *lane, char event_id[37])
{
	Redriven   *r;

	if (core->nredriven == 0)
		return false;
	r = &core->redriven[--core->nredriven];
	*lane = r->lane;
	memcpy(event_id, r->event_id, 37);
	return true;
}

/*
 * sn_relay_core_refused: the next event that has to be buried.  The host
 * stores it in the transaction that stores the positions; from this call on
 * the event counts as done.
 */
bool
sn_relay_core_refused(SnRelayCore *core, SnRefused *refused)
{
	static char error[ERROR_LEN];
	int64_t		i;

	if (core->refused_waiting == 0)
		return false;
	for (i = core->head; i < core->tail; i++)
	{
		Entry	   *entry = entry_at(core, i);

		if (entry->state != ENTRY_REFUSED)
			continue;
		refused->lane = entry->lane;
		refused->redriven = entry->next_pos < 0;
		strncpy(refused->event_id, entry->event.event_id, 36);
		refused->event_id[36] = '\0';
		strncpy(error, entry->error ? entry->error : "", ERROR_LEN - 1);
		refused->error = error;
		core->refused_waiting--;
		entry->state = ENTRY_DONE;
		pass(core, &core->lanes[entry->lane]);
		return true;
	}
	return false;
}

/* sn_relay_core_stats: figures for the statistics views */
void
sn_relay_core_stats(const SnRelayCore *core, SnRelayCoreStats *stats)
{
	*stats = core->stats;
	stats->window = (int) (core->tail - core->head);
	stats->inflight = core->inflight;
	stats->breaker = core->breaker.state;
	stats->last_error = core->last_error;
}
