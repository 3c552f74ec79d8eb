/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * launcher.c
 *		Keeps a sequencer, and the relays, running in every database that has
 *		the extension.
 *
 * The launcher is connected to no database, so it cannot see who has the
 * extension: a database it meets for the first time gets a sequencer, which
 * leaves when it finds none.  From then on a slot in shared memory tells: the
 * sequencer takes it when it finds the extension, CREATE EXTENSION takes it at
 * its commit, and the sequencer gives it up when the extension is gone.
 *
 * Workers outlive the launcher; a new one knows them by their slots.
 */
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "base/pin.h"
#include "base/sentinai.h"
#include "base/spawn.h"
#include "process/launcher.h"
#include "relay/durable.h"
#include "relay/relay_provider.h"
#include "shared/clock.h"
#include "shared/recovery.h"
#include "shared/shmem.h"
#include "store/xact_watch.h"

#define DELAY_MIN 1000			/* ms until a worker that ended is started again */
#define DELAY_MAX 30000
#define STABLE USECS_PER_SEC	/* a worker that ran longer did not fail */
#define REPEAT_LOG (60 * USECS_PER_SEC)

PG_FUNCTION_INFO_V1(sentinai_wake_launcher);

/* A worker that the launcher has started, or may start */
typedef struct Child
{
	BackgroundWorkerHandle *handle; /* NULL: none started, or it has ended */
	TimestampTz started_at;
	TimestampTz start_after;
	int			delay;			/* ms before the next start */
	bool		full;			/* no worker slot was free for it */
} Child;

/* A relay that create_relay() has made */
typedef struct Relay
{
	int			relay_id;
	bool		told;			/* it is still there */
	Child		workers[SN_MAX_RELAY_WORKERS];
} Relay;

typedef struct Database
{
	Oid			oid;
	bool		known;			/* a worker has looked for the extension */
	bool		listed;			/* was in pg_database just now */
	uint32		calls;			/* as its slot had it */
	Child		sequencer;
	Child		relays[SN_MAX_RELAY_WORKERS];	/* of the server's parameters */
	List	   *others;			/* of Relay */
} Database;

static List *databases = NIL;	/* of Database */
static TimestampTz next_start;	/* when the next delayed start is due */
static TimestampTz last_full = 0;	/* when it was last logged that no worker
									 * slot is free */
static bool wake_at_commit = false;

/*
 * warn_idle: in the transaction that has created the extension, at its end:
 * while an install script runs the server lets no NOTICE through.
 */
static void
warn_idle(void)
{
	if (sn_preloaded() || !OidIsValid(get_extension_oid("sentinai", true)))
		return;
	ereport(NOTICE,
			(errmsg("sentinai has no background workers, because the server has not preloaded its library"),
			 errdetail("Without them claim() sequences the events itself, nothing is relayed, and maintain() has to be called."),
			 errhint("Add \"sentinai\" to \"shared_preload_libraries\" and restart the server.")));
}

/* launcher_xact_end: after CREATE EXTENSION */
static void
launcher_xact_end(XactEvent event)
{
	if (event == XACT_EVENT_PRE_COMMIT && wake_at_commit)
		warn_idle();
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
		sn_database_created();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		wake_at_commit = false;
}

static SnXactWatch watch = {.end = launcher_xact_end};

/* wake_launcher(): the end of the install script */
Datum
sentinai_wake_launcher(PG_FUNCTION_ARGS)
{
	sn_watch_xacts(&watch);
	wake_at_commit = true;
	PG_RETURN_VOID();
}

/* has_ended: whether a worker started before is gone; sets when to try again */
static bool
has_ended(Child *child)
{
	TimestampTz now = sn_now();
	pid_t		pid;

	if (child->handle == NULL)
		return true;
	if (GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED)
		return false;
	pfree(child->handle);
	child->handle = NULL;
	if (now - child->started_at > STABLE)
		child->delay = DELAY_MIN;
	else
		child->delay = Min(Max(child->delay * 2, DELAY_MIN), DELAY_MAX);
	child->start_after = TimestampTzPlusMilliseconds(now, child->delay);
	return true;
}

/* log_full: no worker can be started; say so once a minute */
static void
log_full(void)
{
	TimestampTz now = sn_now();

	if (now - last_full < REPEAT_LOG)
		return;
	last_full = now;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker slot is free for sentinai"),
			 errhint("Increase max_worker_processes.")));
}

/* note_full: whether no worker slot is free, for stat_info */
static void
note_full(bool full)
{
	SnShared   *s = sn_shared();

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	s->workers_full = full;
	LWLockRelease(&s->lock);
}

/* start_child: start a worker, unless it has to wait */
static void
start_child(Child *child, Oid dboid, int relay_id, const char *type,
			const char *function, Datum arg)
{
	TimestampTz now = sn_now();
	BackgroundWorker worker;

	if (child->start_after > now)
	{
		next_start = Min(next_start, child->start_after);
		return;
	}
	sn_worker_form(&worker, type, function);
	snprintf(worker.bgw_name, BGW_MAXLEN, "%s of database %u", type, dboid);
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = arg;
	memcpy(worker.bgw_extra, &dboid, sizeof(dboid));
	memcpy(worker.bgw_extra + sizeof(dboid), &relay_id, sizeof(relay_id));
	child->started_at = now;
	child->full = !RegisterDynamicBackgroundWorker(&worker, &child->handle);
	note_full(child->full);
	if (child->full)
	{
		child->handle = NULL;
		child->start_after = TimestampTzPlusMilliseconds(now, DELAY_MIN);
		next_start = Min(next_start, child->start_after);
		log_full();
	}
}

/* relay_slot: what a relay has published of itself, or NULL; lock held */
static SnRelaySlot *
relay_slot(Oid dboid, int relay_id, int index)
{
	SnShared   *s = sn_shared();
	int			i;

	Assert(LWLockHeldByMe(&s->lock));
	for (i = 0; i < SN_MAX_RELAYS; i++)
		if (s->relays[i].dboid == dboid &&
			s->relays[i].relay_id == relay_id && s->relays[i].index == index)
			return &s->relays[i];
	return NULL;
}

/* relay_pid: process of a relay as it published it, or 0 */
static int
relay_pid(Oid dboid, int relay_id, int index)
{
	SnRelaySlot *slot;
	int			pid;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	slot = relay_slot(dboid, relay_id, index);
	pid = slot == NULL ? 0 : slot->pid;
	LWLockRelease(&sn_shared()->lock);
	return pid;
}

/*
 * forget_relay: what a relay that is switched off has left for the views.  Its
 * process does that too, unless it was told to end before it knew why.
 */
static void
forget_relay(Oid dboid, int relay_id, int index)
{
	SnRelaySlot *slot;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot = relay_slot(dboid, relay_id, index);
	if (slot != NULL && slot->pid == 0)
		slot->dboid = InvalidOid;
	LWLockRelease(&sn_shared()->lock);
}

/* note_relay: whether a relay finds no free worker slot, for stat_relay */
static void
note_relay(Oid dboid, int relay_id, int index, bool full)
{
	SnDatabase *db = sn_database_of(dboid);
	uint32		bit = (uint32) 1 << index;

	if (relay_id != 0)
	{
		sn_told_full(dboid, relay_id, index, full);
		return;
	}
	if (db == NULL || ((db->relays_full & bit) != 0) == full)
		return;
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (db->dboid == dboid)
		db->relays_full = full ? db->relays_full | bit : db->relays_full & ~bit;
	LWLockRelease(&sn_shared()->lock);
}

/* supervise_relay: have a process of a relay running, or not; true: there is none */
static bool
supervise_relay(Database *database, int relay_id, int index, Child *child,
				bool wanted)
{
	bool		ended = has_ended(child);
	int			pid = relay_pid(database->oid, relay_id, index);

	if (wanted && ended && pid == 0)
		start_child(child, database->oid, relay_id, "sentinai relay",
					"sn_relay_main", Int32GetDatum(index));
	else if (!wanted && !ended)
		TerminateBackgroundWorker(child->handle);
	else if (!wanted && pid != 0 && BackendPidGetProc(pid) != NULL)
		(void) kill(pid, SIGTERM);
	note_relay(database->oid, relay_id, index, wanted && child->full);
	return child->handle == NULL && pid == 0;
}

/* find_other: what is known of a relay, made if it is new */
static Relay *
find_other(Database *database, int relay_id)
{
	Relay	   *relay;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, database->others)
	{
		relay = lfirst(lc);
		if (relay->relay_id == relay_id)
			return relay;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	relay = palloc0(sizeof(Relay));
	relay->relay_id = relay_id;
	database->others = lappend(database->others, relay);
	MemoryContextSwitchTo(old);
	return relay;
}

/* end_others: of relays that were dropped no process stays, and then nothing */
static void
end_others(Database *database)
{
	List	   *gone = NIL;
	ListCell   *lc;
	int			i;

	foreach(lc, database->others)
	{
		Relay	   *relay = lfirst(lc);
		bool		ended = !relay->told;

		for (i = 0; i < SN_MAX_RELAY_WORKERS && !relay->told; i++)
		{
			ended &= supervise_relay(database, relay->relay_id, i,
									 &relay->workers[i], false);
			forget_relay(database->oid, relay->relay_id, i);
		}
		if (ended)
			gone = lappend(gone, relay);
		relay->told = false;
	}
	foreach(lc, gone)
	{
		database->others = list_delete_ptr(database->others, lfirst(lc));
		pfree(lfirst(lc));
	}
	list_free(gone);
}

/* supervise_others: have the relays that the database has made running */
static void
supervise_others(Database *database, bool on)
{
	SnRelayTold told[SN_MAX_TOLD];
	int			n = sn_told_get(database->oid, told);
	int			i;
	int			j;

	for (i = 0; i < n; i++)
	{
		Relay	   *relay = find_other(database, told[i].relay_id);

		relay->told = true;
		for (j = 0; j < SN_MAX_RELAY_WORKERS; j++)
		{
			(void) supervise_relay(database, relay->relay_id, j,
								   &relay->workers[j],
								   on && j < told[i].workers);
			if (j >= told[i].workers)
				forget_relay(database->oid, relay->relay_id, j);
		}
	}
	end_others(database);
}

/* forgive_child: start a worker again at once */
static void
forgive_child(Child *child)
{
	child->delay = DELAY_MIN;
	child->start_after = 0;
}

/* forgive_relays: likewise those of the relays of a database */
static void
forgive_relays(Database *database)
{
	ListCell   *lc;
	int			i;

	for (i = 0; i < SN_MAX_RELAY_WORKERS; i++)
		forgive_child(&database->relays[i]);
	foreach(lc, database->others)
		for (i = 0; i < SN_MAX_RELAY_WORKERS; i++)
			forgive_child(&((Relay *) lfirst(lc))->workers[i]);
}

/* forgive_all_relays: settings changed, perhaps for the better: do not wait */
static void
forgive_all_relays(void)
{
	ListCell   *lc;

	foreach(lc, databases)
		forgive_relays(lfirst(lc));
}

/*
 * heed_calls: workers that had to leave for a command did not fail, however
 * short they were there
 */
static void
heed_calls(Database *database, const SnDatabase *db)
{
	if (database->calls == db->calls)
		return;
	database->calls = db->calls;
	forgive_child(&database->sequencer);
	forgive_relays(database);
}

/* supervise: have in a database what it should have */
static void
supervise(Database *database)
{
	SnDatabase *db = sn_database_of(database->oid);
	bool		vacant = false;
	bool		sequenced = false;
	bool		ended = has_ended(&database->sequencer);
	int			i;

	if (db != NULL)
	{
		vacant = db->vacate_until > sn_now();
		sequenced = db->sequencer_pid != 0;
		heed_calls(database, db);
		if (vacant)
			next_start = Min(next_start, db->vacate_until);
	}
	if (ended && !sequenced && !vacant && (db != NULL || !database->known))
	{
		start_child(&database->sequencer, database->oid, 0,
					"sentinai sequencer", "sn_sequencer_main", ObjectIdGetDatum(database->oid));
		database->known |= database->sequencer.handle != NULL;
	}
	for (i = 0; i < SN_MAX_RELAY_WORKERS; i++)
	{
		bool		on = i < sn_relay_workers && sn_provider_wanted() != NULL;

		(void) supervise_relay(database, 0, i, &database->relays[i],
							   on && sequenced && !vacant);
		if (!on)
			forget_relay(database->oid, 0, i);
	}
	supervise_others(database, sequenced && !vacant);
}

/* find_database: what is known of a database, made if it is new */
static Database *
find_database(Oid oid)
{
	Database   *database;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, databases)
	{
		database = lfirst(lc);
		if (database->oid == oid)
			return database;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	database = palloc0(sizeof(Database));
	database->oid = oid;
	databases = lappend(databases, database);
	MemoryContextSwitchTo(old);
	return database;
}

/* list_databases: mark those that people can connect to, templates aside */
static void
list_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate)
			find_database(form->oid)->listed = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* forget_workers: the database of a relay is gone */
static void
forget_workers(Child *workers)
{
	int			i;

	for (i = 0; i < SN_MAX_RELAY_WORKERS; i++)
		if (!has_ended(&workers[i]))
			pfree(workers[i].handle);
}

/* forget_database: it is gone, or nobody may connect to it */
static void
forget_database(Database *database)
{
	ListCell   *lc;

	sn_database_free(database->oid);
	sn_told_forget(database->oid);
	if (!has_ended(&database->sequencer))
		pfree(database->sequencer.handle);
	forget_workers(database->relays);
	foreach(lc, database->others)
		forget_workers(((Relay *) lfirst(lc))->workers);
	list_free_deep(database->others);
	databases = list_delete_ptr(databases, database);
	pfree(database);
}

/* look_after_all: one turn of the launcher */
static void
look_after_all(void)
{
	ListCell   *lc;
	List	   *gone = NIL;

	list_databases();
	next_start = TimestampTzPlusMilliseconds(sn_now(),
											 sn_launcher_naptime * 1000L);
	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);

		if (database->listed)
			supervise(database);
		else
			gone = lappend(gone, database);
		database->listed = false;
	}
	foreach(lc, gone)
		forget_database(lfirst(lc));
	list_free(gone);
}

/* detach_launcher: nobody needs to set our latch any more */
static void
detach_launcher(int code, Datum arg)
{
	SnShared   *s = sn_shared();

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	s->launcher_pid = 0;
	s->launcher_procno = -1;
	LWLockRelease(&s->lock);
}

static void
attach_launcher(void)
{
	SnShared   *s = sn_shared();

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	s->launcher_pid = MyProcPid;
	s->launcher_procno = sn_my_procno();
	LWLockRelease(&s->lock);
	before_shmem_exit(detach_launcher, (Datum) 0);
}

/* nap: until something may have to be done */
static void
nap(void)
{
	long		ms = TimestampDifferenceMilliseconds(sn_now(),
													 next_start);

	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(ms, 1), sn_wait_event("SentinaiLauncher"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	(void) sn_watch_standbys();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		forgive_all_relays();
	}
}

/*
 * sn_launcher_main: entry point.  An error ends the process; the postmaster
 * starts it again after a second.
 */
void
sn_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	sn_connect_worker(InvalidOid, "sentinai launcher");
	sn_recovery_finished();
	attach_launcher();
	for (;;)
	{
		pgstat_report_activity(STATE_RUNNING, "looking after the workers");
		look_after_all();
		nap();
	}
}

/* sn_launcher_init: have the postmaster start it; for preloading only */
void
sn_launcher_init(void)
{
	BackgroundWorker worker;

	sn_worker_form(&worker, "sentinai launcher", "sn_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}
