/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  A thread that reads a Kafka topic and notes when events arrive.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * A consumer sees a record only when the broker has acknowledged it, so what
 * it notes is an upper bound of the time of the acknowledgement.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include <librdkafka/rdkafka.h>

#include "bench.h"

#define POLL_MS		50

/* A consumer that gets every record as soon as the broker has it. */
static rd_kafka_t *
open_consumer(void)
{
	static const char *const settings[][2] = {
		{"group.id", "bench"},
		{"auto.offset.reset", "earliest"},
		{"enable.auto.commit", "false"},
		{"fetch.min.bytes", "1"},
		{"fetch.wait.max.ms", "100"},
		{"fetch.error.backoff.ms", "5"},
		{"topic.metadata.refresh.interval.ms", "500"},
		{NULL, NULL}
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer;
	char		error[512];

	if (rd_kafka_conf_set(conf, "bootstrap.servers", plan.kafka, error,
						  sizeof(error)) != RD_KAFKA_CONF_OK)
		die(plan.kafka, error);
	for (int i = 0; settings[i][0] != NULL; i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error,
							  sizeof(error)) != RD_KAFKA_CONF_OK)
			die(settings[i][0], error);
	consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
	if (consumer == NULL)
		die("could not make a consumer", error);
	rd_kafka_poll_set_consumer(consumer);
	return consumer;
}

/* Read all partitions of the topic from their present end. */
static void
assign_topic(rd_kafka_t *consumer)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, plan.topic, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	rd_kafka_resp_err_t error;

	error = rd_kafka_metadata(consumer, 0, topic, &metadata, 10000);
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		die(plan.topic, rd_kafka_err2str(error));
	for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
		rd_kafka_topic_partition_list_add(list, plan.topic, i)->offset =
			RD_KAFKA_OFFSET_END;
	rd_kafka_metadata_destroy(metadata);
	error = rd_kafka_assign(consumer, list);
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		die(plan.topic, rd_kafka_err2str(error));
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_topic_destroy(topic);
}

/* Note every record until the end. */
void *
reader_main(void *arg)
{
	Tally	   *tally = arg;
	rd_kafka_t *consumer = open_consumer();

	assign_topic(consumer);
	while (!stopping)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer,
															 POLL_MS);
		int64_t		now = now_ns();

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			if (message->payload != NULL)
				note_seen(message->payload, (int) message->len, now, now);
			all_claimed++;
			last_claimed = now;
			if (measuring(now))
				tally->events++;
		}
		rd_kafka_message_destroy(message);
	}
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return NULL;
}
