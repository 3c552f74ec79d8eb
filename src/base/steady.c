/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * steady.c
 *		A clock that nobody sets.
 */
#include "postgres.h"

#include <time.h>

#include "utils/timestamp.h"

#include "base/steady.h"

/* the one that goes on while the machine sleeps, where there are two */
#ifdef CLOCK_BOOTTIME
#define STEADY_CLOCK CLOCK_BOOTTIME
#else
#define STEADY_CLOCK CLOCK_MONOTONIC
#endif

/* sn_steady_us: microseconds by a clock that nobody sets */
int64
sn_steady_us(void)
{
	struct timespec ts;

	clock_gettime(STEADY_CLOCK, &ts);
	return (int64) ts.tv_sec * USECS_PER_SEC + ts.tv_nsec / 1000;
}

/*
 * sn_steady_offset: from that clock to the time of day, for who makes the shared
 * struct.  The postmaster keeps it over a crash restart, so that leases stored
 * before it mean the same after it.
 */
int64
sn_steady_offset(void)
{
	static int64 offset = 0;

	if (offset == 0)
		offset = GetCurrentTimestamp() - sn_steady_us();
	return offset;
}
