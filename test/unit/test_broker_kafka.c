/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_broker_kafka.c
 *		The Kafka provider: records, answers, refusals, topics, time limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka_run.h"

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
	/* one key, so one partition, all queued before the first answer comes */
	rd_kafka_mock_broker_set_rtt(run->cluster, 1, 1000);
	for (i = KEYS; i < 2000; i += KEYS)
		assert_int_equal(send_number(run, "refused", i, 0), SN_SEND_OK);
	rd_kafka_mock_broker_set_rtt(run->cluster, 1, 0);
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

/* When a connection ends tells what its port wants, in every librdkafka. */
static void
test_port_wants(void **state)
{
	static const struct
	{
		int16_t		ended_by;	/* the number of a request in Kafka's protocol */
		const char *means;
	}			cases[] = {
		{18, "does this port want TLS?"},	/* ApiVersions */
		{22, "does this port want SASL?"}	/* InitProducerId */
	};
	const rd_kafka_resp_err_t ends[] = {
		RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TRANSPORT,
		RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TRANSPORT
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Run		   *run = start_run("wants");
		SnBrokerHealth health;
		int64_t		until = now_ms() + PATIENCE_MS;

		rd_kafka_mock_push_request_errors_array(run->cluster, cases[i].ended_by,
												sizeof(ends) / sizeof(ends[0]),
												ends);
		open_broker(run, "reconnect.backoff.ms=100", false);
		assert_int_equal(send_number(run, "wants", 0, 0), SN_SEND_OK);
		do
		{
			take(run, 20);
			kafka->health(run->broker, &health);
		} while (strstr(health.trouble, cases[i].means) == NULL &&
				 now_ms() < until);
		assert_non_null(strstr(health.trouble, cases[i].means));
		assert_true(drain(run, PATIENCE_MS));
		end_run(run);
	}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_happy_path),
		cmocka_unit_test(test_order_over_passing_errors),
		cmocka_unit_test(test_oversize_local),
		cmocka_unit_test(test_refused_batch),
		cmocka_unit_test(test_isolation_names_culprit),
		cmocka_unit_test(test_poison_among_many),
		cmocka_unit_test(test_broker_down_and_up),
		cmocka_unit_test(test_idle_connections),
		cmocka_unit_test(test_port_wants),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_close_without_patience),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_denied_topic),
		cmocka_unit_test(test_unknown_topic),
		cmocka_unit_test(test_create_topic),
	};

	kafka = sn_broker_provider(SN_BROKER_ABI);
	return cmocka_run_group_tests_name("broker_kafka", tests, NULL, NULL);
}
