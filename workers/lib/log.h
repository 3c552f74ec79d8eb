/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * log.h
 *	  Log lines on standard error, as text or as JSON.
 */
#ifndef SENTINAI_LOG_H
#define SENTINAI_LOG_H

typedef enum LogLevel
{
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARNING,
	LOG_ERROR
} LogLevel;

typedef enum LogFormat
{
	LOG_TEXT,
	LOG_JSON
} LogFormat;

#define LOG_LEVEL_CHOICES "debug|info|warning|error"
#define LOG_FORMAT_CHOICES "text|json"

/* One named value of a line: a string, or a number when `string` is NULL. */
typedef struct LogField
{
	const char *name;
	const char *string;
	long long	number;
} LogField;

#define LOG_S(name, value) ((LogField) {(name), (value) ? (value) : "", 0})
#define LOG_N(name, value) ((LogField) {(name), NULL, (long long) (value)})
#define LOG_END ((LogField) {NULL, NULL, 0})

/* log_line(level, message, LOG_S(...), LOG_N(...), ..., LOG_END) */
#define log_line(level, message, ...) \
	log_write((level), (message), (const LogField[]) {__VA_ARGS__})

extern void log_init(LogLevel level, LogFormat format, const char *program);
extern void log_write(LogLevel level, const char *message,
					  const LogField *fields);

#endif							/* SENTINAI_LOG_H */
