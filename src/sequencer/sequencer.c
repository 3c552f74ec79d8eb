/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sequencer.c
 *		A round: the only place that decides order.
 *
 * A round is taken under the round lock, which is held until its transaction
 * ends, so rounds are serial and each begins from the snapshot of the last
 * one.  It is read under a fresh snapshot S, whatever the isolation level.
 *
 * What the last round had seen, and what slice.c and gather.c keep, is used
 * again by the next round of this process if nobody took a round in between:
 * SnDatabase.rounds counts them, and moves before the round lock is released.
 * It is forgotten when a transaction that looked at it aborts.  A round that
 * finds nothing writes nothing; that it looked is remembered here only.
 *
 * Round numbers are milliseconds of the event clock.  The clock is raised above
 * the newest of them at the next start, so they must not run ahead of it: a
 * round waits until its millisecond has come.
 *
 * After the commit everybody who may wait for the events is woken.  A backend
 * that took a round inline cannot read tables then, so it wakes the readers of
 * every stream; the sequencer reads subscription to wake those concerned.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "log/clock_floor.h"
#include "log/event.h"
#include "sequencer/parts.h"
#include "sequencer/round.h"
#include "sequencer/sequencer.h"
#include "sequencer/tracks.h"
#include "shared/clock.h"
#include "shared/shmem.h"
#include "store/journal.h"
#include "store/lane_hints.h"
#include "store/xact_watch.h"

static SnSeen seen;				/* xip in TopMemoryContext */
static Oid	seen_in = InvalidOid;	/* journal it belongs to; invalid: read it */
static uint64 seen_rounds;		/* SnDatabase.rounds at that time */

/* What this transaction has sequenced and has to tell at its commit */
typedef struct Announcement
{
	SnDatabase *db;				/* NULL: it took no round */
	int			rounds;
	SnStreamNews news;			/* of the stream of all events */
	uint64		commits;		/* SnDatabase.commits before the snapshot */
	bool		by_sequencer;
	SubTransactionId subid;		/* in which the last round was taken */
} Announcement;

static Announcement pending;

/* The sequencer's last round, whose readers were not woken yet */
static int64 unwoken = 0;		/* its events */
static uint64 unwoken_commits;	/* what SnDatabase.sequenced will be; not
								 * before, as a claim that waits for it has to
								 * find its lanes */

/* forget_seen: read the journal in the next round */
static void
forget_seen(void)
{
	seen_in = InvalidOid;
	sn_parts_forget();
	sn_streams_forget();
	sn_tracks_forget();
}

/* How far the subscription is behind that is farthest, of those worked for */
typedef struct Behind
{
	uint64		events;
	uint64		on_common;		/* in the common track */
} Behind;

/* wake_subscription: there are new events */
static void
wake_subscription(SnSubSlot *slot, const SnStreamNews *news)
{
	int64		events = news->events;
	uint32		waiters;
	int			track;

	(void) pg_atomic_fetch_add_u64(&slot->behind, events);
	(void) pg_atomic_fetch_add_u64(&slot->behind_on_common, news->on_common);
	foreach_track(track, news->tracks)
		pg_atomic_fetch_or_u64(&slot->tracks[track], news->lanes_of[track]);
	pg_atomic_fetch_or_u64(&slot->pending, news->lanes);
	waiters = pg_atomic_read_u32(&slot->waiters);
	if (waiters == 0)
		return;
	if (events >= waiters)
		ConditionVariableBroadcast(&slot->cv);
	else
		for (; events > 0; events--)
			ConditionVariableSignal(&slot->cv);
}

/* note_behind: how far a subscription is behind counts, if somebody works for it */
static void
note_behind(Behind *behind, SnSubSlot *slot)
{
	if (sn_hint_unworked(slot, 0))
		return;
	behind->events = Max(behind->events, pg_atomic_read_u64(&slot->behind));
	behind->on_common = Max(behind->on_common,
							pg_atomic_read_u64(&slot->behind_on_common));
}

/* wake_all: wake the readers of every stream; raises no error */
static void
wake_all(const SnStreamNews *news)
{
	SnShared   *s = sn_shared();
	SnSubSlot  *slots[SN_MAX_SUBS];
	SnSubSlot  *slot = NULL;
	Behind		behind = {0};
	int			n = 0;
	int			i;

	if (news->lanes == 0)
		return;
	LWLockAcquire(&s->lock, LW_SHARED);
	while ((slot = sn_sub_slot_after(slot, MyDatabaseId)) != NULL)
		slots[n++] = slot;
	LWLockRelease(&s->lock);
	for (i = 0; i < n; i++)
	{
		wake_subscription(slots[i], news);
		note_behind(&behind, slots[i]);
	}
	if (n == 0)
		behind.events = behind.on_common = PG_UINT64_MAX;
	sn_tracks_behind(behind.events, behind.on_common);
}

/*
 * sn_round_awaited: whether somebody waits for what was committed since that
 * count: a relay, an agent in wait_for_work() or a claim that found nothing; or
 * tenants take turns.
 */
bool
sn_round_awaited(uint64 commits)
{
	SnShared   *s = sn_shared();
	SnSubSlot  *slot = NULL;
	bool		found = pg_atomic_read_u64(&sn_database()->asked) > commits ||
		sn_tracks_beside();
	int			i;

	LWLockAcquire(&s->lock, LW_SHARED);
	for (i = 0; i < SN_MAX_RELAYS && !found; i++)
		found = s->relays[i].pid != 0 && s->relays[i].dboid == MyDatabaseId;
	while (!found && (slot = sn_sub_slot_after(slot, MyDatabaseId)) != NULL)
		found = pg_atomic_read_u32(&slot->waiters) > 0;
	LWLockRelease(&s->lock);
	return found;
}

/* set_sequenced: all that was committed before this count is in a round */
static void
set_sequenced(SnDatabase *db, uint64 commits)
{
	if (pg_atomic_read_u64(&db->sequenced) >= commits)
		return;
	pg_atomic_write_u64(&db->sequenced, commits);
	ConditionVariableBroadcast(&db->sequenced_cv);
}

/*
 * announce_rounds: the rounds of this transaction are visible; raises no error
 */
static void
announce_rounds(void)
{
	SnDatabase *db = pending.db;
	uint64		before = pg_atomic_fetch_add_u64(&db->rounds, pending.rounds);

	SN_FAULT(round_after);
	pg_atomic_fetch_add_u64(&db->round_events, pending.news.events);
	if (before == seen_rounds)
		seen_rounds += pending.rounds;
	sn_parts_passed();
	sn_wake_relays(pending.news.lanes, false);	/* they read every event */
	if (pending.by_sequencer && sn_stream_count() > 1)
	{
		unwoken = pending.news.events;
		unwoken_commits = pending.commits;
		return;
	}
	wake_all(&pending.news);
	set_sequenced(db, pending.commits);
}

static void
round_xact_end(XactEvent event)
{
	if (pending.db == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (pending.rounds > 0)
				announce_rounds();
			break;
		case XACT_EVENT_ABORT:
			forget_seen();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (pending.rounds > 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction in which claim() took a round"),
						 errhint("No sequencer runs that would take the rounds. Add sentinai to shared_preload_libraries. If it is there, no worker slot may be free: raise max_worker_processes. The column sequencer_problem of the view sentinai.stat_info says why.")));
			return;
		default:
			return;
	}
	pending.db = NULL;
}

static void
round_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	/* not one that a round's own statement began, whose work is none of it */
	if (event == SUBXACT_EVENT_ABORT_SUB && pending.db != NULL &&
		subid <= pending.subid)
	{
		forget_seen();
		pending.commits = 0;	/* nobody knows which rounds are left */
	}
}

static SnXactWatch watch = {.end = round_xact_end,.sub_end = round_subxact_end};

/* begin_announcement: this transaction looks at what the last round had seen */
static void
begin_announcement(SnDatabase *db, bool by_sequencer)
{
	sn_watch_xacts(&watch);
	if (pending.db != NULL)
		return;
	memset(&pending, 0, sizeof(pending));
	pending.db = db;
	pending.by_sequencer = by_sequencer;
}

/* store_seen: keep what a round has seen for the next one */
static void
store_seen(const SnSeen *now)
{
	static int	room = 0;

	if (now->nxip > room)
	{
		int64	   *xip = MemoryContextAlloc(TopMemoryContext,
											 sizeof(int64) * now->nxip * 2);

		if (seen.xip != NULL)
			pfree(seen.xip);
		seen.xip = xip;
		room = now->nxip * 2;
	}
	seen.round_no = now->round_no;
	seen.xmax = now->xmax;
	seen.nxip = now->nxip;
	if (now->nxip > 0)
		memcpy(seen.xip, now->xip, sizeof(int64) * now->nxip);
	seen.due_until = now->due_until;
}

/* sn_round_newest: what the newest round that a snapshot shows had seen */
void
sn_round_newest(Snapshot snapshot, SnSeen *newest)
{
	SnJournalReader reader = {false};
	TupleTableSlot *slot = sn_journal_newest(&reader, SN_ROUNDS, snapshot, 0,
											 NULL);

	memset(newest, 0, sizeof(SnSeen));
	newest->due_until = DT_NOBEGIN;
	if (slot != NULL)
	{
		Datum	   *values = slot->tts_values;
		ArrayType  *xip;

		slot_getallattrs(slot);
		xip = DatumGetArrayTypePCopy(values[Anum_round_snap_xip - 1]);
		newest->round_no = DatumGetInt64(values[Anum_round_no - 1]);
		newest->xmax = DatumGetInt64(values[Anum_round_snap_xmax - 1]);
		newest->nxip = ArrayGetNItems(ARR_NDIM(xip), ARR_DIMS(xip));
		newest->xip = (int64 *) ARR_DATA_PTR(xip);
		newest->due_until =
			DatumGetTimestampTz(values[Anum_round_due_until - 1]);
	}
	sn_journal_end(&reader);
}

/* recall_seen: have in `seen` what the last round had seen */
static void
recall_seen(SnDatabase *db, Snapshot snapshot)
{
	SnSeen		newest;
	uint64		rounds = pg_atomic_read_u64(&db->rounds);

	if (seen_in == sn_journal_id(SN_ROUNDS) && seen_rounds == rounds)
		return;
	forget_seen();
	sn_round_newest(snapshot, &newest);
	store_seen(&newest);
	seen_in = sn_journal_id(SN_ROUNDS);
	seen_rounds = rounds;
}

/* write_round: the row of the journal */
static void
write_round(const SnGather *g, int64 events)
{
	SnInserter *ins = sn_journal_append(SN_ROUNDS);
	Datum		values[Natts_round];
	bool		nulls[Natts_round] = {false};
	ArrayType  *xip = construct_empty_array(INT8OID);

	if (g->now.nxip > 0)
	{
		Datum	   *elems = palloc(sizeof(Datum) * g->now.nxip);
		int			i;

		for (i = 0; i < g->now.nxip; i++)
			elems[i] = Int64GetDatum(g->now.xip[i]);
		xip = construct_array(elems, g->now.nxip, INT8OID, sizeof(int64),
							  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	}
	values[Anum_round_no - 1] = Int64GetDatum(g->now.round_no);
	values[Anum_round_snap_xmax - 1] = Int64GetDatum(g->now.xmax);
	values[Anum_round_snap_xip - 1] = PointerGetDatum(xip);
	values[Anum_round_due_until - 1] = TimestampTzGetDatum(g->now.due_until);
	values[Anum_round_events - 1] =
		Int32GetDatum((int32) Min(events, PG_INT32_MAX));
	values[Anum_round_taken_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	sn_insert_row(ins, values, nulls);
	(void) sn_insert_end(ins);
}

/*
 * running: the transactions that a snapshot saw running.  One that is just
 * being prepared is in it twice, for its session and for itself.
 */
static int
running(Snapshot snapshot)
{
	TransactionId *xip;
	int			n = 0;
	int			i;

	if (snapshot->xcnt < 2)
		return snapshot->xcnt;
	xip = palloc(snapshot->xcnt * sizeof(TransactionId));
	memcpy(xip, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	qsort(xip, snapshot->xcnt, sizeof(TransactionId), xidComparator);
	for (i = 0; i < snapshot->xcnt; i++)
		n += i == 0 || xip[i] != xip[i - 1];
	pfree(xip);
	return n;
}

/*
 * nothing_moved: whether no transaction ended and no delayed event is due.
 * Below an xmax that stays no transaction begins, so those that run are the
 * same as long as their number is.
 */
static bool
nothing_moved(Snapshot snapshot, TimestampTz due)
{
	return seen.xmax > 0 && sn_parts_next_due() > due &&
		seen.xmax == sn_logical_xid(snapshot->xmax) &&
		seen.nxip == running(snapshot);
}

/*
 * await_number: until the clock is past the number of the last round.  That is
 * a millisecond at most but for a clock that was set back, which makes rounds a
 * millisecond apart: the numbers come no nearer to it then, but gain nothing.
 */
static void
await_number(void)
{
	SnTick		next;
	SnTick		now;

	if (seen_in != sn_journal_id(SN_ROUNDS))
		return;
	next = (SnTick) (SN_EPOCH_MS + seen.round_no + 1) << SN_TICK_BITS;
	now = sn_clock_last();
	if (now < next)
		pg_usleep(Min(((next - now) * 1000 >> SN_TICK_BITS) + 1, 1000));
}

/* sequence: turn what was gathered into slices and a row of the journal */
static void
sequence(SnGather *g)
{
	SnStreamNews news;
	int			track;

	Assert(sn_round_is_ours());
	sn_gather_sort(g);
	await_number();				/* take_round() did, if it knew the last round */
	g->now.round_no = Max(SN_TICK_MS(sn_clock_take(1)) - SN_EPOCH_MS,
						  seen.round_no + 1);
	Assert(g->now.round_no > seen.round_no &&
		   g->now.round_no < INT64CONST(1) << SN_ROUND_BITS);
	sn_tracks_decide(g->snapshot, g->now.round_no);
	g->now.round_no = sn_write_slices(g, g->snapshot, g->now.round_no);
	sn_tracks_sequenced(seen.round_no, g->now.round_no);
	sn_stream_news(SN_STREAM_ALL, &news);
	write_round(g, news.events);
	CommandCounterIncrement();
	SN_FAULT(round_before);

	pending.rounds++;
	pending.news.events += news.events;
	pending.news.on_common += news.on_common;
	pending.news.lanes |= news.lanes;
	pending.news.tracks |= news.tracks;
	foreach_track(track, news.tracks)
		pending.news.lanes_of[track] |= news.lanes_of[track];
}

/*
 * take_one_round: a round under the round lock; returns the number of events,
 * or -1 when another snapshot is needed
 */
static int64
take_one_round(SnDatabase *db, Snapshot snapshot)
{
	SnGather	g = {.snapshot = snapshot, .seen = &seen};

	recall_seen(db, snapshot);
	g.now.round_no = seen.round_no;
	g.now.due_until = Max(seen.due_until, GetCurrentTimestamp());
	if (nothing_moved(snapshot, g.now.due_until))
		return 0;

	g.lanes = sn_node_activate()->lanes;
	if (sn_streams_load(snapshot))
		sn_tracks_rematch();
	sn_tracks_load(snapshot, sn_match_tenants());
	if (!sn_gather(&g))
	{
		sn_gather_end(&g);
		return -1;
	}
	if (g.count > 0)
		sequence(&g);
	else if (pending.rounds == 0)
		sn_parts_passed();
	sn_gather_end(&g);
	store_seen(&g.now);
	return g.count;
}

/*
 * take_round: a round in this transaction, if the lock is free.  Returns false
 * if it is not.
 */
static bool
take_round(bool by_sequencer, SnRound *round)
{
	SnDatabase *db = sn_database();
	MemoryContext context;
	MemoryContext old;
	Snapshot	snapshot;
	uint64		commits;

	if (!sn_lock_round())
		return false;
	sn_store_ready();
	begin_announcement(db, by_sequencer);
	pending.subid = GetCurrentSubTransactionId();
	context = AllocSetContextCreate(CurrentMemoryContext, "sentinai round",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	await_number();				/* what is committed meanwhile is in the round */
	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		sn_parts_lock();
		commits = pg_atomic_read_u64(&db->commits);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		round->events = take_one_round(db, snapshot);
		UnregisterSnapshot(snapshot);
		sn_parts_unlock();
	} while (round->events < 0);
	round->round_no = round->events > 0 ? seen.round_no : 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (pending.rounds > 0)
		pending.commits = commits;
	else
	{
		set_sequenced(db, commits);
		sn_unlock_round();
	}
	return true;
}

/*
 * sn_round_inline: take a round in the caller's transaction, for databases
 * where no sequencer runs.  Returns whether something was sequenced; the
 * caller sees it in any snapshot taken from now on.
 */
bool
sn_round_inline(void)
{
	SnRound		round;
	SnStreamNews news;

	if (!take_round(false, &round) || round.events == 0)
		return false;

	/* for this transaction; the others are told at commit */
	news = pending.news;
	news.events = 0;
	wake_all(&news);
	return true;
}

/* sn_round_taken: whether this transaction has taken a round */
bool
sn_round_taken(void)
{
	return pending.db != NULL && pending.rounds > 0;
}

/*
 * sn_round_waits: whether there is something to sequence, in a database where
 * nobody but a claim does.  The counters in shared memory do not know of
 * delayed events, nor of what was published before the server started.
 */
bool
sn_round_waits(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnSeen		newest;
	bool		result;

	sn_round_newest(snapshot, &newest);
	result = sn_gather_waits(&newest, snapshot);
	UnregisterSnapshot(snapshot);
	return result;
}

/* sn_round_take: the sequencer's round; false if somebody else has the lock */
bool
sn_round_take(SnRound *round)
{
	return take_round(true, round);
}

/* sn_sequencer_running: whether a sequencer serves this database */
bool
sn_sequencer_running(void)
{
	return sn_database()->sequencer_pid != 0;
}

/* sn_round_next_due: when the next delayed event is due; DT_NOEND: none */
TimestampTz
sn_round_next_due(void)
{
	return sn_parts_next_due();
}

/* wake_readers: wake those whose streams got events, as subscription says */
static void
wake_readers(void)
{
	SnTableScan *scan = sn_table_read(SN_SUBSCRIPTION, NULL);
	TupleTableSlot *slot;
	Behind		behind = {0};

	while ((slot = sn_table_next(scan)) != NULL)
	{
		SnSubSlot  *sub;
		SnStreamNews news;

		/* one that was subscribed again may still read an earlier stream */
		sub = sn_sub_slot_find(DatumGetInt32(slot->tts_values[Anum_sub_id - 1]));
		sn_stream_news(slot->tts_isnull[Anum_sub_old_streams - 1] ?
					   DatumGetInt32(slot->tts_values[Anum_sub_stream_id - 1]) :
					   SN_STREAM_ALL, &news);
		if (sub == NULL)
			continue;
		if (news.lanes != 0)
			wake_subscription(sub, &news);
		note_behind(&behind, sub);
	}
	sn_table_end(scan);
	sn_tracks_behind(behind.events, behind.on_common);
}

/*
 * sn_round_leave: the sequencer leaves, perhaps before it woke the readers;
 * raises no error
 */
void
sn_round_leave(void)
{
	SnStreamNews news;

	if (unwoken == 0)
		return;
	memset(&news, 0xff, sizeof(news));
	news.events = news.on_common = unwoken;
	wake_all(&news);
	set_sequenced(sn_database(), unwoken_commits);
	unwoken = 0;
}

/*
 * sn_round_wake: wake the readers of the sequencer's last round, in a
 * transaction that began after its commit: who subscribes later sees the
 * round, and who subscribed before is seen here.
 */
void
sn_round_wake(void)
{
	if (unwoken == 0)
		return;
	PG_TRY();
	{
		StartTransactionCommand();
		wake_readers();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		sn_round_leave();
		PG_RE_THROW();
	}
	PG_END_TRY();
	set_sequenced(sn_database(), unwoken_commits);
	unwoken = 0;
}
