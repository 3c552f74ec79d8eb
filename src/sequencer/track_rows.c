/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * track_rows.c
 *		The tracks that were ever used, and the tenants that have one.
 *
 * Rows change under the lock of rounds: with the round that sets a tenant apart
 * (tracks.c), and when he comes back (upkeep/come_back.c).  Anybody reads them, under
 * the snapshot that he reads slices with.
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/text.h"
#include "sequencer/round.h"
#include "sequencer/track_rows.h"
#include "store/store.h"

/*
 * sn_tracks_read: the tracks that a snapshot shows in use, and before which position
 * each has all its events: SN_POS_MAX where there may be more
 */
SnTracks
sn_tracks_read(Snapshot snapshot, SnPos ends[SN_TRACKS])
{
	SnTableScan *scan;
	TupleTableSlot *slot;
	SnTracks	result = SN_COMMON_BIT;

	memset(ends, 0, SN_TRACKS * sizeof(SnPos));
	ends[SN_TRACK_COMMON] = SN_POS_MAX;
	if (!sn_present(SN_TRACK))
		return result;			/* before an update of the extension */
	scan = sn_table_read(SN_TRACK, snapshot);
	while ((slot = sn_table_next(scan)) != NULL)
	{
		int			track =
			DatumGetInt32(slot->tts_values[Anum_track_no - 1]);

		if (track < 0 || track >= SN_TRACKS)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("table \"sentinai_internal.track\" has a track %d",
							track)));
		ends[track] = slot->tts_isnull[Anum_track_last_round - 1] ? SN_POS_MAX :
			SN_ROUND_POS(DatumGetInt64(slot->tts_values[Anum_track_last_round - 1]) + 1);
		result |= SN_TRACK_BIT(track);
	}
	sn_table_end(scan);
	return result;
}

/* sn_tracks_used: the tracks that a snapshot shows in use */
SnTracks
sn_tracks_used(Snapshot snapshot)
{
	SnPos		ends[SN_TRACKS];

	return sn_tracks_read(snapshot, ends);
}

/* sn_track_of: the track of a tenant by a snapshot */
int
sn_track_of(const text *tenant_id, Snapshot snapshot)
{
	SnTableScan *scan;
	TupleTableSlot *slot;
	int			result = SN_TRACK_COMMON;

	if (!sn_present(SN_TRACK_TENANT))
		return result;
	scan = sn_table_read(SN_TRACK_TENANT, snapshot);
	while (result == SN_TRACK_COMMON && (slot = sn_table_next(scan)) != NULL)
	{
		slot_getallattrs(slot);
		if (sn_text_equal(DatumGetTextPP(slot->tts_values[Anum_on_tenant_id - 1]),
						  tenant_id))
			result = DatumGetInt32(slot->tts_values[Anum_on_track - 1]);
	}
	sn_table_end(scan);
	return result;
}

/* sn_tracks_apart: the tenants that a snapshot shows set apart; how many */
int
sn_tracks_apart(Snapshot snapshot, SnApart **list)
{
	SnTableScan *scan;
	TupleTableSlot *slot;
	int			places_made = 8;
	int			n = 0;

	*list = NULL;
	if (!sn_present(SN_TRACK_TENANT))
		return 0;
	*list = palloc(places_made * sizeof(SnApart));
	scan = sn_table_read(SN_TRACK_TENANT, snapshot);
	while ((slot = sn_table_next(scan)) != NULL)
	{
		SnApart    *apart;

		if (n == places_made)
		{
			places_made *= 2;
			*list = repalloc(*list, places_made * sizeof(SnApart));
		}
		apart = &(*list)[n++];
		slot_getallattrs(slot);
		apart->tenant_id =
			DatumGetTextPCopy(slot->tts_values[Anum_on_tenant_id - 1]);
		apart->track =
			DatumGetInt32(slot->tts_values[Anum_on_track - 1]) % SN_TRACKS;
		apart->since_round =
			DatumGetInt64(slot->tts_values[Anum_on_since_round - 1]);
	}
	sn_table_end(scan);
	return n;
}

/* write_track: a row for a track; last: SN_ROUND_MAX while it has no last round */
static void
write_track(int track, int64 first, int64 last)
{
	Datum		values[Natts_track];
	bool		nulls[Natts_track] = {false};

	Assert(sn_round_is_ours());
	values[Anum_track_no - 1] = Int32GetDatum(track);
	values[Anum_track_first_round - 1] = Int64GetDatum(first);
	values[Anum_track_last_round - 1] = Int64GetDatum(last);
	nulls[Anum_track_last_round - 1] = last == SN_ROUND_MAX;
	sn_insert_one(SN_TRACK, values, nulls);
}

/* sn_track_use: from this round on a track that nobody had may have events */
void
sn_track_use(int track, int64 round_no)
{
	SnTableScan *scan = sn_table_change(SN_TRACK, NULL, 0, NULL);
	TupleTableSlot *slot;
	int64		first = round_no;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		if (DatumGetInt32(slot->tts_values[Anum_track_no - 1]) != track)
			continue;
		first = DatumGetInt64(slot->tts_values[Anum_track_first_round - 1]);
		sn_table_delete(scan);
	}
	sn_table_end(scan);
	write_track(track, first, SN_ROUND_MAX);
}

/*
 * sn_tracks_end: tracks that no tenant has now have nothing from rounds after the
 * newest one.  The caller has the lock of rounds.
 */
void
sn_tracks_end(int64 newest)
{
	Snapshot	snapshot = sn_snapshot_now();
	SnTracks	ended = sn_tracks_used(snapshot) & ~SN_COMMON_BIT;
	int64		first[SN_TRACKS];
	SnApart    *apart;
	int			n = sn_tracks_apart(snapshot, &apart);
	SnTableScan *scan = sn_table_change(SN_TRACK, NULL, 0, NULL);
	TupleTableSlot *slot;
	int			track;
	int			i;

	for (i = 0; i < n; i++)
		ended &= ~SN_TRACK_BIT(apart[i].track);
	while ((slot = sn_table_next(scan)) != NULL)
	{
		track = DatumGetInt32(slot->tts_values[Anum_track_no - 1]);
		if (!slot->tts_isnull[Anum_track_last_round - 1])
			ended &= ~SN_TRACK_BIT(track);
		if ((ended & SN_TRACK_BIT(track)) == 0)
			continue;
		first[track] =
			DatumGetInt64(slot->tts_values[Anum_track_first_round - 1]);
		sn_table_delete(scan);
	}
	sn_table_end(scan);
	foreach_track(track, ended)
		write_track(track, first[track], newest);
	UnregisterSnapshot(snapshot);
}

/* sn_track_give: from this round on a track has a tenant's events */
void
sn_track_give(text *tenant_id, int track, int64 round_no)
{
	Datum		values[Natts_on];
	bool		nulls[Natts_on] = {false};

	Assert(sn_round_is_ours());
	values[Anum_on_tenant_id - 1] = PointerGetDatum(tenant_id);
	values[Anum_on_track - 1] = Int32GetDatum(track);
	values[Anum_on_since_round - 1] = Int64GetDatum(round_no);
	sn_insert_one(SN_TRACK_TENANT, values, nulls);
}
