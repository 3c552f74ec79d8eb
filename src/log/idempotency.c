/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * idempotency.c
 *		A key under which an event is published once.
 *
 * event_idempotency has a row for each key, in the partition of the event's
 * id.  The index on (tenant, key) is not unique: a key may come back after the
 * window, and a unique index would have to know that.  Instead whoever looks a
 * key up and notes it holds the key's lock from the look to the note, and
 * looks with a dirty snapshot, which shows what other transactions have noted
 * and not yet committed.  The id is taken under the lock too, so the row of
 * whoever held it before has a smaller id and lies within the range looked at.
 *
 * The window is counted in the clock's time, so it lasts longer while the
 * clock waits for the wall clock to catch up after a step.
 *
 * The lock is never held while waiting for another transaction.
 *
 * Partitions of keys are dropped by age alone, not before the window is over
 * for all of them (retention.c); a reader may find one gone.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "log/idempotency.h"
#include "log/log_read.h"
#include "redact/redact.h"
#include "store/range.h"

/* What a look found */
typedef struct Noted
{
	bool		found;
	int64		body_hash;
	pg_uuid_t	event_id;
	TransactionId running;		/* who noted it and has not ended */
	Oid			partition;
	ItemPointerData tid;
} Noted;

/* add_text: mix a text, or its absence, into a hash */
static uint64
add_text(uint64 hash, const text *t)
{
	if (t == NULL)
		return hash_bytes_extended((const unsigned char *) "", 0, ~hash);
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(t),
							   VARSIZE_ANY_EXHDR(t), hash);
}

/* add_number: mix what goes with a hash into it */
static uint64
add_number(uint64 hash, uint32 number)
{
	return hash_bytes_extended((const unsigned char *) &number,
							   sizeof(number), hash);
}

/*
 * add_scalar: mix a key or value in.  A number by its value: 1 and 1.0 are
 * equal jsonb, though not the same bytes.
 */
static uint64
add_scalar(uint64 hash, const JsonbValue *value)
{
	hash = add_number(hash, value->type);
	switch (value->type)
	{
		case jbvString:
			return hash_bytes_extended((const unsigned char *) value->val.string.val,
									   value->val.string.len, hash);
		case jbvNumeric:
			return DatumGetUInt64(DirectFunctionCall2(hash_numeric_extended,
													  NumericGetDatum(value->val.numeric),
													  UInt64GetDatum(hash)));
		case jbvBool:
			return add_number(hash, value->val.boolean);
		default:
			return hash;
	}
}

/* add_json: mix jsonb in, so that what is equal gives the same */
static uint64
add_json(uint64 hash, Jsonb *json)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		hash = add_number(hash, token);
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			hash = add_scalar(hash, &value);
	}
	return hash;
}

/*
 * sn_idempotency_body: hash of what a repeated call has to repeat.  The
 * version is the one that was asked for: which one holds when none is named can
 * have changed between the calls.  Not metadata, causation, correlation and time of delivery: they may tell of the
 * call, as a trace context does, and not of what happened.
 */
int64
sn_idempotency_body(const SnEvent *event)
{
	uint64		hash = event->asked_version;

	hash = add_text(hash, event->event_type);
	hash = add_text(hash, event->aggregate_type);
	hash = add_text(hash, event->aggregate_id);
	return (int64) add_json(hash, event->payload);
}

/*
 * look_in: look a key up in one partition, with a snapshot that also sees what
 * is not committed: whoever noted the key there has not ended yet, or is us
 */
static void
look_in(Oid partition, text *tenant_id, text *key, const pg_uuid_t *oldest,
		Noted *noted)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	SnapshotData dirty;
	ScanKeyData keys[2];
	SnScan		scan;

	if (rel == NULL || RelationGetNumberOfBlocks(rel) == 0)
	{
		if (rel != NULL)
			relation_close(rel, AccessShareLock);
		return;
	}
	InitDirtySnapshot(dirty);
	sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
				PointerGetDatum(tenant_id));
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber, PointerGetDatum(key));
	sn_scan_begin(&scan, partition,
				  sn_index_of(rel, Anum_idem_tenant_id, Anum_idem_key), &dirty,
				  2, keys, ForwardScanDirection);
	while (!noted->found && sn_scan_next(&scan))
	{
		pg_uuid_t  *id;

		slot_getallattrs(scan.slot);
		id = DatumGetUUIDP(scan.slot->tts_values[Anum_idem_event_id - 1]);
		if (sn_uuid_cmp(id, oldest) < 0)
			continue;
		noted->found = true;
		noted->event_id = *id;
		noted->body_hash =
			DatumGetInt64(scan.slot->tts_values[Anum_idem_body_hash - 1]);
		noted->running = dirty.xmin;
		noted->partition = partition;
		noted->tid = scan.slot->tts_tid;
	}
	sn_scan_end(&scan);
	relation_close(rel, AccessShareLock);
}

/*
 * look_up_key: look a key up in the partitions of the window that ends with an
 * id
 */
static Noted
look_up_key(text *tenant_id, text *key, const pg_uuid_t *newest)
{
	Noted		noted = {false};
	int64		until = SN_TICK_MS(sn_uuid_tick(newest));
	int64		from = until - (int64) sn_idempotency_window * 1000;
	List	   *ranges = sn_partition_ranges(SN_EVENT_IDEMPOTENCY);
	pg_uuid_t	oldest;
	int			i;

	sn_uuid_floor(from, &oldest);
	for (i = list_length(ranges) - 1; i >= 0 && !noted.found; i--)
	{
		SnPartRange *range = list_nth(ranges, i);

		CHECK_FOR_INTERRUPTS();
		if (range->upper <= from)
			break;
		if (range->lower <= until)
			look_in(range->oid, tenant_id, key, &oldest, &noted);
	}
	list_free_deep(ranges);
	return noted;
}

/* note_key: write down that the key stands for that event */
static void
note_key(Oid partition, text *tenant_id, text *key, int64 body_hash,
		 const pg_uuid_t *id)
{
	Datum		values[Natts_idem];
	bool		nulls[Natts_idem] = {false};
	SnInserter *inserter = sn_insert_begin(partition, false);

	values[Anum_idem_event_id - 1] = UUIDPGetDatum(id);
	values[Anum_idem_body_hash - 1] = Int64GetDatum(body_hash);
	values[Anum_idem_tenant_id - 1] = PointerGetDatum(tenant_id);
	values[Anum_idem_key - 1] = PointerGetDatum(key);
	sn_insert_row(inserter, values, nulls);
	(void) sn_insert_end(inserter);
}

/*
 * repeats_redacted: whether the event that was stored is the same once today's
 * rules of redaction are applied to it.  A publisher who repeats his call knows
 * nothing of rules that have come in between.
 */
static bool
repeats_redacted(const Noted *noted, const SnEvent *event, int64 body_hash)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLogReader *log = sn_log_begin(snapshot);
	SnEvent		first = *event;
	bool		same = false;

	if (sn_log_fetch(log, &noted->event_id))
	{
		bool		isnull;
		Datum		payload = sn_log_datum(log, Anum_log_payload, &isnull);
		Datum		metadata = sn_log_datum(log, Anum_log_metadata, &isnull);

		first.payload = DatumGetJsonbP(payload);
		same = sn_idempotency_body(&first) == noted->body_hash;
		sn_redact_copy(event->tenant_id, event->event_type, &payload, &metadata);
		first.payload = DatumGetJsonbP(payload);
		same &= sn_idempotency_body(&first) == body_hash;
	}
	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	return same;
}

/* check_repeats: a key that is taken must stand for the same event */
static void
check_repeats(const Noted *noted, const SnEvent *event, int64 body_hash)
{
	if (noted->body_hash == body_hash)
		return;
	if (!sn_redact_asks() || !repeats_redacted(noted, event, body_hash))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("idempotency key is taken by another event"),
				 errdetail("Event %s was published under the key with another type, aggregate, schema version or payload.",
						   DatumGetCString(DirectFunctionCall1(uuid_out,
															   UUIDPGetDatum(&noted->event_id))))));
}

/* wait_for: until the transaction that noted a key has ended */
static void
wait_for(Noted *noted)
{
	Relation	rel = try_relation_open(noted->partition, AccessShareLock);

	if (rel == NULL)
		return;					/* then the transaction has ended */
	XactLockTableWait(noted->running, rel, &noted->tid, XLTW_InsertIndex);
	relation_close(rel, AccessShareLock);
}

/*
 * sn_idempotency_take: take an id for an event under its key.  False if the
 * key stands for an event already, whose id it then is.
 */
bool
sn_idempotency_take(const SnEvent *event, text *key, int64 body_hash,
					pg_uuid_t *id)
{
	text	   *tenant_id = event->tenant_id;
	uint32		lock = (uint32) add_text(add_text(0, tenant_id), key);

	for (;;)
	{
		Noted		noted;
		SnRange		range;
		Oid			partition;

		sn_lock_key(lock);
		sn_take_id(id);
		partition = sn_range_lock(SN_EVENT_IDEMPOTENCY, id, RowExclusiveLock,
								  &range);
		if (OidIsValid(partition))
		{
			noted = look_up_key(tenant_id, key, id);
			if (!noted.found)
				note_key(partition, tenant_id, key, body_hash, id);
		}
		sn_unlock_key(lock);

		if (!OidIsValid(partition))
			(void) sn_require_partition(SN_EVENT_IDEMPOTENCY,
										UUIDPGetDatum(id),
										SN_TICK_MS(sn_uuid_tick(id)));
		else if (!noted.found)
			return true;
		else if (TransactionIdIsValid(noted.running))
			wait_for(&noted);
		else
		{
			check_repeats(&noted, event, body_hash);
			*id = noted.event_id;
			return false;
		}
	}
}
