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

/* A bucket that holds what may go in a second, and fills at that rate. */
typedef struct SnPace
{
	double		rate;			/* a second; 0: no limit */
	double		left;			/* below 0: what went too early */
	int64_t		at;				/* when that was; milliseconds */
} SnPace;

extern void sn_pace_init(SnPace *pace, double rate);
extern int64_t sn_pace_wait(SnPace *pace, int64_t now_ms);
extern void sn_pace_take(SnPace *pace, double units);

#endif							/* SN_RELAY_LIMITS_H */
