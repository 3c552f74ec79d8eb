/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_record.c
 *		Topic, key, headers and value of records in every format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/record.h"

#define ID "01924a3e-5f5e-7abc-8def-0123456789ab"
#define OUTBOX_ID "0d9f4c5e-6b1a-4c3d-8e2f-0123456789ab"
#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static char err[256];

/* An event with everything. */
static SnRecordEvent
full_event(void)
{
	SnRecordEvent event = {
		.event_id = ID,
		.event_type = "Order/Created",
		.tenant_id = "ten ant",
		.aggregate_type = "order",
		.aggregate_id = "o:1 \xc3\xa4",
		.schema_version = 3,
		.occurred_us = 1356998400123456LL,
		.correlation_id = "corr",
		.causation_id = "cause",
		.traceparent = TRACE,
		.tracestate = "k=v",
		.payload = "{\"a\": 1}",
		.payload_len = 8,
		.opaque = UINT64_MAX - 7
	};

	return event;
}

/* A maker that must come about. */
static SnRecordMaker *
open_maker(SnRecordFormat format, const char *topic)
{
	SnRecordOptions options = {
		.format = format, .topic_template = topic, .database = "db 1"
	};
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));

	if (maker == NULL)
		fail_msg("%s", err);
	return maker;
}

/* Value of a header; it must be there once at most. */
static const char *
header(const SnRecord *record, const char *name)
{
	const char *value = NULL;
	int			i;

	for (i = 0; i < record->nheaders; i++)
	{
		if (strcmp(record->headers[i].name, name) != 0)
			continue;
		assert_null(value);
		value = record->headers[i].value;
		assert_int_equal(record->headers[i].value_len, strlen(value));
	}
	return value;
}

/* Key as text. */
static void
assert_key(const SnRecord *record, const char *key)
{
	assert_int_equal(record->key_len, strlen(key));
	assert_memory_equal(record->key, key, strlen(key));
}

/* The time of the event, for those who want that. */
static void
test_occurred_timestamp(void **state)
{
	SnRecordOptions options = {
		.format = SN_RECORD_RAW, .occurred_timestamp = true, .database = "db"
	};
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	assert_non_null(maker);
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_true(record.timestamp_ms == 1356998400123LL);
	sn_record_close(maker);
}

/* CloudEvents in binary mode, all attributes. */
static void
test_cloudevents(void **state)
{
	SnRecordMaker *maker = open_maker(SN_RECORD_CLOUDEVENTS, NULL);
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "sentinai.order");
	assert_key(&record, "ten ant:o:1 \xc3\xa4");
	assert_ptr_equal(record.value, event.payload);
	assert_int_equal(record.value_len, 8);
	assert_true(record.timestamp_ms == 0);	/* the time of sending */
	assert_true(record.opaque == UINT64_MAX - 7);
	assert_int_equal(record.nheaders, 16);
	assert_string_equal(header(&record, "ce_specversion"), "1.0");
	assert_string_equal(header(&record, "ce_id"), ID);
	assert_string_equal(header(&record, "ce_source"),
						"/sentinai/db%201/ten%20ant");
	assert_string_equal(header(&record, "ce_type"), "Order/Created");
	assert_string_equal(header(&record, "ce_time"),
						"2013-01-01T00:00:00.123Z");
	assert_string_equal(header(&record, "ce_subject"), "o:1 \xc3\xa4");
	assert_string_equal(header(&record, "ce_tenantid"), "ten ant");
	assert_string_equal(header(&record, "ce_correlationid"), "corr");
	assert_string_equal(header(&record, "ce_causationid"), "cause");
	assert_string_equal(header(&record, "ce_dataschema"),
						"urn:sentinai:schema:Order%2FCreated:3");
	assert_string_equal(header(&record, "ce_partitionkey"),
						"ten ant:o:1 \xc3\xa4");
	assert_string_equal(header(&record, "content-type"), "application/json");
	assert_string_equal(header(&record, "traceparent"), TRACE);
	assert_string_equal(header(&record, "tracestate"), "k=v");
	assert_string_equal(header(&record, "ce_traceparent"), TRACE);
	assert_string_equal(header(&record, "ce_tracestate"), "k=v");
	sn_record_close(maker);
}

/* What the event lacks gives no header, and the tenant is the key. */
static void
test_cloudevents_bare(void **state)
{
	SnRecordMaker *maker = open_maker(SN_RECORD_CLOUDEVENTS, NULL);
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	event.aggregate_id = event.correlation_id = event.causation_id = NULL;
	event.traceparent = NULL;
	event.schema_version = 0;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_key(&record, "ten ant");
	assert_int_equal(record.nheaders, 8);
	assert_string_equal(header(&record, "ce_id"), ID);
	assert_null(header(&record, "ce_subject"));
	assert_null(header(&record, "ce_correlationid"));
	assert_null(header(&record, "ce_causationid"));
	assert_null(header(&record, "ce_dataschema"));
	assert_null(header(&record, "traceparent"));
	assert_null(header(&record, "tracestate"));

	/* an empty aggregate id is not the same as none */
	event.aggregate_id = "";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_key(&record, "ten ant:");
	sn_record_close(maker);
}

/* Debezium's outbox router: topic, key and headers. */
static void
test_debezium(void **state)
{
	SnRecordMaker *maker = open_maker(SN_RECORD_DEBEZIUM, "");
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "outbox.event.order");
	assert_key(&record, "o:1 \xc3\xa4");
	assert_int_equal(record.nheaders, 5);
	assert_string_equal(header(&record, "traceparent"), TRACE);
	assert_string_equal(header(&record, "tracestate"), "k=v");
	assert_string_equal(header(&record, "id"), ID);
	assert_string_equal(header(&record, "eventType"), "Order/Created");
	assert_string_equal(header(&record, "event_id"), ID);
	assert_ptr_equal(record.value, event.payload);
	event.outbox_id = OUTBOX_ID;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(header(&record, "id"), OUTBOX_ID);
	assert_string_equal(header(&record, "event_id"), ID);
	event.outbox_id = "0d9f4c5e-6b1a-4c3d-8e2f-00000000000X";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(header(&record, "id"), ID);
	event.outbox_id = "o";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(header(&record, "id"), ID);
	event.aggregate_id = NULL;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_key(&record, "ten ant");
	sn_record_close(maker);
	maker = open_maker(SN_RECORD_DEBEZIUM, "x.{aggregate_type}");
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "x.order");
	sn_record_close(maker);
}

/* Raw: the payload and the event id. */
static void
test_raw(void **state)
{
	SnRecordMaker *maker = open_maker(SN_RECORD_RAW, "all");
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "all");
	assert_key(&record, "ten ant:o:1 \xc3\xa4");
	assert_int_equal(record.nheaders, 3);
	assert_string_equal(header(&record, "traceparent"), TRACE);
	assert_string_equal(header(&record, "tracestate"), "k=v");
	assert_string_equal(header(&record, "event_id"), ID);
	event.traceparent = NULL;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_int_equal(record.nheaders, 1);
	sn_record_close(maker);
}

/* CloudEvents in structured mode: the attributes are in the value. */
static void
test_structured(void **state)
{
	static const char all[] =
		"{\"specversion\":\"1.0\",\"id\":\"" ID "\","
		"\"source\":\"/sentinai/db%201/ten%20ant\",\"type\":\"Order/Created\","
		"\"time\":\"2013-01-01T00:00:00.123Z\",\"subject\":\"a\\\"\\\\\\u0001\\u000a\xc3\xa4\","
		"\"tenantid\":\"ten ant\",\"correlationid\":\"corr\",\"causationid\":\"cause\","
		"\"dataschema\":\"urn:sentinai:schema:Order%2FCreated:3\","
		"\"partitionkey\":\"ten ant:a\\\"\\\\\\u0001\\u000a\xc3\xa4\","
		"\"traceparent\":\"" TRACE "\",\"tracestate\":\"k=v\","
		"\"datacontenttype\":\"application/json\",\"data\":{\"a\": 1}}";
	SnRecordMaker *maker = open_maker(SN_RECORD_STRUCTURED, NULL);
	SnRecordEvent event = full_event();
	SnRecord	record;
	char	   *large = calloc(1, 3000001);
	int			i;

	(void) state;
	assert_non_null(large);
	memset(large, ' ', 3000000);
	event.aggregate_id = "a\"\\\1\n\xc3\xa4";
	for (i = 0; i < 3; i++)
	{
		/* a large one between two small: its memory is given back */
		event.payload = i == 1 ? large : "{\"a\": 1}";
		event.payload_len = strlen(event.payload);
		assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
		assert_int_equal(record.value_len,
						 strlen(all) - 8 + event.payload_len);
		if (i != 1)
			assert_memory_equal(record.value, all, strlen(all));
		assert_int_equal(record.nheaders, 4);
	}
	free(large);
	assert_key(&record, "ten ant:a\"\\\1\n\xc3\xa4");
	assert_string_equal(record.topic, "sentinai.order");
	assert_string_equal(header(&record, "event_id"), ID);
	assert_string_equal(header(&record, "content-type"), "application/cloudevents+json; charset=UTF-8");
	assert_string_equal(header(&record, "traceparent"), TRACE);
	assert_string_equal(header(&record, "tracestate"), "k=v");
	sn_record_close(maker);
}

/* A relay's own rules: key, headers, topics by event type, tombstones. */
static void
test_rules(void **state)
{
	static const char rules[] = "key={aggregate_type}/{metadata.user}; "
		"headers=region:eu,%41%2c:%3D; headers.metadata=user:x-user,none,ce:ce_ext; "
		"topics=Paid:paid.{tenant},Bad:d.{aggregate_type}; tombstones=Deleted,Paid";
	static const char metadata[] = "=\xc3\xa4 1\0\0=x";
	SnRecordOptions options = {
		.topic_template = "all", .dead_letter_topic = "d.order",
		.database = "db 1", .rules = rules
	};
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));
	SnRecordEvent event = full_event();
	SnRecord	record;
	char		large[1028] = "";	/* and two that are not there */

	(void) state;
	if (maker == NULL)
		fail_msg("%s", err);
	event.metadata = metadata;
	event.metadata_len = sizeof(metadata);
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "all");
	assert_key(&record, "order/\xc3\xa4 1");
	assert_string_equal(header(&record, "ce_partitionkey"), "order/\xc3\xa4 1");
	assert_string_equal(header(&record, "region"), "eu");
	assert_string_equal(header(&record, "A,"), "=");
	assert_string_equal(header(&record, "x-user"), "\xc3\xa4 1");
	assert_null(header(&record, "none"));
	assert_string_equal(header(&record, "ce_ext"), "x");
	assert_int_equal(record.nheaders, 20);
	assert_ptr_equal(record.value, event.payload);

	/* what has no value for it keeps the key, and a tombstone no value */
	event.metadata = "\0\0";
	event.metadata_len = 3;
	event.event_type = "Paid";
	event.tenant_id = "acme";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "paid.acme");
	assert_key(&record, "acme:o:1 \xc3\xa4");
	assert_null(record.value);
	assert_int_equal(record.value_len, 0);
	assert_string_equal(header(&record, "ce_id"), ID);
	assert_null(header(&record, "content-type"));
	event.event_type = "Bad";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "dead.letter.topic"));

	/* a value that no header can have */
	event.event_type = "Other";
	memset(large, 'x', 1025);
	large[0] = '=';
	event.metadata = large;
	event.metadata_len = sizeof(large);
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	sn_record_close(maker);
	options.rules = "headers.metadata=a";
	options.format = SN_RECORD_STRUCTURED;
	maker = sn_record_open(&options, err, sizeof(err));
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_int_equal(strlen(header(&record, "a")), 1024);
	assert_null(header(&record, "ce_id"));
	sn_record_close(maker);
	options.rules = "key={tennant}";
	assert_null(sn_record_open(&options, err, sizeof(err)));
}

/* Dead letters have their reasons under the names of one of the two. */
static void
test_dead_letter_headers(void **state)
{
	SnRecordOptions options = {
		.topic_template = "all", .dead_letter_topic = "d.order", .database = "db 1"
	};
	SnRecordEvent event = full_event();
	SnRecordMaker *maker;
	SnRecord	record;

	(void) state;
	event.refused_id = ID;
	event.refused_error = "too large";
	options.rules = "dead.letter.topic=d.order; dead.letter.headers=connect";
	maker = sn_record_open(&options, err, sizeof(err));
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "d.order");
	assert_string_equal(header(&record, "__connect.errors.exception.message"), "too large");
	assert_null(header(&record, "kafka_dlt-exception-message"));
	sn_record_close(maker);
	options.rules = "dead.letter.headers=spring; dead.letter.topic=d.order";
	maker = sn_record_open(&options, err, sizeof(err));
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_null(header(&record, "__connect.errors.exception.message"));
	assert_string_equal(header(&record, "kafka_dlt-exception-message"), "too large");
	sn_record_close(maker);
}

/* A trace that is not one is not passed on, and its state goes with it. */
static void
test_bad_trace(void **state)
{
	SnRecordMaker *maker = open_maker(SN_RECORD_CLOUDEVENTS, NULL);
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	event.traceparent = "00";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_null(header(&record, "traceparent"));
	assert_null(header(&record, "tracestate"));
	assert_null(header(&record, "ce_traceparent"));
	assert_null(header(&record, "ce_tracestate"));
	event.traceparent = TRACE;
	event.tracestate = "no state";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(header(&record, "traceparent"), TRACE);
	assert_null(header(&record, "tracestate"));
	sn_record_close(maker);
}

/* Control events: not at all, or in a topic of their own and with their type. */
static void
test_control(void **state)
{
	static const SnRecordFormat formats[] = {
		SN_RECORD_CLOUDEVENTS, SN_RECORD_DEBEZIUM, SN_RECORD_RAW,
		SN_RECORD_STRUCTURED
	};
	static const char *const types[] = {"DeadLettered", "RetryScheduled"};
	SnRecordOptions options = {.database = "db"};
	SnRecordEvent event = full_event();
	SnRecordMaker *maker;
	SnRecord	record;
	size_t		i;

	(void) state;
	for (i = 0; i < 8; i++)
	{
		options.format = formats[i / 2];
		options.control_topic = i % 2 == 0 ? "" : NULL;
		event.event_type = types[i % 2];
		maker = sn_record_open(&options, err, sizeof(err));
		assert_false(sn_record_wanted(maker, &event));
		event.event_type = "DeadLettered2";
		assert_true(sn_record_wanted(maker, &event));
		event.event_type = NULL;
		assert_true(sn_record_wanted(maker, &event));
		sn_record_close(maker);

		options.control_topic = "its.own";
		event.event_type = types[i % 2];
		maker = sn_record_open(&options, err, sizeof(err));
		assert_true(sn_record_wanted(maker, &event));
		assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
		assert_string_equal(record.topic, "its.own");
		assert_key(&record, "ten ant:o:1 \xc3\xa4");
		assert_string_equal(header(&record, "ce_type"), types[i % 2]);
		assert_string_equal(header(&record, "ce_id"), ID);
		event.event_type = "Other";
		assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
		assert_string_not_equal(record.topic, "its.own");
		sn_record_close(maker);
	}
}

/* Nothing but control events goes to their topic. */
static void
test_control_alone(void **state)
{
	SnRecordOptions options = {
		.topic_template = "x.{aggregate_type}", .control_topic = "x.control",
		.database = "db"
	};
	SnRecordEvent event = full_event();
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));
	SnRecord	record;

	(void) state;
	event.aggregate_type = "control";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "control_topic"));
	sn_record_close(maker);
	options.topic_template = options.control_topic;
	assert_null(sn_record_open(&options, err, sizeof(err)));
	options.topic_template = NULL;
	options.control_topic = "x.{tenant}";
	assert_null(sn_record_open(&options, err, sizeof(err)));
	options.control_topic = "__consumer_offsets";
	assert_null(sn_record_open(&options, err, sizeof(err)));
	options.control_topic = "a/b";
	assert_null(sn_record_open(&options, err, sizeof(err)));
}

/* What a broker has refused: where it is wanted, as it was, and what was wrong. */
static void
test_refused(void **state)
{
	SnRecordOptions options = {
		.topic_template = "x.{aggregate_type}", .control_topic = "x.control",
		.dead_letter_topic = "x.dead", .database = "db"
	};
	SnRecordEvent event = full_event();
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));
	SnRecord	record;
	int			i;

	(void) state;
	event.event_id = "00000000-0000-7000-8000-000000000001";
	event.refused_id = ID;
	event.refused_topic = "x.order";
	event.refused_error = "too large";
	event.occurred_us = INT64_C(0x0102030405) * 1000;
	assert_true(sn_record_wanted(maker, &event));
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "x.dead");
	assert_key(&record, "ten ant:o:1 \xc3\xa4");
	assert_string_equal(header(&record, "ce_id"), ID);
	assert_string_equal(header(&record, "ce_type"), event.event_type);
	assert_string_equal(header(&record, "__connect.errors.topic"), "x.order");
	assert_string_equal(header(&record, "__connect.errors.exception.message"), "too large");
	assert_string_equal(header(&record, "kafka_dlt-original-topic"), "x.order");
	assert_string_equal(header(&record, "kafka_dlt-exception-message"), "too large");
	assert_string_equal(header(&record, "kafka_dlt-original-timestamp-type"), "CreateTime");
	for (i = 0; i < record.nheaders; i++)
		if (strcmp(record.headers[i].name, "kafka_dlt-original-timestamp") == 0)
		{
			assert_int_equal(record.headers[i].value_len, 8);
			assert_memory_equal(record.headers[i].value,
								"\0\0\0\1\2\3\4\5", 8);
		}
	assert_null(header(&record, "sentinai_payload"));
	assert_ptr_equal(record.value, event.payload);
	event.refused_topic = event.payload = NULL;
	event.payload_len = 0;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_null(header(&record, "__connect.errors.topic"));
	assert_string_equal(header(&record, "sentinai_payload"), "omitted");

	event = full_event();
	event.event_type = "RecordRefused";
	assert_false(sn_record_wanted(maker, &event));
	event.event_type = "Other";
	event.aggregate_type = "dead";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "dead_letter_topic"));
	sn_record_close(maker);
	event.refused_id = ID;
	options.dead_letter_topic = "";
	maker = sn_record_open(&options, err, sizeof(err));
	assert_false(sn_record_wanted(maker, &event));
	sn_record_close(maker);
	options.dead_letter_topic = options.control_topic;
	assert_null(sn_record_open(&options, err, sizeof(err)));
	options.dead_letter_topic = "a/b";
	assert_null(sn_record_open(&options, err, sizeof(err)));
}

/* Times around the epoch and at the ends of the calendar. */
static void
test_times(void **state)
{
	static const struct
	{
		int64_t		us;
		const char *text;
	}			times[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{-1000000, "1969-12-31T23:59:59.000Z"},
		{951782399999999, "2000-02-28T23:59:59.999Z"},
		{951782400000000, "2000-02-29T00:00:00.000Z"},
		{253402300799999999, "9999-12-31T23:59:59.999Z"},
		{253402300800000000, NULL},
		{INT64_MAX, NULL},
		{INT64_MIN, NULL}
	};
	SnRecordMaker *maker = open_maker(SN_RECORD_CLOUDEVENTS, NULL);
	SnRecordEvent event = full_event();
	SnRecord	record;
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++)
	{
		event.occurred_us = times[i].us;
		assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
		if (times[i].text == NULL)
			assert_null(header(&record, "ce_time"));
		else
			assert_string_equal(header(&record, "ce_time"), times[i].text);
	}
	sn_record_close(maker);
}

/* Names Kafka does not take make the record impossible. */
static void
test_bad_topics(void **state)
{
	SnRecordMaker *maker;
	SnRecordEvent event = full_event();
	SnRecord	record;
	char		name[300];

	(void) state;
	maker = open_maker(SN_RECORD_RAW, "{aggregate_type}.{event_type}");
	event.aggregate_type = "ten ant";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_null(strstr(err, "ten ant"));
	event.aggregate_type = "t-1_A.b";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	event.event_type = "OrderCreated";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "t-1_A.b.OrderCreated");
	event.event_type = "";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "{event_type}"));
	sn_record_close(maker);

	maker = open_maker(SN_RECORD_RAW, "_{aggregate_type}");
	event.aggregate_type = "_consumer_offsets";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "\"__\""));
	event.aggregate_type = "x__y";
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, "_x__y");
	sn_record_close(maker);

	maker = open_maker(SN_RECORD_RAW, "{aggregate_type}");
	event.aggregate_type = "__transaction_state";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	event.aggregate_type = ".";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	event.aggregate_type = "..";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	event.aggregate_type = "a/../b";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	memset(name, 'a', sizeof(name));
	name[SN_RECORD_MAX_TOPIC + 1] = '\0';
	event.aggregate_type = name;
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	name[SN_RECORD_MAX_TOPIC] = '\0';
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_string_equal(record.topic, name);
	sn_record_close(maker);
}

/* A tenant stands in the name as its slug, which has no separator in it. */
static void
test_tenant_topics(void **state)
{
	static const char *const tenants[][2] = {
		{"acme", "x.acme.order"}, {"a.b", "x.a--2eb.order"},
		{"a_b", "x.a--5fb.order"}, {"..", "x.--2e--2e.order"},
		{"__transaction_state", "x.--5f--5ftransaction--5fstate.order"}
	};
	SnRecordMaker *maker = open_maker(SN_RECORD_RAW,
									  "x.{tenant}.{aggregate_type}");
	SnRecordEvent event = full_event();
	SnRecord	record;
	char		tenant[257];
	size_t		i;

	(void) state;
	event.aggregate_type = "order";
	for (i = 0; i < sizeof(tenants) / sizeof(tenants[0]); i++)
	{
		event.tenant_id = tenants[i][0];
		assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
		assert_string_equal(record.topic, tenants[i][1]);
	}
	memset(tenant, '.', sizeof(tenant));
	tenant[sizeof(tenant) - 1] = '\0';
	event.tenant_id = tenant;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	event.tenant_id = "";
	assert_false(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_non_null(strstr(err, "{tenant}"));
	sn_record_close(maker);
}

/* Templates are checked before there is any event. */
static void
test_templates(void **state)
{
	static const char *const bad[] = {
		"", "a b", "a/b", "{", "{}", "{tenant", "{tenants}", "a}", "..", ".",
		"{Tenant}", "caf\xc3\xa9", "__consumer_offsets", "__{tenant}"
	};
	SnRecordOptions options = {.format = SN_RECORD_RAW, .database = "db"};
	char		name[SN_RECORD_MAX_TEMPLATE + 2];
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		err[0] = '\0';
		if (sn_record_check_template(bad[i], err, sizeof(err)))
			fail_msg("template \"%s\" was accepted", bad[i]);
		assert_string_not_equal(err, "");
	}
	memset(name, 'a', sizeof(name));
	name[SN_RECORD_MAX_TOPIC + 1] = '\0';
	assert_false(sn_record_check_template(name, err, sizeof(err)));
	name[SN_RECORD_MAX_TOPIC] = '\0';
	assert_true(sn_record_check_template(name, err, sizeof(err)));
	assert_true(sn_record_check_template("{tenant}{event_type}", err,
										 sizeof(err)));
	assert_true(sn_record_check_template(SN_RECORD_TOPIC, err, sizeof(err)));
	options.topic_template = "{";
	assert_null(sn_record_open(&options, err, sizeof(err)));
	sn_record_close(NULL);
}

/* Text of any length, and the next record after a longer one. */
static void
test_long_text(void **state)
{
	static char text[100001];
	SnRecordMaker *maker = open_maker(SN_RECORD_CLOUDEVENTS, "t");
	SnRecordEvent event = full_event();
	SnRecord	record;

	(void) state;
	memset(text, ' ', sizeof(text) - 1);
	event.tenant_id = event.aggregate_id = event.event_type = text;
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_int_equal(record.key_len, 200001);
	assert_int_equal(strlen(header(&record, "ce_source")),
					 strlen("/sentinai/db%201/") + 300000);
	assert_int_equal(strlen(header(&record, "ce_dataschema")),
					 strlen("urn:sentinai:schema::3") + 300000);
	event = full_event();
	assert_true(sn_record_make(maker, &event, &record, err, sizeof(err)));
	assert_key(&record, "ten ant:o:1 \xc3\xa4");
	sn_record_close(maker);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cloudevents),
		cmocka_unit_test(test_occurred_timestamp),
		cmocka_unit_test(test_cloudevents_bare),
		cmocka_unit_test(test_debezium),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_structured),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_dead_letter_headers),
		cmocka_unit_test(test_bad_trace),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_control_alone),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_bad_topics),
		cmocka_unit_test(test_tenant_topics),
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_long_text)
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
