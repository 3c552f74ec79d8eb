/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_turn.c
 *		What a turn of the relay process does in the database.
 *
 * It stores what became of events and how far the lanes are, and reads what is
 * to be sent next.  No lock is waited for: a lane that somebody else has locked
 * is barred, which means that nothing is stored or read of it for a moment, and
 * the others go on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "base/guc.h"
#include "queue/filter.h"
#include "relay/durable.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"
#include "store/lane_hints.h"
#include "store/owner.h"

#define MARK_EVERY_MS	50
#define LOOK_EVERY_MS	1000	/* at the switch and at dead letters, if nobody
								 * says that they changed */
#define EXPIRE_AT_ONCE	1000	/* events */

/* own_lanes: take the lanes of this process that nobody holds */
static void
own_lanes(void)
{
	int			lane;

	for (lane = sn_relay.index; lane < sn_relay.nlanes; lane += sn_relay.workers)
	{
		uint64		bit = UINT64CONST(1) << lane;

		if (sn_relay.owned & bit)
			continue;
		if (!sn_own_lane(sn_relay.sub_id, lane))
			continue;
		sn_relay.owned |= bit;
		sn_relay.look_for_labels = true;
		(void) pg_atomic_fetch_or_u64(&sn_relay.slot->pending, bit);
		sn_relay.mark_pos[lane] = sn_relay_lane_pos(sn_relay.sub_id, lane);
		sn_relay.read_pos[lane] = sn_relay.mark_pos[lane];
	}
}

/* sn_relay_take_progress: what the core got done since the last turn */
void
sn_relay_take_progress(void)
{
	int			lane;

	for (lane = 0; lane < sn_relay.nlanes; lane++)
	{
		int			passed = sn_relay_core_progress(sn_relay.core, lane,
													&sn_relay.mark_pos[lane]);

		if (passed == 0)
			continue;
		sn_relay.moved |= SN_LANE_BIT(lane);
		sn_relay.unmarked[lane] += passed;
	}
}

/*
 * unmarked: events that are done and would be sent again after a crash, as
 * their lanes' positions are not stored.  They count against the window, so
 * that relay_inflight bounds the copies; but for a lane that somebody else has
 * locked, which nothing more is read of, and which must not stop the others.
 */
static int
unmarked(void)
{
	int			result = 0;
	int			lane;

	for (lane = 0; lane < sn_relay.nlanes; lane++)
		if ((sn_relay.barred & SN_LANE_BIT(lane)) == 0)
			result += sn_relay.unmarked[lane];
	return result;
}

/* worth_a_turn: a part of the window that is worth a transaction */
static int
worth_a_turn(void)
{
	return (sn_relay_inflight + 3) / 4;
}

/* free_room: events that may be read now */
static int
free_room(void)
{
	return sn_relay_core_room(sn_relay.core) - unmarked();
}

/* sn_relay_marks_due: how long the positions may wait to be stored; -1: for ever */
int64
sn_relay_marks_due(void)
{
	if ((sn_relay.moved & ~sn_relay.barred) == 0)
		return -1;
	if (unmarked() >= worth_a_turn())
		return 0;
	return Max(sn_relay.marked_at + MARK_EVERY_MS - sn_relay_now_ms(), 0);
}

/*
 * lock_relay_lanes: lock those of some lanes that can be locked now; nothing
 * is read or stored of the others until they can.
 */
static uint64
lock_relay_lanes(uint64 lanes)
{
	uint64		locked = sn_relay_lock_lanes(sn_relay.sub_id, lanes);

	if ((lanes & ~locked & ~sn_relay.barred) != 0)
		sn_relay.barred_at = sn_relay_now_ms();
	sn_relay.barred |= lanes & ~locked;
	return locked;
}

/* bury: an event can never be sent */
static void
bury(const SnNews *news, SnRetry *row)
{
	sn_relay_bury(row, news->topic, news->error);
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	sn_relay.slot->dead++;
	LWLockRelease(&sn_shared()->lock);
}

/* take_news: see to what became of events; returns the lanes concerned */
static uint64
take_news(uint64 locked)
{
	int			unparked[SN_MAX_LANES] = {0};
	uint64		lanes = 0;
	SnRetry		row;
	SnNews		news;
	int			lane;

	while (sn_relay_core_news(sn_relay.core, locked, &news))
	{
		lanes |= SN_LANE_BIT(news.lane);
		sn_relay.redriving -= news.parked && !news.labelled;
		if (news.kind == SN_NEWS_HELD)
		{
			sn_relay_label(sn_relay.sub_id, news.lane, news.pos, news.topic,
						   news.error);
			continue;
		}
		sn_relay_row(&row, sn_relay.sub_id, news.lane, news.pos,
					 news.event_id);
		if (news.parked)
			sn_relay_unpark(sn_relay.sub_id, news.lane, news.pos, &row);
		unparked[news.lane] += news.parked;
		if (news.kind == SN_NEWS_REFUSED ||
			(news.kind == SN_NEWS_UNWANTED && row.history != NULL))
			bury(&news, &row);
		else if (row.history != NULL)
			sn_relay_arrived(&row);
	}
	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if (unparked[lane] > 0)
			sn_relay_count(sn_relay.sub_id, lane, 0, -unparked[lane]);
	return lanes;
}

/* park_held: park events of topics that cannot be written; the lanes of them */
static uint64
park_held(uint64 locked)
{
	SnRelayParker *parker = NULL;
	uint64		lanes = 0;
	SnHeld		held;
	int			lane;

	for (lane = 0; lane < sn_relay.nlanes; lane++)
	{
		if ((locked & SN_LANE_BIT(lane)) == 0)
			continue;
		while (sn_relay_core_held(sn_relay.core, lane, &held))
		{
			if (parker == NULL)
				parker = sn_relay_park_begin(sn_relay.sub_id);
			sn_relay_park(parker, lane, held.pos, held.event, held.topic,
						  held.error);
			sn_relay_core_parked(sn_relay.core, lane);
			lanes |= SN_LANE_BIT(lane);
		}
	}
	if (parker != NULL)
		sn_relay_park_end(parker);
	return lanes;
}

/*
 * store_progress: bury what was refused, park what is held, and store the
 * positions, when it is time to; returns whether anything was written.
 */
static bool
store_progress(bool now)
{
	uint64		news = sn_relay_core_news_in(sn_relay.core);
	uint64		locked = lock_relay_lanes(news & ~sn_relay.barred);
	uint64		wrote = take_news(locked);
	int			lane;

	wrote |= park_held(locked);
	sn_relay_take_progress();
	if (wrote != 0 || now || sn_relay_marks_due() == 0)
	{
		uint64		marked = sn_relay.moved & ~sn_relay.barred;

		marked = (marked & locked) | lock_relay_lanes(marked & ~locked);
		Assert((marked & ~sn_relay.owned) == 0);
		if (marked != 0)
		{
			sn_relay_mark(sn_relay.sub_id, marked, sn_relay.mark_pos);
			SN_FAULT(relay_mark);
		}
		sn_relay.moved &= ~marked;
		for (lane = 0; lane < sn_relay.nlanes; lane++)
			if ((marked & SN_LANE_BIT(lane)) != 0)
				sn_relay.unmarked[lane] = 0;
		sn_relay.marked_at = sn_relay_now_ms();
		wrote |= marked;
	}
	return wrote != 0;
}

/* sn_relay_has_room: a part of the window worth a transaction is free */
bool
sn_relay_has_room(void)
{
	return free_room() >= worth_a_turn();
}

/* lanes_waiting: lanes of this process that may have something to read */
static uint64
lanes_waiting(void)
{
	return sn_relay.owned & ~sn_relay.barred &
		pg_atomic_read_u64(&sn_relay.slot->pending);
}

/*
 * follow_filter: whoever gave the subscription another filter has moved the lanes
 * in which nothing was left by the one before, and what is there of other types
 * is passed.  A lane with an event on its way was not moved.
 */
static void
follow_filter(SnRelayReader *reader)
{
	int			lane;

	if (sn_relay.subs_loads == sn_subs_loads())
		return;
	sn_relay.subs_loads = sn_subs_loads();
	for (lane = 0; lane < sn_relay.nlanes; lane++)
	{
		SnPos		pos;

		if ((sn_relay.owned & SN_LANE_BIT(lane)) == 0)
			continue;
		pos = sn_relay_stored_pos(reader, lane);
		if (pos > sn_relay.read_pos[lane])
			sn_relay.read_pos[lane] = sn_relay.mark_pos[lane] = pos;
	}
}

/*
 * read_relay_lanes: read what comes next in the lanes that may have something,
 * as much as the core has room for beside what was taken for it, and no more
 * than a part of the window, so that sending begins early.  Each lane gets its
 * share.  Pending bits are cleared before the snapshot is taken, and set again
 * where not everything was read.
 */
static List *
read_relay_lanes(void)
{
	static int	start = 0;
	uint64		lanes = lanes_waiting();
	uint64		left = 0;
	int			nlanes = pg_popcount64(lanes);
	int			room = Min(free_room(), worth_a_turn());
	List	   *result;
	SnRelayReader *reader;
	int			i;

	sn_relay.read_end = sn_wal_end();
	if (lanes == 0 || !sn_relay_has_room())
		return NIL;
	(void) pg_atomic_fetch_and_u64(&sn_relay.slot->pending, ~lanes);
	reader = sn_relay_read_begin(sn_relay.sub_id, sn_relay.max_text);
	follow_filter(reader);
	sn_relay.read_end = sn_wal_end();
	start++;
	for (i = 0; i < sn_relay.nlanes; i++)
	{
		int			lane = (start + i) % sn_relay.nlanes;
		uint64		bit = UINT64CONST(1) << lane;
		int			share;
		bool		more;

		if ((lanes & bit) == 0)
			continue;
		share = (room + nlanes - 1) / nlanes;
		nlanes--;
		room -= sn_relay_want(reader, lane, sn_relay.read_pos[lane], share,
							  &more);
		if (more)
			left |= bit;
	}
	result = sn_relay_fetch(reader, (size_t) sn_relay_buffer * 1024, &left);
	sn_relay_read_end(reader);
	(void) pg_atomic_fetch_or_u64(&sn_relay.slot->pending, left);
	return result;
}

/* no_memory: the core cannot take what was read for it */
static void
no_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("The relay could not take another event.")));
}

/* push_parked: hand parked events to the core; topic is its number, or -1 */
static void
push_parked(List *events, int topic)
{
	ListCell   *lc;

	foreach(lc, events)
	{
		SnRelayEvent *e = lfirst(lc);

		if (!sn_relay_core_push_parked(sn_relay.core, topic, e->lane, e->pos,
									   &e->event, e->error))
			no_memory();
		sn_relay.redriving += topic < 0;
	}
}

/* can_redrive: whether the next dead letters can be tried again */
static bool
can_redrive(void)
{
	return sn_relay.look_for_redrives && sn_relay.redriving == 0 &&
		sn_relay_core_parked_room(sn_relay.core) >= SN_MAX_PARKED / 2;
}

/*
 * read_redrives: events of dead letters that are to be tried again; what is in
 * the window is not read twice, so the next come when these are done
 */
static bool
read_redrives(void)
{
	List	   *events;
	bool		all;

	if (!can_redrive())
		return false;
	events = sn_relay_parked(sn_relay.sub_id, NULL, sn_relay.owned & ~sn_relay.barred,
							 SN_MAX_PARKED / 2, (size_t) sn_relay_buffer * 256,
							 sn_relay.max_text, &all);
	sn_relay.look_for_redrives = !all && events != NIL;
	push_parked(events, -1);
	return events != NIL;
}

/* wants_parked: whether the core has a use for parked events */
static bool
wants_parked(void)
{
	SnWant		want;

	return sn_relay_now_ms() >= sn_relay.wanted_at &&
		sn_relay_core_wants(sn_relay.core, &want);
}

/* read_wanted: push the parked events of topics that seem to be there again */
static bool
read_wanted(void)
{
	bool		pushed = false;
	SnWant		want;

	while (wants_parked() && sn_relay_core_wants(sn_relay.core, &want))
	{
		bool		all;
		List	   *events = sn_relay_parked(sn_relay.sub_id, want.topic,
											 sn_relay.owned & ~sn_relay.barred,
											 want.max, want.max_bytes,
											 sn_relay.max_text, &all);

		push_parked(events, want.number);
		pushed |= events != NIL;
		all &= (sn_relay.owned & sn_relay.barred) == 0;
		sn_relay_core_fetched(sn_relay.core, want.number, all);
		if (events == NIL && !all)
			sn_relay.wanted_at = sn_relay_now_ms() + SN_BARRED_MS;
	}
	return pushed;
}

/*
 * topic_has_label: whether the first event with a label still goes to that
 * topic
 */
static bool
topic_has_label(const char *label)
{
	bool		all;
	List	   *first = sn_relay_parked(sn_relay.sub_id, label, PG_UINT64_MAX, 1, 1,
										sn_relay.max_text, &all);
	SnRelayEvent *e = first == NIL ? NULL : linitial(first);
	char		topic[SN_RECORD_MAX_TOPIC + 1];

	return e == NULL || e->event.tenant_id == NULL ||
		(sn_relay_core_topic_of(sn_relay.core, &e->event, topic) &&
		 strcmp(topic, label) == 0);
}

/* read_labels: tell the core which topics have parked events */
static void
read_labels(void)
{
	char	   *topic = NULL;
	char	   *error;

	if (!sn_relay.look_for_labels)
		return;
	sn_relay.look_for_labels = false;
	while (sn_relay_next_label(sn_relay.sub_id, &topic, &error))
	{
		CHECK_FOR_INTERRUPTS();
		if (!topic_has_label(topic))
			sn_retry_unlabel(sn_relay.sub_id, topic, sn_relay.owned);
		else if (!sn_relay_core_has_parked(sn_relay.core, topic, error,
										   sn_relay_now_ms()))
		{
			/* the next start, or a reload, looks again */
			ereport(WARNING,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("%s: events wait for more topics than can be looked after",
							sn_relay.title)));
			break;
		}
	}
}

/* expire: make dead letters of what has waited too long for its topic */
static bool
expire(void)
{
	int			number = 0;
	int			n = 0;
	const char *topic;

	if (sn_topic_timeout < 0 || sn_relay_now_ms() - sn_relay.expired_at < LOOK_EVERY_MS)
		return false;
	while (n < EXPIRE_AT_ONCE &&
		   (topic = sn_relay_core_waiting(sn_relay.core, &number)) != NULL)
		n += sn_relay_expire(sn_relay.sub_id, topic, sn_relay.owned & ~sn_relay.barred,
							 EXPIRE_AT_ONCE - n);
	if (n < EXPIRE_AT_ONCE)
		sn_relay.expired_at = sn_relay_now_ms();
	if (n > 0)
	{
		LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
		sn_relay.slot->dead += n;
		LWLockRelease(&sn_shared()->lock);
	}
	return n > 0;
}

/*
 * may_look: whether it is time to look at the switch and at dead letters.  To
 * be asked before the snapshot is taken.
 */
static bool
may_look(void)
{
	if (pg_atomic_exchange_u32(&sn_relay.slot->look, 0) == 0 &&
		sn_relay_now_ms() - sn_relay.looked_at < LOOK_EVERY_MS)
		return false;
	sn_relay.looked_at = sn_relay_now_ms();
	return true;
}

/* sn_relay_needs_database: whether there is anything to do in a transaction */
bool
sn_relay_needs_database(void)
{
	if (pg_atomic_read_u32(&sn_relay.slot->look) != 0 ||
		sn_relay_now_ms() - sn_relay.looked_at >= LOOK_EVERY_MS)
		return true;
	if (sn_relay.core == NULL)
		return false;
	if (sn_relay.barred != 0 && sn_relay_now_ms() - sn_relay.barred_at >= SN_BARRED_MS)
		return true;
	return (sn_relay_core_news_in(sn_relay.core) & ~sn_relay.barred) != 0 ||
		sn_relay_marks_due() == 0 ||
		(!sn_relay.paused && (can_redrive() || wants_parked() ||
						   (lanes_waiting() != 0 && sn_relay_has_room())));
}

/*
 * relay_turn: what a turn stores and reads.  What is pushed is not sent before
 * the transaction has ended.
 */
static List *
relay_turn(bool last, bool *pushed)
{
	bool		wrote;

	if (sn_relay_now_ms() - sn_relay.barred_at >= SN_BARRED_MS)
		sn_relay.barred = 0;
	own_lanes();
	if (!last && !sn_relay.paused)
	{
		sn_transform_ready();
		read_labels();
	}
	wrote = store_progress(last);
	wrote |= !last && expire();
	if (sn_relay.paused || last)
		return NIL;
	if (!wrote)					/* they see what is committed */
	{
		*pushed = read_wanted();
		*pushed |= read_redrives();
	}
	return read_relay_lanes();
}

/* set_filter: the first of the processes has the subscription read what is named */
static void
set_filter(void)
{
	if (sn_relay.index == 0 && !sn_relay.filtered)
		sn_relay.filtered = sn_sub_refilter(sn_relay.sub_id,
											&sn_relay.settings.filter, false);
}

/*
 * sn_relay_database_turn: the transaction of a turn.  Returns the events to send, which
 * by then cannot be taken back.
 */
List *
sn_relay_database_turn(bool last)
{
	List	   *events = NIL;
	bool		look = may_look();
	bool		pushed = false;
	SnHold		hold;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(sn_relay.turn);

	hold = sn_hold_extension();
	sn_relay.leave = hold == SN_HOLD_GONE;
	sn_relay.held_off = hold == SN_HOLD_BUSY;
	if (hold == SN_HOLD_TAKEN)
		sn_work_as_owner();
	if (hold == SN_HOLD_TAKEN && sn_relay.relay_id != 0 &&
		(sn_sub_by_id(sn_relay.relay_id) == NULL ||
		 (look && !sn_relay_look_at_settings())))
	{
		sn_relay.leave = true;	/* by drop_relay() */
		hold = SN_HOLD_GONE;
	}
	if (look && hold == SN_HOLD_TAKEN)
	{
		sn_relay.paused = sn_relay_is_paused(sn_relay.relay_id);
		sn_relay.look_for_redrives = true;
	}
	if (hold == SN_HOLD_TAKEN && sn_relay.active)
	{
		if (sn_relay.sub_id == 0 && !sn_relay.paused)
			sn_relay.sub_id = sn_relay_subscription();
		sn_relay.nlanes = sn_node()->lanes;
		if (look && sn_relay.relay_id == 0 && sn_relay.sub_id != 0)
			set_filter();
		if (sn_relay.core != NULL && sn_relay.sub_id != 0)
			events = relay_turn(last, &pushed);
	}
	if (hold == SN_HOLD_TAKEN && !sn_relay.active && sn_node_active())
	{
		/* restored just now, perhaps: the next turn's snapshot shows it */
		sn_relay.active = true;
		pg_atomic_write_u32(&sn_relay.slot->look, 1);
		SetLatch(MyLatch);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(sn_relay.turn);
	if (events != NIL || pushed)
		sn_wait_confirmed(sn_relay.read_end);
	pgstat_report_stat(false);
	return events;
}

/* sn_relay_push_events: hand what was read to the core, in order */
void
sn_relay_push_events(List *events)
{
	ListCell   *lc;

	foreach(lc, events)
	{
		SnRelayEvent *e = lfirst(lc);

		Assert(sn_relay.owned & SN_LANE_BIT(e->lane));
		Assert(e->next_pos > sn_relay.read_pos[e->lane]);
		if (!sn_relay_core_push(sn_relay.core, e->lane, e->next_pos, &e->event,
								e->error))
			no_memory();
		sn_relay.read_pos[e->lane] = e->next_pos;
	}
}
