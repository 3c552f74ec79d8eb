/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outside_host.c
 *	  What the database does for the rules of a turn, over libpq.
 *
 * Each function is one call of the session, in the transaction of the turn;
 * what became of events, and what is parked, is collected and goes as one.
 * What has no answer goes with the next that has, and the lanes that a turn is
 * going to write are locked by its first call.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "outside_host.h"
#include "session.h"

static SnRelayLanes *l;
static SnWireOut request;
static SnWireOut collected;		/* of settle() or park() */
static int64_t ncollected;
static uint64_t waiting;		/* lanes that may have something to read */
static uint64_t unread;			/* lanes to be read, whatever the server says */
static uint64_t asked;			/* lanes that the turn's first call was to lock */
static uint64_t granted;		/* and those that it has locked */
static SnWireIn events;			/* that were read, and not pushed yet */
static int64_t nevents;
static SnRecordEvent first;		/* of a label */

/* Says that the answer makes no sense, and ends the program. */
static void __attribute__((noreturn))
bad_answer(void)
{
	log_line(LOG_ERROR, "the server's answer is not understood", LOG_END);
	exit(EX_PROTOCOL);
}

/* Begins a request. */
static SnWireOut *
begin_request(void)
{
	sn_wire_begin(&request);
	return &request;
}

/* Makes the call that was written. */
static SnWireIn
make_call(SnRelayCall call)
{
	return session_call(call, &request);
}

/* Writes a position for each lane. */
static void
put_positions(const int64_t *pos)
{
	int			lane;

	for (lane = 0; lane < l->nlanes; lane++)
		sn_wire_put(&request, pos[lane]);
}

/* A new session works for the lanes. */
void
outside_host_begin(SnRelayLanes *lanes)
{
	l = lanes;
	waiting = unread = 0;
	nevents = ncollected = 0;
}

/* These lanes may have events. */
void
outside_host_waiting(uint64_t lanes)
{
	waiting = lanes;
}

/* These have to be read again. */
void
outside_host_unread(uint64_t lanes)
{
	unread |= lanes;
}

/* Begins a turn; how it stands with the relay. */
SnRelayState
outside_host_turn(bool look, const SnRelayCoreStats *stats, bool *looked)
{
	SnWireOut  *out = begin_request();
	SnWireIn	in;
	SnRelayState state;

	asked = sn_relay_lanes_to_lock(l);
	sn_wire_put(out, look);
	sn_wire_put(out, stats->inflight);
	sn_wire_put(out, stats->breaker);
	sn_wire_put(out, (int64_t) stats->sent);
	sn_wire_put(out, (int64_t) stats->acked);
	sn_wire_put(out, (int64_t) stats->errors);
	sn_wire_put(out, (int64_t) l->barred);
	sn_wire_put(out, (int64_t) asked);
	sn_wire_put_string(out, stats->last_error);
	sn_wire_put(out, stats->limited);
	in = make_call(SN_CALL_BEGIN);
	state = (SnRelayState) sn_wire_get(&in);
	l->paused = sn_wire_get(&in) != 0;
	*looked = sn_wire_get(&in) != 0;
	waiting = (uint64_t) sn_wire_get(&in);
	granted = (uint64_t) sn_wire_get(&in);
	if (in.failed)
		bad_answer();
	return state;
}

/* Takes lanes that nobody has. */
static uint64_t
outside_own(uint64_t lanes, int64_t *pos)
{
	SnWireIn	in;
	uint64_t	owned;
	int			lane;

	sn_wire_put(begin_request(), (int64_t) lanes);
	in = make_call(SN_CALL_OWN);
	owned = (uint64_t) sn_wire_get(&in);
	for (lane = 0; lane < l->nlanes; lane++)
		pos[lane] = sn_wire_get(&in);
	if (in.failed)
		bad_answer();
	unread |= owned;
	return owned;
}

/* Locks lanes that nobody has locked. */
static uint64_t
outside_lock(uint64_t lanes)
{
	uint64_t	locked = lanes & granted;
	SnWireIn	in;

	if ((lanes & ~asked) == 0)
		return locked;
	sn_wire_put(begin_request(), (int64_t) (lanes & ~asked));
	in = make_call(SN_CALL_LOCK);
	return locked | (uint64_t) sn_wire_get(&in);
}

/* One thing more to be told; the first place is for how many there are. */
static SnWireOut *
collect_one(void)
{
	if (ncollected++ == 0)
	{
		sn_wire_begin(&collected);
		sn_wire_put(&collected, 0);
	}
	return &collected;
}

/* Tells what was collected. */
static void
tell_collected(SnRelayCall call)
{
	sn_wire_put_first(&collected, ncollected);
	ncollected = 0;
	session_tell(call, &collected);
}

/* What became of an event. */
static void
outside_settle(const SnNews *news)
{
	SnWireOut  *out = collect_one();

	sn_wire_put(out, news->lane);
	sn_wire_put(out, news->kind);
	sn_wire_put(out, news->pos);
	sn_wire_put(out, news->parked);
	sn_wire_put_string(out, news->event_id);
	sn_wire_put_string(out, news->topic);
	sn_wire_put_string(out, news->error);
}

/* That was all. */
static void
outside_settled(void)
{
	tell_collected(SN_CALL_SETTLE);
}

/* An event that is set aside. */
static void
outside_park(int lane, const SnHeld *held)
{
	SnWireOut  *out = collect_one();

	sn_wire_put(out, lane);
	sn_wire_put(out, held->pos);
	sn_wire_put_string(out, held->event->event_id);
	sn_wire_put_string(out, held->event->tenant_id);
	sn_wire_put_string(out, held->event->aggregate_id);
	sn_wire_put_string(out, held->topic);
	sn_wire_put_string(out, held->error);
}

/* That was all. */
static void
outside_parked(void)
{
	tell_collected(SN_CALL_PARK);
}

/* Stores positions. */
static void
outside_mark(uint64_t lanes, const int64_t *pos)
{
	sn_wire_put(begin_request(), (int64_t) lanes);
	put_positions(pos);
	session_tell(SN_CALL_MARK, &request);
}

/* Lanes that may have something to read. */
static uint64_t
outside_waiting(void)
{
	return waiting | unread;
}

/* Reads what comes next in lanes. */
static bool
outside_read(uint64_t lanes, int room)
{
	SnWireOut  *out = begin_request();
	int			lane;

	sn_wire_put(out, (int64_t) lanes);
	sn_wire_put(out, room);
	put_positions(l->read_pos);
	events = session_last_call(SN_CALL_READ, &request);
	for (lane = 0; lane < l->nlanes; lane++)
		sn_relay_lanes_moved(l, lane, sn_wire_get(&events));
	waiting = (uint64_t) sn_wire_get(&events);
	nevents = sn_wire_get(&events);
	if (events.failed)
		bad_answer();
	unread &= ~lanes;
	return nevents > 0;
}

/* Hands what was read to the core, in order. */
void
outside_host_push(void)
{
	for (; nevents > 0; nevents--)
	{
		SnRecordEvent event;
		const char *error;
		int			lane;
		int64_t		next_pos;

		sn_wire_get_event(&events, &lane, &next_pos, &event, &error);
		if (events.failed || lane < 0 || lane >= l->nlanes)
			bad_answer();
		sn_relay_lanes_push(l, lane, next_pos, &event, error);
	}
}

/* Reads parked events and hands them to the core. */
static int
outside_fetch(const SnWant *want, uint64_t lanes, bool *all)
{
	SnWireOut  *out = begin_request();
	SnWireIn	in;
	int64_t		n;
	int64_t		i;

	sn_wire_put_string(out, want->topic);
	sn_wire_put(out, (int64_t) lanes);
	sn_wire_put(out, want->max);
	sn_wire_put(out, (int64_t) want->max_bytes);
	in = make_call(SN_CALL_FETCH);
	*all = sn_wire_get(&in) != 0;
	n = sn_wire_get(&in);
	for (i = 0; i < n; i++)
	{
		SnRecordEvent event;
		const char *error;
		int			lane;
		int64_t		pos;

		sn_wire_get_event(&in, &lane, &pos, &event, &error);
		if (in.failed || lane < 0 || lane >= l->nlanes)
			bad_answer();
		sn_relay_lanes_push_parked(l, want->number, lane, pos, &event, error);
	}
	return (int) n;
}

/* The label after one. */
static bool
outside_next_label(SnRelayLabel *label)
{
	static char *topic = NULL;
	SnWireIn	in;
	const char *error;
	int			lane;
	int64_t		pos;

	sn_wire_put_string(begin_request(), label->topic);
	in = make_call(SN_CALL_LABEL);
	if (sn_wire_get(&in) == 0)
		return false;
	label->topic = sn_wire_get_string(&in);
	label->error = sn_wire_get_string(&in);
	label->first = NULL;
	if (sn_wire_get(&in) != 0)
	{
		sn_wire_get_event(&in, &lane, &pos, &first, &error);
		label->first = &first;
	}
	if (in.failed || label->topic == NULL || label->error == NULL)
		bad_answer();
	/* it is asked for what comes after it, when the answer is gone */
	free(topic);
	topic = strdup(label->topic);
	label->topic = topic;
	return topic != NULL;
}

/* Events do not go to a topic any more. */
static void
outside_unlabel(const char *topic, uint64_t lanes)
{
	SnWireOut  *out = begin_request();

	sn_wire_put_string(out, topic);
	sn_wire_put(out, (int64_t) lanes);
	session_tell(SN_CALL_UNLABEL, &request);
}

/* There are more than the core can look after. */
static void
outside_too_many_labels(void)
{
	log_line(LOG_WARNING,
			 "events wait for more topics than can be looked after", LOG_END);
}

/* Gives up what waited too long. */
static int
outside_expire(const char *topic, uint64_t lanes, int max)
{
	SnWireOut  *out = begin_request();
	SnWireIn	in;

	sn_wire_put_string(out, topic);
	sn_wire_put(out, (int64_t) lanes);
	sn_wire_put(out, max);
	in = make_call(SN_CALL_EXPIRE);
	return (int) sn_wire_get(&in);
}

/* The core cannot take another event. */
static void
outside_no_memory(void)
{
	log_line(LOG_ERROR, "out of memory", LOG_END);
	exit(EX_OSERR);
}

const SnRelayHost outside_host = {
	.own = outside_own,
	.lock = outside_lock,
	.settle = outside_settle,
	.settled = outside_settled,
	.park = outside_park,
	.parked = outside_parked,
	.mark = outside_mark,
	.waiting = outside_waiting,
	.read = outside_read,
	.fetch = outside_fetch,
	.next_label = outside_next_label,
	.unlabel = outside_unlabel,
	.too_many_labels = outside_too_many_labels,
	.expire = outside_expire,
	.no_memory = outside_no_memory
};
