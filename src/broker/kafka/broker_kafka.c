/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka.c
 *		The broker interface (broker.h) on librdkafka's idempotent producer.
 *
 * With the other broker_kafka*.c and kafka_conf.c it makes up the shared library
 * sentinai_kafka.  Nothing else sees librdkafka.
 *
 *
 * How order survives a refused batch
 *
 * With idempotence on, librdkafka numbers the records of a partition and the
 * broker takes them in sequence only.  What happens when the broker refuses
 * one batch for good (too large for the topic, say):
 *
 *	- By default librdkafka reports the batch as failed, lets the batches of
 *	  the partition that are in flight fail with OUT_OF_ORDER_SEQUENCE_NUMBER,
 *	  takes a new epoch, numbers the rest anew and goes on.  By the time the
 *	  host hears of it the records behind are stored, and an innocent record
 *	  of the refused batch can no longer be sent in its place.
 *	- With enable.gapless.guarantee, which we set, the broker thread raises a
 *	  fatal error before it reports the batch, and creates no further request
 *	  in any partition.  What is in flight in the same partition fails on its
 *	  sequence number, what is queued stays until purged.  Nothing behind the
 *	  refused batch is stored, and the host resumes with a new producer from
 *	  the lowest record that has no answer.  The fatal error is then no
 *	  fault of the broker's, and no failure in health.
 *	- A broker does not check the sequence for the first batch it has from a
 *	  producer in a partition; broker_kafka_gate.c sees to it that nothing is
 *	  behind that batch.
 *	- A record above message.max.bytes is refused by send() and never numbered;
 *	  records of a topic that does not exist fail before they are numbered.
 *	  Neither touches the others.
 *
 * message.timeout.ms is 0 and retries are unlimited, so a broker that is away
 * fails nothing; a record that timed out would leave a gap too.
 *
 *
 * Threads
 *
 * The producer is used through events, not callbacks: reports, errors and log
 * lines wait in its main queue until poll takes them, on the host's thread.
 * broker_kafka_producer.c starts and ends them.
 *
 * Invariant: messages and log lines never contain payload; secrets are masked
 * in both.
 */
#include "broker/kafka/broker_kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* Defaults of the host's limits. */
#define DEFAULT_MESSAGES 10000
#define DEFAULT_KBYTES (32 * 1024)

/* Opaque values travel in pointers. */
typedef char pointers_hold_opaques[sizeof(void *) >= sizeof(uint64_t) ? 1 : -1];

static SnBroker *kafka_open(const SnBrokerConfig *config, char *err,
							size_t err_len);
static SnSendResult kafka_send(SnBroker *broker, const SnRecord *record,
							   char *err, size_t err_len);
static int	kafka_poll(SnBroker *broker, int timeout_ms,
					   SnBrokerReport *reports, int max);
static int	kafka_wake_fd(const SnBroker *broker);
static void kafka_purge(SnBroker *broker, bool inflight);
static bool kafka_restart(SnBroker *broker, bool isolate, int timeout_ms,
						  char *err, size_t err_len);
static bool kafka_create_topic(SnBroker *broker, const char *topic,
							   int partitions, int replication_factor,
							   uint64_t opaque, char *err, size_t err_len);
static void kafka_health(SnBroker *broker, SnBrokerHealth *health);
static bool kafka_close(SnBroker *broker, int timeout_ms);
static SnBroker *make_broker(const SnBrokerConfig *config, char *err,
							 size_t err_len);
static void free_broker(SnBroker *broker);
static SnSendResult send_result(rd_kafka_resp_err_t code);

static const SnBrokerProvider provider = {
	.abi = SN_BROKER_ABI,
	.name = "kafka",
	.open = kafka_open,
	.send = kafka_send,
	.poll = kafka_poll,
	.wake_fd = kafka_wake_fd,
	.purge = kafka_purge,
	.restart = kafka_restart,
	.create_topic = kafka_create_topic,
	.tail = sn_kafka_tail,
	.health = kafka_health,
	.close = kafka_close
};

/* The one symbol a host looks up. */
__attribute__((visibility("default")))
const SnBrokerProvider *
sn_broker_provider(uint32_t abi)
{
	return abi == SN_BROKER_ABI ? &provider : NULL;
}

/* Makes a handle with a running producer. */
static SnBroker *
kafka_open(const SnBrokerConfig *config, char *err, size_t err_len)
{
	SnBroker   *broker = make_broker(config, err, err_len);

	if (broker == NULL)
		return NULL;
	if (!sn_kafka_sent_init(&broker->table, broker->queue_max_messages))
	{
		snprintf(err, err_len, "out of memory");
		free_broker(broker);
		return NULL;
	}
	if (!sn_client_pipe(broker->wake))
	{
		snprintf(err, err_len, "could not create pipe: %s", strerror(errno));
		free_broker(broker);
		return NULL;
	}
	if (!sn_kafka_start(broker, config->isolate, err, err_len))
	{
		free_broker(broker);
		return NULL;
	}
	return broker;
}

/* Puts one record into the producer's queue. */
static SnSendResult
kafka_send(SnBroker *broker, const SnRecord *record, char *err,
		   size_t err_len)
{
	rd_kafka_resp_err_t code;
	SnGate	   *gate;
	int			partition;
	int			place;

	if (broker->producer == NULL)
	{
		snprintf(err, err_len, "producer is not running");
		return SN_SEND_STOPPED;
	}
	gate = sn_kafka_gate_find(broker, record->topic);
	if (broker->worn_out)
	{
		snprintf(err, err_len, "producer has to be replaced");
		return SN_SEND_STOPPED;
	}
	if (gate == NULL)
	{
		code = rd_kafka_last_error();
		snprintf(err, err_len, "%s", rd_kafka_err2str(code));
		return send_result(code);
	}
	if (!sn_kafka_gate_admits(gate, record, &partition))
		return SN_SEND_LATER;
	place = sn_kafka_sent_make(&broker->table, record);
	if (place < 0)
		return SN_SEND_FULL;
	broker->table.all[place].gate = gate;
	broker->table.all[place].partition = partition;
	code = rd_kafka_producev(broker->producer,
							 RD_KAFKA_V_RKT(sn_kafka_gate_topic(gate)),
							 RD_KAFKA_V_KEY(record->key, record->key_len),
							 RD_KAFKA_V_VALUE((void *) record->value,
											  record->value_len),
							 RD_KAFKA_V_HEADERS(broker->table.all[place].headers),
							 RD_KAFKA_V_TIMESTAMP(record->timestamp_ms),
							 RD_KAFKA_V_OPAQUE((void *) (intptr_t) place),
							 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							 RD_KAFKA_V_END);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (broker->outstanding == 0)
			broker->progress_at = sn_monotonic_ms();
		broker->outstanding++;
		if (!sn_kafka_gate_sent(gate, partition))
			broker->worn_out = true;
		return SN_SEND_OK;
	}
	sn_kafka_sent_undo(&broker->table, place);
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return SN_SEND_FULL;
	snprintf(err, err_len, "%s", rd_kafka_err2str(code));
	return send_result(code);
}

/* What an error at once means for the record. */
static SnSendResult
send_result(rd_kafka_resp_err_t code)
{
	switch (sn_kafka_classify(code))
	{
		case SN_REPORT_REFUSED:
			return SN_SEND_REFUSED;
		case SN_REPORT_NO_TOPIC:
			return SN_SEND_NO_TOPIC;
		default:
			return SN_SEND_STOPPED;
	}
}

/* Hands out reports; treats errors and log lines on the way. */
static int
kafka_poll(SnBroker *broker, int timeout_ms, SnBrokerReport *reports, int max)
{
	sn_client_pipe_empty(broker->wake[0]);
	return sn_kafka_reports(broker, timeout_ms, reports, max);
}

/* The descriptor to wait for. */
static int
kafka_wake_fd(const SnBroker *broker)
{
	return broker->wake[0];
}

/* Turns what is queued (and on the way) into reports RETRY. */
static void
kafka_purge(SnBroker *broker, bool inflight)
{
	int			flags = RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING;

	if (inflight)
		flags |= RD_KAFKA_PURGE_F_INFLIGHT;
	if (broker->producer != NULL)
		rd_kafka_purge(broker->producer, flags);
}

/* Replaces the producer; what the old one had is forgotten. */
static bool
kafka_restart(SnBroker *broker, bool isolate, int timeout_ms, char *err,
			  size_t err_len)
{
	sn_kafka_stop(broker, timeout_ms);
	return sn_kafka_start(broker, isolate, err, err_len);
}

/* Asks the broker for a topic; the answer is an event of the same queue. */
static bool
kafka_create_topic(SnBroker *broker, const char *topic, int partitions,
				   int replication_factor, uint64_t opaque, char *err,
				   size_t err_len)
{
	rd_kafka_NewTopic_t *request;
	rd_kafka_AdminOptions_t *options;
	int			timeout;

	if (broker->producer == NULL)
	{
		snprintf(err, err_len, "producer is not running");
		return false;
	}
	request = rd_kafka_NewTopic_new(topic, partitions, replication_factor,
									err, err_len);
	if (request == NULL)
		return false;
	options = rd_kafka_AdminOptions_new(broker->producer,
										RD_KAFKA_ADMIN_OP_CREATETOPICS);
	timeout = sn_kafka_topic_timeout(broker);
	if (rd_kafka_AdminOptions_set_request_timeout(options, timeout,
												  err, err_len) ||
		rd_kafka_AdminOptions_set_operation_timeout(options, timeout,
													err, err_len))
	{
		rd_kafka_AdminOptions_destroy(options);
		rd_kafka_NewTopic_destroy(request);
		return false;
	}
	rd_kafka_AdminOptions_set_opaque(options, (void *) (uintptr_t) opaque);
	rd_kafka_CreateTopics(broker->producer, &request, 1, options,
						  broker->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(request);
	broker->asked++;
	return true;
}

/* State and figures. */
static void
kafka_health(SnBroker *broker, SnBrokerHealth *health)
{
	char		text[256];
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

	memset(health, 0, sizeof(*health));
	if (broker->producer != NULL)
		code = rd_kafka_fatal_error(broker->producer, text, sizeof(text));
	health->stopped = broker->producer == NULL || code != 0 ||
		broker->worn_out;
	if (code != 0)
		sn_kafka_note_error(broker, text);
	health->outstanding = broker->outstanding;
	health->failures = broker->failures;
	if (broker->outstanding > 0)
		health->stalled_ms = sn_monotonic_ms() - broker->progress_at;
	health->last_error = broker->last_error;
	health->trouble = broker->trouble;
}

/* Ends everything within the time given. */
static bool
kafka_close(SnBroker *broker, int timeout_ms)
{
	bool		gone;

	if (broker == NULL)
		return true;
	gone = sn_kafka_stop(broker, timeout_ms);
	free_broker(broker);
	return gone;
}

/* A handle without producer and pipe. */
static SnBroker *
make_broker(const SnBrokerConfig *config, char *err, size_t err_len)
{
	SnBroker   *broker = calloc(1, sizeof(SnBroker));

	if (broker == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	broker->wake[0] = broker->wake[1] = -1;
	broker->queue_max_messages = config->queue_max_messages > 0 ?
		config->queue_max_messages : DEFAULT_MESSAGES;
	broker->queue_max_kbytes = config->queue_max_kbytes > 0 ?
		config->queue_max_kbytes : DEFAULT_KBYTES;
	broker->log = config->log;
	broker->log_arg = config->log_arg;
	broker->conf = sn_kafka_conf_parse(config->settings, err, err_len);
	if (broker->conf == NULL)
	{
		free_broker(broker);
		return NULL;
	}
	broker->client_id = strdup(config->client_id != NULL ?
							   config->client_id : "sentinai");
	broker->secret_directory = strdup(config->secret_directory != NULL ?
									  config->secret_directory : "");
	if (broker->client_id == NULL || broker->secret_directory == NULL)
	{
		snprintf(err, err_len, "out of memory");
		free_broker(broker);
		return NULL;
	}
	return broker;
}

/* Frees a handle whose producer is gone. */
static void
free_broker(SnBroker *broker)
{
	sn_kafka_forget_secrets(broker);
	sn_kafka_sent_free(&broker->table);
	sn_props_free(broker->conf);
	free(broker->client_id);
	free(broker->secret_directory);
	if (broker->wake[0] >= 0)
		close(broker->wake[0]);
	if (broker->wake[1] >= 0)
		close(broker->wake[1]);
	free(broker);
}
