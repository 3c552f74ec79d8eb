/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history_row.c
 *		Whether a row that an index found is asked for, and what of it is put into
 *		the result.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/rel.h"

#include "base/text.h"
#include "log/history.h"
#include "log/log_read.h"
#include "tenancy/gate.h"

/* columns of the result, by their numbers in event_log */
static const AttrNumber result_columns[] = {
	Anum_log_event_id, Anum_log_event_type, Anum_log_tenant_id,
	Anum_log_aggregate_type, Anum_log_aggregate_id, Anum_log_schema_version,
	Anum_log_payload, Anum_log_metadata, Anum_log_correlation_id,
	Anum_log_causation_id, Anum_log_occurred_at, Anum_log_deliver_at
};

static bool
row_has_type(const SnQuestion *q, const text *event_type)
{
	int			i;

	for (i = 0; i < q->ntypes; i++)
		if (sn_text_equal(event_type, DatumGetTextPP(q->event_types[i])))
			return true;
	return q->ntypes < 0;
}

/* has_text: whether a column that may be null has a value asked for */
static bool
has_text(TupleTableSlot *slot, AttrNumber column, const text *wanted)
{
	bool		isnull;
	Datum		value;

	if (wanted == NULL)
		return true;
	value = slot_getattr(slot, column, &isnull);
	return !isnull && sn_text_equal(DatumGetTextPP(value), wanted);
}

/* column_of: sn_log_column() for a row that is not taken apart */
static AttrNumber
column_of(TupleTableSlot *slot, AttrNumber column)
{
	return column == Anum_log_correlation_id && slot_attisnull(slot, column) ?
		Anum_log_aggregate_id : column;
}

/* row_matches: whether a row that the index found is asked for */
static bool
row_matches(const SnQuestion *q, TupleTableSlot *slot)
{
	bool		isnull;
	TimestampTz occurred_at =
		DatumGetTimestampTz(slot_getattr(slot, Anum_log_occurred_at, &isnull));

	return occurred_at >= q->from && occurred_at < q->to &&
		has_text(slot, Anum_log_tenant_id, q->tenant_id) &&
		has_text(slot, Anum_log_aggregate_id, q->aggregate_id) &&
		has_text(slot, Anum_log_aggregate_type, q->aggregate_type) &&
		has_text(slot, column_of(slot, Anum_log_correlation_id),
				 q->correlation_id) &&
		(!q->unnamed || slot_attisnull(slot, Anum_log_correlation_id)) &&
		row_has_type(q, sn_slot_text(slot, Anum_log_event_type));
}

/* flat: a value that is stored out of line, as a copy */
static Datum
flat(TupleTableSlot *slot, AttrNumber column, Datum value)
{
	if (TupleDescAttr(slot->tts_tupleDescriptor, column - 1)->attlen == -1 &&
		VARATT_IS_EXTERNAL(DatumGetPointer(value)))
		return PointerGetDatum(detoast_external_attr((struct varlena *)
													 DatumGetPointer(value)));
	return value;
}

/* may_read_row: a flow may have events of several tenants */
static bool
may_read_row(TupleTableSlot *slot)
{
	return !sn_gate_asks() ||
		sn_may(SN_RIGHT_READ, sn_slot_text(slot, Anum_log_tenant_id));
}

/* sn_history_put: add a row to the result if it is asked for */
void
sn_history_put(SnReading *r, TupleTableSlot *slot)
{
	Datum		values[lengthof(result_columns)];
	bool		nulls[lengthof(result_columns)];
	int			i;

	if (sn_uuid_cmp(sn_history_id(slot), &r->q->lower) <= 0 ||
		sn_uuid_cmp(sn_history_id(slot), &r->q->upper) >= 0 || !row_matches(r->q, slot))
		return;
	if (r->q->by_flow && !may_read_row(slot))
		return;
	if (r->q->put != NULL)
	{
		r->n += r->q->put(r->q->put_arg, slot);
		return;
	}
	for (i = 0; i < lengthof(result_columns); i++)
	{
		AttrNumber	column = column_of(slot, result_columns[i]);

		values[i] = slot_getattr(slot, column, &nulls[i]);
		if (r->flatten && !nulls[i])
			values[i] = flat(slot, column, values[i]);
	}
	tuplestore_putvalues(r->rsinfo->setResult, r->rsinfo->setDesc, values,
						 nulls);
	for (i = 0; i < lengthof(result_columns) && r->flatten; i++)
	{
		bool		isnull;

		if (!nulls[i] &&
			values[i] != slot_getattr(slot, column_of(slot, result_columns[i]),
									  &isnull))
			pfree(DatumGetPointer(values[i]));
	}
	r->n++;
}
