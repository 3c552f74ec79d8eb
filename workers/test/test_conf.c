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
#include "conf_entry.h"

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
	.name = "prog",.summary = "a program",.options = own_options,
	.settings = &own
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
	write_file("programs = prog another\n"
			   "[prog]\nlease = 5s\n[agent]\nlease = 7s\nwait = 8s\n"
			   "[another]\nnonsense = 1\n");
	assert_true(load(ARGS("-w", "x", "--config", file_name)));
	assert_int_equal(conf.settings.lease, 5000);
	assert_int_equal(conf.settings.wait, 8000);
}

/* The bytes of a value are the value, whatever they look like. */
static void
test_literal_values(void **state)
{
	static const struct
	{
		const char *line;
		const char *value;
	}			cases[] = {
		{"colour = a ; b", "a ; b"},
		{"colour = a # b", "a # b"},
		{"colour = ; b", "; b"},
		{"colour=a = b := c", "a = b := c"},
		{"colour = \"a\" 'b'", "\"a\" 'b'"},
		{"colour = 'a'", "'a'"},
		{"colour = [a]", "[a]"},
		{"colour = a\\", "a\\"},
		{"colour = a\\nb", "a\\nb"},
		{"colour = %d$HOME`x`", "%d$HOME`x`"},
		{"colour \t = \t a\tb \t ", "a\tb"},
		{"colour = \xC3\xA4\xF0\x9F\x9A\x80", "\xC3\xA4\xF0\x9F\x9A\x80"},
		{"colour := \" a \\n\\t\\\"\\\\\\/\\u0041\\u007f\"", " a \n\t\"\\/A\x7F"},
		{"colour:=\"a\"  ", "a"},
		{"\xEF\xBB\xBF" "colour = a", "a"},
		{"colour = a\r", "a"},
		{"# colour = b\n  ; colour = c\n \t \ncolour = a", "a"},
	};
	char	   *text = malloc(5000);
	size_t		i;

	(void) state;
	assert_non_null(text);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		write_file(cases[i].line);
		if (!load(ARGS("-w", "x", "--config", file_name)))
			fail_msg("%s: %s", cases[i].line, conf.error);
		assert_string_equal(own.colour, cases[i].value);
		if (strchr(cases[i].line, '\r') != NULL)
			continue;
		snprintf(text, 5000, "%s\r\nspeed = 7\r\n", cases[i].line);
		write_file(text);
		assert_true(load(ARGS("-w", "x", "--config", file_name)));
		assert_string_equal(own.colour, cases[i].value);
		assert_int_equal(own.speed, 7);
	}
	memset(text, 'a', 4999);
	memcpy(text, "colour = ", 9);
	text[4999] = '\0';
	write_file(text);
	assert_true(load(ARGS("-w", "x", "--config", file_name)));
	assert_int_equal(strlen(own.colour), 4990);
	free(text);
}

static void
test_bad_files(void **state)
{
	static const struct
	{
		const char *text;
		const char *error;
	}			cases[] = {
		{"lease = 5s\n  wait = 6s\n", "line 2: begins with a blank"},
		{"\tlease = 5s\n", "line 1: begins with a blank"},
		{"exec = a &&\n  b\n", "line 1: unknown option \"exec\""},
		{"lease\n", "line 1: expected name = value"},
		{"lease: 5s\n", "line 1: expected name = value"},
		{" [prog]\n", "line 1: begins with a blank"},
		{"= 5s\n", "line 1: expected name = value"},
		{"[Prog]\n", "line 1: not the section"},
		{"[pr og]\nlease = 1s\n", "line 1: not the section"},
		{"programs = other\n\n[othre]\n", "line 3: not the section"},
		{"[other]\nprograms = other\n", "line 1: not the section"},
		{"programs = other\n[other]\nbad\n", "line 3: expected name"},
		{"programs = a\nprograms = b\n", "line 2: set twice: \"programs\""},
		{"[prog]\nprograms = a\n", "line 2: unknown option"},
		{"[prog\n", "line 1: expected [section]"},
		{"[prog] ; mine\n", "line 1: expected [section]"},
		{"[]\n", "line 1: the section has no name"},
		{"lease = 5s ; flag\n", "line 1: invalid value \"5s ; flag\""},
		{"lease = 5s\n[agent]\nLEASE = 1s\n", "line 3: unknown option"},
		{"lease = 5s\n[agent]\nlease = 6s\n", "line 3: \"lease\" is set"},
		{"max-events = 1\nmax_events = 1\n", "line 2: \"max-events\" is set"},
		{"help = true\n", "line 1: unknown option"},
		{"config = x\n", "line 1: unknown option"},
		{"colour =\n", "line 1: invalid value \"\"; expected some text"},
		{"colour := \"\"\n", "line 1: invalid value \"\"; expected some"},
		{"lease =\n", "line 1: invalid value"},
		{"colour := a\n", "line 1: expected \"...\""},
		{"colour := \"a\n", "line 1: the value has no closing"},
		{"colour := \"a\\\"\n", "line 1: the value has no closing"},
		{"colour := \"a\\", "line 1: an escape"},
		{"colour := \"a\" b\n", "line 1: something follows"},
		{"colour := \"\\x\"\n", "line 1: an escape"},
		{"colour := \"\\u0000\"\n", "line 1: an escape"},
		{"colour := \"\\u00e4\"\n", "line 1: an escape"},
		{"colour := \"\\u1\"\n", "line 1: an escape"},
		{"colour = a\rspeed = 3\n", "line 1: a control character"},
		{"colour = a\033[0m\n", "line 1: a control character"},
		{"lease = 5s\ncolour = caf\xe9\n", "line 2: not UTF-8"},
		{"\ncolour := \"\xc3\"\n", "line 2: not UTF-8"},
		{"# gr\xfc\xdf\n", "line 1: not UTF-8"},
		{"\xff\xfel\n", "line 1: not UTF-8"},
		{"colour = \xc0\xaf\n", "line 1: not UTF-8"},
		{"colour = \xed\xa0\x80\n", "line 1: not UTF-8"},
		{"dbname = ********\n", "expected the value itself"},
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		write_file(cases[i].text);
		if (load(ARGS("-w", "x", "--config", file_name)))
			fail_msg("%s", cases[i].text);
		if (strstr(conf.error, cases[i].error) == NULL)
			fail_msg("%s: \"%s\"", cases[i].text, conf.error);
	}
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
	assert_false(load(ARGS("-w", "x", "--config", "/nowhere/at/all")));
	assert_non_null(strstr(conf.error, "could not open file"));
	assert_false(load(ARGS("-w", "x", "--config", "/")));
	assert_non_null(strstr(conf.error, "could not be read"));
}

/* A zero byte, and a line that never ends. */
static void
test_binary_files(void **state)
{
	char	   *text = malloc(1100000);
	FILE	   *file;

	(void) state;
	assert_non_null(text);
	memset(text, 'a', 1100000);
	memcpy(text, "\ncolour = ", 10);
	text[1099999] = '\0';
	write_file(text);
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "line 2: longer than"));
	file = fopen(file_name, "w");
	assert_int_equal(fwrite("speed = 3\nlease = 1\0000s\n", 1, 24, file), 24);
	fclose(file);
	assert_false(load(ARGS("-w", "x", "--config", file_name)));
	assert_non_null(strstr(conf.error, "line 2: a zero byte"));
	free(text);
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

/* The values in effect, without where they come from. */
static char *
printed_values(void)
{
	char	   *text = printed(conf_print_values);
	char	   *out = text;
	char	   *line;
	char	   *rest = text;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		size_t		length = strlen(line);

		if (*line == '#' || length == 0)
			continue;
		memmove(out, line, length);
		out += length;
		*out++ = '\n';
	}
	*out = '\0';
	return text;
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
						  "-d", "host=h user=u")));
	text = printed(conf_print_values);
	assert_non_null(strstr(text, "# flag\nlease = 90s\n"));
	assert_non_null(strstr(text, "# default\nwait = 30s\n"));
	assert_non_null(strstr(text, "dbname = host=h user=u\n"));
	assert_non_null(strstr(text, "# not set\n# host =\n"));
	write_file(text);
	assert_true(load(ARGS("--config", file_name, "--show-config")));
	assert_int_equal(conf.settings.lease, 90000);
	assert_int_equal(conf.settings.prepare, PREPARE_OFF);
	assert_int_equal(own.speed, 8);
	again = printed(conf_print_values);
	assert_non_null(strstr(again, "# file\nlease = 90s\n"));
	free(text);
	free(again);
}

/* A password is not printed, and what stands for it is no value. */
static void
test_show_secret(void **state)
{
	static char *const cases[] = {
		"host=h password=geheim", "postgresql://u:geheim@h/d",
		"postgres://h/d?password=geheim", "host=h sslpassword=geheim"
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char	   *text;

		assert_true(load(ARGS("-w", "x", "-d", cases[i])));
		text = printed(conf_print_values);
		assert_null(strstr(text, "geheim"));
		write_file(text);
		free(text);
		assert_false(load(ARGS("--config", file_name)));
		assert_non_null(strstr(conf.error, "\"dbname\" in file"));
	}
}

/* A value for an option that an attacker on syntax would choose. */
static void
random_value(const AgentOption *option, unsigned int *seed, char *value)
{
	static const char bytes[] = " \t;#=:[]\"'\\\n\r\f\033\177\303a$`%";
	const char *word = option->choices;
	int			n;

	switch (option->type)
	{
		case AGENT_OPTION_STRING:
			n = 1 + rand_r(seed) % (rand_r(seed) % 4 == 0 ? 190 : 6);
			while (n-- > 0)
			{
				*value++ = bytes[(size_t) rand_r(seed) % (sizeof(bytes) - 1)];
				if (value[-1] == '\303')
					*value++ = '\244';	/* the rest of the character */
			}
			*value = '\0';
			break;
		case AGENT_OPTION_CHOICE:
			for (n = rand_r(seed) % 2; n > 0; n--)
				word += strcspn(word, "|") + 1;
			sprintf(value, "%.*s", (int) strcspn(word, "|"), word);
			break;
		case AGENT_OPTION_BOOL:
			strcpy(value, rand_r(seed) % 2 ? "true" : "false");
			break;
		default:
			n = option->min + rand_r(seed) % (option->max - option->min);
			sprintf(value, option->type == AGENT_OPTION_INT ? "%d" : "%dms",
					n);
			break;
	}
}

/* Is the value of an option the one of its flag?  Of strings only. */
static bool
is_value_of(const char *flag)
{
	int			i;

	for (i = 0; i < conf.count; i++)
	{
		const ConfEntry *entry = &conf.entries[i];
		size_t		length = strlen(entry->option->name);

		if (strncmp(flag + 2, entry->option->name, length) != 0 ||
			flag[2 + length] != '=')
			continue;
		return entry->option->type != AGENT_OPTION_STRING ||
			strcmp(*(char **) (void *) (entry->base + entry->option->offset),
				   flag + length + 3) == 0;
	}
	return false;
}

/* Whatever the values of all options are: printed and read they stay. */
static void
test_round_trip(void **state)
{
	unsigned int seed = 7;
	int			round;

	(void) state;
	for (round = 0; round < 300; round++)
	{
		static char arguments[100][400];
		char	   *argv[101] = {"prog"};
		int			argc = 1;
		char	   *text;
		char	   *again;
		int			i;

		assert_true(load(ARGS("-w", "x")));
		for (i = 0; i < conf.count; i++)
		{
			const AgentOption *option = conf.entries[i].option;
			int			length;

			if (strcmp(option->name, "config") == 0 ||
				strcmp(option->name, "help") == 0 ||
				strcmp(option->name, "version") == 0 ||
				strncmp(option->name, "reconnect-m", 11) == 0)
				continue;
			length = sprintf(arguments[argc], "--%s=", option->name);
			random_value(option, &seed, arguments[argc] + length);
			argv[argc] = arguments[argc];
			argc++;
		}
		if (!load(argv, argc))
			fail_msg("%s", conf.error);
		if (strchr(conf.settings.dbname, '=') != NULL)
			continue;
		text = printed_values();
		write_file(text);
		if (!load(ARGS("--config", file_name)))
			fail_msg("%s: %s", conf.error, text);
		again = printed_values();
		assert_string_equal(text, again);
		for (i = 1; i < argc; i++)
			assert_true(is_value_of(argv[i]));
		free(text);
		free(again);
	}
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
		cmocka_unit_test_setup(test_literal_values, set_up),
		cmocka_unit_test_setup(test_bad_files, set_up),
		cmocka_unit_test_setup(test_binary_files, set_up),
		cmocka_unit_test_setup(test_bad_values, set_up),
		cmocka_unit_test_setup(test_durations, set_up),
		cmocka_unit_test_setup(test_booleans, set_up),
		cmocka_unit_test_setup(test_help, set_up),
		cmocka_unit_test_setup(test_show_config, set_up),
		cmocka_unit_test_setup(test_show_secret, set_up),
		cmocka_unit_test_setup(test_round_trip, set_up),
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
