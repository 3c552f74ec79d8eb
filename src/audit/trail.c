/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trail.c
 *		audit_trail(): events, what people did with them and how the
 *		configuration changed, in one order.
 *
 * An action has an id of the events' clock.  So one order is enough, and a page
 * goes on behind an id of either.  Events come from the indexes that the history
 * functions read, one at a time, and before each come the actions that stand
 * before it: from scans of action_log that stay open meanwhile.  Nothing is
 * sorted, and no more is read than a page has and what its filters pass over.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "audit/trees.h"
#include "base/args.h"
#include "base/text.h"
#include "log/event.h"
#include "log/history.h"
#include "log/log_read.h"
#include "queue/subscription.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

#define TRAIL_MAX	10000		/* rows of one call */

PG_FUNCTION_INFO_V1(sentinai_audit_trail);

/* Kinds of rows */
enum
{
	TRAIL_EVENT = 1,
	TRAIL_ACTION = 2,
	TRAIL_CONFIGURATION = 4,
	TRAIL_ALL = 7
};

/* Arguments */
enum
{
	ARG_TENANT_ID, ARG_AGGREGATE_ID, ARG_FROM_TIME, ARG_TO_TIME, ARG_AFTER_ID,
	ARG_MAX_ROWS, ARG_KINDS, ARG_AGGREGATE_TYPE
};

/* Columns of the result */
enum
{
	TRAIL_ID, TRAIL_AT, TRAIL_KIND, TRAIL_WHAT, TRAIL_TENANT_ID,
	TRAIL_AGGREGATE_TYPE, TRAIL_AGGREGATE_ID, TRAIL_ACTOR, TRAIL_OBJECT,
	TRAIL_BEFORE, TRAIL_AFTER, TRAIL_REASON, TRAIL_DETAIL, TRAIL_ACTION_ID,
	TRAIL_COLUMNS
};

/* Rows of action_log in the order of their ids */
typedef struct TrailSource
{
	SnScan		scan;
	bool		found;			/* the scan's slot has a row to be put */
} TrailSource;

/* One call */
typedef struct Trail
{
	SnQuestion	q;
	ReturnSetInfo *result;
	int			kinds;
	int			rows;			/* put so far */
	bool		sees_all;		/* what concerns every tenant, all of it */
	TrailSource sources[3];
	int			nsources;
	MemoryContext scratch;		/* of one row */
	Datum		values[TRAIL_COLUMNS];
	bool		nulls[TRAIL_COLUMNS];
} Trail;

/* set_trail_value: a column of the next row; one that was not set is null */
static void
set_trail_value(Trail *trail, int column, Datum value)
{
	trail->values[column] = value;
	trail->nulls[column] = false;
}

/*
 * take_column: a column of a row, if it is not null.  What is stored out of line
 * is read now: the partition may be dropped before the result is.
 */
static void
take_column(Trail *trail, int column, TupleTableSlot *slot, AttrNumber from)
{
	if (!slot->tts_isnull[from - 1])
		set_trail_value(trail, column,
				  TupleDescAttr(slot->tts_tupleDescriptor, from - 1)->attlen == -1 ?
				  PointerGetDatum(PG_DETOAST_DATUM_PACKED(slot->tts_values[from - 1])) :
				  slot->tts_values[from - 1]);
}

/* put_trail_row: the row whose columns were set, and none of them any more */
static void
put_trail_row(Trail *trail)
{
	tuplestore_putvalues(trail->result->setResult, trail->result->setDesc,
						 trail->values, trail->nulls);
	memset(trail->nulls, true, sizeof(trail->nulls));
	MemoryContextReset(trail->scratch);
	trail->rows++;
}

/* add_detail: a member of an object */
static void
add_detail(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

/* add_detail_text: likewise, a column that may be null */
static void
add_detail_text(JsonbParseState **state, const char *name,
				TupleTableSlot *slot, AttrNumber column)
{
	JsonbValue	value = {.type = jbvNull};

	if (!slot->tts_isnull[column - 1])
	{
		text	   *string = DatumGetTextPP(slot->tts_values[column - 1]);

		value.type = jbvString;
		value.val.string.val = VARDATA_ANY(string);
		value.val.string.len = VARSIZE_ANY_EXHDR(string);
	}
	add_detail(state, name, &value);
}

/* event_detail: what else there is to say of an event */
static Datum
event_detail(TupleTableSlot *slot)
{
	JsonbParseState *state = NULL;
	JsonbValue	version = {.type = jbvNumeric};
	JsonbValue	causation = {.type = jbvNull};
	JsonbValue	metadata = {.type = jbvNull};

	version.val.numeric =
		int64_to_numeric(DatumGetInt32(slot->tts_values[Anum_log_schema_version - 1]));
	if (!slot->tts_isnull[Anum_log_causation_id - 1])
	{
		causation.type = jbvString;
		causation.val.string.val =
			DatumGetCString(DirectFunctionCall1(uuid_out,
												slot->tts_values[Anum_log_causation_id - 1]));
		causation.val.string.len = strlen(causation.val.string.val);
	}
	if (!slot->tts_isnull[Anum_log_metadata - 1])	/* it can not be, unless somebody wrote it over */
	{
		Jsonb	   *stored =
			DatumGetJsonbP(slot->tts_values[Anum_log_metadata - 1]);

		metadata.type = jbvBinary;
		metadata.val.binary.data = &stored->root;
		metadata.val.binary.len = VARSIZE(stored) - VARHDRSZ;
	}
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_detail(&state, "schema_version", &version);
	add_detail_text(&state, "correlation_id", slot,
					sn_log_column(Anum_log_correlation_id, slot->tts_isnull));
	add_detail(&state, "causation_id", &causation);
	add_detail(&state, "metadata", &metadata);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

/* action_detail: what else there is to say of an action */
static Datum
action_detail(TupleTableSlot *slot)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_detail_text(&state, "session_role", slot, Anum_action_session_role);
	add_detail_text(&state, "acting_role", slot, Anum_action_acting_role);
	add_detail_text(&state, "worker_type", slot, Anum_action_worker_type);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

/* put_action: the row that a source has at hand */
static void
put_action(Trail *trail, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(trail->scratch);

	take_column(trail, TRAIL_ID, slot, Anum_action_clock_id);
	take_column(trail, TRAIL_AT, slot, Anum_action_acted_at);
	take_column(trail, TRAIL_KIND, slot, Anum_action_kind);
	take_column(trail, TRAIL_WHAT, slot, Anum_action_action);
	take_column(trail, TRAIL_TENANT_ID, slot, Anum_action_tenant_id);
	take_column(trail, TRAIL_AGGREGATE_ID, slot, Anum_action_aggregate_id);
	take_column(trail, TRAIL_ACTOR, slot, Anum_action_actor);
	take_column(trail, TRAIL_OBJECT, slot, Anum_action_object);
	take_column(trail, TRAIL_BEFORE, slot, Anum_action_before);
	take_column(trail, TRAIL_AFTER, slot, Anum_action_after);
	take_column(trail, TRAIL_REASON, slot, Anum_action_reason);
	take_column(trail, TRAIL_ACTION_ID, slot, Anum_action_id);
	set_trail_value(trail, TRAIL_DETAIL, action_detail(slot));
	MemoryContextSwitchTo(old);
	put_trail_row(trail);
}

/* put_event: an event of the log */
static void
put_event(Trail *trail, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(trail->scratch);

	slot_getallattrs(slot);
	take_column(trail, TRAIL_ID, slot, Anum_log_event_id);
	take_column(trail, TRAIL_AT, slot, Anum_log_occurred_at);
	set_trail_value(trail, TRAIL_KIND, CStringGetTextDatum("event"));
	take_column(trail, TRAIL_WHAT, slot, Anum_log_event_type);
	take_column(trail, TRAIL_TENANT_ID, slot, Anum_log_tenant_id);
	take_column(trail, TRAIL_AGGREGATE_TYPE, slot, Anum_log_aggregate_type);
	take_column(trail, TRAIL_AGGREGATE_ID, slot, Anum_log_aggregate_id);
	take_column(trail, TRAIL_AFTER, slot, Anum_log_payload);
	set_trail_value(trail, TRAIL_DETAIL, event_detail(slot));
	MemoryContextSwitchTo(old);
	put_trail_row(trail);
}

/*
 * may_see: whether a row is the caller's to see.  Of a subscription for every
 * tenant hears who may know that it is there.
 */
static bool
may_see(const Trail *trail, TupleTableSlot *slot)
{
	return trail->sees_all || slot->tts_isnull[Anum_action_worker_type - 1] ||
		!sn_text_is(DatumGetTextPP(slot->tts_values[Anum_action_tenant_id - 1]),
					SN_EVERY) ||
		sn_sub_may_watch(sn_sub_by_name(DatumGetTextPP(slot->tts_values[Anum_action_worker_type - 1])));
}

/* is_in_trail: whether a row of action_log is asked for, and the caller's to see */
static bool
is_in_trail(const Trail *trail, TupleTableSlot *slot)
{
	TimestampTz at =
		DatumGetTimestampTz(slot->tts_values[Anum_action_acted_at - 1]);
	text	   *kind = DatumGetTextPP(slot->tts_values[Anum_action_kind - 1]);

	if (at < trail->q.from || at >= trail->q.to)
		return false;
	return (trail->kinds &
			(sn_text_is(kind, sn_action_kinds[SN_ACTION_ACTS]) ?
			 TRAIL_ACTION : TRAIL_CONFIGURATION)) != 0 && may_see(trail, slot);
}

/* source_next: go on to the next row that is asked for */
static void
source_next(const Trail *trail, TrailSource *source)
{
	while ((source->found = sn_scan_next(&source->scan)))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(source->scan.slot);
		if (is_in_trail(trail, source->scan.slot))
			break;
	}
}

/*
 * open_source: rows between the bounds, of an index whose first columns have the
 * keys, and whose next one is the id
 */
static void
open_source(Trail *trail, SnRel index, int nkeys, ScanKey keys)
{
	TrailSource *source = &trail->sources[trail->nsources++];

	sn_key_uuid(&keys[nkeys], nkeys + 1, BTGreaterStrategyNumber,
				&trail->q.lower);
	sn_key_uuid(&keys[nkeys + 1], nkeys + 1, BTLessStrategyNumber,
				&trail->q.upper);
	sn_scan_named(&source->scan, SN_ACTION_LOG, index, GetActiveSnapshot(),
				  nkeys + 2, keys, ForwardScanDirection);
	source_next(trail, source);
}

/* add_of: actions of a tenant, of a kind, with an aggregate or without one */
static void
add_of(Trail *trail, const text *tenant_id, SnActionKind kind,
	   const text *aggregate_id)
{
	ScanKeyData keys[5];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				CStringGetTextDatum(sn_action_kinds[kind]));
	if (aggregate_id == NULL)
		sn_key_null(&keys[2], 3);
	else
		sn_key_text(&keys[2], 3, BTEqualStrategyNumber,
					PointerGetDatum(aggregate_id));
	open_source(trail, SN_ACTION_LOG_AGGREGATE_IDX, 3, keys);
}

/* add_tenant: all actions of a tenant */
static void
add_tenant(Trail *trail, const text *tenant_id)
{
	ScanKeyData keys[3];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	open_source(trail, SN_ACTION_LOG_TENANT_IDX, 1, keys);
}

/* begin_sources: the scans of action_log that have what is asked for */
static void
begin_sources(Trail *trail)
{
	const SnQuestion *q = &trail->q;
	const text *every = cstring_to_text(SN_EVERY);
	ScanKeyData keys[2];

	if ((trail->kinds & (TRAIL_ACTION | TRAIL_CONFIGURATION)) == 0 ||
		!sn_present(SN_ACTION_LOG))
		return;
	if (q->tenant_id == NULL)
		open_source(trail, SN_ACTION_LOG_CLOCK_IDX, 0, keys);
	else if (q->by_aggregate)
	{
		add_of(trail, q->tenant_id, SN_ACTION_ACTS, q->aggregate_id);
		add_of(trail, q->tenant_id, SN_ACTION_CONFIGURES, NULL);
		add_of(trail, every, SN_ACTION_CONFIGURES, NULL);
	}
	else
	{
		add_tenant(trail, q->tenant_id);
		add_tenant(trail, every);
	}
}

/* source_id: the id of the row that a source has at hand */
static const pg_uuid_t *
source_id(const TrailSource *source)
{
	return DatumGetUUIDP(source->scan.slot->tts_values[Anum_action_clock_id - 1]);
}

/* first_source: the source whose row comes first, or NULL */
static TrailSource *
first_source(Trail *trail)
{
	TrailSource *first = NULL;
	int			i;

	for (i = 0; i < trail->nsources; i++)
	{
		TrailSource *source = &trail->sources[i];

		if (source->found &&
			(first == NULL ||
			 sn_uuid_cmp(source_id(source), source_id(first)) < 0))
			first = source;
	}
	return first;
}

/* put_actions: those before an id (NULL: all), as many as the page has room for */
static void
put_actions(Trail *trail, const pg_uuid_t *before)
{
	TrailSource *source;

	while (trail->rows < trail->q.limit &&
		   (source = first_source(trail)) != NULL &&
		   (before == NULL || sn_uuid_cmp(source_id(source), before) < 0))
	{
		put_action(trail, source->scan.slot);
		source_next(trail, source);
	}
}

/* see_history: an event of a tenant; returns how many rows came with it */
static int
see_history(void *arg, TupleTableSlot *slot)
{
	Trail	   *trail = arg;
	int			before = trail->rows;
	bool		isnull;

	put_actions(trail, DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id,
												  &isnull)));
	if (trail->rows < trail->q.limit)
		put_event(trail, slot);
	return trail->rows - before;
}

/* see_any: an event of any tenant, in the order of all of them */
static bool
see_any(TupleTableSlot *slot, void *arg)
{
	Trail	   *trail = arg;
	TimestampTz at =
		DatumGetTimestampTz(slot->tts_values[Anum_log_occurred_at - 1]);

	CHECK_FOR_INTERRUPTS();
	if (at >= trail->q.from && at < trail->q.to &&
		sn_uuid_cmp(DatumGetUUIDP(slot->tts_values[Anum_log_event_id - 1]),
					&trail->q.lower) > 0 &&
		(trail->q.aggregate_type == NULL ||
		 sn_text_equal(sn_slot_text(slot, Anum_log_aggregate_type),
					   trail->q.aggregate_type)))
		(void) see_history(trail, slot);
	return trail->rows < trail->q.limit;
}

/* put_trail: the whole page */
static void
put_trail(Trail *trail)
{
	int			i;

	begin_sources(trail);
	if ((trail->kinds & TRAIL_EVENT) != 0)
	{
		if (trail->q.tenant_id != NULL)
			sn_history_read(&trail->q, trail->result);
		else
			(void) sn_see_log(GetActiveSnapshot(), &trail->q.lower,
							  &trail->q.upper, see_any, trail);
	}
	put_actions(trail, NULL);
	for (i = 0; i < trail->nsources; i++)
		sn_scan_end(&trail->sources[i].scan);
}

static void pg_attribute_noreturn()
refuse_trail(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_SN_INVALID), errmsg("%s", what)));
	pg_unreachable();
}

/* kinds_arg: a list of kinds, null for all */
static int
kinds_arg(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"event", "action", "configuration"};
	ArrayType  *array;
	Datum	   *values;
	int			kinds = 0;
	int			n;
	int			i;
	int			kind;

	if (PG_ARGISNULL(ARG_KINDS))
		return TRAIL_ALL;
	array = PG_GETARG_ARRAYTYPE_P(ARG_KINDS);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		refuse_trail("kinds must have one dimension and no nulls");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (i = 0; i < n; i++)
	{
		for (kind = 0; kind < lengthof(names); kind++)
			if (sn_text_is(DatumGetTextPP(values[i]), names[kind]))
				break;
		if (kind == lengthof(names))
			refuse_trail("kinds must be of \"event\", \"action\" and \"configuration\"");
		kinds |= 1 << kind;
	}
	return kinds;
}

/* trail_args: what is asked for */
static void
trail_args(FunctionCallInfo fcinfo, Trail *trail)
{
	SnQuestion *q = &trail->q;
	text	   *tenant_id;

	SN_REQUIRE_ARG(ARG_TENANT_ID, "tenant_id");
	SN_REQUIRE_ARG(ARG_MAX_ROWS, "max_rows");
	tenant_id = PG_GETARG_TEXT_PP(ARG_TENANT_ID);
	q->tenant_id = sn_text_is(tenant_id, SN_EVERY) ? NULL : tenant_id;
	sn_require(SN_RIGHT_AUDIT, q->tenant_id, "audit");
	q->ntypes = -1;
	if (!PG_ARGISNULL(ARG_AGGREGATE_ID))
	{
		if (q->tenant_id == NULL)
			refuse_trail("aggregate_id needs a tenant_id other than \"*\"");
		q->aggregate_id = PG_GETARG_TEXT_PP(ARG_AGGREGATE_ID);
		q->by_aggregate = true;
		q->hash = sn_key_hash(q->tenant_id, q->aggregate_id);
	}
	if (!PG_ARGISNULL(ARG_AGGREGATE_TYPE))
		q->aggregate_type = PG_GETARG_TEXT_PP(ARG_AGGREGATE_TYPE);
	sn_history_bounds(fcinfo, ARG_FROM_TIME, ARG_AFTER_ID, q);
	q->limit = PG_GETARG_INT32(ARG_MAX_ROWS);
	if (q->limit < 1 || q->limit > TRAIL_MAX)
		refuse_trail(psprintf("max_rows must be between 1 and %d", TRAIL_MAX));
	trail->kinds = kinds_arg(fcinfo);
}

/*
 * audit_trail(tenant_id text, aggregate_id text, from_time timestamptz,
 *		to_time timestamptz, after_id uuid, max_rows int, kinds text[],
 *		aggregate_type text)
 */
Datum
sentinai_audit_trail(PG_FUNCTION_ARGS)
{
	Trail	   *trail = palloc0(sizeof(Trail));

	trail_args(fcinfo, trail);
	InitMaterializedSRF(fcinfo, 0);
	trail->result = (ReturnSetInfo *) fcinfo->resultinfo;
	trail->q.put = see_history;
	trail->q.put_arg = trail;
	trail->sees_all = sn_may(SN_RIGHT_AUDIT, NULL);
	memset(trail->nulls, true, sizeof(trail->nulls));
	trail->scratch = AllocSetContextCreate(CurrentMemoryContext,
										   "sentinai trail row",
										   ALLOCSET_DEFAULT_SIZES);
	if (sn_uuid_cmp(&trail->q.lower, &trail->q.upper) < 0)
		put_trail(trail);
	MemoryContextDelete(trail->scratch);
	return (Datum) 0;
}
