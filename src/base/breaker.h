/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * breaker.h
 *		Circuit breaker: when to leave a failing service alone.
 *
 * Closed: everything goes.  After `threshold` failures in a row: open, nothing
 * goes for `open_ms`.  Then half-open: one trial; its success closes the
 * breaker, its failure opens it for another `open_ms`.  A trial that never
 * gets an outcome is replaced by another one after `open_ms`; one that was not
 * made after all (nothing was sent) by the next that comes.
 *
 * A pure state machine: the caller passes the time (milliseconds of any clock)
 * and keeps the struct.  A clock that steps back makes a wait start again, it
 * never makes it longer than open_ms.
 */
#ifndef SN_BREAKER_H
#define SN_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum SnBreakerState
{
	SN_BREAKER_CLOSED,
	SN_BREAKER_OPEN,
	SN_BREAKER_HALF_OPEN
} SnBreakerState;

typedef struct SnBreaker
{
	int			threshold;		/* failures in a row that open it */
	int64_t		open_ms;		/* how long it stays open */
	SnBreakerState state;
	int			failures;		/* in a row, while closed */
	int64_t		since;			/* when it opened, or the trial began */
	uint64_t	openings;		/* how often it opened, for statistics */
} SnBreaker;

extern void sn_breaker_init(SnBreaker *breaker, int threshold,
							int64_t open_ms);
extern bool sn_breaker_allow(SnBreaker *breaker, int64_t now_ms);
extern void sn_breaker_untried(SnBreaker *breaker, int64_t now_ms);
extern void sn_breaker_success(SnBreaker *breaker);
extern bool sn_breaker_failure(SnBreaker *breaker, int64_t now_ms);
extern int64_t sn_breaker_wait(SnBreaker *breaker, int64_t now_ms);
extern const char *sn_breaker_name(SnBreakerState state);

#endif							/* SN_BREAKER_H */
