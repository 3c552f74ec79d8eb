/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_back.c
 *		The relay's core: topics are read back before they are written.
 *
 * Each topic is read once after a start, and once after each new producer, before
 * its first record goes.  The host waits meanwhile, as there is nothing else that
 * may be sent: SN_TAIL_MS for all topics of a start together.  What was not read
 * by then is not waited for: its events are sent at least once.
 */
#include "base/monotonic.h"
#include "relay/relay_state.h"

#include <stdio.h>
#include <string.h>

/* What the broker's answers are noted in */
typedef struct Noting
{
	SnTailIds  *ids;
	const char *topic;
} Noting;

/* note_id: a topic has an event */
static void
note_id(void *arg, const char *event_id, size_t len)
{
	Noting	   *noting = arg;

	sn_tail_add(noting->ids, noting->topic, event_id, len);
}

/* give_up_tail: some of what was on its way may be sent again */
static void
give_up_tail(SnRelayCore *core, const SnTopic *topic, const char *why)
{
	char		text[SN_ERROR_TEXT];

	snprintf(text, sizeof(text), "events may be sent twice: the end of topic \"%.200s\" was not read back: %.200s",
			 topic->name, why);
	sn_core_note_error(core, text);
}

/*
 * sn_core_read_back: have a topic's end read if it was not since the last start;
 * false when no broker answers, and so nothing can be sent either
 */
bool
sn_core_read_back(SnRelayCore *core, SnTopic *topic, int64_t now_ms)
{
	Noting		noting = {&core->tail, topic->name};
	char		err[SN_ERROR_TEXT] = "no time is left";
	int64_t		began = sn_monotonic_ms();	/* a turn's time stands still */
	SnTail		tail = {
		.topic = topic->name,
		.per_partition = core->config.tail,
		.timeout_ms = (int) (SN_TAIL_MS - core->tail.spent),
		.take = note_id,
		.arg = &noting
	};
	SnTailResult result = SN_TAIL_PART;

	if (core->tail.since == 0)
		core->tail.since = began;
	tail.until_ms = core->tail.since + SN_TAIL_SETTLE_MS;
	if (tail.timeout_ms > 0)
		result = core->config.provider->tail(core->broker, &tail, err,
											 sizeof(err));
	if (result == SN_TAIL_AWAY)
	{
		sn_core_note_error(core, err);
		(void) sn_breaker_failure(&core->breaker, now_ms);
		return false;
	}
	core->tail.spent += sn_monotonic_ms() - began;
	topic->tail_read = core->tail.start;
	if (result != SN_TAIL_READ)
		give_up_tail(core, topic, err);
	else if (core->tail.full)
		give_up_tail(core, topic, "too many events are there");
	return true;
}

/*
 * sn_core_is_there: whether an event's topic has it.  What is in the topic of
 * dead letters was refused before, and may be again.
 */
bool
sn_core_is_there(const SnRelayCore *core, const SnWindowEntry *entry)
{
	const char *dead = core->config.record.dead_letter_topic;

	if (dead != NULL && strcmp(dead, entry->topic->name) == 0)
		return false;
	return sn_tail_has(&core->tail, entry->topic->name, entry->event.event_id);
}
