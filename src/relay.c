/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay.c
 *		The relay process: reads the log in order, hands it to the broker.
 *
 * One turn: what the broker answered is taken; then, if lanes got events and
 * there is room for them, if positions are due to be stored, or the broker
 * refused something, a short transaction that stores, buries and reads.  What
 * it read is flushed and, with synchronous replication, confirmed (durable.c)
 * before any of it is sent, with no transaction open, by the core
 * (relay_core.c).  Then the process sleeps until the sequencer, the broker or
 * the clock wakes it.  While answers are all there is to wait for and there is
 * room, it lets them come together for a few milliseconds: they hold up
 * nothing.  A turn with nothing to store writes nothing.
 *
 * Lanes are divided by lane % relay_workers.  A process owns a lane by a lock
 * of its session, so that two never send for one lane, and the end of the
 * process, however it comes, ends the right to send.
 *
 * An error ends the process; the launcher starts it again, and it goes on from
 * the stored positions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "durable.h"
#include "fault.h"
#include "guc.h"
#include "pin.h"
#include "relay_core.h"
#include "relay_provider.h"
#include "relay_store.h"
#include "shmem.h"
#include "store.h"

#define MAX_SLEEP_MS	1000
#define MARK_EVERY_MS	50
#define ANSWERS_MS		10		/* so long answers may wait for each other */
#define LOG_EVERY_MS	60000	/* repeated errors are logged so often */
#define LOOK_EVERY_MS	1000	/* at the switch and at dead letters, if nobody
								 * says that they changed */
#define CLOSE_MS		2000
#define HELD_OFF_MS		100
#define TURN_MEMORY		(2 * 1024 * 1024)	/* kept from turn to turn */

typedef struct Relay
{
	int			index;
	int			workers;		/* value of relay_workers it was started with */
	char		database[NAMEDATALEN];
	int			sub_id;			/* 0: not known yet */
	int			nlanes;
	uint64		owned;			/* lanes this process may send for */
	uint64		moved;			/* lanes whose position is to be stored */
	SnPos		read_pos[SN_MAX_LANES];
	SnPos		mark_pos[SN_MAX_LANES];
	SnRelayCore *core;
	SnRelaySlot *slot;
	WaitEventSet *events;		/* the latch, and the broker */
	WaitEventSet *latch_only;
	XLogRecPtr	read_end;		/* the WAL behind what was read */
	MemoryContext turn;
	int64		looked_at;		/* time of the last transaction that looked */
	int64		marked_at;
	uint64		marked_passed;	/* events of this core whose passing is stored */
	int64		logged_at;
	uint64		logged_errors;
	int			redriving;		/* events of dead letters in the window */
	bool		look_for_redrives;
	SnRelayCoreStats before;	/* of the connections before this one */
	bool		paused;
	bool		active;			/* the database is in use here */
	bool		held_off;		/* by who drops or updates the extension */
	bool		leave;			/* the extension is gone, or is to be left alone */
} Relay;

static Relay relay;

PGDLLEXPORT void sn_relay_main(Datum arg);

/* now_ms: a clock that no one sets */
static int64
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * log_client: a line of the client library.  Runs on this thread, inside a
 * call to the broker: it must not raise an error, and LOG never does.
 */
static void
log_client(void *arg, int level, const char *facility, const char *text)
{
	int64		now = now_ms();

	if (strcmp(facility, "CONFWARN") == 0)
		level = 7;				/* about properties that we set ourselves */
	if (level <= 4 && relay.logged_at != 0 &&
		now - relay.logged_at < LOG_EVERY_MS)
		return;
	if (level <= 4)
		relay.logged_at = now;
	ereport(level <= 4 ? LOG : DEBUG1,
			(errmsg_internal("sentinai relay: %s: %s", facility, text)));
}

/* open_core: connect with the settings now in force */
static void
open_core(void)
{
	SnRelayCoreConfig config = {0};
	char		err[SN_ERROR_LEN] = "";
	int			lane;

	config.provider = sn_relay_provider();
	config.broker.settings = sn_kafka_conf;
	config.broker.client_id = "sentinai-relay";
	config.broker.queue_max_messages = sn_relay_inflight;
	config.broker.queue_max_kbytes = sn_relay_buffer;
	config.broker.log = log_client;
	config.format = (SnRecordFormat) sn_record_format;
	config.occurred_timestamp = sn_record_timestamp == SN_TIME_OCCURRED;
	config.topic_template = sn_topic_template;
	config.database = relay.database;
	config.lanes = SN_MAX_LANES;
	config.max_events = sn_relay_inflight;
	config.max_bytes = (size_t) sn_relay_buffer * 1024;
	config.topic_partitions = sn_topic_partitions;
	config.topic_replication = sn_topic_replication;
	config.breaker_failures = sn_breaker_failures;
	config.breaker_open_ms = (int64) sn_breaker_open_time * 1000;

	relay.core = sn_relay_core_open(&config, err, sizeof(err));
	if (relay.core == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not set up the connection to the broker: %s",
						err),
				 errhint("See sentinai.kafka_conf.")));
	log_client(NULL, 7, "START", "what is not marked is sent");
	for (lane = 0; lane < SN_MAX_LANES; lane++)
		relay.read_pos[lane] = relay.mark_pos[lane];
	/* the window of the one before is read again */
	(void) pg_atomic_fetch_or_u64(&relay.slot->pending, relay.owned);
	relay.redriving = 0;
	relay.marked_passed = 0;
	relay.looked_at = 0;		/* there may be lanes to take */

	relay.latch_only = sn_wait_event_set(2);
	AddWaitEventToSet(relay.latch_only, WL_LATCH_SET, PGINVALID_SOCKET,
					  MyLatch, NULL);
	AddWaitEventToSet(relay.latch_only, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	relay.events = sn_wait_event_set(3);
	AddWaitEventToSet(relay.events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(relay.events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	AddWaitEventToSet(relay.events, WL_SOCKET_READABLE,
					  sn_relay_core_wake_fd(relay.core), NULL, NULL);
}

/* total_stats: figures since the process started */
static void
total_stats(SnRelayCoreStats *stats)
{
	sn_relay_core_stats(relay.core, stats);
	stats->sent += relay.before.sent;
	stats->acked += relay.before.acked;
	stats->errors += relay.before.errors;
	stats->refused += relay.before.refused;
}

/* close_core: what is outstanding is given up, and sent again later */
static void
close_core(void)
{
	SnRelayCore *core = relay.core;
	SnRelayCoreStats total;

	if (core != NULL)
	{
		total_stats(&total);
		relay.before = total;
	}
	relay.core = NULL;
	if (relay.events != NULL)
	{
		FreeWaitEventSet(relay.events);
		FreeWaitEventSet(relay.latch_only);
	}
	relay.events = NULL;
	if (core != NULL)
		sn_relay_core_close(core, CLOSE_MS);
}

/*
 * on_exit: end the transaction, which may hold locks, give the slot back, stop
 * the client's threads, and only then give up the lanes: outside of a
 * transaction nobody else releases the locks of a session.
 */
static void
on_exit_relay(int code, Datum arg)
{
	SnShared   *s = sn_shared();

	AbortOutOfAnyTransaction();
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	relay.slot->pid = 0;
	relay.slot->procno = -1;
	relay.slot->dboid = InvalidOid;
	LWLockRelease(&s->lock);
	relay.events = NULL;		/* its latch is going away by itself */
	close_core();
	LockReleaseSession(DEFAULT_LOCKMETHOD);
}

/* take_slot: make this process known to views, sequencer and launcher */
static void
take_slot(void)
{
	SnShared   *s = sn_shared();
	int			i;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_RELAYS && relay.slot == NULL; i++)
	{
		SnRelaySlot *slot = &s->relays[i];

		if (slot->pid != 0)
			continue;
		memset(slot, 0, sizeof(SnRelaySlot));
		pg_atomic_init_u64(&slot->pending, 0);
		pg_atomic_init_u32(&slot->look, 0);
		slot->dboid = MyDatabaseId;
		slot->index = relay.index;
		slot->pid = MyProcPid;
		slot->procno = sn_my_procno();
		slot->started_at = GetCurrentTimestamp();
		relay.slot = slot;
	}
	LWLockRelease(&s->lock);
	if (relay.slot == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many relay processes"),
				 errdetail("A server can run at most %d of them.",
						   SN_MAX_RELAYS)));
	before_shmem_exit(on_exit_relay, (Datum) 0);
}

/* own_lanes: take the lanes of this process that nobody holds */
static void
own_lanes(void)
{
	int			lane;

	for (lane = relay.index; lane < relay.nlanes; lane += relay.workers)
	{
		uint64		bit = UINT64CONST(1) << lane;

		if (relay.owned & bit)
			continue;
		if (!sn_own_lane(relay.sub_id, lane))
			continue;
		relay.owned |= bit;
		(void) pg_atomic_fetch_or_u64(&relay.slot->pending, bit);
		relay.mark_pos[lane] = sn_relay_lane_pos(relay.sub_id, lane);
		relay.read_pos[lane] = relay.mark_pos[lane];
	}
}

/* take_progress: what the core got done since the last turn */
static void
take_progress(void)
{
	int			lane;

	for (lane = 0; lane < relay.nlanes; lane++)
		if (sn_relay_core_progress(relay.core, lane, &relay.mark_pos[lane]))
			relay.moved |= UINT64CONST(1) << lane;
}

/*
 * unmarked: events that are done and would be sent again after a crash, as
 * their lanes' positions are not stored.  They count against the window, so
 * that relay_inflight bounds the copies.
 */
static int
unmarked(void)
{
	SnRelayCoreStats stats;

	sn_relay_core_stats(relay.core, &stats);
	return (int) (stats.passed - relay.marked_passed);
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
	return sn_relay_core_room(relay.core) - unmarked();
}

/* marks_due: how long the positions may wait to be stored; -1: for ever */
static int64
marks_due(void)
{
	if (relay.moved == 0)
		return -1;
	if (unmarked() >= worth_a_turn())
		return 0;
	return Max(relay.marked_at + MARK_EVERY_MS - now_ms(), 0);
}

/*
 * store_progress: bury what was refused and store the positions, when it is
 * time to; returns whether anything was written.
 */
static bool
store_progress(bool now)
{
	SnRefused	refused;
	char		event_id[37];
	int			lane;
	bool		wrote = false;

	while (sn_relay_core_redriven(relay.core, &lane, event_id))
	{
		sn_relay_redriven(relay.sub_id, lane, event_id);
		relay.redriving--;
		wrote = true;
	}
	while (sn_relay_core_refused(relay.core, &refused))
	{
		sn_relay_bury(relay.sub_id, refused.lane, refused.event_id,
					  refused.error, refused.redriven);
		relay.redriving -= refused.redriven;
		LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
		relay.slot->dead++;
		LWLockRelease(&sn_shared()->lock);
		wrote = true;
	}
	take_progress();
	if (relay.moved != 0 && (wrote || now || marks_due() == 0))
	{
		sn_relay_mark(relay.sub_id, relay.moved, relay.mark_pos);
		SN_FAULT(relay_mark);
		relay.moved = 0;
		relay.marked_at = now_ms();
		wrote = true;
	}
	if (relay.moved == 0)
		relay.marked_passed += unmarked();
	return wrote;
}

/* has_room: a part of the window worth a transaction is free */
static bool
has_room(void)
{
	return free_room() >= worth_a_turn();
}

/* lanes_waiting: lanes of this process that may have something to read */
static uint64
lanes_waiting(void)
{
	return relay.owned & pg_atomic_read_u64(&relay.slot->pending);
}

/*
 * read_lanes: read what comes next in the lanes that may have something, as
 * much as the core has room for beside what was taken for it, and no more than
 * a part of the window, so that sending begins early.  Each lane gets its
 * share.  Pending bits are cleared before the snapshot is taken, and set again
 * where not everything was read.
 */
static List *
read_lanes(int taken)
{
	static int	start = 0;
	uint64		lanes = lanes_waiting();
	uint64		left = 0;
	int			nlanes = pg_popcount64(lanes);
	int			room = Min(free_room(), worth_a_turn()) - taken;
	List	   *result;
	SnRelayReader *reader;
	int			i;

	if (lanes == 0 || !has_room())
		return NIL;
	(void) pg_atomic_fetch_and_u64(&relay.slot->pending, ~lanes);
	reader = sn_relay_read_begin();
	relay.read_end = sn_wal_end();
	start++;
	for (i = 0; i < relay.nlanes; i++)
	{
		int			lane = (start + i) % relay.nlanes;
		uint64		bit = UINT64CONST(1) << lane;
		int			share;
		bool		more;

		if ((lanes & bit) == 0)
			continue;
		share = (room + nlanes - 1) / nlanes;
		nlanes--;
		room -= sn_relay_want(reader, lane, relay.read_pos[lane], share,
							  &more);
		if (more)
			left |= bit;
	}
	result = sn_relay_fetch(reader, (size_t) sn_relay_buffer * 1024, &left);
	sn_relay_read_end(reader);
	(void) pg_atomic_fetch_or_u64(&relay.slot->pending, left);
	return result;
}

/* read_redrives: events of dead letters that are to be tried again */
static List *
read_redrives(void)
{
	List	   *events;

	if (!relay.look_for_redrives || relay.redriving > 0 || !has_room())
		return NIL;
	relay.look_for_redrives = false;
	events = sn_relay_redrives(relay.sub_id, relay.owned,
							   Min(free_room(),
								   SN_MAX_REDRIVEN));
	relay.redriving = list_length(events);
	relay.read_end = sn_wal_end();
	return events;
}

/*
 * may_look: whether it is time to look at the switch and at dead letters.  To
 * be asked before the snapshot is taken.
 */
static bool
may_look(void)
{
	if (pg_atomic_exchange_u32(&relay.slot->look, 0) == 0 &&
		now_ms() - relay.looked_at < LOOK_EVERY_MS)
		return false;
	relay.looked_at = now_ms();
	return true;
}

/* needs_database: whether there is anything to do in a transaction */
static bool
needs_database(void)
{
	if (pg_atomic_read_u32(&relay.slot->look) != 0 ||
		now_ms() - relay.looked_at >= LOOK_EVERY_MS)
		return true;
	return relay.core != NULL &&
		(sn_relay_core_has_news(relay.core) || marks_due() == 0 ||
		 (!relay.paused && lanes_waiting() != 0 && has_room()));
}

/*
 * database_turn: the transaction of a turn.  Returns the events to send, which
 * by then cannot be taken back.
 */
static List *
database_turn(bool last)
{
	List	   *events = NIL;
	bool		look = may_look();
	bool		wrote = false;
	SnHold		hold;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(relay.turn);

	hold = sn_hold_extension();
	relay.leave = hold == SN_HOLD_GONE;
	relay.held_off = hold == SN_HOLD_BUSY;
	if (look && hold == SN_HOLD_TAKEN)
	{
		relay.paused = sn_relay_is_paused();
		relay.look_for_redrives = true;
	}
	if (hold == SN_HOLD_TAKEN && relay.active)
	{
		if (relay.sub_id == 0 && !relay.paused)
		{
			relay.sub_id = sn_relay_subscription();
			relay.nlanes = sn_node()->lanes;
		}
		if (relay.core != NULL && relay.sub_id != 0)
		{
			own_lanes();
			wrote = store_progress(last);
			if (!wrote && !relay.paused && !last)
				events = read_redrives();	/* sees what is committed */
			if (!relay.paused && !last)
				events = list_concat(events,
									 read_lanes(list_length(events)));
		}
	}
	if (hold == SN_HOLD_TAKEN && !relay.active && sn_node_active())
	{
		/* restored just now, perhaps: the next turn's snapshot shows it */
		relay.active = true;
		pg_atomic_write_u32(&relay.slot->look, 1);
		SetLatch(MyLatch);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(relay.turn);
	if (events != NIL)
		sn_wait_confirmed(relay.read_end);
	pgstat_report_stat(false);
	return events;
}

/* push_events: hand what was read to the core, in order */
static void
push_events(List *events)
{
	ListCell   *lc;

	foreach(lc, events)
	{
		SnRelayEvent *e = lfirst(lc);

		if (!sn_relay_core_push(relay.core, e->lane, e->next_pos, &e->event))
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("The relay could not take another event.")));
		if (e->next_pos != SN_REDRIVEN)
			relay.read_pos[e->lane] = e->next_pos;
	}
}

/* publish_stats: what the views show of this process */
static void
publish_stats(void)
{
	SnRelaySlot *slot = relay.slot;
	SnRelayCoreStats stats;
	TimestampTz now = GetCurrentTimestamp();

	total_stats(&stats);
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (stats.acked != slot->acked)
		slot->last_ack_at = now;
	if (stats.errors != slot->errors)
	{
		slot->last_error_at = now;
		strlcpy(slot->last_error, stats.last_error, SN_ERROR_LEN);
	}
	slot->inflight = stats.inflight;
	slot->breaker = stats.breaker;
	slot->sent = stats.sent;
	slot->acked = stats.acked;
	slot->errors = stats.errors;
	LWLockRelease(&sn_shared()->lock);

	if (stats.errors > relay.logged_errors &&
		(relay.logged_errors == 0 || now_ms() - relay.logged_at > LOG_EVERY_MS))
	{
		ereport(LOG,
				(errmsg("sentinai relay: %s", stats.last_error),
				 errdetail("%llu errors since the process started; the breaker is %s.",
						   (unsigned long long) stats.errors,
						   sn_breaker_name(stats.breaker))));
		relay.logged_errors = stats.errors;
		relay.logged_at = now_ms();
	}
}

/* sleep_until_woken: by the sequencer, the broker, a signal or the clock */
static void
sleep_until_woken(int64 timeout)
{
	WaitEventSet *events = relay.events;
	int64		due = relay.core != NULL ? marks_due() : -1;
	WaitEvent	event;

	if (timeout < 0 || timeout > MAX_SLEEP_MS)
		timeout = MAX_SLEEP_MS;
	if (due >= 0)
		timeout = Min(timeout, due);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (events != NULL)
	{
		if (sn_relay_core_waits(relay.core) && has_room())
		{
			events = relay.latch_only;
			timeout = Min(timeout, ANSWERS_MS);
		}
		(void) WaitEventSetWait(events, timeout, &event, 1,
								sn_wait_event("SentinaiRelay"));
	}
	else
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, sn_wait_event("SentinaiRelay"));
	ResetLatch(MyLatch);
}

/*
 * last_turn: before the connection is closed, take the answers to what was
 * sent and store the positions, so that little is sent twice.
 */
static void
last_turn(void)
{
	if (relay.core == NULL || relay.sub_id == 0)
		return;
	sn_relay_core_settle(relay.core, now_ms());
	(void) database_turn(true);
	publish_stats();
}

/* stand_by: leave the broker alone until the switch says otherwise */
static void
stand_by(void)
{
	last_turn();
	close_core();
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	relay.slot->inflight = 0;
	relay.slot->breaker = SN_BREAKER_CLOSED;
	LWLockRelease(&sn_shared()->lock);
}

/* reload: settings changed; the connection is made anew with them */
static void
reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	sn_require_sync_commit();
	last_turn();
	close_core();
	if (relay.workers != sn_relay_workers)
		relay.leave = true;
}

/* one_turn: returns how long there is nothing to do, -1 for "no end" */
static int64
one_turn(void)
{
	int64		wait;

	MemoryContextReset(relay.turn);
	pgstat_report_activity(STATE_RUNNING, "relaying");
	if (relay.core == NULL && !relay.paused)
		open_core();
	if (relay.sub_id == 0 || needs_database())
	{
		List	   *events = database_turn(false);

		if (relay.paused && relay.core != NULL)
			stand_by();
		if (relay.core == NULL && !relay.paused)
			return 0;			/* just resumed: connect */
		if (events != NIL && !relay.leave)
		{
			SN_FAULT(relay_send);
			push_events(events);
		}
	}
	if (relay.leave || relay.core == NULL)
		return relay.held_off ? HELD_OFF_MS : -1;
	wait = sn_relay_core_turn(relay.core, now_ms());
	take_progress();
	publish_stats();
	if (relay.held_off)
		return HELD_OFF_MS;
	return needs_database() ? 0 : wait;
}

/* start: what a background worker does first */
static void
start(Datum arg)
{
	Oid			dboid;

	relay.index = DatumGetInt32(arg);
	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	sn_connect_worker(dboid, "sentinai relay");
	sn_require_sync_commit();
	StartTransactionCommand();
	strlcpy(relay.database, get_database_name(MyDatabaseId), NAMEDATALEN);
	CommitTransactionCommand();
	relay.workers = Max(sn_relay_workers, 1);
	relay.turn = AllocSetContextCreate(TopMemoryContext, "sentinai relay turn",
									   TURN_MEMORY, TURN_MEMORY,
									   ALLOCSET_DEFAULT_MAXSIZE);
	take_slot();
}

/* sn_relay_main: the life of a relay process */
void
sn_relay_main(Datum arg)
{
	start(arg);
	while (!relay.leave)
	{
		int64		wait;

		if (ProcDiePending)
		{
			HOLD_INTERRUPTS();
			last_turn();
			RESUME_INTERRUPTS();
		}
		CHECK_FOR_INTERRUPTS();
		(void) sn_watch_standbys();
		if (ConfigReloadPending)
			reload();
		if (sn_database()->vacate_until > sn_now())
			break;
		wait = relay.leave ? -1 : one_turn();
		if (wait != 0 && !relay.leave)
			sleep_until_woken(wait);
	}
	proc_exit(0);
}
