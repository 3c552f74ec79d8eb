/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_read.c
 *		What comes next in the lanes of a relay.
 *
 * First the lanes say which events are wanted, then their rows are fetched in
 * the order in which they lie in the log: the lanes' events are mixed there, so
 * that a page is looked up once for all of its rows, and pages follow each
 * other.  What comes out is in the lanes' order again.
 *
 * An event is put into one piece of memory, strings and all, so that the core
 * can copy it as one.  An event whose row is gone, because its partition was
 * dropped by hand, is passed over.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "json_text.h"
#include "log.h"
#include "relay_store.h"
#include "stream.h"

#define EVENT_COST	256			/* bytes of an event beside its payload */

#define FIRST_WANTS 1024		/* room to begin with */

/* An event that is to be fetched */
typedef struct Want
{
	int			lane;
	bool		seen;			/* its row was looked for */
	SnPos		next_pos;
	pg_uuid_t	id;
	ItemPointerData place;
	SnRelayEvent *event;		/* NULL: not there */
} Want;

/* The place of a wanted event's row, and its number */
typedef struct Order
{
	uint64		place;
	int			want;
} Order;

struct SnRelayReader
{
	Snapshot	snapshot;
	SnStreamReader *stream;
	SnLogReader *log;
	StringInfoData json;
	Want	   *wants;			/* lane after lane, each in its order */
	int			nwants;
	int			room;			/* of wants */
};

#define ST_SORT sort_by_place
#define ST_ELEMENT_TYPE Order
#define ST_COMPARE(a, b) \
	((a)->place < (b)->place ? -1 : (a)->place > (b)->place)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static const SnSource whole_log = {SN_STREAM_ALL, SN_POS_MAX, NULL};

/* sn_relay_read_begin: read under a snapshot taken now */
SnRelayReader *
sn_relay_read_begin(void)
{
	SnRelayReader *reader = palloc0(sizeof(SnRelayReader));

	reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
	reader->stream = sn_stream_begin();
	reader->log = sn_log_begin(reader->snapshot);
	initStringInfo(&reader->json);
	reader->room = FIRST_WANTS;
	reader->wants = palloc(reader->room * sizeof(Want));
	return reader;
}

void
sn_relay_read_end(SnRelayReader *reader)
{
	sn_log_end(reader->log);
	sn_stream_end(reader->stream);
	UnregisterSnapshot(reader->snapshot);
}

/* text_of: a text column, or NULL */
static const text *
text_of(TupleTableSlot *slot, AttrNumber column)
{
	return slot->tts_isnull[column - 1] ? NULL :
		DatumGetTextPP(slot->tts_values[column - 1]);
}

/* text_size: bytes of a text with a NUL behind it; 0 for none */
static inline size_t
text_size(const text *t)
{
	return t == NULL ? 0 : VARSIZE_ANY_EXHDR(t) + 1;
}

/* put: bytes and a NUL; NULL stays NULL */
static const char *
put(char **at, const char *bytes, size_t len)
{
	char	   *start = *at;

	if (bytes == NULL)
		return NULL;
	memcpy(start, bytes, len);
	start[len] = '\0';
	*at += len + 1;
	return start;
}

/* put_text: a text as a string */
static const char *
put_text(char **at, const text *t)
{
	return t == NULL ? NULL : put(at, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* put_uuid: an id in its usual form */
static const char *
put_uuid(char **at, const pg_uuid_t *id)
{
	static const char hex[] = "0123456789abcdef";
	char	   *start = *at;
	char	   *p = start;
	int			i;

	for (i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[id->data[i] >> 4];
		*p++ = hex[id->data[i] & 15];
	}
	*p++ = '\0';
	*at = p;
	return start;
}

#define UUID_SIZE (2 * UUID_LEN + 5)	/* of put_uuid() */

/* jsonb_of: a JSON column; NULL for an empty one, which is just a header */
static Jsonb *
jsonb_of(TupleTableSlot *slot, AttrNumber column)
{
	Datum		datum = slot->tts_values[column - 1];

	if (VARSIZE_ANY_EXHDR(DatumGetPointer(datum)) <= sizeof(JsonbContainer))
		return NULL;
	return DatumGetJsonbP(datum);
}

/* metadata_string: a string in the metadata; its length is 0 without one */
static JsonbValue
metadata_string(Jsonb *metadata, const char *name)
{
	JsonbValue	value;

	if (metadata == NULL || !JB_ROOT_IS_OBJECT(metadata) ||
		getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvString)
	{
		value.type = jbvNull;
		value.val.string.val = NULL;
		value.val.string.len = 0;
	}
	return value;
}

/* make_event: what the record is made of, from the row just fetched */
static SnRelayEvent *
make_event(SnRelayReader *reader, const pg_uuid_t *id)
{
	TupleTableSlot *slot = reader->log->slot;
	SnRelayEvent *e;
	SnRecordEvent *r;
	const text *type;
	const text *tenant;
	const text *aggregate_type;
	const text *aggregate_id;
	const text *correlation;
	Jsonb	   *metadata;
	Jsonb	   *payload;
	JsonbValue	parent;
	JsonbValue	state;
	size_t		size;
	char	   *at;

	slot_getallattrs(slot);
	type = text_of(slot, Anum_log_event_type);
	tenant = text_of(slot, Anum_log_tenant_id);
	aggregate_type = text_of(slot, Anum_log_aggregate_type);
	aggregate_id = text_of(slot, Anum_log_aggregate_id);
	correlation = text_of(slot, Anum_log_correlation_id);
	metadata = jsonb_of(slot, Anum_log_metadata);
	parent = metadata_string(metadata, "traceparent");
	state = metadata_string(metadata, "tracestate");
	payload = DatumGetJsonbP(slot->tts_values[Anum_log_payload - 1]);
	resetStringInfo(&reader->json);
	sn_json_text(&reader->json, &payload->root);
	if ((Pointer) payload !=
		DatumGetPointer(slot->tts_values[Anum_log_payload - 1]))
		pfree(payload);

	size = 2 * UUID_SIZE + text_size(type) + text_size(tenant) +
		text_size(aggregate_type) + text_size(aggregate_id) +
		text_size(correlation) + parent.val.string.len +
		state.val.string.len + 2 + reader->json.len + 1;
	e = palloc(sizeof(SnRelayEvent) + size);
	at = (char *) (e + 1);
	r = &e->event;
	memset(r, 0, sizeof(SnRecordEvent));
	r->block = at;
	r->event_id = put_uuid(&at, id);
	r->event_type = put_text(&at, type);
	r->tenant_id = put_text(&at, tenant);
	r->aggregate_type = put_text(&at, aggregate_type);
	r->aggregate_id = put_text(&at, aggregate_id);
	r->correlation_id = put_text(&at, correlation);
	if (!slot->tts_isnull[Anum_log_causation_id - 1])
		r->causation_id =
			put_uuid(&at,
					 DatumGetUUIDP(slot->tts_values[Anum_log_causation_id - 1]));
	r->traceparent = put(&at, parent.val.string.val, parent.val.string.len);
	r->tracestate = put(&at, state.val.string.val, state.val.string.len);
	r->payload = put(&at, reader->json.data, reader->json.len);
	r->payload_len = reader->json.len;
	r->block_len = at - r->block;
	r->schema_version =
		DatumGetInt32(slot->tts_values[Anum_log_schema_version - 1]);
	r->occurred_us =
		DatumGetTimestampTz(slot->tts_values[Anum_log_occurred_at - 1]) +
		SN_UNIX_EPOCH_US;
	return e;
}

/* add_want: room for another event */
static Want *
add_want(SnRelayReader *reader)
{
	if (reader->nwants == reader->room)
	{
		reader->room *= 2;
		reader->wants = repalloc(reader->wants, reader->room * sizeof(Want));
	}
	return &reader->wants[reader->nwants++];
}

/*
 * sn_relay_want: the next events of a lane, at most max, are to be fetched.
 * Returns how many; *more says whether it stopped before it had seen the end
 * of the lane.
 */
int
sn_relay_want(SnRelayReader *reader, int lane, SnPos pos, int max, bool *more)
{
	SnPos		at;
	pg_uuid_t	id;
	int			n;

	*more = true;
	sn_stream_seek(reader->stream, &whole_log, 1, lane, pos, reader->snapshot);
	for (n = 0; n < max; n++)
	{
		Want	   *want;

		if (!sn_stream_next(reader->stream, &at, &id))
		{
			*more = false;
			break;
		}
		want = add_want(reader);
		want->lane = lane;
		want->seen = false;
		want->next_pos = at + 1;
		want->id = id;
		want->place = reader->stream->place;
		want->event = NULL;
	}
	return n;
}

/* fetch: the event that is wanted, if it is there; returns its size */
static size_t
fetch(SnRelayReader *reader, Want *want)
{
	CHECK_FOR_INTERRUPTS();
	want->seen = true;
	if (!sn_log_fetch_at(reader->log, &want->id, &want->place))
		return 0;
	want->event = make_event(reader, &want->id);
	want->event->lane = want->lane;
	want->event->next_pos = want->next_pos;
	return want->event->event.payload_len + EVENT_COST;
}

/* order_of: numbers of the wanted events by the place of their rows */
static Order *
order_of(const SnRelayReader *reader)
{
	Order	   *order = palloc(reader->nwants * sizeof(Order));
	int			i;

	for (i = 0; i < reader->nwants; i++)
	{
		const ItemPointerData *place = &reader->wants[i].place;

		order[i].want = i;
		order[i].place =
			(uint64) ItemPointerGetBlockNumberNoCheck(place) << 16 |
			ItemPointerGetOffsetNumberNoCheck(place);
	}
	sort_by_place(order, reader->nwants);
	return order;
}

/*
 * sn_relay_fetch: the wanted events, lane after lane, as far as so many bytes
 * go, but one at least; lanes of which some had to be left are added to *left.
 */
List *
sn_relay_fetch(SnRelayReader *reader, size_t bytes, uint64 *left)
{
	Order	   *order = order_of(reader);
	List	   *events = NIL;
	uint64		cut = 0;
	int			i;

	for (i = 0; i < reader->nwants && bytes > 0; i++)
		bytes -= Min(bytes, fetch(reader, &reader->wants[order[i].want]));
	pfree(order);
	for (i = 0; i < reader->nwants; i++)
	{
		Want	   *want = &reader->wants[i];
		uint64		bit = UINT64CONST(1) << want->lane;

		if (!want->seen && events == NIL)
			(void) fetch(reader, want);
		if (!want->seen)
			cut |= bit;
		else if (want->event != NULL && (cut & bit) == 0)
			events = lappend(events, want->event);
	}
	*left |= cut;
	return events;
}
