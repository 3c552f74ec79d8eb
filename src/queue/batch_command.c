/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch_command.c
 *		complete(), fail(), extend(), release(): what the holder of a batch does
 *		with it.
 *
 * All of them lock the lanes of the token, in ascending order, and go on only
 * if the batch holds every one: that is the fence.  Nothing is written before
 * every argument has been found good.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/fault.h"
#include "base/hash.h"
#include "log/event.h"
#include "queue/attempt.h"
#include "queue/batch.h"
#include "queue/dead_letter.h"
#include "queue/ledger.h"
#include "queue/retry.h"
#include "store/lane_hints.h"
#include "store/lane_share.h"

PG_FUNCTION_INFO_V1(sentinai_complete);
PG_FUNCTION_INFO_V1(sentinai_fail);
PG_FUNCTION_INFO_V1(sentinai_extend);
PG_FUNCTION_INFO_V1(sentinai_release);

/* ids_arg: the elements of a uuid[] */
static const pg_uuid_t *
ids_arg(ArrayType *array, int *n)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_ids must have one dimension")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("event_ids must not contain nulls")));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (const pg_uuid_t *) ARR_DATA_PTR(array);
}

/* not_in_batch: the error for an event that the batch does not have */
static void
not_in_batch(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("event is not in the batch")));
}

/* no_longer_open: the error for an event that has left the batch */
static void
no_longer_open(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("event is no longer open in the batch"),
			 errdetail("It was resolved, or waits behind an event of its key that failed.")));
}

/* its_lane: the batch's lane that an event of the log is in, or NULL */
static SnLaneState *
its_lane(SnBatch *batch, const pg_uuid_t *id, int32 *hash)
{
	SnEventRow	row;
	int			lane;

	if (batch->log == NULL)
		batch->log = sn_log_begin(batch->snapshot);
	if (!sn_event_row(batch->log, id, batch->sub->worker_type,
					  batch->snapshot, &row) ||
		row.nulls[Anum_log_partition_hash - 1])
		return NULL;
	*hash = DatumGetInt32(row.values[Anum_log_partition_hash - 1]);
	lane = sn_lane_of(*hash, sn_node()->lanes);
	return batch->token.lanes & SN_LANE_BIT(lane) ?
		sn_batch_lane(batch, lane) : NULL;
}

/*
 * check_closed: an event that is not open in the batch.  Fine if the batch has
 * completed it (nobody else can have since it holds the lane) and may_be_done;
 * otherwise an error that tells whether it was the batch's at all.  Of a batch
 * that was resolved nobody knows which of the lanes' events were its.
 */
static void
check_closed(SnBatch *batch, const pg_uuid_t *id, bool may_be_done)
{
	TimestampTz processed_at;
	int32		hash;
	SnLaneState *state = its_lane(batch, id, &hash);

	if (state == NULL)
		not_in_batch();
	if (sn_ledger_completed(id, batch->sub->worker_type, batch->snapshot,
							&processed_at))
	{
		if (processed_at < state->claimed_at && !batch->resolved)
		{
			/* a subscription made anew takes what its forerunner completed */
			if (sn_retry_waits(batch->sub->sub_id, state->lane, hash, id,
							   batch->snapshot))
				no_longer_open();
			not_in_batch();
		}
		if (!may_be_done)
			no_longer_open();
		return;
	}
	if (sn_retry_waits(batch->sub->sub_id, state->lane, hash, id,
					   batch->snapshot) ||
		sn_dead_letter_exists(id, batch->sub->worker_type, batch->snapshot))
		no_longer_open();
	not_in_batch();
}

static int
compare_entries(const void *a, const void *b)
{
	return sn_uuid_cmp(&(*(SnEntry *const *) a)->event_id,
					   &(*(SnEntry *const *) b)->event_id);
}

/* find_entry: an open event among entries sorted by id, or NULL */
static SnEntry *
find_entry(SnEntry **sorted, int n, const pg_uuid_t *id)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			cmp = sn_uuid_cmp(id, &sorted[middle]->event_id);

		if (cmp == 0)
			return sorted[middle];
		if (cmp < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* choose: the open events that the ids name, each once */
static int
choose(SnBatch *batch, const pg_uuid_t *ids, int nids, SnEntry **chosen)
{
	int			n = batch->open.n;
	SnEntry   **sorted = palloc(Max(n, 1) * sizeof(SnEntry *));
	bool	   *taken = palloc0(Max(n, 1));
	int			result = 0;
	int			i;

	for (i = 0; i < n; i++)
		sorted[i] = &batch->open.items[i];
	qsort(sorted, n, sizeof(SnEntry *), compare_entries);
	for (i = 0; i < nids; i++)
	{
		SnEntry    *entry = find_entry(sorted, n, &ids[i]);

		CHECK_FOR_INTERRUPTS();
		if (entry == NULL)
			check_closed(batch, &ids[i], true);
		else if (!taken[entry - batch->open.items])
		{
			taken[entry - batch->open.items] = true;
			chosen[result++] = entry;
		}
	}
	return result;
}

/* write_ledger: the chosen events are completed */
static void
write_ledger(SnBatch *batch, SnEntry **chosen, int n)
{
	SnLedgerWriter *writer = sn_ledger_begin();
	int			i;

	for (i = 0; i < n; i++)
	{
		SnLaneState *state = sn_batch_state(batch, chosen[i]);
		SnLedgerRow row = {
			.event_id = chosen[i]->event_id,
			.worker_type = batch->sub->worker_type,
			.tenant_id = chosen[i]->tenant_id,
			.aggregate_id = chosen[i]->aggregate_id,
			.worker_id = state->worker_id,
			.completed = true,
			.attempt = chosen[i]->attempt,
			.processed_at = Max(batch->now, state->claimed_at),
		};

		sn_ledger_complete(writer, &row);
		state->completed++;
	}
	sn_ledger_end(writer);
}

/* remove_retries: rows of event_retry whose events are completed */
static void
remove_retries(SnBatch *batch, SnEntry **chosen, int n)
{
	SnRetry    *rows = NULL;
	int			nrows = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		const SnEntry *entry = chosen[i];
		SnRetry    *row;

		if (entry->bit >= 0)
			continue;
		if (rows == NULL)
			rows = palloc(n * sizeof(SnRetry));
		row = &rows[nrows];
		if (!sn_retry_get(batch->sub->sub_id, entry->lane, entry->pos,
						  batch->snapshot, row))
			continue;
		if (row->first_failed_at != 0)
			sn_dead_letter_succeeded(&entry->event_id,
									 batch->sub->worker_type,
									 batch->snapshot, batch->now);
		sn_lane_count(sn_batch_state(batch, entry), -1, 0);
		nrows++;
	}
	if (nrows > 0)
		sn_retry_remove(rows, nrows, batch->sub->ordered, batch->now);
}

/* complete(token text, event_ids uuid[]) returns int */
Datum
sentinai_complete(PG_FUNCTION_ARGS)
{
	SnBatch		batch;
	SnEntry   **chosen;
	int			n;
	int			i;

	SN_REQUIRE_ARG(0, "token");
	PreventCommandIfReadOnly("complete()");
	sn_batch_open(&batch, PG_GETARG_TEXT_PP(0));
	sn_batch_load(&batch);
	chosen = palloc(Max(batch.open.n, 1) * sizeof(SnEntry *));
	if (PG_ARGISNULL(1))
	{
		n = batch.open.n;
		for (i = 0; i < n; i++)
			chosen[i] = &batch.open.items[i];
	}
	else
	{
		int			nids;
		const pg_uuid_t *ids = ids_arg(PG_GETARG_ARRAYTYPE_P(1), &nids);

		n = choose(&batch, ids, nids, chosen);
	}
	if (n > 0)
	{
		write_ledger(&batch, chosen, n);
		remove_retries(&batch, chosen, n);
		for (i = 0; i < n; i++)
			sn_batch_drop(&batch, chosen[i]);
		sn_batch_append(&batch);
	}
	sn_batch_close(&batch);
	SN_FAULT(complete);
	PG_RETURN_INT32(n);
}

/* open_entry: the open event of that id, or an error */
static const SnEntry *
open_entry(SnBatch *batch, const pg_uuid_t *id)
{
	int			i;

	sn_batch_load(batch);
	for (i = 0; i < batch->open.n; i++)
		if (memcmp(&batch->open.items[i].event_id, id, UUID_LEN) == 0)
			return &batch->open.items[i];
	check_closed(batch, id, false);
	return NULL;
}

/*
 * same_key_of_entries: whether two events of a lane have the same partition
 * key
 */
static bool
same_key_of_entries(const SnEntry *a, const SnEntry *b)
{
	return a->tenant_id != NULL && b->tenant_id != NULL &&
		sn_text_equal(a->tenant_id, b->tenant_id) &&
		sn_text_equal(a->aggregate_id, b->aggregate_id);
}

/* park_behind: an open event waits in event_retry behind the failed one */
static void
park_behind(SnBatch *batch, SnInserter *inserter, const SnEntry *entry,
			int32 hash)
{
	SnRetry		retry = {
		.sub_id = batch->sub->sub_id,
		.lane = entry->lane,
		.pos = entry->pos,
		.event_id = entry->event_id,
		.hash = hash,
		.attempt = entry->attempt - 1,
		.tenant_id = entry->tenant_id,
		.aggregate_id = entry->aggregate_id,
	};

	sn_retry_insert(inserter, &retry);
	sn_lane_count(sn_batch_state(batch, entry), 1, 0);
}

/* park_later: the later events of a key leave the batch */
static void
park_later(SnBatch *batch, const SnEntry *failed)
{
	SnInserter *inserter = NULL;
	int32		hash = 0;
	int			i;

	for (i = 0; i < batch->open.n; i++)
	{
		const SnEntry *entry = &batch->open.items[i];

		if (entry->lane != failed->lane || entry->pos <= failed->pos ||
			!same_key_of_entries(entry, failed))
			continue;
		if (entry->bit >= 0)
		{
			if (inserter == NULL)
			{
				hash = sn_key_hash(failed->tenant_id, failed->aggregate_id);
				inserter = sn_retry_begin();
			}
			park_behind(batch, inserter, entry, hash);
		}
		sn_batch_drop(batch, entry);
	}
	if (inserter != NULL)
		(void) sn_insert_end(inserter);
}

/* sn_batch_fail: an open event of a batch failed, and leaves it */
SnOutcome
sn_batch_fail(SnBatch *batch, const SnEntry *entry, text *error,
			  bool retryable, int64 wait)
{
	SnFailure	failure = {
		.sub = batch->sub,
		.state = sn_batch_state(batch, entry),
		.entry = entry,
		.error = error,
		.retryable = retryable,
		.wait = wait,
		.now = batch->now,
	};
	SnOutcome	outcome;

	if (batch->log == NULL)
		batch->log = sn_log_begin(batch->snapshot);
	failure.log = batch->log;
	outcome = sn_attempt_failed(&failure);
	sn_batch_drop(batch, entry);
	if (outcome != SN_DEAD && batch->sub->ordered)
		park_later(batch, entry);
	sn_batch_append(batch);
	return outcome;
}

/* fail(token, event_id, error, retryable, retry_in) returns text */
Datum
sentinai_fail(PG_FUNCTION_ARGS)
{
	SnBatch		batch;
	text	   *error;
	bool		retryable;
	int64		wait;
	SnOutcome	outcome;

	SN_REQUIRE_ARG(0, "token");
	SN_REQUIRE_ARG(1, "event_id");
	SN_REQUIRE_ARG(2, "error");
	SN_REQUIRE_ARG(3, "retryable");
	PreventCommandIfReadOnly("fail()");
	error = PG_GETARG_TEXT_PP(2);
	retryable = PG_GETARG_BOOL(3);
	wait = PG_ARGISNULL(4) ? -1 :
		sn_duration(PG_GETARG_INTERVAL_P(4), "retry_in", 0, SN_YEAR);

	sn_batch_open(&batch, PG_GETARG_TEXT_PP(0));
	outcome = sn_batch_fail(&batch, open_entry(&batch, PG_GETARG_UUID_P(1)),
							error, retryable, wait);
	sn_batch_close(&batch);
	SN_FAULT(fail);
	PG_RETURN_TEXT_P(cstring_to_text(outcome == SN_RETRYING ?
									 "retrying" : "dead"));
}

/*
 * extend_share: the batch's lanes stay the role's.  Where all leases still run,
 * they do in any case; what has run out is taken anew, and others may have come
 * to be the role's since.
 */
static void
extend_share(SnBatch *batch, int64 lease)
{
	SnShareClaim share = {
		.slot = batch->hints,
		.role = GetUserId(),
		.max_lanes = SN_MAX_LANES,
		.now = batch->now,
		.lease_until = batch->now + lease,
	};
	int			i;

	if (!sn_sub_shares(batch->sub, batch->hints))
		return;
	for (i = 0; i < batch->nlanes; i++)
		if (batch->lanes[i]->lease_until <= batch->now)
			share.max_lanes = batch->sub->max_lanes;
	if (!sn_share_take(&share, batch->token.lanes))
		ereport(ERROR,
				(errcode(ERRCODE_SN_LIMIT),
				 errmsg("role holds all the lanes that it may"),
				 errdetail("The lease had run out, and batches of worker type \"%s\" that the role has claimed since hold as many as the subscription allows.",
						   text_to_cstring(batch->sub->worker_type)),
				 errhint("Finish the batch, or give back another one.")));
}

/* extend(token text, lease interval) returns timestamptz */
Datum
sentinai_extend(PG_FUNCTION_ARGS)
{
	SnBatch		batch;
	int64		lease;
	uint64		shortened = 0;
	int			i;

	SN_REQUIRE_ARG(0, "token");
	SN_REQUIRE_ARG(1, "lease");
	PreventCommandIfReadOnly("extend()");
	lease = sn_duration(PG_GETARG_INTERVAL_P(1), "lease", 1, SN_DAY);
	sn_batch_open(&batch, PG_GETARG_TEXT_PP(0));
	if (batch.resolved)
		sn_batch_stale();
	sn_sub_require_lease(batch.sub, lease);
	extend_share(&batch, lease);
	for (i = 0; i < batch.nlanes; i++)
	{
		if (batch.now + lease < batch.lanes[i]->lease_until)
			shortened |= SN_LANE_BIT(batch.lanes[i]->lane);
		batch.lanes[i]->lease_until = batch.now + lease;
		batch.lanes[i]->changed = true;
	}
	sn_batch_append(&batch);
	if (shortened != 0)
		sn_hint_check_sooner(batch.hints, shortened, batch.now + lease);
	sn_batch_close(&batch);
	SN_FAULT(extend);
	PG_RETURN_TIMESTAMPTZ(batch.now + lease);
}

/* release(token text) returns int */
Datum
sentinai_release(PG_FUNCTION_ARGS)
{
	SnBatch		batch;
	int			n;

	SN_REQUIRE_ARG(0, "token");
	PreventCommandIfReadOnly("release()");
	sn_batch_open(&batch, PG_GETARG_TEXT_PP(0));
	n = sn_batch_release(&batch);
	sn_batch_close(&batch);
	SN_FAULT(release);
	PG_RETURN_INT32(n);
}
