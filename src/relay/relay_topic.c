/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_topic.c
 *		What the relay's core knows of topics.
 *
 * A topic is asked for at first sight; then its records go.  When it turns out
 * that it cannot be written it is held: its events wait, in the end where the
 * host has parked them, and no other topic's do.  It is asked for again with
 * growing pauses.  When it seems to be there, one record is tried, because each
 * that is denied costs a producer; when that was taken, what was parked goes
 * first, and only then what came later.
 *
 * What nobody answers is no proof against a topic: the broker may be away.  It
 * is held for that only if the broker has taken other records meanwhile.
 *
 * Memory: topics that are ready and not in use are forgotten when there are
 * many.
 */
#include "base/hash.h"
#include "relay/relay_topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE		8192
#define KEPT			4096	/* topics, before idle ones are forgotten */
#define ASK_AGAIN_MS	1000
#define ASK_TRIES		3		/* without an answer; then a record has to tell */
#define FIRST_PAUSE_MS	1000
#define LAST_PAUSE_MS	30000
#define STEADY_MS		60000	/* ready for so long: pauses begin anew */

/* sn_topics_open: false when there is no memory */
bool
sn_topics_open(SnTopicTable *table)
{
	table->sweep_at = KEPT;
	table->hash = calloc(HASH_SIZE, sizeof(SnTopic *));
	return table->hash != NULL;
}

static void
free_topic(SnTopic *topic)
{
	free(topic->name);
	free(topic->error);
	free(topic->denied);
	free(topic);
}

/* sn_topics_close: free everything */
void
sn_topics_close(SnTopicTable *table)
{
	int			i;

	for (i = 0; i < table->size; i++)
		if (table->all[i] != NULL)
			free_topic(table->all[i]);
	free(table->all);
	free(table->hash);
}

/* forget_idle: topics that would only have to be asked for again */
static void
forget_idle(SnTopicTable *table)
{
	int			i;

	for (i = 0; i < table->size; i++)
	{
		SnTopic    *topic = table->all[i];
		SnTopic   **at;

		if (topic == NULL || topic->state != SN_TOPIC_READY ||
			topic->entries > 0)
			continue;
		at = &table->hash[sn_fnv1a(topic->name) % HASH_SIZE];
		while (*at != topic)
			at = &(*at)->next;
		*at = topic->next;
		table->all[i] = NULL;
		table->count--;
		free_topic(topic);
	}
	table->last = NULL;
	table->next_free = 0;
	table->sweep_at = table->count * 2 > KEPT ? table->count * 2 : KEPT;
}

/* free_number: a place in the table; -1: there is none */
static int
free_number(SnTopicTable *table)
{
	SnTopic   **all;
	int			size = table->size * 2 + 64;

	if (table->count >= table->sweep_at || table->count >= SN_TOPICS_MAX)
		forget_idle(table);
	if (table->count >= SN_TOPICS_MAX)
		return -1;
	while (table->next_free < table->size &&
		   table->all[table->next_free] != NULL)
		table->next_free++;
	if (table->next_free < table->size)
		return table->next_free;
	all = realloc(table->all, size * sizeof(SnTopic *));
	if (all == NULL)
		return -1;
	memset(all + table->size, 0, (size - table->size) * sizeof(SnTopic *));
	table->all = all;
	table->size = size;
	return table->next_free;
}

/* sn_topic_find: a topic, new at first sight; NULL: too many, or no memory */
SnTopic *
sn_topic_find(SnTopicTable *table, const char *name, int64_t now_ms)
{
	SnTopic    *topic = table->last;
	SnTopic   **bucket;
	int			number;

	if (topic != NULL && strcmp(topic->name, name) == 0)
		return topic;			/* before the hash: most are the last's */
	bucket = &table->hash[sn_fnv1a(name) % HASH_SIZE];
	for (topic = *bucket; topic != NULL; topic = topic->next)
		if (strcmp(topic->name, name) == 0)
			return table->last = topic;
	number = free_number(table);
	topic = number < 0 ? NULL : calloc(1, sizeof(SnTopic));
	if (topic == NULL || (topic->name = strdup(name)) == NULL)
	{
		free(topic);
		return NULL;
	}
	topic->number = number;
	topic->retry_at = now_ms;
	topic->next = *bucket;
	*bucket = topic;
	topic->next_unready = table->unready;
	table->unready = topic;
	table->all[number] = topic;
	table->count++;
	return table->last = topic;
}

/* sn_topic_ready: it takes records, and nothing of it waits before them */
void
sn_topic_ready(SnTopicTable *table, SnTopic *topic, int64_t now_ms)
{
	SnTopic   **at = &table->unready;

	if (topic->state == SN_TOPIC_READY)
		return;
	while (*at != topic)
		at = &(*at)->next_unready;
	*at = topic->next_unready;
	topic->state = SN_TOPIC_READY;
	topic->ready_at = now_ms;
	topic->unanswered = 0;
	table->nheld -= topic->held;
	topic->held = false;
	topic->parked = false;
	free(topic->denied);
	topic->denied = NULL;
}

/* set_error: why it is held; what its creation met goes with it */
static void
set_error(SnTopic *topic, const char *error)
{
	char		text[512];

	if (error == NULL)
		error = "unknown error";
	if (topic->denied != NULL)
		snprintf(text, sizeof(text), "%.200s (could not be created: %.200s)",
				 error, topic->denied);
	else
		snprintf(text, sizeof(text), "%.400s", error);
	free(topic->error);
	topic->error = strdup(text);
}

/* sn_topic_hold: it cannot be written; try again after a pause */
void
sn_topic_hold(SnTopicTable *table, SnTopic *topic, const char *error,
			  int64_t now_ms)
{
	int64_t		pause = FIRST_PAUSE_MS;
	int			i;

	if (topic->state == SN_TOPIC_WAITING && topic->held)
		return;
	if (topic->state == SN_TOPIC_READY)
	{
		topic->next_unready = table->unready;
		table->unready = topic;
		if (now_ms - topic->ready_at > STEADY_MS)
			topic->tries = 0;
	}
	for (i = 0; i < topic->tries && pause < LAST_PAUSE_MS; i++)
		pause *= 2;
	topic->tries++;
	topic->state = SN_TOPIC_WAITING;
	topic->retry_at = now_ms +
		(pause < LAST_PAUSE_MS ? pause : LAST_PAUSE_MS);
	table->nheld += !topic->held;
	topic->held = true;
	set_error(topic, error);
}

/*
 * sn_topic_answered: what became of the request for a topic: created, or was
 * there; unknown: nobody answered; neither: refused, it may be there
 * nevertheless.  Returns whether records may be sent now.
 */
bool
sn_topic_answered(SnTopicTable *table, SnTopic *topic, bool created,
				  bool unknown, const char *error, uint64_t acked,
				  int64_t now_ms)
{
	bool		others = topic->others != acked;

	if (topic->state != SN_TOPIC_ASKED)
		return false;
	if (unknown && ++topic->unanswered < ASK_TRIES)
	{
		topic->state = SN_TOPIC_WAITING;
		topic->retry_at = now_ms + ASK_AGAIN_MS;
		if (others && !topic->held)
		{
			topic->held = true;
			table->nheld++;
			set_error(topic, error);
		}
		return false;
	}
	topic->unanswered = 0;
	free(topic->denied);
	topic->denied = created || unknown || error == NULL ? NULL : strdup(error);
	if (created && !topic->held)
	{
		sn_topic_ready(table, topic, now_ms);
		return true;
	}
	topic->state = SN_TOPIC_TRIAL;
	topic->exhausted = false;
	return true;
}

/* sn_topic_may_send: whether a record of it may go now */
bool
sn_topic_may_send(const SnTopic *topic, bool parked)
{
	switch (topic->state)
	{
		case SN_TOPIC_READY:
			return true;
		case SN_TOPIC_DRAINING:
			return parked;
		case SN_TOPIC_TRIAL:
			return topic->sent == 0 && (parked || !topic->parked);
		default:
			return false;
	}
}
