/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_host.c
 *		What the database does for the rules of a turn (relay_lanes.c), below SQL.
 *
 * It works for the relay that sn_relay is of: a relay process, or the session
 * of a sentinai-relay (relay_outside.c).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "base/guc.h"
#include "queue/filter.h"
#include "relay/durable.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "store/lane_hints.h"

StaticAssertDecl(SN_RELAY_LANES == SN_MAX_LANES, "a bit for each lane");

static int	unparked[SN_MAX_LANES]; /* rows removed, to be counted */
static SnRelayParker *parker = NULL;

/* host_own: take lanes that nobody holds; *pos: where they are */
static uint64
host_own(uint64 lanes, int64 *pos)
{
	uint64		owned = 0;
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
	{
		if ((lanes & SN_LANE_BIT(lane)) == 0 ||
			!sn_own_lane(sn_relay.sub_id, lane))
			continue;
		owned |= SN_LANE_BIT(lane);
		pos[lane] = sn_relay_lane_pos(sn_relay.sub_id, lane);
	}
	(void) pg_atomic_fetch_or_u64(&sn_relay.slot->pending, owned);
	return owned;
}

/* host_lock: lock lanes, as many as nobody has locked */
static uint64
host_lock(uint64 lanes)
{
	return sn_relay_lock_lanes(sn_relay.sub_id, lanes);
}

/* count_dead: what is given up is a figure of the process */
static void
count_dead(int n)
{
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	sn_relay.slot->dead += n;
	LWLockRelease(&sn_shared()->lock);
}

/* host_settle: see to what became of an event, whose lane is locked */
static void
host_settle(const SnNews *news)
{
	SnRetry		row;

	if (news->kind == SN_NEWS_HELD)
	{
		sn_relay_label(sn_relay.sub_id, news->lane, news->pos, news->topic,
					   news->error);
		return;
	}
	sn_relay_row(&row, sn_relay.sub_id, news->lane, news->pos,
				 news->event_id);
	if (news->parked)
		sn_relay_unpark(sn_relay.sub_id, news->lane, news->pos, &row);
	unparked[news->lane] += news->parked;
	if (news->kind == SN_NEWS_REFUSED ||
		(news->kind == SN_NEWS_UNWANTED && row.history != NULL))
	{
		sn_relay_bury(&row, news->topic, news->error);
		count_dead(1);
	}
	else if (row.history != NULL)
		sn_relay_arrived(&row);
}

/* host_settled: that was all */
static void
host_settled(void)
{
	int			lane;

	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if (unparked[lane] > 0)
			sn_relay_count(sn_relay.sub_id, lane, 0, -unparked[lane]);
	memset(unparked, 0, sizeof(unparked));
}

/* host_park: set an event aside, whose lane is locked */
static void
host_park(int lane, const SnHeld *held)
{
	if (parker == NULL)
		parker = sn_relay_park_begin(sn_relay.sub_id);
	sn_relay_park(parker, lane, held->pos, held->event, held->topic,
				  held->error);
}

/* host_parked: that was all */
static void
host_parked(void)
{
	sn_relay_park_end(parker);
	parker = NULL;
}

/* host_mark: store the positions of lanes, which are locked */
static void
host_mark(uint64 lanes, const int64 *pos)
{
	sn_relay_mark(sn_relay.sub_id, lanes, pos);
}

/* host_waiting: lanes that may have something */
static uint64
host_waiting(void)
{
	return pg_atomic_read_u64(&sn_relay.slot->pending);
}

/* follow_filter: go on where the lanes are stored, when the filter has changed */
static void
follow_filter(SnRelayReader *reader)
{
	SnRelayLanes *l = &sn_relay.lanes;
	int			lane;

	if (sn_relay.subs_loads == sn_subs_loads())
		return;
	sn_relay.subs_loads = sn_subs_loads();
	for (lane = 0; lane < l->nlanes; lane++)
		if ((l->owned & SN_LANE_BIT(lane)) != 0)
			sn_relay_lanes_moved(l, lane, sn_relay_stored_pos(reader, lane));
}

/* want_lanes: ask for the next events of lanes, each its share of the room */
static uint64
want_lanes(SnRelayReader *reader, uint64 lanes, int room)
{
	static int	start = 0;
	const SnRelayLanes *l = &sn_relay.lanes;
	int			nlanes = pg_popcount64(lanes);
	uint64		left = 0;
	int			i;

	start++;
	for (i = 0; i < l->nlanes; i++)
	{
		int			lane = (start + i) % l->nlanes;
		int			share;
		bool		more;

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		share = (room + nlanes - 1) / nlanes;
		nlanes--;
		room -= sn_relay_want(reader, lane, l->read_pos[lane], share, &more);
		if (more)
			left |= SN_LANE_BIT(lane);
	}
	return left;
}

/*
 * host_read: read what comes next in lanes.  Pending bits are cleared before
 * the snapshot is taken, and set again where not everything was read.
 */
static bool
host_read(uint64 lanes, int room)
{
	SnRelayReader *reader;
	uint64		left;

	(void) pg_atomic_fetch_and_u64(&sn_relay.slot->pending, ~lanes);
	reader = sn_relay_read_begin(sn_relay.sub_id, sn_relay.max_text);
	follow_filter(reader);
	sn_relay.read_end = sn_wal_end();
	left = want_lanes(reader, lanes, room);
	sn_relay.read = sn_relay_fetch(reader, sn_relay.lanes.max_bytes, &left);
	sn_relay_read_end(reader);
	(void) pg_atomic_fetch_or_u64(&sn_relay.slot->pending, left);
	return sn_relay.read != NIL;
}

/* sn_relay_fetch_parked: parked events that are wanted */
List *
sn_relay_fetch_parked(const SnWant *want, uint64 lanes, bool *all)
{
	List	   *events = sn_relay_parked(sn_relay.sub_id, want->topic, lanes,
										 want->max, want->max_bytes,
										 sn_relay.max_text, all);

	sn_relay.read_end = sn_wal_end();
	return events;
}

/* host_fetch: hand parked events to the core */
static int
host_fetch(const SnWant *want, uint64 lanes, bool *all)
{
	List	   *events = sn_relay_fetch_parked(want, lanes, all);
	ListCell   *lc;

	foreach(lc, events)
	{
		SnRelayEvent *e = lfirst(lc);

		sn_relay_lanes_push_parked(&sn_relay.lanes, want->number, e->lane,
								   e->pos, &e->event, e->error);
	}
	return list_length(events);
}

/* host_next_label: the label after one, with the first of its events */
static bool
host_next_label(SnRelayLabel *label)
{
	char	   *topic = unconstify(char *, label->topic);
	char	   *error;
	bool		all;
	List	   *first;

	CHECK_FOR_INTERRUPTS();
	if (!sn_relay_next_label(sn_relay.sub_id, &topic, &error))
		return false;
	first = sn_relay_parked(sn_relay.sub_id, topic, PG_UINT64_MAX, 1, 1,
							sn_relay.max_text, &all);
	label->topic = topic;
	label->error = error;
	label->first = first == NIL ? NULL :
		&((SnRelayEvent *) linitial(first))->event;
	return true;
}

/* host_unlabel: its events do not go there any more */
static void
host_unlabel(const char *topic, uint64 lanes)
{
	sn_retry_unlabel(sn_relay.sub_id, topic, lanes);
}

/* host_too_many_labels: there are more than the core can look after */
static void
host_too_many_labels(void)
{
	ereport(WARNING,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s: events wait for more topics than can be looked after",
					sn_relay.title)));
}

/* host_expire: give up what waited too long */
static int
host_expire(const char *topic, uint64 lanes, int max)
{
	int			n = sn_relay_expire(sn_relay.sub_id, topic, lanes, max);

	if (n > 0)
		count_dead(n);
	return n;
}

/* host_no_memory: the core cannot take what was read for it */
static void
host_no_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("The relay could not take another event.")));
}

/* sn_relay_forget_writes: an error has ended the transaction of some */
void
sn_relay_forget_writes(void)
{
	memset(unparked, 0, sizeof(unparked));
	parker = NULL;
}

const SnRelayHost sn_relay_database_host = {
	.own = host_own,
	.lock = host_lock,
	.settle = host_settle,
	.settled = host_settled,
	.park = host_park,
	.parked = host_parked,
	.mark = host_mark,
	.waiting = host_waiting,
	.read = host_read,
	.fetch = host_fetch,
	.next_label = host_next_label,
	.unlabel = host_unlabel,
	.too_many_labels = host_too_many_labels,
	.expire = host_expire,
	.no_memory = host_no_memory
};
