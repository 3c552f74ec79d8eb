/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * watch.c
 *		Who wants to know that a table has changed.
 *
 * The server takes ten callbacks about relations in a process, some of which
 * are its own, and ends the process that asks for one more.  We have as many
 * caches, so all of them share one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"

#include "store/store.h"

#define WATCHERS_MAX 32

static RelcacheCallbackFunction watchers[WATCHERS_MAX];
static int	nwatchers = 0;

/* tell_watchers: a table has changed, or any */
static void
tell_watchers(Datum arg, Oid relid)
{
	int			i;

	for (i = 0; i < nwatchers; i++)
		watchers[i] (arg, relid);
}

/*
 * sn_watch_relations: call a function whenever a table has changed, as
 * CacheRegisterRelcacheCallback() does
 */
void
sn_watch_relations(RelcacheCallbackFunction watcher)
{
	if (nwatchers == WATCHERS_MAX)
		elog(FATAL, "too many watchers of relations");
	if (nwatchers == 0)
		CacheRegisterRelcacheCallback(tell_watchers, (Datum) 0);
	watchers[nwatchers++] = watcher;
}

/*
 * sn_known_forget: for a watcher: what is known does not hold if that table has
 * changed.  Before ours is there it may be ours.
 */
void
sn_known_forget(SnKnown *known, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(known->table) ||
		relid == known->table)
		known->valid = *known->nothing = false;
}

/* sn_known_changed: this transaction has changed the table */
void
sn_known_changed(SnKnown *known)
{
	CacheInvalidateRelcacheByRelid(sn_rel(known->which));
	CommandCounterIncrement();
	known->valid = *known->nothing = false;
}

/*
 * sn_known_begin: the table is about to be read.  A change while that goes on
 * makes it invalid again, so it is said before.
 */
void
sn_known_begin(SnKnown *known)
{
	known->table = sn_present(known->which) ? sn_rel(known->which) : InvalidOid;
	known->valid = true;
}
