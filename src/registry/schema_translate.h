/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_translate.h
 *		The regular expressions of JSON Schema in the server's own language.
 */
#ifndef SN_SCHEMA_TRANSLATE_H
#define SN_SCHEMA_TRANSLATE_H

#include "postgres.h"

#include "lib/stringinfo.h"

typedef struct SnTranslated
{
	StringInfoData out;
	const char *why;			/* it cannot be, or NULL */
	int			looks;			/* ahead or behind, one in the other; 0: none */
	double		arcs;			/* of the automaton, about */
} SnTranslated;

extern void sn_pattern_translate(const char *text, int len,
								 SnTranslated *result);

#endif							/* SN_SCHEMA_TRANSLATE_H */
