/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_here.c
 *		Settings of the session for a piece of code, and no longer.
 *
 * What a user has set must not change what is done for him.  His setting comes
 * back at AtEOXact_GUC(), and at the end of the (sub)transaction in any case.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/set_here.h"

/* sn_set_here: a setting, since NewGUCNestLevel() until AtEOXact_GUC() */
void
sn_set_here(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * sn_name_safely: names in what is parsed from here on are those of PostgreSQL's
 * own.  The result is for AtEOXact_GUC(false, …).
 */
int
sn_name_safely(void)
{
	int			level = NewGUCNestLevel();

	sn_set_here("search_path", "pg_catalog, pg_temp");
	return level;
}
