/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * required.c
 *		NULL where there can be none: a superuser has taken NOT NULL off a table,
 *		and written over a column.
 *
 * Rows of the log are looked at by who reads them (log_read.c), because some of
 * them do without.  Those of these tables are looked at by every index scan.  One
 * of the table itself, which may be there to delete them, asks for the event.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "store/store.h"

/* What a row of a table cannot be without */
struct SnRequired
{
	SnRel		table;
	AttrNumber	id;				/* which event a row is about */
	int			n;
	AttrNumber	columns[16];
};

static const SnRequired tables[] = {
	{SN_DEAD_LETTER, Anum_dead_event_id, 14, {
		Anum_dead_event_id, Anum_dead_worker_type, Anum_dead_tenant_id,
		Anum_dead_aggregate_type, Anum_dead_event_type,
		Anum_dead_schema_version, Anum_dead_occurred_at, Anum_dead_attempts,
		Anum_dead_reason, Anum_dead_status, Anum_dead_dead_at,
		Anum_dead_history, Anum_dead_payload, Anum_dead_metadata
	}},
	{SN_EVENT_RETRY, Anum_retry_event_id, 9, {
		Anum_retry_event_id, Anum_retry_sub_id, Anum_retry_lane,
		Anum_retry_pos, Anum_retry_partition_hash, Anum_retry_attempt,
		Anum_retry_solo, Anum_retry_dead, Anum_retry_tenant_id
	}},
};

/* sn_required: what rows of a table cannot be without; NULL: nobody looks */
const SnRequired *
sn_required(Oid table)
{
	int			i;

	for (i = 0; i < lengthof(tables); i++)
		if (sn_rel(tables[i].table) == table)
			return &tables[i];
	return NULL;
}

/* sn_null_text: that a row has NULL where it cannot be */
char *
sn_null_text(Oid table, AttrNumber column, const pg_uuid_t *id)
{
	return psprintf("column \"%s\" of table \"%s\" is null, for event %s",
					get_attname(table, column, false), get_rel_name(table),
					id == NULL ? "none" :
					DatumGetCString(DirectFunctionCall1(uuid_out,
														UUIDPGetDatum(id))));
}

/* sn_refuse_null: the error of such a row */
void
sn_refuse_null(Oid table, AttrNumber column, const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("%s", sn_null_text(table, column, id)),
			 errdetail("The column cannot be null: somebody has taken that off the table, and written over the row."),
			 errhint("Put the value back from a backup. Of events verify_audit() says which were written over.")));
	pg_unreachable();
}

/* event_of: which event a row is about, or NULL */
static const pg_uuid_t *
event_of(const SnRequired *required, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		id = slot_getattr(slot, required->id, &isnull);

	return isnull ? NULL : DatumGetUUIDP(id);
}

/* sn_require_event: an error unless a row says which event it is about */
void
sn_require_event(const SnRequired *required, TupleTableSlot *slot)
{
	if (event_of(required, slot) == NULL)
		sn_refuse_null(sn_rel(required->table), required->id, NULL);
}

/* sn_require_columns: an error unless a row has what it cannot be without */
void
sn_require_columns(const SnRequired *required, TupleTableSlot *slot)
{
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	int			i;

	if (!HeapTupleHasNulls(tuple))
		return;
	for (i = 0; i < required->n; i++)
		if (heap_attisnull(tuple, required->columns[i],
						   slot->tts_tupleDescriptor))
			sn_refuse_null(sn_rel(required->table), required->columns[i],
						   event_of(required, slot));
}
