/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf_print.c
 *	  The texts of --help and --show-config, from the table of options.
 */
#include <string.h>

#include "conf.h"
#include "conf_entry.h"
#include "conf_file.h"
#include "pg.h"
#include "value.h"

/* Prints one option of --help. */
static void
print_option(const AgentOption *option, FILE *out)
{
	char		env[80];
	char		flag[80];

	if (option->letter != 0)
		snprintf(flag, sizeof(flag), "  -%c, --%s%s%s", option->letter,
				 option->name, option->argument ? "=" : "",
				 option->argument ? option->argument : "");
	else
		snprintf(flag, sizeof(flag), "      --%s%s%s", option->name,
				 option->argument ? "=" : "",
				 option->argument ? option->argument : "");
	fprintf(out, "%-34s %s", flag, option->help);
	if (option->type == AGENT_OPTION_CHOICE)
		fprintf(out, ": %s", option->choices);
	if (option->required)
		fprintf(out, " (required)");
	else if (option->fallback != NULL && option->type != AGENT_OPTION_BOOL)
		fprintf(out, " (default: %s)", option->fallback);
	fprintf(out, "\n");
	if (conf_is_flag_only(option))
		return;
	conf_env_name(option, env, sizeof(env));
	fprintf(out, "%-34s [%s%s%s]\n", "", env, option->env ? ", " : "",
			option->env ? option->env : "");
}

/* Prints the text of --help from the table. */
void
conf_print_help(const Conf *conf, FILE *out)
{
	int			library_count = 0;
	int			i;

	while (conf_library_options[library_count].name != NULL)
		library_count++;
	fprintf(out, "%s: %s\n\nUsage: %s [OPTION]...\n", conf->definition->name,
			conf->definition->summary, conf->definition->name);
	if (conf->count > library_count)
	{
		fprintf(out, "\nOptions of %s:\n", conf->definition->name);
		for (i = library_count; i < conf->count; i++)
			print_option(conf->entries[i].option, out);
	}
	fprintf(out, "\nOptions of every agent:\n");
	for (i = 0; i < library_count; i++)
		print_option(conf->entries[i].option, out);
	fprintf(out, "\nA flag overrides the environment variable in brackets, "
			"which overrides the\nfile of --config, which overrides the "
			"default. A TIME is a number with a unit:\nms, s (default), min, "
			"h or d. What libpq reads besides (PGPASSWORD, PGSSLMODE,\n"
			"~/.pgpass, services) works as usual.\n");
}

/* The word of a list like "one|two|three" at an index. */
static void
add_choice(Text *text, const char *choices, int index)
{
	while (index-- > 0)
		choices += strcspn(choices, "|") + 1;
	text_add_bytes(text, choices, strcspn(choices, "|"));
}

/* Appends the value of an entry as text; false when it has none. */
static bool
add_value(Text *text, const ConfEntry *entry)
{
	const AgentOption *option = entry->option;
	const void *target = entry->base + option->offset;
	const char *string;
	char		number[32];

	switch (option->type)
	{
		case AGENT_OPTION_STRING:
			string = *(char *const *) target;
			if (string == NULL)
				return false;
			text_add(text, string);
			break;
		case AGENT_OPTION_INT:
			snprintf(number, sizeof(number), "%d", *(const int *) target);
			text_add(text, number);
			break;
		case AGENT_OPTION_DURATION:
			value_print_duration(*(const int *) target, number,
								 sizeof(number));
			text_add(text, number);
			break;
		case AGENT_OPTION_BOOL:
			text_add(text, *(const bool *) target ? "true" : "false");
			break;
		case AGENT_OPTION_CHOICE:
			add_choice(text, option->choices, *(const int *) target);
			break;
	}
	return true;
}

/* Must the value of an entry not be seen? */
static bool
is_hidden(const Conf *conf, const ConfEntry *entry)
{
	const char *base = (const char *) &conf->settings.dbname;

	if (!entry->option->secret)
		return false;
	return entry->base + entry->option->offset != base ||
		!pg_is_public(conf->settings.dbname);
}

/*
 * Prints the values in effect.  The output can be used as a file and gives
 * the same values; a hidden one is refused there.
 */
void
conf_print_values(const Conf *conf, FILE *out)
{
	static const char *const sources[] = {
		"default", "file", "environment", "flag"
	};
	int			i;

	for (i = 0; i < conf->count; i++)
	{
		const ConfEntry *entry = &conf->entries[i];
		const char *name = entry->option->name;
		Text		value = {0};
		Text		line = {0};

		if (conf_is_flag_only(entry->option) || strcmp(name, "config") == 0)
			continue;
		if (!add_value(&value, entry))
		{
			fprintf(out, "# not set\n# %s =\n", name);
			continue;
		}
		conf_file_add(&line, name, is_hidden(conf, entry) ? CONF_HIDDEN :
					  value.data);
		fprintf(out, "# %s\n%s", sources[entry->source], line.data);
		text_free(&value);
		text_free(&line);
	}
}
