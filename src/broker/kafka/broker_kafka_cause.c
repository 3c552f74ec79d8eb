/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_cause.c
 *		What is wrong with a connection, in words that say what to change.
 *
 * librdkafka gives one text for every certificate that it does not accept, and
 * OpenSSL's for every one that the broker does not accept.  Why a broker's is
 * not accepted only a callback is told.  That runs on librdkafka's threads and
 * touches nothing but its arguments; the library logs what it returns, and from
 * there it comes into the text of the error that follows.
 *
 * Invariants: the callback accepts exactly what the library itself would.
 */
#include "broker/kafka/broker_kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/client/certificate.h"

/* Before this version a nonce was sent twice, and Kafka 4 looks at it. */
#define SCRAM_RIGHT		0x02060100

/* A connection that ended sooner than this was hardly used for anything. */
#define SOON_MS			2000

/* What librdkafka's texts do not say. */
static const struct
{
	const char *in;
	const char *means;
}			hints[] = {
	{"alert bad certificate", "the broker wants another client certificate"},
	{"alert certificate", "the broker wants another client certificate"},
	{"alert unknown ca", "the broker wants another client certificate"},
	{"SSL alert number 116", "the broker wants a client certificate"},
	{"unexpected eof", "does this port speak TLS?"},
	{"wrong version number", "does this port speak TLS?"},
	{"connecting to a PLAINTEXT broker", "does this port speak TLS?"}
};

static int	check_certificate(rd_kafka_t *producer, const char *name,
							  int32_t id, int *error, int depth,
							  const char *der, size_t der_len, char *why,
							  size_t why_len, void *opaque);
static const char *wanted_by_port(const SnBroker *broker, const char *error);

/* Has the library tell why it does not accept a certificate. */
void
sn_kafka_watch_certificates(rd_kafka_conf_t *conf)
{
	/* it refuses when it has no TLS, and then there is nothing to watch */
	(void) rd_kafka_conf_set_ssl_cert_verify_cb(conf, check_certificate);
}

/* On librdkafka's threads: what OpenSSL said of a certificate, in words. */
static int
check_certificate(rd_kafka_t *producer, const char *name, int32_t id,
				  int *error, int depth, const char *der, size_t der_len,
				  char *why, size_t why_len, void *opaque)
{
	if (*error == 0)
		return 1;
	sn_certificate_refusal(*error, "bootstrap.servers", why, why_len);
	return 0;
}

/* Keeps what a log line says of a certificate. */
void
sn_kafka_note_certificate(SnBroker *broker, const char *line)
{
	const char *why = strstr(line, "callback failed: ");

	if (why != NULL)
		snprintf(broker->certificate, sizeof(broker->certificate), "%s",
				 why + strlen("callback failed: "));
}

/*
 * The text of an error of a connection.  It begins with the broker's address;
 * what we know of the cause comes next, since the end may be cut off.
 */
void
sn_kafka_cause(SnBroker *broker, const char *error, char *text, size_t text_len)
{
	const char *rest = strstr(error, ": ");
	const char *means = NULL;
	size_t		i;

	if (rest != NULL && broker->certificate[0] != '\0' &&
		strstr(error, "certificate verify failed") != NULL)
	{
		snprintf(text, text_len,
				 "%.*s: certificate of the broker is not accepted: %s",
				 (int) (rest - error), error, broker->certificate);
		return;
	}
	for (i = 0; i < sizeof(hints) / sizeof(hints[0]) && means == NULL; i++)
	{
		if (strstr(error, hints[i].in) != NULL)
			means = hints[i].means;
	}
	if (means == NULL)
		means = wanted_by_port(broker, error);
	if (rd_kafka_version() < SCRAM_RIGHT &&
		strstr(error, "SASL mechanism SCRAM") != NULL &&
		strstr(error, "invalid credentials") != NULL)
		means = "user or password, or Kafka 4, whose SCRAM needs librdkafka 2.6.1";
	if (rest != NULL && means != NULL)
		snprintf(text, text_len, "%.*s: %s%s", (int) (rest - error), error,
				 means, rest);
	else
		snprintf(text, text_len, "%s", error);
}

/*
 * What a port wants that ends a connection without a word, or NULL: one with TLS
 * takes our first request for rubbish, and one with SASL the first behind it.
 * librdkafka says in which state that was, and guessed the same until 2.11.
 */
static const char *
wanted_by_port(const SnBroker *broker, const char *error)
{
	const char *after = strstr(error, "(after ");
	char		protocol[32] = "";
	size_t		size = sizeof(protocol);

	if (after == NULL || strstr(error, ": Disconnected") == NULL ||
		rd_kafka_conf_get(rd_kafka_conf(broker->producer), "security.protocol",
						  protocol, &size) != RD_KAFKA_CONF_OK)
		return NULL;
	if (strstr(after, "in state APIVERSION_QUERY") != NULL &&
		strstr(protocol, "ssl") == NULL)
		return "does this port want TLS?";
	if (strstr(after, "in state UP") != NULL &&
		strtol(after + strlen("(after "), NULL, 10) < SOON_MS &&
		strstr(protocol, "sasl") == NULL)
		return "does this port want SASL?";
	return NULL;
}
