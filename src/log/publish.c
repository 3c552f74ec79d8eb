/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * publish.c
 *		The functions publish(), publish_batch() and publish_events().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/guc.h"
#include "base/text.h"
#include "log/clock_floor.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/event_run.h"
#include "log/flow.h"
#include "log/idempotency.h"
#include "log/tenant_order.h"
#include "redact/redact.h"
#include "tenancy/charge.h"
#include "tenancy/limit.h"
#include "tenancy/pressure.h"

#define DELIVER_AT_MAX (INT64CONST(3653) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(sentinai_publish);
PG_FUNCTION_INFO_V1(sentinai_publish_batch);
PG_FUNCTION_INFO_V1(sentinai_publish_events);

/* What publish_events() has behind the columns that all have */
enum
{
	EACH_CAUSATION_ID = SN_INPUT_COLUMNS, EACH_DELIVER_AT,
	EACH_SCHEMA_VERSION,
	EACH_COLUMNS
};

/* An array argument of publish_batch() or publish_events() */
typedef struct Elements
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Elements;

/* check_deliver_at: a time ahead, or DT_NOBEGIN when it has come already */
static TimestampTz
check_deliver_at(TimestampTz deliver_at, int index)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TIMESTAMP_NOT_FINITE(deliver_at))
		sn_event_refuse(ERRCODE_SN_INVALID, index, "deliver_at",
						"must be finite");
	if (deliver_at > now + DELIVER_AT_MAX)
		sn_event_refuse(ERRCODE_SN_INVALID, index, "deliver_at",
			   "must not be more than ten years ahead");
	return deliver_at > now ? deliver_at : DT_NOBEGIN;
}

static text *
check_idempotency_key(Datum value)
{
	text	   *key = sn_event_text(value, SN_IDEMPOTENCY_KEY_MAX, 0,
								 "idempotency_key");

	if (VARSIZE_ANY_EXHDR(key) == 0)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, "idempotency_key", "must not be empty");
	return key;
}

static int32
check_version(int32 version, int index)
{
	if (version < 1)
		sn_event_refuse(ERRCODE_SN_INVALID, index, "schema_version",
						"must be at least 1");
	return version;
}

/* keep_limits: refuse the event if its tenant has reached a limit */
static inline void
keep_limits(const SnEvent *event)
{
	if (!sn_no_pressure)
		sn_pressure_keep(event->tenant_id, event->event_type);
	if (sn_limits_ask())
		sn_charge_event(event->tenant_id, sn_event_bytes(event));
}

/*
 * publish(event_type text, tenant_id text, aggregate_id text, payload jsonb,
 *		aggregate_type text, metadata jsonb, correlation_id text,
 *		causation_id uuid, idempotency_key text, deliver_at timestamptz,
 *		schema_version int) returns uuid
 */
Datum
sentinai_publish(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Datum		values[SN_INPUT_COLUMNS];
	bool		nulls[SN_INPUT_COLUMNS];
	SnEvent		event;
	int32		version = 0;
	int			i;

	PreventCommandIfReadOnly("publish()");
	for (i = 0; i < SN_INPUT_COLUMNS; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i);
	}
	if (!PG_ARGISNULL(10))
		version = check_version(PG_GETARG_INT32(10), 0);
	sn_check_event(&event, values, nulls, version, 0);
	if (!PG_ARGISNULL(7))
		event.causation_id = PG_GETARG_UUID_P(7);
	if (!PG_ARGISNULL(9))
		event.deliver_at = check_deliver_at(PG_GETARG_TIMESTAMPTZ(9), 0);
	if (PG_ARGISNULL(8))
	{
		sn_check_version(&event, version, 0);
		keep_limits(&event);
	}
	sn_flow_apply(&event);

	if (PG_ARGISNULL(8))
		sn_publish(&event, id);
	else
	{
		text	   *key = check_idempotency_key(PG_GETARG_DATUM(8));

		if (sn_idempotency_take(&event, key,
								sn_idempotency_body(&event), id))
		{
			sn_check_version(&event, version, 0);
			keep_limits(&event);	/* one that is repeated costs nothing */
			sn_publish_as(&event, id);
		}
	}
	PG_RETURN_UUID_P(id);
}

/* get_elements: an array argument, of as many elements as the batch has */
static Elements
get_elements(FunctionCallInfo fcinfo, int arg, Oid type, int n,
			 const char *what)
{
	Elements	result;
	ArrayType  *array;
	int16		len;
	bool		by_value;
	char		align;

	sn_event_require(PG_ARGISNULL(arg), 0, what);
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what, "must have one dimension");
	result.n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n >= 0 && result.n != n)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what,
			   "must have as many elements as event_types");
	if (result.n > sn_max_batch)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("batch of %d events is too large", result.n),
				 errdetail("sentinai.max_batch is %d.", sn_max_batch)));
	get_typlenbyvalalign(type, &len, &by_value, &align);
	deconstruct_array(array, type, len, by_value, align, &result.values,
					  &result.nulls, &result.n);
	return result;
}

/* A batch while it is published */
typedef struct Batch
{
	Elements	columns[EACH_COLUMNS];
	bool		is_array[EACH_COLUMNS];
	Datum		values[EACH_COLUMNS];	/* of the event at hand */
	bool		nulls[EACH_COLUMNS];
	Jsonb	   *metadata;		/* of all events; NULL: none */
	int			span_at;		/* see SnEvent */
	MemoryContext shared;		/* for what all events have */
	int			n;
	bool		each;			/* it is of publish_events() */
} Batch;

/*
 * place_of: how errors name an event of a batch, see event_check.c.  Whoever
 * hands over what he has may have one event, which is then as that of publish().
 */
static int
place_of(const Batch *batch, int i)
{
	return batch->each && batch->n == 1 ? 0 : i + 1;
}

/* get_array: a column of a batch that is an array; most may be left out */
static void
get_array(FunctionCallInfo fcinfo, Batch *batch, int c, Oid type,
		  const char *name)
{
	batch->is_array[c] = c <= SN_INPUT_PAYLOAD || !PG_ARGISNULL(c);
	if (!batch->is_array[c])
		return;
	batch->columns[c] = get_elements(fcinfo, c, type, batch->n, name);
	batch->n = batch->columns[c].n;
}

/* get_shared: what all events share is checked, and detoasted, once */
static void
get_shared(FunctionCallInfo fcinfo, Batch *batch)
{
	batch->values[SN_INPUT_AGGREGATE_TYPE] =
		PointerGetDatum(sn_event_aggregate_type(PG_GETARG_DATUM(SN_INPUT_AGGREGATE_TYPE),
												PG_ARGISNULL(SN_INPUT_AGGREGATE_TYPE),
												0));
	batch->nulls[SN_INPUT_AGGREGATE_TYPE] = false;
	if (!batch->each && !PG_ARGISNULL(SN_INPUT_METADATA))
		batch->metadata = sn_event_metadata(PG_GETARG_DATUM(SN_INPUT_METADATA),
											0);
}

/* get_batch: the arguments, as far as they concern the batch as a whole */
static void
get_batch(FunctionCallInfo fcinfo, Batch *batch, bool each)
{
	memset(batch, 0, sizeof(Batch));
	memset(batch->nulls, true, sizeof(batch->nulls));
	batch->n = -1;
	batch->each = each;
	batch->shared = CurrentMemoryContext;
	get_array(fcinfo, batch, SN_INPUT_EVENT_TYPE, TEXTOID, "event_types");
	get_array(fcinfo, batch, SN_INPUT_TENANT_ID, TEXTOID, "tenant_ids");
	get_array(fcinfo, batch, SN_INPUT_AGGREGATE_ID, TEXTOID, "aggregate_ids");
	get_array(fcinfo, batch, SN_INPUT_PAYLOAD, JSONBOID, "payloads");
	get_array(fcinfo, batch, SN_INPUT_CORRELATION_ID, TEXTOID,
			  "correlation_ids");
	if (each)
	{
		get_array(fcinfo, batch, SN_INPUT_METADATA, JSONBOID, "metadata");
		get_array(fcinfo, batch, EACH_CAUSATION_ID, UUIDOID, "causation_ids");
		get_array(fcinfo, batch, EACH_DELIVER_AT, TIMESTAMPTZOID,
				  "deliver_at");
		get_array(fcinfo, batch, EACH_SCHEMA_VERSION, INT4OID,
				  "schema_versions");
	}
	get_shared(fcinfo, batch);
}

/* metadata_size: what the metadata of an event counts for a limit of bytes */
static Size
metadata_size(const Batch *batch, int i)
{
	const Elements *own = &batch->columns[SN_INPUT_METADATA];

	if (batch->is_array[SN_INPUT_METADATA] && !own->nulls[i])
		return sn_event_size(own->values[i]);
	return batch->metadata == NULL ? sizeof(JsonbContainer) :
		VARSIZE_ANY_EXHDR(batch->metadata);
}

/* Events of one tenant that stand side by side in a batch */
typedef struct Side
{
	text	   *tenant_id;		/* NULL: none yet */
	int64		events;
	int64		bytes;
} Side;

/* charge_side: count them, and begin with those of another tenant */
static void
charge_side(SnCharge *charge, Side *side, text *tenant_id)
{
	if (charge != NULL && side->tenant_id != NULL)
		sn_charge_add(charge, side->tenant_id, side->events, side->bytes);
	*side = (Side) {tenant_id};
}

/*
 * keep_limits_of_batch: refuse the batch if one of its tenants has reached a
 * limit.  Whether the caller may publish for them comes first: nobody uses up
 * what is another's.
 */
static void
keep_limits_of_batch(const Batch *batch)
{
	const Elements *types = &batch->columns[SN_INPUT_EVENT_TYPE];
	const Elements *tenants = &batch->columns[SN_INPUT_TENANT_ID];
	const Elements *payloads = &batch->columns[SN_INPUT_PAYLOAD];
	SnCharge   *charge = sn_limits_ask() ?
		sn_charge_begin(CurrentMemoryContext) : NULL;
	Side		side = {NULL};
	int			i;

	for (i = 0; i < batch->n; i++)
	{
		int			place = place_of(batch, i);

		if (side.tenant_id == NULL || tenants->nulls[i] ||
			!sn_text_equal(side.tenant_id, DatumGetTextPP(tenants->values[i])))
			charge_side(charge, &side,
						sn_event_tenant(tenants->values[i], tenants->nulls[i],
										place));
		sn_event_require(types->nulls[i], place, "event_type");
		sn_event_require(payloads->nulls[i], place, "payload");
		if (!sn_no_pressure)
			sn_pressure_keep(side.tenant_id, DatumGetTextPP(types->values[i]));
		side.events++;
		side.bytes += sn_event_size(payloads->values[i]) +
			metadata_size(batch, i);
	}
	if (charge == NULL)
		return;
	charge_side(charge, &side, NULL);
	sn_charge_take(charge);
}

/* put_metadata: what all events of a batch share, with the trace they go on with */
static void
put_metadata(Batch *batch, SnEvent *event, int i)
{
	if (sn_flow_on)
		sn_flow_inherit(event);
	if (i == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->shared);
		SnEvent		first = {.metadata = batch->metadata == NULL ?
			event->metadata : batch->metadata};

		if (sn_flow_on || JB_ROOT_COUNT(first.metadata) > 0)
			first.metadata = sn_flow_metadata(first.metadata, &first.span_at);
		batch->metadata = first.metadata;
		batch->span_at = first.span_at;
		MemoryContextSwitchTo(old);
	}
	event->metadata = batch->metadata;
	event->span_at = batch->span_at;
	if (sn_redact_asks())
		sn_flow_redact(event);
}

/* get_each: what only publish_events() says of the event at hand */
static void
get_each(const Batch *batch, SnEvent *event, int place)
{
	const Datum *values = batch->values;
	const bool *nulls = batch->nulls;

	if (!nulls[EACH_CAUSATION_ID])
		event->causation_id = DatumGetUUIDP(values[EACH_CAUSATION_ID]);
	if (!nulls[EACH_DELIVER_AT])
		event->deliver_at =
			check_deliver_at(DatumGetTimestampTz(values[EACH_DELIVER_AT]),
							 place);
}

/* next_of_batch: the checked event at a place of the batch, from 0 */
static void
next_of_batch(Batch *batch, int i, SnEvent *event)
{
	int			place = place_of(batch, i);
	int32		version;
	int			c;

	for (c = 0; c < EACH_COLUMNS; c++)
		if (batch->is_array[c])
		{
			batch->values[c] = batch->columns[c].values[i];
			batch->nulls[c] = batch->columns[c].nulls[i];
		}
	version = batch->nulls[EACH_SCHEMA_VERSION] ? 0 :
		check_version(DatumGetInt32(batch->values[EACH_SCHEMA_VERSION]), place);
	sn_check_event(event, batch->values, batch->nulls, version, place);
	if (batch->each)
		get_each(batch, event, place);
	sn_check_version(event, version, place);
	if (batch->each)
		sn_flow_apply(event);
	else
		put_metadata(batch, event, i);
}

/* Events of a batch that wait to be written, with consecutive ids */
typedef struct BatchPart
{
	SnEvent    *events;			/* in the caller's order */
	MemoryContext context;		/* for what is made of them; NULL: nothing is */
	int			n;
	bool		mixed;			/* of several tenants */
	pg_uuid_t  *ids;			/* of all events of the batch, as written */
	Datum	   *result;			/* the same, in the caller's order */
} BatchPart;

/*
 * write_part: write what waits, tenant by tenant, and begin with the next.  Its
 * ticks are taken now that it is checked: calls that fail must not move the
 * clock ahead of the time.
 */
static void
write_part(SnWriter *writer, BatchPart *part)
{
	const int  *order = part->mixed ?
		sn_order_by_tenant(part->events, part->n) : NULL;
	SnEvent    *events = part->events;
	SnTick		tick = sn_clock_take(part->n);
	int			i;

	if (order != NULL)
		events = palloc(part->n * sizeof(SnEvent));
	for (i = 0; i < part->n; i++)
	{
		int			from = order == NULL ? i : order[i];

		if (order != NULL)
			events[i] = part->events[from];
		sn_uuid_make(tick + i, &part->ids[i]);
		part->result[from] = UUIDPGetDatum(&part->ids[i]);
	}
	sn_write_events(writer, events, part->ids, part->n, true);
	part->ids += part->n;
	part->result += part->n;
	part->n = 0;
	part->mixed = false;
	if (part->context != NULL)
		MemoryContextReset(part->context);
}

/* add_to_part: the checked event at a place of the batch, from 0 */
static void
add_to_part(BatchPart *part, Batch *batch, int i)
{
	SnEvent    *event = &part->events[part->n];
	MemoryContext old = CurrentMemoryContext;

	if (part->context != NULL)
		MemoryContextSwitchTo(part->context);
	next_of_batch(batch, i, event);
	MemoryContextSwitchTo(old);
	part->mixed |= part->n > 0 && !sn_same_tenant(event - 1, event);
	part->n++;
}

/*
 * begin_part: nothing waits.  What redaction makes is as large as the events,
 * and so may metadata be that each has for itself.
 */
static void
begin_part(BatchPart *part, const Batch *batch)
{
	int			n = batch->n;

	part->n = 0;
	part->mixed = false;
	part->events = palloc(Min(n, SN_ORDER_MAX) * sizeof(SnEvent));
	part->ids = palloc(n * sizeof(pg_uuid_t));
	part->result = palloc(n * sizeof(Datum));
	part->context = !sn_redact_asks() && !batch->each ? NULL :
		AllocSetContextCreate(CurrentMemoryContext, "sentinai batch",
							  ALLOCSET_DEFAULT_SIZES);
}

/* publish_all: publish a batch; returns the ids in the caller's order */
static Datum
publish_all(Batch *batch)
{
	SnWriter	writer;
	BatchPart	part;
	Datum	   *result;
	int			i;

	if (batch->n == 0)
		return PointerGetDatum(construct_empty_array(UUIDOID));
	begin_part(&part, batch);
	result = part.result;
	if (sn_limits_ask() || !sn_no_pressure)
		keep_limits_of_batch(batch);
	sn_store_ready();
	sn_write_begin(&writer);	/* the number before the ids */
	for (i = 0; i < batch->n; i++)
	{
		add_to_part(&part, batch, i);
		if (part.n == (part.mixed ? SN_ORDER_MAX : SN_RUN_MAX))
			write_part(&writer, &part);
	}
	if (part.n > 0)
		write_part(&writer, &part);
	sn_write_end(&writer);
	return PointerGetDatum(construct_array(result, batch->n, UUIDOID, UUID_LEN,
										   false, TYPALIGN_CHAR));
}

/*
 * publish_batch(event_types text[], tenant_ids text[], aggregate_ids text[],
 *		payloads jsonb[], aggregate_type text, metadata jsonb,
 *		correlation_ids text[]) returns uuid[]
 */
Datum
sentinai_publish_batch(PG_FUNCTION_ARGS)
{
	Batch		batch;

	PreventCommandIfReadOnly("publish_batch()");
	get_batch(fcinfo, &batch, false);
	return publish_all(&batch);
}

/*
 * publish_events(event_types text[], tenant_ids text[], aggregate_ids text[],
 *		payloads jsonb[], aggregate_type text, metadata jsonb[],
 *		correlation_ids text[], causation_ids uuid[], deliver_at timestamptz[],
 *		schema_versions int[]) returns uuid[]
 */
Datum
sentinai_publish_events(PG_FUNCTION_ARGS)
{
	Batch		batch;

	PreventCommandIfReadOnly("publish_events()");
	get_batch(fcinfo, &batch, true);
	return publish_all(&batch);
}
