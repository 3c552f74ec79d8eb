/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf.c
 *	  Settings of an agent and how they are read.
 *
 * One table says everything about an option; flags, environment, file,
 * --help and --show-config are loops over it.  An agent adds rows of its own.
 * What is printed is in conf_print.c, the form of the file in conf_file.c.
 *
 * Sources are applied in rising precedence: defaults, file, environment,
 * flags.  Flags are collected first, because --config is one of them.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_entry.h"
#include "conf_file.h"
#include "log.h"
#include "value.h"

/* Section of the file that is for every agent. */
#define COMMON_SECTION "agent"

/* Value getopt_long gives for the long option of entry i. */
#define FLAG_BASE 256

/* Longest --worker-id, so that a thread's name fits the server's limit. */
#define WORKER_ID_MAX 200

#define AT(member) offsetof(Settings, member)

const AgentOption conf_library_options[] = {
	{"worker-type", 'w', AGENT_OPTION_STRING, AT(worker_type), NULL, 0, 0,
		NULL, "WORKER_TYPE", true, false, "NAME",
	"subscription to work for"},
	{"worker-id", 0, AGENT_OPTION_STRING, AT(worker_id), NULL, 0,
		WORKER_ID_MAX,
		NULL, NULL, false, false, "NAME",
	"name of this process in the server's views (default: host:pid)"},
	{"concurrency", 'c', AGENT_OPTION_INT, AT(concurrency), "1", 1, 256,
		NULL, "CONCURRENCY", false, false, "N",
	"worker threads, each with its own connection"},
	{"max-events", 'n', AGENT_OPTION_INT, AT(max_events), "100", 1, 10000,
		NULL, NULL, false, false, "N",
	"most events of one claim"},
	{"lease", 'l', AGENT_OPTION_DURATION, AT(lease), "1min", 500, DAY,
		NULL, NULL, false, false, "TIME",
	"time to finish a batch; extended while a handler works"},
	{"wait", 0, AGENT_OPTION_DURATION, AT(wait), "30s", 50, HOUR,
		NULL, NULL, false, false, "TIME",
	"how long one wait for work lasts when idle"},
	{"once", 0, AGENT_OPTION_BOOL, AT(once), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"claim once per thread, then exit"},
	{"until-empty", 0, AGENT_OPTION_BOOL, AT(until_empty), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"exit when nothing can be claimed any more"},
	{"shutdown-timeout", 0, AGENT_OPTION_DURATION, AT(shutdown_timeout), "30s",
		0, DAY, NULL, NULL, false, false, "TIME",
	"time to end after SIGTERM"},
	{"unknown-type", 0, AGENT_OPTION_CHOICE, AT(unknown_type), "retry", 0, 0,
		"retry|exit", NULL, false, false, "ACTION",
	"what to do while the worker type does not exist"},
	{"host", 'h', AGENT_OPTION_STRING, AT(host), NULL, 0, 0,
		NULL, "PGHOST", false, false, "HOST",
	"database server or socket directory"},
	{"port", 'p', AGENT_OPTION_STRING, AT(port), NULL, 0, 0,
		NULL, "PGPORT", false, false, "PORT",
	"port of the database server"},
	{"dbname", 'd', AGENT_OPTION_STRING, AT(dbname), NULL, 0, 0,
		NULL, "PGDATABASE", false, true, "NAME",
	"database, or a connection string or URI (which overrides the others)"},
	{"user", 'U', AGENT_OPTION_STRING, AT(user), NULL, 0, 0,
		NULL, "PGUSER", false, false, "NAME",
	"database user"},
	{"passfile", 0, AGENT_OPTION_STRING, AT(passfile), NULL, 0, 0,
		NULL, "PGPASSFILE", false, false, "FILE",
	"password file in the format of .pgpass"},
	{"connect-timeout", 0, AGENT_OPTION_DURATION, AT(connect_timeout), "10s",
		2 * SECOND, HOUR, NULL, NULL, false, false, "TIME",
	"time to connect to one host"},
	{"statement-timeout", 0, AGENT_OPTION_DURATION, AT(statement_timeout),
		"30s", 100, HOUR, NULL, NULL, false, false, "TIME",
	"time for one statement"},
	{"reconnect-min", 0, AGENT_OPTION_DURATION, AT(reconnect_min), "100ms",
		1, HOUR, NULL, NULL, false, false, "TIME",
	"first delay after an error; doubles, with jitter"},
	{"reconnect-max", 0, AGENT_OPTION_DURATION, AT(reconnect_max), "2s",
		1, HOUR, NULL, NULL, false, false, "TIME",
	"longest delay after an error"},
	{"reconnect-attempts", 0, AGENT_OPTION_INT, AT(reconnect_attempts), "0",
		0, INT_MAX, NULL, NULL, false, false, "N",
	"exit after so many failed connections in a row; 0: never"},
	{"prepare", 0, AGENT_OPTION_CHOICE, AT(prepare), "auto", 0, 0,
		"auto|on|off", NULL, false, false, "MODE",
	"prepared statements; auto: not through a pooler"},
	{"log-level", 0, AGENT_OPTION_CHOICE, AT(log_level), "info", 0, 0,
		LOG_LEVEL_CHOICES, NULL, false, false, "LEVEL",
	"least severe lines that are logged"},
	{"log-format", 0, AGENT_OPTION_CHOICE, AT(log_format), "text", 0, 0,
		LOG_FORMAT_CHOICES, NULL, false, false, "FORMAT",
	"log lines as text or as JSON"},
	{"stats-interval", 0, AGENT_OPTION_DURATION, AT(stats_interval), "1min",
		0, DAY, NULL, NULL, false, false, "TIME",
	"time between log lines with counts; 0: none"},
	{"http", 0, AGENT_OPTION_STRING, AT(http), NULL, 0, 0,
		NULL, NULL, false, false, "ADDRESS",
	"serve /livez, /readyz and /metrics at ADDRESS:PORT, or at PORT of 127.0.0.1"},
	{"stuck-after", 0, AGENT_OPTION_DURATION, AT(stuck_after), "10min",
		SECOND, DAY, NULL, NULL, false, false, "TIME",
	"time after which /livez takes a thread that does not move for stuck"},
	{"config", 0, AGENT_OPTION_STRING, AT(config), NULL, 0, 0,
		NULL, NULL, false, false, "FILE",
	"read options from FILE (name = value, sections [agent] and program)"},
	{"show-config", 0, AGENT_OPTION_BOOL, AT(show_config), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"print the options in effect and where they come from, then exit"},
	{"help", '?', AGENT_OPTION_BOOL, AT(help), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"print this text, then exit"},
	{"version", 'V', AGENT_OPTION_BOOL, AT(version), "false", 0, 0,
		NULL, NULL, false, false, NULL,
	"print the version, then exit"},
	{0}
};

static bool set_error(Conf *conf, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* Keeps the text of the first error; returns false. */
static bool
set_error(Conf *conf, const char *format,...)
{
	va_list		args;

	if (conf->error[0] == '\0')
	{
		va_start(args, format);
		vsnprintf(conf->error, sizeof(conf->error), format, args);
		va_end(args);
	}
	return false;
}

/* Options that only make sense as flags. */
bool
conf_is_flag_only(const AgentOption *option)
{
	return strcmp(option->name, "help") == 0 ||
		strcmp(option->name, "version") == 0 ||
		strcmp(option->name, "show-config") == 0;
}

/* The entry of a name, where '_' is as good as '-'; or NULL. */
static ConfEntry *
find_entry(const Conf *conf, const char *name)
{
	int			i;

	for (i = 0; i < conf->count; i++)
	{
		const char *a = conf->entries[i].option->name;
		const char *b = name;

		while (*a != '\0' && (*a == *b || (*a == '-' && *b == '_')))
		{
			a++;
			b++;
		}
		if (*a == '\0' && *b == '\0')
			return &conf->entries[i];
	}
	return NULL;
}

/* Name of the environment variable of an option. */
void
conf_env_name(const AgentOption *option, char *buffer, size_t size)
{
	size_t		i;

	snprintf(buffer, size, "SENTINAI_%s", option->name);
	for (i = 0; buffer[i] != '\0'; i++)
		buffer[i] = buffer[i] == '-' ? '_' : (char) toupper(buffer[i]);
}

/* Says where a value comes from, for error messages. */
static void
describe_origin(const Conf *conf, const ConfEntry *entry, ConfSource source,
				char *buffer, size_t size)
{
	const char *name = entry->option->name;

	if (source == CONF_FLAG)
		snprintf(buffer, size, "option --%s", name);
	else if (source == CONF_ENVIRONMENT)
		snprintf(buffer, size, "environment variable %s", entry->env);
	else if (source == CONF_FILE)
		snprintf(buffer, size, "\"%s\" in file \"%.300s\", line %d", name,
				 conf->settings.config, entry->line);
	else
		snprintf(buffer, size, "default of option --%s", name);
}

/* Says that a value cannot be used. */
static bool
refuse(Conf *conf, const ConfEntry *entry, ConfSource source,
	   const char *value, const char *expected)
{
	char		origin[512];

	describe_origin(conf, entry, source, origin, sizeof(origin));
	if (entry->option->secret)
		return set_error(conf, "%s: invalid value; expected %s", origin,
						 expected);
	return set_error(conf, "%s: invalid value \"%.100s\"; expected %s",
					 origin, value, expected);
}

/* Checks a number or duration against the range of its option. */
static bool
check_range(Conf *conf, const ConfEntry *entry, ConfSource source,
			const char *value, int number)
{
	const AgentOption *option = entry->option;
	char		low[32];
	char		high[32];
	char		expected[100];

	if (number >= option->min && number <= option->max)
		return true;
	if (option->type == AGENT_OPTION_DURATION)
	{
		value_print_duration(option->min, low, sizeof(low));
		value_print_duration(option->max, high, sizeof(high));
	}
	else
	{
		snprintf(low, sizeof(low), "%d", option->min);
		snprintf(high, sizeof(high), "%d", option->max);
	}
	snprintf(expected, sizeof(expected), "%s to %s", low, high);
	return refuse(conf, entry, source, value, expected);
}

/*
 * Checks a string: not empty, not longer than what will take it, and not what
 * --show-config prints for a secret.
 */
static bool
check_string(Conf *conf, const ConfEntry *entry, ConfSource source,
			 const char *value)
{
	char		expected[100];

	if (*value == '\0')
		return refuse(conf, entry, source, value, "some text");
	if (entry->option->secret && strcmp(value, CONF_HIDDEN) == 0)
		return refuse(conf, entry, source, value,
					  "the value itself, which --show-config hides");
	if (entry->option->max == 0 || strlen(value) <= (size_t) entry->option->max)
		return true;
	snprintf(expected, sizeof(expected), "at most %d bytes",
			 entry->option->max);
	return refuse(conf, entry, source, value, expected);
}

/* Stores a string. */
static bool
store_string(Conf *conf, char **target, const char *value)
{
	char	   *copy = strdup(value);

	if (copy == NULL)
		return set_error(conf, "out of memory");
	free(*target);
	*target = copy;
	return true;
}

/* Checks a value and stores it. */
static bool
store_value(Conf *conf, ConfEntry *entry, ConfSource source, const char *value)
{
	const AgentOption *option = entry->option;
	void	   *target = entry->base + option->offset;
	int			number;

	switch (option->type)
	{
		case AGENT_OPTION_STRING:
			if (!check_string(conf, entry, source, value))
				return false;
			if (!store_string(conf, target, value))
				return false;
			break;
		case AGENT_OPTION_INT:
			if (!value_parse_int(value, &number))
				return refuse(conf, entry, source, value, "a whole number");
			if (!check_range(conf, entry, source, value, number))
				return false;
			*(int *) target = number;
			break;
		case AGENT_OPTION_DURATION:
			if (!value_parse_duration(value, &number))
				return refuse(conf, entry, source, value,
							  "a time such as 500ms, 10s, 5min, 1h or 1d");
			if (!check_range(conf, entry, source, value, number))
				return false;
			*(int *) target = number;
			break;
		case AGENT_OPTION_BOOL:
			if (!value_parse_bool(value, (bool *) target))
				return refuse(conf, entry, source, value, "true or false");
			break;
		case AGENT_OPTION_CHOICE:
			number = value_parse_choice(option->choices, value);
			if (number < 0)
				return refuse(conf, entry, source, value, option->choices);
			*(int *) target = number;
			break;
	}
	entry->source = source;
	return true;
}

/* The row of an option of the library, with what the agent says of it. */
static const AgentOption *
library_option(Conf *conf, int i)
{
	const AgentOption *option = &conf_library_options[i];

	if (conf->definition->worker_type == NULL ||
		option->offset != AT(worker_type))
		return option;
	conf->worker_type = *option;
	conf->worker_type.fallback = conf->definition->worker_type;
	conf->worker_type.required = false;
	return &conf->worker_type;
}

/* Makes the entries from both tables and stores the defaults. */
static bool
init_entries(Conf *conf)
{
	const AgentOption *own = conf->definition->options;
	int			library_count = 0;
	int			own_count = 0;
	int			i;

	while (conf_library_options[library_count].name != NULL)
		library_count++;
	while (own != NULL && own[own_count].name != NULL)
		own_count++;
	conf->entries = calloc((size_t) library_count + own_count,
						   sizeof(ConfEntry));
	if (conf->entries == NULL)
		return set_error(conf, "out of memory");
	conf->count = library_count + own_count;
	for (i = 0; i < conf->count; i++)
	{
		ConfEntry  *entry = &conf->entries[i];
		bool		is_own = i >= library_count;

		entry->option = is_own ? &own[i - library_count] :
			library_option(conf, i);
		entry->base = is_own ? conf->definition->settings :
			(char *) &conf->settings;
		/* without options of its own there are none to come here */
		if (entry->option->fallback != NULL &&
			!store_value(conf, entry, CONF_DEFAULT, entry->option->fallback))
			return false;
	}
	return true;
}

/* Fills the two tables of getopt_long. */
static void
build_getopt(const Conf *conf, struct option *longs, char *shorts)
{
	int			i;

	*shorts++ = ':';
	for (i = 0; i < conf->count; i++)
	{
		const AgentOption *option = conf->entries[i].option;
		bool		is_bool = option->type == AGENT_OPTION_BOOL;

		longs[i].name = option->name;
		longs[i].has_arg = is_bool ? optional_argument : required_argument;
		longs[i].val = FLAG_BASE + i;
		if (option->letter != 0 && option->letter != '?')
		{
			*shorts++ = option->letter;
			if (!is_bool)
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
}

/* Index of the entry getopt_long returned, or -1. */
static int
flag_index(const Conf *conf, int found)
{
	int			i;

	if (found >= FLAG_BASE)
		return found - FLAG_BASE;
	for (i = 0; i < conf->count; i++)
		if (conf->entries[i].option->letter == found)
			return i;
	return -1;
}

/* Keeps the flags of the command line; values are checked later. */
static bool
collect_flags(Conf *conf, int argc, char **argv)
{
	struct option *longs = calloc((size_t) conf->count + 1, sizeof(*longs));
	char	   *shorts = calloc((size_t) conf->count * 2 + 2, 1);
	bool		ok = longs != NULL && shorts != NULL;
	int			found;

	if (!ok)
		set_error(conf, "out of memory");
	else
		build_getopt(conf, longs, shorts);
	opterr = 0;
	optind = 0;
	while (ok && (found = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
	{
		const char *given = argv[optind > 0 ? optind - 1 : 0];
		char		letter[3] = {'-', (char) optopt, '\0'};
		int			i;

		if (optopt > 0 && optopt < FLAG_BASE)
			given = letter;
		if (found == ':')
			ok = set_error(conf, "option \"%.100s\" needs a value", given);
		else if (found == '?' && strcmp(given, "-?") != 0)
			ok = set_error(conf, "unknown option \"%.100s\"", given);
		else if ((i = flag_index(conf, found)) >= 0)
			conf->entries[i].flag = optarg ? optarg : (char *) "true";
	}
	if (ok && optind < argc)
		ok = set_error(conf, "unexpected argument \"%.100s\"", argv[optind]);
	free(longs);
	free(shorts);
	return ok;
}

/* Applies the collected flags. */
static bool
apply_flags(Conf *conf)
{
	int			i;

	for (i = 0; i < conf->count; i++)
	{
		ConfEntry  *entry = &conf->entries[i];

		if (entry->flag != NULL &&
			!store_value(conf, entry, CONF_FLAG, entry->flag))
			return false;
	}
	return true;
}

/* Applies the environment of one entry; an empty variable is no variable. */
static bool
apply_environment(Conf *conf, ConfEntry *entry)
{
	char		own_name[80];
	const char *value;
	bool		ok = true;

	if (conf_is_flag_only(entry->option))
		return true;
	conf_env_name(entry->option, own_name, sizeof(own_name));
	entry->env = own_name;
	value = getenv(own_name);
	if ((value == NULL || *value == '\0') && entry->option->env != NULL)
	{
		entry->env = entry->option->env;
		value = getenv(entry->env);
	}
	if (value != NULL && *value != '\0' &&
		!store_value(conf, entry, CONF_ENVIRONMENT, value))
		ok = false;
	entry->env = NULL;
	return ok;
}

/* Says what is wrong with a line of the file; returns false. */
static bool
refuse_line(Conf *conf, int line, const char *message, const char *name)
{
	return set_error(conf, "file \"%.300s\", line %d: %s%s%.100s%s",
					 conf->settings.config, line, message, name ? " \"" : "",
					 name ? name : "", name ? "\"" : "");
}

/* Is a word in a list of words between blanks? */
static bool
is_listed(const char *list, const char *word)
{
	size_t		length = strlen(word);

	while (*list != '\0')
	{
		size_t		n = strcspn(list, " \t");

		if (n == length && n > 0 && strncmp(list, word, n) == 0)
			return true;
		list += n;
		list += strspn(list, " \t");
	}
	return false;
}

/* Takes a setting of ours; the program's section wins over the common. */
static bool
take_setting(Conf *conf, const ConfLine *line, bool is_own)
{
	ConfEntry  *entry = find_entry(conf, line->name);
	bool	   *seen;

	if (entry == NULL || conf_is_flag_only(entry->option) ||
		strcmp(entry->option->name, "config") == 0)
		return refuse_line(conf, line->number, "unknown option", line->name);
	seen = is_own ? &entry->in_own : &entry->in_common;
	if (*seen)
	{
		set_error(conf, "file \"%.300s\", line %d: \"%s\" is set twice",
				  conf->settings.config, line->number, entry->option->name);
		return false;
	}
	*seen = true;
	if (!is_own && entry->in_own)
		return true;
	entry->line = line->number;
	return store_value(conf, entry, CONF_FILE, line->value);
}

/*
 * Takes one line of the file.  A section of another program has to be
 * announced, or a mistyped one would be left out without a word.
 */
static bool
take_line(Conf *conf, const ConfLine *line, char **programs)
{
	bool		is_own = strcmp(line->section, conf->definition->name) == 0;
	bool		is_common = *line->section == '\0' ||
		strcmp(line->section, COMMON_SECTION) == 0;

	if (line->name == NULL)
		return is_own || is_common || is_listed(*programs, line->section) ||
			refuse_line(conf, line->number, "not the section of this program, "
						"nor of one that \"programs = ...\" names above it:",
						line->section);
	if (is_common && strcmp(line->name, "programs") == 0)
	{
		if (**programs != '\0')
			return refuse_line(conf, line->number,
							   "set twice:", line->name);
		return store_string(conf, programs, line->value);
	}
	return (!is_own && !is_common) || take_setting(conf, line, is_own);
}

/* Reads the configuration file. */
static bool
apply_file(Conf *conf)
{
	ConfFile	file = {0};
	ConfLine	line;
	char	   *programs = NULL;
	bool		ok;

	file.stream = fopen(conf->settings.config, "re");
	if (file.stream == NULL)
		return set_error(conf, "could not open file \"%.300s\": %s",
						 conf->settings.config, strerror(errno));
	ok = store_string(conf, &programs, "");
	while (ok && conf_file_next(&file, &line))
		ok = take_line(conf, &line, &programs);
	if (ok && file.error != NULL)
		ok = refuse_line(conf, file.number, file.error, NULL);
	fclose(file.stream);
	conf_file_free(&file);
	free(programs);
	return ok;
}

/* Checks what concerns more than one option. */
static bool
check_together(Conf *conf)
{
	int			i;

	for (i = 0; i < conf->count; i++)
	{
		const AgentOption *option = conf->entries[i].option;
		char		env[80];

		conf_env_name(option, env, sizeof(env));
		if (option->required && conf->entries[i].source == CONF_DEFAULT &&
			option->fallback == NULL)
			return set_error(conf, "option --%s (or %s) is required",
							 option->name, env);
	}
	if (conf->settings.reconnect_min > conf->settings.reconnect_max)
		return set_error(conf,
						 "--reconnect-min is greater than --reconnect-max");
	return true;
}

/*
 * Reads all settings.  With --help or --version only the flags count, so
 * that they work whatever else is wrong.
 */
bool
conf_load(Conf *conf, const AgentDefinition *definition, int argc, char **argv)
{
	ConfEntry  *config;
	int			i;

	memset(conf, 0, sizeof(*conf));
	conf->definition = definition;
	if (!init_entries(conf) || !collect_flags(conf, argc, argv))
		return false;
	if (find_entry(conf, "help")->flag != NULL ||
		find_entry(conf, "version")->flag != NULL)
		return apply_flags(conf);
	config = find_entry(conf, "config");
	if (!apply_environment(conf, config))
		return false;
	if (config->flag != NULL &&
		!store_value(conf, config, CONF_FLAG, config->flag))
		return false;
	if (conf->settings.config != NULL && !apply_file(conf))
		return false;
	for (i = 0; i < conf->count; i++)
		if (!apply_environment(conf, &conf->entries[i]))
			return false;
	return apply_flags(conf) && check_together(conf);
}

/* Frees what conf_load made, the agent's own strings included. */
void
conf_free(Conf *conf)
{
	int			i;

	for (i = 0; i < conf->count; i++)
	{
		ConfEntry  *entry = &conf->entries[i];
		char	  **string;

		if (entry->option == NULL ||
			entry->option->type != AGENT_OPTION_STRING)
			continue;
		string = (char **) (void *) (entry->base + entry->option->offset);
		free(*string);
		*string = NULL;
	}
	free(conf->entries);
	memset(conf, 0, sizeof(*conf));
}

/* Where the value of an option comes from. */
ConfSource
conf_source(const Conf *conf, const char *name)
{
	const ConfEntry *entry = find_entry(conf, name);

	return entry != NULL ? entry->source : CONF_DEFAULT;
}
