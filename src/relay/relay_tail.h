/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_tail.h
 *		Which events the broker's topics have at their ends.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RELAY_TAIL_H
#define SN_RELAY_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SN_TAIL_MS		10000	/* that reading may take after a start */
#define SN_TAIL_SETTLE_MS	1000	/* what arrives until then counts, too */
#define SN_TAIL_IDS		1000000	/* are remembered */

/* An event in a topic */
typedef struct SnTailId
{
	uint8_t		id[16];
	uint32_t	topic;			/* hash of its name */
	uint32_t	used;
} SnTailId;

typedef struct SnTailIds
{
	SnTailId   *all;			/* open addressing */
	uint32_t	size;			/* power of two, or 0 */
	uint32_t	count;
	bool		full;			/* some were not taken */
	int			start;			/* of a producer, counted; what was read before
								 * the last is read again */
	int64_t		since;			/* that start; 0: nothing was read since */
	int64_t		spent;			/* ms, since that start */
} SnTailIds;

extern void sn_tail_again(SnTailIds *ids);
extern void sn_tail_free(SnTailIds *ids);
extern void sn_tail_add(SnTailIds *ids, const char *topic, const char *event_id,
						size_t len);
extern bool sn_tail_has(const SnTailIds *ids, const char *topic,
						const char *event_id);

#endif							/* SN_RELAY_TAIL_H */
