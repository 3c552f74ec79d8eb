/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * come_back.c
 *		Tenants that were set apart (sequencer/tracks.c) come back to the common
 *		track.
 *
 * That is when every subscription has passed all there is of their track: what
 * they publish from then on cannot come before it.  It is looked at once more
 * under the lock of rounds, so that nothing more comes to the track, and that of
 * subscriptions, so that none is being made that begins before.  A relay and who
 * begins in the past read all tracks in one order, and are not concerned.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

#include "queue/lag.h"
#include "queue/subscription.h"
#include "sequencer/sequencer.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "upkeep/maintenance.h"

/* passed_tracks: those of these tracks that every subscription has passed */
static int
passed_tracks(int tracks)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));

		if (sub != NULL && !sub->is_relay && tracks != 0)
			tracks &= ~sn_sub_lags_in(sub, tracks, snapshot);
	}
	UnregisterSnapshot(snapshot);
	return tracks;
}

/* tracks_of_tenants: the tracks that tenants have, a bit for each */
static int
tracks_of_tenants(void)
{
	SnTableScan *scan = sn_table_read(SN_TRACK_TENANT, NULL);
	TupleTableSlot *slot;
	int			result = 0;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		bool		isnull;

		result |= 1 << DatumGetInt32(slot_getattr(slot, Anum_on_track,
												  &isnull));
	}
	sn_table_end(scan);
	return result & ~(1 << SN_TRACK_COMMON);
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

/* sn_tracks_step: bring those back whose track is empty */
bool
sn_tracks_step(void)
{
	int			tracks;

	if (!sn_present(SN_TRACK_TENANT) || sn_round_taken())
		return false;
	tracks = tracks_of_tenants();
	if (tracks == 0 || passed_tracks(tracks) == 0 || !sn_lock_round())
		return false;
	if (sn_lock_streams(false))
		tracks = passed_tracks(tracks);
	else
		tracks = 0;
	if (tracks != 0)
		bring_back(tracks);
	else
		sn_unlock_round();
	return false;
}
