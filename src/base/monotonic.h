/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * monotonic.h
 *		A clock that nobody sets, for what has no server: the core of the relay
 *		and the providers of brokers.
 */
#ifndef SN_MONOTONIC_H
#define SN_MONOTONIC_H

#include <stdint.h>
#include <time.h>

/* sn_monotonic_ms: its milliseconds */
static inline int64_t
sn_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif							/* SN_MONOTONIC_H */
