/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_tail.c
 *		Which events the broker's topics have at their ends.
 *
 * Of events that a producer before this one had on its way nobody knows which
 * are stored.  They are at the ends of their topics, so the ids there are read
 * before the first record of a topic goes, and what is there is not sent.
 *
 * An id counts in its topic alone: one in the topic of dead letters is that of
 * an event that its own topic does not have.
 *
 * Memory: 1,000,000 ids in some 50 MB at most.
 */
#include "relay/relay_tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/hex.h"

#define FIRST_SIZE	1024

/* read_id: an event id's bytes; false: it is none */
static bool
read_id(const char *text, size_t len, uint8_t *id)
{
	int			n = 0;
	size_t		i;

	memset(id, 0, 16);
	for (i = 0; i < len && n < 32; i++)
	{
		int			digit = sn_hex_value(text[i]);

		if (text[i] == '-')
			continue;
		if (digit < 0)
			return false;
		id[n / 2] |= digit << (n % 2 == 0 ? 4 : 0);
		n++;
	}
	return n == 32 && i == len;
}

/* tail_place: where an id is, or would be */
static SnTailId *
tail_place(const SnTailIds *ids, const uint8_t *id, uint32_t topic)
{
	uint32_t	at;

	/* an event id ends with what is drawn at random */
	memcpy(&at, id + 12, sizeof(at));
	for (at ^= topic;; at++)
	{
		SnTailId   *place = &ids->all[at & (ids->size - 1)];

		if (!place->used ||
			(place->topic == topic && memcmp(place->id, id, 16) == 0))
			return place;
	}
}

/* grow: room for one more; false: there is none */
static bool
grow(SnTailIds *ids)
{
	SnTailIds	larger = *ids;
	uint32_t	i;

	if (ids->count >= SN_TAIL_IDS)
		return false;
	if (ids->count * 2 < ids->size)
		return true;
	larger.size = ids->size == 0 ? FIRST_SIZE : ids->size * 2;
	larger.all = calloc(larger.size, sizeof(SnTailId));
	if (larger.all == NULL)
		return false;
	for (i = 0; i < ids->size; i++)
		if (ids->all[i].used)
			*tail_place(&larger, ids->all[i].id, ids->all[i].topic) =
				ids->all[i];
	free(ids->all);
	*ids = larger;
	return true;
}

/* sn_tail_add: an event that a topic has */
void
sn_tail_add(SnTailIds *ids, const char *topic, const char *event_id, size_t len)
{
	SnTailId	new = {.topic = sn_fnv1a(topic), .used = 1};
	SnTailId   *place;

	if (!read_id(event_id, len, new.id))
		return;
	if (!grow(ids))
	{
		ids->full = true;
		return;
	}
	place = tail_place(ids, new.id, new.topic);
	ids->count += !place->used;
	*place = new;
}

/* sn_tail_has: whether a topic has an event */
bool
sn_tail_has(const SnTailIds *ids, const char *topic, const char *event_id)
{
	uint8_t		id[16];

	return ids->count > 0 && read_id(event_id, strlen(event_id), id) &&
		tail_place(ids, id, sn_fnv1a(topic))->used;
}

/* sn_tail_again: another producer begins; all topics are to be read again */
void
sn_tail_again(SnTailIds *ids)
{
	ids->start++;
	ids->since = 0;
	ids->spent = 0;
}

/* sn_tail_free: all of it */
void
sn_tail_free(SnTailIds *ids)
{
	free(ids->all);
}
