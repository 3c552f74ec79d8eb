/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * come_back.c
 *		Tenants that were set apart (sequencer/tracks.c) come back to the common
 *		track.
 *
 * That is when every subscription has passed all there is of their track: what
 * they publish from then on cannot come before it.  Where tenants share a track
 * they do not wait for a subscription that nobody works for: its lanes hand out
 * their tracks in the order of positions, up to the round at which these tenants
 * come back (queue/lane_track.c).
 *
 * It is looked at once more under the lock of rounds, so that nothing more comes
 * to the track, and that of subscriptions, so that none is being made that begins
 * before.  A relay and who begins in the past read all tracks in one order, and
 * are not concerned.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

#include "queue/lag.h"
#include "queue/stream.h"
#include "queue/subscription.h"
#include "sequencer/sequencer.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/lane_hints.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "upkeep/maintenance.h"

/* Tracks, a bit for each */
typedef struct Tracks
{
	int			used;			/* that tenants have */
	int			shared;			/* that more than one has */
	int			passed;			/* of them, that every subscription has passed */
	int			left;			/* that only those lag in that nobody works for */
} Tracks;

/* look_at_tenants: which tracks they have */
static void
look_at_tenants(Tracks *tracks)
{
	SnTableScan *scan = sn_table_read(SN_TRACK_TENANT, NULL);
	TupleTableSlot *slot;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		bool		isnull;
		int			bit = 1 << DatumGetInt32(slot_getattr(slot, Anum_on_track,
														  &isnull));

		tracks->shared |= tracks->used & bit;
		tracks->used |= bit;
	}
	sn_table_end(scan);
	tracks->used &= ~(1 << SN_TRACK_COMMON);
	tracks->shared &= tracks->used;
}

/* is_idle: whether nobody works for a subscription */
static bool
is_idle(const SnSub *sub)
{
	return sn_hint_unworked(sn_sub_slot_find(sub->sub_id));
}

/* look_at_subscriptions: in which of some tracks they have left something */
static void
look_at_subscriptions(Tracks *tracks, int among)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			lacked = 0;		/* by those that somebody works for */
	int			lagging = 0;	/* by any */
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));
		int			lags;

		if (sub == NULL || sub->is_relay || (among & ~lacked) == 0)
			continue;
		lags = sn_sub_lags_in(sub, among & ~lacked, snapshot);
		lagging |= lags;
		if (!is_idle(sub))
			lacked |= lags;
	}
	UnregisterSnapshot(snapshot);
	tracks->passed = among & ~lagging;
	tracks->left = among & lagging & ~lacked & tracks->shared;
}

/*
 * put_in_line: those that nobody works for hand out their tracks in the order of
 * positions up to now, if they lag in some of these.  Returns the tracks of which
 * all do.
 */
static int
put_in_line(int tracks)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		round_no = sn_newest_round(snapshot) + 1;
	ListCell   *lc;

	Assert(sn_round_is_ours());
	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));
		int			lags = sub == NULL || sub->is_relay || tracks == 0 ? 0 :
			sn_sub_lags_in(sub, tracks, snapshot);

		if (lags != 0 && (!is_idle(sub) ||
						  !sn_sub_stand_in_line(sub->sub_id, round_no)))
			tracks &= ~lags;
	}
	UnregisterSnapshot(snapshot);
	return tracks;
}

/* bring_back: the tenants of these tracks */
static void
bring_back(int tracks)
{
	SnTableScan *scan = sn_table_change(SN_TRACK_TENANT, NULL, 0, NULL);
	TupleTableSlot *slot;

	Assert(sn_round_is_ours());
	while ((slot = sn_table_next(scan)) != NULL)
	{
		bool		isnull;

		if (tracks & 1 << DatumGetInt32(slot_getattr(slot, Anum_on_track,
													 &isnull)))
			sn_table_delete(scan);
	}
	sn_table_end(scan);
	CommandCounterIncrement();
	sn_note_weights_changed();

	/* before the commit: the next round looks at it when it has the lock */
	(void) pg_atomic_fetch_add_u64(&sn_database()->tracks, 1);
}

/* come_back: tenants of those tracks that are passed; or only of shared ones */
static void
come_back(bool shared_only)
{
	Tracks		tracks = {0};
	int			among;

	if (!sn_present(SN_TRACK_TENANT) || sn_round_taken())
		return;
	look_at_tenants(&tracks);
	among = shared_only ? tracks.shared : tracks.used;
	if (among == 0)
		return;
	look_at_subscriptions(&tracks, among);
	if ((tracks.passed | tracks.left) == 0 || !sn_lock_round())
		return;
	if (sn_lock_streams(false))
	{
		look_at_subscriptions(&tracks, among);
		if (tracks.left != 0)
			tracks.passed |= put_in_line(tracks.left);
		if (tracks.passed != 0)
		{
			bring_back(tracks.passed);
			return;				/* what we wrote needs the lock until the end */
		}
	}
	sn_unlock_round();
}

/*
 * stand_side_by_side: a subscription that has passed the round up to which its lanes
 * stood in line.  One at a time, for its locks.
 */
static void
stand_side_by_side(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));

		if (sub == NULL || sub->in_line_pos == 0 ||
			sn_sub_lags(sub, SN_POS_ROUND(sub->in_line_pos) - 1, snapshot))
			continue;
		(void) sn_sub_stand_in_line(sub->sub_id, 0);
		break;
	}
	UnregisterSnapshot(snapshot);
}

/* sn_tracks_step: bring those back whose track is empty; nobody stands in line for ever */
bool
sn_tracks_step(void)
{
	stand_side_by_side();
	come_back(false);
	return false;
}

/* sn_tracks_relieve: bring those back who share a track that is empty */
void
sn_tracks_relieve(void)
{
	come_back(true);
}
