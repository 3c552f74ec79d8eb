/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_turn.c
 *		The transaction of a turn of the relay process.
 *
 * What is stored and read in it, and when, are the rules of relay_lanes.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"

#include "queue/filter.h"
#include "relay/durable.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"
#include "store/owner.h"

/*
 * may_look: whether it is time to look at the switch and at dead letters.  To
 * be asked before the snapshot is taken.
 */
static bool
may_look(void)
{
	if (pg_atomic_exchange_u32(&sn_relay.slot->look, 0) == 0 &&
		!sn_relay_lanes_look_due(&sn_relay.lanes))
		return false;
	sn_relay.lanes.looked_at = sn_monotonic_ms();
	return true;
}

/* sn_relay_needs_database: whether there is anything to do in a transaction */
bool
sn_relay_needs_database(void)
{
	return pg_atomic_read_u32(&sn_relay.slot->look) != 0 ||
		sn_relay_lanes_look_due(&sn_relay.lanes) ||
		sn_relay_lanes_need_turn(&sn_relay.lanes);
}

/* set_filter: the first of the processes has the subscription read what is named */
static void
set_filter(void)
{
	if (sn_relay.index == 0 && !sn_relay.filtered)
		sn_relay.filtered = sn_sub_refilter(sn_relay.sub_id,
											&sn_relay.settings.filter, false);
}

/*
 * sn_relay_database_turn: the transaction of a turn.  What was read cannot be
 * taken back by its end.
 */
void
sn_relay_database_turn(bool last)
{
	SnRelayLanes *l = &sn_relay.lanes;
	bool		look = may_look();
	bool		any = false;
	SnHold		hold;

	sn_relay.read = NIL;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(sn_relay.turn);

	hold = sn_hold_extension();
	sn_relay.leave = hold == SN_HOLD_GONE;
	sn_relay.held_off = hold == SN_HOLD_BUSY;
	if (hold == SN_HOLD_TAKEN)
		sn_work_as_owner();
	if (hold == SN_HOLD_TAKEN && sn_relay.relay_id != 0 &&
		(sn_sub_by_id(sn_relay.relay_id) == NULL ||
		 (look && !sn_relay_look_at_settings())))
	{
		sn_relay.leave = true;	/* by drop_relay() */
		hold = SN_HOLD_GONE;
	}
	if (look && hold == SN_HOLD_TAKEN)
	{
		l->paused = sn_relay_is_paused(sn_relay.relay_id);
		l->look_for_redrives = true;
	}
	if (hold == SN_HOLD_TAKEN && sn_relay.active)
	{
		if (sn_relay.sub_id == 0 && !l->paused)
			sn_relay.sub_id = sn_relay_subscription();
		l->nlanes = sn_node()->lanes;
		if (look && sn_relay.relay_id == 0 && sn_relay.sub_id != 0)
			set_filter();
		if (l->core != NULL && sn_relay.sub_id != 0)
		{
			if (!last && !l->paused)
				sn_transform_ready();
			any = sn_relay_lanes_turn(l, last);
		}
	}
	if (hold == SN_HOLD_TAKEN && !sn_relay.active && sn_node_active())
	{
		/* restored just now, perhaps: the next turn's snapshot shows it */
		sn_relay.active = true;
		pg_atomic_write_u32(&sn_relay.slot->look, 1);
		SetLatch(MyLatch);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(sn_relay.turn);
	if (any)
		sn_wait_confirmed(sn_relay.read_end);
	pgstat_report_stat(false);
}

/* sn_relay_push_events: hand what was read to the core, in order */
void
sn_relay_push_events(void)
{
	ListCell   *lc;

	foreach(lc, sn_relay.read)
	{
		SnRelayEvent *e = lfirst(lc);

		sn_relay_lanes_push(&sn_relay.lanes, e->lane, e->next_pos, &e->event,
							e->error);
	}
	sn_relay.read = NIL;
}
