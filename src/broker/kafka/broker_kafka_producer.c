/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_producer.c
 *		Settings, birth and death of the Kafka provider's producer.
 *
 * librdkafka's threads start with all signals blocked.  rd_kafka_destroy can
 * hang in a name look-up, therefore a thread of ours runs it, and whoever ends
 * a producer waits for that thread no longer than it may.
 *
 * Invariants: what broker.h promises is set after the user's settings, and
 * kafka_conf.c refuses them there; a secret is in memory only as long as its
 * producer, and in no message.
 */
#include "broker/kafka/broker_kafka.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/secret_file.h"

/* Secrets shorter than this are not masked: they would mask everything. */
#define MASK_MIN_LEN 4

/* A producer on its way out; freed by whoever lets go of it last. */
typedef struct Farewell
{
	rd_kafka_t *producer;
	SnGates    *gates;			/* its threads look at them until the end */
	pthread_mutex_t lock;
	pthread_cond_t gone;
	bool		done;
	bool		abandoned;
} Farewell;

static rd_kafka_t *make_client(SnBroker *broker, rd_kafka_type_t type,
							   rd_kafka_conf_t *conf, char *err,
							   size_t err_len);
static void *destroy_main(void *arg);
static void free_farewell(Farewell *farewell);
static rd_kafka_conf_t *make_conf(SnBroker *broker, bool isolate, char *err,
								  size_t err_len);
static bool set_settings(SnBroker *broker, rd_kafka_conf_t *conf, char *err,
						 size_t err_len);
static bool set_secret(SnBroker *broker, rd_kafka_conf_t *conf,
					   const SnProp *prop, char *err, size_t err_len);
static bool set_private(SnBroker *broker, rd_kafka_conf_t *conf,
						const SnProp *prop, char *err, size_t err_len);
static bool set_ours(SnBroker *broker, rd_kafka_conf_t *conf, bool isolate,
					 char *err, size_t err_len);
static bool set_limits(SnBroker *broker, rd_kafka_conf_t *conf, char *err,
					   size_t err_len);
static bool set_one(rd_kafka_conf_t *conf, const char *name,
					const char *value, char *err, size_t err_len);

/* Makes the producer. */
bool
sn_kafka_start(SnBroker *broker, bool isolate, char *err, size_t err_len)
{
	rd_kafka_conf_t *conf = make_conf(broker, isolate, err, err_len);

	if (conf == NULL)
		return false;
	broker->gates = sn_kafka_gates_make();
	if (broker->gates == NULL)
	{
		snprintf(err, err_len, "out of memory");
		rd_kafka_conf_destroy(conf);
		return false;
	}
	broker->worn_out = false;
	broker->producer = make_client(broker, RD_KAFKA_PRODUCER, conf, err,
								   err_len);
	if (broker->producer == NULL)
	{
		sn_kafka_gates_free(broker->gates);
		broker->gates = NULL;
		return false;
	}
	rd_kafka_set_log_queue(broker->producer, NULL);
	broker->queue = rd_kafka_queue_get_main(broker->producer);
	rd_kafka_queue_io_event_enable(broker->queue, broker->wake[1], "w", 1);

	/* what came before that woke nobody; and a queue wakes when it was empty */
	if (write(broker->wake[1], "w", 1) < 0 && errno != EAGAIN)
		sn_kafka_note_error(broker, "could not write to the wake pipe");
	broker->isolate = isolate;
	broker->progress_at = sn_monotonic_ms();
	return true;
}

/* A client of the library, whose threads take no signals; it has conf then. */
static rd_kafka_t *
make_client(SnBroker *broker, rd_kafka_type_t type, rd_kafka_conf_t *conf,
			char *err, size_t err_len)
{
	const char *method = sn_props_get(broker->conf,
									  "sasl.oauthbearer.method");
	rd_kafka_t *client;
	sigset_t	before;

	sn_client_block_signals(&before);
	client = rd_kafka_new(type, conf, err, err_len);

	/* the library fetches such tokens itself, given a thread for it */
	if (client != NULL && method != NULL && strcmp(method, "oidc") == 0)
		rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(client));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (client == NULL)
	{
		sn_kafka_mask(broker, err);
		rd_kafka_conf_destroy(conf);
	}
	return client;
}

/*
 * A consumer with the user's settings, for reading a topic's end.  It says
 * nothing: what is wrong with the connection the producer says, too.
 */
rd_kafka_t *
sn_kafka_consumer(SnBroker *broker, char *err, size_t err_len)
{
	static const char *const settings[][2] = {
		{"enable.partition.eof", "true"},
		{"auto.offset.reset", "earliest"},
		{"isolation.level", "read_uncommitted"},
		{"queued.max.messages.kbytes", "4096"},
		{"fetch.wait.max.ms", "10"},
		{"log_level", "0"},
		{"log.queue", "true"}
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool		done = set_one(conf, "client.id", broker->client_id, err,
							   err_len) &&
		set_settings(broker, conf, err, err_len);
	size_t		i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]) && done; i++)
		done = set_one(conf, settings[i][0], settings[i][1], err, err_len);
	if (done)
		return make_client(broker, RD_KAFKA_CONSUMER, conf, err, err_len);
	rd_kafka_conf_destroy(conf);
	return NULL;
}

/* Ends the producer and forgets its records; false if it is still ending. */
bool
sn_kafka_stop(SnBroker *broker, int timeout_ms)
{
	rd_kafka_t *producer = broker->producer;
	SnGates    *gates;

	if (broker->current != NULL)
		rd_kafka_event_destroy(broker->current);
	broker->current = NULL;
	broker->outstanding = 0;
	broker->asked = 0;
	sn_kafka_sent_forget(&broker->table);
	if (producer == NULL)
		return true;
	gates = broker->gates;
	broker->gates = NULL;
	sn_kafka_gates_close(gates);
	rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE |
				   RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_io_event_enable(broker->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(broker->queue);
	broker->queue = NULL;
	broker->producer = NULL;
	if (timeout_ms > SN_BROKER_CLOSE_MAX_MS)
		timeout_ms = SN_BROKER_CLOSE_MAX_MS;
	return sn_kafka_end(producer, gates, timeout_ms);
}

/* Wipes the secrets kept for masking. */
void
sn_kafka_forget_secrets(SnBroker *broker)
{
	while (broker->nsecrets > 0)
		sn_secret_forget(broker->secrets[--broker->nsecrets]);
}

/* Overwrites every secret found in a text with stars. */
void
sn_kafka_mask(const SnBroker *broker, char *text)
{
	size_t		len;
	char	   *found;
	int			i;

	for (i = 0; i < broker->nsecrets; i++)
	{
		len = strlen(broker->secrets[i]);
		if (len < MASK_MIN_LEN)
			continue;
		while ((found = strstr(text, broker->secrets[i])) != NULL)
			memset(found, '*', len);
	}
}

/* Keeps the text of the last error. */
void
sn_kafka_note_error(SnBroker *broker, const char *text)
{
	snprintf(broker->last_error, sizeof(broker->last_error), "%s", text);
	sn_kafka_mask(broker, broker->last_error);
}

/* Destroys a client in a thread; true if that was done in time. */
bool
sn_kafka_end(rd_kafka_t *producer, SnGates *gates, int timeout_ms)
{
	Farewell   *farewell = calloc(1, sizeof(Farewell));
	pthread_condattr_t attr;
	pthread_t	thread;
	sigset_t	before;
	struct timespec until;
	bool		done;
	int			failed;

	if (farewell == NULL)
		return false;
	farewell->producer = producer;
	farewell->gates = gates;
	pthread_mutex_init(&farewell->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&farewell->gone, &attr);
	pthread_condattr_destroy(&attr);

	sn_client_block_signals(&before);
	failed = pthread_create(&thread, NULL, destroy_main, farewell);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
	{
		free_farewell(farewell);
		return false;
	}
	pthread_detach(thread);

	sn_client_deadline(&until, timeout_ms);
	pthread_mutex_lock(&farewell->lock);
	while (!farewell->done &&
		   pthread_cond_timedwait(&farewell->gone, &farewell->lock,
								  &until) != ETIMEDOUT)
		continue;
	done = farewell->done;
	farewell->abandoned = !done;
	pthread_mutex_unlock(&farewell->lock);
	if (done)
		free_farewell(farewell);
	return done;
}

/* Body of the thread that destroys a producer. */
static void *
destroy_main(void *arg)
{
	Farewell   *farewell = arg;
	bool		abandoned;

	rd_kafka_destroy(farewell->producer);
	sn_kafka_gates_free(farewell->gates);
	pthread_mutex_lock(&farewell->lock);
	farewell->done = true;
	abandoned = farewell->abandoned;
	pthread_cond_signal(&farewell->gone);
	pthread_mutex_unlock(&farewell->lock);
	if (abandoned)
		free_farewell(farewell);
	return NULL;
}

/* Frees what two threads shared. */
static void
free_farewell(Farewell *farewell)
{
	pthread_cond_destroy(&farewell->gone);
	pthread_mutex_destroy(&farewell->lock);
	free(farewell);
}

/*
 * librdkafka's settings: our defaults, the user's, then what must hold.  Nothing
 * is compressed unless the user says so: there is no codec that every client
 * reads and that costs the server nothing.  The host sends what a round brought
 * at once, and under load batches fill while earlier ones are on their way: to
 * linger would only add latency.
 */
static rd_kafka_conf_t *
make_conf(SnBroker *broker, bool isolate, char *err, size_t err_len)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	if (set_one(conf, "client.id", broker->client_id, err, err_len) &&
		set_one(conf, "linger.ms", "0", err, err_len) &&
		set_one(conf, "reconnect.backoff.max.ms", "3000", err, err_len) &&
		set_settings(broker, conf, err, err_len) &&
		set_ours(broker, conf, isolate, err, err_len))
		return conf;
	rd_kafka_conf_destroy(conf);
	return NULL;
}

/* Settings of the user. */
static bool
set_settings(SnBroker *broker, rd_kafka_conf_t *conf, char *err,
			 size_t err_len)
{
	const SnProp *prop;
	bool		done;
	int			i;

	sn_kafka_forget_secrets(broker);
	for (i = 0; i < broker->conf->nprops; i++)
	{
		prop = &broker->conf->props[i];
		if (prop->from_file)
			done = set_secret(broker, conf, prop, err, err_len);
		else if (sn_kafka_conf_is_private_path(prop->name))
			done = set_private(broker, conf, prop, err, err_len);
		else
			done = (!sn_kafka_conf_is_path(prop) ||
					sn_public_file(prop->name, prop->value, err, err_len)) &&
				set_one(conf, prop->name, prop->value, err, err_len);
		if (!done)
			return false;
	}
	return true;
}

/* Reads and sets one secret, and remembers it for masking. */
static bool
set_secret(SnBroker *broker, rd_kafka_conf_t *conf, const SnProp *prop,
		   char *err, size_t err_len)
{
	char	   *secret = sn_secret_read(broker->secret_directory, prop->name,
										prop->value, err, err_len);

	if (secret == NULL)
		return false;
	broker->secrets[broker->nsecrets++] = secret;
	if (rd_kafka_conf_set(conf, prop->name, secret, NULL, 0) ==
		RD_KAFKA_CONF_OK)
		return true;
	snprintf(err, err_len, "could not set property \"%s\"", prop->name);
	return false;
}

/* Sets the place of a private file, where the library finds no link. */
static bool
set_private(SnBroker *broker, rd_kafka_conf_t *conf, const SnProp *prop,
			char *err, size_t err_len)
{
	char	   *place = sn_secret_place(broker->secret_directory, prop->name,
										prop->value, err, err_len);
	bool		done = place != NULL &&
		set_one(conf, prop->name, place, err, err_len);

	free(place);
	return done;
}

/* Settings that the promises of broker.h rest on. */
static bool
set_ours(SnBroker *broker, rd_kafka_conf_t *conf, bool isolate, char *err,
		 size_t err_len)
{
	static const char *const settings[][2] = {
		{"enable.idempotence", "true"},
		{"enable.gapless.guarantee", "true"},
		{"acks", "all"},
		{"partitioner", "murmur2_random"},
		{"message.timeout.ms", "0"},
		{"statistics.interval.ms", "0"},
		{"log.queue", "true"}
	};
	size_t		size = 0;
	size_t		i;

	/* without a buffer it tells the size: not set or empty is 0 or 1 */
	if (rd_kafka_conf_get(conf, "bootstrap.servers", NULL, &size) !=
		RD_KAFKA_CONF_OK || size <= 1)
	{
		snprintf(err, err_len, "property \"bootstrap.servers\" is not set");
		return false;
	}
	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
	{
		if (!set_one(conf, settings[i][0], settings[i][1], err, err_len))
			return false;
	}
	if (isolate && !set_one(conf, "batch.num.messages", "1", err, err_len))
		return false;
	sn_kafka_watch_certificates(conf);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	return set_limits(broker, conf, err, err_len);
}

/* Bounds of the queue; the largest record must fit, or it would wait forever. */
static bool
set_limits(SnBroker *broker, rd_kafka_conf_t *conf, char *err, size_t err_len)
{
	char		text[32] = "";
	size_t		size = sizeof(text);
	long		largest;
	int			kbytes = broker->queue_max_kbytes;

	rd_kafka_conf_get(conf, "message.max.bytes", text, &size);
	largest = strtol(text, NULL, 10) / 1024 + 1;
	if (kbytes < largest)
		kbytes = (int) largest;
	snprintf(text, sizeof(text), "%d", kbytes);
	if (!set_one(conf, "queue.buffering.max.kbytes", text, err, err_len))
		return false;
	snprintf(text, sizeof(text), "%d", broker->queue_max_messages);
	return set_one(conf, "queue.buffering.max.messages", text, err, err_len);
}

/* One setting. */
static bool
set_one(rd_kafka_conf_t *conf, const char *name, const char *value, char *err,
		size_t err_len)
{
	char		text[256];

	if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) ==
		RD_KAFKA_CONF_OK)
		return true;
	snprintf(err, err_len, "property \"%s\": %s", name, text);
	return false;
}
