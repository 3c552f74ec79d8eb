/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * attempt.c
 *		What follows when an attempt at an event has failed: a retry later, or a
 *		dead letter, and the event that tells about it.
 *
 * Runs under the lane's lock.  The caller takes the event out of its batch.
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/args.h"
#include "log/event.h"
#include "queue/attempt.h"
#include "queue/control.h"
#include "queue/dead_letter.h"
#include "queue/retry.h"
#include "redact/redact.h"

/* publish_outcome: publish what became of the attempt */
static void
publish_outcome(const char *type, const SnFailure *failure,
				const SnRetry *retry, const SnEventRow *event)
{
	SnControl	control = {
		.type = type,
		.worker_type = failure->sub->worker_type,
		.event = event,
		.event_id = &retry->event_id,
		.attempt = retry->attempt,
		.error = retry->last_error,
		.due_at = retry->has_due ? retry->due_at : 0,
	};

	sn_control_tell(&control);
}

/* sn_attempt_error: what an attempt failed of, as rules for the event make it */
text *
sn_attempt_error(text *error, const SnEventRow *event)
{
	if (!sn_redact_asks())
		return error;
	return sn_redact_error(sn_row_text(event, Anum_log_tenant_id),
						   sn_row_text(event, Anum_log_event_type), error);
}

/*
 * know_tenant: an event that lacks its tenant has the one that is known from
 * elsewhere, if it is
 */
static void
know_tenant(SnEventRow *event, text *tenant_id)
{
	if (sn_event_has_tenant(event) || tenant_id == NULL)
		return;
	event->values[Anum_log_tenant_id - 1] = PointerGetDatum(tenant_id);
}

/* blocks_key: whether an event that is given up keeps its key stopped */
static bool
blocks_key(const SnFailure *failure, const SnEventRow *event)
{
	return failure->sub->block && failure->sub->ordered &&
		sn_event_has_tenant(event);
}

/* new_row: the row of event_retry for an event that had none */
static void
new_row(const SnFailure *failure, const SnEventRow *event, SnRetry *retry)
{
	memset(retry, 0, sizeof(SnRetry));
	retry->sub_id = failure->sub->sub_id;
	retry->lane = failure->entry->lane;
	retry->pos = failure->entry->pos;
	retry->event_id = failure->entry->event_id;
	retry->tenant_id = sn_row_text(event, Anum_log_tenant_id);
	retry->aggregate_id = sn_row_text(event, Anum_log_aggregate_id);
	retry->hash = event->nulls[Anum_log_partition_hash - 1] ?
		sn_key_hash(retry->tenant_id, retry->aggregate_id) :
		DatumGetInt32(event->values[Anum_log_partition_hash - 1]);
}

/* wait_of: how long to wait before the next attempt, in microseconds */
static int64
wait_of(const SnFailure *failure, const SnPolicy *policy)
{
	int			n = Min(failure->entry->attempt, policy->nbackoff);

	if (failure->lost)
		return 0;
	if (failure->wait >= 0)
		return failure->wait;
	return sn_duration_of(&policy->backoff[n - 1]);
}

/* give_up_retry: no more attempts */
static SnOutcome
give_up_retry(const SnFailure *failure, SnRetry *retry, bool had_row,
			  const SnEventRow *event)
{
	const SnSub *sub = failure->sub;
	SnLaneState *state = failure->state;
	bool		blocks = blocks_key(failure, event);

	retry->has_due = false;
	retry->not_before = 0;
	retry->dead = blocks;
	if (blocks)
		sn_retry_put(retry, true);
	sn_lane_count(state, (int) blocks - (int) had_row,
				  sn_dead_letter_put(event, sub->worker_type, retry,
									 failure->now));
	publish_outcome(SN_TYPE_DEAD_LETTERED, failure, retry, event);
	return blocks ? SN_DEAD_BLOCKING : SN_DEAD;
}

/* try_again: one more attempt later */
static SnOutcome
try_again(const SnFailure *failure, SnRetry *retry, bool had_row,
		  const SnEventRow *event, int64 wait)
{
	retry->solo = failure->lost;
	retry->has_due = true;
	retry->due_at = retry->not_before = failure->now + wait;
	sn_retry_put(retry, failure->sub->ordered);
	sn_lane_count(failure->state, !had_row, 0);
	if (!failure->lost)
		publish_outcome(SN_TYPE_RETRY_SCHEDULED, failure, retry, event);
	return SN_RETRYING;
}

/*
 * sn_attempt_failed: schedule the next attempt or give the event up.  An event
 * that neither log nor letters have any more is dropped without a letter.
 *
 * The rows are read as they are now: an event of the key that failed just
 * before, in the same call, may have changed the one of this event.
 */
SnOutcome
sn_attempt_failed(const SnFailure *failure)
{
	const SnEntry *entry = failure->entry;
	SnLaneState *state = failure->state;
	const SnPolicy *policy;
	SnEventRow	event;
	SnRetry		retry;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		had_row = entry->bit < 0 &&
		sn_retry_get(failure->sub->sub_id, entry->lane, entry->pos, snapshot,
					 &retry);
	bool		found = sn_event_remains(failure->log, &entry->event_id,
									 failure->sub->worker_type, snapshot,
									 &event);
	text	   *error;
	bool		again;
	SnOutcome	outcome;

	UnregisterSnapshot(snapshot);
	state->failed += !failure->given_up;
	state->changed = true;
	if (!found)
	{
		if (had_row)
			sn_retry_remove(&retry, 1, failure->sub->ordered, failure->now);
		sn_lane_count(state, -(int) had_row, 0);
		return SN_DEAD;
	}
	know_tenant(&event, had_row ? retry.tenant_id : entry->tenant_id);
	if (!had_row)
		new_row(failure, &event, &retry);
	retry.attempt = entry->attempt;
	error = sn_attempt_error(failure->error, &event);
	sn_history_add(&retry, VARDATA_ANY(error), VARSIZE_ANY_EXHDR(error),
				   state->worker_id, failure->now);

	policy = sn_sub_policy(failure->sub, sn_row_text(&event, Anum_log_event_type));
	again = failure->retryable && entry->attempt < policy->max_attempts;
	if (had_row && (again || blocks_key(failure, &event)))
		sn_retry_delete(&retry, 1);
	else if (had_row)
		sn_retry_remove(&retry, 1, failure->sub->ordered, failure->now);
	outcome = again ?
		try_again(failure, &retry, had_row, &event,
				  wait_of(failure, policy)) :
		give_up_retry(failure, &retry, had_row, &event);
	return outcome;
}
