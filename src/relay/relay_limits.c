/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_limits.c
 *		How fast a relay may send, and how much may be on its way.
 *
 * The text of limits is a list of properties (props.c).  What goes in a second
 * is a bucket, as limits of tenants are.  Something goes as long as there is
 * anything in it, and takes what it needs; so what is larger than the bucket
 * goes, too, and what follows waits for it.
 */
#include "relay/relay_limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/props.h"

typedef struct LimitRule
{
	const char *name;
	int			max;
	size_t		offset;			/* in SnRelayLimits */
} LimitRule;

static const LimitRule limit_rules[] = {
	{"events.per.second", SN_LIMIT_MAX, offsetof(SnRelayLimits, events_per_second)},
	{"bytes.per.second", SN_LIMIT_MAX, offsetof(SnRelayLimits, bytes_per_second)},
	{"in.flight", SN_LIMIT_MAX_IN_FLIGHT, offsetof(SnRelayLimits, in_flight)}
};

#define SECOND INT64_C(1000000)	/* us */
#define PARTS 1000				/* of a unit, since a process has a share of a rate */
#define NLIMITS (sizeof(limit_rules) / sizeof(limit_rules[0]))

/* The rule of a name, or NULL. */
static const LimitRule *
find_limit_rule(const char *name)
{
	size_t		i;

	for (i = 0; i < NLIMITS; i++)
		if (strcmp(limit_rules[i].name, name) == 0)
			return &limit_rules[i];
	return NULL;
}

/* Is it a limit, and its value a number that can be one? */
static bool
check_limit_prop(SnProp *prop, char *err, size_t err_len)
{
	const LimitRule *rule = find_limit_rule(prop->name);
	char	   *end;
	long		value;

	if (rule == NULL)
	{
		snprintf(err, err_len, "limit \"%s\" does not exist", prop->name);
		return false;
	}
	value = strtol(prop->value, &end, 10);
	if (*prop->value >= '0' && *prop->value <= '9' && *end == '\0' &&
		value >= 1 && value <= rule->max)
		return true;
	snprintf(err, err_len, "limit \"%s\": it is a number, 1 to %d", prop->name,
			 rule->max);
	return false;
}

/* Takes limits out of a text; false and a message when it has others. */
bool
sn_relay_limits_parse(const char *text, SnRelayLimits *limits, char *err,
					  size_t err_len)
{
	SnProps    *props = sn_props_parse(text, check_limit_prop, err, err_len);
	size_t		i;

	memset(limits, 0, sizeof(*limits));
	if (props == NULL)
		return false;
	for (i = 0; i < NLIMITS; i++)
	{
		const char *value = sn_props_get(props, limit_rules[i].name);

		if (value != NULL)
			*(int *) ((char *) limits + limit_rules[i].offset) = atoi(value);
	}
	sn_props_free(props);
	return true;
}

/* The bucket of a rate, of units a second; 0: no limit. */
void
sn_rate_init(SnBucket *bucket, double rate)
{
	int64_t		value = (int64_t) (rate * PARTS + 0.5);

	sn_bucket_fill(bucket, rate > 0 && value < 1 ? 1 : value, SECOND, 0);
}

/* Milliseconds until something may go; 0: now. */
int64_t
sn_rate_wait(SnBucket *bucket, int64_t now_ms)
{
	if (bucket->value == 0)
		return 0;
	return (sn_bucket_wait(bucket, 1, now_ms * 1000) + 999) / 1000;
}

/* Something goes, however large it is. */
void
sn_rate_take(SnBucket *bucket, int64_t units, int64_t now_ms)
{
	if (bucket->value > 0)
		sn_bucket_owe(bucket, units * PARTS, now_ms * 1000);
}
