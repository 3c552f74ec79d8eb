/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * come_back.c
 *		Tenants that were set apart (sequencer/tracks.c) come back to the common
 *		track.
 *
 * That is when every subscription has passed what they have on their track: what
 * they publish from then on cannot come before it.  Where tenants share a track
 * they do not wait for a subscription that nobody works for: its lanes hand out
 * their tracks in the order of positions, up to the round at which these tenants
 * come back (queue/lane_track.c).  Nor do they wait for what the others have there
 * behind their own last events.
 *
 * It is looked at once more under the lock of rounds, so that nothing more comes
 * to the track, and that of subscriptions, so that none is being made that begins
 * before.  A relay and who begins in the past read all tracks in one order, and
 * are not concerned.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "queue/lag.h"
#include "queue/stream.h"
#include "queue/subscription.h"
#include "sequencer/sequencer.h"
#include "sequencer/track_rows.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/lane_hints.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "upkeep/maintenance.h"

#define LINES_AT_ONCE 16		/* subscriptions that are put in line, 64 locks each */

/* A tenant that is set apart */
typedef struct Apart
{
	text	   *tenant_id;
	int			track;
	bool		shared;			/* with others */
	int64		last_round;		/* that may have an event of it there */
} Apart;

/* What a subscription has left */
typedef struct Left
{
	int			sub_id;
	bool		unworked;		/* nobody works for it */
	bool		in_line;		/* it stands in line, without an end */
	int64		rounds[SN_TRACKS];	/* of the first events in each track */
} Left;

/*
 * read_apart_tenants: those that share a track, or all.  Of their last rounds only
 * the process that takes them knows.
 */
static List *
read_apart_tenants(bool shared_only)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		newest = sn_newest_round(snapshot);
	SnApart    *apart;
	int			n = sn_tracks_apart(snapshot, &apart);
	int			on[SN_TRACKS] = {0};
	List	   *result = NIL;
	int			i;

	for (i = 0; i < n; i++)
		on[apart[i].track]++;
	for (i = 0; i < n; i++)
	{
		Apart	   *tenant;

		if (shared_only && on[apart[i].track] < 2)
			continue;
		tenant = palloc(sizeof(Apart));
		tenant->tenant_id = apart[i].tenant_id;
		tenant->track = apart[i].track;
		tenant->shared = on[apart[i].track] > 1;
		tenant->last_round = sn_tracks_last_round(apart[i].tenant_id, newest);
		result = lappend(result, tenant);
	}
	UnregisterSnapshot(snapshot);
	return result;
}

/* read_left: what subscriptions have left in the tracks of some tenants */
static List *
read_left(const List *tenants)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *result = NIL;
	SnTracks	tracks = 0;
	ListCell   *lc;

	foreach(lc, tenants)
		tracks |= SN_TRACK_BIT(((Apart *) lfirst(lc))->track);
	foreach(lc, tracks == 0 ? NIL : sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));
		Left	   *left;

		if (sub == NULL || sub->is_relay)
			continue;
		left = palloc(sizeof(Left));
		left->sub_id = sub->sub_id;
		left->unworked = sn_hint_unworked(sn_sub_slot_find(sub->sub_id),
										  sub->created_at);
		left->in_line = sub->in_line_pos == SN_ROUND_POS(SN_ROUND_MAX);
		sn_sub_rounds_left(sub, tracks, snapshot, left->rounds);
		result = lappend(result, left);
	}
	UnregisterSnapshot(snapshot);
	return result;
}

/* lacks: whether a subscription may have an event of a tenant that it has not passed */
static bool
lacks(const Left *left, const Apart *tenant)
{
	int64		first = left->rounds[tenant->track];

	return first != PG_INT64_MAX && first <= tenant->last_round;
}

/* lacks_any: whether it may have one of any of these */
static bool
lacks_any(const Left *left, const List *tenants)
{
	ListCell   *lc;

	foreach(lc, tenants)
		if (lacks(left, lfirst(lc)))
			return true;
	return false;
}

/* without_lacking: those tenants of which it has none; or, that share no track */
static List *
without_lacking(List *tenants, const Left *left, bool if_alone)
{
	ListCell   *lc;

	foreach(lc, tenants)
	{
		const Apart *tenant = lfirst(lc);

		if (lacks(left, tenant) && !(if_alone && tenant->shared))
			tenants = foreach_delete_current(tenants, lc);
	}
	return tenants;
}

/*
 * who_may: those tenants that have nothing left on their tracks; where they share one,
 * nothing in subscriptions that somebody works for
 */
static List *
who_may(bool shared_only, List **left)
{
	List	   *tenants = read_apart_tenants(shared_only);
	ListCell   *lc;

	*left = read_left(tenants);
	foreach(lc, *left)
		tenants = without_lacking(tenants, lfirst(lc),
								  ((Left *) lfirst(lc))->unworked);
	return tenants;
}

/*
 * form_lines: subscriptions that nobody works for, and that have something left of
 * some tenants, stand in line, without an end yet; some of them, for their locks.
 * Tenants are left out for whose sake one could not.  Whether there were any.
 */
static bool
form_lines(List **tenants, const List *left)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, left)
	{
		const Left *one = lfirst(lc);

		if (one->in_line || !lacks_any(one, *tenants))
			continue;
		if (!sn_sub_stand_in_line(one->sub_id, SN_ROUND_MAX))
			*tenants = without_lacking(*tenants, one, false);
		else if (++n == LINES_AT_ONCE)
			break;
	}
	return n > 0;
}

/* without_waiting: those tenants of which none has left that does not stand in line */
static List *
without_waiting(List *tenants, const List *left)
{
	ListCell   *lc;

	foreach(lc, left)
		if (!((Left *) lfirst(lc))->in_line)
			tenants = without_lacking(tenants, lfirst(lc), false);
	return tenants;
}

/*
 * end_line: a subscription stands in line up to now.  Nobody comes back meanwhile, as
 * the caller has the lock of subscriptions.
 */
static void
end_line(int sub_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	(void) sn_sub_stand_in_line(sub_id, sn_newest_round(snapshot) + 1);
	UnregisterSnapshot(snapshot);
}

/* end_lines: so do those that have something left of some tenants */
static void
end_lines(const List *tenants, const List *left)
{
	ListCell   *lc;

	foreach(lc, left)
		if (lacks_any(lfirst(lc), tenants))
			end_line(((Left *) lfirst(lc))->sub_id);
}

/* is_returning: whether a tenant is in a list */
static bool
is_returning(const List *tenants, const text *tenant_id)
{
	ListCell   *lc;

	foreach(lc, tenants)
		if (sn_text_equal(((Apart *) lfirst(lc))->tenant_id, tenant_id))
			return true;
	return false;
}

/* bring_back: these tenants */
static void
bring_back(const List *tenants)
{
	Snapshot	snapshot = sn_snapshot_now();
	int64		newest = sn_newest_round(snapshot);
	SnTableScan *scan = sn_table_change(SN_TRACK_TENANT, NULL, 0, NULL);
	TupleTableSlot *slot;

	UnregisterSnapshot(snapshot);
	Assert(sn_round_is_ours());
	while ((slot = sn_table_next(scan)) != NULL)
	{
		bool		isnull;

		if (is_returning(tenants, DatumGetTextPP(slot_getattr(slot,
														   Anum_on_tenant_id,
														   &isnull))))
			sn_table_delete(scan);
	}
	sn_table_end(scan);
	CommandCounterIncrement();
	sn_tracks_end(newest);
	CommandCounterIncrement();
	sn_note_weights_changed();

	/* before the commit: the next round looks at it when it has the lock */
	(void) pg_atomic_fetch_add_u64(&sn_database()->tracks, 1);
}

/*
 * come_back: tenants that have nothing left on their tracks; or of them those that
 * share one.  Whether there is more to do in another transaction: subscriptions have
 * to stand in line before.
 */
static bool
come_back(bool shared_only)
{
	List	   *left;
	List	   *tenants;

	if (!sn_present(SN_TRACK_TENANT) || sn_round_taken())
		return false;
	tenants = who_may(shared_only, &left);
	if (form_lines(&tenants, left))
		return true;
	if (without_waiting(tenants, left) == NIL || !sn_lock_round())
		return false;
	if (sn_lock_streams(false))
	{
		tenants = without_waiting(who_may(shared_only, &left), left);
		if (tenants != NIL)
		{
			Assert(sn_round_is_ours());
			end_lines(tenants, left);
			bring_back(tenants);
			return false;		/* rounds wait for what we wrote */
		}
	}
	sn_unlock_round();
	return false;
}

/*
 * is_over: whether a subscription has passed the round up to which its lanes stood in
 * line
 */
static bool
is_over(int sub_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnSub	   *sub = sn_sub_by_id(sub_id);
	bool		result = sub != NULL && sub->in_line_pos != 0 &&
		!sn_sub_lags(sub, SN_POS_ROUND(sub->in_line_pos) - 1, snapshot);

	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * leave_lines: subscriptions that stand in line without an end, for whom nobody has
 * come back, do so up to now; one that has passed its end stands side by side.  That
 * is looked at once more under the lock of subscriptions: others may have put it in
 * line anew.
 */
static void
leave_lines(void)
{
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		int			sub_id = lfirst_int(lc);
		SnSub	   *sub = sn_sub_by_id(sub_id);
		SnPos		end = sub == NULL ? 0 : sub->in_line_pos;

		if (end == 0)
			continue;
		if (is_over(sub_id) && sn_lock_streams(false) && is_over(sub_id))
			(void) sn_sub_stand_in_line(sub_id, 0);
		else if (end == SN_ROUND_POS(SN_ROUND_MAX) && sn_lock_streams(false))
			end_line(sub_id);
	}
}

/* sn_tracks_step: bring those back who may; nobody stands in line for ever */
bool
sn_tracks_step(void)
{
	if (come_back(false))
		return true;
	leave_lines();
	return false;
}

/* sn_tracks_relieve: bring those back who share a track and may; whether there is more to do */
bool
sn_tracks_relieve(void)
{
	return come_back(true);
}
