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
