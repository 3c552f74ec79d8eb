/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * breaker.c
 *		Circuit breaker: when to leave a failing service alone.
 *
 * The states and the rules between them are described in breaker.h.
 */
#include "base/breaker.h"

/* Closed, without history.  Values below 1 count as 1. */
void
sn_breaker_init(SnBreaker *breaker, int threshold, int64_t open_ms)
{
	breaker->threshold = threshold < 1 ? 1 : threshold;
	breaker->open_ms = open_ms < 1 ? 1 : open_ms;
	breaker->state = SN_BREAKER_CLOSED;
	breaker->failures = 0;
	breaker->since = 0;
	breaker->openings = 0;
}

/* May something be sent now?  True out of the open state is the trial. */
bool
sn_breaker_allow(SnBreaker *breaker, int64_t now_ms)
{
	if (breaker->state == SN_BREAKER_CLOSED)
		return true;
	if (sn_breaker_wait(breaker, now_ms) > 0)
		return false;
	breaker->state = SN_BREAKER_HALF_OPEN;
	breaker->since = now_ms;
	return true;
}

/* What was allowed was not sent: the trial is still to be made. */
void
sn_breaker_untried(SnBreaker *breaker, int64_t now_ms)
{
	if (breaker->state == SN_BREAKER_HALF_OPEN)
		breaker->since = now_ms - breaker->open_ms;
}

/*
 * Something went well.  While the breaker is open this is news of what was
 * sent before, and changes nothing.
 */
void
sn_breaker_success(SnBreaker *breaker)
{
	if (breaker->state == SN_BREAKER_OPEN)
		return;
	breaker->state = SN_BREAKER_CLOSED;
	breaker->failures = 0;
}

/* Something failed.  True when this opened the breaker. */
bool
sn_breaker_failure(SnBreaker *breaker, int64_t now_ms)
{
	if (breaker->state == SN_BREAKER_OPEN)
		return false;
	if (breaker->state == SN_BREAKER_CLOSED &&
		++breaker->failures < breaker->threshold)
		return false;
	breaker->state = SN_BREAKER_OPEN;
	breaker->failures = 0;
	breaker->since = now_ms;
	breaker->openings++;
	return true;
}

/* Milliseconds until sn_breaker_allow can be true; 0 = now. */
int64_t
sn_breaker_wait(SnBreaker *breaker, int64_t now_ms)
{
	int64_t		passed;

	if (breaker->state == SN_BREAKER_CLOSED)
		return 0;
	if (now_ms < breaker->since)
		breaker->since = now_ms;
	passed = now_ms - breaker->since;
	return passed >= breaker->open_ms ? 0 : breaker->open_ms - passed;
}

/* Word for a state, as views and logs show it. */
const char *
sn_breaker_name(SnBreakerState state)
{
	switch (state)
	{
		case SN_BREAKER_CLOSED:
			return "closed";
		case SN_BREAKER_OPEN:
			return "open";
		case SN_BREAKER_HALF_OPEN:
			return "half-open";
	}
	return "unknown";
}
