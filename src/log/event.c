/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event.c
 *		Writing events to the log.
 *
 * For publish() and publish_batch(), the outbox view, and those that publish
 * events about events.  write_log_row() is the one place that writes a row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "base/text.h"
#include "log/clock_floor.h"
#include "log/event.h"
#include "log/event_run.h"
#include "registry/event_type.h"
#include "store/xact_end.h"

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

/* sn_put_span: the span of an event, in metadata that was made for it */
void
sn_put_span(Jsonb *metadata, int span_at, const pg_uuid_t *id)
{
	(void) hex_encode((const char *) id->data + UUID_LEN / 2, UUID_LEN / 2,
					  (char *) metadata + span_at);
}

/* write_log_row: one row of the log.  The only place that writes one. */
static void
write_log_row(SnWriter *writer, const SnEvent *event, const pg_uuid_t *id,
			  int32 hash, int16 run, Datum run_keys)
{
	Datum		values[Natts_log];
	bool		nulls[Natts_log] = {false};

	if (event->span_at != 0)
		sn_put_span(event->metadata, event->span_at, id);
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

/* sn_same_tenant: whether two events belong to one tenant */
bool
sn_same_tenant(const SnEvent *a, const SnEvent *b)
{
	return sn_text_equal(a->tenant_id, b->tenant_id);
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

/*
 * write_run: write events of one tenant with consecutive ids, or one event.
 * lone: if it is one, it has others of other tenants beside it.
 */
static void
write_run(SnWriter *writer, const SnEvent *events, const pg_uuid_t *ids,
		  int len, bool lone)
{
	int16		first = len == 1 ? (lone ? SN_RUN_LONE : SN_RUN_NONE) :
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
		write_log_row(writer, &events[i], &ids[i], hashes[i],
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
		write_run(writer, &events[i], &ids[i], len,
				  consecutive && n > 1 && sn_long_run > 0);
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

/* sn_publish_as: publish a checked event under an id that was taken for it */
void
sn_publish_as(const SnEvent *event, const pg_uuid_t *id)
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
	sn_publish_as(event, id);
}

/*
 * sn_event_own: an event that the extension itself is going to publish.  The
 * caller says whose it is.
 */
void
sn_event_own(SnEvent *event, const char *type, const char *payload)
{
	memset(event, 0, sizeof(SnEvent));
	event->event_type = cstring_to_text(type);
	event->deliver_at = DT_NOBEGIN;
	event->payload = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														CStringGetDatum(payload)));
	event->metadata = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														 CStringGetDatum("{}")));
	event->schema_version = sn_type_check(event->event_type, 0, event->payload,
										  0);
}
