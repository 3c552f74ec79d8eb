/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * poison.c
 *		retry_event(), give_up_event(): what people do with an event that its
 *		agents cannot deal with, before it is a dead letter.
 *
 * The event may wait in event_retry, be in a batch that an agent has, or be in
 * what a lane's range has left.  A batch's lanes are all locked, as its end
 * gives all of them back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "base/text.h"
#include "log/event.h"
#include "queue/attempt.h"
#include "queue/backlog.h"
#include "queue/dead_letter.h"
#include "queue/lane_track.h"
#include "queue/ledger.h"
#include "queue/retry.h"
#include "redact/redact.h"
#include "store/lane_hints.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"

PG_FUNCTION_INFO_V1(sentinai_retry_event);
PG_FUNCTION_INFO_V1(sentinai_give_up_event);

/* An event that somebody looks at, its lane locked */
typedef struct Patient
{
	pg_uuid_t	id;
	int32		hash;
	int			lane;
	text	   *tenant_id;
	text	   *aggregate_id;	/* or NULL */
	text	   *event_type;
	SnBatch		batch;			/* that has the event; without lanes: none has */
	SnLane		all;			/* the lane, when no batch has it */
	bool		waits;			/* in event_retry */
	SnRetry		retry;			/* if it waits */
} Patient;

/* not_handed_out: the error for an event that is nobody's, or others' */
static void
not_handed_out(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("event was not handed out"),
			 errdetail("It does not exist, is not for the worker type, or its turn has not come.")));
}

/* not_there: the error for an event that is none of the subscription's work */
static void
not_there(const Patient *patient)
{
	const SnBatch *batch = &patient->batch;

	if (sn_dead_letter_exists(&patient->id, batch->sub->worker_type,
							  batch->snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("event is a dead letter"),
				 errhint("Use retry_dead_letter() or discard_dead_letter().")));
	if (sn_ledger_completed(&patient->id, batch->sub->worker_type,
							batch->snapshot, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("event is completed")));
	not_handed_out();
}

/* find_lane: the lane that the event belongs to */
static void
find_lane(Patient *patient)
{
	SnBatch    *batch = &patient->batch;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLogReader *log = sn_log_begin(snapshot);
	SnEventRow	event;

	if (!sn_event_row(log, &patient->id, batch->sub->worker_type, snapshot,
					  &event))
	{
		batch->snapshot = snapshot;
		if (!sn_may(SN_RIGHT_OPERATE, NULL))
			not_handed_out();
		not_there(patient);
	}
	if (!sn_may(SN_RIGHT_OPERATE, sn_row_text(&event, Anum_log_tenant_id)))
		not_handed_out();
	patient->hash = sn_key_hash(sn_row_text(&event, Anum_log_tenant_id),
								sn_row_text(&event, Anum_log_aggregate_id));
	patient->lane = sn_lane_of(patient->hash, sn_node()->lanes);
	patient->tenant_id = sn_text_copy(sn_row_text(&event, Anum_log_tenant_id));
	patient->event_type = sn_text_copy(sn_row_text(&event, Anum_log_event_type));
	patient->aggregate_id = sn_row_text(&event, Anum_log_aggregate_id);
	if (patient->aggregate_id != NULL)
		patient->aggregate_id = sn_text_copy(patient->aggregate_id);
	sn_log_end(log);
	UnregisterSnapshot(snapshot);
}

/* has_event: whether the batch that holds a track of the lane has the event */
static bool
has_event(Patient *patient, SnLaneState *state, SnLogReader *log)
{
	SnBatch    *batch = &patient->batch;
	SnEntries	entries = {NULL};
	int			i;

	sn_entries_of_lane(&entries, batch->sub, state, log, batch->snapshot);
	for (i = 0; i < entries.n; i++)
		if (memcmp(&entries.items[i].event_id, &patient->id, UUID_LEN) == 0)
			return true;
	return false;
}

/*
 * read_lane: the lane under a new snapshot, and the track whose batch has the
 * event, or NULL; then the snapshot stays
 */
static SnLaneState *
read_lane(Patient *patient)
{
	SnBatch    *batch = &patient->batch;
	SnLaneReader reader = {false};
	SnLaneState *result = NULL;
	SnLogReader *log;
	int			track;

	batch->snapshot = RegisterSnapshot(GetLatestSnapshot());
	sn_lane_open(&patient->all, &reader, batch->sub, patient->lane,
				 batch->snapshot);
	sn_lane_read_end(&reader);
	log = sn_log_begin(batch->snapshot);
	foreach_track(track, patient->all.tracks)
		if (patient->all.of[track] != NULL && patient->all.of[track]->held &&
			has_event(patient, patient->all.of[track], log))
		{
			result = patient->all.of[track];
			break;
		}
	sn_log_end(log);
	if (result != NULL)
		UnregisterSnapshot(batch->snapshot);
	return result;
}

/* entry_of: the event among those of its batch, or NULL */
static const SnEntry *
entry_of(Patient *patient)
{
	SnBatch    *batch = &patient->batch;
	int			i;

	if (batch->nlanes == 0)
		return NULL;
	sn_batch_load(batch);
	for (i = 0; i < batch->open.n; i++)
		if (memcmp(&batch->open.items[i].event_id, &patient->id,
				   UUID_LEN) == 0)
			return &batch->open.items[i];
	return NULL;
}

/*
 * lock_lane: lock the event's lane, with all others of the batch that has the
 * event.  The lane is looked at before, as a batch's lanes are locked in their
 * order.
 */
static void
lock_lane(Patient *patient, text *worker_type)
{
	SnBatch    *batch = &patient->batch;

	for (;;)
	{
		int			sub_id = batch->sub->sub_id;
		SnLaneState *state;

		CHECK_FOR_INTERRUPTS();
		state = read_lane(patient);
		if (state == NULL)
		{
			UnregisterSnapshot(batch->snapshot);
			sn_lock_lane_yielding(sub_id, patient->lane);
			batch->sub = sn_sub_require(worker_type);
			if (batch->sub->sub_id == sub_id && read_lane(patient) == NULL)
				break;
		}
		else if (sn_batch_seize(batch, sub_id, sn_is_batch, &state->batch))
		{
			if (entry_of(patient) != NULL)
				return;
			sn_batch_close(batch);	/* it has gone on meanwhile */
			memset(batch, 0, sizeof(SnBatch));
		}
		batch->sub = sn_sub_require(worker_type);
	}
	batch->hints = sn_sub_slot(batch->sub->sub_id);
	batch->now = sn_now();
}

/* admit: find the event and keep everybody else from it */
static void
admit(Patient *patient, FunctionCallInfo fcinfo)
{
	SnBatch    *batch = &patient->batch;
	text	   *worker_type = PG_GETARG_TEXT_PP(1);

	memset(patient, 0, sizeof(Patient));
	patient->id = *PG_GETARG_UUID_P(0);
	if (!sn_may(SN_RIGHT_OPERATE, NULL) && sn_sub_by_name(worker_type) == NULL)
		not_handed_out();		/* others' subscriptions are like none */
	batch->sub = sn_sub_require(worker_type);
	find_lane(patient);
	lock_lane(patient, worker_type);
	sn_hold_briefly();
	patient->waits = sn_retry_find(batch->sub->sub_id, patient->lane,
								   patient->hash, &patient->id,
								   batch->snapshot, &patient->retry);
	if (patient->waits && patient->retry.dead)
		not_there(patient);
}

/* discharge: store the lane and tell those who wait */
static void
discharge(Patient *patient)
{
	sn_lane_put_back(&patient->all, patient->batch.hints);
	sn_batch_close(&patient->batch);
}

/* record_treatment: note in the action log what somebody did with the event */
static void
record_treatment(const Patient *patient, const char *function, text *actor,
				 text *reason)
{
	SnAction	action = {
		.action = function,
		.kind = SN_ACTION_ACTS,
		.tenant_id = patient->tenant_id,
		.worker_type = patient->batch.sub->worker_type,
		.aggregate_id = patient->aggregate_id,
		.object = DatumGetCString(DirectFunctionCall1(uuid_out,
													  UUIDPGetDatum(&patient->id))),
		.actor = sn_redact_note(patient->tenant_id, patient->event_type, actor),
		.reason = sn_redact_note(patient->tenant_id, patient->event_type, reason),
	};

	action.after =
		sn_action_json("worker_type", text_to_cstring(action.worker_type), NULL);
	sn_action_record(&action);
}

/* retry_event(event_id uuid, worker_type text, actor text) returns void */
Datum
sentinai_retry_event(PG_FUNCTION_ARGS)
{
	Patient		patient;
	text	   *actor;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = sn_actor_arg(fcinfo, 2);
	PreventCommandIfReadOnly("retry_event()");
	admit(&patient, fcinfo);
	if (entry_of(&patient) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("an agent works on the event"),
				 errhint("revoke_lease() takes it from the agent.")));
	if (!patient.waits)
		not_there(&patient);
	if (!patient.retry.has_due)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("event waits behind an earlier one of its key"),
				 errhint("Retry or give up that one.")));
	patient.retry.due_at = patient.batch.now;
	patient.retry.not_before = 0;
	sn_retry_replace(&patient.retry);
	sn_hint_free_at_commit(patient.batch.hints, 0,
						   SN_LANE_BIT(patient.lane));
	ereport(LOG,
			(errmsg("retry of an event was brought forward by \"%s\"",
					text_to_cstring(actor))));
	record_treatment(&patient, "retry_event", actor, NULL);
	discharge(&patient);
	PG_RETURN_VOID();
}

/* give_up_waiting: an event of event_retry, or of what the range has left */
static void
give_up_waiting(Patient *patient, SnLaneState *state, const SnEntry *entry,
				text *error)
{
	SnBatch    *batch = &patient->batch;
	SnFailure	failure = {
		.sub = batch->sub,
		.state = state,
		.entry = entry,
		.error = error,
		.given_up = true,
		.now = batch->now,
		.log = batch->log,
	};

	(void) sn_attempt_failed(&failure);
}

/* left_in: the event in what the range of a track has left, or NULL */
static const SnEntry *
left_in(Patient *patient, SnLaneState *state, SnEntries *left)
{
	SnBatch    *batch = &patient->batch;
	int			i;

	sn_entries_left(left, batch->sub, state, batch->log, batch->snapshot);
	for (i = 0; i < left->n; i++)
		if (memcmp(&left->items[i].event_id, &patient->id, UUID_LEN) == 0)
			return &left->items[i];
	return NULL;
}

/* give_up_left: an event that was handed out and given back with its track */
static void
give_up_left(Patient *patient, text *error)
{
	SnBatch    *batch = &patient->batch;
	SnLaneState *state = NULL;
	SnEntries	left = {NULL};
	const SnEntry *found = NULL;
	SnEntry		entry;
	int			track;

	foreach_track(track, patient->all.tracks)
	{
		state = patient->all.of[track];
		left.n = 0;
		if (state != NULL && state->pos < state->end_pos)
			found = left_in(patient, state, &left);
		if (found != NULL)
			break;
	}
	if (found == NULL)
		not_there(patient);
	entry = *found;
	entry.attempt--;
	give_up_waiting(patient, state, &entry, error);
	if (state->resolved.bytes == NULL)
		sn_bits_make(&state->resolved, left.n);
	sn_bits_set(&state->resolved, entry.bit);
	if (batch->sub->ordered)
		sn_arrange_ranges(&patient->all, batch->now);
	if (!state->held)
		sn_lane_release(state);
}

/* reason_text: what the letter says: who, and why */
static text *
reason_text(const text *actor, const text *reason)
{
	return cstring_to_text(psprintf("given up by %s: %s",
									text_to_cstring(actor),
									text_to_cstring(reason)));
}

/* give_up_event(event_id uuid, worker_type text, actor text, reason text) */
Datum
sentinai_give_up_event(PG_FUNCTION_ARGS)
{
	Patient		patient;
	SnBatch    *batch = &patient.batch;
	const SnEntry *entry;
	text	   *actor;
	text	   *reason;
	text	   *error;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = sn_actor_arg(fcinfo, 2);
	reason = sn_text_arg(fcinfo, 3, "reason", SN_REASON_MAX);
	error = reason_text(actor, reason);
	PreventCommandIfReadOnly("give_up_event()");
	admit(&patient, fcinfo);
	entry = entry_of(&patient);
	if (entry != NULL)
	{
		record_treatment(&patient, "give_up_event", actor, reason);
		(void) sn_batch_fail(batch, entry, error, false, -1);
		sn_batch_close(batch);
		PG_RETURN_VOID();
	}
	if (batch->log == NULL)
		batch->log = sn_log_begin(batch->snapshot);
	if (patient.waits)
	{
		SnEntry		waiting = {
			.event_id = patient.id,
			.pos = patient.retry.pos,
			.lane = patient.lane,
			.bit = -1,
			.attempt = patient.retry.attempt,
			.tenant_id = patient.retry.tenant_id,
			.aggregate_id = patient.retry.aggregate_id,
		};

		give_up_waiting(&patient, patient.all.of[SN_TRACK_COMMON], &waiting,
						error);
	}
	else
		give_up_left(&patient, error);
	record_treatment(&patient, "give_up_event", actor, reason);
	discharge(&patient);
	PG_RETURN_VOID();
}
