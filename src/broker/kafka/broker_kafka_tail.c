/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_tail.c
 *		Reads the ids of the last records of a topic.
 *
 * A consumer without a group, made for one topic and ended with it: it has the
 * user's settings, commits nothing, and needs the right to read the topic.  Its
 * partitions are read from so many records before their ends until each has been
 * at its end, and then on until the time that the host gives.
 *
 * Invariants: no call takes longer than it may; nothing of a record but its id
 * leaves this file.
 */
#include "broker/kafka/broker_kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS			50
#define FIND_MS			1000	/* for the topic's partitions */

/* A topic that is being read */
typedef struct Reading
{
	rd_kafka_t *consumer;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	int			partitions;
	bool	   *at_end;			/* by partition */
	int			nended;
} Reading;

static bool open_reading(SnBroker *broker, const SnTail *tail,
						 Reading *reading, char *err, size_t err_len);
static bool count_partitions(Reading *reading, int timeout_ms,
							 SnTailResult *result, char *err,
							 size_t err_len);
static bool start_partitions(Reading *reading, int per_partition, char *err,
							 size_t err_len);
static SnTailResult read_ends(const SnTail *tail, Reading *reading,
							  int64_t deadline, char *err, size_t err_len);
static bool take_tail_message(const SnTail *tail, Reading *reading,
						 const rd_kafka_message_t *message, char *err,
						 size_t err_len);
static void take_id(const SnTail *tail, const rd_kafka_message_t *message);
static void close_reading(Reading *reading, int timeout_ms);

/* Hands out the ids at the ends of a topic's partitions. */
SnTailResult
sn_kafka_tail(SnBroker *broker, const SnTail *tail, char *err, size_t err_len)
{
	int64_t		deadline = sn_monotonic_ms() + tail->timeout_ms;
	Reading		reading = {0};
	SnTailResult result = SN_TAIL_AWAY;

	if (!open_reading(broker, tail, &reading, err, err_len))
		result = SN_TAIL_PART;
	else if (count_partitions(&reading, tail->timeout_ms, &result, err, err_len))
		result = start_partitions(&reading, tail->per_partition, err, err_len) ?
			read_ends(tail, &reading, deadline, err, err_len) : SN_TAIL_PART;
	close_reading(&reading, SN_BROKER_CLOSE_MAX_MS);
	return result;
}

/* Makes the consumer; false and a message when it cannot be. */
static bool
open_reading(SnBroker *broker, const SnTail *tail, Reading *reading, char *err,
			 size_t err_len)
{
	reading->consumer = sn_kafka_consumer(broker, err, err_len);
	if (reading->consumer == NULL)
		return false;
	reading->topic = rd_kafka_topic_new(reading->consumer, tail->topic, NULL);
	reading->queue = rd_kafka_queue_new(reading->consumer);
	if (reading->topic == NULL)
		snprintf(err, err_len, "%s", rd_kafka_err2str(rd_kafka_last_error()));
	return reading->topic != NULL;
}

/*
 * How many partitions there are, none of a topic that is not there.  False: they
 * cannot be read, or nobody answers.
 */
static bool
count_partitions(Reading *reading, int timeout_ms, SnTailResult *result,
				 char *err, size_t err_len)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;

	code = rd_kafka_metadata(reading->consumer, 0, reading->topic, &metadata,
							 timeout_ms < FIND_MS ? timeout_ms : FIND_MS);
	if (code == 0)
	{
		if (metadata->topic_cnt == 1)
		{
			if (metadata->topics[0].err ==
				RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
			{
				code = metadata->topics[0].err;
				*result = SN_TAIL_PART;
			}
			reading->partitions = metadata->topics[0].partition_cnt;
		}
		rd_kafka_metadata_destroy(metadata);
	}
	if (code != 0)
		snprintf(err, err_len, "%s", rd_kafka_err2str(code));
	return code == 0;
}

/* Begins to fetch all partitions. */
static bool
start_partitions(Reading *reading, int per_partition, char *err, size_t err_len)
{
	int			i;

	reading->at_end = calloc(reading->partitions + 1, sizeof(bool));
	if (reading->at_end == NULL)
	{
		snprintf(err, err_len, "out of memory");
		reading->partitions = 0;
		return false;
	}
	for (i = 0; i < reading->partitions; i++)
	{
		if (rd_kafka_consume_start_queue(reading->topic, i,
										 RD_KAFKA_OFFSET_TAIL(per_partition),
										 reading->queue) == 0)
			continue;
		snprintf(err, err_len, "%s", rd_kafka_err2str(rd_kafka_last_error()));
		reading->partitions = i;
		return false;
	}
	return true;
}

/* Reads until all are at their ends, and the host's time has come. */
static SnTailResult
read_ends(const SnTail *tail, Reading *reading, int64_t deadline, char *err,
		  size_t err_len)
{
	while (reading->nended < reading->partitions ||
		   sn_monotonic_ms() < tail->until_ms)
	{
		rd_kafka_message_t *message;
		bool		fine;

		if (sn_monotonic_ms() >= deadline)
		{
			snprintf(err, err_len, "%d of %d partitions were read in the time",
					 reading->nended, reading->partitions);
			return SN_TAIL_PART;
		}
		message = rd_kafka_consume_queue(reading->queue, LOOK_MS);
		if (message == NULL)
			continue;
		fine = take_tail_message(tail, reading, message, err, err_len);
		rd_kafka_message_destroy(message);
		if (!fine)
			return SN_TAIL_PART;
	}
	return SN_TAIL_READ;
}

/* Takes a record, or the news of a partition; false: it cannot be read. */
static bool
take_tail_message(const SnTail *tail, Reading *reading,
			 const rd_kafka_message_t *message, char *err, size_t err_len)
{
	switch (message->err)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			take_id(tail, message);
			return true;
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			if (message->partition >= 0 &&
				message->partition < reading->partitions &&
				!reading->at_end[message->partition])
			{
				reading->at_end[message->partition] = true;
				reading->nended++;
			}
			return true;
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			snprintf(err, err_len, "%s", rd_kafka_err2str(message->err));
			return false;
		default:
			return true;		/* the library tries again by itself */
	}
}

/* The id of the event that a record carries, by the header that has it. */
static void
take_id(const SnTail *tail, const rd_kafka_message_t *message)
{
	rd_kafka_headers_t *headers;
	const void *value;
	size_t		len;

	if (rd_kafka_message_headers(message, &headers) != 0)
		return;
	if (rd_kafka_header_get_last(headers, "ce_id", &value, &len) == 0 ||
		rd_kafka_header_get_last(headers, "event_id", &value, &len) == 0)
		tail->take(tail->arg, value, len);
}

/* Ends the consumer. */
static void
close_reading(Reading *reading, int timeout_ms)
{
	int			i;

	for (i = 0; i < reading->partitions && reading->at_end != NULL; i++)
		rd_kafka_consume_stop(reading->topic, i);
	free(reading->at_end);
	if (reading->queue != NULL)
		rd_kafka_queue_destroy(reading->queue);
	if (reading->topic != NULL)
		rd_kafka_topic_destroy(reading->topic);
	if (reading->consumer != NULL)
		(void) sn_kafka_end(reading->consumer, NULL, timeout_ms);
}
