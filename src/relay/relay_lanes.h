/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_lanes.h
 *		The rules of a turn: what a relay stores and reads, and when.
 *
 * A host has the database: the relay process below SQL (relay_turn.c), and
 * sentinai-relay over libpq (workers/relay).  It begins a transaction, calls
 * sn_relay_lanes_turn(), ends it, and waits until what was read is durable
 * before the core's next turn sends it.
 *
 * Pure C, one thread.
 */
#ifndef SN_RELAY_LANES_H
#define SN_RELAY_LANES_H

#include "base/monotonic.h"
#include "relay/relay_core.h"

#define SN_RELAY_LANES	64		/* as many as a bit set has */
#define SN_BARRED_MS	200		/* a lane that somebody has locked is tried again */

/* Parked events with a label: those of a topic */
typedef struct SnRelayLabel
{
	const char *topic;			/* NULL before the first */
	const char *error;
	const SnRecordEvent *first; /* NULL: it is not there, or cannot be read */
} SnRelayLabel;

/*
 * What the database does for a relay.  A call that cannot be done ends the
 * transaction and all that the relay had in memory: it does not return.
 */
typedef struct SnRelayHost
{
	/* Take those of some lanes that nobody has; *pos: where they are. */
	uint64_t	(*own) (uint64_t lanes, int64_t *pos);

	/* Lock those of some lanes that nobody has locked. */
	uint64_t	(*lock) (uint64_t lanes);

	/* Of locked lanes: what became of events, and their end. */
	void		(*settle) (const SnNews *news);
	void		(*settled) (void);
	void		(*park) (int lane, const SnHeld *held);
	void		(*parked) (void);
	void		(*mark) (uint64_t lanes, const int64_t *pos);

	/* Lanes that may have something to read. */
	uint64_t	(*waiting) (void);

	/* Read what comes next in lanes, for sn_relay_lanes_push() when the
	 * transaction has ended; false: there was nothing.  The last call of a
	 * turn. */
	bool		(*read) (uint64_t lanes, int room);

	/* Read parked events (topic NULL: without a label) and push them; *all:
	 * there are no more.  Returns how many. */
	int			(*fetch) (const SnWant *want, uint64_t lanes, bool *all);

	/* The label after this one; false: there is no other. */
	bool		(*next_label) (SnRelayLabel *label);
	void		(*unlabel) (const char *topic, uint64_t lanes);
	void		(*too_many_labels) (void);

	/* Give up what waited too long for a topic; returns how many. */
	int			(*expire) (const char *topic, uint64_t lanes, int max);

	/* The core could not take another event.  Does not return. */
	void		(*no_memory) (void);
} SnRelayHost;

typedef struct SnRelayLanes
{
	const SnRelayHost *host;
	SnRelayCore *core;			/* NULL: it is paused, or not connected yet */
	int			first;			/* of the lanes of this process */
	int			every;			/* so many lanes to the next one */
	int			nlanes;			/* of the database; 0: not known yet */
	int			window;			/* events that may be sent again */
	size_t		max_bytes;		/* of events read at a time */
	bool		expires;		/* events wait for their topics for some time only */
	bool		paused;
	uint64_t	owned;			/* lanes this process may send for */
	uint64_t	moved;			/* lanes whose position is to be stored */
	uint64_t	barred;			/* lanes that somebody else has locked */
	int64_t		barred_at;
	int64_t		read_pos[SN_RELAY_LANES];
	int64_t		mark_pos[SN_RELAY_LANES];
	int			unmarked[SN_RELAY_LANES];	/* events passed and not stored as such */
	int64_t		looked_at;		/* at the switch; 0: to be done */
	int64_t		marked_at;
	int			redriving;		/* events of dead letters in the window */
	bool		look_for_redrives;
	bool		look_for_labels;	/* of parked events */
	int64_t		expired_at;		/* last time it was asked what waits too long */
	int64_t		wanted_at;		/* not before this time: parked events */
} SnRelayLanes;

extern void sn_relay_lanes_begin(SnRelayLanes *l, SnRelayCore *core);
extern bool sn_relay_lanes_turn(SnRelayLanes *l, bool last);
extern void sn_relay_lanes_push(SnRelayLanes *l, int lane, int64_t next_pos,
								const SnRecordEvent *event, const char *error);
extern void sn_relay_lanes_push_parked(SnRelayLanes *l, int number, int lane,
									   int64_t pos, const SnRecordEvent *event,
									   const char *error);
extern void sn_relay_lanes_moved(SnRelayLanes *l, int lane, int64_t pos);
extern void sn_relay_lanes_progress(SnRelayLanes *l);
extern int64_t sn_relay_lanes_marks_due(const SnRelayLanes *l);
extern bool sn_relay_lanes_have_room(const SnRelayLanes *l);
extern uint64_t sn_relay_lanes_to_lock(const SnRelayLanes *l);
extern bool sn_relay_lanes_look_due(const SnRelayLanes *l);
extern bool sn_relay_lanes_need_turn(const SnRelayLanes *l);

#endif							/* SN_RELAY_LANES_H */
