/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * value.c
 *	  Numbers, times, truth values and words as text.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

/* Reads a whole number. */
bool
value_parse_int(const char *value, int *result)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (end == value || *end != '\0' || errno != 0 ||
		number < INT_MIN || number > INT_MAX)
		return false;
	*result = (int) number;
	return true;
}

/* Reads a time: a number with an optional unit; without one, seconds. */
bool
value_parse_duration(const char *value, int *result)
{
	static const struct
	{
		const char *name;
		int			factor;
	}			units[] = {
		{"", SECOND}, {"ms", 1}, {"s", SECOND}, {"min", MINUTE}, {"h", HOUR},
		{"d", DAY}
	};
	char	   *end;
	double		number;
	size_t		i;

	if (!isdigit((unsigned char) *value) && *value != '-')
		return false;
	number = strtod(value, &end);
	while (*end == ' ')
		end++;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		if (strcmp(end, units[i].name) != 0)
			continue;
		number *= units[i].factor;
		if (!isfinite(number) || number < INT_MIN || number > INT_MAX)
			return false;
		*result = (int) (number + (number < 0 ? -0.5 : 0.5));
		return true;
	}
	return false;
}

/* Writes milliseconds in the largest unit that fits. */
void
value_print_duration(int value, char *buffer, size_t size)
{
	if (value != 0 && value % DAY == 0)
		snprintf(buffer, size, "%dd", value / DAY);
	else if (value != 0 && value % HOUR == 0)
		snprintf(buffer, size, "%dh", value / HOUR);
	else if (value != 0 && value % MINUTE == 0)
		snprintf(buffer, size, "%dmin", value / MINUTE);
	else if (value % SECOND == 0)
		snprintf(buffer, size, "%ds", value / SECOND);
	else
		snprintf(buffer, size, "%dms", value);
}

/* Reads a truth value. */
bool
value_parse_bool(const char *value, bool *result)
{
	static const char *const words[] = {
		"false", "true", "off", "on", "no", "yes", "0", "1"
	};
	size_t		i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		if (strcmp(value, words[i]) == 0)
		{
			*result = i % 2 == 1;
			return true;
		}
	}
	return false;
}

/* Finds a word in a list like "one|two|three"; its index, or -1. */
int
value_parse_choice(const char *choices, const char *value)
{
	size_t		length = strlen(value);
	const char *word = choices;
	int			index = 0;

	for (;;)
	{
		size_t		n = strcspn(word, "|");

		if (n == length && strncmp(word, value, n) == 0)
			return index;
		if (word[n] == '\0')
			return -1;
		word += n + 1;
		index++;
	}
}
