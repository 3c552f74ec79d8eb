/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox_table.c
 *		The foreign-data wrapper behind the table outbox: what is inserted into
 *		it is published.
 *
 * A view with INSTEAD OF triggers stores nothing and says nothing where
 * triggers are off, as with session_replication_role = replica: they cannot be
 * made to fire always.  A foreign table calls its wrapper in every mode, tells
 * RETURNING what became of a row, and counts a row that was left out as none.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "commands/copyfrom_internal.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"

#include "log/outbox.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(sentinai_outbox_handler);

/* An INSERT or COPY into it */
typedef struct Insertion
{
	bool		late;
	bool		unless_present;
} Insertion;

/* plan_modify: an INSERT is planned, anything else refused */
static List *
plan_modify(PlannerInfo *root, ModifyTable *plan, Index relation, int subplan)
{
	Relation	rel = table_open(planner_rt_fetch(relation, root)->relid,
								 NoLock);

	if (plan->operation != CMD_INSERT)
		sn_refuse_change(RelationGetRelationName(rel));
	sn_outbox_check(rel);
	table_close(rel, NoLock);
	return list_make1_int(plan->onConflictAction == ONCONFLICT_NOTHING);
}

/* begin_insert: common to INSERT and COPY */
static void
begin_insert(ResultRelInfo *rri, bool late, bool unless_present)
{
	Insertion  *insertion = palloc(sizeof(Insertion));

	insertion->late = late;
	insertion->unless_present = unless_present;
	rri->ri_FdwState = insertion;
}

static void
begin_modify(ModifyTableState *state, ResultRelInfo *rri, List *private,
			 int subplan, int eflags)
{
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		begin_insert(rri, false, linitial_int(private));
}

/*
 * begin_copy: rows of COPY, which has no plan and asks for no ids, or of a
 * partitioned table that somebody made outbox a part of.
 */
static void
begin_copy(ModifyTableState *state, ResultRelInfo *rri)
{
	ModifyTable *plan = (ModifyTable *) state->ps.plan;

	sn_outbox_check(rri->ri_RelationDesc);
	begin_insert(rri, plan == NULL,
				 plan != NULL && plan->onConflictAction == ONCONFLICT_NOTHING);
}

/* is_shown: whether somebody looks at the rows afterwards */
static bool
is_shown(const ResultRelInfo *rri)
{
	return rri->ri_projectReturning != NULL ||
		(rri->ri_TrigDesc != NULL && rri->ri_TrigDesc->trig_insert_after_row);
}

/* show: have the slot hold what was published */
static void
show(TupleTableSlot *slot, const SnOutboxRow *row)
{
	Datum		values[OUTBOX_COLUMNS];
	bool		nulls[OUTBOX_COLUMNS];

	memcpy(values, slot->tts_values, sizeof(values));
	memcpy(nulls, slot->tts_isnull, sizeof(nulls));
	values[OUTBOX_ID] = UUIDPGetDatum(&row->id);
	values[OUTBOX_PAYLOAD] = JsonbPGetDatum(row->payload);
	values[OUTBOX_METADATA] = JsonbPGetDatum(row->metadata);
	nulls[OUTBOX_ID] = nulls[OUTBOX_METADATA] = false;
	ExecForceStoreHeapTuple(heap_form_tuple(slot->tts_tupleDescriptor, values,
											nulls),
							slot, false);
}

/* say_line: which line of a COPY an error is about */
static void
say_line(void *arg)
{
	CopyFromState copy = arg;

	errcontext("COPY %s, line %llu", copy->cur_relname,
			   (unsigned long long) copy->cur_lineno);
}

/*
 * quote_no_line: COPY would have an error quote the row, to the client and in the
 * server's log, where a rule of redaction has not seen it yet
 */
static void
quote_no_line(ErrorContextCallback *line)
{
	const ErrorContextCallback *copy = error_context_stack;

	if (copy == NULL || copy->callback != CopyFromErrorCallback)
		return;
	line->callback = say_line;
	line->arg = copy->arg;
	line->previous = copy->previous;
	error_context_stack = line;
}

/* insert_outbox_row: publish a row; NULL when its id was given before */
static TupleTableSlot *
insert_outbox_row(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
				  TupleTableSlot *plan_slot)
{
	ErrorContextCallback *context = error_context_stack;
	ErrorContextCallback line;
	const Insertion *insertion = rri->ri_FdwState;
	MemoryContext old =
		MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	bool		shown = is_shown(rri);
	SnOutboxRow row = {.late = insertion->late && !shown,
		.unless_present = insertion->unless_present};

	quote_no_line(&line);
	if (!sn_outbox_put(slot, &row))
		slot = NULL;
	else if (shown)
		show(slot, &row);
	error_context_stack = context;
	MemoryContextSwitchTo(old);
	return slot;
}

/* end_modify: the statement is over, and its rows go to the log */
static void
end_modify(EState *estate, ResultRelInfo *rri)
{
	if (rri->ri_FdwState != NULL)
		sn_outbox_write();
}

/* is_updatable: what the catalog says; plan_modify() refuses the others */
static int
is_updatable(Relation rel)
{
	return 1 << CMD_INSERT;
}

/* outbox_handler(): what a foreign table of this wrapper can do */
Datum
sentinai_outbox_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	sn_outbox_plan(routine);
	sn_outbox_read(routine);
	routine->PlanForeignModify = plan_modify;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin_copy;
	routine->ExecForeignInsert = insert_outbox_row;
	routine->EndForeignModify = end_modify;
	routine->EndForeignInsert = end_modify;
	routine->IsForeignRelUpdatable = is_updatable;
	PG_RETURN_POINTER(routine);
}
