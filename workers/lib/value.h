/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * value.h
 *	  Numbers, times, truth values and words as text.
 */
#ifndef SENTINAI_VALUE_H
#define SENTINAI_VALUE_H

#include <stdbool.h>
#include <stddef.h>

/* Times are milliseconds. */
#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

extern bool value_parse_int(const char *value, int *result);
extern bool value_parse_duration(const char *value, int *result);
extern bool value_parse_bool(const char *value, bool *result);
extern int	value_parse_choice(const char *choices, const char *value);
extern void value_print_duration(int value, char *buffer, size_t size);

#endif							/* SENTINAI_VALUE_H */
