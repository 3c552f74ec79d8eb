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
 * the statement as a person would.  There is one limit at a time; it ends with
 * the savepoint or the transaction in which it was set.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/sqlstate.h"

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
	SubTransactionId subid;		/* where it was set; 0: there is none */
	volatile int64 until;		/* processor time, in microseconds */
	volatile bool is_over;		/* also of the last one, when it has ended */
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
	if (time_limit.is_over || processor_time() < time_limit.until)
		return;
	time_limit.is_over = true;
	QueryCancelPending = true;
	InterruptPending = true;
}

/* end_limit: a cancellation that came too late for the work hits nobody else */
static void
end_limit(void)
{
	disable_timeout(time_limit.id, false);
	time_limit.subid = InvalidSubTransactionId;
	if (time_limit.is_over)
		QueryCancelPending = false;
}

static void
limit_xact_end(XactEvent event, void *arg)
{
	if (time_limit.subid != InvalidSubTransactionId)
		end_limit();
}

static void
limit_subxact_end(SubXactEvent event, SubTransactionId subid,
				  SubTransactionId parent, void *arg)
{
	if (subid == time_limit.subid && event != SUBXACT_EVENT_START_SUB)
		end_limit();
}

static void
register_limit(void)
{
	if (time_limit.is_registered)
		return;
	time_limit.id = RegisterTimeout(USER_TIMEOUT, look_at_time);
	RegisterXactCallback(limit_xact_end, NULL);
	RegisterSubXactCallback(limit_subxact_end, NULL);
	time_limit.is_registered = true;
}

/* limit_time(milliseconds int) returns void */
Datum
sentinai_limit_time(PG_FUNCTION_ARGS)
{
	int			milliseconds;
	int			look;

	SN_REQUIRE_ARG(0, "milliseconds");
	milliseconds = PG_GETARG_INT32(0);
	if (milliseconds < 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("milliseconds must be more than 0")));
	register_limit();
	if (time_limit.subid != InvalidSubTransactionId)
		end_limit();
	time_limit.is_over = false;
	time_limit.until = processor_time() + (int64) milliseconds * 1000;
	time_limit.subid = GetCurrentSubTransactionId();
	look = Max(LOOK_MIN, Min(LOOK_MAX, milliseconds / 10));
	enable_timeout_every(time_limit.id,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 look), look);
	PG_RETURN_VOID();
}

/* time_is_over() returns boolean */
Datum
sentinai_time_is_over(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(time_limit.is_over);
}
