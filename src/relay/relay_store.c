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
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "base/printable.h"
#include "queue/attempt.h"
#include "queue/control.h"
#include "queue/lane.h"
#include "queue/subscription.h"
#include "relay/relay_event.h"
#include "relay/relay_store.h"
#include "store/hint.h"

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

/*
 * sn_relay_lock_lanes: the right to change what the database has of some lanes.
 * Does not wait: an open transaction that deals with a dead letter has its
 * lane for as long as it likes.  Returns the lanes locked.
 */
uint64
sn_relay_lock_lanes(int sub_id, uint64 lanes)
{
	uint64		locked = 0;
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if ((lanes & SN_LANE_BIT(lane)) != 0 &&
			sn_lock_lane(sub_id, lane, false))
			locked |= SN_LANE_BIT(lane);
	return locked;
}

/* sn_relay_mark: store the positions of some lanes, which are locked */
void
sn_relay_mark(int sub_id, uint64 lanes, const SnPos *pos)
{
	SnSub	   *sub = find_sub(sub_id);
	SnLaneAppender appender = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		SnLaneState state;

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		sn_lane_read(sub, lane, snapshot, &state);
		state.pos = state.end_pos = pos[lane];
		sn_lane_append(&appender, &state);
	}
	sn_lane_append_end(&appender);
	UnregisterSnapshot(snapshot);
}

/* sn_relay_count: add to the figures of a locked lane that the views show */
void
sn_relay_count(int sub_id, int lane, int dead, int parked)
{
	SnLaneAppender appender = {0};
	SnLaneState state;

	read_state(sub_id, lane, &state);
	state.dead += dead;
	state.parked += parked;
	sn_lane_append(&appender, &state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
}

/* What a letter is about */
typedef struct Letter
{
	Datum		args[3];		/* event id, reason, topic */
	char		nulls[4];
} Letter;

static Oid	letter_types[3] = {TEXTOID, TEXTOID, TEXTOID};

/* run_letter: a statement about a letter; whether it found one */
static bool
run_letter(const char *sql, Letter *letter, int nargs)
{
	bool		found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, letter_types,
							  letter->args, letter->nulls,
							  false, 0) < 0)
		elog(ERROR, "statement of the relay failed: %s", sql);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

#define LETTER_COLUMNS \
	"insert into sentinai.dead_letter as d (event_id, worker_type," \
	" tenant_id, aggregate_type, aggregate_id, event_type," \
	" schema_version, correlation_id, causation_id, occurred_at," \
	" attempts, reason, first_failed_at, dead_at, history, payload," \
	" metadata)" \
	" select e.event_id, '" SN_RELAY_WORKER_TYPE "', e.tenant_id," \
	" e.aggregate_type, e.aggregate_id, e.event_type," \
	" e.schema_version, e.correlation_id, e.causation_id," \
	" e.occurred_at, 1, $2, clock_timestamp(), clock_timestamp()," \
	" jsonb_build_array(jsonb_build_object('attempt', 1, 'at'," \
	" clock_timestamp(), 'error', $2)), "
#define LETTER_CONFLICT \
	" from sentinai.event_log e where e.event_id = $1::uuid" \
	" on conflict (event_id, worker_type) do update" \
	" set status = 'pending', attempts = d.attempts + 1," \
	" reason = excluded.reason, dead_at = excluded.dead_at," \
	" history = d.history || excluded.history" \
	" where d.status <> 'pending'"

/* A letter to be written, and whether it was */
typedef struct Writing
{
	Letter *letter;
	bool		written;
} Writing;

/* write_copy: the dead letter with a copy of its event */
static void
write_copy(void *arg)
{
	Writing    *w = arg;

	w->written = run_letter(LETTER_COLUMNS "e.payload, e.metadata"
							LETTER_CONFLICT, w->letter, 2);
}

/*
 * first_letter: the dead letter of an event of the log; false if there is one
 * that is pending.  What cannot even be copied stays in the log alone.
 */
static bool
first_letter(Letter *letter)
{
	Writing		w = {letter, false};
	char	   *error;

	if (sn_relay_guarded(write_copy, &w, &error))
		return w.written;
	return run_letter(LETTER_COLUMNS "'null', '{}'" LETTER_CONFLICT, letter, 2);
}

/* next_letter: the dead letter that was tried again is pending again */
static bool
next_letter(Letter *letter)
{
	return run_letter("update sentinai.dead_letter set status = 'pending',"
					  " attempts = attempts + 1, reason = $2,"
					  " dead_at = clock_timestamp(), history = history ||"
					  " jsonb_build_array(jsonb_build_object('attempt', attempts + 1,"
					  " 'at', clock_timestamp(), 'error', $2))"
					  " where event_id = $1::uuid"
					  " and worker_type = '" SN_RELAY_WORKER_TYPE "'"
					  " and status = 'retrying'", letter, 2);
}

/* publish_letter: the event that tells of it; none about a control event */
static void
publish_letter(const Letter *letter)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	pg_uuid_t  *id =
		DatumGetUUIDP(DirectFunctionCall1(uuid_in,
										  CStringGetDatum(TextDatumGetCString(letter->args[0]))));
	text	   *relay = cstring_to_text(SN_RELAY_WORKER_TYPE);
	SnEventRow	event;
	SnControl	control = {
		.type = SN_EVENT_DEAD_LETTERED,
		.worker_type = relay,
		.event = &event,
		.event_id = id,
		.attempt = sn_dead_letter_attempts(id, relay, snapshot),
		.error = DatumGetTextPP(letter->args[1]),
		.of_relay = true,
		.topic = letter->nulls[2] == 'n' ? NULL :
		DatumGetTextPP(letter->args[2]),
	};

	if (sn_dead_letter_event(id, relay, snapshot, &event))
		sn_control_tell(&control);
	UnregisterSnapshot(snapshot);
}

/*
 * sn_relay_bury: make an event that can never be sent a dead letter of the
 * relay, and say so with a DeadLettered event.  The lane is locked, and with it
 * the letter.  An event that was refused before a crash, and is refused again
 * after it, is not counted twice.
 */
void
sn_relay_bury(int sub_id, int lane, const char *event_id, const char *topic,
			  const char *error)
{
	Letter		letter = {.nulls = "  n"};

	letter.args[0] = CStringGetTextDatum(event_id);
	if (topic != NULL)
	{
		letter.args[2] = CStringGetTextDatum(topic);
		letter.nulls[2] = ' ';
		error = psprintf("topic \"%s\": %s", topic, error);
	}
	letter.args[1] = PointerGetDatum(sn_storable_text(error, strlen(error),
													  SN_ERROR_MAX));
	if (!next_letter(&letter) && !first_letter(&letter))
		return;
	publish_letter(&letter);
	sn_relay_count(sub_id, lane, 1, 0);
}

/* sn_relay_arrived: the broker took an event; its dead letter is settled */
void
sn_relay_arrived(const char *event_id)
{
	Letter		letter = {.nulls = "   "};

	letter.args[0] = CStringGetTextDatum(event_id);
	(void) run_letter("update sentinai.dead_letter set status = 'succeeded',"
					  " resolved_at = clock_timestamp()"
					  " where event_id = $1::uuid"
					  " and worker_type = '" SN_RELAY_WORKER_TYPE "'"
					  " and status = 'retrying'", &letter, 1);
}
