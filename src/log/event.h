/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event.h
 *		Publishing, for the functions of the API and for those that publish
 *		events about events.
 */
#ifndef SN_EVENT_H
#define SN_EVENT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "base/sentinai.h"
#include "shared/clock.h"
#include "store/range.h"
#include "store/store.h"

#define SN_TENANT_MAX		256 /* bytes */
#define SN_AGGREGATE_ID_MAX 1024

/* Columns that every way to publish has; the first arguments of publish() */
enum
{
	SN_INPUT_EVENT_TYPE, SN_INPUT_TENANT_ID, SN_INPUT_AGGREGATE_ID,
	SN_INPUT_PAYLOAD,
	SN_INPUT_AGGREGATE_TYPE, SN_INPUT_METADATA, SN_INPUT_CORRELATION_ID,
	SN_INPUT_COLUMNS
};

/* An event to write; what is null in the row is NULL or as noted */
typedef struct SnEvent
{
	text	   *event_type;
	text	   *tenant_id;
	text	   *aggregate_type;
	text	   *aggregate_id;	/* may be NULL */
	text	   *correlation_id; /* may be NULL */
	const pg_uuid_t *causation_id;	/* may be NULL */
	TimestampTz deliver_at;		/* DT_NOBEGIN: at once */
	int32		schema_version;
	int32		asked_version;	/* that the publisher named; 1: none, or 1 */
	Jsonb	   *payload;
	Jsonb	   *metadata;
	int			span_at;		/* where its span goes in there, see flow.c; 0:
								 * nowhere */
} SnEvent;

/* sn_event_bytes: what a limit of bytes counts of an event */
#define sn_event_bytes(event) \
	(VARSIZE_ANY_EXHDR((event)->payload) + VARSIZE_ANY_EXHDR((event)->metadata))

/* Writes events to the log; all of a transaction's rows go through one */
typedef struct SnWriter
{
	SnInserter *inserter;		/* NULL: nothing written yet */
	SnRange		range;			/* that it writes to */
	int64		txid;
} SnWriter;

extern void sn_take_id(pg_uuid_t *id);
extern bool sn_same_tenant(const SnEvent *a, const SnEvent *b);
extern void sn_put_span(Jsonb *metadata, int span_at, const pg_uuid_t *id);
extern void sn_publish(const SnEvent *event, pg_uuid_t *id);
extern void sn_publish_as(const SnEvent *event, const pg_uuid_t *id);
extern void sn_event_own(SnEvent *event, const char *type,
						 const char *payload);

extern void sn_write_begin(SnWriter *writer);
extern void sn_write_events(SnWriter *writer, const SnEvent *events,
							const pg_uuid_t *ids, int n, bool consecutive);
extern void sn_write_end(SnWriter *writer);

/* partition_key.c */
extern int32 sn_key_hash(const text *tenant_id, const text *aggregate_id);

#endif							/* SN_EVENT_H */
