/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox_read.c
 *		Scans of the table outbox: the query that outbox_plan.c made, run.
 *
 * It runs as whoever reads outbox, so it shows what that role may read in
 * event_log; for a view that is its owner.
 *
 * An id that the publisher made is not the event's.  Where a condition names
 * ids, the events that were inserted under them are found, too, and shown with
 * the ids they were asked for by: so an ORM finds what it has stored.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "base/set_here.h"
#include "log/outbox.h"
#include "tenancy/gate.h"

#define FETCH_ROWS 100			/* rows fetched at a time */

/* A scan that runs */
typedef struct Reading
{
	char	   *query;
	List	   *parameters;		/* ExprState */
	bool		by_id;			/* the first of them names ids */
	Oid			user;			/* who reads */
	char	   *portal;			/* NULL: not open */
	MemoryContext rows_context;
	HeapTuple	rows[FETCH_ROWS];
	int			nrows;
	int			next;
	bool		ended;
} Reading;

/* begin_outbox_scan: BeginForeignScan */
static void
begin_outbox_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Reading    *reading = palloc0(sizeof(Reading));

	reading->query = strVal(linitial(plan->fdw_private));
	reading->parameters = ExecInitExprList(plan->fdw_exprs,
										   (PlanState *) node);
	reading->by_id = intVal(lsecond(plan->fdw_private)) != 0;
	reading->user = sn_reads_for(node);
	if (!OidIsValid(reading->user))
		reading->user = GetUserId();
	reading->rows_context =
		AllocSetContextCreate(node->ss.ps.state->es_query_cxt,
							  "sentinai outbox scan", ALLOCSET_DEFAULT_SIZES);
	node->fdw_state = reading;
}

/*
 * find_given: which events were inserted under ids.  The owner of outbox looks
 * that up, for whoever reads; what is read of the events is up to their rights.
 */
static void
find_given(Oid owner, Datum ids, bool none, Datum *found, char *nulls)
{
	Oid			type = UUIDARRAYOID;
	Oid			user;
	int			context;
	bool		isnull[OUTBOX_GIVEN];
	int			i;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args("select pg_catalog.array_agg(given), pg_catalog.array_agg(event_id)"
							  " from " SN_SCHEMA ".outbox_given($1)",
							  1, &type, &ids, none ? "n" : NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up ids of outbox");
	for (i = 0; i < OUTBOX_GIVEN; i++)
	{
		found[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								 i + 1, &isnull[i]);
		nulls[i] = isnull[i] ? 'n' : ' ';
	}
	SetUserIdAndSecContext(user, context);
}

/* The values that a scan's parameters have now, and room for those found */
typedef struct Values
{
	int			n;
	Datum	   *values;
	char	   *nulls;
	Oid		   *types;
} Values;

/*
 * compute: the values, as whoever asks and not as whoever reads.  The ids come
 * first, and room for their events' is left behind them.
 */
static void
compute(ForeignScanState *node, Reading *reading, Values *v)
{
	int			room = list_length(reading->parameters) + OUTBOX_GIVEN;
	ListCell   *lc;

	v->n = 0;
	v->values = palloc0(sizeof(Datum) * room);
	v->nulls = palloc0(room);
	v->types = palloc0(sizeof(Oid) * room);
	foreach(lc, reading->parameters)
	{
		ExprState  *state = lfirst(lc);
		bool		isnull;

		v->types[v->n] = exprType((Node *) state->expr);
		v->values[v->n] = ExecEvalExpr(state, node->ss.ps.ps_ExprContext,
									   &isnull);
		v->nulls[v->n] = isnull ? 'n' : ' ';
		if (v->n++ == 0 && reading->by_id)
			v->types[v->n++] = UUIDARRAYOID;
	}
}

/* open_portal: with these values */
static void
open_portal(ForeignScanState *node, Reading *reading, Values *v)
{
	int			level;

	if (reading->by_id)
		find_given(node->ss.ss_currentRelation->rd_rel->relowner,
				   v->values[0], v->nulls[0] == 'n', v->values, v->nulls);
	level = sn_name_safely();
	reading->portal =
		MemoryContextStrdup(GetMemoryChunkContext(reading),
							SPI_cursor_open_with_args(NULL, reading->query,
													  v->n, v->types,
													  v->values, v->nulls,
													  true,
													  CURSOR_OPT_FAST_PLAN)->name);
	AtEOXact_GUC(true, level);
}

/* find_portal: what a scan reads from */
static Portal
find_portal(const Reading *reading)
{
	Portal		portal = SPI_cursor_find(reading->portal);

	if (portal == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("the scan of \"outbox\" ended with the savepoint that it began in"),
				 errhint("Fetch the first row before the savepoint, or read the view event_log.")));
	return portal;
}

/* fetch_outbox_rows: the next rows, as whoever reads */
static void
fetch_outbox_rows(ForeignScanState *node)
{
	Reading    *reading = node->fdw_state;
	Values		values = {0};
	Oid			user;
	int			context;
	MemoryContext old;
	int			i;

	MemoryContextReset(reading->rows_context);
	reading->nrows = reading->next = 0;
	if (reading->portal == NULL)
		compute(node, reading, &values);
	/* as whoever the query is for, who may not change who he is meanwhile */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(reading->user,
						   context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (reading->portal == NULL)
		open_portal(node, reading, &values);
	SPI_cursor_fetch(find_portal(reading), true, FETCH_ROWS);
	old = MemoryContextSwitchTo(reading->rows_context);
	for (i = 0; i < SPI_processed; i++)
		reading->rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	MemoryContextSwitchTo(old);
	reading->nrows = SPI_processed;
	reading->ended = SPI_processed < FETCH_ROWS;
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}

/*
 * fetch_for_asker: the same, where another reads for whoever asks, as the owner
 * of a view does: the tenants are those that the one who asks may read
 */
static void
fetch_for_asker(ForeignScanState *node)
{
	Oid			asker = sn_gate_ask_for(sn_gate_asker());

	PG_TRY();
	{
		fetch_outbox_rows(node);
	}
	PG_FINALLY();
	{
		(void) sn_gate_ask_for(asker);
	}
	PG_END_TRY();
}

/* next_row: IterateForeignScan */
static TupleTableSlot *
next_row(ForeignScanState *node)
{
	Reading    *reading = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	if (reading->next == reading->nrows && !reading->ended)
	{
		ExecClearTuple(slot);
		if (reading->user == GetUserId() || !sn_gate_asks())
			fetch_outbox_rows(node);
		else
			fetch_for_asker(node);
	}
	if (reading->next == reading->nrows)
		return ExecClearTuple(slot);
	ExecForceStoreHeapTuple(reading->rows[reading->next++], slot, false);
	return slot;
}

/* end_scan: EndForeignScan, and before it begins again */
static void
end_scan(ForeignScanState *node)
{
	Reading    *reading = node->fdw_state;
	Portal		portal;

	if (reading == NULL)
		return;
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	if (reading->portal != NULL)
	{
		SPI_connect();
		portal = SPI_cursor_find(reading->portal);
		if (portal != NULL)
			SPI_cursor_close(portal);
		SPI_finish();
	}
	reading->portal = NULL;
	reading->nrows = reading->next = 0;
	reading->ended = false;
}

/* explain_scan: ExplainForeignScan */
static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

	if (es->verbose)
		ExplainPropertyText("Query", strVal(linitial(plan->fdw_private)), es);
}

/* sn_outbox_read: the part of the wrapper that runs scans */
void
sn_outbox_read(FdwRoutine *routine)
{
	routine->BeginForeignScan = begin_outbox_scan;
	routine->IterateForeignScan = next_row;
	routine->ReScanForeignScan = end_scan;
	routine->EndForeignScan = end_scan;
	routine->ExplainForeignScan = explain_scan;
}
