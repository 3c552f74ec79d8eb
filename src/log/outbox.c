/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox.c
 *		Rows of the table outbox: publish by INSERT or COPY.
 *
 * A row is checked, takes its id and is buffered; the end of the statement, or
 * a full buffer, writes the rows in bulk.  Rows belong to the
 * subtransaction that inserted them, so each has a buffer of its own: what an
 * inner one rolls back takes nothing of an outer one with it.
 *
 * An id the caller gives never becomes the event's id: rounds are ordered by
 * id, so ids of any other clock would deliver events of one aggregate in
 * another order than they were committed in.  It is kept in the metadata as
 * "outbox_id", and noted as an idempotency key, so that giving it twice is
 * the unique violation that a table would raise.
 *
 * COPY into the table cannot ask for the ids of its rows, so they are taken when
 * the rows are written, all at once: such rows make runs (event_run.h).
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "log/clock_floor.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/event_run.h"
#include "log/flow.h"
#include "log/idempotency.h"
#include "log/outbox.h"
#include "log/tenant_order.h"
#include "store/xact_end.h"
#include "tenancy/charge.h"
#include "tenancy/limit.h"
#include "tenancy/pressure.h"

#define BUFFER_ROWS SN_RUN_MAX	/* of one tenant; more would not stay in the
								 * cache */
#define BUFFER_SIZE (1024 * 1024)	/* bytes */

/* The rows of a subtransaction that are not written yet */
typedef struct RowBuffer
{
	struct RowBuffer *next;
	SubTransactionId subid;
	MemoryContext context;		/* of the buffer */
	MemoryContext rows;			/* of what has no room in the arena */
	char	   *arena;			/* what the rows point to, used again for the
								 * next ones */
	Size		arena_size;
	int			n;
	int			room;			/* of the arrays */
	bool		late_ids;		/* taken when the rows are written */
	bool		mixed;			/* those, of several tenants */
	Size		size;
	SnEvent    *events;
	pg_uuid_t  *ids;
	SnCharge   *charge;			/* what the statement took of limits, or NULL */
} RowBuffer;

static RowBuffer *buffers = NULL;	/* in TopTransactionContext */

static void forget_rows(SubTransactionId subid);

/* get_buffer: the buffer of the current subtransaction */
static RowBuffer *
get_buffer(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	MemoryContext context;
	RowBuffer  *buffer;

	for (buffer = buffers; buffer != NULL; buffer = buffer->next)
		if (buffer->subid == subid)
			return buffer;

	sn_note_buffered(forget_rows);
	context = AllocSetContextCreate(TopTransactionContext, "sentinai outbox",
									ALLOCSET_DEFAULT_SIZES);
	buffer = MemoryContextAlloc(context, sizeof(RowBuffer));
	buffer->next = buffers;
	buffer->subid = subid;
	buffer->context = context;
	buffer->rows = AllocSetContextCreate(context, "sentinai outbox rows",
										 ALLOCSET_DEFAULT_SIZES);
	buffer->arena = NULL;
	buffer->arena_size = 0;
	buffer->n = 0;
	buffer->late_ids = false;
	buffer->mixed = false;
	buffer->size = 0;
	buffer->charge = NULL;
	buffer->room = 8;
	buffer->events = MemoryContextAlloc(context,
										buffer->room * sizeof(SnEvent));
	buffer->ids = MemoryContextAlloc(context,
									 buffer->room * sizeof(pg_uuid_t));
	buffers = buffer;
	return buffer;
}

/* forget_rows: drop what a subtransaction, or any, has not written */
static void
forget_rows(SubTransactionId subid)
{
	RowBuffer **link = &buffers;

	while (*link != NULL)
	{
		RowBuffer  *buffer = *link;

		if (subid != InvalidSubTransactionId && buffer->subid != subid)
		{
			link = &buffer->next;
			continue;
		}
		*link = buffer->next;
		MemoryContextDelete(buffer->context);
	}
}

/* put_in_order: the rows tenant by tenant, for they get their ids only now */
static void
put_in_order(RowBuffer *buffer)
{
	const int  *order = sn_order_by_tenant(buffer->events, buffer->n);
	SnEvent    *events;
	int			i;

	if (order == NULL)
		return;
	events = palloc(buffer->n * sizeof(SnEvent));
	for (i = 0; i < buffer->n; i++)
		events[i] = buffer->events[order[i]];
	memcpy(buffer->events, events, buffer->n * sizeof(SnEvent));
	pfree(events);
}

/* take_ids: consecutive ids for the rows */
static void
take_ids(RowBuffer *buffer)
{
	SnTick		tick;
	int			i;

	if (buffer->mixed)
		put_in_order(buffer);
	sn_store_ready();
	tick = sn_clock_take(buffer->n);
	for (i = 0; i < buffer->n; i++)
		sn_uuid_make(tick + i, &buffer->ids[i]);
}

/* make_arena: have room for as much again as the rows took this time */
static void
make_arena(RowBuffer *buffer)
{
	Size		size;

	MemoryContextReset(buffer->rows);
	if (buffer->size <= buffer->arena_size || buffer->size > BUFFER_SIZE)
		return;
	size = Min(buffer->size + buffer->size / 8, BUFFER_SIZE);
	if (buffer->arena != NULL)
		pfree(buffer->arena);
	buffer->arena_size = 0;		/* in case there is no memory */
	buffer->arena = NULL;
	buffer->arena = MemoryContextAlloc(buffer->context, size);
	buffer->arena_size = size;
}

/* write_buffer: put the rows into the log */
static void
write_buffer(RowBuffer *buffer)
{
	SnWriter	writer;

	sn_write_begin(&writer);	/* the number before the ids */
	if (buffer->n > 0 && buffer->late_ids)
		take_ids(buffer);
	sn_write_events(&writer, buffer->events, buffer->ids, buffer->n,
					buffer->late_ids);
	sn_write_end(&writer);
	if (buffer->n >= BUFFER_ROWS)
		make_arena(buffer);
	else
		MemoryContextReset(buffer->rows);
	buffer->n = 0;
	buffer->mixed = false;
	buffer->size = 0;
}

/* room_for: the memory that a copy of a value takes */
static Size
room_for(const void *value)
{
	return value == NULL ? 0 : MAXALIGN(VARSIZE_ANY(value));
}

/* copy_to: copy a value to a place, which is moved behind it */
static void *
copy_to(char **place, const void *value)
{
	char	   *copy = *place;

	if (value == NULL)
		return NULL;
	memcpy(copy, value, VARSIZE_ANY(value));
	*place += room_for(value);
	return copy;
}

/* keep: have what a row points to outlive the row */
static void
keep(RowBuffer *buffer, SnEvent *row)
{
	Size		size = room_for(row->event_type) + room_for(row->tenant_id) +
		room_for(row->aggregate_type) + room_for(row->aggregate_id) +
		room_for(row->payload) + room_for(row->metadata) +
		room_for(row->correlation_id) +
		(row->causation_id != NULL ? MAXALIGN(UUID_LEN) : 0);
	char	   *place;

	if (buffer->arena != NULL && buffer->size + size <= buffer->arena_size)
		place = buffer->arena + buffer->size;
	else
		place = MemoryContextAllocHuge(buffer->rows, size);
	buffer->size += size;
	row->event_type = copy_to(&place, row->event_type);
	row->tenant_id = copy_to(&place, row->tenant_id);
	row->aggregate_type = copy_to(&place, row->aggregate_type);
	row->aggregate_id = copy_to(&place, row->aggregate_id);
	row->payload = copy_to(&place, row->payload);
	row->metadata = copy_to(&place, row->metadata);
	row->correlation_id = copy_to(&place, row->correlation_id);
	if (row->causation_id != NULL)
		row->causation_id = memcpy(place, row->causation_id, UUID_LEN);
}

/*
 * write_before: write the rows of the other kind, with ids or without, so that
 * the ids of all are in the order of the rows.
 */
static void
write_before(bool late_ids)
{
	RowBuffer  *buffer = get_buffer();

	if (buffer->n > 0 && buffer->late_ids != late_ids)
		write_buffer(buffer);
}

/* add_row: buffer a row; without an id it gets one when it is written */
static void
add_row(const SnEvent *event, const pg_uuid_t *id)
{
	RowBuffer  *buffer = get_buffer();
	SnEvent    *row;

	buffer->late_ids = id == NULL;
	if (buffer->n == buffer->room)
	{
		buffer->room *= 2;
		buffer->events = repalloc(buffer->events,
								  buffer->room * sizeof(SnEvent));
		buffer->ids = repalloc(buffer->ids, buffer->room * sizeof(pg_uuid_t));
	}
	row = &buffer->events[buffer->n];
	*row = *event;
	keep(buffer, row);
	if (id != NULL)
		buffer->ids[buffer->n] = *id;
	buffer->mixed |= id == NULL && buffer->n > 0 && !sn_same_tenant(row - 1, row);
	buffer->n++;
	if (buffer->n == (buffer->mixed ? SN_ORDER_MAX : BUFFER_ROWS) ||
		buffer->size >= BUFFER_SIZE)
		write_buffer(buffer);
}

/* keep_limits_of_row: refuse the statement if a tenant has reached a limit */
static void
keep_limits_of_row(const SnEvent *event)
{
	RowBuffer  *buffer = get_buffer();

	if (buffer->charge == NULL)
		buffer->charge = sn_charge_begin(buffer->context);
	if (buffer->charge != NULL)
		sn_charge_row(buffer->charge, event->tenant_id,
					  sn_event_bytes(event));
}

/* add_outbox_id: the id that the caller gave, in metadata that no rule sees again */
static void
add_outbox_id(SnEvent *event, Datum given)
{
	char	   *json = psprintf("{\"%s\": \"%s\"}", SN_OUTBOX_ID,
								DatumGetCString(DirectFunctionCall1(uuid_out,
																	given)));
	Datum		object = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));

	event->metadata = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
														 JsonbPGetDatum(event->metadata),
														 object));
	if (event->span_at != 0)
		event->span_at = sn_flow_span_at(event->metadata);
}

/*
 * take_given: take an id for a row whose id the caller gave, once; false when
 * it was given before.
 */
static bool
take_given(SnEvent *event, Datum given, SnOutboxRow *row)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(uuid_out, given));
	char	   *key = psprintf("\001%s", text); /* no caller's key has \001 */

	if (!sn_idempotency_take(event, cstring_to_text(key), 0,
							 &row->id))
	{
		if (row->unless_present)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("duplicate id in outbox"),
				 errdetail("A row with the id %s was inserted before.",
						   text)));
	}
	return true;
}

/*
 * sn_outbox_put: check a row, take its id and buffer it; false when its id was
 * given before and that is no error.
 */
bool
sn_outbox_put(TupleTableSlot *slot, SnOutboxRow *row)
{
	static const int source[SN_INPUT_COLUMNS] = {
		[SN_INPUT_EVENT_TYPE] = OUTBOX_TYPE,
		[SN_INPUT_TENANT_ID] = OUTBOX_TENANT_ID,
		[SN_INPUT_AGGREGATE_ID] = OUTBOX_AGGREGATEID,
		[SN_INPUT_PAYLOAD] = OUTBOX_PAYLOAD,
		[SN_INPUT_AGGREGATE_TYPE] = OUTBOX_AGGREGATETYPE,
		[SN_INPUT_METADATA] = OUTBOX_METADATA,
	};
	Datum		values[SN_INPUT_COLUMNS];
	bool		nulls[SN_INPUT_COLUMNS];
	SnEvent		event;
	int			c;

	slot_getallattrs(slot);
	for (c = 0; c < SN_INPUT_COLUMNS; c++)
	{
		values[c] = c == SN_INPUT_CORRELATION_ID ? (Datum) 0 :
			slot->tts_values[source[c]];
		nulls[c] = c == SN_INPUT_CORRELATION_ID || slot->tts_isnull[source[c]];
	}
	sn_check_event(&event, values, nulls, 0, 0);
	row->late &= slot->tts_isnull[OUTBOX_ID];
	write_before(row->late);
	if (!slot->tts_isnull[OUTBOX_ID] &&
		!take_given(&event, slot->tts_values[OUTBOX_ID], row))
		return false;
	sn_check_version(&event, 0, 0);
	if (slot->tts_isnull[OUTBOX_ID] && !row->late)
		sn_take_id(&row->id);
	if (!sn_no_pressure)
		sn_pressure_keep(event.tenant_id, event.event_type);
	if (sn_limits_ask())
		keep_limits_of_row(&event);
	sn_flow_apply(&event);
	if (!slot->tts_isnull[OUTBOX_ID])
		add_outbox_id(&event, slot->tts_values[OUTBOX_ID]);
	if (event.span_at != 0 && !row->late)
		sn_put_span(event.metadata, event.span_at, &row->id);
	row->payload = event.payload;
	row->metadata = event.metadata;
	add_row(&event, row->late ? NULL : &row->id);
	return true;
}

/* sn_outbox_write: write what this subtransaction has put there */
void
sn_outbox_write(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	RowBuffer  *buffer;

	for (buffer = buffers; buffer != NULL; buffer = buffer->next)
		if (buffer->subid == subid)
		{
			write_buffer(buffer);
			forget_rows(subid);
			break;
		}
}
