/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ledger.c
 *		event_processing: what each worker type has finished.
 *
 * complete() writes its rows in bulk, and only the unique index tells when one
 * was there already.  That happens to worker types whose handlers are fed by
 * Kafka as well, through mark_as_processing() and mark_as_completed(); such a
 * row is settled on its own, by looking first.
 *
 * Who looks first reads with a dirty snapshot, so he sees what is not committed
 * yet and waits for that transaction.  He holds the lock of the key while he
 * looks and writes, but never while he waits.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/printable.h"
#include "log/event.h"
#include "log/log_read.h"
#include "queue/ledger.h"
#include "queue/subscription.h"
#include "store/range.h"
#include "store/store.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_is_already_processed);
PG_FUNCTION_INFO_V1(sentinai_mark_as_processing);
PG_FUNCTION_INFO_V1(sentinai_mark_as_completed);

/* Rows on their way into one partition */
typedef struct PartitionRows
{
	SnRange		range;
	SnInserter *inserter;
	SnLedgerRow *rows;			/* as given, for those that were there */
	int			n;
	int			room;
} PartitionRows;

struct SnLedgerWriter
{
	PartitionRows *partitions;
	int			n;
	text	   *completed;		/* the status */
};

/* What the ledger says about a key */
typedef struct Found
{
	bool		completed;
	bool		foreign;		/* of a tenant that is none of the caller's */
	bool		others;			/* of one that he may not work for */
	int			attempt;
	TimestampTz processed_at;
	ItemPointerData tid;
} Found;

/* time_of: the time in an event id; an error unless it is a UUIDv7 */
static int64
time_of(const pg_uuid_t *id)
{
	if (id->data[6] >> 4 != 7 || id->data[8] >> 6 != 2)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_id must be a UUIDv7")));
	return SN_TICK_MS(sn_uuid_tick(id));
}

/* set_text: a text column that may be null */
static void
set_text(Datum *values, bool *nulls, AttrNumber column, const text *value)
{
	values[column - 1] = PointerGetDatum(value);
	nulls[column - 1] = value == NULL;
}

/* insert_ledger_row: add a row to those of an inserter */
static void
insert_ledger_row(SnInserter *inserter, const SnLedgerRow *row,
				  const text *status)
{
	Datum		values[Natts_proc];
	bool		nulls[Natts_proc] = {false};

	values[Anum_proc_event_id - 1] = UUIDPGetDatum(&row->event_id);
	set_text(values, nulls, Anum_proc_worker_type, row->worker_type);
	set_text(values, nulls, Anum_proc_tenant_id, row->tenant_id);
	set_text(values, nulls, Anum_proc_aggregate_id, row->aggregate_id);
	set_text(values, nulls, Anum_proc_status, status);
	values[Anum_proc_attempt - 1] = Int32GetDatum(row->attempt);
	set_text(values, nulls, Anum_proc_worker_id, row->worker_id);
	values[Anum_proc_processed_at - 1] =
		TimestampTzGetDatum(row->processed_at);
	sn_insert_row(inserter, values, nulls);
}

/* read_found: what a row says */
static void
read_found(TupleTableSlot *slot, Found *found)
{
	text	   *status;
	text	   *tenant_id;

	slot_getallattrs(slot);
	status = DatumGetTextPP(slot->tts_values[Anum_proc_status - 1]);
	found->completed = VARDATA_ANY(status)[0] == 'c';
	tenant_id = slot->tts_isnull[Anum_proc_tenant_id - 1] ? NULL :
		DatumGetTextPP(slot->tts_values[Anum_proc_tenant_id - 1]);
	found->foreign = !sn_may(SN_RIGHT_WORK | SN_RIGHT_READ, tenant_id);
	found->others = tenant_id != NULL && !sn_may(SN_RIGHT_WORK, tenant_id);
	found->attempt = DatumGetInt32(slot->tts_values[Anum_proc_attempt - 1]);
	found->processed_at =
		DatumGetTimestampTz(slot->tts_values[Anum_proc_processed_at - 1]);
	found->tid = slot->tts_tid;
}

/* begin_ledger_scan: look a key up in a partition */
static void
begin_ledger_scan(SnScan *scan, Oid partition, const pg_uuid_t *event_id,
				  const text *worker_type, Snapshot snapshot)
{
	Relation	rel = table_open(partition, AccessShareLock);
	ScanKeyData keys[2];

	sn_key_uuid(&keys[0], 1, BTEqualStrategyNumber, event_id);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				PointerGetDatum(worker_type));
	sn_scan_begin(scan, partition, sn_index_of(rel, Anum_proc_event_id,
											   Anum_proc_worker_type),
				  snapshot, 2, keys, ForwardScanDirection);
	table_close(rel, AccessShareLock);
}

/*
 * find_completed: what a snapshot sees of a key; nothing when it is not there.
 * No lock stays: the events that are asked for may be of any number of partitions.
 */
static Found
find_completed(const pg_uuid_t *event_id, const text *worker_type,
			   Snapshot snapshot)
{
	SnRange		range;
	Oid			partition = sn_range_lock(SN_EVENT_PROCESSING, event_id,
										  AccessShareLock, &range);
	Found		found = {false};
	SnScan		scan;

	if (!OidIsValid(partition))
		return found;
	begin_ledger_scan(&scan, partition, event_id, worker_type, snapshot);
	if (sn_scan_next(&scan))
		read_found(scan.slot, &found);
	sn_scan_end(&scan);
	UnlockRelationOid(partition, AccessShareLock);
	return found;
}

/*
 * sn_ledger_completed: whether a snapshot sees the event completed, and since
 * when.
 */
bool
sn_ledger_completed(const pg_uuid_t *event_id, const text *worker_type,
					Snapshot snapshot, TimestampTz *processed_at)
{
	Found		found = find_completed(event_id, worker_type, snapshot);

	if (processed_at != NULL)
		*processed_at = found.processed_at;
	return found.completed;
}

/*
 * look_up_ledger: what the ledger says about a key, committed or not.  When
 * that depends on a running transaction, its number is returned.
 */
static TransactionId
look_up_ledger(Oid partition, const SnLedgerRow *row, bool *exists,
			   Found *found)
{
	SnapshotData dirty;
	TransactionId running = InvalidTransactionId;
	SnScan		scan;

	InitDirtySnapshot(dirty);
	*exists = false;
	begin_ledger_scan(&scan, partition, &row->event_id, row->worker_type,
					  &dirty);
	while (!TransactionIdIsValid(running) && sn_scan_next(&scan))
	{
		running = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		*exists = true;
		read_found(scan.slot, found);
	}
	sn_scan_end(&scan);
	return running;
}

/* write_one: a row, in place of another; false if the key was there already */
static bool
write_one(Oid partition, const SnLedgerRow *row, const Found *old)
{
	SnInserter *inserter;
	bool		written;

	if (old != NULL)
	{
		Relation	rel = table_open(partition, RowExclusiveLock);
		ItemPointerData tid = old->tid;

		simple_heap_delete(rel, &tid);
		table_close(rel, NoLock);
		CommandCounterIncrement();
	}
	inserter = sn_insert_begin(partition, true);
	insert_ledger_row(inserter, row,
					  cstring_to_text(row->completed ? "completed" : "processing"));
	written = sn_insert_end(inserter) == NIL;
	CommandCounterIncrement();
	return written;
}

/* may_replace: whether a row takes the place of the one that is there */
static bool
may_replace(SnLedgerRow *row, const Found *old, int64 lease)
{
	if (old->completed)
		return false;
	if (!row->completed && old->processed_at + lease > row->processed_at)
		return false;
	row->attempt = row->completed ? old->attempt : old->attempt + 1;
	return true;
}

/*
 * write_unless: write a row unless the key is completed, or somebody is at it whose
 * lease (microseconds) runs; false if so.
 */
static bool
write_unless(SnLedgerRow *row, int64 lease)
{
	SnRange		range;
	Oid			partition = sn_range_require(SN_EVENT_PROCESSING,
											 &row->event_id, RowExclusiveLock,
											 &range);
	uint32		hash =
		hash_bytes(row->event_id.data, UUID_LEN) ^
		hash_bytes((const unsigned char *) VARDATA_ANY(row->worker_type),
				   VARSIZE_ANY_EXHDR(row->worker_type));

	for (;;)
	{
		TransactionId running;
		bool		exists;
		Found		found;
		bool		written = false;
		bool		refused = false;

		CHECK_FOR_INTERRUPTS();
		sn_lock_key(hash);
		running = look_up_ledger(partition, row, &exists, &found);
		if (!TransactionIdIsValid(running))
		{
			refused = exists &&
				(found.others || !may_replace(row, &found, lease));
			written = !refused &&
				write_one(partition, row, exists ? &found : NULL);
		}
		sn_unlock_key(hash);
		if (!TransactionIdIsValid(running) && exists && found.others)
			sn_refuse_tenant("work for");
		if (written || refused)
			return written;
		if (TransactionIdIsValid(running))
			XactLockTableWait(running, NULL, NULL, XLTW_None);
	}
}

/* sn_ledger_begin: a writer for the rows of one complete() */
SnLedgerWriter *
sn_ledger_begin(void)
{
	SnLedgerWriter *writer = palloc0(sizeof(SnLedgerWriter));

	writer->completed = cstring_to_text("completed");
	return writer;
}

/* rows_of_partition: those for the partition of an id, begun if there are none */
static PartitionRows *
rows_of_partition(SnLedgerWriter *writer, const pg_uuid_t *id)
{
	PartitionRows *part;
	Oid			partition;
	int			i;

	for (i = 0; i < writer->n; i++)
		if (sn_range_covers(&writer->partitions[i].range, id))
			return &writer->partitions[i];

	if (writer->partitions == NULL)
		writer->partitions = palloc(sizeof(PartitionRows));
	else
		writer->partitions = repalloc(writer->partitions,
									  (writer->n + 1) * sizeof(PartitionRows));
	part = &writer->partitions[writer->n++];
	memset(part, 0, sizeof(PartitionRows));
	partition = sn_range_require(SN_EVENT_PROCESSING, id, RowExclusiveLock,
								 &part->range);
	part->inserter = sn_insert_begin(partition, true);
	return part;
}

/*
 * sn_ledger_complete: note an event as completed.  Texts of the row need to
 * live until sn_ledger_end().
 */
void
sn_ledger_complete(SnLedgerWriter *writer, const SnLedgerRow *row)
{
	PartitionRows *part = rows_of_partition(writer, &row->event_id);

	if (part->n == part->room)
	{
		part->room = Max(part->room * 2, 128);
		if (part->rows == NULL)
			part->rows = palloc(part->room * sizeof(SnLedgerRow));
		else
			part->rows = repalloc(part->rows,
								  part->room * sizeof(SnLedgerRow));
	}
	part->rows[part->n++] = *row;
	insert_ledger_row(part->inserter, row, writer->completed);
}

/* sn_ledger_end: write what was noted, and settle what was there already */
void
sn_ledger_end(SnLedgerWriter *writer)
{
	int			i;

	for (i = 0; i < writer->n; i++)
	{
		PartitionRows *part = &writer->partitions[i];
		List	   *present = sn_insert_end(part->inserter);
		ListCell   *lc;

		foreach(lc, present)
			(void) write_unless(&part->rows[lfirst_int(lc)], 0);
	}
}

/* bounded_arg: a text argument of limited length, or NULL */
static const text *
bounded_arg(FunctionCallInfo fcinfo, int n, const char *name, int max)
{
	text	   *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = PG_GETARG_TEXT_PP(n);
	if (VARSIZE_ANY_EXHDR(value) > max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must not be longer than %d bytes", name, max)));
	return sn_check_printable(value, name);
}

/*
 * require_event: an error if the log has the event, and of a tenant that the caller may
 * not work for: what he notes of it would count for those who may
 */
static void
require_event(const pg_uuid_t *event_id)
{
	Snapshot	snapshot;
	SnLogReader *log;
	bool		refused;

	if (!sn_gate_asks())
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	log = sn_log_begin(snapshot);
	refused = sn_log_fetch(log, event_id) &&
		!sn_may(SN_RIGHT_WORK, sn_log_text(log, Anum_log_tenant_id));
	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	if (refused)
		sn_refuse_tenant("work for");
}

/* read_mark_args: the arguments that both mark functions have */
static void
read_mark_args(FunctionCallInfo fcinfo, SnLedgerRow *row)
{
	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	memset(row, 0, sizeof(SnLedgerRow));
	row->event_id = *PG_GETARG_UUID_P(0);
	(void) time_of(&row->event_id);
	row->worker_type = sn_check_worker_type(PG_GETARG_TEXT_PP(1));
	row->tenant_id = bounded_arg(fcinfo, 2, "tenant_id", SN_TENANT_MAX);
	row->aggregate_id = bounded_arg(fcinfo, 3, "aggregate_id",
									SN_AGGREGATE_ID_MAX);
	row->worker_id = sn_worker_id_arg(fcinfo, 4);
	sn_require_claim(row->worker_type);
	sn_require(SN_RIGHT_WORK, row->tenant_id, "work for");
	require_event(&row->event_id);
	row->attempt = 1;
	row->processed_at = GetCurrentTimestamp();
}

/* is_already_processed(event_id uuid, worker_type text) returns boolean */
Datum
sentinai_is_already_processed(PG_FUNCTION_ARGS)
{
	Found		found;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	sn_require_claim(PG_GETARG_TEXT_PP(1));
	found = find_completed(PG_GETARG_UUID_P(0), PG_GETARG_TEXT_PP(1),
						   GetActiveSnapshot());
	PG_RETURN_BOOL(found.completed && !found.foreign);
}

/* mark_as_processing(event_id, worker_type, ..., lease) returns boolean */
Datum
sentinai_mark_as_processing(PG_FUNCTION_ARGS)
{
	SnLedgerRow row;
	int64		lease;

	read_mark_args(fcinfo, &row);
	SN_REQUIRE_ARG(5, "lease");
	lease = sn_duration(PG_GETARG_INTERVAL_P(5), "lease", 1, SN_DAY);
	PreventCommandIfReadOnly("mark_as_processing()");
	PG_RETURN_BOOL(write_unless(&row, lease));
}

/* mark_as_completed(event_id, worker_type, ...) returns boolean */
Datum
sentinai_mark_as_completed(PG_FUNCTION_ARGS)
{
	SnLedgerRow row;

	read_mark_args(fcinfo, &row);
	row.completed = true;
	PreventCommandIfReadOnly("mark_as_completed()");
	PG_RETURN_BOOL(write_unless(&row, 0));
}
