/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record.h
 *		From an event to the record a broker gets: topic, key, headers, value.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RECORD_H
#define SN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"

/* What sentinai.record_format offers. */
typedef enum SnRecordFormat
{
	SN_RECORD_CLOUDEVENTS,
	SN_RECORD_DEBEZIUM,
	SN_RECORD_RAW,
	SN_RECORD_STRUCTURED		/* cloudevents_structured */
} SnRecordFormat;

/* Default of the topic template, and what debezium uses without one. */
#define SN_RECORD_TOPIC "sentinai.{aggregate_type}"
#define SN_RECORD_TOPIC_DEBEZIUM "outbox.event.{aggregate_type}"

/* Longest topic name of Kafka, and longest template. */
#define SN_RECORD_MAX_TOPIC 249
#define SN_RECORD_MAX_TEMPLATE 1024

/*
 * An event as the relay read it.  Strings end in NUL and are UTF-8; those
 * marked "or NULL" may be absent.
 */
typedef struct SnRecordEvent
{
	const char *event_id;
	const char *event_type;
	const char *tenant_id;
	const char *aggregate_type;
	const char *aggregate_id;	/* or NULL: an event of the tenant itself */
	int			schema_version; /* 0 = none */
	int64_t		occurred_us;	/* microseconds since 1970, UTC */
	const char *correlation_id; /* or NULL */
	const char *causation_id;	/* or NULL */
	const char *traceparent;	/* or NULL */
	const char *tracestate;		/* or NULL; only sent with a traceparent */
	const char *outbox_id;		/* or NULL: the id of the row that it was */
	const char *refused_id;		/* or NULL: the event that a broker refused, which
								 * all but event_id is about */
	const char *refused_topic;	/* of it; or NULL: it had none */
	const char *refused_error;	/* of it */
	const char *payload;		/* JSON text, goes out byte for byte; or NULL of
								 * a refused event that has too much of it */
	size_t		payload_len;
	const char *metadata;		/* or NULL: for each key that the rules name a
								 * string: '=' and what is there, or nothing */
	size_t		metadata_len;	/* with the NULs */
	bool		tombstone;		/* it is sent without a value */
	bool		unwanted;		/* it is to be passed over */
	uint64_t	opaque;
	const char *block;			/* holds all of these strings; or NULL */
	size_t		block_len;
} SnRecordEvent;

/* Makes records; one per relay, kept from record to record. */
typedef struct SnRecordMaker SnRecordMaker;

/* How records are made.  Strings are copied. */
typedef struct SnRecordOptions
{
	SnRecordFormat format;
	bool		occurred_timestamp; /* of records; else that of sending */
	const char *topic_template; /* NULL or "": the format's default */
	const char *control_topic;	/* NULL or "": control events are not sent */
	const char *dead_letter_topic;	/* NULL or "": refused events go nowhere */
	const char *database;
	const char *rules;			/* NULL or "": none (record_rules.h) */
} SnRecordOptions;

extern bool sn_is_topic_char(char c);
extern bool sn_record_check_template(const char *topic_template,
									 char *err, size_t err_len);
extern bool sn_record_check_topic(const char *topic,
								  char *err, size_t err_len);
extern bool sn_record_fill_template(const char *topic_template,
									const SnRecordEvent *event, char *topic,
									char *err, size_t err_len);
extern const char *sn_record_default_topic(SnRecordFormat format);
extern size_t sn_record_schema(char *out, const char *event_type, int version);
extern SnRecordMaker *sn_record_open(const SnRecordOptions *options,
									 char *err, size_t err_len);
extern bool sn_record_wanted(const SnRecordMaker *maker,
							 const SnRecordEvent *event);
extern bool sn_record_make(SnRecordMaker *maker, const SnRecordEvent *event,
						   SnRecord *record, char *err, size_t err_len);
extern void sn_record_close(SnRecordMaker *maker);

#endif							/* SN_RECORD_H */
