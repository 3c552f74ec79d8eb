/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history.c
 *		SnReading the log: get_events_by_aggregate(), get_events_by_tenant().
 *
 * The rows come straight from the indexes that begin with what is asked for,
 * partition by partition in the order of time, and only from partitions that
 * the time range and the keyset touch.  So the cost never hangs on statistics
 * or on the size of the log: a descent for each partition, and the rows
 * between the bounds until enough of them pass the filters; for an aggregate
 * also the first event of each of the tenant's long runs, see run.h.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "log/history.h"
#include "log/log.h"
#include "tenancy/gate.h"

#define EVENTS_MAX 10000		/* rows of one call */
#define LOCKS_KEPT 16			/* partitions that stay locked after a call */

PG_FUNCTION_INFO_V1(sentinai_get_events_by_aggregate);
PG_FUNCTION_INFO_V1(sentinai_get_events_by_exception);
PG_FUNCTION_INFO_V1(sentinai_get_events_by_tenant);

/* columns of the result, by their numbers in event_log */
static const AttrNumber result_columns[] = {
	Anum_log_event_id, Anum_log_event_type, Anum_log_tenant_id,
	Anum_log_aggregate_type, Anum_log_aggregate_id, Anum_log_schema_version,
	Anum_log_payload, Anum_log_metadata, Anum_log_correlation_id,
	Anum_log_causation_id, Anum_log_occurred_at, Anum_log_deliver_at
};

static bool
row_has_type(const SnQuestion *q, Datum event_type)
{
	int			i;

	for (i = 0; i < q->ntypes; i++)
		if (sn_text_equal(DatumGetTextPP(event_type),
						  DatumGetTextPP(q->event_types[i])))
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
		row_has_type(q, slot_getattr(slot, Anum_log_event_type, &isnull));
}

static pg_uuid_t *
id_of(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id, &isnull));
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
	bool		isnull;

	return !sn_gate_asks() ||
		sn_may(SN_RIGHT_READ,
			   DatumGetTextPP(slot_getattr(slot, Anum_log_tenant_id, &isnull)));
}

/* sn_history_put: add a row to the result if it is asked for */
void
sn_history_put(SnReading *r, TupleTableSlot *slot)
{
	Datum		values[lengthof(result_columns)];
	bool		nulls[lengthof(result_columns)];
	int			i;

	if (sn_uuid_cmp(id_of(slot), &r->q->lower) <= 0 ||
		sn_uuid_cmp(id_of(slot), &r->q->upper) >= 0 || !row_matches(r->q, slot))
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

/*
 * Rows of two scans in the order of their ids: what an index has of a tenant or
 * a key, and the tenant's lone events
 */
typedef struct Merged
{
	SnScan		scans[2];
	bool		found[2];		/* the scan's slot has a row to be taken */
	int			last;			/* that the row at hand is of */
	bool		taken;			/* so is that row: go on behind it */
	bool		lone;			/* the second scan is open */
} Merged;

/*
 * advance: go on in one of the scans.  An index that somebody made may have
 * the lone events, too; they are taken from their own.
 */
static void
advance(Merged *merged, int i)
{
	do
		merged->found[i] = sn_scan_next(&merged->scans[i]);
	while (merged->found[i] && i == 0 &&
		   sn_run_of(merged->scans[0].slot) == SN_RUN_LONE);
}

/* has_pages: whether anything was ever entered into an index */
static bool
has_pages(Oid index)
{
	Relation	rel = relation_open(index, AccessShareLock);
	bool		result = RelationGetNumberOfBlocks(rel) > 1;	/* meta page */

	relation_close(rel, AccessShareLock);
	return result;
}

/* merged_lone: begin with the lone events, of one hash unless it is NULL */
static void
merged_lone(Merged *merged, const SnReading *r, const pg_uuid_t *above,
			const int32 *hash)
{
	Oid			index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id,
									Anum_log_partition_hash);
	ScanKeyData keys[4];

	merged->lone = has_pages(index);
	merged->found[1] = merged->taken = false;
	advance(merged, 0);
	if (!merged->lone)
		return;
	sn_key_hashed(&keys[0], 1, r->q->tenant_id);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, above);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	if (hash != NULL)
		sn_key_int4(&keys[3], 3, BTEqualStrategyNumber, *hash);
	sn_scan_begin(&merged->scans[1], RelationGetRelid(r->rel), index,
				  GetActiveSnapshot(), hash != NULL ? 4 : 3, keys,
				  ForwardScanDirection);
	advance(merged, 1);
}

/* merged_row: the row at hand, which is the lesser; NULL: no more */
static TupleTableSlot *
merged_row(Merged *merged)
{
	if (merged->taken)
		advance(merged, merged->last);
	merged->taken = false;
	if (!merged->found[0] && !merged->found[1])
		return NULL;
	merged->last = !merged->found[0] ||
		(merged->found[1] &&
		 sn_uuid_cmp(id_of(merged->scans[1].slot),
					 id_of(merged->scans[0].slot)) < 0);
	return merged->scans[merged->last].slot;
}

static void
merged_end(Merged *merged)
{
	if (merged->lone)
		sn_scan_end(&merged->scans[1]);
	sn_scan_end(&merged->scans[0]);
}

/* read_tenant: rows of a tenant, each run behind its first event */
static void
read_tenant(SnReading *r)
{
	ScanKeyData keys[3];
	Merged		merged;
	TupleTableSlot *slot;

	sn_key_hashed(&keys[0], 1, r->q->tenant_id);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, &r->first_above);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&merged.scans[0], RelationGetRelid(r->rel),
				  sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id),
				  GetActiveSnapshot(), 3, keys, ForwardScanDirection);
	merged_lone(&merged, r, &r->first_above, NULL);
	while (r->n < r->limit && (slot = merged_row(&merged)) != NULL)
	{
		bool		isnull;

		merged.taken = true;
		/* an index that somebody made may have more, or another tenant has
		 * this hash */
		if (sn_run_of(slot) < 0 ||
			!sn_text_equal(DatumGetTextPP(slot_getattr(slot, Anum_log_tenant_id,
													   &isnull)),
						   r->q->tenant_id))
			continue;
		sn_history_put(r, slot);
		if (!sn_run_begins(slot))
			continue;
		sn_run_follow(&r->runs, id_of(slot));
		while (r->n < r->limit && sn_run_next(&r->runs))
			sn_history_put(r, r->runs.scan.slot);
	}
	merged_end(&merged);
}

/* Events of a key in long runs, in the order of their ids */
typedef struct Listed
{
	SnScan		firsts;			/* of the tenant's long runs */
	pg_uuid_t	first;			/* of the run at hand */
	int16		keys[SN_RUN_MAX];
	int			nkeys;			/* 0: no run at hand */
	int			next;			/* to be looked at */
	bool		ended;
} Listed;

static void
listed_begin(Listed *listed, const SnReading *r)
{
	ScanKeyData keys[4];

	sn_key_int2(&keys[0], 1, BTEqualStrategyNumber, SN_RUN_LONG);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				PointerGetDatum(r->q->tenant_id));
	sn_key_uuid(&keys[2], 3, BTGreaterStrategyNumber, &r->first_above);
	sn_key_uuid(&keys[3], 3, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&listed->firsts, RelationGetRelid(r->rel),
				  sn_index_of(r->rel, Anum_log_run, Anum_log_tenant_id,
							  Anum_log_event_id),
				  GetActiveSnapshot(), 4, keys, ForwardScanDirection);
	listed->nkeys = listed->next = 0;
	listed->ended = false;
}

/* listed_next: the next row before an id (NULL: of all), or NULL */
static TupleTableSlot *
listed_next(Listed *listed, SnReading *r, const pg_uuid_t *before)
{
	int16		wanted = sn_run_key(r->q->hash);

	while (!listed->ended)
	{
		if (listed->nkeys > 0 && before != NULL &&
			sn_uuid_cmp(&listed->first, before) > 0)
			return NULL;
		while (listed->next < listed->nkeys)
		{
			int			i = listed->next++;

			if (listed->keys[i] == wanted &&
				sn_run_fetch(&r->runs, &listed->first, i))
				return r->runs.scan.slot;
		}
		listed->ended = !sn_scan_next(&listed->firsts);
		if (listed->ended)
			break;
		listed->first = *id_of(listed->firsts.slot);
		listed->nkeys = sn_run_get_keys(listed->firsts.slot, listed->keys);
		listed->next = 0;
	}
	return NULL;
}

/*
 * sn_history_aggregate: rows of a key: from the index on its hash, from the lone
 * events of its tenant, and from long runs.
 */
void
sn_history_aggregate(SnReading *r)
{
	ScanKeyData keys[3];
	Merged		merged;
	Listed		listed;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, r->q->hash);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, &r->q->lower);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&merged.scans[0], RelationGetRelid(r->rel),
				  sn_index_of(r->rel, Anum_log_partition_hash,
							  Anum_log_event_id),
				  GetActiveSnapshot(), 3, keys, ForwardScanDirection);
	merged_lone(&merged, r, &r->q->lower, &r->q->hash);
	listed_begin(&listed, r);
	while (r->n < r->limit)
	{
		TupleTableSlot *row = merged_row(&merged);
		TupleTableSlot *in_run =
			listed_next(&listed, r, row != NULL ? id_of(row) : NULL);

		if (in_run != NULL)
			sn_history_put(r, in_run);
		else if (row == NULL)
			break;
		else
		{
			if (abs(sn_run_of(row)) != SN_RUN_LONG)
				sn_history_put(r, row);
			merged.taken = true;
		}
	}
	sn_scan_end(&listed.firsts);
	merged_end(&merged);
}

/*
 * read_partition: rows of one partition; returns how many were asked for.
 * begins: the partition has the lower bound in it.  What was read points to
 * values stored out of line, so the partition's lock is kept; but of the
 * first few only, since the lock table is everybody's: of the others the
 * values are copied.
 */
static int
read_partition(SnQuestion *q, const SnPartRange *range, bool begins,
			   int limit, int *kept, ReturnSetInfo *rsinfo)
{
	SnReading		r = {.q = q, .rsinfo = rsinfo, .limit = limit};
	bool		keep;

	r.rel = try_relation_open(range->oid, AccessShareLock);
	if (r.rel == NULL)
		return 0;				/* dropped meanwhile */
	r.flatten = q->put != NULL || *kept >= LOCKS_KEPT;
	sn_run_begin(&r.runs, r.rel, GetActiveSnapshot());
	r.first_above = q->lower;
	if (begins)
		sn_run_reach(&r.runs, &r.first_above);
	if (q->by_flow)
		sn_history_flow(&r);
	else if (q->by_aggregate)
		sn_history_aggregate(&r);
	else
		read_tenant(&r);
	sn_run_end(&r.runs);
	keep = r.n > 0 && !r.flatten;
	*kept += keep;
	relation_close(r.rel, keep ? NoLock : AccessShareLock);
	return r.n;
}

/* sn_history_read: all rows asked for, in the order of their ids */
void
sn_history_read(SnQuestion *q, ReturnSetInfo *rsinfo)
{
	int64		from = SN_TICK_MS(sn_uuid_tick(&q->lower));
	int64		until = SN_TICK_MS(sn_uuid_tick(&q->upper));
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	int			left = q->limit;
	int			kept = 0;
	ListCell   *lc;

	foreach(lc, ranges)
	{
		SnPartRange *range = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (left <= 0 || range->lower > until)
			break;
		if (range->upper > from)
			left -= read_partition(q, range, range->lower <= from, left,
								   &kept, rsinfo);
	}
	list_free_deep(ranges);
}

/* sn_history_require: the value of a text argument that must not be null */
text *
sn_history_require(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return PG_GETARG_TEXT_PP(arg);
}

/* get_types: the event types asked for, from an array that may be null */
static void
get_types(FunctionCallInfo fcinfo, int arg, SnQuestion *q)
{
	ArrayType  *array;

	q->ntypes = -1;
	if (PG_ARGISNULL(arg))
		return;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_types must have one dimension and no nulls")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &q->event_types, NULL, &q->ntypes);
}

/*
 * sn_history_bounds: the ids that a time range (two arguments) and a keyset leave.
 * The time in an id and occurred_at are one: the same tick.
 */
void
sn_history_bounds(FunctionCallInfo fcinfo, int arg, int after_arg, SnQuestion *q)
{
	int64		from_ms = 0;
	int64		to_ms = SN_MAX_MS;

	q->from = PG_ARGISNULL(arg) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(arg);
	q->to = PG_ARGISNULL(arg + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(arg + 1);
	if (TIMESTAMP_IS_NOEND(q->from) || TIMESTAMP_IS_NOBEGIN(q->to))
		to_ms = 0;
	if (!TIMESTAMP_NOT_FINITE(q->from))
		from_ms = Max(from_ms, sn_timestamp_ms(q->from));
	if (!TIMESTAMP_NOT_FINITE(q->to))
		to_ms = Min(to_ms, sn_timestamp_ms(q->to));
	sn_uuid_floor(Min(from_ms, SN_MAX_MS), &q->lower);
	sn_uuid_floor(Max(to_ms, 0) + 1, &q->upper);
	if (!PG_ARGISNULL(after_arg))
	{
		pg_uuid_t  *after = PG_GETARG_UUID_P(after_arg);

		if (sn_uuid_cmp(after, &q->lower) > 0)
			q->lower = *after;
	}
}

/* sn_history_limit: how many rows are asked for */
void
sn_history_limit(const SnQuestion *q)
{
	if (q->limit < 1 || q->limit > EVENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_events must be between 1 and %d", EVENTS_MAX)));
}

/* answer: what the functions do once they know the tenant or aggregate */
static Datum
answer(FunctionCallInfo fcinfo, SnQuestion *q, int arg)
{
	sn_require(SN_RIGHT_READ, q->tenant_id, "read");
	get_types(fcinfo, arg, q);
	sn_history_bounds(fcinfo, arg + 1, arg + 4, q);
	q->correlation_id = PG_ARGISNULL(arg + 3) ? NULL :
		PG_GETARG_TEXT_PP(arg + 3);
	q->limit = PG_ARGISNULL(arg + 5) ? 0 : PG_GETARG_INT32(arg + 5);
	sn_history_limit(q);
	InitMaterializedSRF(fcinfo, 0);
	if (sn_uuid_cmp(&q->lower, &q->upper) < 0)
		sn_history_read(q, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ask_key: about the aggregate that the first two arguments name */
static void
ask_key(FunctionCallInfo fcinfo, SnQuestion *q, const char *name)
{
	q->tenant_id = sn_history_require(fcinfo, 0, "tenant_id");
	q->aggregate_id = sn_history_require(fcinfo, 1, name);
	q->by_aggregate = true;
	q->hash = sn_key_hash(q->tenant_id, q->aggregate_id);
}

/*
 * get_events_by_aggregate(tenant_id text, aggregate_id text,
 *		event_types text[], from_time timestamptz, to_time timestamptz,
 *		correlation_id text, after_id uuid, max_events int,
 *		aggregate_type text)
 */
Datum
sentinai_get_events_by_aggregate(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	ask_key(fcinfo, &q, "aggregate_id");
	q.aggregate_type = PG_ARGISNULL(8) ? NULL : PG_GETARG_TEXT_PP(8);
	return answer(fcinfo, &q, 2);
}

/*
 * get_events_by_exception(): the same for an exception_id, without a type
 */
Datum
sentinai_get_events_by_exception(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	ask_key(fcinfo, &q, "exception_id");
	return answer(fcinfo, &q, 2);
}

/*
 * get_events_by_tenant(tenant_id text, event_types text[],
 *		from_time timestamptz, to_time timestamptz, correlation_id text,
 *		after_id uuid, max_events int)
 */
Datum
sentinai_get_events_by_tenant(PG_FUNCTION_ARGS)
{
	SnQuestion	q = {0};

	q.tenant_id = sn_history_require(fcinfo, 0, "tenant_id");
	return answer(fcinfo, &q, 1);
}
