/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_send.c
 *		The relay's core: what goes to the broker, and what is passed over.
 */
#include "relay/relay_state.h"

/* know_topic: note which topic an event goes to; false: it was refused */
static bool
know_topic(SnRelayCore *core, SnWindowEntry *entry, const char *name,
		   int64_t now_ms)
{
	SnTopic    *topic;

	if (entry->topic != NULL)
		return true;
	topic = sn_topic_find(&core->topics, name, now_ms);
	if (topic == NULL)
	{
		sn_core_refuse(core, entry,
					   "too many topics cannot be written at once");
		return false;
	}
	entry->topic = topic;
	topic->entries++;
	topic->nparked += entry->parked;
	return true;
}

/* sn_core_limited: milliseconds until the limits let another event go; 0: now */
int64_t
sn_core_limited(SnRelayCore *core, int64_t now_ms)
{
	int64_t		events = sn_rate_wait(&core->events, now_ms);
	int64_t		bytes = sn_rate_wait(&core->bytes, now_ms);

	return events > bytes ? events : bytes;
}

/* note_sent: the broker has an event */
static void
note_sent(SnRelayCore *core, SnWindowEntry *entry, const SnRecord *record,
		  int64_t now_ms)
{
	SnTopic    *topic = entry->topic;

	entry->state = SN_ENTRY_SENT;
	entry->sent_at = now_ms;
	if (topic->sent++ == 0)
	{
		topic->answered_at = now_ms;
		topic->others = core->stats.acked;
	}
	sn_rate_take(&core->events, 1, now_ms);
	sn_rate_take(&core->bytes, (int64_t) record->value_len, now_ms);
	core->inflight++;
	core->stats.sent++;
}

/* hand_over: give a record to the broker; false when sending has to pause */
static bool
hand_over(SnRelayCore *core, SnWindowEntry *entry, const SnRecord *record,
		  int64_t now_ms)
{
	char		err[SN_ERROR_TEXT];

	switch (core->config.provider->send(core->broker, record, err,
										sizeof(err)))
	{
		case SN_SEND_OK:
			note_sent(core, entry, record, now_ms);
			return true;
		case SN_SEND_REFUSED:
			sn_core_refuse(core, entry, err);
			return true;
		case SN_SEND_NO_TOPIC:
			sn_core_note_error(core, err);
			sn_core_hold(core, entry->topic, err, now_ms);
			return true;
		case SN_SEND_LATER:
			sn_later_add(&core->later, record, now_ms);
			return true;
		case SN_SEND_STOPPED:
			sn_core_note_error(core, err);
			core->recover = true;
			return false;
		default:
			return false;
	}
}

/*
 * send_one: send an event, or pass over it when its topic may not be written or
 * it has to wait for the answer to another; false when sending has to pause.
 */
static bool
send_one(SnRelayCore *core, SnWindowEntry *entry, int64_t now_ms)
{
	SnRecord	record;
	char		err[SN_ERROR_TEXT];
	bool		goes_on;

	if (!sn_record_make(core->maker, &entry->event, &record, err, sizeof(err)))
	{
		sn_core_refuse(core, entry, err);
		return true;
	}
	if (!know_topic(core, entry, record.topic, now_ms))
		return true;
	if (sn_later_has(&core->later, &record))
		return true;
	if (entry->topic->state == SN_TOPIC_WAITING)
		sn_core_work_topic(core, entry->topic, now_ms);
	if (!sn_topic_may_send(entry->topic, entry->parked))
	{
		if (entry->parked && entry->topic->held && !entry->labelled &&
			entry->topic->state != SN_TOPIC_DRAINING)
			sn_core_release(core, entry);
		return true;
	}
	core->stats.limited = sn_core_limited(core, now_ms) > 0;
	if (core->stats.limited)
		return false;
	if (core->breaker.state != SN_BREAKER_CLOSED &&
		!sn_breaker_allow(&core->breaker, now_ms))
		return false;
	if (core->config.tail > 0)
	{
		if (entry->topic->tail_read != core->tail.start &&
			!sn_core_read_back(core, entry->topic, now_ms))
			return false;
		if (sn_core_is_there(core, entry))
		{
			sn_breaker_untried(&core->breaker, now_ms);
			sn_core_done(core, entry);
			return true;
		}
	}
	goes_on = hand_over(core, entry, &record, now_ms);
	/* an event that cannot be sent tells nothing of the broker */
	if (entry->state != SN_ENTRY_SENT)
		sn_breaker_untried(&core->breaker, now_ms);
	return goes_on;
}

/* sn_core_send: send what is ready, as far as breaker and broker let it */
void
sn_core_send(SnRelayCore *core, int64_t now_ms)
{
	SnWindowEntry *entry;

	core->stats.limited = false;
	while ((entry = core->window.cursor) != NULL && !core->recover)
	{
		bool		trial = core->breaker.state != SN_BREAKER_CLOSED;
		SnWindowEntry *next = entry->next;

		if (entry->state == SN_ENTRY_READY && !send_one(core, entry, now_ms))
			break;
		/* it may have left, or the cursor gone back */
		if (core->window.cursor == entry)
			core->window.cursor = next;
		if (trial && entry->state == SN_ENTRY_SENT)
			break;
	}
}
