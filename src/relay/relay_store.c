/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_store.c
 *		What a relay process keeps in the database: its subscription, the
 *		positions of its lanes, dead letters.  What it reads is relay_read.c.
 *
 * The relay's subscription has no ledger and no batches: its
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
#include "queue/control.h"
#include "queue/filter.h"
#include "queue/lane.h"
#include "queue/subscription.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "store/lane_hints.h"

/* run_spi: one statement through SPI; returns its first value, null if none */
static Datum
run_spi(const char *sql, int nargs, Oid *types, Datum *args, bool *isnull)
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

/*
 * sn_relay_subscription: number of the relay's subscription, made by the first
 * relay of the database; 0 while somebody else changes subscriptions.
 */
int
sn_relay_subscription(void)
{
	text	   *name = sn_relay.settings.name;
	SnSub	   *sub = sn_sub_by_name(name);
	Oid			types[2] = {BOOLOID, INT4OID};
	Datum		args[2];
	bool		isnull;

	if (sub != NULL)
		return sub->sub_id;
	if (!sn_lock_streams(false))
		return 0;
	args[0] = BoolGetDatum(sn_relay_start_from == SN_RELAY_LATEST);
	args[1] = Int32GetDatum(sn_filter_stream(&sn_relay.settings.filter,
											 GetActiveSnapshot()));
	(void) run_spi("insert into sentinai_internal.subscription (worker_type, stream_id,"
				   " start_pos, max_attempts, backoff, on_dead, ordered, is_relay)"
				   " values ('" SN_RELAY_WORKER_TYPE "', $2,"
				   " case when $1 then coalesce((select max(round_no) + 1 from sentinai_internal.round), 0) << 22 else 0 end,"
				   " 1, '{1s}', 'skip', true, true)"
				   " on conflict do nothing", 2, types, args, &isnull);
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

/* sn_relay_find_sub: the relay's subscription */
SnSub *
sn_relay_find_sub(int sub_id)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);

	if (sub == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" is gone",
						text_to_cstring(sn_relay.settings.name))));
	return sub;
}

/* read_lane_state: a lane's newest state under a fresh snapshot */
static void
read_lane_state(int sub_id, int lane, SnLaneState *state)
{
	SnSub	   *sub = sn_relay_find_sub(sub_id);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	sn_lane_read(sub, lane, snapshot, state);
	UnregisterSnapshot(snapshot);
}

/* sn_relay_lane_pos: how far a lane was acknowledged */
SnPos
sn_relay_lane_pos(int sub_id, int lane)
{
	SnLaneState state;

	read_lane_state(sub_id, lane, &state);
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
	SnSub	   *sub = sn_relay_find_sub(sub_id);
	SnLaneAppender appender = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		SnLaneState state;

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		sn_lane_read(sub, lane, snapshot, &state);
		Assert(pos[lane] >= state.pos);
		state.pos = state.end_pos = pos[lane];
		sn_lane_append(&appender, &state);
	}
	sn_lane_append_end(&appender);
	UnregisterSnapshot(snapshot);
	CommandCounterIncrement();	/* what expires in this turn is counted on it */
}

/* sn_relay_count: add to the figures of a locked lane that the views show */
void
sn_relay_count(int sub_id, int lane, int dead, int parked)
{
	SnLaneAppender appender = {0};
	SnLaneState state;

	read_lane_state(sub_id, lane, &state);
	state.dead += dead;
	state.parked += parked;
	sn_lane_append(&appender, &state);
	sn_lane_append_end(&appender);
	CommandCounterIncrement();
}

/* A letter to be written */
typedef struct Letter
{
	const text *worker_type;
	const SnRetry *row;
	SnEventRow	event;
	TimestampTz now;
} Letter;

/* write_letter: the dead letter, with a copy of its event */
static void
write_letter(void *arg)
{
	Letter	   *letter = arg;

	(void) sn_dead_letter_put(&letter->event, letter->worker_type, letter->row,
							  letter->now);
}

/* set_json: a column of the event that a letter is about */
static void
set_json(Letter *letter, AttrNumber column, char *json)
{
	letter->event.values[column - 1] =
		DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	letter->event.nulls[column - 1] = false;
}

/* put_letter: what cannot even be copied stays in the log alone */
static void
put_letter(Letter *letter)
{
	char	   *error;

	if (sn_relay_guarded(write_letter, letter, &error))
		return;
	set_json(letter, Anum_log_payload, "null");
	set_json(letter, Anum_log_metadata, "{}");
	write_letter(letter);
}

/*
 * publish_refused: publish that the event is given up; and again as what stands
 * in the log for the record of the dead letter topic, if there is to be one
 */
static void
publish_refused(const char *type, const Letter *letter, const char *topic)
{
	SnControl	control = {
		.type = type,
		.worker_type = letter->worker_type,
		.event = &letter->event,
		.event_id = &letter->row->event_id,
		.attempt = letter->row->attempt,
		.error = letter->row->last_error,
		.of_relay = true,
		.topic = topic == NULL ? NULL : cstring_to_text(topic),
	};

	sn_control_tell(&control);
}

/*
 * only_tells: whether an event only tells of another that has a letter of the
 * relay.  What kept that one back, such as an impossible topic, keeps this back,
 * too, and there is nothing more to tell.
 */
static bool
only_tells(const Letter *letter, Snapshot snapshot)
{
	const SnEventRow *event = &letter->event;

	return sn_is_control_event(event) &&
		!event->nulls[Anum_log_causation_id - 1] &&
		sn_dead_letter_exists(DatumGetUUIDP(event->values[Anum_log_causation_id - 1]),
							  letter->worker_type, snapshot);
}

/*
 * sn_relay_bury: make an event that can never be sent a dead letter of the
 * relay, and say so with a DeadLettered event.  Its row says which event it is,
 * and what was noted of it while it was parked.  The lane is locked, and with it
 * the letter.  An event that was refused before a crash, and is refused again
 * after it, is not counted twice.
 */
void
sn_relay_bury(SnRetry *row, const char *topic, const char *error)
{
	Letter		letter = {sn_relay.settings.name, row};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLogReader *log = sn_log_begin(snapshot);
	int			attempts = sn_dead_letter_attempts(&row->event_id,
												   letter.worker_type,
												   snapshot);
	bool		dead = attempts >= 0 &&
		sn_event_remains(log, &row->event_id, letter.worker_type, snapshot,
						 &letter.event) &&
		!only_tells(&letter, snapshot);

	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	if (!dead)
		return;
	if (topic != NULL)
		error = psprintf("topic \"%s\": %s", topic, error);
	letter.now = sn_now();
	row->attempt = attempts + 1;
	row->has_due = false;
	sn_history_add(row, error, strlen(error), NULL, letter.now);
	put_letter(&letter);
	publish_refused(SN_TYPE_DEAD_LETTERED, &letter, topic);
	if (sn_relay.settings.dead_letter_topic[0] != '\0')
		publish_refused(SN_TYPE_RECORD_REFUSED, &letter, topic);
	sn_relay_count(row->sub_id, row->lane, 1, 0);
}

/* sn_relay_arrived: the broker took an event; its dead letter is settled */
void
sn_relay_arrived(const SnRetry *row)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	sn_dead_letter_succeeded(&row->event_id, sn_relay.settings.name, snapshot,
							 sn_now());
	UnregisterSnapshot(snapshot);
}
