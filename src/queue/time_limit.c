/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * time_limit.c
 *		limit_time(): how much processor time a piece of work may take.
 *
 * A handler that runs what tenants have written, such as conditions of rules,
 * takes a limit in the savepoint of an event.  So what takes too long is that
 * event's own failure.  Processor time it is, since waiting for a disk or for
 * the processor is nobody's fault.
 *
 * A signal handler looks now and then whether the time is over, and cancels
 * the statement as a person would; again, if the work goes on all the same.
 * There is one limit at a time; it ends with the savepoint or the transaction
 * in which it was set.
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/sqlstate.h"
#include "store/xact_watch.h"

PG_FUNCTION_INFO_V1(sentinai_limit_time);
PG_FUNCTION_INFO_V1(sentinai_time_is_over);

/* Between two looks, in milliseconds */
#define LOOK_MIN 1
#define LOOK_MAX 100

/* What is read and written in a signal handler is volatile */
static struct
{
	TimeoutId	id;
	bool		is_registered;
	struct sigaction cancel;	/* what SIGINT does but for us */
	SubTransactionId subid;		/* where it was set; 0: there is none */
	int			look;			/* so often, in milliseconds */
	volatile int64 until;		/* processor time, in microseconds */
	volatile bool is_over;		/* also of the last one, when it has ended */
	volatile bool is_asked;		/* others want the cancellation that waits, too */
} time_limit;

/* What the process has used, in microseconds */
static int64
processor_time(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64) used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* look_at_time: in a signal handler */
static void
look_at_time(void)
{
	if (processor_time() < time_limit.until)
		return;
	time_limit.is_over = true;
	if (!QueryCancelPending)
		time_limit.is_asked = false;
	QueryCancelPending = true;
	InterruptPending = true;
}

/* note_cancel: SIGINT is how a person cancels, and statement_timeout */
static void
note_cancel(int signo)
{
	time_limit.is_asked = true;
	time_limit.cancel.sa_handler(signo);
}

/* begin_looks: errors that reach the client end all timeouts of the session */
static void
begin_looks(void)
{
	if (!get_timeout_active(time_limit.id))
		enable_timeout_every(time_limit.id,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 time_limit.look),
							 time_limit.look);
}

/* end_limit: a cancellation that came too late for the work hits nobody else */
static void
end_limit(void)
{
	disable_timeout(time_limit.id, false);
	time_limit.subid = InvalidSubTransactionId;
	if (time_limit.is_over && !time_limit.is_asked)
		QueryCancelPending = false;
}

static void
limit_xact_end(XactEvent event)
{
	if (time_limit.subid != InvalidSubTransactionId)
		end_limit();
}

static void
limit_subxact(SubXactEvent event, SubTransactionId subid)
{
	if (time_limit.subid == InvalidSubTransactionId)
		return;
	if (event == SUBXACT_EVENT_START_SUB)
		begin_looks();			/* ROLLBACK TO begins its savepoint anew */
	else if (subid == time_limit.subid)
		end_limit();
}

static SnXactWatch watch = {.end = limit_xact_end,.sub_end = limit_subxact};

/* watch_cancels: unless this process takes none */
static void
watch_cancels(void)
{
	struct sigaction act;

	sigaction(SIGINT, NULL, &time_limit.cancel);
	if (time_limit.cancel.sa_handler == SIG_IGN ||
		time_limit.cancel.sa_handler == SIG_DFL)
		return;
	act = time_limit.cancel;
	act.sa_handler = note_cancel;
	sigaction(SIGINT, &act, NULL);
}

static void
register_limit(void)
{
	if (time_limit.is_registered)
		return;
	time_limit.id = RegisterTimeout(USER_TIMEOUT, look_at_time);
	sn_watch_xacts(&watch);
	watch_cancels();
	time_limit.is_registered = true;
}

/* limit_time(milliseconds int) returns void */
Datum
sentinai_limit_time(PG_FUNCTION_ARGS)
{
	int			milliseconds;

	SN_REQUIRE_ARG(0, "milliseconds");
	milliseconds = PG_GETARG_INT32(0);
	if (milliseconds < 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("milliseconds must be more than 0")));
	register_limit();
	if (time_limit.subid != InvalidSubTransactionId)
		end_limit();
	time_limit.is_over = time_limit.is_asked = false;
	time_limit.until = processor_time() + (int64) milliseconds * 1000;
	time_limit.subid = GetCurrentSubTransactionId();
	time_limit.look = Max(LOOK_MIN, Min(LOOK_MAX, milliseconds / 10));
	begin_looks();
	PG_RETURN_VOID();
}

/* time_is_over() returns boolean */
Datum
sentinai_time_is_over(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(time_limit.is_over);
}
