/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_main.c
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
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "base/guc.h"
#include "base/json_size.h"
#include "base/pin.h"
#include "relay/durable.h"
#include "relay/relay_process.h"
#include "relay/relay_provider.h"

#define MAX_SLEEP_MS	1000
#define ANSWERS_MS		10		/* so long answers may wait for each other */
#define LOG_EVERY_MS	60000	/* repeated errors are logged so often */
#define CLOSE_MS		2000
#define HELD_OFF_MS		100
#define TURN_MEMORY		(2 * 1024 * 1024)	/* kept from turn to turn */

SnRelayProcess sn_relay;

PGDLLEXPORT void sn_relay_main(Datum arg);

/*
 * log_client: a line of the client library.  Runs on this thread, inside a
 * call to the broker: it must not raise an error, and LOG never does.
 */
static void
log_client(void *arg, int level, const char *facility, const char *text)
{
	int64		now = sn_monotonic_ms();

	if (strcmp(facility, "CONFWARN") == 0)
		level = 7;				/* about properties that we set ourselves */
	if (level <= 4 && sn_relay.client_logged_at != 0 &&
		now - sn_relay.client_logged_at < LOG_EVERY_MS)
		return;
	if (level <= 4)
		sn_relay.client_logged_at = now;
	ereport(level <= 4 ? LOG : DEBUG1,
			(errmsg_internal("%s: %s: %s", sn_relay.title, facility, text)));
}

/* topic_changed: a topic cannot be written any more, or can be again */
static void
topic_changed(const char *topic, const char *error)
{
	if (error != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s: topic \"%s\" cannot be written: %s",
						sn_relay.title, topic, error),
				 errdetail("Its events wait; others go on."),
				 errhint("See sentinai.stat_relay_topic.")));
	else
		ereport(LOG,
				(errmsg("%s: topic \"%s\" is not waited for any more",
						sn_relay.title, topic)));
}

/* make_wait_sets: what wakes the process: its latch alone, or the broker, too */
static void
make_wait_sets(void)
{
	sn_relay.latch_only = sn_wait_event_set(2);
	AddWaitEventToSet(sn_relay.latch_only, WL_LATCH_SET, PGINVALID_SOCKET,
					  MyLatch, NULL);
	AddWaitEventToSet(sn_relay.latch_only, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	sn_relay.events = sn_wait_event_set(3);
	AddWaitEventToSet(sn_relay.events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(sn_relay.events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	AddWaitEventToSet(sn_relay.events, WL_SOCKET_READABLE,
					  sn_relay_core_wake_fd(sn_relay.lanes.core), NULL, NULL);
}

/* open_core: connect with the settings now in force */
static void
open_core(void)
{
	const SnRelaySettings *settings = &sn_relay.settings;
	const SnProvider *provider = settings->provider;
	SnRelayCoreConfig config = {0};
	SnRelayCore *core;
	char		err[SN_ERROR_LEN] = "";

	config.provider = sn_provider_load(provider);
	config.broker.settings = settings->conf;
	config.broker.secret_directory = sn_secret_directory;
	config.broker.client_id = "sentinai-relay";
	config.broker.queue_max_messages = sn_relay_window(settings) + SN_MAX_PARKED;
	config.broker.queue_max_kbytes = sn_relay_buffer + sn_relay_buffer / 2;
	config.broker.log = log_client;
	config.record.format = settings->format;
	config.record.occurred_timestamp = sn_record_timestamp == SN_TIME_OCCURRED;
	config.record.topic_template = settings->topic_template;
	config.record.control_topic = settings->control_topic;
	config.record.dead_letter_topic = settings->dead_letter_topic;
	config.record.database = sn_relay.database;
	config.record.rules = settings->record_options;
	config.lanes = SN_MAX_LANES;
	config.max_events = sn_relay_window(settings);
	config.max_bytes = (size_t) sn_relay_buffer * 1024;
	config.tail = sn_relay_tail(settings);
	config.topic_partitions = sn_topic_partitions;
	config.topic_replication = sn_topic_replication;
	config.breaker_failures = sn_breaker_failures;
	config.breaker_open_ms = (int64) sn_breaker_open_time * 1000;
	config.events_per_second =
		sn_relay_share(settings, settings->limits.events_per_second);
	config.bytes_per_second =
		sn_relay_share(settings, settings->limits.bytes_per_second);
	config.topic_changed = topic_changed;
	sn_relay.max_text = Min(provider->settings->max_record(settings->conf),
							SN_JSON_TEXT_MAX);

	core = sn_relay_core_open(&config, err, sizeof(err));
	if (core == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not set up the connection to the broker: %s",
						err),
				 errhint("See %s.", provider->setting)));
	log_client(NULL, 7, "START", "what is not marked is sent");
	sn_relay.lanes.every = sn_relay.workers;
	sn_relay.lanes.window = config.max_events;
	sn_relay.lanes.max_bytes = config.max_bytes;
	sn_relay.lanes.expires = sn_topic_timeout >= 0;
	sn_relay_lanes_begin(&sn_relay.lanes, core);
	/* the window of the one before is read again */
	(void) pg_atomic_fetch_or_u64(&sn_relay.slot->pending,
								  sn_relay.lanes.owned);
	make_wait_sets();
}

/* total_stats: figures since the process started */
static void
total_stats(SnRelayCoreStats *stats)
{
	sn_relay_core_stats(sn_relay.lanes.core, stats);
	stats->sent += sn_relay.before.sent;
	stats->acked += sn_relay.before.acked;
	stats->errors += sn_relay.before.errors;
	stats->refused += sn_relay.before.refused;
}

/* close_core: what is outstanding is given up, and sent again later */
static void
close_core(void)
{
	SnRelayCore *core = sn_relay.lanes.core;
	SnRelayCoreStats total;

	if (core != NULL)
	{
		total_stats(&total);
		sn_relay.before = total;
		/* what the next connection meets is news again */
		sn_relay.logged_errors = total.errors;
		sn_relay.logged_at = sn_relay.client_logged_at = 0;
	}
	sn_relay.lanes.core = NULL;
	if (sn_relay.events != NULL)
	{
		FreeWaitEventSet(sn_relay.events);
		FreeWaitEventSet(sn_relay.latch_only);
	}
	sn_relay.events = NULL;
	if (core != NULL)
		sn_relay_core_close(core, CLOSE_MS);
}

/*
 * note_end: an error ends this process; the slot keeps what it says, so that the
 * views can tell why there is none
 */
static void
note_end(const ErrorData *error)
{
	SnRelaySlot *slot = sn_relay.slot;
	const char *message = error->message ? error->message : "missing error text";

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot->last_error_at = GetCurrentTimestamp();
	strlcpy(slot->last_error, message, SN_ERROR_LEN);
	LWLockRelease(&sn_shared()->lock);
}

/*
 * on_exit_relay: end the transaction, which may hold locks, give the slot back, stop
 * the client's threads, and only then give up the lanes: outside of a
 * transaction nobody else releases the locks of a session.
 */
static void
on_exit_relay(int code, Datum arg)
{
	SnShared   *s = sn_shared();

	AbortOutOfAnyTransaction();
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	sn_relay.slot->pid = 0;
	sn_relay.slot->procno = -1;
	if (code == 0)
		sn_relay.slot->dboid = InvalidOid;
	LWLockRelease(&s->lock);
	sn_relay.events = NULL;		/* its latch is going away by itself */
	close_core();
	LockReleaseSession(DEFAULT_LOCKMETHOD);
}

/*
 * find_relay_slot: the slot that a process before this one left, one that
 * nobody has, or one that a process of some other place left; lock held
 */
static SnRelaySlot *
find_relay_slot(void)
{
	SnRelaySlot *unused = NULL;
	int			i;

	Assert(LWLockHeldByMeInMode(&sn_shared()->lock, LW_EXCLUSIVE));
	for (i = 0; i < SN_MAX_RELAYS; i++)
	{
		SnRelaySlot *slot = &sn_shared()->relays[i];

		if (slot->pid != 0)
			continue;
		if (slot->dboid == MyDatabaseId &&
			slot->relay_id == sn_relay.relay_id &&
			slot->index == sn_relay.index)
			return slot;
		if (unused == NULL ||
			(unused->dboid != InvalidOid && slot->dboid == InvalidOid))
			unused = slot;
	}
	return unused;
}

/*
 * fill_slot: make a slot this process's.  The last error of the one before it
 * stays in view, with its time.
 */
static void
fill_slot(SnRelaySlot *slot)
{
	SnRelaySlot before = *slot;

	memset(slot, 0, sizeof(SnRelaySlot));
	pg_atomic_init_u64(&slot->pending, 0);
	pg_atomic_init_u32(&slot->look, 0);
	slot->dboid = MyDatabaseId;
	slot->relay_id = sn_relay.relay_id;
	slot->index = sn_relay.index;
	slot->pid = MyProcPid;
	slot->procno = sn_my_procno();
	slot->started_at = GetCurrentTimestamp();
	if (before.dboid == MyDatabaseId && before.relay_id == sn_relay.relay_id &&
		before.index == sn_relay.index)
	{
		slot->last_error_at = before.last_error_at;
		strlcpy(slot->last_error, before.last_error, SN_ERROR_LEN);
	}
	sn_relay.slot = slot;
}

/* sn_relay_take_slot: make this process known to views, sequencer and launcher */
void
sn_relay_take_slot(void)
{
	SnShared   *s = sn_shared();
	SnRelaySlot *slot;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	slot = find_relay_slot();
	if (slot != NULL)
		fill_slot(slot);
	LWLockRelease(&s->lock);
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many relay processes"),
				 errdetail("A server can run at most %d of them.",
						   SN_MAX_RELAYS)));
	before_shmem_exit(on_exit_relay, (Datum) 0);
}

/* sn_relay_show: what the views show of this process */
void
sn_relay_show(const SnRelayCoreStats *stats)
{
	SnRelaySlot *slot = sn_relay.slot;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (stats->acked != slot->acked)
		slot->last_ack_at = now;
	if (stats->errors != slot->errors)
	{
		slot->last_error_at = now;
		strlcpy(slot->last_error, stats->last_error, SN_ERROR_LEN);
	}
	slot->inflight = stats->inflight;
	slot->limited = stats->limited;
	slot->barred = sn_relay.lanes.barred;
	slot->breaker = stats->breaker;
	slot->sent = stats->sent;
	slot->acked = stats->acked;
	slot->errors = stats->errors;
	LWLockRelease(&sn_shared()->lock);
}

/* publish_stats: what is new, for the views and the server's log */
static void
publish_stats(void)
{
	SnRelayCoreStats stats;

	total_stats(&stats);
	sn_relay_show(&stats);
	if (stats.errors > sn_relay.logged_errors &&
		(sn_relay.logged_at == 0 || sn_monotonic_ms() - sn_relay.logged_at > LOG_EVERY_MS))
	{
		ereport(LOG,
				(errmsg("%s: %s", sn_relay.title, stats.last_error),
				 errdetail("%llu errors since the process started; the breaker is %s.",
						   (unsigned long long) stats.errors,
						   sn_breaker_name(stats.breaker))));
		sn_relay.logged_errors = stats.errors;
		sn_relay.logged_at = sn_monotonic_ms();
	}
}

/* sleep_until_woken: by the sequencer, the broker, a signal or the clock */
static void
sleep_until_woken(int64 timeout)
{
	WaitEventSet *events = sn_relay.events;
	int64		due = sn_relay.lanes.core != NULL ? sn_relay_lanes_marks_due(&sn_relay.lanes) : -1;
	WaitEvent	event;

	if (timeout < 0 || timeout > MAX_SLEEP_MS)
		timeout = MAX_SLEEP_MS;
	if (due >= 0)
		timeout = Min(timeout, due);
	if (sn_relay.lanes.barred != 0)
		timeout = Min(timeout, SN_BARRED_MS);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (events != NULL)
	{
		if (sn_relay_core_waits(sn_relay.lanes.core) && sn_relay_lanes_have_room(&sn_relay.lanes))
		{
			events = sn_relay.latch_only;
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
	if (sn_relay.lanes.core == NULL || sn_relay.sub_id == 0)
		return;
	sn_relay_core_settle(sn_relay.lanes.core, sn_monotonic_ms());
	sn_relay_database_turn(true);
	publish_stats();
}

/* stand_by: leave the broker alone until the switch says otherwise */
static void
stand_by(void)
{
	last_turn();
	close_core();
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	sn_relay.slot->inflight = 0;
	sn_relay.slot->limited = false;
	sn_relay.slot->breaker = SN_BREAKER_CLOSED;
	LWLockRelease(&sn_shared()->lock);
}

/*
 * sn_relay_look_at_settings: what create_relay() and alter_relay() say now; false
 * when the relay is gone.  In a transaction.
 */
bool
sn_relay_look_at_settings(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "sentinai relay settings",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		found = sn_relay_settings_of_row(sn_relay.relay_id,
												 &sn_relay.next);

	MemoryContextSwitchTo(old);
	if (sn_relay.next_context != NULL)
		MemoryContextDelete(sn_relay.next_context);
	sn_relay.next_context = context;
	if (found && (sn_relay.settings.name == NULL ||
				  !sn_relay_settings_same(&sn_relay.settings, &sn_relay.next)))
		return true;
	sn_relay.next_context = NULL;
	MemoryContextDelete(context);
	return found;
}

/* adopt: these are the settings from now on */
static void
adopt(SnRelaySettings next, MemoryContext context)
{
	if (sn_relay.settings_context != NULL)
		MemoryContextDelete(sn_relay.settings_context);
	sn_relay.settings_context = context;
	sn_relay.settings = next;
	snprintf(sn_relay.title, sizeof(sn_relay.title), "sentinai relay \"%s\"",
			 text_to_cstring(next.name));
}

/* sn_relay_adopt_settings: go on with those that were found, without a core */
void
sn_relay_adopt_settings(void)
{
	MemoryContext context = sn_relay.next_context;

	sn_relay.next_context = NULL;
	adopt(sn_relay.next, context);
}

/* take_settings: go on with those that were found */
static void
take_settings(void)
{
	SnRelaySettings next = sn_relay.next;
	MemoryContext context = sn_relay.next_context;

	sn_relay.next_context = NULL;	/* the last turn may find newer ones */
	last_turn();
	close_core();
	adopt(next, context);
	if (sn_relay.workers == 0)
		sn_relay.workers = sn_relay.settings.workers;
	else if (sn_relay.workers != sn_relay.settings.workers)
		sn_relay.leave = true;
}

/* keep_settings: keep what the server's parameters say, if they are for us */
static void
keep_settings(void)
{
	MemoryContext old;

	if (sn_relay.relay_id != 0)
		return;
	if (sn_relay.settings_context == NULL)
		sn_relay.settings_context =
			AllocSetContextCreate(TopMemoryContext, "sentinai relay settings",
								  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(sn_relay.settings_context);
	old = MemoryContextSwitchTo(sn_relay.settings_context);
	sn_relay_settings_of_server(&sn_relay.settings);
	MemoryContextSwitchTo(old);
	sn_relay.filtered = false;
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
	keep_settings();
	if (sn_relay.workers != sn_relay.settings.workers)
		sn_relay.leave = true;
}

/* one_turn: returns how long there is nothing to do, -1 for "no end" */
static int64
one_turn(void)
{
	int64		wait;

	MemoryContextReset(sn_relay.turn);
	pgstat_report_activity(STATE_RUNNING, "relaying");
	if (sn_relay.settings.name == NULL)
		sn_relay.lanes.looked_at = 0; /* nothing is known yet */
	else if (sn_relay.settings.provider == NULL)
		sn_relay.leave = true;	/* switched off; the launcher knows, too */
	else if (sn_relay.lanes.core == NULL && !sn_relay.lanes.paused)
		open_core();
	if (sn_relay.leave)
		return -1;
	if (sn_relay.sub_id == 0 || sn_relay_needs_database())
	{
		sn_relay_database_turn(false);

		if (sn_relay.next_context != NULL && !sn_relay.leave)
		{
			take_settings();
			return sn_relay.leave ? -1 : 0;
		}
		if (sn_relay.lanes.paused && sn_relay.lanes.core != NULL)
			stand_by();
		if (sn_relay.lanes.core == NULL && !sn_relay.lanes.paused &&
			sn_relay.settings.name != NULL && !sn_relay.held_off)
			return 0;			/* just resumed: connect */
		if (sn_relay.read != NIL && !sn_relay.leave)
		{
			SN_FAULT(relay_send);
			sn_relay_push_events();
		}
	}
	if (sn_relay.leave || sn_relay.lanes.core == NULL)
		return sn_relay.held_off ? HELD_OFF_MS : -1;
	wait = sn_relay_core_turn(sn_relay.lanes.core, sn_monotonic_ms());
	sn_relay_lanes_progress(&sn_relay.lanes);
	publish_stats();
	if (sn_relay.held_off)
		return HELD_OFF_MS;
	return sn_relay_needs_database() ? 0 : wait;
}

/* start_relay_process: what a background worker does first */
static void
start_relay_process(Datum arg)
{
	Oid			dboid;

	sn_relay.index = DatumGetInt32(arg);
	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	memcpy(&sn_relay.relay_id, MyBgworkerEntry->bgw_extra + sizeof(Oid),
		   sizeof(int));
	sn_relay.sub_id = sn_relay.relay_id;
	strlcpy(sn_relay.title, "sentinai relay", sizeof(sn_relay.title));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	sn_connect_worker(dboid, "sentinai relay");
	sn_require_sync_commit();
	StartTransactionCommand();
	strlcpy(sn_relay.database, get_database_name(MyDatabaseId), NAMEDATALEN);
	CommitTransactionCommand();
	keep_settings();
	sn_relay.workers = sn_relay.settings.workers;
	sn_relay.lanes.host = &sn_relay_database_host;
	sn_relay.lanes.first = sn_relay.index;
	sn_relay.turn = AllocSetContextCreate(TopMemoryContext, "sentinai relay turn",
									   TURN_MEMORY, TURN_MEMORY,
									   ALLOCSET_DEFAULT_MAXSIZE);
	sn_relay_take_slot();
}

/* live: turn after turn, until it is to leave */
static void
live(void)
{
	while (!sn_relay.leave)
	{
		int64		wait;

		if (ProcDiePending)
		{
			/* the server waits for us, and what we end with is a commit */
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
		wait = sn_relay.leave ? -1 : one_turn();
		if (wait != 0 && !sn_relay.leave)
			sleep_until_woken(wait);
	}
}

/* sn_relay_main: the life of a relay process */
void
sn_relay_main(Datum arg)
{
	MemoryContext context = CurrentMemoryContext;

	start_relay_process(arg);
	PG_TRY();
	{
		live();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		note_end(CopyErrorData());
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}
