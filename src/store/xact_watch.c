/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * xact_watch.c
 *		Who wants to know how a transaction ends.
 *
 * Whatever this session has noted, remembered or set belongs to a transaction.
 * All who keep such things are told here, the last that came first, as the
 * server does it.  At and after the commit no watcher may raise an error.
 */
#include "postgres.h"

#include "shared/shmem.h"
#include "store/xact_watch.h"

static SnXactWatch *watches = NULL;
static bool ends_are_heard = false;
static bool sub_ends_are_heard = false;

/* tell_end: the server says what becomes of the transaction */
static void
tell_end(XactEvent event, void *arg)
{
	SnXactWatch *watch;

	for (watch = watches; watch != NULL; watch = watch->next)
		watch->end(event);
}

/* tell_sub_end: likewise of a subtransaction */
static void
tell_sub_end(SubXactEvent event, SubTransactionId subid,
			 SubTransactionId parent, void *arg)
{
	SnXactWatch *watch;

	for (watch = watches; watch != NULL; watch = watch->next)
		if (watch->sub_end != NULL)
			watch->sub_end(event, subid);
}

/*
 * sn_watch_xacts: a watcher is told from now on.  It may be said again, so who
 * is about to note something says it each time.  Shared memory comes first: when
 * there is none left, that is an error here, and not at the end.
 */
void
sn_watch_xacts(SnXactWatch *watch)
{
	if (watch->listed)
		return;
	(void) sn_shared();
	if (!ends_are_heard)
		RegisterXactCallback(tell_end, NULL);
	ends_are_heard = true;
	if (!sub_ends_are_heard)
		RegisterSubXactCallback(tell_sub_end, NULL);
	sub_ends_are_heard = true;
	watch->next = watches;
	watch->listed = true;
	watches = watch;
}
