/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_run.c
 *		The Kafka provider against librdkafka's mock cluster.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kafka_run.h"

const SnBrokerProvider *kafka;
char		err[256];

/* Milliseconds. */
int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Kafka's murmur2, written down a second time on purpose. */
uint32_t
murmur2(const unsigned char *data, size_t len)
{
	const uint32_t m = 0x5bd1e995;
	uint32_t	h = 0x9747b28c ^ (uint32_t) len;
	size_t		i;

	for (i = 0; i + 4 <= len; i += 4)
	{
		uint32_t	k = (uint32_t) data[i] | (uint32_t) data[i + 1] << 8 |
			(uint32_t) data[i + 2] << 16 | (uint32_t) data[i + 3] << 24;

		k *= m;
		k ^= k >> 24;
		h = (h * m) ^ (k * m);
	}
	if ((len & 3) == 3)
		h ^= (uint32_t) data[i + 2] << 16;
	if ((len & 3) >= 2)
		h ^= (uint32_t) data[i + 1] << 8;
	if ((len & 3) >= 1)
		h = (h ^ data[i]) * m;
	h = (h ^ h >> 13) * m;
	return h ^ h >> 15;
}

/* Log callback: on the host's thread, and kept for a look at its text. */
static void
keep_log(void *arg, int level, const char *facility, const char *text)
{
	Run		   *run = arg;
	size_t		used = strlen(run->log_text);

	(void) level;
	(void) facility;
	assert_true(pthread_equal(run->thread, pthread_self()));
	run->log_lines++;
	snprintf(run->log_text + used, sizeof(run->log_text) - used, "%s\n",
			 text);
}

/* Opens a handle on the run's cluster. */
void
open_broker(Run *run, const char *more, bool isolate)
{
	SnBrokerConfig config = {0};

	snprintf(run->settings, sizeof(run->settings), "bootstrap.servers=%s,%s",
			 rd_kafka_mock_cluster_bootstraps(run->cluster), more);
	config.settings = run->settings;
	config.secret_directory = run->secret_directory;
	config.isolate = isolate;
	config.log = keep_log;
	config.log_arg = run;
	run->broker = kafka->open(&config, err, sizeof(err));
	if (run->broker == NULL)
		fail_msg("%s", err);
}

/* A cluster of one broker with a topic. */
Run *
start_run(const char *topic)
{
	Run		   *run = calloc(1, sizeof(Run));
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	sigset_t	all;
	sigset_t	before;

	/* the mock's thread takes any signal unless it is born with a full mask */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	run->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	assert_non_null(run->owner);
	run->cluster = rd_kafka_mock_cluster_new(run->owner, 1);
	assert_non_null(run->cluster);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	run->topic = topic;
	run->thread = pthread_self();
	assert_int_equal(rd_kafka_mock_topic_create(run->cluster, topic,
												PARTITIONS, 1), 0);
	return run;
}

/* Ends a run; a close in time is part of every test. */
void
end_run(Run *run)
{
	int64_t		began = now_ms();

	assert_true(kafka->close(run->broker, 3000));
	assert_true(now_ms() - began < 3500);
	rd_kafka_mock_cluster_destroy(run->cluster);
	rd_kafka_destroy(run->owner);
	free(run);
}

/* Key of a record: every test uses the same few keys in turn. */
void
key_of(int number, char *key)
{
	sprintf(key, "tenant:k%d", number % KEYS);
}

/* Sends record number, which is its value, its opaque and part of its key. */
SnSendResult
send_number(Run *run, const char *topic, int number, size_t padding)
{
	static char value[4 * 1024 * 1024];
	SnRecordHeader header = {"event_id", "id-1", 4};
	SnRecord	record = {0};
	char		key[32];

	key_of(number, key);
	record.topic = topic;
	record.key = key;
	record.key_len = strlen(key);
	record.value = value;
	record.value_len = sprintf(value, "%d ", number);
	memset(value + record.value_len, 'x', padding);
	record.value_len += padding;
	record.headers = &header;
	record.nheaders = 1;
	record.timestamp_ms = 1700000000000;
	record.opaque = number;
	return kafka->send(run->broker, &record, err, sizeof(err));
}

/* Takes one poll's reports into account. */
int
take(Run *run, int timeout_ms)
{
	SnBrokerReport reports[7];
	int			n = kafka->poll(run->broker, timeout_ms, reports, 7);
	int			i;

	for (i = 0; i < n; i++)
	{
		int			number = (int) reports[i].opaque;

		assert_int_equal(reports[i].kind, SN_REPORT_RECORD);
		assert_true(number >= 0 && number < MAX_RECORDS);
		switch (reports[i].status)
		{
			case SN_REPORT_OK:
				assert_int_equal(run->state[number], 0);
				assert_null(reports[i].error);
				run->state[number] = 1;
				run->acked++;
				break;
			case SN_REPORT_REFUSED:
				assert_non_null(reports[i].error);
				if (reports[i].alone)
				{
					run->culprits++;
					run->state[number] = 2;
				}
				else
					run->suspects++;
				break;
			case SN_REPORT_NO_TOPIC:
				assert_non_null(reports[i].error);
				run->no_topic++;
				break;
			default:
				run->retries++;
		}
	}
	return n;
}

/* Sends a record, and waits as long as it has to wait for the answer to another. */
SnSendResult
send_in_turn(Run *run, const char *topic, int number, size_t padding)
{
	int64_t		deadline = now_ms() + PATIENCE_MS;
	SnSendResult result;

	while ((result = send_number(run, topic, number, padding)) ==
		   SN_SEND_LATER && now_ms() < deadline)
		take(run, 20);
	return result;
}

/* Polls until nothing is outstanding; false when patience ends. */
bool
drain(Run *run, int patience_ms)
{
	int64_t		deadline = now_ms() + patience_ms;
	SnBrokerHealth health;

	do
	{
		take(run, 20);
		kafka->health(run->broker, &health);
	} while (health.outstanding > 0 && now_ms() < deadline);
	return health.outstanding == 0;
}

/* Sends record 0 to KEYS - 1: from then on no record waits for another. */
void
open_partitions(Run *run)
{
	int			i;

	for (i = 0; i < KEYS; i++)
		assert_int_equal(send_in_turn(run, run->topic, i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
}

/* The recovery of broker.h, by the letter. */
void
recover(Run *run, bool isolate)
{
	kafka->purge(run->broker, false);
	if (!drain(run, 1000))
	{
		kafka->purge(run->broker, true);
		drain(run, 1000);
	}
	if (!kafka->restart(run->broker, isolate, 3000, err, sizeof(err)))
		fail_msg("%s", err);
}

/*
 * A host in small: sends records 0 to n-1 as often as it takes, by the rules
 * of broker.h, until each is stored or given up.  Returns the restarts.
 */
int
relay_all(Run *run, int n)
{
	int64_t		deadline = now_ms() + PATIENCE_MS;
	SnBrokerHealth health;
	int			restarts = 0;
	int			next = run->next;

	while (now_ms() < deadline)
	{
		int			culprits = run->culprits;
		int			suspects = run->suspects;
		int			retries = run->retries;

		while (next < n)
		{
			SnSendResult result = SN_SEND_OK;

			if (run->state[next] == 0)
				result = send_number(run, run->topic, next, 0);
			if (result != SN_SEND_OK)
				break;
			next++;
		}
		drain(run, 50);
		kafka->health(run->broker, &health);
		if (health.stopped || run->retries > retries)
		{
			bool		isolate;

			recover(run, false);
			isolate = run->suspects > suspects && run->culprits == culprits;
			if (isolate && !kafka->restart(run->broker, true, 3000, err,
										   sizeof(err)))
				fail_msg("%s", err);
			restarts++;
			next = 0;
		}
		else if (next == n && health.outstanding == 0)
			return restarts;
	}
	fail_msg("records still open: %" PRIu64, health.outstanding);
	return -1;
}

/* Reads all there is of the topic, partition by partition. */
int
consume(Run *run, Stored *stored, int max)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer;
	int64_t		deadline = now_ms() + PATIENCE_MS;
	int			ends = 0;
	int			n = 0;
	int			i;

	rd_kafka_conf_set(conf, "bootstrap.servers",
					  rd_kafka_mock_cluster_bootstraps(run->cluster), NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "test", NULL, 0);
	rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof(err));
	assert_non_null(consumer);
	rd_kafka_poll_set_consumer(consumer);
	list = rd_kafka_topic_partition_list_new(PARTITIONS);
	for (i = 0; i < PARTITIONS; i++)
		rd_kafka_topic_partition_list_add(list, run->topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	assert_int_equal(rd_kafka_assign(consumer, list), 0);
	rd_kafka_topic_partition_list_destroy(list);
	while (ends < PARTITIONS && n < max && now_ms() < deadline)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			ends++;
		else if (message->err == 0)
		{
			stored[n].number = atoi(message->payload);
			stored[n].partition = message->partition;
			snprintf(stored[n].key, sizeof(stored[n].key), "%.*s",
					 (int) message->key_len, (const char *) message->key);
			n++;
		}
		rd_kafka_message_destroy(message);
	}
	rd_kafka_destroy(consumer);
	assert_int_equal(ends, PARTITIONS);
	return n;
}

/*
 * All records below n that were not given up are there; the first occurrences
 * of each key's are in order; each key is where murmur2 says.
 */
void
check_stored(Run *run, int n)
{
	static Stored stored[2 * MAX_RECORDS];
	static bool seen[MAX_RECORDS];
	int			last[KEYS];
	int			count = consume(run, stored, 2 * MAX_RECORDS);
	char		key[32];
	int			i;

	memset(seen, 0, sizeof(seen));
	memset(last, -1, sizeof(last));
	for (i = 0; i < count; i++)
	{
		int			number = stored[i].number;
		uint32_t	hash;

		key_of(number, key);
		assert_string_equal(stored[i].key, key);
		hash = murmur2((const unsigned char *) key, strlen(key));
		assert_int_equal(stored[i].partition,
						 (hash & 0x7fffffff) % PARTITIONS);
		if (seen[number])
			continue;
		seen[number] = true;
		if (number < last[number % KEYS])
			fail_msg("%s: %d stored behind %d", key, number,
					 last[number % KEYS]);
		last[number % KEYS] = number;
	}
	for (i = 0; i < n; i++)
	{
		if (run->state[i] == 1 && !seen[i])
			fail_msg("%d was reported and is not there", i);
		if (run->state[i] == 0)
			fail_msg("%d has no final report", i);
	}
}
