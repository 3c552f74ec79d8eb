/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * owner.c
 *		Work on tables is done as their owner.
 *
 * The owner of a table may put code of his own in the way of who writes to it:
 * an index on an expression, an operator class, a domain.  The workers are
 * superusers and callers are anybody, while the owner may be nobody any more:
 * who installed the extension, and has lost his rights since.  So what runs
 * there runs with his rights, and cannot change the session of who came by.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"

#include "store/owner.h"
#include "store/store.h"
#include "store/xact_watch.h"

static SnCaller worker;			/* who a worker is */
static bool working = false;	/* as the owner, in this transaction */

/* sn_become_role: the owner of something, until sn_become_caller() or an error */
void
sn_become_role(Oid role, SnCaller *caller)
{
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(role,
						   caller->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

/* sn_become_owner: the same of an open table */
void
sn_become_owner(Relation rel, SnCaller *caller)
{
	sn_become_role(rel->rd_rel->relowner, caller);
}

/* sn_become_tables_owner: the same without a table at hand, to read some */
void
sn_become_tables_owner(SnCaller *caller)
{
	Relation	rel = table_open(sn_rel(SN_SUBSCRIPTION), AccessShareLock);

	sn_become_owner(rel, caller);
	table_close(rel, AccessShareLock);
}

/* sn_become_caller: who was there before */
void
sn_become_caller(const SnCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
}

/*
 * stop_working: at the end of a transaction.  An abort has brought the worker
 * back, a commit has not.
 */
static void
stop_working(XactEvent event)
{
	if (working && event == XACT_EVENT_PRE_COMMIT)
		sn_become_caller(&worker);
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_ABORT)
		working = false;
}

static SnXactWatch watch = {.end = stop_working};

/*
 * sn_work_as_owner: for a worker, until its transaction ends.  The tables are
 * there: it holds the extension.
 */
void
sn_work_as_owner(void)
{
	Relation	rel;

	Assert(!working);
	sn_watch_xacts(&watch);
	rel = table_open(sn_rel(SN_SUBSCRIPTION), AccessShareLock);
	sn_become_owner(rel, &worker);
	working = true;
	table_close(rel, AccessShareLock);
}
