/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * lane.c
 *		The journal of lanes: the newest version of a lane is its state.
 *
 * Whoever appends a version holds the lane's lock and has read the one before
 * with a snapshot taken after he got it.  Which half of the journal takes rows
 * is asked under that lock, so that maintenance, which moves lanes over one by
 * one under their locks, misses none.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "queue/lane.h"
#include "store/lane_hints.h"

#define LOOK_BACK	1000		/* versions: a token that is older is stale, so that a
								 * guess does not read the whole journal */

/* count_clear: how many bits are clear */
static int
count_clear(const SnBits *bits)
{
	return bits->nbytes * 8 -
		(int) pg_popcount((const char *) bits->bytes, bits->nbytes);
}

/* sn_bits_get: whether a bit is set; those past the end are not */
bool
sn_bits_get(const SnBits *bits, int i)
{
	return i / 8 < bits->nbytes && (bits->bytes[i / 8] & 1 << i % 8) != 0;
}

/* sn_bits_set: set a bit that the bitmap has */
void
sn_bits_set(SnBits *bits, int i)
{
	Assert(i / 8 < bits->nbytes);
	bits->bytes[i / 8] |= 1 << i % 8;
}

/* sn_bits_make: a bitmap of n clear bits, padded with set ones */
void
sn_bits_make(SnBits *bits, int n)
{
	bits->nbytes = (n + 7) / 8;
	bits->bytes = palloc0(Max(bits->nbytes, 1));
	for (; n < bits->nbytes * 8; n++)
		sn_bits_set(bits, n);
}

/* value: a column of a row, and whether it is null */
static inline Datum
value(TupleTableSlot *slot, AttrNumber column, bool *isnull)
{
	*isnull = slot->tts_isnull[column - 1];
	return slot->tts_values[column - 1];
}

#define int8_of(slot, column) \
	DatumGetInt64((slot)->tts_values[(column) - 1])
#define int4_of(slot, column) \
	DatumGetInt32((slot)->tts_values[(column) - 1])

/* read_optional: the columns that may be null */
static void
read_optional(TupleTableSlot *slot, SnLaneState *state)
{
	bool		isnull;
	Datum		datum;

	datum = value(slot, Anum_lane_batch, &isnull);
	state->held = !isnull;
	if (!isnull)
		state->batch = *DatumGetUUIDP(datum);
	datum = value(slot, Anum_lane_done_batch, &isnull);
	state->done = !isnull;
	if (!isnull)
		state->done_batch = *DatumGetUUIDP(datum);
	datum = value(slot, Anum_lane_lease_until, &isnull);
	state->lease_until = isnull ? 0 : DatumGetTimestampTz(datum);
	datum = value(slot, Anum_lane_claimed_at, &isnull);
	state->claimed_at = isnull ? 0 : DatumGetTimestampTz(datum);
	datum = value(slot, Anum_lane_worker_id, &isnull);
	state->worker_id = isnull ? NULL : DatumGetTextPCopy(datum);
	datum = value(slot, Anum_lane_resolved, &isnull);
	if (!isnull)
	{
		bytea	   *bitmap = DatumGetByteaPCopy(datum);

		state->resolved.bytes = (uint8 *) VARDATA(bitmap);
		state->resolved.nbytes = VARSIZE(bitmap) - VARHDRSZ;
	}
	datum = value(slot, Anum_lane_retries, &isnull);
	if (!isnull)
	{
		ArrayType  *array = DatumGetArrayTypePCopy(datum);

		state->nretries = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
		state->retries = (SnPos *) ARR_DATA_PTR(array);
	}
	datum = value(slot, Anum_lane_common_pos, &isnull);
	state->common_pos = isnull ? 0 : DatumGetInt64(datum);
}

/* read_lane_row: a row of the journal as a state */
static void
read_lane_row(TupleTableSlot *slot, SnLaneState *state)
{
	slot_getallattrs(slot);
	state->ver = int8_of(slot, Anum_lane_ver);
	state->pos = int8_of(slot, Anum_lane_pos);
	state->end_pos = int8_of(slot, Anum_lane_end_pos);
	state->lost_pos = int8_of(slot, Anum_lane_lost_pos);
	state->lost = int4_of(slot, Anum_lane_lost);
	state->open = int4_of(slot, Anum_lane_open);
	state->parked = int8_of(slot, Anum_lane_parked);
	state->completed = int8_of(slot, Anum_lane_completed);
	state->failed = int8_of(slot, Anum_lane_failed);
	state->dead = int8_of(slot, Anum_lane_dead);
	read_optional(slot, state);
}

/* find_newest: the newest row of a strip, if its version is not less than from */
static TupleTableSlot *
find_newest(SnJournalReader *reader, int sub_id, int strip, int64 from,
			Snapshot snapshot)
{
	ScanKeyData keys[3];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, strip);
	sn_key_int8(&keys[2], 3, BTGreaterEqualStrategyNumber, from);
	return sn_journal_newest(reader, SN_LANES, snapshot, 3, keys);
}

/* newest_lane_row: the newest row of a strip, or NULL */
static TupleTableSlot *
newest_lane_row(SnJournalReader *reader, int sub_id, int strip,
				Snapshot snapshot)
{
	int64	   *seen = sn_lane_seen(sub_id, strip);
	TupleTableSlot *slot = find_newest(reader, sub_id, strip, *seen, snapshot);
	bool		isnull;

	if (slot == NULL && *seen > 0)
		slot = find_newest(reader, sub_id, strip, 0, snapshot);
	*seen = slot == NULL ? 0 :
		DatumGetInt64(slot_getattr(slot, Anum_lane_ver, &isnull));
	return slot;
}

/*
 * sn_lane_read_as_of: the state of a track of a lane as a snapshot shows it, by
 * a reader that can be used for more.  Memory of the state is the caller's
 * context's.
 */
void
sn_lane_read_as_of(SnLaneReader *reader, const SnSub *sub, int lane, int track,
				   Snapshot snapshot, SnLaneState *state)
{
	TupleTableSlot *slot = newest_lane_row(reader, sub->sub_id,
										   SN_LANE_TRACK(lane, track),
										   snapshot);

	memset(state, 0, sizeof(SnLaneState));
	state->sub_id = sub->sub_id;
	state->lane = lane;
	state->track = track;
	if (slot != NULL)
		read_lane_row(slot, state);
	else
		state->pos = state->end_pos = track == SN_TRACK_COMMON ?
			sub->start_pos : sub->tracks_pos;
}

/* sn_lane_read_next: the same by one who has just taken the snapshot */
void
sn_lane_read_next(SnLaneReader *reader, const SnSub *sub, int lane, int track,
				  Snapshot snapshot, SnLaneState *state)
{
	if (!sn_lane_recall(sub->sub_id, SN_LANE_TRACK(lane, track), state))
		sn_lane_read_as_of(reader, sub, lane, track, snapshot, state);
}

/* sn_lane_read_end: close a reader */
void
sn_lane_read_end(SnLaneReader *reader)
{
	sn_journal_end(reader);
}

/* sn_lane_read: the state of a lane's common track under a snapshot */
void
sn_lane_read(const SnSub *sub, int lane, Snapshot snapshot, SnLaneState *state)
{
	SnLaneReader reader = {false};

	sn_lane_read_next(&reader, sub, lane, SN_TRACK_COMMON, snapshot, state);
	sn_lane_read_end(&reader);
}

/* resolved_in: whether a half's newest rows tell that a batch was resolved */
static bool
resolved_in(int half, const SnSub *sub, int strip, const pg_uuid_t *batch,
			Snapshot snapshot)
{
	ScanKeyData keys[2];
	SnScan		scan;
	bool		found = false;
	int			i;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub->sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, strip);
	sn_journal_scan(&scan, SN_LANES, half, snapshot, 2, keys);
	for (i = 0; !found && i < LOOK_BACK && sn_scan_next(&scan); i++)
	{
		bool		isnull;
		Datum		done = slot_getattr(scan.slot, Anum_lane_done_batch,
										&isnull);

		found = !isnull &&
			memcmp(DatumGetUUIDP(done), batch, UUID_LEN) == 0;
	}
	sn_scan_end(&scan);
	return found;
}

/*
 * sn_lane_resolved_by: whether the journal remembers that a batch was resolved
 * in a strip, when others have had it since.
 */
bool
sn_lane_resolved_by(const SnSub *sub, int strip, const pg_uuid_t *batch,
					Snapshot snapshot)
{
	return resolved_in(0, sub, strip, batch, snapshot) ||
		resolved_in(1, sub, strip, batch, snapshot);
}

/* bitmap_datum: the bitmap of a state as a bytea */
static Datum
bitmap_datum(const SnBits *bits)
{
	bytea	   *result = palloc(VARHDRSZ + bits->nbytes);

	SET_VARSIZE(result, VARHDRSZ + bits->nbytes);
	memcpy(VARDATA(result), bits->bytes, bits->nbytes);
	return PointerGetDatum(result);
}

/* retries_datum: the positions of a state's retries as a bigint[] */
static Datum
retries_datum(const SnLaneState *state)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + state->nretries * sizeof(SnPos);
	ArrayType  *array = palloc0(size);

	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = INT8OID;
	ARR_DIMS(array)[0] = state->nretries;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), state->retries,
		   state->nretries * sizeof(SnPos));
	return PointerGetDatum(array);
}

/* set_numbers: the columns that are never null */
static void
set_numbers(Datum *values, const SnLaneState *state)
{
	values[Anum_lane_sub_id - 1] = Int32GetDatum(state->sub_id);
	values[Anum_lane_lane - 1] =
		Int32GetDatum(SN_LANE_TRACK(state->lane, state->track));
	values[Anum_lane_ver - 1] = Int64GetDatum(state->ver);
	values[Anum_lane_pos - 1] = Int64GetDatum(state->pos);
	values[Anum_lane_end_pos - 1] = Int64GetDatum(state->end_pos);
	values[Anum_lane_lost_pos - 1] = Int64GetDatum(state->lost_pos);
	values[Anum_lane_lost - 1] = Int32GetDatum(state->lost);
	values[Anum_lane_open - 1] = Int32GetDatum(state->open);
	values[Anum_lane_parked - 1] = Int64GetDatum(state->parked);
	values[Anum_lane_completed - 1] = Int64GetDatum(state->completed);
	values[Anum_lane_failed - 1] = Int64GetDatum(state->failed);
	values[Anum_lane_dead - 1] = Int64GetDatum(state->dead);
}

/*
 * assert_state: what holds of every version.  Positions in the range are no
 * numbers without gaps, so a bitmap may have more bits or fewer than they span.
 * The letter of an event that lacks its tenant is counted where it died, and no
 * longer where its key belongs: so `dead` may be less than none.
 */
static void
assert_state(const SnLaneState *state)
{
	Assert(sn_lane_is_ours(state->sub_id, state->lane));
	Assert(state->lane >= 0 && state->lane < sn_node()->lanes);
	Assert(state->pos >= 0 && state->pos <= state->end_pos);
	Assert(state->parked >= 0);
	Assert(state->completed >= 0 && state->failed >= 0);
	Assert((state->lost == 0) == (state->lost_pos == 0));
	Assert(state->track >= 0 && state->track < SN_TRACKS);
	Assert((state->track == SN_TRACK_COMMON) == (state->whole == NULL));
	Assert(state->whole == NULL || (state->parked == 0 && state->dead == 0));

	/* a batch has the lane until all of its lanes are done; nobody, nothing */
	Assert(state->open >= state->nretries && state->nretries >= 0);
	Assert(state->held || state->open == 0);
	Assert(!state->held || (state->lease_until != 0 && state->claimed_at != 0));

	/* the bitmap is for a range; its clear bits are open, or left for later */
	Assert(state->resolved.bytes == NULL || state->pos < state->end_pos);
	Assert(state->resolved.bytes == NULL ||
		   count_clear(&state->resolved) >=
		   state->open - state->nretries);
}

/* append_row: the state becomes the next version of its strip */
static void
append_row(SnLaneAppender *appender, SnLaneState *state)
{
	SnSubSlot  *slot = sn_sub_slot(state->sub_id);
	Datum		values[Natts_lane];
	bool		nulls[Natts_lane] = {false};

	if (appender->inserter == NULL)
		appender->inserter = sn_journal_append(SN_LANES);
	if (state->held || state->pos < state->end_pos)
		sn_hint_busy(slot, state->lane, state->track);
	state->ver++;
	set_numbers(values, state);
	sn_set_column(values, nulls, Anum_lane_batch, state->held,
				 UUIDPGetDatum(&state->batch));
	sn_set_column(values, nulls, Anum_lane_done_batch, state->done,
				 UUIDPGetDatum(&state->done_batch));
	sn_set_column(values, nulls, Anum_lane_lease_until, state->held,
				 TimestampTzGetDatum(state->lease_until));
	sn_set_column(values, nulls, Anum_lane_claimed_at, state->claimed_at != 0,
				 TimestampTzGetDatum(state->claimed_at));
	sn_set_column(values, nulls, Anum_lane_worker_id, state->worker_id != NULL,
				 PointerGetDatum(state->worker_id));
	sn_set_column(values, nulls, Anum_lane_resolved,
				 state->resolved.bytes != NULL,
				 state->resolved.bytes ? bitmap_datum(&state->resolved) : 0);
	sn_set_column(values, nulls, Anum_lane_retries, state->nretries > 0,
				 state->nretries > 0 ? retries_datum(state) : 0);
	sn_set_column(values, nulls, Anum_lane_common_pos,
				 state->track != SN_TRACK_COMMON,
				 Int64GetDatum(state->common_pos));
	sn_insert_row(appender->inserter, values, nulls);
	sn_lane_remember(state, slot);
	state->changed = false;
}

/*
 * sn_lane_append: the state becomes the next version of its track of the lane,
 * visible after sn_lane_append_end(), and what it has changed of the lane as a
 * whole goes with it.  All of one appender goes to the same half.
 */
void
sn_lane_append(SnLaneAppender *appender, SnLaneState *state)
{
	assert_state(state);
	append_row(appender, state);
	if (state->whole != NULL && state->whole->changed)
		append_row(appender, state->whole);
}

/* sn_lane_append_end: write what was appended */
void
sn_lane_append_end(SnLaneAppender *appender)
{
	if (appender->inserter != NULL)
		(void) sn_insert_end(appender->inserter);
	appender->inserter = NULL;
}

/*
 * sn_lane_release: no batch holds the lane any more.  Once all of its range is
 * resolved, the lane has passed it.
 */
void
sn_lane_release(SnLaneState *state)
{
	state->held = false;
	state->open = 0;
	state->nretries = 0;
	state->worker_id = NULL;
	state->changed = true;
	if (state->resolved.bytes != NULL &&
		count_clear(&state->resolved) == 0)
	{
		state->pos = state->end_pos;
		state->resolved.bytes = NULL;
		state->resolved.nbytes = 0;
	}
	if (state->pos >= state->lost_pos)
	{
		state->lost_pos = 0;
		state->lost = 0;
	}
}

/* sn_lane_behind: whether the newest row is in the half that takes no rows */
bool
sn_lane_behind(SnLaneReader *reader, int sub_id, int strip, Snapshot snapshot)
{
	return newest_lane_row(reader, sub_id, strip, snapshot) != NULL &&
		reader->newest != sn_journal_used(SN_LANES);
}

/*
 * sn_lane_carry_over: make sure that the newest version of a strip is in the
 * half that takes rows now.  False when somebody holds the lane: try later.
 * The lock is kept until the end of the transaction if a row was written.
 */
bool
sn_lane_carry_over(int sub_id, int strip)
{
	int			lane = SN_STRIP_LANE(strip);
	SnLaneReader reader = {false};
	SnLaneAppender appender = {NULL};
	SnLaneState state = {0};
	Snapshot	snapshot;
	TupleTableSlot *slot;
	bool		behind;

	if (!sn_lock_lane(sub_id, lane, false))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = newest_lane_row(&reader, sub_id, strip, snapshot);
	behind = slot != NULL && reader.newest != sn_journal_used(SN_LANES);
	state.sub_id = sub_id;
	state.lane = lane;
	state.track = SN_STRIP_TRACK(strip);
	if (behind)
		read_lane_row(slot, &state);
	sn_lane_read_end(&reader);
	UnregisterSnapshot(snapshot);
	if (!behind)
	{
		sn_unlock_lane(sub_id, lane);
		return true;
	}
	append_row(&appender, &state);	/* its counts, too, as they are */
	sn_lane_append_end(&appender);
	SN_FAULT(journal_carry);
	return true;
}
