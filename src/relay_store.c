/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_store.c
 *		What a relay process reads from and writes to the database.
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
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "guc.h"
#include "lane.h"
#include "log.h"
#include "relay_store.h"
#include "stream.h"
#include "subscription.h"

struct SnRelayReader
{
	Snapshot	snapshot;
	SnStreamReader *stream;
	SnLogReader *log;
};

static const SnSource whole_log = {SN_STREAM_ALL, SN_POS_MAX, NULL};

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

/* read_state: a lane's newest state under a fresh snapshot */
static void
read_state(int sub_id, int lane, SnLaneState *state)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);
	Snapshot	snapshot;

	if (sub == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" is gone", SN_RELAY_WORKER_TYPE)));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
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

/* sn_relay_read_begin: read under a snapshot taken now */
SnRelayReader *
sn_relay_read_begin(void)
{
	SnRelayReader *reader = palloc0(sizeof(SnRelayReader));

	reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
	reader->stream = sn_stream_begin();
	reader->log = sn_log_begin(reader->snapshot);
	return reader;
}

void
sn_relay_read_end(SnRelayReader *reader)
{
	sn_log_end(reader->log);
	sn_stream_end(reader->stream);
	UnregisterSnapshot(reader->snapshot);
}

/* string_of: a text column, NULL when it is null */
static const char *
string_of(SnLogReader *log, AttrNumber column)
{
	text	   *t = sn_log_text(log, column);

	return t == NULL ? NULL : text_to_cstring(t);
}

/* metadata_string: a string in the metadata, or NULL */
static const char *
metadata_string(Jsonb *metadata, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* make_event: what the record is made of, from the row just fetched */
static void
make_event(SnLogReader *log, const pg_uuid_t *id, SnRecordEvent *event)
{
	bool		isnull;
	Datum		d;
	Jsonb	   *metadata;
	Jsonb	   *payload;

	memset(event, 0, sizeof(SnRecordEvent));
	event->event_id =
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
	event->event_type = string_of(log, Anum_log_event_type);
	event->tenant_id = string_of(log, Anum_log_tenant_id);
	event->aggregate_type = string_of(log, Anum_log_aggregate_type);
	event->aggregate_id = string_of(log, Anum_log_aggregate_id);
	event->correlation_id = string_of(log, Anum_log_correlation_id);
	event->schema_version =
		DatumGetInt32(sn_log_datum(log, Anum_log_schema_version, &isnull));
	event->occurred_us =
		DatumGetTimestampTz(sn_log_datum(log, Anum_log_occurred_at, &isnull)) +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	d = sn_log_datum(log, Anum_log_causation_id, &isnull);
	if (!isnull)
		event->causation_id =
			DatumGetCString(DirectFunctionCall1(uuid_out, d));
	metadata = DatumGetJsonbP(sn_log_datum(log, Anum_log_metadata, &isnull));
	event->traceparent = metadata_string(metadata, "traceparent");
	event->tracestate = metadata_string(metadata, "tracestate");
	payload = DatumGetJsonbP(sn_log_datum(log, Anum_log_payload, &isnull));
	event->payload = JsonbToCString(NULL, &payload->root, VARSIZE(payload));
	event->payload_len = strlen(event->payload);
}

/*
 * sn_relay_read: append the next events of a lane, as far as *max and
 * *max_bytes go, which it lowers.  Returns whether it stopped for lack of room.
 * An event whose row is gone was dropped by hand; it is passed over.
 */
bool
sn_relay_read(SnRelayReader *reader, int lane, SnPos pos, int *max,
			  size_t *max_bytes, List **events)
{
	SnPos		at;
	pg_uuid_t	id;

	sn_stream_seek(reader->stream, &whole_log, 1, lane, pos, reader->snapshot);
	while (*max > 0 && *max_bytes > 0)
	{
		SnRelayEvent *e;

		if (!sn_stream_next(reader->stream, &at, &id))
			return false;
		if (!sn_log_fetch(reader->log, &id))
			continue;
		e = palloc(sizeof(SnRelayEvent));
		e->lane = lane;
		e->next_pos = at + 1;
		make_event(reader->log, &id, &e->event);
		*events = lappend(*events, e);
		(*max)--;
		*max_bytes -= Min(*max_bytes, e->event.payload_len + 256);
	}
	return true;
}

/* sn_relay_mark: store the positions of some lanes */
void
sn_relay_mark(int sub_id, uint64 lanes, const SnPos *pos)
{
	SnLaneAppender appender = {0};
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		SnLaneState state;

		if ((lanes & UINT64CONST(1) << lane) == 0)
			continue;
		(void) sn_lock_lane(sub_id, lane, true);
		read_state(sub_id, lane, &state);
		state.pos = state.end_pos = pos[lane];
		sn_lane_append(&appender, &state);
	}
	sn_lane_append_end(&appender);
}

/*
 * sn_relay_bury: make an event that the broker will never take a dead letter
 * of the relay, and say so with a DeadLettered event, but for control events.
 */
void
sn_relay_bury(const char *event_id, const char *error)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		args[2];
	bool		isnull;

	args[0] = CStringGetTextDatum(event_id);
	args[1] = CStringGetTextDatum(error);
	(void) run("insert into sentinai.dead_letter (event_id, worker_type,"
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
			   " on conflict do nothing", 2, types, args, &isnull);
	(void) run("select sentinai.publish('" SN_EVENT_DEAD_LETTERED "',"
			   " e.tenant_id, e.aggregate_id, jsonb_build_object("
			   "'worker_type', '" SN_RELAY_WORKER_TYPE "',"
			   " 'event_id', e.event_id, 'event_type', e.event_type,"
			   " 'attempt', 1, 'error', $2), e.aggregate_type,"
			   " correlation_id => e.correlation_id,"
			   " causation_id => e.event_id) is null"
			   " from sentinai.event_log e where e.event_id = $1::uuid"
			   " and e.event_type not in ('" SN_EVENT_DEAD_LETTERED "', '"
			   SN_EVENT_RETRY_SCHEDULED "')", 2, types, args, &isnull);
}
