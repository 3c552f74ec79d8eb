/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * hold.c
 *		Locks of a tenant's operator that other tenants wait for.
 *
 * A lane has keys of all tenants, and limits or alerts are one table.  Who changes
 * something there has its lock until his transaction ends, as others must not see
 * half of it.  Whoever may operate for every tenant is trusted with that.  For the
 * others it is bounded: a session that sits on such a lock for longer ends, and such
 * a transaction cannot be prepared, as then nobody would have to end it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"

#include "base/guc.h"
#include "store/xact_watch.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"

static TimeoutId timeout;
static bool registered = false;
static SubTransactionId held_in = InvalidSubTransactionId;	/* the first lock was
															 * got there */
static volatile sig_atomic_t expired = false;

/* hold_expired: in a signal handler: end the session, be it idle or not */
static void
hold_expired(void)
{
	expired = true;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* refuse_prepare: nobody would end it */
static void
refuse_prepare(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot PREPARE a transaction that holds what other tenants wait for"),
			 errdetail("It has dealt with dead letters, events or settings of a tenant, and the caller may not operate for every tenant."),
			 errhint("Use COMMIT.")));
}

/* hold_ends: the locks are gone */
static void
hold_ends(void)
{
	disable_timeout(timeout, false);
	held_in = InvalidSubTransactionId;
}

/* hold_subxact_end: the first lock was got in it, or in one that is part of it */
static void
hold_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && held_in >= subid)
		hold_ends();
}

static void
hold_xact_end(XactEvent event)
{
	if (held_in == InvalidSubTransactionId)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		refuse_prepare();
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	hold_ends();
	if (expired)
		ereport(LOG,
				(errmsg("transaction was open for longer than sentinai.operator_timeout, while other tenants waited for what it held")));
	expired = false;
}

static SnXactWatch watch = {.end = hold_xact_end,.sub_end = hold_subxact_end};

/*
 * sn_hold_briefly: the caller has got a lock that other tenants may wait for.  His
 * transaction has to end within sentinai.operator_timeout from now on, unless he may
 * operate for every tenant.
 */
void
sn_hold_briefly(void)
{
	if (held_in != InvalidSubTransactionId || sn_operator_timeout == 0 || sn_may(SN_RIGHT_OPERATE, NULL))
		return;
	if (!registered)
		timeout = RegisterTimeout(USER_TIMEOUT, hold_expired);
	registered = true;
	sn_watch_xacts(&watch);
	held_in = GetCurrentSubTransactionId();
	enable_timeout_after(timeout, sn_operator_timeout);
}
