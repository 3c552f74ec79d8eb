/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_broker_kafka.c
 *		The Kafka provider against librdkafka's mock cluster.
 *
 * The mock does not check sequence numbers: it stores whatever arrives.  That
 * makes it stricter than a broker about what the producer may send after a
 * refusal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker.h"

#define MAX_RECORDS 5000
#define KEYS 10
#define PARTITIONS 4
#define PATIENCE_MS 20000

/* Numbers of requests in Kafka's protocol. */
#define REQUEST_PRODUCE 0
#define REQUEST_METADATA 3

/* What a consumer read. */
typedef struct Stored
{
	int			number;
	int32_t		partition;
	char		key[32];
} Stored;

/* One test: a cluster, a handle, and what came of its records. */
typedef struct Run
{
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *cluster;
	SnBroker   *broker;
	const char *topic;
	char		settings[1024];
	int			state[MAX_RECORDS]; /* 0 open, 1 OK, 2 given up */
	int			next;			/* where relay_all begins to send */
	int			acked;
	int			retries;
	int			suspects;		/* refused, perhaps innocent */
	int			culprits;		/* refused for certain */
	int			no_topic;		/* could not be, for their topic */
	pthread_t	thread;			/* the one reports must come on */
	int			log_lines;
	char		log_text[65536];
} Run;

static const SnBrokerProvider *kafka;
static char err[256];

/* Milliseconds. */
static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Kafka's murmur2, written down a second time on purpose. */
static uint32_t
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
static void
open_broker(Run *run, const char *more, bool isolate)
{
	SnBrokerConfig config = {0};

	snprintf(run->settings, sizeof(run->settings), "bootstrap.servers=%s,%s",
			 rd_kafka_mock_cluster_bootstraps(run->cluster), more);
	config.settings = run->settings;
	config.isolate = isolate;
	config.log = keep_log;
	config.log_arg = run;
	run->broker = kafka->open(&config, err, sizeof(err));
	if (run->broker == NULL)
		fail_msg("%s", err);
}

/* A cluster of one broker with a topic. */
static Run *
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
static void
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
static void
key_of(int number, char *key)
{
	sprintf(key, "tenant:k%d", number % KEYS);
}

/* Sends record number, which is its value, its opaque and part of its key. */
static SnSendResult
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
static int
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
static SnSendResult
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
static bool
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
static void
open_partitions(Run *run)
{
	int			i;

	for (i = 0; i < KEYS; i++)
		assert_int_equal(send_in_turn(run, run->topic, i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
}

/* The recovery of broker.h, by the letter. */
static void
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
static int
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
static int
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
static void
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

/* All goes well: order, partitions, figures; and the wake descriptor. */
static void
test_happy_path(void **state)
{
	Run		   *run = start_run("happy");
	struct pollfd wake = {0};
	SnBrokerHealth health;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=5", false);
	for (i = 0; i < 2000; i++)
		assert_int_equal(send_in_turn(run, "happy", i, 10), SN_SEND_OK);
	wake.fd = kafka->wake_fd(run->broker);
	wake.events = POLLIN;
	do
	{
		assert_int_equal(poll(&wake, 1, PATIENCE_MS), 1);
		while (take(run, 0) == 7)
			continue;
		kafka->health(run->broker, &health);
	} while (health.outstanding > 0);
	assert_int_equal(run->acked, 2000);
	assert_int_equal(health.failures, 0);
	assert_int_equal(health.stalled_ms, 0);
	assert_false(health.stopped);
	assert_string_equal(health.last_error, "");
	check_stored(run, 2000);
	end_run(run);
}

/*
 * Until a partition has confirmed a record of this producer, it has one at a
 * time, and so has a topic whose partitions are not known yet; others go on.
 */
static void
test_first_goes_alone(void **state)
{
	Run		   *run = start_run("alone");
	SnBrokerHealth health;
	SnSendResult first[KEYS];
	int			opened = 0;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=0", false);
	rd_kafka_mock_broker_set_rtt(run->cluster, 1, 300);
	assert_int_equal(send_number(run, "alone", 0, 0), SN_SEND_OK);
	assert_int_equal(send_number(run, "alone", 1, 0), SN_SEND_LATER);
	assert_true(drain(run, PATIENCE_MS));

	/* one is open by now; of the others each takes one record */
	for (i = 0; i < KEYS; i++)
	{
		first[i] = send_number(run, "alone", KEYS + i, 0);
		opened += first[i] == SN_SEND_OK;
		assert_true(first[i] == SN_SEND_OK || first[i] == SN_SEND_LATER);
	}
	assert_int_equal(first[0], SN_SEND_OK);
	assert_true(opened >= PARTITIONS && opened < KEYS);
	assert_int_equal(send_number(run, "alone", 2 * KEYS, 0), SN_SEND_OK);
	kafka->health(run->broker, &health);
	assert_int_equal(health.outstanding, opened + 1);
	assert_true(drain(run, PATIENCE_MS));
	for (i = 0; i < KEYS; i++)
		if (first[i] == SN_SEND_LATER)
			assert_int_equal(send_number(run, "alone", KEYS + i, 0),
							 SN_SEND_OK);
	for (i = 1; i < KEYS; i++)
		assert_int_equal(send_number(run, "alone", 2 * KEYS + i, 0),
						 SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	for (i = 1; i < KEYS; i++)
		run->state[i] = 2;		/* of these keys only later ones were sent */
	check_stored(run, 3 * KEYS);
	end_run(run);
}

/*
 * A partition whose leader is not there yet refuses the first requests of a
 * producer and takes a later one: nothing may be behind the first.
 */
static void
test_no_leader_at_first(void **state)
{
	Run		   *run = start_run("leaderless");
	SnBrokerHealth health;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=0,message.max.bytes=1000000,"
				"retry.backoff.ms=10", false);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 2,
									  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
									  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
	for (i = 0; i < 10 * KEYS; i++)
		if (i % KEYS != 0)
			run->state[i] = 2;	/* one key is sent, so to one partition */
	for (i = 0; i < 10 * KEYS; i += KEYS)
		assert_int_equal(send_in_turn(run, "leaderless", i, 900000),
						 SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	kafka->health(run->broker, &health);
	assert_int_equal(run->acked, 10);
	assert_int_equal(run->retries, 0);
	check_stored(run, 10 * KEYS);
	end_run(run);
}

/*
 * The first record of all goes to a partition that has no leader: those of the
 * others do not wait for it, and no second one joins it.
 */
static void
test_no_leader_of_one(void **state)
{
	Run		   *run = start_run("orphan");
	SnBrokerHealth health;
	int64_t		deadline = now_ms() + PATIENCE_MS;
	char		key[32];
	int32_t		orphan;
	int			others = 0;
	int			i;

	(void) state;
	key_of(0, key);
	orphan = (murmur2((const unsigned char *) key, strlen(key)) & 0x7fffffff) %
		PARTITIONS;
	rd_kafka_mock_partition_set_leader(run->cluster, "orphan", orphan, -1);
	open_broker(run, "linger.ms=0,topic.metadata.refresh.fast.interval.ms=50",
				false);
	assert_int_equal(send_number(run, "orphan", 0, 0), SN_SEND_OK);
	for (i = 1; i < KEYS; i++)
	{
		key_of(i, key);
		if ((int32_t) ((murmur2((const unsigned char *) key, strlen(key)) &
						0x7fffffff) % PARTITIONS) == orphan)
			continue;
		assert_int_equal(send_in_turn(run, "orphan", i, 0), SN_SEND_OK);
		others++;
	}
	assert_true(others > 0);
	do
	{
		take(run, 20);
		kafka->health(run->broker, &health);
	} while (health.outstanding > 1 && now_ms() < deadline);
	assert_int_equal(run->acked, others);
	assert_int_equal(run->state[0], 0);
	assert_int_equal(send_number(run, "orphan", KEYS, 0), SN_SEND_LATER);
	rd_kafka_mock_partition_set_leader(run->cluster, "orphan", orphan, 1);
	assert_int_equal(send_in_turn(run, "orphan", KEYS, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_int_equal(run->state[0], 1);
	assert_int_equal(run->state[KEYS], 1);
	end_run(run);
}

/*
 * librdkafka takes a record for delivered when a later one was.  The mock does
 * not look at sequences, so it stores the later one and not the first.
 */
static void
test_no_offset_no_proof(void **state)
{
	Run		   *run = start_run("doubt");
	SnBrokerHealth health;
	Stored	   *stored = calloc(2 * MAX_RECORDS, sizeof(Stored));
	bool		seen[100] = {false};
	int			count;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=0,batch.num.messages=1,retry.backoff.ms=200",
				false);
	open_partitions(run);
	rd_kafka_mock_broker_set_rtt(run->cluster, 1, 300); /* all are on their way */
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 1,
									  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
	for (i = KEYS; i < 10 * KEYS; i += KEYS)	/* one key */
		assert_int_equal(send_number(run, "doubt", i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_true(run->retries > 0);
	kafka->health(run->broker, &health);
	assert_int_equal(run->acked, KEYS + 9 - run->retries);
	assert_non_null(strstr(health.last_error, "offset"));
	recover(run, false);
	for (i = KEYS; i < 10 * KEYS; i += KEYS)
		if (run->state[i] == 0)
			assert_int_equal(send_in_turn(run, "doubt", i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	count = consume(run, stored, 2 * MAX_RECORDS);
	for (i = 0; i < count; i++)
		seen[stored[i].number] = true;
	for (i = KEYS; i < 10 * KEYS; i += KEYS)
		assert_true(run->state[i] == 1 && seen[i]);
	free(stored);
	end_run(run);
}

/* Errors that pass are retried inside, in order. */
static void
test_order_over_passing_errors(void **state)
{
	Run		   *run = start_run("passing");

	(void) state;
	open_broker(run, "linger.ms=5,batch.num.messages=20,retry.backoff.ms=10",
				false);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 6,
									  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
									  RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
	assert_int_equal(relay_all(run, 1000), 0);
	assert_int_equal(run->retries, 0);
	check_stored(run, 1000);
	end_run(run);
}

/* A record above message.max.bytes never leaves, the others flow. */
static void
test_oversize_local(void **state)
{
	Run		   *run = start_run("local");
	int			i;

	(void) state;
	open_broker(run, "message.max.bytes=20000", false);
	for (i = 0; i < 300; i++)
	{
		if (i == 100)
		{
			assert_int_equal(send_in_turn(run, "local", i, 20000),
							 SN_SEND_REFUSED);
			assert_non_null(strstr(err, "too large"));
			run->state[i] = 2;
		}
		else
			assert_int_equal(send_in_turn(run, "local", i, 10), SN_SEND_OK);
	}
	assert_true(drain(run, PATIENCE_MS));
	check_stored(run, 300);
	end_run(run);
}

/*
 * The broker refuses a batch.  Nothing behind it may be stored, and after the
 * recovery its innocent records come in their old place.
 */
static void
test_refused_batch(void **state)
{
	Run		   *run = start_run("refused");
	SnBrokerHealth health;
	int64_t		deadline = now_ms() + PATIENCE_MS;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=500,batch.num.messages=20", false);
	open_partitions(run);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 1,
									  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	/* one key, so one partition, all queued before the first batch goes */
	for (i = KEYS; i < 2000; i += KEYS)
		assert_int_equal(send_number(run, "refused", i, 0), SN_SEND_OK);
	do
	{
		take(run, 20);
		kafka->health(run->broker, &health);
	} while (!health.stopped && now_ms() < deadline);
	assert_int_equal(health.failures, 0);
	assert_int_equal(send_number(run, "refused", 1, 0), SN_SEND_STOPPED);
	recover(run, false);
	assert_int_equal(run->suspects, 20);
	assert_int_equal(run->culprits, 0);
	assert_int_equal(run->retries, 179);
	kafka->health(run->broker, &health);
	assert_int_equal(health.failures, 0);
	assert_false(health.stopped);
	assert_int_equal(relay_all(run, 2000), 0);
	check_stored(run, 2000);
	end_run(run);
}

/* In isolation a refusal names the culprit, and only it is given up. */
static void
test_isolation_names_culprit(void **state)
{
	Run		   *run = start_run("isolate");

	(void) state;
	open_broker(run, "linger.ms=20", true);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 3,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_INVALID_RECORD);
	assert_int_equal(relay_all(run, 200), 1);
	assert_int_equal(run->culprits, 1);
	assert_int_equal(run->suspects, 0);
	check_stored(run, 200);
	end_run(run);
}

/* A whole story: refused batch, isolation, culprit, the rest in order. */
static void
test_poison_among_many(void **state)
{
	Run		   *run = start_run("poison");

	(void) state;
	open_broker(run, "linger.ms=20,batch.num.messages=50", false);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 7,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_NO_ERROR,
									  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	assert_int_equal(relay_all(run, 3000), 1);
	assert_true(run->suspects >= 1);
	check_stored(run, 3000);
	end_run(run);
}

/* The broker goes and comes back: nothing is lost, order stays. */
static void
test_broker_down_and_up(void **state)
{
	Run		   *run = start_run("down");
	SnBrokerHealth health;
	int64_t		deadline;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=5,batch.num.messages=50,reconnect.backoff.ms="
				"50,reconnect.backoff.max.ms=200", false);
	for (i = 0; i < 500; i++)
		assert_int_equal(send_in_turn(run, "down", i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	rd_kafka_mock_broker_set_down(run->cluster, 1);
	for (; i < 1000; i++)
		assert_int_equal(send_number(run, "down", i, 0), SN_SEND_OK);
	deadline = now_ms() + PATIENCE_MS;
	do
	{
		take(run, 20);
		kafka->health(run->broker, &health);
	} while ((health.failures == 0 || health.stalled_ms < 300) &&
			 now_ms() < deadline);
	assert_true(health.failures > 0);
	assert_true(health.stalled_ms >= 300);
	assert_string_not_equal(health.last_error, "");
	assert_int_equal(health.outstanding, 500);
	assert_false(health.stopped);
	rd_kafka_mock_broker_set_up(run->cluster, 1);
	run->next = 1000;
	assert_int_equal(relay_all(run, 1500), 0);
	assert_int_equal(run->retries, 0);
	check_stored(run, 1500);
	end_run(run);
}

/* A connection that ends while nothing waits for an answer is no failure. */
static void
test_idle_connections(void **state)
{
	Run		   *run = start_run("idle");
	SnBrokerHealth health;
	int64_t		until;
	int			i;

	(void) state;
	open_broker(run, "reconnect.backoff.ms=20,reconnect.backoff.max.ms=50,"
				"topic.metadata.refresh.interval.ms=20,debug=broker", false);
	open_partitions(run);
	for (i = 0; i < 8; i++)
	{
		int			lines = run->log_lines;

		rd_kafka_mock_broker_set_down(run->cluster, 1);
		until = now_ms() + PATIENCE_MS;
		while (strstr(run->log_text, "Connection refused") == NULL &&
			   now_ms() < until)
			take(run, 20);
		assert_non_null(strstr(run->log_text, "Connection refused"));
		assert_true(run->log_lines > lines);
		rd_kafka_mock_broker_set_up(run->cluster, 1);
		run->log_text[0] = '\0';
	}
	kafka->health(run->broker, &health);
	assert_int_equal(health.failures, 0);
	assert_int_equal(send_number(run, "idle", KEYS, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_int_equal(run->state[KEYS], 1);

	/* but it is one for a record that waits */
	rd_kafka_mock_broker_set_down(run->cluster, 1);
	assert_int_equal(send_number(run, "idle", KEYS + 1, 0), SN_SEND_OK);
	until = now_ms() + PATIENCE_MS;
	do
	{
		take(run, 20);
		kafka->health(run->broker, &health);
	} while (health.failures == 0 && now_ms() < until);
	assert_true(health.failures > 0);
	end_run(run);
}

/* With the broker away: purge gives all back, restart and close are quick. */
static void
test_deadlines(void **state)
{
	Run		   *run = start_run("deadline");
	SnBrokerHealth health;
	int64_t		began;
	int			fd;
	int			i;

	(void) state;
	open_broker(run, "linger.ms=5", false);
	fd = kafka->wake_fd(run->broker);
	open_partitions(run);
	rd_kafka_mock_broker_set_rtt(run->cluster, 1, 60000);
	assert_int_equal(send_number(run, "deadline", KEYS, 0), SN_SEND_OK);
	take(run, 200);
	for (i = KEYS + 1; i < 1000; i++)
		assert_int_equal(send_number(run, "deadline", i, 0), SN_SEND_OK);
	began = now_ms();
	kafka->purge(run->broker, false);
	drain(run, 500);
	kafka->purge(run->broker, true);
	assert_true(drain(run, 2000));
	assert_int_equal(run->retries, 1000 - KEYS);
	assert_true(kafka->restart(run->broker, false, 3000, err, sizeof(err)));
	assert_true(now_ms() - began < 3500);
	assert_int_equal(kafka->wake_fd(run->broker), fd);
	assert_int_equal(send_number(run, "deadline", KEYS, 0), SN_SEND_OK);
	assert_int_equal(send_number(run, "deadline", KEYS + 1, 0), SN_SEND_LATER);
	kafka->health(run->broker, &health);
	assert_int_equal(health.outstanding, 1);
	end_run(run);
}

/* Close returns in time although a look-up or a thread may be in its way. */
static void
test_close_without_patience(void **state)
{
	Run		   *run = start_run("impatient");
	SnBrokerConfig config = {0};
	SnBroker   *lost;
	int64_t		began;

	(void) state;
	config.settings = "bootstrap.servers=no-such-host.invalid:9092";
	lost = kafka->open(&config, err, sizeof(err));
	assert_non_null(lost);
	began = now_ms();
	kafka->close(lost, 100000);
	assert_true(now_ms() - began < SN_BROKER_CLOSE_MAX_MS + 500);

	open_broker(run, "linger.ms=5", false);
	assert_int_equal(send_number(run, "impatient", 0, 0), SN_SEND_OK);
	began = now_ms();
	kafka->close(run->broker, 0);
	assert_true(now_ms() - began < 500);
	run->broker = NULL;
	end_run(run);
}

/* A full queue says so, and empties by polling. */
static void
test_full(void **state)
{
	Run		   *run = start_run("full");
	SnBrokerConfig config = {0};
	int			sent = KEYS;

	(void) state;
	snprintf(run->settings, sizeof(run->settings), "bootstrap.servers=%s",
			 rd_kafka_mock_cluster_bootstraps(run->cluster));
	config.settings = run->settings;
	config.queue_max_messages = 100;
	config.queue_max_kbytes = 1;
	run->broker = kafka->open(&config, err, sizeof(err));
	assert_non_null(run->broker);
	open_partitions(run);
	while (take(run, 0) > 0)	/* the queue counts a report until it is freed */
		continue;
	while (send_number(run, "full", sent, 0) == SN_SEND_OK)
		sent++;
	assert_int_equal(sent, KEYS + 100);
	assert_int_equal(relay_all(run, 0), 0);

	/* the largest record allowed fits, however small the limit is */
	assert_int_equal(send_number(run, "full", sent, 900000), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	check_stored(run, sent + 1);
	end_run(run);
}

/* A topic that may not be written is no fault of the record. */
static void
test_denied_topic(void **state)
{
	Run		   *run = start_run("allowed");
	SnBrokerHealth health;
	int			i;

	(void) state;
	assert_int_equal(rd_kafka_mock_topic_create(run->cluster, "denied", 1, 1),
					 0);
	open_broker(run, "linger.ms=5", false);
	rd_kafka_mock_push_request_errors(run->cluster, REQUEST_PRODUCE, 1,
									  RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	assert_int_equal(send_number(run, "denied", 0, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_int_equal(run->no_topic, 1);
	assert_int_equal(run->culprits + run->suspects, 0);
	kafka->health(run->broker, &health);
	assert_true(health.stopped);
	assert_int_equal(health.failures, 0);
	assert_string_not_equal(health.last_error, "");
	recover(run, false);
	for (i = 1; i < 100; i++)
		assert_int_equal(send_in_turn(run, i % 3 == 0 ? "denied" : "allowed",
									  i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	kafka->health(run->broker, &health);
	assert_false(health.stopped);
	assert_int_equal(run->acked, 99);
	end_run(run);
}

/* A topic that does not exist is told after its time, others go on. */
static void
test_unknown_topic(void **state)
{
	Run		   *run = start_run("known");
	int			i;

	(void) state;
	assert_int_equal(rd_kafka_mock_topic_create(run->cluster, "gone", 1, 1),
					 0);
	rd_kafka_mock_topic_set_error(run->cluster, "gone",
								  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	open_broker(run, "linger.ms=5,topic.metadata.propagation.max.ms=100,"
				"topic.metadata.refresh.fast.interval.ms=50", false);
	assert_int_equal(send_number(run, "gone", 0, 0), SN_SEND_OK);
	for (i = 1; i < 100; i++)
		assert_int_equal(send_in_turn(run, "known", i, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_int_equal(run->no_topic, 1);
	assert_int_equal(run->state[0], 0);
	run->state[0] = 2;
	check_stored(run, 100);
	end_run(run);
}

/* The mock cannot create topics: that counts as OK, and auto-creation works. */
static void
test_create_topic(void **state)
{
	Run		   *run = start_run("exists");
	SnBrokerReport report;

	(void) state;
	open_broker(run, "linger.ms=5", false);
	assert_true(kafka->create_topic(run->broker, "fresh", 3, 1, 4711, err,
									sizeof(err)));
	assert_int_equal(kafka->poll(run->broker, PATIENCE_MS, &report, 1), 1);
	assert_int_equal(report.kind, SN_REPORT_TOPIC);
	assert_int_equal(report.opaque, 4711);
	assert_int_equal(report.status, SN_REPORT_OK);
	assert_int_equal(send_number(run, "fresh", 0, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	assert_int_equal(run->state[0], 1);
	/* by now the cluster is known, and the answer comes at once */
	assert_true(kafka->create_topic(run->broker, "fresh", 3, 1, 4712, err,
									sizeof(err)));
	assert_int_equal(kafka->poll(run->broker, 500, &report, 1), 1);
	assert_int_equal(report.opaque, 4712);
	assert_int_equal(report.status, SN_REPORT_OK);
	assert_false(kafka->create_topic(run->broker, "fresh", 3000000, 1, 1, err,
									 sizeof(err)));
	end_run(run);
}

/* Signals of the process never run on a thread of the library. */
static pthread_t handled_on;
static volatile sig_atomic_t handled;

static void
note_signal(int signo)
{
	(void) signo;
	handled_on = pthread_self();
	handled++;
}

static void
test_signals(void **state)
{
	Run		   *run = start_run("signals");
	struct sigaction action = {.sa_handler = note_signal};
	sigset_t	usr1;
	sigset_t	mask;
	int64_t		deadline;

	(void) state;
	sigaction(SIGUSR1, &action, NULL);
	open_broker(run, "linger.ms=5", false);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));

	/* blocked here, the kernel would give it to any thread that takes it */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	assert_int_equal(send_number(run, "signals", 0, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	rd_kafka_mock_cluster_destroy(run->cluster);
	rd_kafka_destroy(run->owner);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	kill(getpid(), SIGUSR1);
	deadline = now_ms() + 300;
	while (now_ms() < deadline)
		take(run, 20);
	assert_int_equal(handled, 0);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	assert_int_equal(handled, 1);
	assert_true(pthread_equal(handled_on, pthread_self()));
	assert_true(kafka->close(run->broker, 3000));
	free(run);
}

/* Settings that librdkafka does not take, and what must not be missing. */
static void
test_settings(void **state)
{
	SnBrokerConfig config = {0};
	SnBroker   *broker;

	(void) state;
	config.settings = "bootstrap.servers=h:1,linger.ms=3";
	broker = kafka->open(&config, err, sizeof(err));
	assert_non_null(broker);
	kafka->close(broker, 3000);
	config.settings = "linger.ms=3";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "bootstrap.servers"));
	config.settings = "bootstrap.servers=h:1,no.such.thing=3";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "no.such.thing"));
	config.settings = "bootstrap.servers=h:1,linger.ms=abc";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "linger.ms"));
	config.settings = "bootstrap.servers=h:1,acks=1";
	assert_null(kafka->open(&config, err, sizeof(err)));
	config.settings = "bootstrap.servers=h:1,sasl.password.file=/no/such";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "/no/such"));
	assert_null(sn_broker_provider(SN_BROKER_ABI + 1));
	assert_true(kafka->close(NULL, 0));
}

/* A secret read from its file reaches no log line, with debug on too. */
static void
test_secret_stays_secret(void **state)
{
	static const char secret[] = "c4n4ry-s3cret";
	char		path[] = "/tmp/sn_secret_XXXXXX";
	char		settings[256];
	Run		   *run = start_run("secret");
	SnBrokerHealth health;
	int			fd = mkstemp(path);

	(void) state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, secret, strlen(secret)), strlen(secret));
	close(fd);
	snprintf(settings, sizeof(settings), "sasl.password.file=%s,sasl.username="
			 "u,client.id=x%sx,sasl.mechanism=PLAIN,security.protocol=SASL_PLAINTEXT,"
			 "debug=all", path, secret);
	open_broker(run, settings, false);
	unlink(path);
	assert_int_equal(send_number(run, "secret", 0, 0), SN_SEND_OK);
	drain(run, 500);
	kafka->health(run->broker, &health);
	assert_true(run->log_lines > 10);
	assert_non_null(strstr(run->log_text, "x*************x"));
	assert_null(strstr(run->log_text, secret));
	assert_null(strstr(health.last_error, secret));
	end_run(run);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_happy_path),
		cmocka_unit_test(test_first_goes_alone),
		cmocka_unit_test(test_no_leader_at_first),
		cmocka_unit_test(test_no_leader_of_one),
		cmocka_unit_test(test_no_offset_no_proof),
		cmocka_unit_test(test_order_over_passing_errors),
		cmocka_unit_test(test_oversize_local),
		cmocka_unit_test(test_refused_batch),
		cmocka_unit_test(test_isolation_names_culprit),
		cmocka_unit_test(test_poison_among_many),
		cmocka_unit_test(test_broker_down_and_up),
		cmocka_unit_test(test_idle_connections),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_close_without_patience),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_denied_topic),
		cmocka_unit_test(test_unknown_topic),
		cmocka_unit_test(test_create_topic),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_secret_stays_secret)
	};

	kafka = sn_broker_provider(SN_BROKER_ABI);
	return cmocka_run_group_tests_name("broker_kafka", tests, NULL, NULL);
}
