/*-------------------------------------------------------------------------
 *
 * kafka.c
 *	  librdkafka alone, the physical limit of a relay; and the watch that
 *	  times records as they reach a topic, whoever sends them.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *	  kafka produce SERVERS TOPIC COUNT RATE HEADERS [KEY=VALUE...]
 *	  kafka watch SERVERS TOPIC COUNT SECONDS
 *	  kafka create SERVERS TOPIC PARTITIONS
 *
 * produce sends COUNT records as fast as it can, or RATE per second, and
 * times each from its send to its delivery report.  watch looks at the ends
 * of the topic's partitions until COUNT records more than at the start are
 * there.  Both print one JSON object.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "bench.h"

#define WATCH_MS	20
#define TIMEOUT_MS	10000
#define NS	INT64_C(1000000000)

static int64_t *sent_at;
static Samples way;
static long delivered;
static long failed;
static long warm_up;			/* records that are not timed */

/* Delivery report: the number of the record is its opaque value. */
static void
delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
		failed++;
	else
		delivered++;
	if ((intptr_t) message->_private >= warm_up)
		samples_add(&way,
					now_ns() - sent_at[(intptr_t) message->_private]);
}

/* A handle with the given key=value properties. */
static rd_kafka_t *
open_kafka(const char *servers, int count, char **properties)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	char		error[512];

	if (rd_kafka_conf_set(conf, "bootstrap.servers", servers, error,
						  sizeof(error)) != RD_KAFKA_CONF_OK)
		die(servers, error);
	for (int i = 0; i < count; i++)
	{
		char	   *value = strchr(properties[i], '=');

		if (value == NULL)
			die(properties[i], "is not KEY=VALUE");
		*value++ = '\0';
		if (rd_kafka_conf_set(conf, properties[i], value, error,
							  sizeof(error)) != RD_KAFKA_CONF_OK)
			die(properties[i], error);
	}
	rd_kafka_conf_set_dr_msg_cb(conf, delivery);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (rk == NULL)
		die("could not make a producer", error);
	return rk;
}

/*
 * The first of the headers that the relay gives a record of the benchmark, and
 * with values that change like its: ids, times, keys, tenants.
 */
static rd_kafka_headers_t *
make_headers(int count, long number, const char *tenant, const char *aggregate,
			 const char *key)
{
	char		id[40];
	char		source[64];
	char		when[32];
	const char *const headers[][2] = {
		{"ce_specversion", "1.0"},
		{"ce_id", id},
		{"ce_source", source},
		{"ce_type", "Measured"},
		{"ce_time", when},
		{"ce_subject", aggregate},
		{"ce_tenantid", tenant},
		{"ce_dataschema", "urn:sentinai:schema:Measured:1"},
		{"ce_partitionkey", key},
		{"content-type", "application/json"},
	};
	int			most = sizeof(headers) / sizeof(headers[0]);
	rd_kafka_headers_t *list = rd_kafka_headers_new(count);
	uint64_t	random = (number + 1) * UINT64_C(0x9E3779B97F4A7C15);

	random = (random ^ (random >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
	snprintf(id, sizeof(id), "01900000-%04x-7000-%04x-%012llx",
			 (unsigned int) (random >> 48),
			 (unsigned int) (random >> 32 & 0xffff),
			 (unsigned long long) (random & UINT64_C(0xffffffffffff)));
	snprintf(source, sizeof(source), "/sentinai/b6_sentinai/%s", tenant);
	snprintf(when, sizeof(when), "2026-01-01T00:%02ld:%02ld.%03ldZ",
			 number / 6000000 % 60, number / 100000 % 60, number / 100 % 1000);

	for (int i = 0; i < count && i < most; i++)
		rd_kafka_header_add(list, headers[i][0], -1, headers[i][1], -1);
	return list;
}

/* Queue one record, waiting for room. */
static void
produce_one(rd_kafka_t *rk, const char *topic, long number, int headers)
{
	char		payload[PAYLOAD_LEN + 1];
	char		tenant[16];
	char		aggregate[16];
	char		key[40];
	rd_kafka_headers_t *list = NULL;
	rd_kafka_resp_err_t error;

	make_payload(payload, number);
	snprintf(tenant, sizeof(tenant), "T%ld", number % 50);
	snprintf(aggregate, sizeof(aggregate), "A%ld", number * 7919 % 10000);
	snprintf(key, sizeof(key), "%s:%s", tenant, aggregate);
	if (headers > 0)
		list = make_headers(headers, number, tenant, aggregate, key);
	do
	{
		sent_at[number] = now_ns();
		error = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
								  RD_KAFKA_V_KEY(key, strlen(key)),
								  RD_KAFKA_V_VALUE(payload, PAYLOAD_LEN),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_OPAQUE((void *) (intptr_t) number),
								  RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END);
		if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
			rd_kafka_poll(rk, 10);
	} while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL);
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("could not send", rd_kafka_err2str(error));
}

/* Wait for the turn of a record and serve delivery reports meanwhile. */
static void
keep_pace(rd_kafka_t *rk, int64_t turn)
{
	int64_t		left;

	while ((left = turn - now_ns()) > 0)
		if (rd_kafka_poll(rk, (int) (left / 1000000)) == 0 && left < 1000000)
			sleep_until(turn);
}

static int
run_produce(int argc, char **argv)
{
	long		count = atol(argv[4]);
	double		rate = atof(argv[5]);
	int			headers = atoi(argv[6]);
	rd_kafka_t *rk = open_kafka(argv[2], argc - 7, argv + 7);
	int64_t		begin;
	double		seconds;

	sent_at = calloc(count, sizeof(int64_t));
	if (sent_at == NULL)
		die("produce", "out of memory");
	warm_up = (long) rate;		/* the first second, with the connecting */
	begin = now_ns();
	for (long i = 0; i < count; i++)
	{
		if (rate > 0)
			keep_pace(rk, begin + (int64_t) (i * 1e9 / rate));
		else if (i % 1000 == 0)
			rd_kafka_poll(rk, 0);
		produce_one(rk, argv[3], i, headers);
	}
	rd_kafka_flush(rk, 60000);
	seconds = (now_ns() - begin) / 1e9;
	printf("{\"delivered\": %ld, \"failed\": %ld, \"seconds\": %.4f, "
		   "\"per_s\": %.1f, ", delivered, failed, seconds,
		   delivered / seconds);
	samples_print(stdout, "ack", &way);
	printf("}\n");
	rd_kafka_destroy(rk);
	return failed > 0;
}

/* How many partitions a topic has; 0 when it is not there. */
static int
count_partitions(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *metadata;
	int			count = 0;

	if (rd_kafka_metadata(rk, 0, handle, &metadata, TIMEOUT_MS) ==
		RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR)
			count = metadata->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(metadata);
	}
	rd_kafka_topic_destroy(handle);
	return count;
}

/* The sum of the ends of all partitions. */
static int64_t
topic_end(rd_kafka_t *rk, const char *topic, int partitions)
{
	int64_t		sum = 0;

	for (int i = 0; i < partitions; i++)
	{
		int64_t		low;
		int64_t		high;

		if (rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high,
											 TIMEOUT_MS) ==
			RD_KAFKA_RESP_ERR_NO_ERROR)
			sum += high;
	}
	return sum;
}

static int
run_watch(char **argv)
{
	rd_kafka_t *rk = open_kafka(argv[2], 0, NULL);
	long		want = atol(argv[4]);
	int64_t		begin;
	int64_t		limit = now_ns() + (int64_t) (atof(argv[5]) * NS);
	int64_t		first = 0;
	int64_t		at_first = 0;
	int64_t		last = 0;
	int64_t		now = 0;
	int			partitions;

	/* "ready" tells the caller that the sending may begin */
	partitions = count_partitions(rk, argv[3]);
	printf("ready\n");
	fflush(stdout);
	begin = now_ns();
	while (now < want && now_ns() < limit)
	{
		if (partitions == 0)
			partitions = count_partitions(rk, argv[3]);
		now = topic_end(rk, argv[3], partitions);
		last = now_ns();
		if (now > 0 && first == 0)
		{
			first = last;
			at_first = now;
		}
		sleep_until(last + WATCH_MS * (NS / 1000));
	}
	printf("{\"records\": %lld, \"seconds\": %.4f, \"first_s\": %.4f, "
		   "\"per_s\": %.1f, \"steady_per_s\": %.1f}\n",
		   (long long) now, (last - begin) / 1e9,
		   first ? (first - begin) / 1e9 : -1.0, now / ((last - begin) / 1e9),
		   last > first && first ? (now - at_first) / ((last - first) / 1e9) :
		   0.0);
	rd_kafka_destroy(rk);
	return now < want;
}

static int
run_create(char **argv)
{
	rd_kafka_t *rk = open_kafka(argv[2], 0, NULL);
	char		error[512];
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(argv[3], atoi(argv[4]),
													   1, error, sizeof(error));
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_event_t *event;
	int64_t		limit = now_ns() + 10 * NS;

	if (topic == NULL)
		die(argv[3], error);
	rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
	if (event == NULL || rd_kafka_event_error(event))
		die(argv[3], event ? rd_kafka_event_error_string(event) : "no answer");
	while (count_partitions(rk, argv[3]) == 0 && now_ns() < limit)
		sleep_until(now_ns() + NS / 50);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
	rd_kafka_destroy(rk);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc >= 7 && strcmp(argv[1], "produce") == 0)
		return run_produce(argc, argv);
	if (argc == 6 && strcmp(argv[1], "watch") == 0)
		return run_watch(argv);
	if (argc == 5 && strcmp(argv[1], "create") == 0)
		return run_create(argv);
	fprintf(stderr, "usage: see the head of kafka.c\n");
	return 2;
}
