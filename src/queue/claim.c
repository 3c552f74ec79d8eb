/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim.c
 *		claim(): the next batch of a subscription.
 *
 * Lanes are tried from a place that moves on with every claim; those that the
 * hints leave out are not looked at, those that others have locked are skipped.
 * What was found in a lane is stored when all lanes are locked, so that all
 * rows go to the half of the journal that takes rows then.  The events come out
 * at the end, when the token is known: from copies of their rows as far as these
 * come to little, otherwise the rows are fetched once more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/fault.h"
#include "queue/claim_work.h"
#include "queue/dead_letter.h"
#include "queue/share.h"
#include "queue/wanted.h"
#include "sequencer/sequencer.h"
#include "store/lane_hints.h"
#include "tenancy/gate.h"

#define MAX_EVENTS		10000
#define STATES_FIRST 16	/* of tracks, that there is room for at first */
#define ROUND_PATIENCE	1000	/* ms that a claim waits for a round */

PG_FUNCTION_INFO_V1(sentinai_claim);

/* columns of claim()'s result */
enum
{
	OUT_TOKEN, OUT_EVENT_ID, OUT_EVENT_TYPE, OUT_TENANT_ID,
	OUT_AGGREGATE_TYPE, OUT_AGGREGATE_ID, OUT_SCHEMA_VERSION, OUT_PAYLOAD,
	OUT_METADATA, OUT_CORRELATION_ID, OUT_CAUSATION_ID, OUT_OCCURRED_AT,
	OUT_ATTEMPT, OUT_COLUMNS
};

/* which column of the log a column of the result is, 0 for those that are none */
static const AttrNumber log_columns[OUT_COLUMNS] = {
	[OUT_EVENT_ID] = Anum_log_event_id,
	[OUT_EVENT_TYPE] = Anum_log_event_type,
	[OUT_TENANT_ID] = Anum_log_tenant_id,
	[OUT_AGGREGATE_TYPE] = Anum_log_aggregate_type,
	[OUT_AGGREGATE_ID] = Anum_log_aggregate_id,
	[OUT_SCHEMA_VERSION] = Anum_log_schema_version,
	[OUT_PAYLOAD] = Anum_log_payload,
	[OUT_METADATA] = Anum_log_metadata,
	[OUT_CORRELATION_ID] = Anum_log_correlation_id,
	[OUT_CAUSATION_ID] = Anum_log_causation_id,
	[OUT_OCCURRED_AT] = Anum_log_occurred_at,
};

/*
 * first_lane: where to begin.  Claims that run at the same time begin in
 * different lanes, one after another where the one before has ended.
 */
static uint32
first_lane(SnClaim *claim)
{
	if (claim->hints == NULL)
		return (uint32) claim->now;
	return pg_atomic_fetch_add_u32(&claim->hints->next_lane, 1);
}

/* move_on: where the next claim begins, unless others have moved it */
static void
move_on(SnClaim *claim, uint32 first)
{
	uint32		expected = first + 1;
	int			next = claim->skipped >= 0 ? SN_STRIP_LANE(claim->skipped) :
		claim->last + 1;

	if (claim->hints != NULL && claim->skipped >= 0)
		pg_atomic_write_u32(&claim->hints->lost_strip, claim->skipped + 1);
	if (claim->hints != NULL && (claim->skipped >= 0 || claim->last >= 0))
		(void) pg_atomic_compare_exchange_u32(&claim->hints->next_lane,
											  &expected, (uint32) next);
}

/* look_around: go through the lanes until the batch is full */
static void
look_around(SnClaim *claim)
{
	uint32		first;

	if (claim->sated)
		return;
	first = first_lane(claim);
	sn_claim_look_around(claim, first);
	move_on(claim, first);
}

/* begin_claim: what a claim works with */
static void
begin_claim(SnClaim *claim)
{
	sn_require_claim(claim->worker_type);
	claim->sub = sn_sub_require(claim->worker_type);
	sn_sub_require_work(claim->sub);
	sn_sub_require_lease(claim->sub, claim->lease);
	claim->hints = sn_sub_slot(claim->sub->sub_id);
	claim->now = sn_now();
	claim->sated = sn_sub_share_until(claim->sub, claim->hints,
									  claim->now) != DT_NOBEGIN;
	if (claim->hints != NULL)
		pg_atomic_write_u64(&claim->hints->claimed_at, (uint64) claim->now);
	claim->log = sn_log_begin(NULL);
	claim->stream = sn_stream_begin();
	claim->skipped = claim->last = -1;
	claim->states_room = STATES_FIRST;
	claim->states = palloc(STATES_FIRST * sizeof(SnLaneState *));
	claim->memory = sn_batch_memory();
	claim->token.sub_id = claim->sub->sub_id;
	sn_token_new(&claim->token);
}

#ifdef USE_ASSERT_CHECKING
/* range_is_its: whether a range without a bitmap is all the batch's, as others take it */
static bool
range_is_its(SnClaim *claim, const SnLaneState *state)
{
	SnPos		pos;
	pg_uuid_t	id;
	int			n = 0;

	if (!state->held || state->resolved.bytes != NULL)
		return true;
	sn_lane_seek(claim->stream, claim->sub, state, claim->snapshot);
	while (sn_stream_next(claim->stream, &pos, &id) && pos < state->end_pos)
		n++;
	return n == state->open - state->nretries;
}
#endif

/* store: write what the claim changed */
static void
store(SnClaim *claim)
{
	SnLaneAppender appender = {NULL};
	int			i;

	if (claim->parker != NULL)
		(void) sn_insert_end(claim->parker);
	if (claim->token.lanes != 0)
		sn_token_seal(&claim->token);
	for (i = 0; i < claim->nstates; i++)
		if (claim->states[i]->held)
			claim->states[i]->batch = claim->token.batch;
	for (i = 0; i < claim->nstates; i++)
	{
		Assert(range_is_its(claim, claim->states[i]));
		if (claim->states[i]->changed)
			sn_lane_append(&appender, claim->states[i]);
	}
	sn_lane_append_end(&appender);
	claim->parker = NULL;
	claim->nstates = 0;
	CommandCounterIncrement();
}

/* from_letter: the columns of an event that left the log */
static void
from_letter(SnClaim *claim, const SnEntry *entry, Datum *values, bool *nulls)
{
	SnEventRow	row;
	int			i;

	if (!sn_dead_letter_event(&entry->event_id, claim->sub->worker_type,
							  claim->snapshot, &row))
		elog(ERROR, "dead letter is missing");
	for (i = 0; i < OUT_COLUMNS; i++)
	{
		if (log_columns[i] == 0)
			continue;
		values[i] = row.values[log_columns[i] - 1];
		nulls[i] = row.nulls[log_columns[i] - 1];
	}
}

/* from_log: the columns of an event in the log */
static void
from_log(SnClaim *claim, const SnLogRef *ref, Datum *values, bool *nulls)
{
	Datum		row[Natts_log];
	bool		row_nulls[Natts_log];
	int			i;

	if (!sn_log_columns(claim->log, ref, row, row_nulls))
		elog(ERROR, "event is missing from the log");
	for (i = 0; i < OUT_COLUMNS; i++)
	{
		AttrNumber	column = log_columns[i];

		if (column == 0)
			continue;
		column = sn_log_column(column, row_nulls);
		values[i] = row[column - 1];
		nulls[i] = row_nulls[column - 1];
	}
}

/* put_out: the batch as rows */
static void
put_out(SnClaim *claim, ReturnSetInfo *result)
{
	Datum		token = PointerGetDatum(sn_token_text(&claim->token));
	int			i;

	for (i = 0; i < claim->entries.n; i++)
	{
		const SnEntry *entry = &claim->entries.items[i];
		Datum		values[OUT_COLUMNS];
		bool		nulls[OUT_COLUMNS] = {false};

		CHECK_FOR_INTERRUPTS();
		if (claim->refs[i].part < 0)
			from_letter(claim, entry, values, nulls);
		else
			from_log(claim, &claim->refs[i], values, nulls);
		values[OUT_TOKEN] = token;
		values[OUT_ATTEMPT] = Int32GetDatum(entry->attempt);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
}

/* finish: close what is open, keep what complete() will want */
static void
finish(SnClaim *claim)
{
	sn_retry_probe_end(&claim->probe);
	sn_lane_read_end(&claim->reader);
	sn_stream_end(claim->stream);
	sn_log_end(claim->log);
	if (claim->snapshot != NULL)
		UnregisterSnapshot(claim->snapshot);
	if (claim->entries.n > 0)
		sn_batch_remember(claim->memory, &claim->token, &claim->entries);
	sn_note_gone(claim->sub, claim->gone);
}

/*
 * await_round: events were committed that no round has seen.  True when there
 * may be something new to look for.
 */
static bool
await_round(uint64 commits)
{
	SnDatabase *db = sn_database();
	TimestampTz deadline;

	if (!sn_sequencer_running())
		return sn_round_inline();
	if (pg_atomic_read_u64(&db->asked) < commits)
		pg_atomic_write_u64(&db->asked, commits);
	deadline = TimestampTzPlusMilliseconds(sn_now(),
										   ROUND_PATIENCE);
	ConditionVariablePrepareToSleep(&db->sequenced_cv);
	while (pg_atomic_read_u64(&db->sequenced) < commits)
	{
		long		left = TimestampDifferenceMilliseconds(sn_now(),
														   deadline);

		if (left <= 0 ||
			ConditionVariableTimedSleep(&db->sequenced_cv, left,
										sn_wait_event("SentinaiRound")))
			break;
	}
	ConditionVariableCancelSleep();
	return true;
}

/* claim(worker_type text, max_events int, lease interval, worker_id text) */
Datum
sentinai_claim(PG_FUNCTION_ARGS)
{
	SnClaim    *claim = palloc0(sizeof(SnClaim));
	uint64		commits;
	uint64		sequenced;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "max_events");
	SN_REQUIRE_ARG(2, "lease");
	PreventCommandIfReadOnly("claim()");
	claim->worker_type = PG_GETARG_TEXT_PP(0);
	claim->max = PG_GETARG_INT32(1);
	claim->lease = sn_duration(PG_GETARG_INTERVAL_P(2), "lease", 1, SN_DAY);
	claim->worker_id = sn_worker_id_arg(fcinfo, 3);
	if (claim->max < 1 || claim->max > MAX_EVENTS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_events must be between 1 and %d", MAX_EVENTS)));

	/* a round that ends while we look may have come too late for that */
	commits = pg_atomic_read_u64(&sn_database()->commits);
	sequenced = pg_atomic_read_u64(&sn_database()->sequenced);
	begin_claim(claim);
	look_around(claim);
	store(claim);
	if (claim->entries.n == 0 && !claim->sated &&
		(sequenced < commits || !sn_sequencer_running()) &&
		await_round(commits))
	{
		claim->now = sn_now();
		look_around(claim);
		store(claim);
	}
	sn_hint_claimed(claim->hints, claim->fresh, claim->fresh_on_common,
					sn_claim_full(claim) && !claim->sated ?
					claim->max + 1 : 0);
	put_out(claim, (ReturnSetInfo *) fcinfo->resultinfo);
	finish(claim);
	SN_FAULT(claim);
	return (Datum) 0;
}
