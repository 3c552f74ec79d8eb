/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * query.c
 *		SQL on the tables of deadlines, as their owner.
 *
 * A deadline changes a few times in its life and is found by an index, so SQL
 * does it: ON CONFLICT and SKIP LOCKED are what is wanted.  Nothing that the
 * session has set changes what a statement means, or how it finds its rows.
 * Planning one takes several times as long as running it, so plans are kept.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "base/set_here.h"
#include "sla/query.h"

/* sn_query_begin: become the owner, with settings that are known */
void
sn_query_begin(SnQuery *query)
{
	query->guc_level = sn_name_safely();
	sn_set_here("enable_seqscan", "off");
	/* a change of this one throws every plan away */
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		sn_set_here("session_replication_role", "origin");
	if (!row_security)			/* an error for an owner who is no superuser */
		sn_set_here("row_security", "on");
	sn_become_tables_owner(&query->caller);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* sn_query_end: what was read is gone */
void
sn_query_end(SnQuery *query)
{
	SPI_finish();
	sn_become_caller(&query->caller);
	AtEOXact_GUC(false, query->guc_level);
}

/*
 * plan_of: the plan of a statement, made when it first runs.  Statements are
 * literals, so an address names one.
 */
static SPIPlanPtr
plan_of(const char *sql, int nargs, const Oid *types)
{
	static struct
	{
		const char *sql;
		SPIPlanPtr	plan;
	}			kept[SN_QUERY_PLANS_MAX];
	SPIPlanPtr	plan;
	int			i;

	for (i = 0; i < SN_QUERY_PLANS_MAX && kept[i].sql != NULL; i++)
		if (kept[i].sql == sql)
			return kept[i].plan;
	plan = SPI_prepare(sql, nargs, unconstify(Oid *, types));
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\"", sql);
	if (i < SN_QUERY_PLANS_MAX && SPI_keepplan(plan) == 0)
	{
		kept[i].sql = sql;
		kept[i].plan = plan;
	}
	return plan;
}

/*
 * sn_query_run: a statement; how many rows it has read or changed.  It is a
 * literal, whose plan is kept.
 */
int
sn_query_run(const char *sql, int nargs, const Oid *types, const Datum *values,
			 const bool *nulls)
{
	char		marks[SN_QUERY_ARGS_MAX + 1];
	int			i;

	Assert(nargs <= SN_QUERY_ARGS_MAX);
	for (i = 0; i < nargs; i++)
		marks[i] = nulls != NULL && nulls[i] ? 'n' : ' ';
	marks[nargs] = '\0';
	if (SPI_execute_plan(plan_of(sql, nargs, types),
						 unconstify(Datum *, values), marks, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	return (int) SPI_processed;
}

/* sn_query_datum: a value that the last statement has read */
Datum
sn_query_datum(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}
