/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sequencer_main.c
 *		The main loop of the sequencer process, one in each database.
 *
 * Each turn, and each step of maintenance, is a transaction of its own, guarded
 * so that an error ends it and neither the process nor anything else it does:
 * what failed waits longer and longer before it is tried again, the rest goes
 * on, and stat_info tells (failure.c).  The process leaves with code 0 when it has no
 * business here (no extension, another sequencer, a database that somebody
 * wants to have to himself): the launcher starts it again when it has.
 *
 * A turn holds the extension's lock as a reader, tried and never waited for:
 * DROP EXTENSION takes it first of all, so the two cannot wait for each other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "base/pin.h"
#include "process/pace.h"
#include "process/sequencer_main.h"
#include "queue/backlog_limit.h"
#include "relay/relay_row.h"
#include "sequencer/sequencer.h"
#include "sequencer/tracks.h"
#include "shared/failure.h"
#include "shared/shmem.h"
#include "sla/deadline.h"
#include "store/owner.h"
#include "store/store.h"
#include "upkeep/maintenance.h"

#define RETRY_SOON 10			/* ms until a lock that was taken is tried again */
#define BACKOFF_MIN 1000		/* ms after an error of a round */
#define BACKOFF_MAX 30000
#define STEP_BACKOFF_MAX 600000 /* ms after one of a step of maintenance */
#define STEP_LOCK_TIMEOUT "100ms"	/* so long a step may keep rounds waiting */
#define WATCH_INTERVAL 1000		/* ms between two looks at backlogs with a limit */
#define WATCH_SHARE 10			/* and so many times what either look takes */
#define RELIEF_INTERVAL 1000	/* ms between two looks at tracks that are shared */
#define REPEAT_LOG (60 * USECS_PER_SEC) /* of the same error */

typedef enum Outcome
{
	TURN_DONE,
	TURN_TAKEN,					/* a lock was taken: again soon */
	TURN_WAIT,					/* nothing may be done here yet */
	TURN_GONE					/* the extension is not here */
} Outcome;

/* Something that is done again and again, and may fail each time */
typedef struct Job
{
	const char *name;
	bool		unsure;			/* it may be known as failing */
	int			backoff;		/* ms; 0: it went well the last time */
	TimestampTz not_before;		/* not tried again before this time */
	int			last_error;		/* its SQLSTATE and time of logging */
	TimestampTz last_logged;
} Job;

static Job	round_job = {"rounds", true};
static Job	step_jobs[SN_MAX_STEPS];
static Job	watch_job = {"backlog limits", true};
static Job	relief_job = {"shared tracks", true};
static Job	relays_job = {"relays", true};
static Job	sla_job = {"deadlines", true};
static SnDatabase *my_db = NULL;
static uint64 passed = 0;		/* SnDatabase.commits before the last turn that
								 * did what there was to do */
static SnPace pace;				/* of turns */
static TimestampTz next_maintenance = 0;
static int	next_step = 0;		/* of the maintenance that is due */
static TimestampTz next_watch = 0;	/* when backlogs are looked at again */
static TimestampTz watch_took = 0;	/* us, of the look at hand */
static TimestampTz next_relief = 0; /* when shared tracks are looked at again */
static TimestampTz next_sla = 0;	/* when deadlines are looked for again */
static bool pass_again = false; /* settings changed in the midst of it */

/* detach_sequencer: others no longer count on this process */
static void
detach_sequencer(int code, Datum arg)
{
	SnShared   *s = sn_shared();

	sn_round_leave();
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	if (my_db->sequencer_pid == MyProcPid)
	{
		my_db->sequencer_pid = 0;
		my_db->sequencer_procno = -1;
	}
	LWLockRelease(&s->lock);
	sn_wake_launcher();
}

/*
 * attach_sequencer: become the sequencer of this database; false if there is
 * one
 */
static bool
attach_sequencer(void)
{
	SnShared   *s = sn_shared();
	bool		alone;

	my_db = sn_database();
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	alone = my_db->sequencer_pid == 0;
	if (alone)
	{
		my_db->sequencer_pid = MyProcPid;
		my_db->sequencer_procno = sn_my_procno();
	}
	LWLockRelease(&s->lock);
	if (alone)
	{
		before_shmem_exit(detach_sequencer, (Datum) 0);
		pg_atomic_write_u32(&my_db->relays_changed, 1);
		sn_wake_launcher();		/* relays may start now */
	}
	return alone;
}

/*
 * pin_worker_settings: a lost round is taken again, so nothing here waits for
 * the disk; and none is late for long because of a lock.
 */
static void
pin_worker_settings(void)
{
	sn_pin("synchronous_commit", "off");
	sn_pin("lock_timeout", "1s");
}

/*
 * in_use: whether this database may be written to.  One that nobody has used
 * here may just be being restored; that something was published through us
 * shows that it is not, and so does that the whole cluster is a copy.
 */
static bool
in_use(void)
{
	if (sn_node_active())
		return true;
	if (sn_node_copied())
	{
		(void) sn_node_activate();
		return true;
	}
	return !sn_node_moved() && pg_atomic_read_u64(&my_db->commits) !=
		pg_atomic_read_u64(&my_db->commits_before);
}

/* begin_turn: start a transaction and see whether there is anything to do */
static Outcome
begin_turn(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	switch (sn_hold_extension())
	{
		case SN_HOLD_GONE:
			return TURN_GONE;
		case SN_HOLD_BUSY:
			return TURN_TAKEN;
		case SN_HOLD_TAKEN:
			break;
	}
	sn_work_as_owner();
	return in_use() ? TURN_DONE : TURN_WAIT;
}

/* take_turn: a round, if there is anything to sequence */
static Outcome
take_turn(void)
{
	TimestampTz now = sn_now();
	uint64		commits = pg_atomic_read_u64(&my_db->commits);
	SnRound		round = {0, 0};
	Outcome		outcome;

	outcome = begin_turn();
	if (outcome == TURN_DONE && !sn_round_take(&round))
		outcome = TURN_TAKEN;
	CommitTransactionCommand();
	sn_round_wake();
	sn_pace_round(&pace, round.events, now, sn_now() - now,
				  sn_round_interval * INT64CONST(1000));
	if (outcome != TURN_TAKEN)
		passed = commits;
	pgstat_report_stat(false);
	return outcome;
}

/* log_error: report it, but the same one once a minute only */
static void
log_error(Job *job)
{
	TimestampTz now = sn_now();
	int			code = geterrcode();

	if (code == job->last_error && now - job->last_logged < REPEAT_LOG)
		return;
	EmitErrorReport();
	job->last_error = code;
	job->last_logged = now;
}

/* back_off: from a job that has failed, as long again as the last time */
static void
back_off(Job *job, int least, int most)
{
	job->backoff = Min(Max(job->backoff * 2, least), Max(least, most));
	job->not_before = TimestampTzPlusMilliseconds(sn_now(), job->backoff);
}

/*
 * recover_from_error: from an error, wherever it came up: a step may have been
 * in a subtransaction, or in no transaction at all.
 */
static void
recover_from_error(Job *job, MemoryContext context, int least, int most)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	log_error(job);
	AbortOutOfAnyTransaction();
	LWLockReleaseAll();
	MemoryContextSwitchTo(context);
	FlushErrorState();
	back_off(job, least, most);
	sn_failure_note(job->name, error,
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												job->backoff));
	job->unsure = true;
	RESUME_INTERRUPTS();
}

/* done: a job went well, perhaps for the first time in this process */
static void
done(Job *job)
{
	if (job->unsure)
		sn_failure_over(job->name);
	job->unsure = false;
}

/* guarded: do something of which an error must not end the process */
static Outcome
guarded(Outcome (*turn) (void), Job *job, int least, int most)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Outcome outcome = TURN_WAIT;

	PG_TRY();
	{
		outcome = turn();
		job->backoff = 0;
		if (outcome == TURN_DONE)
			done(job);
	}
	PG_CATCH();
	{
		recover_from_error(job, context, least, most);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return outcome;
}

/* maintain: the step of maintenance that comes next */
static Outcome
maintain(void)
{
	int			step = next_step++; /* an error goes on with the next one */
	Outcome		outcome = begin_turn();
	bool		more = false;

	if (outcome == TURN_DONE)
	{
		(void) set_config_option("lock_timeout", STEP_LOCK_TIMEOUT, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
		PushActiveSnapshot(GetTransactionSnapshot());
		more = sn_maintenance_steps[step].run();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	if (more)
		next_step = step;
	return outcome;
}

/* maintain_if_due: a step at a time, so that rounds go on in between */
static void
maintain_if_due(void)
{
	int			interval = sn_maintenance_interval * 1000;
	Job		   *job = &step_jobs[next_step];

	if (next_maintenance > sn_now())
		return;
	if (next_step == 0)			/* what a prepared transaction did is not told */
		pg_atomic_write_u32(&my_db->relays_changed, 1);
	job->name = sn_maintenance_steps[next_step].name;
	job->unsure = true;			/* maintain() may have failed in it */
	if (job->not_before > sn_now())
		next_step++;
	else
	{
		pgstat_report_activity(STATE_RUNNING, "maintaining");
		(void) guarded(maintain, job, interval, STEP_BACKOFF_MAX);
	}
	if (next_step < sn_maintenance_nsteps)
		return;
	next_step = 0;
	next_maintenance = pass_again ? sn_now() :
		TimestampTzPlusMilliseconds(sn_now(), interval);
	pass_again = false;
}

/* step_turn: a step of something that may have more of them, in a transaction */
static Outcome
step_turn(bool (*step) (void), bool *more)
{
	Outcome		outcome = begin_turn();

	*more = false;
	if (outcome == TURN_DONE)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		*more = step();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	return outcome;
}

/* watch_backlogs: a step of looking at them */
static Outcome
watch_backlogs(void)
{
	TimestampTz began = sn_now();
	bool		more;
	Outcome		outcome = step_turn(sn_backlog_watch, &more);

	watch_took += sn_now() - began;
	next_watch = sn_now();
	if (!more)
	{
		next_watch += Max(WATCH_INTERVAL * INT64CONST(1000),
						  WATCH_SHARE * watch_took);
		watch_took = 0;
	}
	return outcome;
}

/* watch_if_due: a step at a time, so that rounds go on in between */
static void
watch_if_due(void)
{
	if (!sn_backlogs_are_watched() || next_watch > sn_now() ||
		watch_job.not_before > sn_now())
		return;
	(void) guarded(watch_backlogs, &watch_job, BACKOFF_MIN, BACKOFF_MAX);
}

/* relieve_tracks: a look at tracks that tenants share */
static Outcome
relieve_tracks(void)
{
	TimestampTz began = sn_now();
	bool		more;
	Outcome		outcome = step_turn(sn_tracks_relieve, &more);

	next_relief = sn_now();
	if (!more)
		next_relief += Max(RELIEF_INTERVAL * INT64CONST(1000),
						   WATCH_SHARE * (sn_now() - began));
	return outcome;
}

/* relieve_if_due: where tenants share a track */
static void
relieve_if_due(void)
{
	if (!sn_tracks_shared() || next_relief > sn_now() ||
		relief_job.not_before > sn_now())
		return;
	(void) guarded(relieve_tracks, &relief_job, BACKOFF_MIN, BACKOFF_MAX);
}

/* tell_relays: which relays the launcher shall have running */
static Outcome
tell_relays(void)
{
	Outcome		outcome;

	pg_atomic_write_u32(&my_db->relays_changed, 0);
	outcome = begin_turn();
	if (outcome == TURN_DONE)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		sn_relays_tell();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	return outcome;
}

/* tell_relays_if_due: when they have changed, or may have */
static void
tell_relays_if_due(void)
{
	if (pg_atomic_read_u32(&my_db->relays_changed) == 0 ||
		relays_job.not_before > sn_now() ||
		guarded(tell_relays, &relays_job, BACKOFF_MIN, BACKOFF_MAX) == TURN_DONE)
		return;
	pg_atomic_write_u32(&my_db->relays_changed, 1);
	relays_job.not_before =
		Max(relays_job.not_before,
			TimestampTzPlusMilliseconds(sn_now(), BACKOFF_MIN));
}

/* scan_deadlines: a step of looking for those that have come */
static Outcome
scan_deadlines(void)
{
	bool		more;
	Outcome		outcome = step_turn(sn_sla_step, &more);

	next_sla = sn_now();
	if (!more)
		next_sla += sn_sla_interval * INT64CONST(1000000);
	return outcome;
}

/* scan_if_due: a step at a time, so that rounds go on in between */
static void
scan_if_due(void)
{
	if (sn_sla_interval == 0 || next_sla > sn_now() ||
		sla_job.not_before > sn_now())
		return;
	(void) guarded(scan_deadlines, &sla_job, BACKOFF_MIN, BACKOFF_MAX);
}

/* forgive: settings changed, perhaps for the better: try everything again */
static void
forgive(void)
{
	int			i;

	round_job.backoff = 0;
	round_job.not_before = 0;
	sla_job.not_before = next_sla = 0;
	for (i = 0; i < SN_MAX_STEPS; i++)
	{
		step_jobs[i].backoff = 0;
		step_jobs[i].not_before = 0;
	}
	next_maintenance = Min(next_maintenance,
						   TimestampTzPlusMilliseconds(sn_now(),
													   sn_maintenance_interval * 1000));
	pass_again = next_step > 0; /* steps that are over knew the old ones */
}

/*
 * exit_sequencer: end the process; the launcher knows whether to start another
 */
static void
exit_sequencer(void)
{
	pgstat_report_stat(true);
	proc_exit(0);
}

/* someone_wants_us_out: whether the database is about to be dropped or such */
static bool
someone_wants_us_out(void)
{
	return my_db->vacate_until > sn_now();
}

/* sleep_until_latch: sleep; a set latch ends it only when it may */
static void
sleep_until_latch(TimestampTz time, bool latch)
{
	long		ms = TimestampDifferenceMilliseconds(sn_now(), time);
	int			events = WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

	if (latch)
		events |= WL_LATCH_SET;
	if (ms <= 0)
		return;
	(void) WaitLatch(MyLatch, events, ms, sn_wait_event("SentinaiSequencer"));
}

/* next_sequencer_turn: when a turn is due if nobody wakes us */
static TimestampTz
next_sequencer_turn(void)
{
	TimestampTz due = sn_round_next_due();	/* by the wall clock */
	TimestampTz nap = TimestampTzPlusMilliseconds(pace.began,
												  sn_sequencer_naptime);

	nap = Min(nap, next_maintenance);
	if (sn_backlogs_are_watched())
		nap = Min(nap, Max(next_watch, watch_job.not_before));
	if (sn_tracks_shared())
		nap = Min(nap, Max(next_relief, relief_job.not_before));
	if (pg_atomic_read_u32(&my_db->relays_changed) != 0)
		nap = Min(nap, relays_job.not_before);
	if (sn_sla_interval > 0)
		nap = Min(nap, Max(next_sla, sla_job.not_before));
	if (TIMESTAMP_NOT_FINITE(due))
		return nap;
	return Min(due - GetCurrentTimestamp() + sn_now(), nap);
}

/*
 * wait_for_turn: sleep until there is something to do.  Under load the latch
 * stays set, which makes it cheap for those who set it.  A pause that is long
 * because nobody waits is slept in pieces, so that who comes to wait is seen.
 */
static void
wait_for_turn(void)
{
	for (;;)
	{
		TimestampTz now = sn_now();
		bool		work = pg_atomic_read_u64(&my_db->commits) != passed;
		TimestampTz next = !work ? 0 : pace.began +
			sn_pace_pause(&pace, sn_round_awaited(passed),
						  sn_round_interval * INT64CONST(1000));

		if (round_job.not_before > now && next_maintenance > now)
			sleep_until_latch(Min(round_job.not_before, next_maintenance),
							  true);
		else if (round_job.not_before > now)
			return;
		else if (next > now)
			sleep_until_latch(Min(next, now + sn_round_interval * 1000), false);
		else if (work || next_sequencer_turn() <= now)
			return;
		else
		{
			pgstat_report_activity(STATE_IDLE, NULL);
			pgstat_report_stat(true);
			sleep_until_latch(next_sequencer_turn(), true);
		}
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			forgive();
		}
		if (someone_wants_us_out())
			exit_sequencer();
	}
}

/* after_turn: what the outcome means for the next one */
static void
after_turn(Outcome outcome)
{
	if (outcome == TURN_GONE && sn_database_leave())
		exit_sequencer();
	if (outcome != TURN_DONE && round_job.backoff == 0)
		round_job.not_before = TimestampTzPlusMilliseconds(sn_now(),
														   RETRY_SOON);
}

/* connect_database: to the one the launcher named, with handlers in place */
static void
connect_database(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	sn_connect_worker(dboid, "sentinai sequencer");
	pin_worker_settings();
}

/* probe: whether the extension is in this database */
static bool
probe(void)
{
	bool		found;

	do
	{
		StartTransactionCommand();
		found = sn_installed();
		CommitTransactionCommand();
	} while (!found && !sn_database_leave());
	return found;
}

/* compare_versions: say it when the objects here are not those of the library */
static void
compare_versions(void)
{
	char	   *installed;

	StartTransactionCommand();
	installed = sn_other_version();
	if (installed != NULL)
		ereport(WARNING,
				(errmsg("extension \"sentinai\" is version %s in database \"%s\", and its library is version %s",
						installed, get_database_name(MyDatabaseId),
						SENTINAI_VERSION),
				 errhint("Run ALTER EXTENSION sentinai UPDATE in that database; if the library is the older one, install the newer.")));
	CommitTransactionCommand();
}

/* sn_sequencer_main: entry point; the argument is the database's OID */
void
sn_sequencer_main(Datum arg)
{
	connect_database(DatumGetObjectId(arg));
	if (!probe() || !attach_sequencer())
		proc_exit(0);
	compare_versions();
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext,
												"sentinai sequencer",
												ALLOCSET_DEFAULT_SIZES));
	ereport(DEBUG1, (errmsg_internal("sentinai sequencer started")));
	for (;;)
	{
		pgstat_report_activity(STATE_RUNNING, "sequencing");
		if (round_job.not_before <= sn_now())
			after_turn(guarded(take_turn, &round_job, BACKOFF_MIN, BACKOFF_MAX));
		maintain_if_due();
		watch_if_due();
		relieve_if_due();
		tell_relays_if_due();
		scan_if_due();
		MemoryContextReset(CurrentMemoryContext);
		wait_for_turn();
	}
}
