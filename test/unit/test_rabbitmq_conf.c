/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_rabbitmq_conf.c
 *		What sentinai.rabbitmq_conf says, and what it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/rabbitmq_conf.h"

#define CANARY "c4n4ry-value"

static char err[256];
static SnRabbitmqConf conf;

/* Parses what must be fine, into conf. */
static void
parse(const char *text)
{
	err[0] = '\0';
	if (!sn_rabbitmq_conf_parse(text, &conf, err, sizeof(err)))
		fail_msg("\"%s\" was refused: %s", text, err);
}

/* Parses what must be refused, with a word of the reason. */
static void
refuse(const char *text, const char *reason)
{
	err[0] = '\0';
	if (sn_rabbitmq_conf_parse(text, &conf, err, sizeof(err)))
		fail_msg("\"%s\" was accepted", text);
	assert_null(conf.props);
	if (strstr(err, reason) == NULL)
		fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, err, reason);
	if (strstr(err, CANARY) != NULL)
		fail_msg("\"%s\": a value is in the message", text);
}

/* What holds where nothing is said. */
static void
test_defaults(void **state)
{
	(void) state;
	parse("hosts=a,b:5673");
	assert_string_equal(conf.hosts, "a,b:5673");
	assert_string_equal(conf.vhost, "/");
	assert_string_equal(conf.username, "guest");
	assert_null(conf.password_file);
	assert_false(conf.tls);
	assert_string_equal(conf.exchange, "");
	assert_string_equal(conf.routing_key, "{topic}");
	assert_string_equal(conf.queue_type, "quorum");
	assert_true(conf.declare);
	assert_int_equal(conf.heartbeat_s, 10);
	assert_int_equal(conf.in_flight_per_key, 1);
	assert_int_equal(conf.max_record, 134217728);
	sn_props_free(conf.props);
}

/* What is said, and what follows from it. */
static void
test_given(void **state)
{
	(void) state;
	parse("hosts=a; exchange=events.{topic}; routing.key={key}; vhost=v w;"
		  "password.file=/s/p; username=u; heartbeat.s=30;"
		  "max.in.flight.per.key=100; message.max.bytes=5000;"
		  "security.protocol=ssl; ssl.ca.location=/ca");
	assert_string_equal(conf.exchange, "events.{topic}");
	assert_string_equal(conf.routing_key, "{key}");
	assert_string_equal(conf.vhost, "v w");
	assert_string_equal(conf.password_file, "/s/p");
	assert_true(conf.tls);
	assert_string_equal(conf.ca, "/ca");
	assert_false(conf.declare);
	assert_int_equal(conf.heartbeat_s, 30);
	assert_int_equal(conf.in_flight_per_key, 100);
	assert_int_equal(conf.max_record, 5000);
	sn_props_free(conf.props);
	parse("exchange=mine,declare=true,queue.type=classic");
	assert_null(conf.hosts);
	assert_true(conf.declare);
	assert_string_equal(conf.queue_type, "classic");
	sn_props_free(conf.props);
}

/* What cannot be, alone or together. */
static void
test_refused(void **state)
{
	char		text[400];

	(void) state;
	refuse("hosts=a,password=" CANARY, "\"password\" is a secret");
	refuse("host=" CANARY, "property \"host\" does not exist");
	refuse("hosts=a,hosts=b", "given twice");
	refuse("password.file=" CANARY, "absolute path");
	refuse("password.file=/a/../" CANARY, "absolute path");
	refuse("ssl.ca.location=" CANARY, "absolute path");
	refuse("queue.type=" CANARY, "must be one of |quorum|classic|stream|");
	refuse("queue.type=quorum|classic", "must be one of");
	refuse("declare=" CANARY, "must be one of");
	refuse("heartbeat.s=0", "from 1 to 3600");
	refuse("heartbeat.s=3601", "from 1 to 3600");
	refuse("heartbeat.s=1x", "from 1 to 3600");
	refuse("message.max.bytes=99999999999999999999", "must be a number");
	refuse("exchange={tenant}" CANARY, "{topic} and {key}");
	refuse("routing.key={topic}}", "{topic} and {key}");
	refuse("exchange=a\tb", "control character");
	refuse("exchange=", "has no value");
	refuse("security.protocol=ssl", "needs \"ssl.ca.location\"");
	refuse("ssl.key.location=/a", "need each other");
	refuse("declare=true,exchange=a,routing.key={key}", "cannot be used with {key}");
	refuse("routing.key=a", "needs \"routing.key={topic}\"");
	memset(text, 'x', sizeof(text));
	memcpy(text, "exchange=", 9);
	text[9 + 256] = '\0';
	refuse(text, "longer than 255 bytes");
	text[9 + 255] = '\0';
	parse(text);
	sn_props_free(conf.props);
}

/* What the server asks about the setting without librabbitmq. */
static void
test_server(void **state)
{
	const SnBrokerSettings *rabbitmq = &sn_rabbitmq_settings;

	(void) state;
	assert_true(rabbitmq->check("hosts=a", err, sizeof(err)));
	assert_false(rabbitmq->check("hosts", err, sizeof(err)));
	assert_false(rabbitmq->complete(""));
	assert_false(rabbitmq->complete("vhost=hosts"));
	assert_true(rabbitmq->complete("vhost=v,hosts=a"));
	assert_int_equal(rabbitmq->max_record("hosts=a"), 134217728);
	assert_int_equal(rabbitmq->max_record("message.max.bytes=5000"), 5000);
}

/* What documents say of the brokers. */
static void
test_servers(void **state)
{
	SnBrokerServers servers;
	SnProps    *props;

	(void) state;
	props = sn_rabbitmq_settings.servers("hosts=a:1", &servers);
	assert_string_equal(servers.hosts, "a:1");
	assert_string_equal(servers.protocol, "amqp");
	assert_string_equal(servers.security, "userPassword");
	sn_props_free(props);
	props = sn_rabbitmq_settings.servers("security.protocol=ssl,ssl.ca.location=/c",
										 &servers);
	assert_null(servers.hosts);
	assert_string_equal(servers.protocol, "amqps");
	sn_props_free(props);
	assert_null(sn_rabbitmq_settings.servers("hosts", &servers));
	assert_false(sn_rabbitmq_settings.is_log);
	assert_true(sn_rabbitmq_settings.is_amqp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_servers)
	};

	return cmocka_run_group_tests_name("rabbitmq_conf", tests, NULL, NULL);
}
