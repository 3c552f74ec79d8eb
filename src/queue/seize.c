/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * seize.c
 *		Batches taken from those who hold them, and batches given back.
 *
 * Whoever has no token finds batches by what the lanes say.  A batch gets no
 * lane after its claim, so one snapshot shows all that it has.  Each is looked
 * at again under its lock.  While its lease runs a batch holds all of them still,
 * or none.  One that is lost may have some that no claim has come to yet; they
 * are given back, too, and its token was of no use before.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/printable.h"
#include "queue/batch.h"
#include "queue/lane_track.h"
#include "queue/sub_action.h"
#include "store/lane_hints.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_revoke_worker);
PG_FUNCTION_INFO_V1(sentinai_revoke_batch);

/* find_lanes: the lanes of the batches that match, and which these are by strip */
static uint64
find_lanes(SnSub *sub, SnBatchMatch matches, const void *arg,
		   pg_uuid_t *batches)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLaneReader reader = {false};
	uint64		result = 0;
	int			i;

	memset(batches, 0, SN_STRIPS * sizeof(pg_uuid_t));
	for (i = 0; i < sn_node()->lanes; i++)
	{
		SnLane		lane;
		int			track;

		CHECK_FOR_INTERRUPTS();
		sn_lane_open(&lane, &reader, sub, i, snapshot);
		foreach_track(track, lane.tracks)
		{
			const SnLaneState *state = lane.of[track];

			if (state == NULL || !state->held || !matches(state, arg))
				continue;
			batches[SN_LANE_TRACK(i, track)] = state->batch;
			result |= SN_LANE_BIT(i);
		}
	}
	sn_lane_read_end(&reader);
	UnregisterSnapshot(snapshot);
	return result;
}

/* read_held: the tracks of those lanes, now locked, that have not changed hands */
static void
read_held(SnBatch *batch, uint64 lanes, const pg_uuid_t *batches)
{
	SnLaneReader reader = {false};
	int			i;

	batch->lanes = palloc(SN_STRIPS * sizeof(SnLaneState *));
	for (i = 0; i < SN_MAX_LANES; i++)
	{
		SnLane		lane;
		int			track;

		if ((lanes & SN_LANE_BIT(i)) == 0)
			continue;
		sn_lane_open(&lane, &reader, batch->sub, i, batch->snapshot);
		foreach_track(track, lane.tracks)
		{
			SnLaneState *state = lane.of[track];

			if (state == NULL || !state->held ||
				!sn_is_batch(state, &batches[SN_LANE_TRACK(i, track)]))
				continue;
			batch->token.lanes |= SN_LANE_BIT(i);
			batch->lanes[batch->nlanes++] = state;
		}
	}
	sn_lane_read_end(&reader);
}

/*
 * sn_batch_seize: open all batches of a subscription that match, as if they
 * were one; false when there is none.
 */
bool
sn_batch_seize(SnBatch *batch, int sub_id, SnBatchMatch matches,
			   const void *arg)
{
	pg_uuid_t	batches[SN_STRIPS];
	uint64		lanes;
	int			lane;

	memset(batch, 0, sizeof(SnBatch));
	batch->token.sub_id = sub_id;
	batch->sub = sn_sub_by_id(sub_id);
	if (batch->sub == NULL)
		return false;
	lanes = find_lanes(batch->sub, matches, arg, batches);
	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if (lanes & SN_LANE_BIT(lane))
			sn_lock_lane_yielding(sub_id, lane);

	batch->sub = sn_sub_by_id(sub_id);
	if (batch->sub == NULL)
		return false;
	batch->snapshot = RegisterSnapshot(GetLatestSnapshot());
	batch->hints = sn_sub_slot(sub_id);
	batch->now = sn_now();
	read_held(batch, lanes, batches);
	if (batch->nlanes > 0)
		return true;
	sn_batch_close(batch);
	return false;
}

/*
 * sn_batch_release: give a batch back, no attempt counted; how many events of
 * it were open.
 */
int
sn_batch_release(SnBatch *batch)
{
	SnLaneAppender appender = {NULL};
	int			n = sn_batch_count(batch);
	int			i;

	if (n == 0)
		return 0;
	sn_batch_give_back(batch);
	for (i = 0; i < batch->nlanes; i++)
		sn_lane_append(&appender, batch->lanes[i]);
	sn_lane_append_end(&appender);
	sn_batch_free(batch, batch->token.lanes);
	return n;
}

/* is_of_worker: whether a batch is an agent's */
static bool
is_of_worker(const SnLaneState *state, const void *arg)
{
	return state->worker_id != NULL &&
		sn_text_equal(state->worker_id, arg);
}

/* record_seizure: note in the action log whose batches were taken */
static void
record_seizure(const SnSub *sub, const text *actor, const char *what,
			   const char *value, int events)
{
	SnAction	action = {
		.action = "revoke_lease",
		.kind = SN_ACTION_ACTS,
		.object = text_to_cstring(sub->worker_type),
		.before = sn_action_json(what, value, "events", psprintf("%d", events),
								 NULL),
		.actor = actor,
	};

	sn_sub_record_each(&action, sub);
}

/*
 * end_leases: end the leases of a worker type that match; how many events it was.
 * what, value: whose they are, as the caller said
 */
static int
end_leases(FunctionCallInfo fcinfo, SnBatchMatch matches, const void *arg,
		   const char *what, const char *value)
{
	text	   *worker_type = PG_GETARG_TEXT_PP(0);
	text	   *actor = sn_actor_arg(fcinfo, 2);
	SnBatch		batch;
	int			n = 0;

	PreventCommandIfReadOnly("revoke_lease()");
	if (!sn_may(SN_RIGHT_OPERATE, NULL))
		sn_refuse_worker_type("operate");
	if (sn_batch_seize(&batch, sn_sub_require(worker_type)->sub_id, matches,
					   arg))
	{
		n = sn_batch_release(&batch);
		if (n > 0)
			record_seizure(batch.sub, actor, what, value, n);
		sn_batch_close(&batch);
	}
	if (n > 0)
		ereport(LOG,
				(errmsg("lease of worker type \"%s\" was revoked by \"%s\"",
						text_to_cstring(worker_type), text_to_cstring(actor)),
				 errdetail_plural("%d event goes to others.",
								  "%d events go to others.", n, n)));
	return n;
}

/* revoke_lease(worker_type text, worker_id text, actor text) returns int */
Datum
sentinai_revoke_worker(PG_FUNCTION_ARGS)
{
	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "worker_id");
	PG_RETURN_INT32(end_leases(fcinfo, is_of_worker, PG_GETARG_TEXT_PP(1),
							   "worker_id",
							   text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* revoke_lease(worker_type text, batch uuid, actor text) returns int */
Datum
sentinai_revoke_batch(PG_FUNCTION_ARGS)
{
	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "batch");
	PG_RETURN_INT32(end_leases(fcinfo, sn_is_batch, PG_GETARG_UUID_P(1),
							   "batch",
							   DatumGetCString(DirectFunctionCall1(uuid_out,
																   PG_GETARG_DATUM(1)))));
}
