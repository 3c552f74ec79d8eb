/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event.c
 *		Publishing: publish(), publish_batch() and what they share with the
 *		outbox view and with those that publish events about events.
 *
 * Arguments are checked by their stored size before they are detoasted or
 * copied.  No error text has payload, metadata or anything else a caller sent
 * in it.  sn_may_publish() is the one place that asks whether the caller may
 * write for a tenant, write_row() the one place that writes a row.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "base/json_size.h"
#include "log/event.h"
#include "log/idempotency.h"
#include "log/run.h"
#include "log/tenant_order.h"
#include "shared/shmem.h"
#include "store/wake.h"

#define NAME_MAX_LEN 128		/* of event and aggregate types */
#define CORRELATION_ID_MAX 512
#define METADATA_MAX (64 * 1024)
#define DELIVER_AT_MAX (INT64CONST(3653) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(sentinai_publish);
PG_FUNCTION_INFO_V1(sentinai_publish_batch);

/* An array argument of publish_batch() */
typedef struct Elements
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Elements;

/*
 * refuse_with: raise an error about an argument, with a hint unless it is NULL.
 * index is the place of the event in its batch, from 1, or 0 when there is no
 * batch.
 */
static void pg_attribute_noreturn()
refuse_with(int sqlstate, int index, const char *what, const char *why,
			const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 index > 0 ?
			 errmsg("event %d of the batch: %s %s", index, what, why) :
			 errmsg("%s %s", what, why),
			 hint == NULL ? 0 : errhint("%s", hint)));
	pg_unreachable();
}

/* refuse: the same without a hint */
static void pg_attribute_noreturn()
refuse(int sqlstate, int index, const char *what, const char *why)
{
	refuse_with(sqlstate, index, what, why, NULL);
}

static void
require(bool isnull, int index, const char *what)
{
	if (isnull)
		refuse(ERRCODE_NULL_VALUE_NOT_ALLOWED, index, what, "must not be null");
}

static Size
stored_size(Datum value)
{
	return toast_raw_datum_size(value) - VARHDRSZ;
}

static bool
has_control_character(const text *t)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(t);
	const unsigned char *end = p + VARSIZE_ANY_EXHDR(t);

	for (; p < end; p++)
		if (*p < 0x20 || *p == 0x7f)
			return true;
	return false;
}

/* check_text: a text of bounded size without control characters */
static text *
check_text(Datum value, Size max, int index, const char *what)
{
	text	   *t;

	if (stored_size(value) > max)
		refuse(ERRCODE_SN_INVALID, index, what,
			   psprintf("must not be longer than %zu bytes", max));
	t = DatumGetTextPP(value);
	if (has_control_character(t))
		refuse(ERRCODE_SN_INVALID, index, what,
			   "must not contain control characters");
	return t;
}

static bool
is_letter(unsigned char c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

static bool
is_name(const text *t)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(t);
	Size		len = VARSIZE_ANY_EXHDR(t);
	Size		i;

	for (i = 0; i < len; i++)
		if (!is_letter(p[i]) && (p[i] < '0' || p[i] > '9') &&
			(p[i] == '\0' || strchr("_.:-/", p[i]) == NULL))
			return false;
	return len > 0 && is_letter(p[0]);
}

/* A name that was checked, as most events have the one of the event before */
typedef struct KnownName
{
	Size		len;			/* 0: none */
	char		bytes[NAME_MAX_LEN];
} KnownName;

/* is_known: whether a name is the one that was checked last */
static bool
is_known(const KnownName *known, const text *t)
{
	return known->len > 0 && VARSIZE_ANY_EXHDR(t) == known->len &&
		memcmp(VARDATA_ANY(t), known->bytes, known->len) == 0;
}

/* check_name: an event type or aggregate type */
static text *
check_name(Datum value, bool isnull, int index, const char *what,
		   KnownName *known)
{
	text	   *t;

	require(isnull, index, what);
	if (!VARATT_IS_EXTENDED(DatumGetPointer(value)) ||
		VARATT_IS_SHORT(DatumGetPointer(value)))
	{
		t = (text *) DatumGetPointer(value);
		if (is_known(known, t))
			return t;
	}
	t = check_text(value, NAME_MAX_LEN, index, what);
	if (!is_name(t))
		refuse(ERRCODE_SN_INVALID, index, what,
			   "must begin with a letter and consist of letters, digits and \"_.:-/\"");
	known->len = VARSIZE_ANY_EXHDR(t);
	memcpy(known->bytes, VARDATA_ANY(t), known->len);
	return t;
}

/* check_event_type: mostly the type of the event before */
static text *
check_event_type(Datum value, bool isnull, int index)
{
	static KnownName known;

	return check_name(value, isnull, index, "event_type", &known);
}

/* check_aggregate_type: likewise */
static text *
check_aggregate_type(Datum value, bool isnull, int index)
{
	static KnownName known;

	return check_name(value, isnull, index, "aggregate_type", &known);
}

/* check_fit: what readers will have to hold is bounded, too */
static void
check_fit(Jsonb *json, Size max, int index, const char *what)
{
	switch (sn_json_fit(json, max))
	{
		case SN_JSON_FITS:
			break;
		case SN_JSON_TOO_LARGE:
			refuse_with(ERRCODE_SN_TOO_LARGE, index, what,
						psprintf("must not be larger than %zu kB as text",
								 max / 1024),
						"Numbers with large exponents are written out in full; a string can hold them as they are.");
		case SN_JSON_TOO_DEEP:
			refuse_with(ERRCODE_SN_INVALID, index, what,
						psprintf("must not be nested more than %d levels deep",
								 SN_JSON_DEPTH_MAX),
						"A string can hold the inner part as text.");
	}
}

/* check_object: a JSON object of bounded size and depth */
static Jsonb *
check_object(Datum value, Size max, int index, const char *what)
{
	Jsonb	   *json;

	if (stored_size(value) > max)
		refuse(ERRCODE_SN_TOO_LARGE, index, what,
			   psprintf("must not be larger than %zu kB", max / 1024));
	json = DatumGetJsonbP(value);
	if (!JB_ROOT_IS_OBJECT(json))
		refuse(ERRCODE_SN_INVALID, index, what, "must be a JSON object");
	check_fit(json, max, index, what);
	return json;
}

/* empty_object: '{}' */
static Jsonb *
empty_object(void)
{
	static uint32 empty[2];

	SET_VARSIZE(empty, sizeof(empty));
	empty[1] = JB_FOBJECT;
	return (Jsonb *) empty;
}

/* check_tenant: whose event it is, if the caller may write for them */
static text *
check_tenant(Datum value, bool isnull, int index)
{
	text	   *tenant_id;

	require(isnull, index, "tenant_id");
	tenant_id = check_text(value, SN_TENANT_MAX, index, "tenant_id");
	if (!sn_may_publish(tenant_id))
		refuse(ERRCODE_SN_TENANT_NOT_ALLOWED, index, "tenant_id",
			   "is not one the caller may publish for");
	return tenant_id;
}

static text *
check_aggregate_id(Datum value, bool isnull, int index)
{
	text	   *aggregate_id;

	if (isnull)
		return NULL;
	aggregate_id = check_text(value, SN_AGGREGATE_ID_MAX, index,
							  "aggregate_id");
	if (VARSIZE_ANY_EXHDR(aggregate_id) == 0)
		refuse(ERRCODE_SN_INVALID, index, "aggregate_id", "must not be empty");
	return aggregate_id;
}

/*
 * sn_may_publish: whether the caller may publish for a tenant and is within
 * its limits.  The only place that asks.
 */
bool
sn_may_publish(const text *tenant_id)
{
	return VARSIZE_ANY_EXHDR(tenant_id) > 0;
}

/*
 * sn_check_event: the checked event made of the columns that every way to
 * publish has.  index is the event's place in
 * its batch, from 1, or 0.
 */
void
sn_check_event(SnEvent *event, const Datum *values, const bool *nulls,
			   int index)
{
	memset(event, 0, sizeof(SnEvent));
	event->deliver_at = DT_NOBEGIN;
	event->schema_version = 1;
	event->event_type = check_event_type(values[SN_EVENT_TYPE],
										 nulls[SN_EVENT_TYPE], index);
	event->tenant_id = check_tenant(values[SN_TENANT_ID],
									nulls[SN_TENANT_ID], index);
	event->aggregate_id = check_aggregate_id(values[SN_AGGREGATE_ID],
											 nulls[SN_AGGREGATE_ID], index);
	require(nulls[SN_PAYLOAD], index, "payload");
	event->payload = check_object(values[SN_PAYLOAD],
								  (Size) sn_max_payload * 1024, index,
								  "payload");
	event->aggregate_type = check_aggregate_type(values[SN_AGGREGATE_TYPE],
												 nulls[SN_AGGREGATE_TYPE],
												 index);
	event->metadata = nulls[SN_METADATA] ? empty_object() :
		check_object(values[SN_METADATA], METADATA_MAX, index, "metadata");
	if (!nulls[SN_CORRELATION_ID])
		event->correlation_id = check_text(values[SN_CORRELATION_ID],
										   CORRELATION_ID_MAX, index,
										   "correlation_id");
}

/* check_deliver_at: a time ahead, or DT_NOBEGIN when it has come already */
static TimestampTz
check_deliver_at(TimestampTz deliver_at)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TIMESTAMP_NOT_FINITE(deliver_at))
		refuse(ERRCODE_SN_INVALID, 0, "deliver_at", "must be finite");
	if (deliver_at > now + DELIVER_AT_MAX)
		refuse(ERRCODE_SN_INVALID, 0, "deliver_at",
			   "must not be more than ten years ahead");
	return deliver_at > now ? deliver_at : DT_NOBEGIN;
}

static text *
check_idempotency_key(Datum value)
{
	text	   *key = check_text(value, SN_IDEMPOTENCY_KEY_MAX, 0,
								 "idempotency_key");

	if (VARSIZE_ANY_EXHDR(key) == 0)
		refuse(ERRCODE_SN_INVALID, 0, "idempotency_key", "must not be empty");
	return key;
}

/* newest_id_tick: the tick of the newest row of a partition, or 0 */
static SnTick
newest_id_tick(Oid partition)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	pg_uuid_t	limit;
	ScanKeyData key;
	SnScan		scan;
	SnTick		result = 0;

	if (rel == NULL)
		return 0;				/* dropped meanwhile: what is newer counts */
	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		relation_close(rel, AccessShareLock);
		return 0;
	}
	/* rows of dead transactions count too: they cost nothing to pass */
	sn_uuid_floor(SN_MAX_MS, &limit);
	sn_key_uuid(&key, 1, BTLessStrategyNumber, &limit);
	sn_scan_begin(&scan, partition, sn_index_of(rel, Anum_log_event_id),
				  SnapshotAny, 1, &key, BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;
		Datum		id = slot_getattr(scan.slot, Anum_log_event_id, &isnull);

		result = sn_uuid_tick(DatumGetUUIDP(id));
	}
	sn_scan_end(&scan);
	relation_close(rel, AccessShareLock);
	return result;
}

/* newest_round_tick: the tick of the newest round in a half, or 0 */
static SnTick
newest_round_tick(int half)
{
	ScanKeyData key;
	SnScan		scan;
	SnTick		result = 0;

	sn_key_int8(&key, 1, BTLessStrategyNumber, SN_MAX_MS - SN_EPOCH_MS);
	sn_scan_named(&scan, SN_ROUND_0 + half,
				  SN_ROUND_0_IDX + half, SnapshotAny, 1, &key,
				  BackwardScanDirection);
	if (sn_scan_next(&scan))
	{
		bool		isnull;
		int64		round_no = DatumGetInt64(slot_getattr(scan.slot,
														  Anum_round_no,
														  &isnull));

		/* all of the round's millisecond has passed */
		result = ((SnTick) (SN_EPOCH_MS + round_no + 1) << SN_TICK_BITS) - 1;
	}
	sn_scan_end(&scan);
	return result;
}

/*
 * sn_store_ready: see to it that the clock is above everything stored in this
 * database, before the first tick for it is taken after a server start.  Times
 * the extension cannot handle are left out: no clock of ours made them.
 */
void
sn_store_ready(void)
{
	SnDatabase *db = sn_database();
	SnTick		newest = (SnTick) SN_EPOCH_MS << SN_TICK_BITS;
	SnTick		tick = 0;
	List	   *parts;
	int			i;

	if (pg_atomic_read_u32(&db->clock_ready) != 0)
		return;
	parts = sn_partitions(SN_EVENT_LOG);
	for (i = list_length(parts) - 1; i >= 0 && tick == 0; i--)
		tick = newest_id_tick(list_nth_oid(parts, i));
	newest = Max(newest, tick);
	for (i = 0; i < 2; i++)
		newest = Max(newest, newest_round_tick(i));
	sn_clock_raise(newest);
	pg_atomic_write_u32(&db->clock_ready, 1);
}

/*
 * sn_take_id: the id of an event that is about to be published.  The number of
 * the transaction is taken before, which is what tells the sequencer when no
 * more ids of a time can come, see gather.c.
 */
void
sn_take_id(pg_uuid_t *id)
{
	sn_store_ready();
	(void) GetTopTransactionId();
	sn_uuid_make(sn_clock_take(1), id);
}

/* sn_write_begin: start to write events */
void
sn_write_begin(SnWriter *writer)
{
	memset(writer, 0, sizeof(SnWriter));
	writer->txid = sn_logical_txid();
}

/* turn_to: have the writer write to the partition of an id */
static void
turn_to(SnWriter *writer, const pg_uuid_t *id)
{
	Oid			partition;

	if (writer->inserter != NULL && sn_range_covers(&writer->range, id))
		return;
	partition = sn_range_require(SN_EVENT_LOG, id, RowExclusiveLock,
								 &writer->range);
	if (writer->inserter != NULL)
		(void) sn_insert_end(writer->inserter);
	writer->inserter = sn_insert_begin(partition, false);
}

/* write_row: one row of the log.  The only place that writes one. */
static void
write_row(SnWriter *writer, const SnEvent *event, const pg_uuid_t *id,
		  int32 hash, int16 run, Datum run_keys)
{
	Datum		values[Natts_log];
	bool		nulls[Natts_log] = {false};

	values[Anum_log_event_id - 1] = UUIDPGetDatum(id);
	values[Anum_log_txid - 1] = Int64GetDatum(writer->txid);
	values[Anum_log_occurred_at - 1] =
		TimestampTzGetDatum(sn_tick_timestamp(sn_uuid_tick(id)));
	values[Anum_log_partition_hash - 1] = Int32GetDatum(hash);
	values[Anum_log_schema_version - 1] = Int32GetDatum(event->schema_version);
	values[Anum_log_run - 1] = Int16GetDatum(run);
	values[Anum_log_tenant_id - 1] = PointerGetDatum(event->tenant_id);
	values[Anum_log_aggregate_type - 1] = PointerGetDatum(event->aggregate_type);
	values[Anum_log_aggregate_id - 1] = PointerGetDatum(event->aggregate_id);
	nulls[Anum_log_aggregate_id - 1] = event->aggregate_id == NULL;
	values[Anum_log_event_type - 1] = PointerGetDatum(event->event_type);
	values[Anum_log_correlation_id - 1] = PointerGetDatum(event->correlation_id);
	nulls[Anum_log_correlation_id - 1] = event->correlation_id == NULL;
	values[Anum_log_causation_id - 1] = UUIDPGetDatum(event->causation_id);
	nulls[Anum_log_causation_id - 1] = event->causation_id == NULL;
	values[Anum_log_deliver_at - 1] = TimestampTzGetDatum(event->deliver_at);
	nulls[Anum_log_deliver_at - 1] = event->deliver_at == DT_NOBEGIN;
	values[Anum_log_payload - 1] = JsonbPGetDatum(event->payload);
	values[Anum_log_metadata - 1] = JsonbPGetDatum(event->metadata);
	values[Anum_log_run_keys - 1] = run_keys;
	nulls[Anum_log_run_keys - 1] = run_keys == (Datum) 0;
	sn_insert_row(writer->inserter, values, nulls);
}

/* run_length: how many of n events with consecutive ids make a run */
static int
run_length(const SnWriter *writer, const SnEvent *events,
		   const pg_uuid_t *ids, int n)
{
	int			len = 1;

	while (len < Min(n, SN_RUN_MAX) && sn_same_tenant(&events[0], &events[len]) &&
		   sn_range_covers(&writer->range, &ids[len]))
		len++;
	return len;
}

/* write_run: write events of one tenant with consecutive ids, or one event */
static void
write_run(SnWriter *writer, const SnEvent *events, const pg_uuid_t *ids,
		  int len)
{
	int16		first = len == 1 ? SN_RUN_NONE :
		sn_long_run > 0 && len >= sn_long_run ? SN_RUN_LONG : SN_RUN_SHORT;
	int32		hashes[SN_RUN_MAX];
	Datum		keys = (Datum) 0;
	int			i = 0;

	do
		hashes[i] = sn_key_hash(events[i].tenant_id, events[i].aggregate_id);
	while (++i < len);
	if (first == SN_RUN_LONG)
		keys = sn_run_keys(hashes, len);
	for (i = 0; i < len; i++)
		write_row(writer, &events[i], &ids[i], hashes[i],
				  i == 0 ? first : -first, i == 0 ? keys : (Datum) 0);
}

/*
 * sn_write_events: write events.  consecutive: so are the ticks of their ids,
 * as one call took them; the events make runs then.
 */
void
sn_write_events(SnWriter *writer, const SnEvent *events, const pg_uuid_t *ids,
				int n, bool consecutive)
{
	int			i = 0;

	while (i < n)
	{
		int			len = 1;

		turn_to(writer, &ids[i]);
		if (consecutive)
			len = run_length(writer, &events[i], &ids[i], n - i);
		write_run(writer, &events[i], &ids[i], len);
		i += len;
	}
}

/* sn_write_end: the events are in the log, and the sequencer will know */
void
sn_write_end(SnWriter *writer)
{
	if (writer->inserter == NULL)
		return;
	(void) sn_insert_end(writer->inserter);
	sn_note_published();
}

/* write_one: write an event that is alone */
static void
write_one(const SnEvent *event, const pg_uuid_t *id)
{
	SnWriter	writer;

	sn_write_begin(&writer);
	sn_write_events(&writer, event, id, 1, false);
	sn_write_end(&writer);
}

/* sn_publish: publish a checked event and return the id taken for it */
void
sn_publish(const SnEvent *event, pg_uuid_t *id)
{
	sn_take_id(id);
	write_one(event, id);
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
	Datum		values[SN_EVENT_COLUMNS];
	bool		nulls[SN_EVENT_COLUMNS];
	SnEvent		event;
	int			i;

	PreventCommandIfReadOnly("publish()");
	for (i = 0; i < SN_EVENT_COLUMNS; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i);
	}
	sn_check_event(&event, values, nulls, 0);
	if (!PG_ARGISNULL(7))
		event.causation_id = PG_GETARG_UUID_P(7);
	if (!PG_ARGISNULL(9))
		event.deliver_at = check_deliver_at(PG_GETARG_TIMESTAMPTZ(9));
	if (!PG_ARGISNULL(10))
		event.schema_version = PG_GETARG_INT32(10);
	if (event.schema_version < 1)
		refuse(ERRCODE_SN_INVALID, 0, "schema_version", "must be at least 1");

	if (PG_ARGISNULL(8))
		sn_publish(&event, id);
	else
	{
		text	   *key = check_idempotency_key(PG_GETARG_DATUM(8));

		if (sn_idempotency_take(event.tenant_id, key,
								sn_idempotency_body(&event), id))
			write_one(&event, id);
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

	require(PG_ARGISNULL(arg), 0, what);
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		refuse(ERRCODE_SN_INVALID, 0, what, "must have one dimension");
	result.n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n >= 0 && result.n != n)
		refuse(ERRCODE_SN_INVALID, 0, what,
			   "must have as many elements as event_types");
	if (result.n > sn_max_batch)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("batch of %d events is too large", result.n),
				 errdetail("sentinai.max_batch is %d.", sn_max_batch)));
	deconstruct_array(array, type, -1, false, TYPALIGN_INT, &result.values,
					  &result.nulls, &result.n);
	return result;
}

/* A batch while it is published */
typedef struct Batch
{
	Elements	columns[SN_EVENT_COLUMNS];
	bool		is_array[SN_EVENT_COLUMNS];
	Datum		values[SN_EVENT_COLUMNS];	/* of the event at hand */
	bool		nulls[SN_EVENT_COLUMNS];
	int			n;
} Batch;

/* get_batch: the arguments, as far as they concern the batch as a whole */
static void
get_batch(FunctionCallInfo fcinfo, Batch *batch)
{
	static const char *const names[] = {"event_types", "tenant_ids",
	"aggregate_ids", "payloads"};
	int			c;

	batch->n = -1;
	for (c = 0; c < SN_EVENT_COLUMNS; c++)
	{
		batch->values[c] = PG_GETARG_DATUM(c);
		batch->nulls[c] = PG_ARGISNULL(c);
		batch->is_array[c] = c <= SN_PAYLOAD ||
			(c == SN_CORRELATION_ID && !batch->nulls[c]);
		if (!batch->is_array[c])
			continue;
		batch->columns[c] =
			get_elements(fcinfo, c, c == SN_PAYLOAD ? JSONBOID : TEXTOID,
						 batch->n,
						 c <= SN_PAYLOAD ? names[c] : "correlation_ids");
		batch->n = batch->columns[c].n;
	}

	/* what all events share is checked, and detoasted, once */
	batch->values[SN_AGGREGATE_TYPE] =
		PointerGetDatum(check_aggregate_type(batch->values[SN_AGGREGATE_TYPE],
											 batch->nulls[SN_AGGREGATE_TYPE],
											 0));
	if (!batch->nulls[SN_METADATA])
		batch->values[SN_METADATA] =
			JsonbPGetDatum(check_object(batch->values[SN_METADATA],
										METADATA_MAX, 0, "metadata"));
}

/* next_event: the checked event at a place of the batch, from 0 */
static void
next_event(Batch *batch, int place, SnEvent *event)
{
	int			c;

	for (c = 0; c < SN_EVENT_COLUMNS; c++)
		if (batch->is_array[c])
		{
			batch->values[c] = batch->columns[c].values[place];
			batch->nulls[c] = batch->columns[c].nulls[place];
		}
	sn_check_event(event, batch->values, batch->nulls, place + 1);
}

/* Events of a batch that wait to be written, with consecutive ids */
typedef struct BatchPart
{
	SnEvent    *events;			/* in the caller's order */
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
	SnWriter	writer;
	BatchPart	part = {NULL};
	Datum	   *result;
	int			i;

	PreventCommandIfReadOnly("publish_batch()");
	get_batch(fcinfo, &batch);
	if (batch.n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(UUIDOID));

	part.events = palloc(Min(batch.n, SN_ORDER_MAX) * sizeof(SnEvent));
	part.ids = palloc(batch.n * sizeof(pg_uuid_t));
	part.result = result = palloc(batch.n * sizeof(Datum));
	sn_store_ready();
	sn_write_begin(&writer);	/* the number before the ids */
	for (i = 0; i < batch.n; i++)
	{
		SnEvent    *event = &part.events[part.n++];

		next_event(&batch, i, event);
		part.mixed |= part.n > 1 && !sn_same_tenant(event - 1, event);
		if (part.n == (part.mixed ? SN_ORDER_MAX : SN_RUN_MAX))
			write_part(&writer, &part);
	}
	if (part.n > 0)
		write_part(&writer, &part);
	sn_write_end(&writer);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, batch.n, UUIDOID, UUID_LEN,
										  false, TYPALIGN_CHAR));
}
