/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * subscribe.c
 *		subscribe(), alter_subscription(), unsubscribe().
 *
 * All of them hold the lock of subscriptions (lock.c) until the transaction
 * ends, so there is one of them at a time in a database; claims take no notice.
 * What must not run beside a claim (another filter, the end of a subscription)
 * takes the locks of the subscription's lanes, in ascending order.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "log/event_check.h"
#include "queue/backlog.h"
#include "queue/dead_letter.h"
#include "queue/filter.h"
#include "queue/lag.h"
#include "queue/lane.h"
#include "queue/replaced.h"
#include "queue/request.h"
#include "queue/retry.h"
#include "queue/sub_action.h"
#include "queue/subscription.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"

PG_FUNCTION_INFO_V1(sentinai_subscribe);
PG_FUNCTION_INFO_V1(sentinai_alter_subscription);
PG_FUNCTION_INFO_V1(sentinai_unsubscribe);

/* delete_where: delete a table's rows whose column equals value */
static void
delete_where(SnRel table, AttrNumber column, int32 value, Snapshot snapshot)
{
	ScanKeyData key;
	SnTableScan *scan;

	sn_key_int4(&key, column, BTEqualStrategyNumber, value);
	scan = sn_table_change(table, snapshot, 1, &key);
	while (sn_table_next(scan) != NULL)
		sn_table_delete(scan);
	sn_table_end(scan);
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

		heap_deform_tuple(tuple, scan.slot->tts_tupleDescriptor, values, nulls);
		*tid = sn_scan_place(&scan);
	}
	sn_scan_end(&scan);
	return found;
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
set_start(const SnRequest *request, Snapshot snapshot, Datum *values,
		  bool *nulls)
{
	SnPos		pos = 0;

	nulls[Anum_sub_start_time - 1] = true;
	nulls[Anum_sub_start_xmax - 1] = true;
	nulls[Anum_sub_start_xip - 1] = true;
	if (request->start_from == SN_START_LATEST)
	{
		pos = SN_ROUND_POS(sn_newest_round(snapshot) + 1);
		values[Anum_sub_start_xmax - 1] =
			Int64GetDatum(sn_logical_xid(snapshot->xmax));
		values[Anum_sub_start_xip - 1] = snapshot_xip(snapshot);
		nulls[Anum_sub_start_xmax - 1] = false;
		nulls[Anum_sub_start_xip - 1] = false;
	}
	else if (request->start_from == SN_START_TIME)
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
set_policy(const SnRequest *request, Datum *values)
{
	values[Anum_sub_max_attempts - 1] = Int32GetDatum(request->max_attempts);
	values[Anum_sub_backoff - 1] = PointerGetDatum(request->backoff);
	values[Anum_sub_on_dead - 1] = PointerGetDatum(request->on_dead);
	values[Anum_sub_ordered - 1] = BoolGetDatum(request->ordered);
	values[Anum_sub_max_lease - 1] = IntervalPGetDatum(request->max_lease);
	values[Anum_sub_max_lanes - 1] = Int32GetDatum(request->max_lanes);
}

/* lock_sub_lanes: all lanes of a subscription */
static void
lock_sub_lanes(int sub_id)
{
	int			lanes = sn_node()->lanes;
	int			lane;

	for (lane = 0; lane < lanes; lane++)
		sn_lock_lane_yielding(sub_id, lane);
}

/* try_sub_lanes: likewise, unless somebody has one of them */
static bool
try_sub_lanes(int sub_id)
{
	int			lanes = sn_node()->lanes;
	int			lane;

	for (lane = 0; lane < lanes; lane++)
		if (!sn_lock_lane(sub_id, lane, false))
			return false;
	return true;
}

/*
 * count_letters: dead letters that a former life of the subscription has left
 * count in their lanes.  Whoever deals with one of them now has a lane's lock
 * of number 0, and must have done so or come later and find us.
 */
static void
count_letters(const SnRequest *request, int sub_id, SnPos pos)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneAppender appender = {NULL};
	int64		counts[SN_MAX_LANES];
	int			lane;

	if (sn_dead_letters_pending(request->worker_type, snapshot, counts))
	{
		lock_sub_lanes(0);
		lock_sub_lanes(sub_id);
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

/* start_text: where a new subscription begins, for the action log */
static const char *
start_text(const SnRequest *request)
{
	if (request->start_from == SN_START_LATEST)
		return "latest";
	return request->start_from == SN_START_EARLIEST ? "earliest" :
		timestamptz_to_str(request->start_time);
}

/* make_subscription: a new one; returns its number */
static int
make_subscription(const SnRequest *request, Snapshot snapshot)
{
	Datum		values[Natts_sub] = {0};
	bool		nulls[Natts_sub] = {false};
	SnSubShape	after;

	values[Anum_sub_id - 1] =
		Int32GetDatum(sn_next_id("subscription_sub_id_seq"));
	values[Anum_sub_worker_type - 1] = PointerGetDatum(request->worker_type);
	values[Anum_sub_stream_id - 1] =
		Int32GetDatum(sn_filter_stream(&request->filter, snapshot));
	values[Anum_sub_is_relay - 1] = BoolGetDatum(request->is_relay);
	values[Anum_sub_created_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[Anum_sub_old_streams - 1] = true;
	nulls[Anum_sub_old_until - 1] = true;
	set_start(request, snapshot, values, nulls);
	values[Anum_sub_tracks_from - 1] =
		Int64GetDatum(sn_newest_round(snapshot) + 1);
	nulls[Anum_sub_tracks_from - 1] = request->is_relay;
	nulls[Anum_sub_in_line_until - 1] = true;
	set_policy(request, values);
	sn_insert_one(SN_SUBSCRIPTION, values, nulls);
	count_letters(request, DatumGetInt32(values[Anum_sub_id - 1]),
				  DatumGetInt64(values[Anum_sub_start_pos - 1]));
	if (!request->is_relay)		/* the relay's row is written down, too */
	{
		sn_sub_shape(&after, &request->filter, values);
		after.start_from = start_text(request);
		sn_sub_record("subscribe", request->worker_type, NULL, &after);
	}
	return DatumGetInt32(values[Anum_sub_id - 1]);
}

/*
 * change_rules: other rules for the order of a key.  Whoever holds a lane goes
 * on by the new ones, and what waits is arranged by them.
 */
static void
change_rules(const SnRequest *request, const SnSub *sub)
{
	int			sub_id = sub->sub_id;

	if (request->ordered == sub->ordered && request->block == sub->block)
		return;
	lock_sub_lanes(sub_id);
	sn_arrange_backlog(sub_id, request->ordered,
					   request->block && request->ordered);
	sn_hint_free_at_commit(sn_sub_slot(sub_id), 0, PG_UINT64_MAX);
}

/*
 * begin_shares: the lanes that a role holds count from now on.  Who has one now
 * was not noted, and what is noted may be of an earlier time.
 */
static void
begin_shares(const SnRequest *request, const SnSub *sub)
{
	SnSubSlot  *slot = sn_sub_slot(sub->sub_id);

	if (request->max_lanes == SN_MAX_LANES || slot == NULL ||
		sn_sub_shares(sub, slot))
		return;
	lock_sub_lanes(sub->sub_id);
	sn_share_free_at_commit(slot, PG_UINT64_MAX);
}

/* filter_now: the filter of a subscription */
static const SnFilter *
filter_now(const SnSub *sub)
{
	return &sub->segments[sub->nsegments - 1].filter;
}

/* asked_filter: the filter that a request comes to */
static SnFilter
asked_filter(const SnRequest *request, const SnSub *sub)
{
	SnFilter	filter = request->filter;

	if (request->keeps_types)
		filter.types = filter_now(sub)->types;
	if (request->keeps_tenants)
		filter.tenants = filter_now(sub)->tenants;
	return filter;
}

/* change_subscription: another policy, perhaps another filter; notes: say what */
static void
change_subscription(const SnRequest *request, bool notes, Snapshot snapshot,
					Datum *values, bool *nulls, ItemPointer tid)
{
	const char *changes = "";
	int			sub_id = DatumGetInt32(values[Anum_sub_id - 1]);
	SnSub	   *sub = sn_sub_by_id(sub_id);
	SnSubShape	before;
	SnSubShape	after;
	SnFilter	filter;
	int			stream_id;

	if (sub == NULL)
		elog(ERROR, "subscription is not in the cache");
	filter = asked_filter(request, sub);
	sn_sub_shape(&before, filter_now(sub), values);
	stream_id = sn_filter_stream(&filter, snapshot);
	if (notes)
	{
		sn_request_note_start(request, sub);
		changes = sn_request_changes(request, sub, values);
	}
	set_policy(request, values);
	sn_sub_shape(&after, &filter, values);
	change_rules(request, sub);
	begin_shares(request, sn_sub_by_id(sub_id));
	if (stream_id != DatumGetInt32(values[Anum_sub_stream_id - 1]))
	{
		lock_sub_lanes(sub_id);
		sn_change_filter(sn_sub_by_id(sub_id), &filter, stream_id, values,
						 nulls);
		sn_hint_free_at_commit(sn_sub_slot(sub_id), 0, PG_UINT64_MAX);
	}
	sn_delete_one(SN_SUBSCRIPTION, tid);
	sn_insert_one(SN_SUBSCRIPTION, values, nulls);
	sn_request_note_changes(request, changes);
	sn_sub_record(notes ? "subscribe" : "alter_subscription",
				  request->worker_type, &before, &after);
}

/* find_locked: a subscription and its row, under the lock; NULL: it is gone */
static SnSub *
find_locked(int sub_id, Snapshot snapshot, Datum *values, bool *nulls,
			ItemPointer tid)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);

	return sub != NULL &&
		find_row(sub->worker_type, snapshot, values, nulls, tid) ? sub : NULL;
}

/* store_row: in place of the one that there was */
static void
store_row(ItemPointer tid, Datum *values, bool *nulls)
{
	sn_delete_one(SN_SUBSCRIPTION, tid);
	sn_insert_one(SN_SUBSCRIPTION, values, nulls);
	sn_subs_changed();
}

/* store_filter: store the row with other streams; those that nobody reads go */
static void
store_filter(ItemPointer tid, Datum *values, bool *nulls)
{
	store_row(tid, values, nulls);
	sn_drop_unused_streams();
	CommandCounterIncrement();
}

/*
 * sn_sub_refilter: give a subscription another filter, unless it has that one.
 * Without wait, false when a lock was not to be had.
 */
bool
sn_sub_refilter(int sub_id, const SnFilter *filter, bool wait)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;

	if (sub == NULL ||
		sn_filters_equal(&sub->segments[sub->nsegments - 1].filter, filter))
		return true;
	if (!sn_lock_streams(wait))
		return false;
	if (wait)
		lock_sub_lanes(sub_id);
	else if (!try_sub_lanes(sub_id))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sub = find_locked(sub_id, snapshot, values, nulls, &tid);
	if (sub != NULL)
	{
		sn_change_filter(sub, filter, sn_filter_stream(filter, snapshot),
						 values, nulls);
		store_filter(&tid, values, nulls);
	}
	UnregisterSnapshot(snapshot);
	return true;
}

/*
 * sn_sub_forget_filters: a subscription forgets earlier filters whose events its
 * lanes have passed: all before a position.  Retries are looked at under the
 * lock: the filter may have become smaller.  False when the lock was not to be
 * had.
 */
bool
sn_sub_forget_filters(int sub_id, SnPos passed)
{
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;
	SnSub	   *sub;

	if (!sn_lock_streams(false))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sub = find_locked(sub_id, snapshot, values, nulls, &tid);
	if (sub != NULL)
	{
		sn_forget_filters(sub, passed, snapshot, values, nulls);
		store_filter(&tid, values, nulls);
	}
	UnregisterSnapshot(snapshot);
	return true;
}

/*
 * sn_sub_stand_in_line: until that round each lane hands out its tracks in the order
 * of positions; 0: side by side again, as all lanes have passed it.  It begins with
 * SN_ROUND_MAX, and then no claim may be under way.  False when a lock was not to be
 * had.
 */
bool
sn_sub_stand_in_line(int sub_id, int64 round_no)
{
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;
	bool		found;

	if (!sn_lock_streams(false) ||
		(round_no == SN_ROUND_MAX && !try_sub_lanes(sub_id)))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	found = find_locked(sub_id, snapshot, values, nulls, &tid) != NULL;
	if (found)
	{
		values[Anum_sub_in_line_until - 1] = Int64GetDatum(round_no);
		nulls[Anum_sub_in_line_until - 1] = round_no == 0;
		store_row(&tid, values, nulls);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

/* refuse_relay: the name is that of a relay */
static void
refuse_relay(const text *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("\"%s\" is the name of a relay", text_to_cstring(name))));
}

/*
 * sn_sub_make_relay: the subscription of a new relay: what it is asked for, with
 * a filter and a start.  Its events have one attempt and hold up nothing.
 */
int
sn_sub_make_relay(SnRequest *request)
{
	Interval	second = {.time = USECS_PER_SEC};
	Interval	day = {.day = 1};
	Datum		backoff = IntervalPGetDatum(&second);
	Snapshot	snapshot;
	int			sub_id;

	if (sn_sub_by_name(request->worker_type) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("a relay or subscription \"%s\" exists already",
						text_to_cstring(request->worker_type))));
	request->is_relay = request->ordered = true;
	request->max_lease = &day;
	request->max_lanes = SN_MAX_LANES;
	request->max_attempts = 1;
	request->on_dead = cstring_to_text("skip");
	request->backoff = construct_array(&backoff, 1, INTERVALOID,
									   sizeof(Interval), false,
									   TYPALIGN_DOUBLE);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sub_id = make_subscription(request, snapshot);
	UnregisterSnapshot(snapshot);
	sn_subs_changed();
	return sub_id;
}

/* subscribe(worker_type, event_types, start_from, ...) returns void */
Datum
sentinai_subscribe(PG_FUNCTION_ARGS)
{
	SnRequest		request;
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;

	PreventCommandIfReadOnly("subscribe()");
	sn_request_subscribe(fcinfo, &request);
	sn_sub_require_manage(request.worker_type);
	(void) sn_node_activate();
	(void) sn_lock_streams(true);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (find_row(request.worker_type, snapshot, values, nulls, &tid))
	{
		if (DatumGetBool(values[Anum_sub_is_relay - 1]))
			refuse_relay(request.worker_type);
		change_subscription(&request, true, snapshot, values, nulls, &tid);
	}
	else
		(void) make_subscription(&request, snapshot);
	UnregisterSnapshot(snapshot);
	sn_subs_changed();
	sn_drop_unused_streams();
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* alter_subscription(worker_type, event_types, max_attempts, ...) */
Datum
sentinai_alter_subscription(PG_FUNCTION_ARGS)
{
	SnRequest	request = {0};
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	Snapshot	snapshot;

	SN_REQUIRE_ARG(0, "worker_type");
	PreventCommandIfReadOnly("alter_subscription()");
	request.worker_type = PG_GETARG_TEXT_PP(0);
	sn_sub_require_manage(request.worker_type);
	(void) sn_lock_streams(true);
	(void) sn_sub_require(request.worker_type);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_row(request.worker_type, snapshot, values, nulls, &tid))
		sn_unknown_worker_type(request.worker_type);
	sn_request_alter(fcinfo, values, &request);
	change_subscription(&request, false, snapshot, values, nulls, &tid);
	UnregisterSnapshot(snapshot);
	sn_subs_changed();
	sn_drop_unused_streams();
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/*
 * end_retries: delete what waits for a retry; its letters are pending again.
 * Returns how much that was.
 */
static int64
end_retries(int sub_id, const text *worker_type, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai letter",
												  ALLOCSET_DEFAULT_SIZES);
	SnTableScan *scan = sn_retry_scan_sub(sub_id, snapshot);
	TupleTableSlot *slot;
	int64		n = 0;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		if (!slot->tts_isnull[Anum_retry_first_failed_at - 1])
			sn_dead_letter_given_back(DatumGetUUIDP(slot->tts_values[Anum_retry_event_id - 1]),
									  worker_type, snapshot);
		sn_table_delete(scan);
		n++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	sn_table_end(scan);
	return n;
}

/*
 * end_subscription: remove its row and all that there is of it; its lanes are
 * locked.  Returns how many events waited for a retry.
 */
static int64
end_subscription(int sub_id, const text *worker_type, ItemPointer tid,
				 Snapshot snapshot)
{
	int64		waiting;
	int			half;

	sn_delete_one(SN_SUBSCRIPTION, tid);
	(void) sn_policies_delete(worker_type, NULL, snapshot);
	waiting = end_retries(sub_id, worker_type, snapshot);
	sn_replaced_forget(worker_type, snapshot);
	for (half = 0; half < 2; half++)
		delete_where(sn_journal_half(SN_LANES, half), Anum_lane_sub_id, sub_id,
					 snapshot);
	sn_subs_changed();
	sn_drop_unused_streams();
	CommandCounterIncrement();
	sn_hint_drop_at_commit(sub_id);
	return waiting;
}

/* sn_sub_drop_relay: the same for a relay's; returns what was not sent */
int64
sn_sub_drop_relay(const text *name)
{
	Datum		values[Natts_sub];
	bool		nulls[Natts_sub];
	ItemPointerData tid;
	int			sub_id = sn_sub_by_name(name)->sub_id;
	Snapshot	snapshot;
	SnSub	   *sub;
	int64		unsent;

	lock_sub_lanes(sub_id);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sub = sn_sub_by_id(sub_id);
	if (sub == NULL || !find_row(name, snapshot, values, nulls, &tid))
		elog(ERROR, "subscription %d is gone", sub_id);
	unsent = sn_sub_left(sub, snapshot);
	unsent += end_subscription(sub_id, name, &tid, snapshot);
	UnregisterSnapshot(snapshot);
	return unsent;
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
	const SnSub *sub;
	SnSubShape	before;
	int			sub_id;

	SN_REQUIRE_ARG(0, "worker_type");
	PreventCommandIfReadOnly("unsubscribe()");
	worker_type = PG_GETARG_TEXT_PP(0);
	sn_sub_require_manage(worker_type);
	(void) sn_lock_streams(true);
	sub_id = sn_sub_require(worker_type)->sub_id;
	lock_sub_lanes(sub_id);

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_row(worker_type, snapshot, values, nulls, &tid))
		sn_unknown_worker_type(worker_type);
	sub = sn_sub_by_id(sub_id);
	if (sub == NULL)
		elog(ERROR, "subscription is not in the cache");
	sn_sub_shape(&before, filter_now(sub), values);
	sn_sub_record("unsubscribe", worker_type, &before, NULL);
	(void) end_subscription(sub_id, worker_type, &tid, snapshot);
	UnregisterSnapshot(snapshot);
	PG_RETURN_VOID();
}
