/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker.c
 *		The circuit breaker's states and the rules between them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/breaker.h"

/* Only failures in a row open it, and exactly the last of them. */
static void
test_opens_after_threshold(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 5, 60000);
	assert_false(sn_breaker_failure(&b, 1));
	assert_false(sn_breaker_failure(&b, 2));
	assert_false(sn_breaker_failure(&b, 3));
	assert_false(sn_breaker_failure(&b, 4));
	sn_breaker_success(&b);
	assert_false(sn_breaker_failure(&b, 5));
	assert_false(sn_breaker_failure(&b, 6));
	assert_false(sn_breaker_failure(&b, 7));
	assert_false(sn_breaker_failure(&b, 8));
	assert_true(sn_breaker_allow(&b, 8));
	assert_true(sn_breaker_failure(&b, 9));
	assert_int_equal(b.state, SN_BREAKER_OPEN);
	assert_int_equal(b.openings, 1);
	assert_false(sn_breaker_allow(&b, 9));
}

/* Open lasts its time to the millisecond, then one trial goes. */
static void
test_half_open_lets_one_through(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 1, 60000);
	assert_true(sn_breaker_failure(&b, 1000));
	assert_int_equal(sn_breaker_wait(&b, 1000), 60000);
	assert_false(sn_breaker_allow(&b, 60999));
	assert_int_equal(sn_breaker_wait(&b, 60999), 1);
	assert_true(sn_breaker_allow(&b, 61000));
	assert_int_equal(b.state, SN_BREAKER_HALF_OPEN);
	assert_false(sn_breaker_allow(&b, 61000));
	sn_breaker_success(&b);
	assert_int_equal(b.state, SN_BREAKER_CLOSED);
	assert_true(sn_breaker_allow(&b, 61001));
	assert_int_equal(sn_breaker_wait(&b, 61001), 0);
}

/* A failed trial opens it again at once, whatever the threshold. */
static void
test_failed_trial_opens_again(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 2, 100);
	sn_breaker_failure(&b, 0);
	sn_breaker_failure(&b, 0);
	assert_true(sn_breaker_allow(&b, 100));
	assert_true(sn_breaker_failure(&b, 150));
	assert_false(sn_breaker_allow(&b, 249));
	assert_true(sn_breaker_allow(&b, 250));
	assert_int_equal(b.openings, 2);
}

/* A trial without an outcome does not keep it half-open for ever. */
static void
test_lost_trial(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 1, 100);
	sn_breaker_failure(&b, 0);
	assert_true(sn_breaker_allow(&b, 100));
	assert_false(sn_breaker_allow(&b, 199));
	assert_true(sn_breaker_allow(&b, 200));
}

/* A trial that was not made leaves its turn to the next, and to one only. */
static void
test_trial_not_made(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 1, 100);
	sn_breaker_untried(&b, 0);
	assert_int_equal(b.state, SN_BREAKER_CLOSED);
	sn_breaker_failure(&b, 0);
	sn_breaker_untried(&b, 50);
	assert_false(sn_breaker_allow(&b, 99));
	assert_true(sn_breaker_allow(&b, 100));
	sn_breaker_untried(&b, 100);
	assert_int_equal(sn_breaker_wait(&b, 100), 0);
	assert_true(sn_breaker_allow(&b, 100));
	assert_false(sn_breaker_allow(&b, 101));
	sn_breaker_success(&b);
	assert_int_equal(b.state, SN_BREAKER_CLOSED);
}

/* News of what was sent before it opened changes nothing. */
static void
test_late_news(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 1, 100);
	sn_breaker_failure(&b, 0);
	sn_breaker_success(&b);
	assert_int_equal(b.state, SN_BREAKER_OPEN);
	assert_false(sn_breaker_failure(&b, 50));
	assert_int_equal(b.openings, 1);
	assert_true(sn_breaker_allow(&b, 100));
}

/* A clock that steps back never makes the wait longer than open_ms. */
static void
test_clock_step(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 1, 100);
	sn_breaker_failure(&b, 1000000);
	assert_int_equal(sn_breaker_wait(&b, 500), 100);
	assert_false(sn_breaker_allow(&b, 599));
	assert_true(sn_breaker_allow(&b, 600));
}

/* Nonsense settings still give a breaker that works. */
static void
test_bounds(void **state)
{
	SnBreaker	b;

	(void) state;
	sn_breaker_init(&b, 0, -5);
	assert_true(sn_breaker_failure(&b, 10));
	assert_false(sn_breaker_allow(&b, 10));
	assert_true(sn_breaker_allow(&b, 11));
	assert_string_equal(sn_breaker_name(SN_BREAKER_CLOSED), "closed");
	assert_string_equal(sn_breaker_name(SN_BREAKER_OPEN), "open");
	assert_string_equal(sn_breaker_name(SN_BREAKER_HALF_OPEN), "half-open");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens_after_threshold),
		cmocka_unit_test(test_half_open_lets_one_through),
		cmocka_unit_test(test_failed_trial_opens_again),
		cmocka_unit_test(test_lost_trial),
		cmocka_unit_test(test_trial_not_made),
		cmocka_unit_test(test_late_news),
		cmocka_unit_test(test_clock_step),
		cmocka_unit_test(test_bounds)
	};

	return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
