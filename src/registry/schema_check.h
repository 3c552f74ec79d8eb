/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_check.h
 *		A check while it runs.  Private to the schema_*.c files.
 */
#ifndef SN_SCHEMA_CHECK_H
#define SN_SCHEMA_CHECK_H

#include "registry/schema_node.h"

/* Where in the value: a member or an item of the place before */
typedef struct SnCheckStep
{
	const struct SnCheckStep *parent;	/* NULL: this is the value as a whole */
	const char *name;			/* of a member, or NULL */
	int			len;
	int			index;			/* of an item, or -1 */
} SnCheckStep;

typedef struct SnCheck
{
	SnSchemaErrors *errors;		/* NULL: only whether it matches */
	int64		budget;			/* steps that are left */
	int64		pause;			/* look for interrupts when so many are left */
} SnCheck;

/* Which members or items of one container a schema has spoken of */
typedef struct SnCheckSeen
{
	int			n;
	bool	   *is_seen;
} SnCheckSeen;

extern void sn_schema_pause(SnCheck *check);

/* sn_schema_spend: count what is done, and end what does not end */
static inline void
sn_schema_spend(SnCheck *check, int64 steps)
{
	check->budget -= steps;
	if (unlikely(check->budget < check->pause))
		sn_schema_pause(check);
}

/* sn_check_quietly: the same check without a report, which spends what it has */
static inline SnCheck
sn_check_quietly(const SnCheck *check)
{
	SnCheck		quiet = *check;

	quiet.errors = NULL;
	return quiet;
}

/* sn_check_spent: go on with what such a check has left */
static inline void
sn_check_spent(SnCheck *check, const SnCheck *quiet)
{
	check->budget = quiet->budget;
	check->pause = quiet->pause;
}

extern int	sn_schema_compare(SnCheck *check, const JsonbValue *a,
							  const JsonbValue *b);
extern bool sn_schema_broken(SnCheck *check, const SnCheckStep *step,
							 const char *keyword, const char *format,...)
			pg_attribute_printf(4, 5);
extern bool sn_check_node(SnCheck *check, const SnNode *node,
						  const JsonbValue *value, const SnCheckStep *step,
						  SnCheckSeen *seen);
extern bool sn_check_object(SnCheck *check, const SnObjectRule *rule,
							JsonbContainer *object, const SnCheckStep *step,
							SnCheckSeen *seen);
extern bool sn_check_array(SnCheck *check, const SnArrayRule *rule,
						   JsonbContainer *array, const SnCheckStep *step,
						   SnCheckSeen *seen);

#endif							/* SN_SCHEMA_CHECK_H */
