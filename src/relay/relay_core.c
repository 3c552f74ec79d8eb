/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_core.c
 *		The relay without its host: what is sent, answered, sent again.
 *
 * The window (relay_window.c) has the events in the order of push.  Sending
 * (relay_send.c) goes along it with a cursor, and passes over events whose
 * topic may not be written (relay_topic.c, relay_hold.c).  What it passed over
 * as that has to wait for the answer to another (relay_later.h), it comes back
 * to with the next answer (relay_answer.c).
 *
 * Recovery is what broker.h prescribes: purge, wait for the answers, a new
 * producer, and then everything that is not done once more, in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/relay_state.h"

#define RESTART_MS		2000
#define STALL_MS		10000	/* no progress for so long is a failure */

/* sn_relay_core_open: NULL and a message in err when it cannot be */
SnRelayCore *
sn_relay_core_open(const SnRelayCoreConfig *config, char *err, size_t err_len)
{
	SnRelayCore *core;

	if (config->tail > 0 && config->provider->tail == NULL)
	{
		snprintf(err, err_len, "option \"dedupe\" is for relays to Kafka");
		return NULL;
	}
	core = calloc(1, sizeof(SnRelayCore));
	if (core == NULL)
		return NULL;
	core->config = *config;
	sn_tail_again(&core->tail);
	if (!sn_window_open(&core->window, config->lanes, config->max_events,
						SN_MAX_PARKED) ||
		!sn_topics_open(&core->topics))
	{
		strncpy(err, "out of memory", err_len);
		sn_relay_core_close(core, 0);
		return NULL;
	}
	sn_breaker_init(&core->breaker, config->breaker_failures,
					config->breaker_open_ms);
	sn_rate_init(&core->events, config->events_per_second);
	sn_rate_init(&core->bytes, config->bytes_per_second);
	core->maker = sn_record_open(&config->record, err, err_len);
	if (core->maker != NULL)
		core->broker = config->provider->open(&config->broker, err, err_len);
	if (core->broker == NULL)
	{
		sn_relay_core_close(core, 0);
		return NULL;
	}
	return core;
}

/* sn_relay_core_close: frees everything; what is outstanding is given up */
void
sn_relay_core_close(SnRelayCore *core, int timeout_ms)
{
	if (core == NULL)
		return;
	if (core->broker != NULL)
		core->config.provider->close(core->broker, timeout_ms);
	if (core->maker != NULL)
		sn_record_close(core->maker);
	sn_window_close(&core->window);
	sn_topics_close(&core->topics);
	sn_tail_free(&core->tail);
	free(core);
}

/* sn_relay_core_room: events of lanes that may be pushed now */
int
sn_relay_core_room(const SnRelayCore *core)
{
	if (core->want_isolate || core->isolate ||
		core->window.bytes >= core->config.max_bytes)
		return 0;
	return core->config.max_events - core->window.used;
}

/*
 * sn_relay_core_push: take the next event of a lane; next_pos is the lane's
 * position behind it.  With an error no record can be made of it.  One that is
 * not to be sent is done at once.  False: no room, or no memory.
 */
bool
sn_relay_core_push(SnRelayCore *core, int lane, int64_t next_pos,
				   const SnRecordEvent *event, const char *error)
{
	SnWindowEntry *entry = sn_window_push(&core->window, lane, next_pos - 1,
										  false, event);

	if (entry == NULL)
		return false;
	if (!sn_record_wanted(core->maker, event))
	{
		entry->state = SN_ENTRY_DONE;
		sn_core_pass(core, entry);
	}
	else if (error != NULL)
		sn_core_refuse(core, entry, error);
	return true;
}

/* check_health: feed the breaker; a stopped producer has to be replaced */
static void
check_health(SnRelayCore *core, int64_t now_ms)
{
	SnBrokerHealth health;
	char		stall[SN_ERROR_TEXT];
	bool		anew = false;

	core->config.provider->health(core->broker, &health);
	if (health.stopped)
		core->recover = true;
	for (; core->seen_failures < health.failures; core->seen_failures++)
	{
		sn_core_note_error(core, health.last_error);
		anew |= sn_breaker_failure(&core->breaker, now_ms);
	}
	if (health.stalled_ms > STALL_MS && now_ms - core->stalled_at > STALL_MS &&
		core->inflight > sn_core_trials(core))
	{
		snprintf(stall, sizeof(stall), "broker does not answer%s%s",
				 health.trouble[0] != '\0' ? ": " : "", health.trouble);
		sn_core_note_error(core, stall);
		core->stalled_at = now_ms;
		anew |= sn_breaker_failure(&core->breaker, now_ms);
	}
	if (anew)
		core->recover = true;
}

/*
 * send_again: with a new producer everything that has no answer is to be sent
 * once more; what the host has parked it can give again.
 */
static void
send_again(SnRelayCore *core, int64_t now_ms)
{
	SnWindowEntry *entry = core->window.head;

	while (entry != NULL)
	{
		SnWindowEntry *next = entry->next;

		if (entry->state == SN_ENTRY_SENT)
		{
			entry->state = SN_ENTRY_READY;
			entry->topic->sent--;
		}
		if (entry->state == SN_ENTRY_READY && entry->labelled &&
			entry->topic->state == SN_TOPIC_WAITING)
			sn_core_release(core, entry);
		entry = next;
	}
	sn_core_forget_requests(core, now_ms);
	sn_tail_again(&core->tail);
	core->inflight = 0;
	(void) sn_later_forget(&core->later);
	core->window.cursor = core->window.head;
}

/*
 * recover_producer: a new producer, and everything that is not done once more
 */
static void
recover_producer(SnRelayCore *core, int64_t now_ms)
{
	const SnBrokerProvider *provider = core->config.provider;
	char		err[SN_ERROR_TEXT];

	provider->purge(core->broker, false);
	sn_core_drain(core, now_ms);
	provider->purge(core->broker, true);
	sn_core_drain(core, now_ms);
	if (!provider->restart(core->broker, core->want_isolate, RESTART_MS, err,
						   sizeof(err)))
	{
		sn_core_note_error(core, err);
		(void) sn_breaker_failure(&core->breaker, now_ms);
		return;
	}
	core->isolate = core->want_isolate;
	core->recover = false;
	if (core->config.broker.log != NULL)
		core->config.broker.log(core->config.broker.log_arg, 7, "START",
								"a new producer sends what is not done");
	send_again(core, now_ms);
}

/* all_done: nothing in the window waits for the broker, but held topics */
static bool
all_done(const SnRelayCore *core)
{
	const SnWindowEntry *entry;

	for (entry = core->window.head; entry != NULL; entry = entry->next)
		if (entry->state == SN_ENTRY_SENT ||
			(entry->state == SN_ENTRY_READY &&
			 (entry->topic == NULL || !entry->topic->held)))
			return false;
	return true;
}

/* next_relay_turn: when the events on their way need another turn, or -1 */
static int64_t
next_relay_turn(SnRelayCore *core, int64_t now_ms)
{
	if (core->window.cursor != NULL)
	{
		int64_t		limited = sn_core_limited(core, now_ms);

		return limited > 10 ? limited : 10;
	}
	if (core->later.any)
		return SN_LATER_MS;
	return core->inflight > 0 ? 1000 : -1;
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
	int64_t		wait;
	int64_t		topic;

	sn_core_take_reports(core, now_ms);
	check_health(core, now_ms);
	if (core->isolate && !core->recover && all_done(core))
	{
		core->want_isolate = false;
		core->recover = true;
	}
	sn_core_work_topics(core, now_ms);
	if (core->recover)
		recover_producer(core, now_ms);
	if (core->later.any && now_ms - core->later.since >= SN_LATER_MS)
	{
		(void) sn_later_forget(&core->later);
		core->window.cursor = core->window.head;
	}
	if (!core->recover)
		sn_core_send(core, now_ms);
	waiting = core->later.any;
	sn_core_take_reports(core, now_ms);
	if (core->recover)
		return 100;
	if (waiting && !core->later.any)
		return 0;				/* what was passed over may go now */
	if (core->breaker.state != SN_BREAKER_CLOSED)
	{
		wait = sn_breaker_wait(&core->breaker, now_ms);
		/* when one could be tried, it waits for the answer about its topic */
		return wait > 0 ? wait + 1 : 10;
	}
	wait = next_relay_turn(core, now_ms);
	topic = sn_core_next_topic(core, now_ms);
	return topic < 0 || (wait >= 0 && wait < topic) ? wait : topic;
}

/*
 * sn_relay_core_settle: for a host that is about to close: nothing more is
 * sent, and what was sent gets its answer if that comes soon.
 */
void
sn_relay_core_settle(SnRelayCore *core, int64_t now_ms)
{
	core->config.provider->purge(core->broker, false);
	sn_core_drain(core, now_ms);
}

/*
 * sn_relay_core_waits: whether answers are all there is to wait for.  They
 * free the window and are noted, but nothing is held up until they are taken.
 */
bool
sn_relay_core_waits(const SnRelayCore *core)
{
	return core->inflight > sn_core_trials(core) &&
		core->window.cursor == NULL && !core->later.any &&
		!core->recover && !core->isolate && !core->want_isolate &&
		core->breaker.state == SN_BREAKER_CLOSED;
}

/* sn_relay_core_wake_fd: readable when a turn has answers to treat */
int
sn_relay_core_wake_fd(const SnRelayCore *core)
{
	return core->config.provider->wake_fd(core->broker);
}

/* sn_relay_core_stats: figures for the statistics views */
void
sn_relay_core_stats(const SnRelayCore *core, SnRelayCoreStats *stats)
{
	*stats = core->stats;
	stats->window = core->window.used + core->window.nparked;
	stats->inflight = core->inflight;
	stats->held = core->topics.nheld;
	stats->breaker = core->breaker.state;
	stats->last_error = core->last_error;
}
