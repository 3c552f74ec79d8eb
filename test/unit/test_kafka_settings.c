/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_kafka_settings.c
 *		The Kafka provider: settings, secrets, signals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kafka_run.h"

/* Signals of the process never run on a thread of the library. */
static pthread_t handled_on;
static volatile sig_atomic_t handled;

static void
note_signal(int signo)
{
	(void) signo;
	handled_on = pthread_self();
	handled++;
}

static void
test_signals(void **state)
{
	Run		   *run = start_run("signals");
	struct sigaction action = {.sa_handler = note_signal};
	sigset_t	usr1;
	sigset_t	mask;
	int64_t		deadline;

	(void) state;
	sigaction(SIGUSR1, &action, NULL);
	open_broker(run, "linger.ms=5", false);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));

	/* blocked here, the kernel would give it to any thread that takes it */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	assert_int_equal(send_number(run, "signals", 0, 0), SN_SEND_OK);
	assert_true(drain(run, PATIENCE_MS));
	rd_kafka_mock_cluster_destroy(run->cluster);
	rd_kafka_destroy(run->owner);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	kill(getpid(), SIGUSR1);
	deadline = now_ms() + 300;
	while (now_ms() < deadline)
		take(run, 20);
	assert_int_equal(handled, 0);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	assert_int_equal(handled, 1);
	assert_true(pthread_equal(handled_on, pthread_self()));
	assert_true(kafka->close(run->broker, 3000));
	free(run);
}

/* Settings that librdkafka does not take, and what must not be missing. */
static void
test_settings(void **state)
{
	SnBrokerConfig config = {0};
	SnBroker   *broker;

	(void) state;
	config.settings = "bootstrap.servers=h:1,linger.ms=3";
	broker = kafka->open(&config, err, sizeof(err));
	assert_non_null(broker);
	kafka->close(broker, 3000);
	config.settings = "linger.ms=3";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "bootstrap.servers"));
	config.settings = "bootstrap.servers=h:1,no.such.thing=3";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "no.such.thing"));
	config.settings = "bootstrap.servers=h:1,linger.ms=abc";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "linger.ms"));
	config.settings = "bootstrap.servers=h:1,acks=1";
	assert_null(kafka->open(&config, err, sizeof(err)));
	config.settings = "bootstrap.servers=h:1,sasl.password.file=/no/such";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "secret_directory is not set"));
	config.secret_directory = "/no";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "/no"));
	config.settings = "bootstrap.servers=h:1,ssl.ca.location=/dev/zero";
	assert_null(kafka->open(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "not a plain file"));
	assert_null(sn_broker_provider(SN_BROKER_ABI + 1));
	assert_true(kafka->close(NULL, 0));
}

/* A secret read from its file reaches no log line, with debug on too. */
static void
test_secret_stays_secret(void **state)
{
	static const char secret[] = "c4n4ry-s3cret";
	char		dir[] = "/tmp/sn_secret_XXXXXX";
	char		path[64];
	char		settings[256];
	Run		   *run = start_run("secret");
	SnBrokerHealth health;
	int			fd;

	(void) state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/secret", dir);
	run->secret_directory = dir;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, secret, strlen(secret)), strlen(secret));
	close(fd);
	snprintf(settings, sizeof(settings), "sasl.password.file=%s,sasl.username="
			 "u,client.id=x%sx,sasl.mechanism=PLAIN,security.protocol=SASL_PLAINTEXT,"
			 "debug=all", path, secret);
	open_broker(run, settings, false);
	unlink(path);
	rmdir(dir);
	assert_int_equal(send_number(run, "secret", 0, 0), SN_SEND_OK);
	drain(run, 500);
	kafka->health(run->broker, &health);
	assert_true(run->log_lines > 10);
	assert_non_null(strstr(run->log_text, "x*************x"));
	assert_null(strstr(run->log_text, secret));
	assert_null(strstr(health.last_error, secret));
	end_run(run);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_secret_stays_secret),
	};

	kafka = sn_broker_provider(SN_BROKER_ABI);
	return cmocka_run_group_tests_name("kafka_settings", tests, NULL, NULL);
}
