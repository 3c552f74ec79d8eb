/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_pattern.h
 *		The regular expressions of JSON Schema, run in time that is bounded by
 *		the length of the text.
 */
#ifndef SN_SCHEMA_PATTERN_H
#define SN_SCHEMA_PATTERN_H

#include "postgres.h"

#define SN_PATTERN_BYTES 90	/* memory, about, of one more in size */
#define SN_PATTERN_LOOK_MAX 4096	/* characters of a text that is looked around in */

typedef struct SnPattern SnPattern;

extern SnPattern *sn_pattern_compile(const char *text, int len,
									 MemoryContext cxt, const char **why);
extern double sn_pattern_size(const SnPattern *pattern);
extern bool sn_pattern_looks_around(const SnPattern *pattern);
extern double sn_pattern_cost(const SnPattern *pattern, int len);
extern bool sn_pattern_matches(const SnPattern *pattern, const char *text,
							   int len);

#endif							/* SN_SCHEMA_PATTERN_H */
