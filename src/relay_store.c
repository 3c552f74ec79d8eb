/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_store.c
 *		What a relay process keeps in the database: its subscription, the
 *		positions of its lanes, dead letters.  What it reads is relay_read.c.
 *
 * The relay's subscription reads stream 0, has no ledger and no batches: its
 * lanes hold a position only, and the right to move it comes with the session
 * lock of the lane (sn_own_lane()).  The lane's own lock is taken as well, for
 * the moment of writing, because maintenance carries lanes over under it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "guc.h"
#include "lane.h"
#include "relay_core.h"
#include "relay_store.h"
#include "subscription.h"

/* run: one statement through SPI; returns its first value, null if none */
static Datum
run(const char *sql, int nargs, Oid *types, Datum *args, bool *isnull)
{
	Datum		result = (Datum) 0;

	*isnull = true;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, args, NULL, false, 0) < 0)
		elog(ERROR, "statement of the relay failed: %s", sql);
	if (SPI_processed > 0 && SPI_tuptable != NULL)
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							   isnull);
	SPI_finish();
	return result;				/* callers ask for types passed by value */
}

/* sn_relay_is_paused: by pause_relay(), or since a restore */
bool
sn_relay_is_paused(void)
{
	bool		isnull;

	return DatumGetBool(run("select sentinai.relay_is_paused()", 0, NULL, NULL,
							&isnull));
}

/*
 * sn_relay_subscription: number of the relay's subscription, made by the first
 * relay of the database.
 */
int
sn_relay_subscription(void)
{
	text	   *name = cstring_to_text(SN_RELAY_WORKER_TYPE);
	SnSub	   *sub = sn_sub_by_name(name);
	Oid			types[1] = {BOOLOID};
	Datum		args[1];
	bool		isnull;

	if (sub != NULL)
		return sub->sub_id;
	args[0] = BoolGetDatum(sn_relay_start == SN_RELAY_LATEST);
	(void) run("insert into sentinai.subscription (worker_type, stream_id,"
			   " start_pos, max_attempts, backoff, on_dead, ordered, is_relay)"
			   " values ('" SN_RELAY_WORKER_TYPE "', 0,"
			   " case when $1 then coalesce((select max(round_no) + 1 from sentinai.round), 0) << 22 else 0 end,"
			   " 1, '{1s}', 'skip', true, true)"
			   " on conflict do nothing", 1, types, args, &isnull);
	sn_subs_changed();
	CommandCounterIncrement();
	sub = sn_sub_by_name(name);
	if (sub == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("subscription \"%s\" is being made by another process",
						SN_RELAY_WORKER_TYPE)));
	return sub->sub_id;
}

/* find_sub: the relay's subscription */
static SnSub *
find_sub(int sub_id)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);

	if (sub == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" is gone", SN_RELAY_WORKER_TYPE)));
	return sub;
}

/* read_state: a lane's newest state under a fresh snapshot */
static void
read_state(int sub_id, int lane, SnLaneState *state)
{
	SnSub	   *sub = find_sub(sub_id);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	sn_lane_read(sub, lane, snapshot, state);
	UnregisterSnapshot(snapshot);
}

/* sn_relay_lane_pos: how far a lane was acknowledged */
SnPos
sn_relay_lane_pos(int sub_id, int lane)
{
	SnLaneState state;

	read_state(sub_id, lane, &state);
	return state.pos;
}

/* sn_relay_mark: store the positions of some lanes */
void
sn_relay_mark(int sub_id, uint64 lanes, const SnPos *pos)
{
	SnSub	   *sub = find_sub(sub_id);
	SnLaneAppender appender = {0};
	Snapshot	snapshot;
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if ((lanes & UINT64CONST(1) << lane) != 0)
			(void) sn_lock_lane(sub_id, lane, true);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		SnLaneState state;

		if ((lanes & UINT64CONST(1) << lane) == 0)
			continue;
		sn_lane_read(sub, lane, snapshot, &state);
		state.pos = state.end_pos = pos[lane];
		sn_lane_append(&appender, &state);
	}
	sn_lane_append_end(&appender);
	UnregisterSnapshot(snapshot);
}

/* count: add to the figures of a lane that the views show */
static void
count(int sub_id, int lane, int dead, int parked)
{
	SnLaneAppender appender = {0};
	SnLaneState state;

	(void) sn_lock_lane(sub_id, lane, true);
	read_state(sub_id, lane, &state);
	state.dead += dead;
	state.parked += parked;
	sn_lane_append(&appender, &state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
}

/* end_redrive: the event of a dead letter waits for the relay no longer */
static void
end_redrive(int sub_id, int lane, const char *event_id)
{
	Oid			types[3] = {INT4OID, INT4OID, TEXTOID};
	Datum		args[3];
	bool		isnull;

	args[0] = Int32GetDatum(sub_id);
	args[1] = Int32GetDatum(lane);
	args[2] = CStringGetTextDatum(event_id);
	(void) run("delete from sentinai.event_retry where sub_id = $1"
			   " and lane = $2 and event_id = $3::uuid returning lane", 3,
			   types, args, &isnull);
	if (!isnull)
		count(sub_id, lane, 0, -1);
}

/* first_letter: the dead letter; false if there is one that is pending */
static bool
first_letter(Datum *args)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	bool		isnull;

	(void) run("insert into sentinai.dead_letter as d (event_id, worker_type,"
			   " tenant_id, aggregate_type, aggregate_id, event_type,"
			   " schema_version, correlation_id, causation_id, occurred_at,"
			   " attempts, reason, first_failed_at, dead_at, history, payload,"
			   " metadata)"
			   " select e.event_id, '" SN_RELAY_WORKER_TYPE "', e.tenant_id,"
			   " e.aggregate_type, e.aggregate_id, e.event_type,"
			   " e.schema_version, e.correlation_id, e.causation_id,"
			   " e.occurred_at, 1, $2, clock_timestamp(), clock_timestamp(),"
			   " jsonb_build_array(jsonb_build_object('attempt', 1, 'at',"
			   " clock_timestamp(), 'error', $2)), e.payload, e.metadata"
			   " from sentinai.event_log e where e.event_id = $1::uuid"
			   " on conflict (event_id, worker_type) do update"
			   " set status = 'pending', attempts = d.attempts + 1,"
			   " reason = excluded.reason, dead_at = excluded.dead_at,"
			   " history = d.history || excluded.history"
			   " where d.status <> 'pending' returning true", 2, types, args,
			   &isnull);
	return !isnull;
}

/* next_letter: the dead letter that was tried again is pending again */
static bool
next_letter(Datum *args)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	bool		isnull;

	(void) run("update sentinai.dead_letter set status = 'pending',"
			   " attempts = attempts + 1, reason = $2,"
			   " dead_at = clock_timestamp(), history = history ||"
			   " jsonb_build_array(jsonb_build_object('attempt', attempts + 1,"
			   " 'at', clock_timestamp(), 'error', $2))"
			   " where event_id = $1::uuid"
			   " and worker_type = '" SN_RELAY_WORKER_TYPE "'"
			   " returning true", 2, types, args, &isnull);
	return !isnull;
}

/* publish_letter: the event that tells of it; none about a control event */
static void
publish_letter(Datum *args)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	bool		isnull;

	(void) run("select sentinai.publish('" SN_EVENT_DEAD_LETTERED "',"
			   " d.tenant_id, d.aggregate_id, jsonb_build_object("
			   "'worker_type', d.worker_type,"
			   " 'event_id', d.event_id, 'event_type', d.event_type,"
			   " 'attempt', d.attempts, 'error', $2), d.aggregate_type,"
			   " correlation_id => d.correlation_id,"
			   " causation_id => d.event_id) is null"
			   " from sentinai.dead_letter d where d.event_id = $1::uuid"
			   " and d.worker_type = '" SN_RELAY_WORKER_TYPE "'"
			   " and d.event_type not in ('" SN_EVENT_DEAD_LETTERED "', '"
			   SN_EVENT_RETRY_SCHEDULED "')", 2, types, args, &isnull);
}

/*
 * sn_relay_bury: make an event that the broker will never take a dead letter
 * of the relay, and say so with a DeadLettered event.  One that was refused
 * before a crash, and is refused again after it, is not counted twice.
 */
void
sn_relay_bury(int sub_id, int lane, const char *event_id, const char *error,
			  bool redriven)
{
	Datum		args[2];

	args[0] = CStringGetTextDatum(event_id);
	args[1] = CStringGetTextDatum(error);
	if (redriven)
		end_redrive(sub_id, lane, event_id);
	if (!(redriven ? next_letter(args) : first_letter(args)))
		return;
	publish_letter(args);
	count(sub_id, lane, 1, 0);
}

/* letter_event: what the record is made of, from a dead letter */
static SnRelayEvent *
letter_event(HeapTuple row, TupleDesc desc)
{
	SnRelayEvent *e = palloc0(sizeof(SnRelayEvent));
	bool		isnull;

	e->lane = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
	e->next_pos = SN_REDRIVEN;
	e->event.event_id = SPI_getvalue(row, desc, 2);
	e->event.event_type = SPI_getvalue(row, desc, 3);
	e->event.tenant_id = SPI_getvalue(row, desc, 4);
	e->event.aggregate_type = SPI_getvalue(row, desc, 5);
	e->event.aggregate_id = SPI_getvalue(row, desc, 6);
	e->event.correlation_id = SPI_getvalue(row, desc, 7);
	e->event.causation_id = SPI_getvalue(row, desc, 8);
	e->event.traceparent = SPI_getvalue(row, desc, 9);
	e->event.tracestate = SPI_getvalue(row, desc, 10);
	e->event.payload = SPI_getvalue(row, desc, 11);
	e->event.payload_len = strlen(e->event.payload);
	e->event.schema_version =
		DatumGetInt32(SPI_getbinval(row, desc, 12, &isnull));
	e->event.occurred_us =
		DatumGetTimestampTz(SPI_getbinval(row, desc, 13, &isnull)) +
		SN_UNIX_EPOCH_US;
	return e;
}

/*
 * sn_relay_redrives: events of dead letters that retry_dead_letter() put back,
 * in the lanes given, at most max of them.  The letter has a copy
 * of the event, so the log may have dropped it by now.
 */
List *
sn_relay_redrives(int sub_id, uint64 lanes, int max)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT4OID, INT8OID};
	Datum		args[2];
	List	   *result = NIL;
	uint64		i;

	args[0] = Int32GetDatum(sub_id);
	args[1] = Int64GetDatum((int64) lanes);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("select r.lane, d.event_id, d.event_type,"
							  " d.tenant_id, d.aggregate_type, d.aggregate_id,"
							  " d.correlation_id, d.causation_id,"
							  " d.metadata ->> 'traceparent',"
							  " d.metadata ->> 'tracestate', d.payload,"
							  " d.schema_version, d.occurred_at"
							  " from sentinai.event_retry r"
							  " join sentinai.dead_letter d on"
							  " d.event_id = r.event_id and"
							  " d.worker_type = '" SN_RELAY_WORKER_TYPE "'"
							  " where r.sub_id = $1 and $2 >> r.lane & 1 = 1"
							  " order by r.pos", 2, types, args, NULL, true,
							  max) != SPI_OK_SELECT)
		elog(ERROR, "statement of the relay failed");
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		result = lappend(result, letter_event(SPI_tuptable->vals[i],
											  SPI_tuptable->tupdesc));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return result;
}

/* sn_relay_redriven: the broker took the event of a dead letter */
void
sn_relay_redriven(int sub_id, int lane, const char *event_id)
{
	Oid			types[1] = {TEXTOID};
	Datum		args[1];
	bool		isnull;

	end_redrive(sub_id, lane, event_id);
	args[0] = CStringGetTextDatum(event_id);
	(void) run("update sentinai.dead_letter set status = 'succeeded',"
			   " resolved_at = clock_timestamp()"
			   " where event_id = $1::uuid"
			   " and worker_type = '" SN_RELAY_WORKER_TYPE "'",
			   1, types, args, &isnull);
}
