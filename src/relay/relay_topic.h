/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_topic.h
 *		What the relay's core knows of topics: which take records, which are
 *		waited for, since when and why.
 *
 * Pure C, malloc only; the broker is called by who uses this.
 */
#ifndef SN_RELAY_TOPIC_H
#define SN_RELAY_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SN_TOPICS_MAX		100000	/* that are in use or waited for at a time */
#define SN_TOPIC_STALL_MS	30000	/* a topic without an answer for so long,
									 * while others get theirs, is held */

typedef enum SnTopicState
{
	SN_TOPIC_WAITING,			/* to be asked for when retry_at has come */
	SN_TOPIC_ASKED,
	SN_TOPIC_TRIAL,				/* one record at a time, until one is taken */
	SN_TOPIC_DRAINING,			/* what the host has parked goes first */
	SN_TOPIC_READY
} SnTopicState;

typedef struct SnTopic
{
	char	   *name;
	int			number;			/* place in the table */
	struct SnTopic *next;		/* of the same hash */
	struct SnTopic *next_unready;	/* all that are not READY */
	SnTopicState state;
	bool		held;			/* its events are to be parked */
	bool		told;			/* the host has said so */
	bool		parked;			/* the host has parked events of it */
	bool		exhausted;		/* the host has no more than came */
	int			tries;			/* in vain, in a row */
	int			unanswered;		/* requests for it, in a row */
	int64_t		retry_at;
	int64_t		ready_at;		/* became READY */
	int64_t		answered_at;	/* or began to wait for an answer */
	uint64_t	others;			/* acknowledged by the broker at that time */
	int			entries;		/* in the window, parked ones included */
	int			nparked;		/* of these */
	int			sent;			/* of these */
	int			tail_read;		/* at which start; see relay_tail.h */
	char	   *error;			/* why it is held; NULL: unknown */
	char	   *denied;			/* why it could not be created, or NULL */
} SnTopic;

typedef struct SnTopicTable
{
	SnTopic   **all;			/* by number; NULL: free */
	int			size;
	int			count;
	int			sweep_at;		/* count at which idle ones are forgotten */
	int			next_free;		/* no free number is below */
	SnTopic   **hash;
	SnTopic    *last;			/* found last */
	SnTopic    *unready;
	int			nheld;
} SnTopicTable;

extern bool sn_topics_open(SnTopicTable *table);
extern void sn_topics_close(SnTopicTable *table);
extern SnTopic *sn_topic_find(SnTopicTable *table, const char *name,
							  int64_t now_ms);
extern void sn_topic_ready(SnTopicTable *table, SnTopic *topic,
						   int64_t now_ms);
extern void sn_topic_hold(SnTopicTable *table, SnTopic *topic,
						  const char *error, int64_t now_ms);
extern bool sn_topic_answered(SnTopicTable *table, SnTopic *topic,
							  bool created, bool unknown, const char *error,
							  uint64_t acked, int64_t now_ms);
extern bool sn_topic_may_send(const SnTopic *topic, bool parked);

#endif							/* SN_RELAY_TOPIC_H */
