/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tenant_rows.c
 *		The scan that tenant_scan.c plans: the rows of some tenants of a partition,
 *		in no order.
 *
 * First those that the index on the tenant has, each run behind its first event,
 * then the tenants' lone events.  Where every tenant may be read, or more of them
 * than are worth it, all rows are read.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/text.h"
#include "log/event_run.h"
#include "log/log_read.h"
#include "log/tenant_scan.h"
#include "tenancy/gate.h"

/* Which index is read, in this order */
typedef enum Source
{
	BY_TENANT,					/* runs by their first events, and all others */
	LONE,						/* but lone events */
	SOURCES
} Source;

typedef struct TenantRows
{
	CustomScanState css;
	ExprState  *named;			/* the tenant that the query asks for, or NULL */
	MemoryContext context;		/* of the tenants */
	bool		begun;
	text	  **tenants;
	int			ntenants;
	int			next;			/* tenant to be read */
	Source		source;
	Oid			indexes[SOURCES];
	bool		open;			/* the index is being read */
	bool		reading;		/* of the tenant before the next */
	SnScan		scan;
	bool		in_run;
	SnRunReader runs;
	TableScanDesc whole;		/* not NULL: all rows are read */
	TupleTableSlot *whole_slot;
} TenantRows;

/* copy_tenants: those that may be read, which are another's to forget */
static void
copy_tenants(TenantRows *rows, text **tenants)
{
	int			i;

	rows->tenants = palloc(sizeof(text *) * Max(rows->ntenants, 1));
	for (i = 0; i < rows->ntenants; i++)
		rows->tenants[i] = sn_text_copy(tenants[i]);
}

/* get_named: the tenant that the query asks for, if it may be read */
static void
get_named(TenantRows *rows)
{
	ExprContext *econtext = rows->css.ss.ps.ps_ExprContext;
	bool		isnull;
	Datum		value = ExecEvalExprSwitchContext(rows->named, econtext, &isnull);
	text	   *tenant_id;

	rows->ntenants = 0;
	if (isnull)
		return;
	tenant_id = DatumGetTextPP(value);
	rows->ntenants = sn_may(SN_RIGHT_READ, tenant_id);
	copy_tenants(rows, &tenant_id);
}

/* get_tenants: whose rows are read; false: everybody's */
static bool
get_tenants(TenantRows *rows)
{
	Relation	rel = rows->css.ss.ss_currentRelation;
	MemoryContext old = MemoryContextSwitchTo(rows->context);
	text	  **tenants;
	bool		some = true;

	if (rows->named != NULL)
		get_named(rows);
	else
	{
		some = sn_gate_readable(&tenants, &rows->ntenants);
		if (some)
			copy_tenants(rows, tenants);
	}
	MemoryContextSwitchTo(old);
	rows->indexes[BY_TENANT] = sn_find_index(rel, 2, (AttrNumber[])
											 {
												 SN_TENANT_HASH,
												 Anum_log_event_id
											 }, true);
	rows->indexes[LONE] = sn_find_index(rel, 3, (AttrNumber[])
										{
											SN_TENANT_HASH,
											Anum_log_event_id,
											Anum_log_partition_hash
										}, true);
	return some && OidIsValid(rows->indexes[BY_TENANT]) &&
		OidIsValid(rows->indexes[LONE]);
}

/* begin_rows: find out what to read */
static void
begin_rows(TenantRows *rows)
{
	ScanState  *ss = &rows->css.ss;
	Snapshot	snapshot = ss->ps.state->es_snapshot;

	rows->begun = true;
	if (!get_tenants(rows))
	{
		rows->whole_slot = table_slot_create(ss->ss_currentRelation, NULL);
		rows->whole = table_beginscan(ss->ss_currentRelation, snapshot, 0, NULL);
		return;
	}
	rows->source = BY_TENANT;
	rows->next = 0;
	sn_run_begin(&rows->runs, ss->ss_currentRelation, snapshot);
}

/* end_index: close the index that is being read */
static void
end_index(TenantRows *rows)
{
	if (rows->open)
		sn_scan_end(&rows->scan);
	rows->open = rows->reading = false;
}

/* end_rows: close everything */
static void
end_rows(TenantRows *rows)
{
	if (!rows->begun)
		return;
	if (rows->whole != NULL)
	{
		table_endscan(rows->whole);
		ExecDropSingleTupleTableSlot(rows->whole_slot);
		rows->whole = NULL;
	}
	else
	{
		end_index(rows);
		sn_run_end(&rows->runs);
	}
	rows->in_run = rows->begun = false;
	MemoryContextReset(rows->context);
}

/* begin_tenant: go on with the next tenant, or the next index; false: at the end */
static bool
begin_tenant(TenantRows *rows)
{
	ScanKeyData key;

	if (rows->next == rows->ntenants)
	{
		end_index(rows);
		rows->next = 0;
		rows->source++;
	}
	if (rows->source == SOURCES || rows->ntenants == 0)
		return false;
	sn_key_hashed(&key, 1, rows->tenants[rows->next++]);
	if (rows->open)
		sn_scan_again(&rows->scan, rows->css.ss.ps.state->es_snapshot, 1, &key);
	else
		sn_scan_begin(&rows->scan,
					  RelationGetRelid(rows->css.ss.ss_currentRelation),
					  rows->indexes[rows->source],
					  rows->css.ss.ps.state->es_snapshot, 1, &key,
					  ForwardScanDirection);
	rows->open = rows->reading = true;
	return true;
}

/*
 * is_wanted: whether a row that an index has is to be taken from there: another
 * tenant may have the hash, and an index that somebody made may have more rows
 */
static bool
is_wanted(const TenantRows *rows, TupleTableSlot *slot)
{
	int			run = sn_run_of(slot);

	return run >= SN_RUN_NONE &&
		(run == SN_RUN_LONE) == (rows->source == LONE) &&
		sn_text_equal(sn_slot_text(slot, Anum_log_tenant_id),
					  rows->tenants[rows->next - 1]);
}

/* find_tenant_row: the next row of the tenants, or NULL */
static TupleTableSlot *
find_tenant_row(TenantRows *rows)
{
	for (;;)
	{
		TupleTableSlot *slot;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (rows->in_run && sn_run_next(&rows->runs))
			return rows->runs.scan.slot;
		rows->in_run = false;
		if (!rows->reading && !begin_tenant(rows))
			return NULL;
		slot = rows->scan.slot;
		rows->reading = sn_scan_next(&rows->scan);
		if (!rows->reading || !is_wanted(rows, slot))
			continue;
		rows->in_run = sn_run_begins(slot);
		if (rows->in_run)
			sn_run_follow(&rows->runs,
						  DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id,
													 &isnull)));
		return slot;
	}
}

/* show_row: a row as the executor expects it: values that are its slot's no longer than that */
static TupleTableSlot *
show_row(TenantRows *rows, TupleTableSlot *from)
{
	TupleTableSlot *slot = rows->css.ss.ss_ScanTupleSlot;
	int			n = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	if (from == NULL)
		return slot;
	slot_getallattrs(from);
	memcpy(slot->tts_values, from->tts_values, n * sizeof(Datum));
	memcpy(slot->tts_isnull, from->tts_isnull, n * sizeof(bool));
	slot->tts_tid = from->tts_tid;
	slot->tts_tableOid = from->tts_tableOid;
	return ExecStoreVirtualTuple(slot);
}

/* read_row: the next row */
static TupleTableSlot *
read_row(ScanState *node)
{
	TenantRows *rows = (TenantRows *) node;

	if (!rows->begun)
		begin_rows(rows);
	if (rows->whole == NULL)
		return show_row(rows, find_tenant_row(rows));
	CHECK_FOR_INTERRUPTS();
	return show_row(rows, table_scan_getnextslot(rows->whole, ForwardScanDirection,
											 rows->whole_slot) ?
				rows->whole_slot : NULL);
}

/* recheck_row: all that a row has to meet is among the conditions */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

static void
begin_custom(CustomScanState *node, EState *estate, int eflags)
{
	TenantRows *rows = (TenantRows *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;

	rows->context = AllocSetContextCreate(estate->es_query_cxt,
										  "sentinai tenants",
										  ALLOCSET_SMALL_SIZES);
	if (plan->custom_exprs != NIL)
		rows->named = ExecInitExpr(linitial(plan->custom_exprs), &node->ss.ps);
}

static TupleTableSlot *
exec_custom(CustomScanState *node)
{
	return ExecScan(&node->ss, read_row, recheck_row);
}

static void
end_custom(CustomScanState *node)
{
	end_rows((TenantRows *) node);
}

static void
rescan_custom(CustomScanState *node)
{
	end_rows((TenantRows *) node);
	ExecScanReScan(&node->ss);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "sentinai tenants",
	.BeginCustomScan = begin_custom,
	.ExecCustomScan = exec_custom,
	.EndCustomScan = end_custom,
	.ReScanCustomScan = rescan_custom
};

/* sn_tenant_rows_state: what a plan needs to run */
Node *
sn_tenant_rows_state(CustomScan *plan)
{
	TenantRows *rows = palloc0(sizeof(TenantRows));

	NodeSetTag(rows, T_CustomScanState);
	rows->css.methods = &exec_methods;
	return (Node *) rows;
}
