/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_conf.c
 *	  Options: sources, precedence, ranges, --help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf.h"

#define ARGS(...) \
	((char *[]) {"prog", __VA_ARGS__, NULL}), \
	(int) (sizeof((char *[]) {"prog", __VA_ARGS__}) / sizeof(char *))

typedef struct OwnSettings
{
	char	   *colour;
	int			speed;
} OwnSettings;

static OwnSettings own;

static const AgentOption own_options[] = {
	{"colour", 0, AGENT_OPTION_STRING, offsetof(OwnSettings, colour), "red",
		0, 0, NULL, NULL, false, false, "NAME", "a colour"},
	{"speed", 0, AGENT_OPTION_INT, offsetof(OwnSettings, speed), "3",
		1, 9, NULL, NULL, false, false, "N", "a speed"},
	{0}
};

static const AgentDefinition definition = {
	"prog", "a program", NULL, own_options, &own
};

static Conf conf;
static char file_name[] = "/tmp/sentinai-conf-XXXXXX";

/* Loads; the last result is freed first. */
static bool
load(char **argv, int argc)
{
	conf_free(&conf);
	return conf_load(&conf, &definition, argc, argv);
}

/* Writes the configuration file. */
static void
write_file(const char *text)
{
	FILE	   *file = fopen(file_name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Prints with a function of conf.c into a string; free() it. */
static char *
printed(void (*print) (const Conf *, FILE *))
{
	char	   *text = NULL;
	size_t		size = 0;
	FILE	   *out = open_memstream(&text, &size);

	assert_non_null(out);
	print(&conf, out);
	fclose(out);
	return text;
}

/* Every test starts with an environment and a file that say nothing. */
static int
set_up(void **state)
{
	(void) state;
	assert_int_equal(clearenv(), 0);
	write_file("");
	return 0;
}

static void
test_defaults(void **state)
{
	(void) state;
	assert_true(load(ARGS("-w", "x")));
	assert_string_equal(conf.settings.worker_type, "x");
	assert_int_equal(conf.settings.concurrency, 1);
	assert_int_equal(conf.settings.lease, 60000);
	assert_int_equal(conf.settings.prepare, PREPARE_AUTO);
	assert_null(conf.settings.host);
	assert_string_equal(own.colour, "red");
	assert_int_equal(conf_source(&conf, "lease"), CONF_DEFAULT);
	assert_int_equal(conf_source(&conf, "worker-type"), CONF_FLAG);
}

static void
test_precedence(void **state)
{
	(void) state;
	write_file("worker_type = file\nlease = 10s\nspeed = 5\nwait = 1s\n");
	assert_true(load(ARGS("--config", file_name)));
	assert_string_equal(conf.settings.worker_type, "file");
	assert_int_equal(conf.settings.lease, 10000);
	assert_int_equal(own.speed, 5);
	assert_int_equal(conf_source(&conf, "speed"), CONF_FILE);

	setenv("SENTINAI_LEASE", "20s", 1);
	setenv("WORKER_TYPE", "environment", 1);
	assert_true(load(ARGS("--config", file_name)));
	assert_string_equal(conf.settings.worker_type, "environment");
	assert_int_equal(conf.settings.lease, 20000);
	assert_int_equal(conf.settings.wait, 1000);

	setenv("SENTINAI_WORKER_TYPE", "own variable", 1);
	assert_true(load(ARGS("--config", file_name, "--lease=30s")));
	assert_string_equal(conf.settings.worker_type, "own variable");
	assert_int_equal(conf.settings.lease, 30000);
	assert_int_equal(conf_source(&conf, "lease"), CONF_FLAG);
	assert_int_equal(conf_source(&conf, "worker-type"), CONF_ENVIRONMENT);

	setenv("SENTINAI_CONFIG", file_name, 1);
	assert_true(load(ARGS("-w", "x")));
	assert_int_equal(conf.settings.wait, 1000);
}

static void
test_postgres_environment(void **state)
{
	(void) state;
	setenv("PGHOST", "db.example", 1);
	setenv("PGUSER", "", 1);
	setenv("CONCURRENCY", "7", 1);
	write_file("host = other\nuser = u\n");
	assert_true(load(ARGS("-w", "x", "--config", file_name)));
	assert_string_equal(conf.settings.host, "db.example");
	assert_string_equal(conf.settings.user, "u");
	assert_int_equal(conf.settings.concurrency, 7);
	assert_true(load(ARGS("-w", "x", "-h", "flag")));
	assert_string_equal(conf.settings.host, "flag");
}

static void
test_sections(void **state)
{
	(void) state;
	write_file("[prog]\nlease = 5s\n[agent]\nlease = 7s\nwait = 8s\n"
			   "[another]\nnonsense = 1\n");
	assert_true(load(ARGS("-w", "x", "--config", file_name)));
	assert_int_equal(conf.settings.lease, 5000);
	assert_int_equal(conf.settings.wait, 8000);
}

static void
test_bad_files(void **state)
{
	char		text[400];

	(void) state;
	write_file("lease = 5s\nnonsense = 1\n");
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "line 2: unknown option \"nonsense\""));
	write_file("lease = 5s\nlease = 6s\n");
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "\"lease\" is set twice"));
	write_file("this is no setting\n");
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "line 1: expected name = value"));
	write_file("lease = 1 week\n");
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "\"lease\" in file"));
	memset(text, 'a', sizeof(text));
	memcpy(text, "colour = ", 9);
	text[sizeof(text) - 1] = '\0';
	write_file(text);
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "line 1: longer than"));
	assert_false(load(ARGS("-w", "x", "--config", "/nowhere/at/all")));
	assert_non_null(strstr(conf.error, "could not open file"));
}

static void
test_bad_values(void **state)
{
	static const struct
	{
		char	   *flag;
		const char *error;
	}			cases[] = {
		{"--concurrency=0", "expected 1 to 256"},
		{"--concurrency=257", "expected 1 to 256"},
		{"--concurrency=3x", "a whole number"},
		{"--concurrency=", "a whole number"},
		{"--concurrency=99999999999999999999", "a whole number"},
		{"--lease=0", "expected 500ms to 1d"},
		{"--lease=2d", "expected 500ms to 1d"},
		{"--lease=-1s", "expected 500ms to 1d"},
		{"--lease=1e30d", "a time such as"},
		{"--lease=inf", "a time such as"},
		{"--lease=nan", "a time such as"},
		{"--lease=10 parsecs", "a time such as"},
		{"--prepare=maybe", "expected auto|on|off"},
		{"--prepare=", "expected auto|on|off"},
		{"--once=perhaps", "expected true or false"},
		{"--host=", "expected some text"},
		{"--speed=10", "expected 1 to 9"},
		{"--nosuch", "unknown option \"--nosuch\""},
		{"-Z", "unknown option \"-Z\""},
		{"--lease", "option \"--lease\" needs a value"},
		{"--reconnect-min=1h", "--reconnect-min is greater"},
		{"stray", "unexpected argument \"stray\""},
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		assert_false(load(ARGS("-w", "x", cases[i].flag)));
		if (strstr(conf.error, cases[i].error) == NULL)
			fail_msg("%s: \"%s\"", cases[i].flag, conf.error);
	}
	assert_false(load(ARGS("--once")));
	assert_non_null(strstr(conf.error, "--worker-type (or "
						   "SENTINAI_WORKER_TYPE) is required"));
	setenv("SENTINAI_LEASE", "x", 1);
	assert_false(load(ARGS("-w", "x")));
	assert_non_null(strstr(conf.error, "environment variable SENTINAI_LEASE"));
}

static void
test_durations(void **state)
{
	static const struct
	{
		char	   *flag;
		int			milliseconds;
	}			cases[] = {
		{"--lease=2", 2000}, {"--lease=1500ms", 1500}, {"--lease=2.5s", 2500},
		{"--lease=2 min", 120000}, {"--lease=1h", 3600000},
		{"--lease=1d", 86400000}
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		assert_true(load(ARGS("-w", "x", cases[i].flag)));
		assert_int_equal(conf.settings.lease, cases[i].milliseconds);
	}
}

static void
test_booleans(void **state)
{
	(void) state;
	assert_true(load(ARGS("-w", "x", "--once")));
	assert_true(conf.settings.once);
	assert_true(load(ARGS("-w", "x", "--once=off")));
	assert_false(conf.settings.once);
	setenv("SENTINAI_UNTIL_EMPTY", "yes", 1);
	assert_true(load(ARGS("-w", "x")));
	assert_true(conf.settings.until_empty);
}

static void
test_help(void **state)
{
	char	   *text;

	(void) state;
	setenv("SENTINAI_LEASE", "nonsense", 1);
	assert_true(load(ARGS("--help")));
	assert_true(conf.settings.help);
	text = printed(conf_print_help);
	assert_non_null(strstr(text, "--worker-type=NAME"));
	assert_non_null(strstr(text, "[SENTINAI_WORKER_TYPE, WORKER_TYPE]"));
	assert_non_null(strstr(text, "--colour=NAME"));
	assert_non_null(strstr(text, "[SENTINAI_COLOUR]"));
	assert_non_null(strstr(text, "(default: 1min)"));
	free(text);
	assert_true(load(ARGS("-?")));
	assert_true(conf.settings.help);
	assert_true(load(ARGS("-V")));
	assert_true(conf.settings.version);
}

/* What --show-config prints can be read back, and shows no password. */
static void
test_show_config(void **state)
{
	char	   *text;
	char	   *again;

	(void) state;
	assert_true(load(ARGS("-w", "x", "--lease=90s", "--prepare=off",
						  "--speed=8", "--show-config",
						  "-d", "host=h password=geheim")));
	text = printed(conf_print_values);
	assert_null(strstr(text, "geheim"));
	assert_non_null(strstr(text, "lease = 90s ; flag"));
	assert_non_null(strstr(text, "wait = 30s ; default"));
	write_file(text);
	assert_true(load(ARGS("--config", file_name, "--show-config")));
	assert_int_equal(conf.settings.lease, 90000);
	assert_int_equal(conf.settings.prepare, PREPARE_OFF);
	assert_int_equal(own.speed, 8);
	again = printed(conf_print_values);
	assert_non_null(strstr(again, "lease = 90s ; file"));
	free(text);
	free(again);
}

/* A connection string that is refused is not repeated. */
static void
test_secret(void **state)
{
	(void) state;
	assert_false(load(ARGS("-w", "x", "--dbname=")));
	assert_null(strchr(conf.error, '"'));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, set_up),
		cmocka_unit_test_setup(test_precedence, set_up),
		cmocka_unit_test_setup(test_postgres_environment, set_up),
		cmocka_unit_test_setup(test_sections, set_up),
		cmocka_unit_test_setup(test_bad_files, set_up),
		cmocka_unit_test_setup(test_bad_values, set_up),
		cmocka_unit_test_setup(test_durations, set_up),
		cmocka_unit_test_setup(test_booleans, set_up),
		cmocka_unit_test_setup(test_help, set_up),
		cmocka_unit_test_setup(test_show_config, set_up),
		cmocka_unit_test_setup(test_secret, set_up),
	};
	int			descriptor = mkstemp(file_name);
	int			failed;

	if (descriptor < 0)
		return 1;
	close(descriptor);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests_name("conf", tests, NULL, NULL);
	conf_free(&conf);
	unlink(file_name);
	return failed;
}
