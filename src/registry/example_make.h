/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * example_make.h
 *		An example of a schema while it is made.  Private to the example*.c files.
 */
#ifndef SN_EXAMPLE_MAKE_H
#define SN_EXAMPLE_MAKE_H

#include "lib/stringinfo.h"

#include "registry/schema_check.h"

#define SN_EXAMPLE_TEXT_MAX 4096	/* bytes of a string that is made */

/* Schemas that one value has to match */
typedef struct SnRules
{
	int			n;
	int			room;
	const SnNode **nodes;
} SnRules;

/* The rules of a value that is begun, and of those around it */
typedef struct SnMade
{
	const struct SnMade *around;
	const SnRules *rules;
	int			depth;
} SnMade;

typedef struct SnMaking
{
	SnCheck		check;			/* one budget for all that is tried */
	MemoryContext scratch;		/* of the check that runs */
	int			tries;			/* values that may still be begun */
	int			optional;		/* members that may still be given without need */
	int			salt;			/* makes the items of an array differ */
} SnMaking;

extern void sn_rules_add(SnRules *rules, const SnNode *node);
extern bool sn_example_fits(SnMaking *making, const SnRules *asked,
							const char *text);
extern bool sn_example_make(SnMaking *making, const SnMade *around,
							const SnRules *asked, int types, StringInfo out);
extern bool sn_example_object(SnMaking *making, const SnMade *made, bool lean,
							  StringInfo out);
extern bool sn_example_array(SnMaking *making, const SnMade *made, bool lean,
							 StringInfo out);
extern bool sn_example_number(SnMaking *making, const SnRules *asked,
							  const SnRules *rules, bool whole, StringInfo out);
extern bool sn_example_string(SnMaking *making, const SnRules *asked,
							  const SnRules *rules, StringInfo out);
extern bool sn_example_of_pattern(const char *pattern, int len, int extra,
								  int salt, StringInfo out);

#endif							/* SN_EXAMPLE_MAKE_H */
