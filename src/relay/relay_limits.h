/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_limits.h
 *		How fast a relay may send, and how much may be on its way.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RELAY_LIMITS_H
#define SN_RELAY_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tenancy/bucket.h"

/* Largest figures that can be given */
#define SN_LIMIT_MAX	1000000000
#define SN_LIMIT_MAX_IN_FLIGHT	100000	/* as of sentinai.relay_inflight */

#define SN_RELAY_LIMITS_ARE	"events.per.second, bytes.per.second and in.flight"

/* Of a relay; 0: no limit */
typedef struct SnRelayLimits
{
	int			events_per_second;
	int			bytes_per_second;	/* of values */
	int			in_flight;		/* events, in place of sentinai.relay_inflight */
} SnRelayLimits;

extern bool sn_relay_limits_parse(const char *text, SnRelayLimits *limits,
								  char *err, size_t err_len);

extern void sn_rate_init(SnBucket *bucket, double rate);
extern int64_t sn_rate_wait(SnBucket *bucket, int64_t now_ms);
extern void sn_rate_take(SnBucket *bucket, int64_t units, int64_t now_ms);

#endif							/* SN_RELAY_LIMITS_H */
