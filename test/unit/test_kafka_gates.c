/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_kafka_gates.c
 *		The Kafka provider: the first record of a partition goes alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka_run.h"

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
	/* compressed, as the mock keeps 5 MB of a partition */
	open_broker(run, "linger.ms=0,message.max.bytes=1000000,"
				"compression.type=lz4,retry.backoff.ms=10", false);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_goes_alone),
		cmocka_unit_test(test_no_leader_at_first),
		cmocka_unit_test(test_no_leader_of_one),
		cmocka_unit_test(test_no_offset_no_proof),
	};

	kafka = sn_broker_provider(SN_BROKER_ABI);
	return cmocka_run_group_tests_name("kafka_gates", tests, NULL, NULL);
}
