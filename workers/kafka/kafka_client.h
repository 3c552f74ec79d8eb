/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_client.h
 *	  A consumer of librdkafka, made from an agent's options.
 */
#ifndef SENTINAI_KAFKA_CLIENT_H
#define SENTINAI_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct KafkaSettings
{
	int			source;			/* KafkaChoice */
	char	   *brokers;
	char	   *topics;			/* names between commas */
	char	   *group_id;		/* NULL: from the agent's name */
	char	   *conf;			/* file with properties, or NULL */
} KafkaSettings;

typedef enum KafkaChoice
{
	SOURCE_DATABASE,
	SOURCE_KAFKA
} KafkaChoice;

#define KAFKA_SOURCE_CHOICES "database|kafka"

/* What a consumer tells its thread, from within rd_kafka_consumer_poll(). */
typedef struct KafkaCalls
{
	void		(*rebalance) (rd_kafka_t *consumer, rd_kafka_resp_err_t what,
							  rd_kafka_topic_partition_list_t *partitions,
							  void *arg);
	void		(*trouble) (rd_kafka_t *consumer, int error,
							const char *reason, void *arg);
} KafkaCalls;

extern rd_kafka_t *kafka_open(const KafkaSettings *settings,
							  const char *agent, const KafkaCalls *calls,
							  void *arg, char *error, size_t size);
extern bool kafka_subscribe(rd_kafka_t *consumer,
							const KafkaSettings *settings);

#endif							/* SENTINAI_KAFKA_CLIENT_H */
