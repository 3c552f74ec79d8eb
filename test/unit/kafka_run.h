/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_run.h
 *		The Kafka provider against librdkafka's mock cluster: a cluster, a
 *		handle, and what came of its records.
 *
 * The mock does not check sequence numbers: it stores whatever arrives.  That
 * makes it stricter than a broker about what the producer may send after a
 * refusal.
 */
#ifndef KAFKA_RUN_H
#define KAFKA_RUN_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>

#include "broker/broker.h"

#define MAX_RECORDS 5000
#define KEYS 10
#define PARTITIONS 4
#define PATIENCE_MS 20000

/* The number of the request in Kafka's protocol. */
#define REQUEST_PRODUCE 0

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
	const char *secret_directory;
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

extern const SnBrokerProvider *kafka;
extern char err[256];

extern int64_t now_ms(void);
extern uint32_t murmur2(const unsigned char *data, size_t len);
extern void open_broker(Run *run, const char *more, bool isolate);
extern Run *start_run(const char *topic);
extern void end_run(Run *run);
extern void key_of(int number, char *key);
extern SnSendResult send_number(Run *run, const char *topic, int number,
								size_t padding);
extern int take(Run *run, int timeout_ms);
extern SnSendResult send_in_turn(Run *run, const char *topic, int number,
								 size_t padding);
extern bool drain(Run *run, int patience_ms);
extern void open_partitions(Run *run);
extern void recover(Run *run, bool isolate);
extern int relay_all(Run *run, int n);
extern int consume(Run *run, Stored *stored, int max);
extern void check_stored(Run *run, int n);

#endif							/* KAFKA_RUN_H */
