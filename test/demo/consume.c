/*-------------------------------------------------------------------------
 *
 * consume.c
 *	  The consumer of the quickstart: reads back what the relay sent.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * Reads every topic whose name begins with "sentinai." and notes one line per
 * record until SIGTERM: event id (header ce_id), topic, key,
 * partition, offset, and when it was read (microseconds).
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#define POLL_MS		100
#define LOOK_US		500000		/* between two looks for new topics */
#define TOPICS		"sentinai."

static volatile sig_atomic_t stopping;
static FILE *notes;

/* SIGTERM, SIGINT: end after the record at hand. */
static void
handle_stop(int signo)
{
	(void) signo;
	stopping = 1;
}

/* Say what went wrong and end. */
static void
die(const char *what, const char *why)
{
	fprintf(stderr, "consume: %s: %s\n", what, why);
	exit(1);
}

/* Microseconds since 1970. */
static long long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (long long) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Note one record; one without an event id is not ours to count. */
static void
note(const rd_kafka_message_t *message, long long when)
{
	rd_kafka_headers_t *headers;
	const void *id;
	size_t		len;

	if (rd_kafka_message_headers(message, &headers) ||
		rd_kafka_header_get_last(headers, "ce_id", &id, &len))
		return;
	fprintf(notes, "%.*s\t%s\t%.*s\t%d\t%lld\t%lld\n",
			(int) len, (const char *) id,
			rd_kafka_topic_name(message->rkt),
			(int) message->key_len, (const char *) message->key,
			message->partition, (long long) message->offset, when);
	fflush(notes);
}

/* A consumer that notes no offsets. */
static rd_kafka_t *
open_consumer(const char *servers, const char *group)
{
	const char *const settings[][2] = {
		{"bootstrap.servers", servers},
		{"group.id", group},
		{"enable.auto.commit", "false"},
		{"fetch.wait.max.ms", "20"},
		{NULL, NULL}
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer;
	char		error[512];

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

/*
 * Take the partitions of our topics that are new, from their first record on.
 * A group would stop all partitions to share them out again.
 */
static void
take_new_partitions(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *taken)
{
	const struct rd_kafka_metadata *all;
	rd_kafka_topic_partition_list_t *added;
	rd_kafka_error_t *error;

	if (rd_kafka_metadata(consumer, 1, NULL, &all, 10 * POLL_MS))
		return;
	added = rd_kafka_topic_partition_list_new(1);
	for (int i = 0; i < all->topic_cnt; i++)
	{
		const struct rd_kafka_metadata_topic *topic = &all->topics[i];

		if (strncmp(topic->topic, TOPICS, strlen(TOPICS)) != 0)
			continue;
		for (int part = 0; part < topic->partition_cnt; part++)
			if (!rd_kafka_topic_partition_list_find(taken, topic->topic, part))
			{
				rd_kafka_topic_partition_list_add(taken, topic->topic, part);
				rd_kafka_topic_partition_list_add(added, topic->topic, part)
					->offset = RD_KAFKA_OFFSET_BEGINNING;
			}
	}
	error = added->cnt > 0 ? rd_kafka_incremental_assign(consumer, added) : NULL;
	if (error != NULL)
		die("could not take partitions", rd_kafka_error_string(error));
	rd_kafka_topic_partition_list_destroy(added);
	rd_kafka_metadata_destroy(all);
}

/* Note every record until told to stop. */
static void
consume(rd_kafka_t *consumer)
{
	rd_kafka_topic_partition_list_t *taken = rd_kafka_topic_partition_list_new(1);
	long long	looked = 0;

	while (!stopping)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer,
															 POLL_MS);

		if (now_us() - looked > LOOK_US)
		{
			take_new_partitions(consumer, taken);
			looked = now_us();
		}
		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			note(message, now_us());
		else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			fprintf(stderr, "consume: %s\n",
					rd_kafka_message_errstr(message));
		rd_kafka_message_destroy(message);
	}
	rd_kafka_topic_partition_list_destroy(taken);
}

int
main(int argc, char **argv)
{
	rd_kafka_t *consumer;

	if (argc != 4)
	{
		fprintf(stderr, "Usage: consume HOST:PORT GROUP NOTES\n");
		return 2;
	}
	signal(SIGTERM, handle_stop);
	signal(SIGINT, handle_stop);
	notes = fopen(argv[3], "a");
	if (notes == NULL)
		die(argv[3], strerror(errno));

	consumer = open_consumer(argv[1], argv[2]);
	consume(consumer);
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	if (fclose(notes) != 0)
		die(argv[3], strerror(errno));
	return 0;
}
