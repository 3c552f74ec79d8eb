/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_hold.c
 *		Topics that cannot be written now: asking for them, holding their
 *		events, and having the host park and give back what is held.
 *
 * Events of a topic that may not be sent stay READY and are passed over; the
 * window's cursor goes back to the start when the topic's state changes, so
 * that they are sent in their order then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/relay_state.h"

#define DENIED_MS		3000	/* a topic whose creation was denied is held
								 * when it has taken nothing for so long */
#define ASK_MORE_MS		1000	/* without an answer about a topic; then many are
								 * asked for at a time, else one */
#define MAX_ASKED		64		/* topics at a time */
#define TURN_MS			500		/* a topic that waits its turn to be asked for
								 * is held after that, when the window is full */
#define ANSWERS_MS		1000	/* the broker is well: it answered about topics */
#define OTHERS_MS		5000	/* the broker is well: it took others' records */
#define TRIAL_MS		40000	/* the client needs up to 30 s to say that a
								 * topic is unknown */

/* tell_host: the host says that a topic is held, or no longer, unless it has */
static void
tell_host(SnRelayCore *core, SnTopic *topic)
{
	if (topic->told == topic->held)
		return;
	topic->told = topic->held;
	if (core->config.topic_changed != NULL)
		core->config.topic_changed(topic->name, topic->held ?
								   topic->error ? topic->error : "" : NULL);
}

/* rewind_cursor: look at everything again, as more may be sent now */
static void
rewind_cursor(SnRelayCore *core)
{
	core->window.cursor = core->window.head;
}

/* topic_is_ready: a topic takes records, and nothing has to go before them */
static void
topic_is_ready(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	sn_topic_ready(&core->topics, topic, now_ms);
	tell_host(core, topic);
	rewind_cursor(core);
}

/*
 * sn_core_release: a parked event cannot be sent now.  The host has it, but
 * does not know its topic yet if it came without a label.
 */
void
sn_core_release(SnRelayCore *core, SnWindowEntry *entry)
{
	if (entry->labelled)
	{
		sn_core_leave_topic(entry);
		sn_window_drop(&core->window, entry);
		return;
	}
	entry->state = SN_ENTRY_HELD;
	sn_window_tell(&core->window, entry);
}

/* release_all: the parked events of a topic that wait to be sent */
static void
release_all(SnRelayCore *core, const SnTopic *topic)
{
	SnWindowEntry *entry = core->window.head;

	while (entry != NULL)
	{
		SnWindowEntry *next = entry->next;

		if (entry->topic == topic && entry->parked &&
			entry->state == SN_ENTRY_READY)
			sn_core_release(core, entry);
		entry = next;
	}
}

/* set_aside: the events of a topic are parked from now on */
static void
set_aside(SnRelayCore *core, SnTopic *topic, const char *error, int64_t now_ms)
{
	sn_topic_hold(&core->topics, topic, error, now_ms);
	if (topic->nparked > 0)
		release_all(core, topic);
}

/* sn_core_hold: a topic cannot be written */
void
sn_core_hold(SnRelayCore *core, SnTopic *topic, const char *error,
			 int64_t now_ms)
{
	set_aside(core, topic, error, now_ms);
	tell_host(core, topic);
}

/* sn_core_topic_taken: the broker took a record of a topic */
void
sn_core_topic_taken(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	topic->answered_at = now_ms;
	topic->others = core->stats.acked;
	if (topic->state != SN_TOPIC_TRIAL)
		return;
	if (!topic->parked)
	{
		topic_is_ready(core, topic, now_ms);
		return;
	}
	topic->state = SN_TOPIC_DRAINING;
	topic->exhausted = false;
	rewind_cursor(core);
}

/* sn_core_topic_report: the answer to create_topic() */
void
sn_core_topic_report(SnRelayCore *core, const SnBrokerReport *report,
					 int64_t now_ms)
{
	SnTopic    *topic = core->topics.all[(uint32_t) report->opaque];
	bool		held = topic->held;

	core->nasked -= topic->state == SN_TOPIC_ASKED;
	if (report->status == SN_REPORT_OK || report->status == SN_REPORT_REFUSED)
		core->asked_at = core->answered_at = now_ms;
	if (report->status != SN_REPORT_OK)
		sn_core_note_error(core, report->error);
	if (report->status == SN_REPORT_OK || report->status == SN_REPORT_REFUSED)
		sn_breaker_success(&core->breaker);	/* the broker has answered */
	if (sn_topic_answered(&core->topics, topic,
						  report->status == SN_REPORT_OK,
						  report->status != SN_REPORT_OK &&
						  report->status != SN_REPORT_REFUSED,
						  report->error, core->stats.acked, now_ms))
		rewind_cursor(core);
	if (topic->held && !held)
		tell_host(core, topic);
}

/*
 * may_ask: whether a topic may be asked for now.  One at a time: a broker works
 * off a connection's requests in order and takes some time to make a topic, so
 * that many at once would hold up the records of all others.
 */
static bool
may_ask(const SnRelayCore *core, int64_t now_ms)
{
	return core->nasked == 0 ||
		(core->nasked < MAX_ASKED && now_ms - core->asked_at >= ASK_MORE_MS);
}

/* ask_for_topic: have the broker make a topic, if it is not there */
static void
ask_for_topic(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	char		err[SN_ERROR_TEXT];

	if (!may_ask(core, now_ms) ||
		(core->breaker.state != SN_BREAKER_CLOSED &&
		 !sn_breaker_allow(&core->breaker, now_ms)))
		return;
	topic->others = core->stats.acked;
	if (core->config.provider->create_topic(core->broker, topic->name,
											core->config.topic_partitions,
											core->config.topic_replication,
											(uint32_t) topic->number,
											err, sizeof(err)))
	{
		topic->state = SN_TOPIC_ASKED;
		if (core->nasked++ == 0)
			core->asked_at = now_ms;
	}
	else
	{
		sn_core_note_error(core, err);
		topic->retry_at = now_ms + 1000;
	}
	/* an answer closes the breaker; without one a record is still to be tried */
	sn_breaker_untried(&core->breaker, now_ms);
}

/* work_waiting: a topic that may be asked for, or tried, again */
static void
work_waiting(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	if (now_ms < topic->retry_at || topic->sent > 0 || core->recover)
		return;
	if (core->config.topic_partitions > 0)
		ask_for_topic(core, topic, now_ms);
	else if (topic->held)
	{
		topic->state = SN_TOPIC_TRIAL;
		topic->exhausted = false;
		rewind_cursor(core);
	}
	else
		sn_topic_ready(&core->topics, topic, now_ms);
}

/* work_trial: a topic of which one record is being tried */
static void
work_trial(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	int64_t		waits = now_ms - topic->answered_at;

	if (topic->sent > 0)
	{
		if (waits > TRIAL_MS && topic->others != core->stats.acked)
		{
			sn_core_hold(core, topic, "the broker does not answer for it",
						 now_ms);
			core->recover = true;	/* to have the record back */
		}
		else if (waits > DENIED_MS && !topic->held && topic->denied != NULL)
		{
			sn_core_hold(core, topic, "it takes no records", now_ms);
			topic->state = SN_TOPIC_TRIAL;
		}
		return;
	}
	if (topic->parked && topic->exhausted && topic->nparked == 0)
	{
		topic->parked = false;	/* it was the last one */
		rewind_cursor(core);
	}
	if (topic->held && !topic->parked && topic->entries == 0)
		topic_is_ready(core, topic, now_ms); /* nothing waits for it */
}

/* sn_core_work_topic: what a topic that is not ready needs next */
void
sn_core_work_topic(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	switch (topic->state)
	{
		case SN_TOPIC_WAITING:
			work_waiting(core, topic, now_ms);
			break;
		case SN_TOPIC_TRIAL:
			work_trial(core, topic, now_ms);
			break;
		case SN_TOPIC_DRAINING:
			if (topic->exhausted && topic->nparked == 0)
				topic_is_ready(core, topic, now_ms);
			break;
		default:
			break;
	}
}

/*
 * has_to_wait: whether a topic is to be set aside until its turn comes.  They are
 * asked for one at a time.  Whoever has events for thousands of new topics
 * would fill the window with them, and everybody else would wait.  Nothing is
 * wrong with it so far, so nobody is told.
 */
static bool
has_to_wait(const SnRelayCore *core, const SnTopic *topic, int64_t now_ms)
{
	return topic->state == SN_TOPIC_WAITING && !topic->held &&
		now_ms - topic->retry_at >= TURN_MS &&
		core->answered_at > 0 && now_ms - core->answered_at < ANSWERS_MS &&
		sn_relay_core_room(core) < core->config.max_events / 4 &&
		!core->recover;
}

/*
 * sn_core_work_topics: the same for all of them; and hold one whose records
 * get no answer while others do.
 */
void
sn_core_work_topics(SnRelayCore *core, int64_t now_ms)
{
	SnTopic    *topic = core->topics.unready;
	SnWindowEntry *entry = core->window.head;

	while (topic != NULL)
	{
		SnTopic    *next = topic->next_unready;

		sn_core_work_topic(core, topic, now_ms);
		if (has_to_wait(core, topic, now_ms))
			set_aside(core, topic, "others are asked for before it", now_ms);
		topic = next;
	}
	while (entry != NULL && entry->state != SN_ENTRY_SENT)
		entry = entry->next;
	if (entry == NULL || core->recover)
		return;
	topic = entry->topic;
	if (topic->state != SN_TOPIC_READY ||
		now_ms - entry->sent_at < SN_TOPIC_STALL_MS ||
		now_ms - topic->answered_at < SN_TOPIC_STALL_MS ||
		topic->others == core->stats.acked ||
		now_ms - core->acked_at > OTHERS_MS)
		return;
	sn_core_hold(core, topic, "the broker does not answer for it", now_ms);
	core->recover = true;
}

/* sn_core_forget_requests: the producer that made them is gone */
void
sn_core_forget_requests(SnRelayCore *core, int64_t now_ms)
{
	SnTopic    *topic;

	for (topic = core->topics.unready; topic != NULL;
		 topic = topic->next_unready)
	{
		if (topic->state != SN_TOPIC_ASKED)
			continue;
		topic->state = SN_TOPIC_WAITING;
		topic->retry_at = now_ms;
	}
	core->nasked = 0;
}

/* sn_core_next_topic: milliseconds until a topic has to be seen to, or -1 */
int64_t
sn_core_next_topic(const SnRelayCore *core, int64_t now_ms)
{
	const SnTopic *topic;
	int64_t		result = -1;

	for (topic = core->topics.unready; topic != NULL;
		 topic = topic->next_unready)
	{
		int64_t		wait = 1000;

		if (topic->state == SN_TOPIC_WAITING)
			wait = topic->sent > 0 || !may_ask(core, now_ms) ? 100 :
				topic->retry_at - now_ms;
		if (wait < 1)
			wait = 1;
		if (result < 0 || wait < result)
			result = wait;
	}
	return result;
}

/* sn_core_trials: records on their way whose answer may take long */
int
sn_core_trials(const SnRelayCore *core)
{
	const SnTopic *topic;
	int			n = 0;

	for (topic = core->topics.unready; topic != NULL;
		 topic = topic->next_unready)
		n += topic->state == SN_TOPIC_TRIAL ? topic->sent : 0;
	return n;
}

/*
 * sn_relay_core_held: the next event of a lane, if it is to be parked.  It
 * stays until sn_relay_core_parked().
 */
bool
sn_relay_core_held(SnRelayCore *core, int lane, SnHeld *held)
{
	SnWindowEntry *entry;

	if (core->topics.nheld == 0)
		return false;
	entry = core->window.lanes[lane].first;
	if (entry == NULL || entry->state != SN_ENTRY_READY ||
		entry->topic == NULL || !entry->topic->held ||
		(entry->topic->state == SN_TOPIC_TRIAL && !entry->topic->parked &&
		 entry->topic->sent == 0) ||
		(entry->topic->state == SN_TOPIC_DRAINING && entry->topic->exhausted))
		return false;
	held->pos = entry->pos;
	held->event = &entry->event;
	held->topic = entry->topic->name;
	held->error = entry->topic->error ? entry->topic->error : "";
	return true;
}

/* sn_relay_core_parked: the host has parked the next event of a lane */
void
sn_relay_core_parked(SnRelayCore *core, int lane)
{
	SnWindowEntry *entry = core->window.lanes[lane].first;

	entry->topic->parked = true;
	entry->topic->exhausted = false;
	sn_core_leave_topic(entry);
	entry->state = SN_ENTRY_DONE;
	sn_core_pass(core, entry);
}

/*
 * sn_relay_core_has_parked: the host has parked events with this label.  False
 * when there are too many topics.
 */
bool
sn_relay_core_has_parked(SnRelayCore *core, const char *name,
						 const char *error, int64_t now_ms)
{
	SnTopic    *topic = sn_topic_find(&core->topics, name, now_ms);

	if (topic == NULL)
		return false;
	if (!topic->held)
	{
		sn_core_hold(core, topic, error, now_ms);
		topic->retry_at = now_ms;
	}
	topic->parked = true;
	topic->exhausted = false;
	return true;
}

/*
 * sn_relay_core_topic_of: the topic of an event; false: none can be made, or
 * the event is not to be sent
 */
bool
sn_relay_core_topic_of(SnRelayCore *core, const SnRecordEvent *event,
					   char *topic)
{
	SnRecord	record;
	char		err[SN_ERROR_TEXT];

	if (!sn_record_wanted(core->maker, event) ||
		!sn_record_make(core->maker, event, &record, err, sizeof(err)))
		return false;
	strcpy(topic, record.topic);
	return true;
}

/* sn_relay_core_parked_room: parked events that may be pushed now */
int
sn_relay_core_parked_room(const SnRelayCore *core)
{
	if (core->want_isolate || core->isolate ||
		core->window.parked_bytes >= core->config.max_bytes / 2)
		return 0;
	return SN_MAX_PARKED - core->window.nparked;
}

/*
 * sn_relay_core_wants: a topic whose parked events are to be pushed, in order:
 * as many as max says, and then sn_relay_core_fetched().
 */
bool
sn_relay_core_wants(SnRelayCore *core, SnWant *want)
{
	int			room = sn_relay_core_parked_room(core);
	SnTopic    *topic;

	if (room <= 0 || core->recover)
		return false;
	for (topic = core->topics.unready; topic != NULL;
		 topic = topic->next_unready)
	{
		bool		trial = topic->state == SN_TOPIC_TRIAL;

		if (!topic->parked || topic->exhausted || topic->nparked > 0 ||
			(!trial && topic->state != SN_TOPIC_DRAINING))
			continue;
		want->number = topic->number;
		want->topic = topic->name;
		want->max = trial ? 1 : room;
		want->max_bytes = core->config.max_bytes / 4;
		return true;
	}
	return false;
}

/* sn_relay_core_push_parked: a parked event; number is its topic's, or -1 */
bool
sn_relay_core_push_parked(SnRelayCore *core, int number, int lane,
						  int64_t pos, const SnRecordEvent *event,
						  const char *error)
{
	SnWindowEntry *entry = sn_window_push(&core->window, lane, pos, true,
										  event);

	if (entry == NULL)
		return false;
	if (number >= 0)
	{
		entry->labelled = true;
		entry->topic = core->topics.all[number];
		entry->topic->entries++;
		entry->topic->nparked++;
	}
	if (!sn_record_wanted(core->maker, event))
	{
		entry->state = SN_ENTRY_UNWANTED;
		entry->error = strdup(event->unwanted ?
							  "the transform sends nothing of it" :
							  event->refused_id != NULL ?
							  "refused events are not sent: no topic is "
							  "named for them" :
							  "control events are not sent: "
							  "sentinai.control_topic is empty");
		sn_window_tell(&core->window, entry);
	}
	else if (error != NULL)
		sn_core_refuse(core, entry, error);
	return true;
}

/* sn_relay_core_fetched: the host pushed what was wanted; all: that is all */
void
sn_relay_core_fetched(SnRelayCore *core, int number, bool all)
{
	core->topics.all[number]->exhausted = all;
}

/*
 * sn_relay_core_waiting: the next topic, from a number on, that waits with
 * events parked; NULL: there is no other.
 */
const char *
sn_relay_core_waiting(const SnRelayCore *core, int *number)
{
	for (; *number < core->topics.size && core->topics.nheld > 0; ++*number)
	{
		const SnTopic *topic = core->topics.all[*number];

		if (topic != NULL && topic->held && topic->parked &&
			topic->nparked == 0)
		{
			++*number;
			return topic->name;
		}
	}
	return NULL;
}
