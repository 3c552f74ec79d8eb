/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_process.h
 *		What the files of the relay process share.
 */
#ifndef SN_RELAY_PROCESS_H
#define SN_RELAY_PROCESS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "storage/latch.h"

#include "base/args.h"
#include "relay/relay_core.h"
#include "relay/relay_settings.h"
#include "relay/relay_store.h"
#include "shared/shmem.h"
#include "store/store.h"

#define SN_BARRED_MS	200		/* a lane that somebody has locked is tried again */

typedef struct SnRelayProcess
{
	int			relay_id;		/* its subscription, if create_relay() made it;
								 * 0: the relay of the server's parameters */
	char		title[SN_WORKER_TYPE_MAX + 32];	/* before lines of the log */
	int			index;
	SnRelaySettings settings;	/* in settings_context */
	MemoryContext settings_context;
	SnRelaySettings next;		/* those that were found now */
	MemoryContext next_context;	/* NULL: there are no others */
	int			workers;		/* settings.workers when it was started */
	char		database[NAMEDATALEN];
	int			sub_id;			/* 0: not known yet */
	bool		filtered;		/* its filter is the one of the settings */
	int			nlanes;
	uint64		owned;			/* lanes this process may send for */
	uint64		moved;			/* lanes whose position is to be stored */
	uint64		barred;			/* lanes that somebody else has locked */
	int64		barred_at;
	uint64		subs_loads;		/* subscriptions as of then */
	SnPos		read_pos[SN_MAX_LANES];
	SnPos		mark_pos[SN_MAX_LANES];
	SnRelayCore *core;
	SnRelaySlot *slot;
	WaitEventSet *events;		/* the latch, and the broker */
	WaitEventSet *latch_only;
	XLogRecPtr	read_end;		/* the WAL behind what was read */
	MemoryContext turn;
	int64		looked_at;		/* time of the last transaction that looked */
	int64		marked_at;
	int			unmarked[SN_MAX_LANES];	/* events passed and not stored as such */
	Size		max_text;		/* of a payload */
	int64		client_logged_at;	/* last line of the client library; 0: none */
	int64		logged_at;		/* last line of ours; 0: none of this connection */
	uint64		logged_errors;
	int			redriving;		/* events of dead letters in the window */
	bool		look_for_redrives;
	bool		look_for_labels;	/* of parked events */
	int64		expired_at;		/* last time it was asked what waits too long */
	int64		wanted_at;		/* not before this time: parked events */
	SnRelayCoreStats before;	/* of the connections before this one */
	bool		paused;
	bool		active;			/* the database is in use here */
	bool		held_off;		/* by who drops or updates the extension */
	bool		leave;			/* the extension is gone, or is to be left alone */
} SnRelayProcess;

extern SnRelayProcess sn_relay;

/* relay.c */
extern int64 sn_relay_now_ms(void);

extern bool sn_relay_look_at_settings(void);

/* relay_turn.c */
extern bool sn_relay_needs_database(void);
extern List *sn_relay_database_turn(bool last);
extern void sn_relay_push_events(List *events);
extern void sn_relay_take_progress(void);
extern int64 sn_relay_marks_due(void);
extern bool sn_relay_has_room(void);

#endif							/* SN_RELAY_PROCESS_H */
