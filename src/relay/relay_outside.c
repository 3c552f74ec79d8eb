/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_outside.c
 *		A session that works for a sentinai-relay, a process outside the server.
 *
 * The process has the rules of a turn, the core and the client library; the
 * session has what the relay process has of the database: the right to the
 * lanes, by locks of the session, a slot in shared memory, and relay_host.c.
 * relay_call() is one call of SnRelayHost, in the transaction that the process
 * has begun; relay_wait.c is its sleep.
 *
 * The fence is the session: when it ends, however that comes, the locks are
 * gone and another takes over from the stored positions.  What the process has
 * read by then it may still send.  These are copies of what the other one
 * sends, in the order of the lane, and so each event is first there in the
 * order of its key.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/args.h"
#include "base/guc.h"
#include "base/json_size.h"
#include "base/sqlstate.h"
#include "queue/filter.h"
#include "relay/durable.h"
#include "relay/relay_event.h"
#include "relay/relay_outside.h"
#include "relay/relay_process.h"
#include "relay/relay_row.h"
#include "relay/relay_transform.h"
#include "relay/relay_wire.h"
#include "store/lane_hints.h"
#include "store/owner.h"

PG_FUNCTION_INFO_V1(sentinai_relay_open);
PG_FUNCTION_INFO_V1(sentinai_relay_call);

#define MAX_ANSWER	((size_t) 256 * 1024 * 1024)	/* bytes of events, and
														 * one event more */

static bool opened = false;		/* this session works for a sentinai-relay */
static SnWireOut answer;

/* sn_relay_require_open: an error unless it does */
void
sn_relay_require_open(void)
{
	if (!opened)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("no relay is open in this session"),
				 errdetail("relay_open() and what follows it belong to one session."),
				 errhint("Start sentinai-relay, and let it connect to the server itself, not to a pooler.")));
}

/*
 * require_own_session: an error when a pooler sits between.  The right to send
 * is the session's, and a pooler would give it to others.
 */
static void
require_own_session(int backend_pid)
{
	if (backend_pid != MyProcPid)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("a relay cannot be open behind a pooler"),
				 errdetail("The client speaks of process %d, and this session is of process %d.",
						   backend_pid, MyProcPid),
				 errhint("Let sentinai-relay connect to the server itself.")));
}

/* require_protocol: an error when the program is of another version */
static void
require_protocol(int protocol)
{
	if (protocol != SN_RELAY_PROTOCOL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("the sentinai-relay is of another version than the server's library"),
				 errdetail("It speaks protocol %d, and the library %d.",
						   protocol, SN_RELAY_PROTOCOL)));
}

/* is_outside: whether a relay is for a process outside; row is filled */
static bool
is_outside(int sub_id, SnRelayRow *row)
{
	return sn_relay_row_get(sub_id, row) && row->workers == 0;
}

/* take_outside_settings: go on with those that were found, if there are others */
static void
take_outside_settings(void)
{
	if (sn_relay.next_context == NULL)
		return;
	sn_relay_adopt_settings();
	sn_relay.max_text =
		Min(sn_relay.settings.provider->settings->max_record(sn_relay.settings.conf),
			SN_JSON_TEXT_MAX);
}

/* work_outside: this session is the relay's */
static void
work_outside(int sub_id)
{
	sn_relay.relay_id = sn_relay.sub_id = sub_id;
	sn_relay.index = SN_OUTSIDE;
	sn_relay.lanes.host = &sn_relay_database_host;
	strlcpy(sn_relay.database, get_database_name(MyDatabaseId), NAMEDATALEN);
	(void) sn_relay_look_at_settings();
	take_outside_settings();
	sn_relay_take_slot();
	sn_require_sync_commit();
	opened = true;
}

/*
 * try_open: work for a relay; or why that cannot be now, and may be later
 */
static const char *
try_open(text *name)
{
	SnSub	   *sub = sn_sub_by_name(name);
	SnRelayRow	row;

	if (sub == NULL || !sub->is_relay)
		ereport(ERROR,
				(errcode(ERRCODE_SN_NOT_FOUND),
				 errmsg("relay \"%s\" does not exist", text_to_cstring(name))));
	if (!is_outside(sub->sub_id, &row))
		return "workers inside the server send for it";
	if (!sn_own_relay(sub->sub_id))
		return "another sentinai-relay sends for it";
	work_outside(sub->sub_id);
	return NULL;
}

/* relay_open(name, backend_pid, protocol) returns null, or why it has to wait */
Datum
sentinai_relay_open(PG_FUNCTION_ARGS)
{
	const char *busy = "the extension is being changed";
	SnCaller	caller;

	SN_REQUIRE_ARG(0, "name");
	SN_REQUIRE_ARG(1, "backend_pid");
	SN_REQUIRE_ARG(2, "protocol");
	PreventCommandIfReadOnly("relay_open()");
	require_protocol(PG_GETARG_INT32(2));
	require_own_session(PG_GETARG_INT32(1));
	if (opened || sn_relay.slot != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("a relay is open in this session already")));
	if (!sn_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relays need \"sentinai\" in \"shared_preload_libraries\"")));
	if (sn_hold_extension() == SN_HOLD_TAKEN)
	{
		sn_become_tables_owner(&caller);
		busy = try_open(sn_check_plain(PG_GETARG_TEXT_PP(0), "name"));
		sn_become_caller(&caller);
	}
	if (busy == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(busy));
}

/* bad_message: the process says what it cannot mean */
static void
bad_message(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("the request is none that sentinai-relay makes")));
}

/* get_stored: a string that may be stored; NULL for none */
static const char *
get_stored(SnWireIn *in)
{
	const char *string = sn_wire_get_string(in);

	if (string != NULL)
		(void) pg_verifymbstr(string, strlen(string), false);
	return string;
}

/* get_lane: a lane that is this session's, and locked for this transaction */
static int
get_lane(SnWireIn *in)
{
	int64		lane = sn_wire_get(in);

	if (lane < 0 || lane >= sn_relay.lanes.nlanes ||
		(sn_relay.lanes.owned & SN_LANE_BIT(lane)) == 0 ||
		!sn_lock_lane(sn_relay.sub_id, lane, false))
		bad_message();
	return (int) lane;
}

/* get_lanes: those of a set that are this session's */
static uint64
get_lanes(SnWireIn *in)
{
	return (uint64) sn_wire_get(in) & sn_relay.lanes.owned;
}

/* get_count: how many things follow, of eight bytes at least */
static int
get_count(SnWireIn *in)
{
	int64		n = sn_wire_get(in);

	if (n < 0 || n > (in->end - in->at) / 8)
		bad_message();
	return (int) n;
}

/* get_positions: one number for each lane */
static void
get_positions(SnWireIn *in, int64 *pos)
{
	int			lane;

	for (lane = 0; lane < sn_relay.lanes.nlanes; lane++)
		pos[lane] = sn_wire_get(in);
}

/* put_events: events and how many */
static void
put_events(List *events, bool parked)
{
	ListCell   *lc;

	sn_wire_put(&answer, list_length(events));
	foreach(lc, events)
	{
		SnRelayEvent *e = lfirst(lc);

		sn_wire_put_event(&answer, e->lane, parked ? e->pos : e->next_pos,
						  &e->event, e->error);
	}
}

/* call_settings: what the core is opened with */
static void
call_settings(SnWireIn *in)
{
	const SnRelaySettings *settings = &sn_relay.settings;

	sn_wire_put_string(&answer, settings->provider->name);
	sn_wire_put_string(&answer, settings->conf);
	sn_wire_put_string(&answer, sn_relay.database);
	sn_wire_put_string(&answer, settings->topic_template);
	sn_wire_put_string(&answer, settings->dead_letter_topic);
	sn_wire_put_string(&answer, settings->record_options);
	sn_wire_put(&answer, settings->format);
	sn_wire_put(&answer, sn_record_timestamp == SN_TIME_OCCURRED);
	sn_wire_put(&answer, sn_node()->lanes);
	sn_wire_put(&answer, sn_relay_window(settings));
	sn_wire_put(&answer, sn_relay_buffer);
	sn_wire_put(&answer, sn_relay_tail(settings));
	sn_wire_put(&answer, sn_topic_partitions);
	sn_wire_put(&answer, sn_topic_replication);
	sn_wire_put(&answer, sn_topic_timeout >= 0);
	sn_wire_put(&answer, sn_breaker_failures);
	sn_wire_put(&answer, sn_breaker_open_time);
	sn_wire_put(&answer, settings->limits.events_per_second);
	sn_wire_put(&answer, settings->limits.bytes_per_second);
}

/*
 * show_figures: what the process says of itself, for the views; *to_lock: the
 * lanes that it is going to write
 */
static void
show_figures(SnWireIn *in, uint64 *to_lock)
{
	SnRelayCoreStats stats = {0};

	stats.inflight = (int) sn_wire_get(in);
	stats.breaker = (SnBreakerState) (sn_wire_get(in) & 3);
	stats.sent = (uint64) sn_wire_get(in);
	stats.acked = (uint64) sn_wire_get(in);
	stats.errors = (uint64) sn_wire_get(in);
	sn_relay.lanes.barred = (uint64) sn_wire_get(in);
	*to_lock = get_lanes(in);
	stats.last_error = sn_wire_get_string(in);
	stats.limited = sn_wire_get(in) != 0;
	if (stats.last_error == NULL || in->failed)
		bad_message();
	sn_relay_show(&stats);
}

/*
 * look_outside: at the row and the switch, when it is time to; false: the relay
 * is not for this process any more
 */
static bool
look_outside(void)
{
	SnRelayRow	row;

	if (!is_outside(sn_relay.relay_id, &row) || !sn_relay_look_at_settings())
		return false;
	take_outside_settings();
	sn_relay.lanes.paused = sn_relay_is_paused(sn_relay.relay_id);
	return true;
}

/* call_begin: what a turn does first */
static void
call_begin(SnWireIn *in, SnHold hold)
{
	SnRelayState state = hold == SN_HOLD_TAKEN ? SN_RELAY_GOES :
		hold == SN_HOLD_BUSY ? SN_RELAY_HELD_OFF : SN_RELAY_LEAVES;
	bool		look = sn_wire_get(in) != 0;
	uint64		to_lock;
	uint64		locked = 0;

	show_figures(in, &to_lock);
	if (hold == SN_HOLD_TAKEN)
	{
		look |= pg_atomic_exchange_u32(&sn_relay.slot->look, 0) != 0;
		sn_relay.lanes.nlanes = sn_node()->lanes;
		sn_relay.lanes.max_bytes = Min((size_t) sn_relay_buffer * 1024,
									   MAX_ANSWER);
		if (sn_database()->vacate_until > sn_now() ||
			sn_sub_by_id(sn_relay.relay_id) == NULL ||
			(look && !look_outside()))
			state = SN_RELAY_LEAVES;
		else if (!sn_relay.lanes.paused)
			sn_transform_ready();
		if (state == SN_RELAY_GOES)
			locked = sn_relay_database_host.lock(to_lock);
	}
	sn_wire_put(&answer, state);
	sn_wire_put(&answer, sn_relay.lanes.paused);
	sn_wire_put(&answer, look);
	sn_wire_put(&answer,
				(int64) pg_atomic_read_u64(&sn_relay.slot->pending));
	sn_wire_put(&answer, (int64) locked);
}

/* call_own: take lanes */
static void
call_own(SnWireIn *in)
{
	uint64		lanes = (uint64) sn_wire_get(in);
	int64		pos[SN_MAX_LANES] = {0};
	int			lane;

	if (sn_relay.lanes.nlanes < SN_MAX_LANES)
		lanes &= SN_LANE_BIT(sn_relay.lanes.nlanes) - 1;
	/* of lanes that it has the process may ask again: it began anew */
	lanes = sn_relay_database_host.own(lanes, pos);
	sn_relay.lanes.owned |= lanes;
	sn_wire_put(&answer, (int64) lanes);
	for (lane = 0; lane < sn_relay.lanes.nlanes; lane++)
		sn_wire_put(&answer, pos[lane]);
}

/* call_lock: lock lanes */
static void
call_lock(SnWireIn *in)
{
	sn_wire_put(&answer,
				(int64) sn_relay_database_host.lock(get_lanes(in)));
}

/* call_settle: what became of events */
static void
call_settle(SnWireIn *in)
{
	int			n = get_count(in);

	while (n-- > 0)
	{
		SnNews		news;
		const char *id;

		news.lane = get_lane(in);
		news.kind = (SnNewsKind) sn_wire_get(in);
		news.pos = sn_wire_get(in);
		news.parked = sn_wire_get(in) != 0;
		id = sn_wire_get_string(in);
		news.topic = get_stored(in);
		news.error = get_stored(in);
		if (in->failed || id == NULL || news.error == NULL ||
			strlen(id) >= sizeof(news.event_id) ||
			(news.kind == SN_NEWS_HELD && news.topic == NULL))
			bad_message();
		strcpy(news.event_id, id);
		sn_relay_database_host.settle(&news);
	}
	sn_relay_database_host.settled();
}

/* call_park: set events aside */
static void
call_park(SnWireIn *in)
{
	int			n = get_count(in);
	bool		any = n > 0;

	while (n-- > 0)
	{
		SnRecordEvent event = {0};
		SnHeld		held = {.event = &event};
		int			lane = get_lane(in);

		held.pos = sn_wire_get(in);
		event.event_id = sn_wire_get_string(in);
		event.tenant_id = get_stored(in);
		event.aggregate_id = get_stored(in);
		held.topic = get_stored(in);
		held.error = get_stored(in);
		if (in->failed || event.event_id == NULL || event.tenant_id == NULL ||
			held.topic == NULL || held.error == NULL)
			bad_message();
		sn_relay_database_host.park(lane, &held);
	}
	if (any)
		sn_relay_database_host.parked();
}

/* call_mark: store positions, which never go back */
static void
call_mark(SnWireIn *in)
{
	uint64		lanes = get_lanes(in);
	int64		pos[SN_MAX_LANES];
	int			lane;

	get_positions(in, pos);
	if (in->failed || sn_relay_database_host.lock(lanes) != lanes)
		bad_message();
	for (lane = 0; lane < sn_relay.lanes.nlanes; lane++)
		if ((lanes & SN_LANE_BIT(lane)) != 0 &&
			pos[lane] < sn_relay_lane_pos(sn_relay.sub_id, lane))
			bad_message();
	sn_relay_database_host.mark(lanes, pos);
}

/* call_read: what comes next in lanes */
static void
call_read(SnWireIn *in)
{
	SnRelayLanes *l = &sn_relay.lanes;
	XLogRecPtr	before = sn_relay.read_end;
	uint64		lanes = get_lanes(in);
	int64		room = sn_wire_get(in);
	int			lane;

	get_positions(in, l->read_pos);
	if (in->failed || room < 1 || room > sn_relay_window(&sn_relay.settings) || lanes == 0)
		bad_message();
	memcpy(l->mark_pos, l->read_pos, sizeof(l->mark_pos));
	sn_relay.read = NIL;
	if (!sn_relay_database_host.read(lanes, (int) room))
		sn_relay.read_end = before;
	for (lane = 0; lane < l->nlanes; lane++)
		sn_wire_put(&answer, l->read_pos[lane]);
	sn_wire_put(&answer, (int64) sn_relay_database_host.waiting());
	put_events(sn_relay.read, false);
	sn_relay.read = NIL;
}

/* call_fetch: parked events */
static void
call_fetch(SnWireIn *in)
{
	SnWant		want = {.topic = get_stored(in)};
	uint64		lanes = get_lanes(in);
	int64		max = sn_wire_get(in);
	int64		bytes = sn_wire_get(in);
	List	   *events;
	bool		all;

	if (in->failed || max < 1 || max > SN_MAX_PARKED || bytes < 0)
		bad_message();
	want.max = (int) max;
	want.max_bytes = (size_t) bytes;
	events = sn_relay_fetch_parked(&want, lanes, &all);
	sn_wire_put(&answer, all);
	put_events(events, true);
}

/* call_label: the label after one */
static void
call_label(SnWireIn *in)
{
	SnRelayLabel label = {.topic = get_stored(in)};
	bool		found = sn_relay_database_host.next_label(&label);

	sn_wire_put(&answer, found);
	if (!found)
		return;
	sn_wire_put_string(&answer, label.topic);
	sn_wire_put_string(&answer, label.error);
	sn_wire_put(&answer, label.first != NULL);
	if (label.first != NULL)
		sn_wire_put_event(&answer, 0, 0, label.first, NULL);
}

/* call_unlabel: events do not go to a topic any more */
static void
call_unlabel(SnWireIn *in)
{
	const char *topic = get_stored(in);
	uint64		lanes = get_lanes(in);

	if (in->failed || topic == NULL)
		bad_message();
	sn_relay_database_host.unlabel(topic, lanes);
}

/* call_expire: give up what waited too long */
static void
call_expire(SnWireIn *in)
{
	const char *topic = get_stored(in);
	uint64		lanes = get_lanes(in);
	int64		max = sn_wire_get(in);

	if (in->failed || topic == NULL || max < 1 || max > 1000)
		bad_message();
	sn_wire_put(&answer, sn_topic_timeout < 0 ? 0 :
				sn_relay_database_host.expire(topic, lanes, (int) max));
}

/* dispatch: one call; the extension is held */
static void
dispatch(int call, SnWireIn *in)
{
	static void (*const calls[]) (SnWireIn *) = {
		[SN_CALL_SETTINGS] = call_settings,
		[SN_CALL_OWN] = call_own,
		[SN_CALL_LOCK] = call_lock,
		[SN_CALL_SETTLE] = call_settle,
		[SN_CALL_PARK] = call_park,
		[SN_CALL_MARK] = call_mark,
		[SN_CALL_READ] = call_read,
		[SN_CALL_FETCH] = call_fetch,
		[SN_CALL_LABEL] = call_label,
		[SN_CALL_UNLABEL] = call_unlabel,
		[SN_CALL_EXPIRE] = call_expire
	};

	if (call < 0 || call >= lengthof(calls) || calls[call] == NULL)
		bad_message();
	calls[call] (in);
}

/* relay_call(call, request) returns the answer */
Datum
sentinai_relay_call(PG_FUNCTION_ARGS)
{
	bytea	   *request;
	bytea	   *result;
	SnHold		hold;
	SnCaller	caller;
	SnWireIn	in = {0};
	int			call;

	SN_REQUIRE_ARG(0, "call");
	SN_REQUIRE_ARG(1, "request");
	sn_relay_require_open();
	PreventCommandIfReadOnly("relay_call()");
	call = PG_GETARG_INT32(0);
	request = PG_GETARG_BYTEA_PP(1);
	in.at = VARDATA_ANY(request);
	in.end = in.at + VARSIZE_ANY_EXHDR(request);
	hold = sn_hold_extension();
	if (hold != SN_HOLD_TAKEN && call != SN_CALL_BEGIN)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("the extension is being changed")));
	sn_relay_forget_writes();
	sn_wire_begin(&answer);
	if (hold == SN_HOLD_TAKEN)
		sn_become_tables_owner(&caller);
	if (call == SN_CALL_BEGIN)
		call_begin(&in, hold);
	else
		dispatch(call, &in);
	if (hold == SN_HOLD_TAKEN)
		sn_become_caller(&caller);
	if (answer.failed || answer.len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	result = palloc(VARHDRSZ + answer.len);
	SET_VARSIZE(result, VARHDRSZ + answer.len);
	if (answer.len > 0)
		memcpy(VARDATA(result), answer.data, answer.len);
	PG_RETURN_BYTEA_P(result);
}
