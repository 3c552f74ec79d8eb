/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_kafka_conf.c
 *		Syntax of sentinai.kafka_conf, and what it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/kafka_conf.h"

#define CANARY "c4n4ry-value"

static char err[256];

/* Parses what must be fine. */
static SnProps *
parse(const char *text)
{
	SnProps    *conf;

	err[0] = '\0';
	conf = sn_kafka_conf_parse(text, err, sizeof(err));
	if (conf == NULL)
		fail_msg("\"%s\" was refused: %s", text, err);
	return conf;
}

/* Parses what must be refused, with a word of the reason. */
static void
refuse(const char *text, const char *reason)
{
	SnProps    *conf;

	err[0] = '\0';
	conf = sn_kafka_conf_parse(text, err, sizeof(err));
	if (conf != NULL)
		fail_msg("\"%s\" was accepted", text);
	if (strstr(err, reason) == NULL)
		fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, err, reason);
	if (strstr(err, CANARY) != NULL)
		fail_msg("\"%s\": a value is in the message", text);
}

/* All three separators, white space, empty pieces. */
static void
test_separators(void **state)
{
	SnProps *conf = parse(" linger.ms = 5 ,,compression.type=lz4;\n"
							  "client.rack=a b\r\n\n socket.keepalive.enable"
							  "=true , ");

	(void) state;
	assert_int_equal(conf->nprops, 4);
	assert_string_equal(sn_props_get(conf, "linger.ms"), "5");
	assert_string_equal(sn_props_get(conf, "compression.type"), "lz4");
	assert_string_equal(sn_props_get(conf, "client.rack"), "a b");
	assert_string_equal(sn_props_get(conf, "socket.keepalive.enable"),
						"true");
	assert_null(sn_props_get(conf, "linger"));
	sn_props_free(conf);
}

/* A piece without '=' continues the value before it. */
static void
test_continuation(void **state)
{
	SnProps *conf = parse("bootstrap.servers=a:1, b:2,c:3\nd:4,"
							  "linger.ms=1");

	(void) state;
	assert_int_equal(conf->nprops, 2);
	assert_string_equal(sn_props_get(conf, "bootstrap.servers"),
						"a:1,b:2,c:3,d:4");
	sn_props_free(conf);
	conf = parse("ssl.cipher.suites=X;Y");
	assert_string_equal(sn_props_get(conf, "ssl.cipher.suites"), "X;Y");
	sn_props_free(conf);
	conf = parse("client.id=a=b");
	assert_string_equal(sn_props_get(conf, "client.id"), "a=b");
	sn_props_free(conf);
}

/* Nothing is fine too: the relay says later that it has no server. */
static void
test_empty(void **state)
{
	SnProps *conf = parse(" \n,; ");

	(void) state;
	assert_int_equal(conf->nprops, 0);
	sn_props_free(conf);
	sn_props_free(NULL);
}

/* Syntax errors. */
static void
test_bad_syntax(void **state)
{
	char		text[512];
	char	   *many;
	int			i;

	(void) state;
	refuse("localhost:9092", "begin with key=value");
	refuse("=" CANARY, "name of a property");
	refuse("Linger.ms=" CANARY, "name of a property");
	refuse("a b=" CANARY, "name of a property");
	refuse("a\"b=" CANARY, "name of a property");
	refuse("linger.ms=", "has no value");
	refuse("linger.ms=1,linger.ms=2", "given twice");
	refuse("client.id=a\x01" CANARY, "control character");
	memset(text, 'a', sizeof(text));
	strcpy(text + 200, "=" CANARY);
	refuse(text, "name of a property");

	many = calloc(1, SN_PROPS_MAX_TEXT + 100);
	for (i = 0; i <= SN_PROPS_MAX; i++)
		sprintf(many + strlen(many), "p%d=%d,", i, i);
	refuse(many, "more than");
	memset(many, 'x', SN_PROPS_MAX_TEXT + 1);
	memcpy(many, "client.id=", 10);
	refuse(many, "longer than");
	free(many);
}

/* A list of servers of 64 KB is only long. */
static void
test_long_value(void **state)
{
	SnProps    *conf;
	char	   *text = calloc(1, 70000);
	size_t		used = sprintf(text, "bootstrap.servers=h:1");

	(void) state;
	while (used < 65536)
		used += sprintf(text + used, ",h%zu:9092", used);
	conf = parse(text);
	assert_int_equal(conf->nprops, 1);
	assert_string_equal(sn_props_get(conf, "bootstrap.servers"),
						text + strlen("bootstrap.servers="));
	sn_props_free(conf);
	free(text);
}

/* Properties that run code, break promises or belong to us. */
static void
test_refused_properties(void **state)
{
	static const char *const names[] = {
		"plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.id",
		"ssl.engine.location", "ssl.providers", "dr_msg_cb", "log_cb",
		"ssl.certificate.verify_cb", "interceptors", "default_topic_conf",
		"ssl_engine_callback_data", "opaque", "internal.termination.signal",
		"enable.idempotence", "enable.gapless.guarantee", "acks",
		"request.required.acks", "partitioner", "partitioner_cb",
		"message.timeout.ms", "delivery.timeout.ms", "retries",
		"message.send.max.retries", "queuing.strategy", "transactional.id",
		"transaction.timeout.ms", "log.queue", "log.thread.name",
		"statistics.interval.ms", "queue.buffering.max.messages",
		"queue.buffering.max.kbytes", "test.mock.num.brokers",
		"enabled_events", "delivery.report.only.error"
	};
	char		text[200];
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		snprintf(text, sizeof(text), "linger.ms=1,%s=" CANARY, names[i]);
		refuse(text, "is not allowed");
		assert_non_null(strstr(err, names[i]));
		snprintf(text, sizeof(text), "%s.file=/x", names[i]);
		refuse(text, "");
	}
}

/* A secret in the setting itself is refused and not repeated. */
static void
test_literal_secrets(void **state)
{
	static const char *const names[] = {
		"sasl.password", "ssl.key.password", "ssl.keystore.password",
		"ssl.key.pem", "sasl.oauthbearer.client.secret",
		"sasl.oauthbearer.config",
		"sasl.oauthbearer.assertion.private.key.passphrase",
		"sasl.oauthbearer.assertion.private.key.pem"
	};
	char		text[200];
	SnProps    *conf;
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		snprintf(text, sizeof(text), "%s=" CANARY, names[i]);
		refuse(text, "is a secret");
		assert_non_null(strstr(err, names[i]));
		snprintf(text, sizeof(text), "%s.file=/run/secret", names[i]);
		conf = parse(text);
		assert_int_equal(conf->nprops, 1);
		assert_true(conf->props[0].from_file);
		assert_string_equal(conf->props[0].name, names[i]);
		assert_string_equal(conf->props[0].value, "/run/secret");
		assert_null(sn_props_get(conf, names[i]));
		sn_props_free(conf);
	}
	refuse("sasl.username.file=/x", "only secrets");
	refuse("sasl.password.file=/a,sasl.password.file=/b", "given twice");
	sn_props_free(parse("sasl.username=u"));
}

/* Values that would open a hole. */
static void
test_refused_values(void **state)
{
	(void) state;
	refuse("enable.ssl.certificate.verification=false", "only be true");
	refuse("enable.ssl.certificate.verification=0", "only be true");
	refuse("enable.ssl.certificate.verification=F", "only be true");
	sn_props_free(parse("enable.ssl.certificate.verification=True"));
	refuse("ssl.endpoint.identification.algorithm=none", "only be https");
	refuse("ssl.endpoint.identification.algorithm=None", "only be https");
	sn_props_free(parse("ssl.endpoint.identification.algorithm=https"));
	refuse("ssl.cipher.suites=aNULL:" CANARY, "without encryption");
	refuse("ssl.cipher.suites=NULL-SHA256", "without encryption");
	refuse("ssl.cipher.suites=ADH-AES128-SHA", "without encryption");
	refuse("ssl.cipher.suites=AECDH-AES128-SHA", "without encryption");
	refuse("ssl.cipher.suites=DEFAULT:@SECLEVEL=0", "without encryption");
	sn_props_free(parse("ssl.cipher.suites=ECDHE-ECDSA-AES128-GCM-SHA256"));
	refuse("sasl.password.file=secret", "absolute path");
	refuse("sasl.password.file=/a/../b", "absolute path");
	refuse("ssl.ca.location=../ca.pem", "absolute path");
	refuse("ssl.key.location=/a/..", "absolute path");
	refuse("sasl.kerberos.keytab=k", "absolute path");
	sn_props_free(parse("ssl.ca.location=/etc/ssl/a..b.pem"));
	sn_props_free(parse("ssl.ca.location=probe"));
	refuse("sasl.kerberos.principal=a$(id)", "may only contain");
	refuse("sasl.kerberos.principal=a`id`", "may only contain");
	refuse("sasl.kerberos.keytab=/a\" -x \"", "may only contain");
	sn_props_free(parse("sasl.kerberos.principal=k/h.x@R-1_2"));
}

/* What the server asks about the setting without librdkafka. */
static void
test_server(void **state)
{
	const SnBrokerSettings *kafka = &sn_kafka_settings;

	(void) state;
	assert_true(kafka->check("linger.ms=1", err, sizeof(err)));
	assert_false(kafka->check("linger", err, sizeof(err)));
	assert_false(kafka->complete(""));
	assert_false(kafka->complete("client.id=bootstrap.servers"));
	assert_false(kafka->complete("bootstrap.servers"));
	assert_true(kafka->complete("linger.ms=1,bootstrap.servers=a:1"));
	assert_true(kafka->complete("metadata.broker.list=a:1"));
	assert_int_equal(kafka->max_record("linger.ms=1"), 1000000);
	assert_int_equal(kafka->max_record("message.max.bytes=5000"), 5000);
}

/* What documents say of the brokers. */
static void
test_servers(void **state)
{
	static const struct
	{
		const char *text;
		const char *hosts;
		const char *protocol;
		const char *security;
	}			cases[] = {
		{"linger.ms=1", "", "kafka", ""},
		{"bootstrap.servers=a:1", "a:1", "kafka", ""},
		{"metadata.broker.list=b", "b", "kafka", ""},
		{"bootstrap.servers=a,security.protocol=SSL", "a", "kafka-secure", ""},
		{"security.protocol=ssl,ssl.certificate.location=/c", "", "kafka-secure", "X509"},
		{"security.protocol=sasl_ssl,sasl.mechanism=scram-sha-512,ssl.certificate.location=/c", "", "kafka-secure", "scramSha512"},
		{"security.protocol=sasl_plaintext,sasl.mechanisms=PLAIN", "", "kafka", "plain"},
		{"security.protocol=sasl_ssl,sasl.mechanisms=other", "", "kafka-secure", ""},
	};
	SnBrokerServers servers;
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		SnProps    *conf = sn_kafka_settings.servers(cases[i].text, &servers);

		assert_non_null(conf);
		assert_string_equal(servers.hosts ? servers.hosts : "", cases[i].hosts);
		assert_string_equal(servers.protocol, cases[i].protocol);
		assert_string_equal(servers.security ? servers.security : "",
							cases[i].security);
		sn_props_free(conf);
	}
	assert_null(sn_kafka_settings.servers("linger", &servers));
	assert_true(sn_kafka_settings.is_log);
	assert_false(sn_kafka_settings.is_amqp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_separators),
		cmocka_unit_test(test_continuation),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_bad_syntax),
		cmocka_unit_test(test_long_value),
		cmocka_unit_test(test_refused_properties),
		cmocka_unit_test(test_literal_secrets),
		cmocka_unit_test(test_refused_values),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_servers)
	};

	return cmocka_run_group_tests_name("kafka_conf", tests, NULL, NULL);
}
