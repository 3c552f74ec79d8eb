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
#include "relay/relay_lanes.h"
#include "relay/relay_settings.h"
#include "relay/relay_store.h"
#include "shared/shmem.h"
#include "store/store.h"

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
	SnRelayLanes lanes;			/* what is sent, and how far that is */
	uint64		subs_loads;		/* subscriptions as of then */
	SnRelaySlot *slot;
	WaitEventSet *events;		/* the latch, and the broker */
	WaitEventSet *latch_only;
	List	   *read;			/* events, of SnRelayEvent, to be pushed */
	XLogRecPtr	read_end;		/* the WAL behind what was read */
	MemoryContext turn;
	Size		max_text;		/* of a payload */
	int64		client_logged_at;	/* last line of the client library; 0: none */
	int64		logged_at;		/* last line of ours; 0: none of this connection */
	uint64		logged_errors;
	SnRelayCoreStats before;	/* of the connections before this one */
	bool		active;			/* the database is in use here */
	bool		held_off;		/* by who drops or updates the extension */
	bool		leave;			/* the extension is gone, or is to be left alone */
} SnRelayProcess;

extern SnRelayProcess sn_relay;

/* relay_main.c */
extern bool sn_relay_look_at_settings(void);
extern void sn_relay_adopt_settings(void);
extern void sn_relay_take_slot(void);
extern void sn_relay_show(const SnRelayCoreStats *stats);

/* relay_turn.c */
extern bool sn_relay_needs_database(void);
extern void sn_relay_database_turn(bool last);
extern void sn_relay_push_events(void);

/* relay_host.c */
extern const SnRelayHost sn_relay_database_host;
extern List *sn_relay_fetch_parked(const SnWant *want, uint64 lanes,
								   bool *all);
extern void sn_relay_forget_writes(void);

#endif							/* SN_RELAY_PROCESS_H */
