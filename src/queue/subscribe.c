/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * subscribe.c
 *		subscribe(), unsubscribe(), set_retry_policy().
 *
 * All of them hold the lock of subscriptions (lock.c) until the transaction
 * ends, so there is one of them at a time in a database; claims take no notice.
 * What must not run beside a claim (another filter, the end of a subscription)
 * takes the locks of the subscription's lanes, in ascending order.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "queue/backlog.h"
#include "queue/dead_letter.h"
#include "queue/filter.h"
#include "queue/lane.h"
#include "queue/subscription.h"
#include "store/hint.h"

#define MAX_EVENT_TYPES		1000
#define EVENT_TYPE_MAX		128 /* bytes */
#define MAX_ATTEMPTS		1000
#define MAX_BACKOFF			100

PG_FUNCTION_INFO_V1(sentinai_subscribe);
PG_FUNCTION_INFO_V1(sentinai_unsubscribe);
PG_FUNCTION_INFO_V1(sentinai_set_retry_policy);

/* Where a subscription begins */
typedef enum StartFrom
{
	START_LATEST,
	START_EARLIEST,
	START_TIME
} StartFrom;

/* What subscribe() was asked for */
typedef struct Request
{
	text	   *worker_type;
	SnFilter	filter;
	StartFrom	start_from;
	TimestampTz start_time;
	int			max_attempts;
	ArrayType  *backoff;
	text	   *on_dead;
	bool		block;			/* on_dead */
	bool		ordered;
} Request;

/* check_not_relay: the relay's subscription is its own */
static void
check_not_relay(const text *name)
{
	if (VARSIZE_ANY_EXHDR(name) == strlen(SN_RELAY_WORKER_TYPE) &&
		memcmp(VARDATA_ANY(name), SN_RELAY_WORKER_TYPE,
			   strlen(SN_RELAY_WORKER_TYPE)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("worker_type \"%s\" is reserved",
						SN_RELAY_WORKER_TYPE)));
}

static int
compare_texts(const void *a, const void *b)
{
	return DatumGetInt32(DirectFunctionCall2Coll(bttextcmp, C_COLLATION_OID,
												 *(const Datum *) a,
												 *(const Datum *) b));
}

/* check_one_dimension: an array argument that is a plain list */
static int
check_one_dimension(ArrayType *array, const char *name, int max)
{
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (n == 0 || ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must have one dimension and not be empty", name)));
	if (n > max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must not have more than %d elements", name, max)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", name)));
	return n;
}

/* check_event_type: a name that an event can have */
static void
check_event_type(const text *type)
{
	int			len = VARSIZE_ANY_EXHDR(type);

	if (len < 1 || len > EVENT_TYPE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event type must be 1 to %d bytes long",
						EVENT_TYPE_MAX)));
}

/* check_event_types: the filter, sorted and each type once */
static void
check_event_types(ArrayType *array, SnFilter *filter)
{
	int			n = check_one_dimension(array, "event_types", MAX_EVENT_TYPES);
	Datum	   *elems;
	int			i;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &n);
	for (i = 0; i < n; i++)
		check_event_type(DatumGetTextPP(elems[i]));
	qsort(elems, n, sizeof(Datum), compare_texts);
	filter->types = palloc(n * sizeof(text *));
	filter->n = 0;
	for (i = 0; i < n; i++)
	{
		text	   *type = DatumGetTextPP(elems[i]);

		if (filter->n == 0 ||
			!sn_text_equal(filter->types[filter->n - 1], type))
			filter->types[filter->n++] = type;
	}
}

/* check_start_from: 'latest', 'earliest' or a time */
static void
check_start_from(const text *value, Request *request)
{
	char	   *from = text_to_cstring(value);

	request->start_time = DT_NOBEGIN;
	if (strcmp(from, "latest") == 0)
		request->start_from = START_LATEST;
	else if (strcmp(from, "earliest") == 0)
		request->start_from = START_EARLIEST;
	else if (sn_parse_time(from, &request->start_time) &&
			 !TIMESTAMP_NOT_FINITE(request->start_time))
		request->start_from = START_TIME;
	else
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("start_from must be \"latest\", \"earliest\" or a timestamp")));
}

/* check_policy: attempts and waits */
static void
check_policy(int max_attempts, ArrayType *backoff)
{
	int			n = check_one_dimension(backoff, "backoff", MAX_BACKOFF);
	Interval   *waits = (Interval *) ARR_DATA_PTR(backoff);
	int			i;

	if (max_attempts < 1 || max_attempts > MAX_ATTEMPTS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_attempts must be between 1 and %d",
						MAX_ATTEMPTS)));
	for (i = 0; i < n; i++)
		(void) sn_duration(&waits[i], "backoff", 0, SN_YEAR);
}

/* check_on_dead: 'skip' or 'block' */
static void
check_on_dead(text *on_dead, Request *request)
{
	char	   *value = text_to_cstring(on_dead);

	if (strcmp(value, "skip") != 0 && strcmp(value, "block") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("on_dead must be \"skip\" or \"block\"")));
	request->on_dead = on_dead;
	request->block = strcmp(value, "block") == 0;
}

/* read_request: the checked arguments of subscribe() */
static void
read_request(FunctionCallInfo fcinfo, Request *request)
{
	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(2, "start_from");
	SN_REQUIRE_ARG(3, "max_attempts");
	SN_REQUIRE_ARG(4, "backoff");
	SN_REQUIRE_ARG(5, "on_dead");
	SN_REQUIRE_ARG(6, "ordered");
	request->worker_type = sn_check_worker_type(PG_GETARG_TEXT_PP(0));
	check_not_relay(request->worker_type);
	request->filter.n = -1;
	if (!PG_ARGISNULL(1))
		check_event_types(PG_GETARG_ARRAYTYPE_P(1), &request->filter);
	check_start_from(PG_GETARG_TEXT_PP(2), request);
	request->max_attempts = PG_GETARG_INT32(3);
	request->backoff = PG_GETARG_ARRAYTYPE_P(4);
	check_policy(request->max_attempts, request->backoff);
	check_on_dead(PG_GETARG_TEXT_PP(5), request);
	request->ordered = PG_GETARG_BOOL(6);
}

/* delete_where: delete a table's rows whose column equals value */
static void
delete_where(SnRel table, AttrNumber column, int32 value, Snapshot snapshot)
{
	Relation	rel = table_open(sn_rel(table), RowExclusiveLock);
	ScanKeyData key;
	TableScanDesc scan;
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	sn_key_int4(&key, column, BTEqualStrategyNumber, value);
	scan = table_beginscan(rel, snapshot, 1, &key);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		simple_heap_delete(rel, &slot->tts_tid);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
}

/* find_row: the row of a subscription; false when there is none */
static bool
find_row(const text *worker_type, Snapshot snapshot, Datum *values,
		 bool *nulls, ItemPointer tid)
{
	ScanKeyData key;
	SnScan		scan;
	bool		found;

	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(worker_type));
	sn_scan_named(&scan, SN_SUBSCRIPTION,
				  SN_SUBSCRIPTION_NAME_IDX, snapshot, 1, &key,
				  ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
	{
		HeapTuple	tuple = ExecCopySlotHeapTuple(scan.slot);

		heap_deform_tuple(tuple, RelationGetDescr(scan.heap), values, nulls);
		*tid = tuple->t_self;
	}
	sn_scan_end(&scan);
	return found;
}

/* delete_row: delete one row of a table */
static void
delete_row(SnRel table, ItemPointer tid)
{
	Relation	rel = table_open(sn_rel(table), RowExclusiveLock);

	simple_heap_delete(rel, tid);
	table_close(rel, NoLock);
}

/* snapshot_xip: the transactions a snapshot saw running, as bigint[] */
static Datum
snapshot_xip(Snapshot snapshot)
{
	Datum	   *xip = palloc((snapshot->xcnt + 1) * sizeof(Datum));
	int			n = 0;
	int			i;

	for (i = 0; i < snapshot->xcnt; i++)
		xip[n++] = Int64GetDatum(sn_logical_xid(snapshot->xip[i]));
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		xip[n++] = Int64GetDatum(sn_logical_txid());
	return PointerGetDatum(construct_array(xip, n, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * set_start: where a new subscription begins.  For 'latest' that is what the
 * snapshot does not see, and this transaction's own events; whatever was in a
 * round is visible to it, the rest is told by the transactions' numbers.
 */
static void
set_start(const Request *request, Snapshot snapshot, Datum *values,
		  bool *nulls)
{
	SnPos		pos = 0;

	nulls[Anum_sub_start_time - 1] = true;
	nulls[Anum_sub_start_xmax - 1] = true;
	nulls[Anum_sub_start_xip - 1] = true;
	if (request->start_from == START_LATEST)
	{
		pos = SN_ROUND_POS(sn_newest_round(snapshot) + 1);
		values[Anum_sub_start_xmax - 1] =
			Int64GetDatum(sn_logical_xid(snapshot->xmax));
		values[Anum_sub_start_xip - 1] = snapshot_xip(snapshot);
		nulls[Anum_sub_start_xmax - 1] = false;
		nulls[Anum_sub_start_xip - 1] = false;
	}
	else if (request->start_from == START_TIME)
	{
		int64		ms = sn_timestamp_ms(request->start_time) - SN_EPOCH_MS;

		pos = SN_ROUND_POS(Min(Max(ms, 0), SN_MAX_MS - SN_EPOCH_MS));
		values[Anum_sub_start_time - 1] =
			TimestampTzGetDatum(request->start_time);
		nulls[Anum_sub_start_time - 1] = false;
	}
	values[Anum_sub_start_pos - 1] = Int64GetDatum(pos);
}

/* set_policy: the columns that subscribe() may change at any time */
static void
set_policy(const Request *request, Datum *values)
{
	values[Anum_sub_max_attempts - 1] = Int32GetDatum(request->max_attempts);
	values[Anum_sub_backoff - 1] = PointerGetDatum(request->backoff);
	values[Anum_sub_on_dead - 1] = PointerGetDatum(request->on_dead);
	values[Anum_sub_ordered - 1] = BoolGetDatum(request->ordered);
}

/* lock_lanes: all lanes of a subscription */
static void
lock_lanes(int sub_id)
{
	int			lanes = sn_node()->lanes;
	int			lane;

	for (lane = 0; lane < lanes; lane++)
		(void) sn_lock_lane(sub_id, lane, true);
}

/*
 * count_letters: dead letters that a former life of the subscription has left
 * count in their lanes.  Whoever deals with one of them now has a lane's lock
 * of number 0, and must have done so or come later and find us.
 */
static void
count_letters(const Request *request, int sub_id, SnPos pos)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneAppender appender = {NULL};
	int64		counts[SN_MAX_LANES];
	int			lane;

	if (sn_dead_letters_pending(request->worker_type, snapshot, counts))
	{
		lock_lanes(0);
		lock_lanes(sub_id);
		UnregisterSnapshot(snapshot);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		(void) sn_dead_letters_pending(request->worker_type, snapshot, counts);
		for (lane = 0; lane < SN_MAX_LANES; lane++)
		{
			SnLaneState state = {.sub_id = sub_id,.lane = lane,.pos = pos,
			.end_pos = pos,.dead = counts[lane]};

			if (counts[lane] > 0)
				sn_lane_append(&appender, &state);
		}
		sn_lane_append_end(&appender);
	}
	UnregisterSnapshot(snapshot);
}

/* make_subscription: a new one */
static void
make_subscription(const Request *request, Snapshot snapshot)
{
	Datum		values[Natts_sub] = {0};
	bool		nulls[Natts_sub] = {false};

	values[Anum_sub_id - 1] =
		Int32GetDatum(sn_next_id("subscription_sub_id_seq"));
	values[Anum_sub_worker_type - 1] = PointerGetDatum(request->worker_type);
	values[Anum_sub_stream_id - 1] =
		Int32GetDatum(sn_filter_stream(&request->filter, snapshot));
	values[Anum_sub_is_relay - 1] = BoolGetDatum(false);
	values[Anum_sub_created_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[Anum_sub_old_streams - 1] = true;
	nulls[Anum_sub_old_until - 1] = true;
	set_start(request, snapshot, values, nulls);
	set_policy(request, values);
	sn_write_row(SN_SUBSCRIPTION, values, nulls);
	count_letters(request, DatumGetInt32(values[Anum_sub_id - 1]),
				  DatumGetInt64(values[Anum_sub_start_pos - 1]));
}

/* note_start: tell when another start than the one in force was asked for */
static void
note_start(const Request *request, const SnSub *sub)
{
	bool		same;

	if (request->start_from == START_TIME)
		same = request->start_time == sub->start_time;
	else if (request->start_from == START_EARLIEST)
		same = sub->start_pos == 0 && sub->start_xmax < 0;
	else
		same = true;			/* the default: not asked for */
	if (!same)
		ereport(NOTICE,
				(errmsg("start_from is ignored: the subscription exists already"),
				 errhint("To begin anew, call unsubscribe() first.")));
}

/*
 * change_rules: other rules for the order of a key.  Whoever holds a lane goes
 * on by the new ones, and what waits is arranged by them.
 */
static void
change_rules(const Request *request, const SnSub *sub)
{
	int			sub_id = sub->sub_id;

	if (request->ordered == sub->ordered && request->block == sub->block)
		return;
	lock_lanes(sub_id);
	sn_arrange_backlog(sub_id, request->ordered,
					   request->block && request->ordered);
	sn_hint_freed(sn_sub_slot(sub_id), 0, PG_UINT64_MAX);
}

/* change_subscription: another policy, perhaps another filter */
static void
change_subscription(const Request *request, Snapshot snapshot, Datum *values,
					bool *nulls, ItemPointer tid)
{
	int			sub_id = DatumGetInt32(values[Anum_sub_id - 1]);
	SnSub	   *sub = sn_sub_by_id(sub_id);
	int			stream_id = sn_filter_stream(&request->filter, snapshot);

	if (sub == NULL)
		elog(ERROR, "subscription is not in the cache");
	note_start(request, sub);
	change_rules(request, sub);
	set_policy(request, values);
	if (stream_id != DatumGetInt32(values[Anum_sub_stream_id - 1]))
	{
		lock_lanes(sub_id);
		sn_change_filter(sn_sub_by_id(sub_id), stream_id, values, nulls);
		sn_hint_freed(sn_sub_slot(sub_id), 0, PG_UINT64_MAX);
	}
	delete_row(SN_SUBSCRIPTION, tid);
	sn_write_row(SN_SUBSCRIPTION, values, nulls);
}

/* subscribe(worker_type, event_types, start_from, ...) returns void */
Datum
sentinai_subscribe(PG_FUNCTION_ARGS)
{
	Request		request;
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;

	PreventCommandIfReadOnly("subscribe()");
	read_request(fcinfo, &request);
	(void) sn_node_activate();
	(void) sn_lock_streams(true);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (find_row(request.worker_type, snapshot, values, nulls, &tid))
		change_subscription(&request, snapshot, values, nulls, &tid);
	else
		make_subscription(&request, snapshot);
	UnregisterSnapshot(snapshot);
	sn_subs_changed();
	sn_drop_unused_streams();
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* delete_policies: those of a worker type, or of one of its event types */
static void
delete_policies(const text *worker_type, const text *event_type,
				Snapshot snapshot)
{
	Relation	rel = table_open(sn_rel(SN_RETRY_POLICY), RowExclusiveLock);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		if (sn_text_equal(DatumGetTextPP(slot->tts_values[0]), worker_type) &&
			(event_type == NULL ||
			 sn_text_equal(DatumGetTextPP(slot->tts_values[1]), event_type)))
			simple_heap_delete(rel, &slot->tts_tid);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
}

/* end_retries: delete what waits for a retry; its letters are pending again */
static void
end_retries(int sub_id, const text *worker_type, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai letter",
												  ALLOCSET_DEFAULT_SIZES);
	Relation	rel = table_open(sn_rel(SN_EVENT_RETRY), RowExclusiveLock);
	ScanKeyData key;
	TableScanDesc scan;
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	sn_key_int4(&key, Anum_retry_sub_id, BTEqualStrategyNumber, sub_id);
	scan = table_beginscan(rel, snapshot, 1, &key);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		bool		only_waits;
		bool		isnull;
		Datum		id = slot_getattr(slot, Anum_retry_event_id, &isnull);

		CHECK_FOR_INTERRUPTS();
		(void) slot_getattr(slot, Anum_retry_first_failed_at, &only_waits);
		if (!only_waits)
			sn_dead_letter_given_back(DatumGetUUIDP(id), worker_type,
									  snapshot);
		simple_heap_delete(rel, &slot->tts_tid);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
}

/* unsubscribe(worker_type text) returns void */
Datum
sentinai_unsubscribe(PG_FUNCTION_ARGS)
{
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;
	text	   *worker_type;
	int			sub_id;
	int			half;

	SN_REQUIRE_ARG(0, "worker_type");
	PreventCommandIfReadOnly("unsubscribe()");
	worker_type = PG_GETARG_TEXT_PP(0);
	(void) sn_lock_streams(true);
	sub_id = sn_sub_require(worker_type)->sub_id;
	lock_lanes(sub_id);

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_row(worker_type, snapshot, values, nulls, &tid))
		sn_unknown_worker_type(worker_type);
	delete_row(SN_SUBSCRIPTION, &tid);
	delete_policies(worker_type, NULL, snapshot);
	end_retries(sub_id, worker_type, snapshot);
	for (half = 0; half < 2; half++)
		delete_where(sn_journal_half(SN_LANES, half), Anum_lane_sub_id, sub_id,
					 snapshot);
	UnregisterSnapshot(snapshot);
	sn_subs_changed();
	sn_drop_unused_streams();
	CommandCounterIncrement();
	sn_hint_gone(sub_id);
	PG_RETURN_VOID();
}

/* set_retry_policy(worker_type, event_type, max_attempts, backoff) */
Datum
sentinai_set_retry_policy(PG_FUNCTION_ARGS)
{
	Datum		values[Natts_policy];
	bool		nulls[Natts_policy] = {false};
	bool		removes = PG_ARGISNULL(2) && PG_ARGISNULL(3);
	Snapshot	snapshot;
	text	   *worker_type;
	text	   *event_type;

	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "event_type");
	PreventCommandIfReadOnly("set_retry_policy()");
	worker_type = PG_GETARG_TEXT_PP(0);
	event_type = PG_GETARG_TEXT_PP(1);
	check_event_type(event_type);
	if (!removes)
	{
		SN_REQUIRE_ARG(2, "max_attempts");
		SN_REQUIRE_ARG(3, "backoff");
		check_policy(PG_GETARG_INT32(2), PG_GETARG_ARRAYTYPE_P(3));
	}
	(void) sn_lock_streams(true);
	(void) sn_sub_require(worker_type);

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	delete_policies(worker_type, event_type, snapshot);
	UnregisterSnapshot(snapshot);
	if (!removes)
	{
		values[Anum_policy_worker_type - 1] = PointerGetDatum(worker_type);
		values[Anum_policy_event_type - 1] = PointerGetDatum(event_type);
		values[Anum_policy_max_attempts - 1] = PG_GETARG_DATUM(2);
		values[Anum_policy_backoff - 1] = PG_GETARG_DATUM(3);
		sn_write_row(SN_RETRY_POLICY, values, nulls);
	}
	sn_subs_changed();
	PG_RETURN_VOID();
}
