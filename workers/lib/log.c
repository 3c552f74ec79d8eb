/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * log.c
 *	  Log lines on standard error, as text or as JSON.
 *
 * One line is one write(), so lines of different threads do not mix.  What
 * a line may say is decided by the callers: names, ids, counts, SQLSTATEs
 * and primary messages; never a payload, an error text of a handler, or a
 * connection string.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

static LogLevel log_level = LOG_INFO;
static LogFormat log_format = LOG_TEXT;
static const char *log_program = "agent";

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* Sets what is logged and how; before any thread is started. */
void
log_init(LogLevel level, LogFormat format, const char *program)
{
	log_level = level;
	log_format = format;
	log_program = program;
}

/* The current time as ISO 8601 with milliseconds, UTC. */
static void
format_now(char *buffer, size_t size)
{
	struct timespec now;
	struct tm	tm;
	size_t		length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	length = strftime(buffer, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, size - length, ".%03ldZ",
			 now.tv_nsec / 1000000L);
}

/* Appends name=value; values that need it are quoted as in JSON. */
static void
add_text_field(Text *line, const char *name, const char *value)
{
	text_add(line, " ");
	text_add(line, name);
	text_add(line, "=");
	if (*value == '\0' || strpbrk(value, " \"\\=\n\r\t") != NULL)
		text_add_json_string(line, value);
	else
		text_add(line, value);
}

/* Writes one line with its fields; the last field has no name. */
void
log_write(LogLevel level, const char *message, const LogField *fields)
{
	Text		line = {0};
	char		now[40];
	char		number[32];
	const LogField *field;

	if (level < log_level)
		return;
	format_now(now, sizeof(now));
	if (log_format == LOG_JSON)
	{
		text_add(&line, "{");
		text_add_json_member(&line, "time", now, false);
		text_add_json_member(&line, "level", level_names[level], false);
		text_add_json_member(&line, "program", log_program, false);
		text_add_json_member(&line, "message", message, false);
	}
	else
	{
		text_add(&line, now);
		text_add(&line, " ");
		text_add(&line, level_names[level]);
		text_add(&line, " ");
		text_add(&line, log_program);
		text_add(&line, ": ");
		text_add(&line, message);
	}
	for (field = fields; field->name != NULL; field++)
	{
		const char *value = field->string;

		if (value == NULL)
		{
			snprintf(number, sizeof(number), "%lld", field->number);
			value = number;
		}
		if (log_format == LOG_JSON)
			text_add_json_member(&line, field->name, value,
								 field->string == NULL);
		else
			add_text_field(&line, field->name, value);
	}
	text_add(&line, log_format == LOG_JSON ? "}\n" : "\n");
	if (!line.failed && write(STDERR_FILENO, line.data, line.length) < 0)
	{
		/* nowhere left to say it */
	}
	text_free(&line);
}
