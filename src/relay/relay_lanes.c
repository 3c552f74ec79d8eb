/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_lanes.c
 *		The rules of a turn: what a relay stores and reads, and when.
 *
 * No lock is waited for: a lane that somebody else has locked is barred, which
 * means that nothing is stored or read of it for a moment, and the others go
 * on.
 *
 * Pure C.
 */
#include "relay/relay_lanes.h"

#include <assert.h>
#include <string.h>

#include "base/fault.h"

#define MARK_EVERY_MS	50
#define LOOK_EVERY_MS	1000	/* at the switch and at dead letters, if nobody
								 * says that they changed */
#define EXPIRE_AT_ONCE	1000	/* events */
#define LANE_BIT(lane)	(UINT64_C(1) << (lane))

/* sn_relay_lanes_begin: a new core goes on from the stored positions */
void
sn_relay_lanes_begin(SnRelayLanes *l, SnRelayCore *core)
{
	l->core = core;
	memcpy(l->read_pos, l->mark_pos, sizeof(l->read_pos));
	memset(l->unmarked, 0, sizeof(l->unmarked));
	l->redriving = 0;
	l->look_for_labels = true;
	l->looked_at = 0;			/* there may be lanes to take */
}

/* own_lanes: take the lanes of this process that nobody holds */
static void
own_lanes(SnRelayLanes *l)
{
	uint64_t	wanted = 0;
	uint64_t	owned;
	int64_t		pos[SN_RELAY_LANES];
	int			lane;

	for (lane = l->first; lane < l->nlanes; lane += l->every)
		wanted |= LANE_BIT(lane) & ~l->owned;
	if (wanted == 0)
		return;
	owned = l->host->own(wanted, pos);
	for (lane = 0; lane < l->nlanes; lane++)
		if ((owned & LANE_BIT(lane)) != 0)
			l->mark_pos[lane] = l->read_pos[lane] = pos[lane];
	l->owned |= owned;
	l->look_for_labels |= owned != 0;
}

/* sn_relay_lanes_progress: what the core got done since the last turn */
void
sn_relay_lanes_progress(SnRelayLanes *l)
{
	int			lane;

	for (lane = 0; lane < l->nlanes; lane++)
	{
		int			passed = sn_relay_core_progress(l->core, lane,
													&l->mark_pos[lane]);

		if (passed == 0)
			continue;
		l->moved |= LANE_BIT(lane);
		l->unmarked[lane] += passed;
	}
}

/*
 * unmarked: events that are done and would be sent again after a crash, as
 * their lanes' positions are not stored.  They count against the window, so
 * that relay_inflight bounds the copies; but for a lane that somebody else has
 * locked, which nothing more is read of, and which must not stop the others.
 */
static int
unmarked(const SnRelayLanes *l)
{
	int			result = 0;
	int			lane;

	for (lane = 0; lane < l->nlanes; lane++)
		if ((l->barred & LANE_BIT(lane)) == 0)
			result += l->unmarked[lane];
	return result;
}

/* worth_a_turn: a part of the window that is worth a transaction */
static int
worth_a_turn(const SnRelayLanes *l)
{
	return (l->window + 3) / 4;
}

/* free_room: events that may be read now */
static int
free_room(const SnRelayLanes *l)
{
	return sn_relay_core_room(l->core) - unmarked(l);
}

/* sn_relay_lanes_have_room: a part of the window worth a transaction is free */
bool
sn_relay_lanes_have_room(const SnRelayLanes *l)
{
	return free_room(l) >= worth_a_turn(l);
}

/* sn_relay_lanes_marks_due: how long positions may wait to be stored; -1: for ever */
int64_t
sn_relay_lanes_marks_due(const SnRelayLanes *l)
{
	int64_t		wait;

	if ((l->moved & ~l->barred) == 0)
		return -1;
	if (unmarked(l) >= worth_a_turn(l))
		return 0;
	wait = l->marked_at + MARK_EVERY_MS - sn_monotonic_ms();
	return wait < 0 ? 0 : wait;
}

/*
 * lock_relay_lanes: lock those of some lanes that can be locked now; nothing
 * is read or stored of the others until they can.
 */
static uint64_t
lock_relay_lanes(SnRelayLanes *l, uint64_t lanes)
{
	uint64_t	locked = lanes == 0 ? 0 : l->host->lock(lanes);

	if ((lanes & ~locked & ~l->barred) != 0)
		l->barred_at = sn_monotonic_ms();
	l->barred |= lanes & ~locked;
	return locked;
}

/* take_news: see to what became of events; returns the lanes concerned */
static uint64_t
take_news(SnRelayLanes *l, uint64_t locked)
{
	uint64_t	lanes = 0;
	SnNews		news;

	while (sn_relay_core_news(l->core, locked, &news))
	{
		lanes |= LANE_BIT(news.lane);
		l->redriving -= news.parked && !news.labelled;
		l->host->settle(&news);
	}
	if (lanes != 0)
		l->host->settled();
	return lanes;
}

/* park_held: park events of topics that cannot be written; the lanes of them */
static uint64_t
park_held(SnRelayLanes *l, uint64_t locked)
{
	uint64_t	lanes = 0;
	SnHeld		held;
	int			lane;

	for (lane = 0; lane < l->nlanes; lane++)
	{
		if ((locked & LANE_BIT(lane)) == 0)
			continue;
		while (sn_relay_core_held(l->core, lane, &held))
		{
			l->host->park(lane, &held);
			sn_relay_core_parked(l->core, lane);
			lanes |= LANE_BIT(lane);
		}
	}
	if (lanes != 0)
		l->host->parked();
	return lanes;
}

/* store_marks: store the positions that are due; returns the lanes of them */
static uint64_t
store_marks(SnRelayLanes *l, uint64_t locked)
{
	uint64_t	marked = l->moved & ~l->barred;
	int			lane;

	marked = (marked & locked) | lock_relay_lanes(l, marked & ~locked);
	assert((marked & ~l->owned) == 0);
	if (marked != 0)
	{
		l->host->mark(marked, l->mark_pos);
		SN_FAULT(relay_mark);
	}
	l->moved &= ~marked;
	for (lane = 0; lane < l->nlanes; lane++)
		if ((marked & LANE_BIT(lane)) != 0)
			l->unmarked[lane] = 0;
	l->marked_at = sn_monotonic_ms();
	return marked;
}

/*
 * store_progress: bury what was refused, park what is held, and store the
 * positions, when it is time to; returns whether anything was written.
 */
static bool
store_progress(SnRelayLanes *l, bool now)
{
	uint64_t	news = sn_relay_core_news_in(l->core);
	uint64_t	locked = lock_relay_lanes(l, news & ~l->barred);
	uint64_t	wrote = take_news(l, locked);

	wrote |= park_held(l, locked);
	sn_relay_lanes_progress(l);
	if (wrote != 0 || now || sn_relay_lanes_marks_due(l) == 0)
		wrote |= store_marks(l, locked);
	return wrote != 0;
}

/* lanes_waiting: lanes of this process that may have something to read */
static uint64_t
lanes_waiting(const SnRelayLanes *l)
{
	return l->owned & ~l->barred & l->host->waiting();
}

/*
 * sn_relay_lanes_moved: whoever gave the subscription another filter has moved
 * the lanes in which nothing was left by the one before, and what is there of
 * other types is passed.  A lane with an event on its way was not moved.
 */
void
sn_relay_lanes_moved(SnRelayLanes *l, int lane, int64_t pos)
{
	if (pos > l->read_pos[lane])
		l->read_pos[lane] = l->mark_pos[lane] = pos;
}

/*
 * read_relay_lanes: read what comes next in the lanes that may have something,
 * as much as the core has room for beside what was taken for it, and no more
 * than a part of the window, so that sending begins early.
 */
static bool
read_relay_lanes(SnRelayLanes *l)
{
	uint64_t	lanes = lanes_waiting(l);
	int			room = free_room(l);

	if (lanes == 0 || !sn_relay_lanes_have_room(l))
		return false;
	if (room > worth_a_turn(l))
		room = worth_a_turn(l);
	return l->host->read(lanes, room);
}

/* sn_relay_lanes_push: hand an event that was read to the core, in order */
void
sn_relay_lanes_push(SnRelayLanes *l, int lane, int64_t next_pos,
					const SnRecordEvent *event, const char *error)
{
	assert(l->owned & LANE_BIT(lane));
	assert(next_pos > l->read_pos[lane]);
	if (!sn_relay_core_push(l->core, lane, next_pos, event, error))
		l->host->no_memory();
	l->read_pos[lane] = next_pos;
}

/* sn_relay_lanes_push_parked: a parked event; number is its topic's, or -1 */
void
sn_relay_lanes_push_parked(SnRelayLanes *l, int number, int lane, int64_t pos,
						   const SnRecordEvent *event, const char *error)
{
	if (!sn_relay_core_push_parked(l->core, number, lane, pos, event, error))
		l->host->no_memory();
	l->redriving += number < 0;
}

/* can_redrive: whether the next dead letters can be tried again */
static bool
can_redrive(const SnRelayLanes *l)
{
	return l->look_for_redrives && l->redriving == 0 &&
		sn_relay_core_parked_room(l->core) >= SN_MAX_PARKED / 2;
}

/*
 * read_redrives: events of dead letters that are to be tried again; what is in
 * the window is not read twice, so the next come when these are done
 */
static bool
read_redrives(SnRelayLanes *l)
{
	SnWant		want = {.number = -1, .max = SN_MAX_PARKED / 2};
	int			n;
	bool		all;

	if (!can_redrive(l))
		return false;
	want.max_bytes = l->max_bytes / 4;
	n = l->host->fetch(&want, l->owned & ~l->barred, &all);
	l->look_for_redrives = !all && n > 0;
	return n > 0;
}

/* wants_parked: whether the core has a use for parked events */
static bool
wants_parked(const SnRelayLanes *l)
{
	SnWant		want;

	return sn_monotonic_ms() >= l->wanted_at &&
		sn_relay_core_wants(l->core, &want);
}

/* read_wanted: push the parked events of topics that seem to be there again */
static bool
read_wanted(SnRelayLanes *l)
{
	bool		pushed = false;
	SnWant		want;

	while (wants_parked(l) && sn_relay_core_wants(l->core, &want))
	{
		bool		all;
		int			n = l->host->fetch(&want, l->owned & ~l->barred, &all);

		pushed |= n > 0;
		all &= (l->owned & l->barred) == 0;
		sn_relay_core_fetched(l->core, want.number, all);
		if (n == 0 && !all)
			l->wanted_at = sn_monotonic_ms() + SN_BARRED_MS;
	}
	return pushed;
}

/*
 * topic_has_label: whether the first event with a label still goes to that
 * topic
 */
static bool
topic_has_label(const SnRelayLanes *l, const SnRelayLabel *label)
{
	const SnRecordEvent *e = label->first;
	char		topic[SN_RECORD_MAX_TOPIC + 1];

	return e == NULL || e->tenant_id == NULL ||
		(sn_relay_core_topic_of(l->core, e, topic) &&
		 strcmp(topic, label->topic) == 0);
}

/* read_labels: tell the core which topics have parked events */
static void
read_labels(SnRelayLanes *l)
{
	SnRelayLabel label = {NULL};

	if (!l->look_for_labels)
		return;
	l->look_for_labels = false;
	while (l->host->next_label(&label))
	{
		if (!topic_has_label(l, &label))
			l->host->unlabel(label.topic, l->owned);
		else if (!sn_relay_core_has_parked(l->core, label.topic, label.error,
										   sn_monotonic_ms()))
		{
			/* the next start, or a reload, looks again */
			l->host->too_many_labels();
			break;
		}
	}
}

/* expire: make dead letters of what has waited too long for its topic */
static bool
expire(SnRelayLanes *l)
{
	int			number = 0;
	int			n = 0;
	const char *topic;

	if (!l->expires || sn_monotonic_ms() - l->expired_at < LOOK_EVERY_MS)
		return false;
	while (n < EXPIRE_AT_ONCE &&
		   (topic = sn_relay_core_waiting(l->core, &number)) != NULL)
		n += l->host->expire(topic, l->owned & ~l->barred, EXPIRE_AT_ONCE - n);
	if (n < EXPIRE_AT_ONCE)
		l->expired_at = sn_monotonic_ms();
	return n > 0;
}

/*
 * sn_relay_lanes_to_lock: lanes that a turn begins with locking, as far as is
 * known before it
 */
uint64_t
sn_relay_lanes_to_lock(const SnRelayLanes *l)
{
	uint64_t	lanes;

	if (l->core == NULL)
		return 0;
	lanes = sn_relay_core_news_in(l->core);
	if (sn_relay_lanes_marks_due(l) == 0)
		lanes |= l->moved;
	return lanes & ~l->barred;
}

/* sn_relay_lanes_look_due: whether it is time to look at the switch */
bool
sn_relay_lanes_look_due(const SnRelayLanes *l)
{
	return sn_monotonic_ms() - l->looked_at >= LOOK_EVERY_MS;
}

/* sn_relay_lanes_need_turn: whether there is anything else to do in a transaction */
bool
sn_relay_lanes_need_turn(const SnRelayLanes *l)
{
	if (l->core == NULL)
		return false;
	if (l->barred != 0 && sn_monotonic_ms() - l->barred_at >= SN_BARRED_MS)
		return true;
	return (sn_relay_core_news_in(l->core) & ~l->barred) != 0 ||
		sn_relay_lanes_marks_due(l) == 0 ||
		(!l->paused && (can_redrive(l) || wants_parked(l) ||
						(lanes_waiting(l) != 0 &&
						 sn_relay_lanes_have_room(l))));
}

/*
 * sn_relay_lanes_turn: what a turn stores and reads; last: it stores only.
 * Returns whether anything was read.  What is pushed is not sent before the
 * transaction has ended.
 */
bool
sn_relay_lanes_turn(SnRelayLanes *l, bool last)
{
	bool		pushed = false;
	bool		wrote;

	if (sn_monotonic_ms() - l->barred_at >= SN_BARRED_MS)
		l->barred = 0;
	own_lanes(l);
	if (!last && !l->paused)
		read_labels(l);
	wrote = store_progress(l, last);
	wrote |= !last && expire(l);
	if (l->paused || last)
		return false;
	if (!wrote)					/* they see what is committed */
	{
		pushed = read_wanted(l);
		pushed |= read_redrives(l);
	}
	return read_relay_lanes(l) || pushed;
}
