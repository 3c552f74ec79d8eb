/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_window.h
 *		The events that the relay's core has, in the order they came.
 *
 * An event of a lane keeps its place until it and all before it in the lane
 * are done.  A parked one stands in no lane: it came from a row that the host
 * keeps of it, and leaves when the host knows what became of it.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RELAY_WINDOW_H
#define SN_RELAY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/record.h"

struct SnTopic;

typedef enum SnEntryState
{
	SN_ENTRY_READY,				/* to be sent */
	SN_ENTRY_SENT,				/* an answer will come */
	SN_ENTRY_DONE,				/* acknowledged, or the host has seen to it */
	SN_ENTRY_REFUSED,			/* the host has to bury it */
	SN_ENTRY_UNWANTED,			/* parked; it is not to be sent */
	SN_ENTRY_HELD				/* parked; the host has to note its topic */
} SnEntryState;

typedef struct SnWindowEntry
{
	SnEntryState state;
	int			lane;
	bool		parked;
	int64_t		pos;			/* in the lane, or of the host's row */
	struct SnWindowEntry *prev; /* in the order of push */
	struct SnWindowEntry *next;
	struct SnWindowEntry *next_in_lane;
	struct SnWindowEntry *next_news;
	struct SnTopic *topic;		/* NULL: not looked at yet */
	bool		labelled;		/* parked, and the host's row has the topic */
	int64_t		sent_at;
	SnRecordEvent event;		/* payload is NULL: no record can be made */
	char	   *data;			/* all strings of the event; stays with the
								 * place */
	size_t		room;			/* of data */
	size_t		bytes;
	char	   *error;			/* why refused; NULL without memory for it */
} SnWindowEntry;

typedef struct SnWindowLane
{
	SnWindowEntry *first;		/* oldest event */
	SnWindowEntry *last;
	int64_t		pos;			/* passed */
	int			passed;			/* events, since the host asked last */
} SnWindowLane;

typedef struct SnWindow
{
	SnWindowEntry *entries;
	int			nentries;
	int			max_events;		/* of lanes */
	SnWindowEntry *unused;
	SnWindowEntry *head;		/* oldest event */
	SnWindowEntry *tail;
	SnWindowEntry *cursor;		/* next to look at for sending; NULL: none */
	SnWindowLane *lanes;
	int			nlanes;
	int			used;			/* events of lanes */
	size_t		bytes;
	int			nparked;
	size_t		parked_bytes;
	SnWindowEntry *news;		/* refused, held, or parked and done */
	SnWindowEntry **news_end;
} SnWindow;

extern bool sn_window_open(SnWindow *window, int lanes, int max_events,
						   int max_parked);
extern void sn_window_close(SnWindow *window);
extern SnWindowEntry *sn_window_push(SnWindow *window, int lane, int64_t pos,
									 bool parked, const SnRecordEvent *event);
extern void sn_window_drop(SnWindow *window, SnWindowEntry *entry);
extern bool sn_window_pass(SnWindow *window, SnWindowLane *lane);
extern void sn_window_tell(SnWindow *window, SnWindowEntry *entry);
extern SnWindowEntry *sn_window_news(SnWindow *window, uint64_t lanes);

#endif							/* SN_RELAY_WINDOW_H */
