/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retry.c
 *		Rows of event_retry: who reads or writes that table does it here.
 *
 * Whatever changes runs under the lock of the row's lane.  Of an ordered
 * subscription's rows with one key the first, by position, is the head: it
 * alone has a due time, unless it is a dead letter that blocks the key.  Of an
 * unordered one every row has a due time.  The wait that a failure began is
 * the row's own and outlasts its time behind others: a head is due when that
 * has passed, too.
 *
 * A row is changed by deleting it and inserting another: there are few of them,
 * and the index on due times is a partial one.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "log/event.h"
#include "queue/retry.h"

/* sn_retry_read: the row of a scan, copied */
void
sn_retry_read(SnScan *scan, SnRetry *retry)
{
	TupleTableSlot *slot = scan->slot;
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;

	memset(retry, 0, sizeof(SnRetry));
	slot_getallattrs(slot);
	retry->sub_id = DatumGetInt32(values[Anum_retry_sub_id - 1]);
	retry->lane = DatumGetInt32(values[Anum_retry_lane - 1]);
	retry->pos = DatumGetInt64(values[Anum_retry_pos - 1]);
	retry->event_id = *DatumGetUUIDP(values[Anum_retry_event_id - 1]);
	retry->hash = DatumGetInt32(values[Anum_retry_partition_hash - 1]);
	retry->attempt = DatumGetInt32(values[Anum_retry_attempt - 1]);
	retry->solo = DatumGetBool(values[Anum_retry_solo - 1]);
	retry->dead = DatumGetBool(values[Anum_retry_dead - 1]);
	retry->has_due = !nulls[Anum_retry_due_at - 1];
	if (retry->has_due)
		retry->due_at = DatumGetTimestampTz(values[Anum_retry_due_at - 1]);
	if (!nulls[Anum_retry_not_before - 1])
		retry->not_before =
			DatumGetTimestampTz(values[Anum_retry_not_before - 1]);
	if (!nulls[Anum_retry_first_failed_at - 1])
		retry->first_failed_at =
			DatumGetTimestampTz(values[Anum_retry_first_failed_at - 1]);
	retry->tenant_id = DatumGetTextPCopy(values[Anum_retry_tenant_id - 1]);
	if (!nulls[Anum_retry_aggregate_id - 1])
		retry->aggregate_id =
			DatumGetTextPCopy(values[Anum_retry_aggregate_id - 1]);
	if (!nulls[Anum_retry_last_error - 1])
		retry->last_error =
			DatumGetTextPCopy(values[Anum_retry_last_error - 1]);
	if (!nulls[Anum_retry_history - 1])
		retry->history = DatumGetJsonbPCopy(values[Anum_retry_history - 1]);
	if (!nulls[Anum_retry_topic - 1])
		retry->topic = DatumGetTextPCopy(values[Anum_retry_topic - 1]);
	retry->tid = sn_scan_place(scan);
}

/* sn_retry_get: the row at a position, or false */
bool
sn_retry_get(int sub_id, int lane, SnPos pos, Snapshot snapshot,
			 SnRetry *retry)
{
	ScanKeyData keys[3];
	SnScan		scan;
	bool		found;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_int8(&keys[2], 3, BTEqualStrategyNumber, pos);
	sn_scan_named(&scan, SN_EVENT_RETRY, SN_EVENT_RETRY_PKEY,
				  snapshot, 3, keys, ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
		sn_retry_read(&scan, retry);
	sn_scan_end(&scan);
	return found;
}

/* sn_retry_find: the row of an event whose hash is known, or false; retry may be NULL */
bool
sn_retry_find(int sub_id, int lane, int32 hash, const pg_uuid_t *id,
			  Snapshot snapshot, SnRetry *retry)
{
	ScanKeyData keys[3];
	SnScan		scan;
	bool		found = false;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_int4(&keys[2], 3, BTEqualStrategyNumber, hash);
	sn_scan_named(&scan, SN_EVENT_RETRY, SN_EVENT_RETRY_KEY_IDX, snapshot, 3,
				  keys, ForwardScanDirection);
	while (!found && sn_scan_next(&scan))
	{
		bool		isnull;
		Datum		other = slot_getattr(scan.slot, Anum_retry_event_id,
										 &isnull);

		found = sn_uuid_cmp(DatumGetUUIDP(other), id) == 0;
		if (found && retry != NULL)
			sn_retry_read(&scan, retry);
	}
	sn_scan_end(&scan);
	return found;
}

/* row_has_key: whether a row is one of the key, hashes being equal */
static bool
row_has_key(TupleTableSlot *slot, const text *tenant_id,
			const text *aggregate_id)
{
	bool		isnull;
	Datum		datum;

	datum = slot_getattr(slot, Anum_retry_tenant_id, &isnull);
	if (!sn_text_equal(DatumGetTextPP(datum), tenant_id))
		return false;
	datum = slot_getattr(slot, Anum_retry_aggregate_id, &isnull);
	return sn_text_equal(isnull ? NULL : DatumGetTextPP(datum), aggregate_id);
}

/*
 * sn_retry_head: the first row of a key behind a position (-1: of all), or
 * false.  retry may be NULL, when its position is enough.
 */
bool
sn_retry_head(SnRetryProbe *probe, int sub_id, int lane, int32 hash,
			  const text *tenant_id, const text *aggregate_id, SnPos after,
			  Snapshot snapshot, SnRetry *retry)
{
	ScanKeyData keys[4];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_int4(&keys[2], 3, BTEqualStrategyNumber, hash);
	sn_key_int8(&keys[3], 4, BTGreaterStrategyNumber, after);
	if (probe->open)
		sn_scan_again(&probe->scan, snapshot, 4, keys);
	else
		sn_scan_named(&probe->scan, SN_EVENT_RETRY,
					  SN_EVENT_RETRY_KEY_IDX, snapshot, 4, keys,
					  ForwardScanDirection);
	probe->open = true;
	while (sn_scan_next(&probe->scan))
	{
		bool		isnull;

		if (!row_has_key(probe->scan.slot, tenant_id, aggregate_id))
			continue;
		probe->pos = DatumGetInt64(slot_getattr(probe->scan.slot,
												Anum_retry_pos, &isnull));
		if (retry != NULL)
			sn_retry_read(&probe->scan, retry);
		return true;
	}
	return false;
}

/* sn_retry_blocks: whether a key has rows; tells the key's hash as well */
bool
sn_retry_blocks(SnRetryProbe *probe, int sub_id, int lane,
				const text *tenant_id, const text *aggregate_id,
				Snapshot snapshot, int32 *hash)
{
	if (tenant_id == NULL)
		return false;			/* the event is gone, nobody knows its key */
	*hash = sn_key_hash(tenant_id, aggregate_id);
	return sn_retry_head(probe, sub_id, lane, *hash, tenant_id, aggregate_id,
						 -1, snapshot, NULL);
}

/* sn_retry_waits: whether an event whose hash is known has a row in a lane */
bool
sn_retry_waits(int sub_id, int lane, int32 hash, const pg_uuid_t *id,
			   Snapshot snapshot)
{
	return sn_retry_find(sub_id, lane, hash, id, snapshot, NULL);
}

/* sn_retry_scan_lane: the rows of a lane, by hash and position */
void
sn_retry_scan_lane(SnScan *scan, int sub_id, int lane, Snapshot snapshot)
{
	ScanKeyData keys[2];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_scan_named(scan, SN_EVENT_RETRY, SN_EVENT_RETRY_KEY_IDX, snapshot, 2,
				  keys, ForwardScanDirection);
}

/* sn_retry_scan_keys: the rows of all its lanes likewise */
void
sn_retry_scan_keys(SnScan *scan, int sub_id, Snapshot snapshot)
{
	ScanKeyData key;

	sn_key_int4(&key, 1, BTEqualStrategyNumber, sub_id);
	sn_scan_named(scan, SN_EVENT_RETRY, SN_EVENT_RETRY_KEY_IDX, snapshot, 1,
				  &key, ForwardScanDirection);
}

/*
 * sn_retry_scan_due: the heads of a lane that are due from a time on and by
 * another, in order: by due time, and by their places where that is the same
 */
void
sn_retry_scan_due(SnScan *scan, int sub_id, int lane, TimestampTz from,
				  TimestampTz until, Snapshot snapshot)
{
	ScanKeyData keys[4];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_time(&keys[2], 3, BTGreaterEqualStrategyNumber, from);
	sn_key_time(&keys[3], 3, BTLessEqualStrategyNumber, until);
	sn_scan_named(scan, SN_EVENT_RETRY, SN_EVENT_RETRY_DUE_IDX, snapshot, 4,
				  keys, ForwardScanDirection);
}

/*
 * sn_retry_next_due: when the first head of a lane is due that is not due by a
 * time; DT_NOEND when there is none
 */
TimestampTz
sn_retry_next_due(int sub_id, int lane, TimestampTz after, Snapshot snapshot)
{
	TimestampTz result = DT_NOEND;
	ScanKeyData keys[3];
	SnScan		scan;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	sn_key_time(&keys[2], 3, BTGreaterStrategyNumber, after);
	sn_scan_named(&scan, SN_EVENT_RETRY, SN_EVENT_RETRY_DUE_IDX, snapshot, 3,
				  keys, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;

		result = DatumGetTimestampTz(slot_getattr(scan.slot,
												  Anum_retry_due_at,
												  &isnull));
	}
	sn_scan_end(&scan);
	return result;
}

/* sn_retry_scan_topic: the rows of a topic, NULL being one too, in a lane */
void
sn_retry_scan_topic(SnScan *scan, int sub_id, const text *topic, int lane,
					Snapshot snapshot)
{
	ScanKeyData keys[3];

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	if (topic != NULL)
		sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
					PointerGetDatum(topic));
	else
		ScanKeyEntryInitialize(&keys[1], SK_ISNULL | SK_SEARCHNULL, 2,
							   InvalidStrategy, InvalidOid, InvalidOid,
							   InvalidOid, (Datum) 0);
	sn_key_int4(&keys[2], 3, BTEqualStrategyNumber, lane);
	sn_scan_named(scan, SN_EVENT_RETRY, SN_EVENT_RETRY_TOPIC_IDX, snapshot, 3,
				  keys, ForwardScanDirection);
}

/* sn_retry_topic_after: a row of the next topic in the alphabet, or false */
bool
sn_retry_topic_after(int sub_id, const text *after, Snapshot snapshot,
					 SnRetry *retry)
{
	ScanKeyData keys[2];
	SnScan		scan;
	bool		found;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, sub_id);
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTGreaterStrategyNumber,
						   InvalidOid, C_COLLATION_OID, F_TEXT_GT,
						   PointerGetDatum(after));
	sn_scan_named(&scan, SN_EVENT_RETRY, SN_EVENT_RETRY_TOPIC_IDX, snapshot, 2,
				  keys, ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
		sn_retry_read(&scan, retry);
	sn_scan_end(&scan);
	return found;
}

/* sn_retry_scan_sub: all rows of a subscription, to delete them */
SnTableScan *
sn_retry_scan_sub(int sub_id, Snapshot snapshot)
{
	ScanKeyData key;

	sn_key_int4(&key, Anum_retry_sub_id, BTEqualStrategyNumber, sub_id);
	return sn_table_change(SN_EVENT_RETRY, snapshot, 1, &key);
}

/* sn_retry_scan_all: all rows, to see which events are in them */
SnTableScan *
sn_retry_scan_all(Snapshot snapshot)
{
	return sn_table_read(SN_EVENT_RETRY, snapshot);
}

/* sn_retry_next_id: the event of the next row; false at the end */
bool
sn_retry_next_id(SnTableScan *scan, pg_uuid_t *id)
{
	TupleTableSlot *slot = sn_table_next(scan);

	if (slot == NULL)
		return false;
	*id = *DatumGetUUIDP(slot->tts_values[Anum_retry_event_id - 1]);
	return true;
}

/* sn_retry_probe_end: close what the probe has open */
void
sn_retry_probe_end(SnRetryProbe *probe)
{
	if (probe->open)
		sn_scan_end(&probe->scan);
	probe->open = false;
}

/* sn_retry_insert: add a row to those of an inserter, as it is */
void
sn_retry_insert(SnInserter *inserter, const SnRetry *retry)
{
	Datum		values[Natts_retry];
	bool		nulls[Natts_retry] = {false};

	Assert(sn_lane_is_ours(retry->sub_id, retry->lane));
	Assert(!retry->has_due || !retry->dead);
	values[Anum_retry_sub_id - 1] = Int32GetDatum(retry->sub_id);
	values[Anum_retry_lane - 1] = Int32GetDatum(retry->lane);
	values[Anum_retry_pos - 1] = Int64GetDatum(retry->pos);
	values[Anum_retry_event_id - 1] = UUIDPGetDatum(&retry->event_id);
	values[Anum_retry_partition_hash - 1] = Int32GetDatum(retry->hash);
	values[Anum_retry_attempt - 1] = Int32GetDatum(retry->attempt);
	values[Anum_retry_solo - 1] = BoolGetDatum(retry->solo);
	values[Anum_retry_dead - 1] = BoolGetDatum(retry->dead);
	sn_set_column(values, nulls, Anum_retry_due_at, retry->has_due,
				  TimestampTzGetDatum(retry->due_at));
	sn_set_column(values, nulls, Anum_retry_not_before, retry->not_before != 0,
				  TimestampTzGetDatum(retry->not_before));
	sn_set_column(values, nulls, Anum_retry_first_failed_at,
				  retry->first_failed_at != 0,
				  TimestampTzGetDatum(retry->first_failed_at));
	values[Anum_retry_tenant_id - 1] = PointerGetDatum(retry->tenant_id);
	sn_set_column(values, nulls, Anum_retry_aggregate_id,
				  retry->aggregate_id != NULL,
				  PointerGetDatum(retry->aggregate_id));
	sn_set_column(values, nulls, Anum_retry_last_error, retry->last_error != NULL,
				  PointerGetDatum(retry->last_error));
	sn_set_column(values, nulls, Anum_retry_history, retry->history != NULL,
				  PointerGetDatum(retry->history));
	sn_set_column(values, nulls, Anum_retry_topic, retry->topic != NULL,
				  PointerGetDatum(retry->topic));
	sn_insert_row(inserter, values, nulls);
}

/* sn_retry_begin: begin to write rows, ended by sn_insert_end() */
SnInserter *
sn_retry_begin(void)
{
	return sn_insert_begin(sn_rel(SN_EVENT_RETRY), false);
}

/* insert: one row, visible to what follows */
static void
insert(const SnRetry *retry)
{
	SnInserter *inserter = sn_retry_begin();

	sn_retry_insert(inserter, retry);
	(void) sn_insert_end(inserter);
	CommandCounterIncrement();
}

/* sn_retry_delete: rows that were read, and nothing else */
void
sn_retry_delete(const SnRetry *retries, int n)
{
	Relation	rel = sn_open_to_delete(SN_EVENT_RETRY);
	int			i;

	for (i = 0; i < n; i++)
	{
		ItemPointerData tid = retries[i].tid;

		Assert(sn_lane_is_ours(retries[i].sub_id, retries[i].lane));
		simple_heap_delete(rel, &tid);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* sn_retry_replace: write a row that was read and changed */
void
sn_retry_replace(SnRetry *retry)
{
	sn_retry_delete(retry, 1);
	insert(retry);
}

/* key_head: the head of a row's key, as it is now; false when it has no rows */
static bool
key_head(const SnRetry *retry, SnRetry *head)
{
	SnRetryProbe probe = {false};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found;

	found = sn_retry_head(&probe, retry->sub_id, retry->lane, retry->hash,
						  retry->tenant_id, retry->aggregate_id, -1,
						  snapshot, head);
	sn_retry_probe_end(&probe);
	UnregisterSnapshot(snapshot);
	return found;
}

/* sn_retry_due: when a row that becomes the head of its key now is due */
TimestampTz
sn_retry_due(const SnRetry *retry, TimestampTz now)
{
	return Max(retry->not_before, now);
}

/*
 * sn_retry_put: add a row at its place among those of its key.  Its due time
 * counts only if it becomes the head; the one it displaces waits behind it.
 */
void
sn_retry_put(const SnRetry *retry, bool ordered)
{
	SnRetry		row = *retry;
	SnRetry		head;

	if (ordered && key_head(retry, &head))
	{
		if (head.pos < retry->pos)
			row.has_due = false;
		else if (head.has_due)
		{
			head.has_due = false;
			sn_retry_replace(&head);
		}
	}
	insert(&row);
}

/*
 * sn_retry_remove: delete rows; the head that a key has then is due, unless it
 * was the head before: now, or at the end of its own wait.
 */
void
sn_retry_remove(const SnRetry *retries, int n, bool ordered, TimestampTz now)
{
	SnRetry		head;
	int			i;

	sn_retry_delete(retries, n);
	for (i = 0; i < n && ordered; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && retries[i].hash == retries[i - 1].hash &&
			sn_text_equal(retries[i].tenant_id, retries[i - 1].tenant_id) &&
			sn_text_equal(retries[i].aggregate_id,
						  retries[i - 1].aggregate_id))
			continue;
		if (!key_head(&retries[i], &head) || head.has_due || head.dead)
			continue;
		head.has_due = true;
		head.due_at = sn_retry_due(&head, now);
		sn_retry_replace(&head);
	}
}

/*
 * sn_retry_unlabel: what waits for a topic waits for none in particular, in
 * some lanes of a relay.  It owns them by its session's locks, and nobody else
 * writes labels or deletes such rows, so the lanes' own locks are not needed: at
 * a start that would be to wait for whoever deals with a letter.
 */
void
sn_retry_unlabel(int sub_id, const char *topic, uint64 lanes)
{
	Oid			types[3] = {INT4OID, TEXTOID, INT8OID};
	Datum		args[3];

	Assert(sn_lanes_are_owned(sub_id, lanes));
	args[0] = Int32GetDatum(sub_id);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int64GetDatum((int64) lanes);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("update sentinai_internal.event_retry set topic = null"
							  " where sub_id = $1 and topic = $2"
							  " and $3 >> lane & 1 = 1", 3, types, args,
							  NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update the rows of a topic");
	SPI_finish();
}
