/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_bucket.c
 *		The arithmetic of a bucket, against a model that keeps every take and
 *		counts with fractions that never round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tenancy/bucket.h"

#define SECOND INT64_C(1000000)
#define YEAR (366 * 86400 * SECOND)

/* The model: what is missing, in parts of 1/window of a unit */
typedef struct Model
{
	int64_t		value;
	int64_t		window;
	__int128	missing;
	int64_t		at;
} Model;

static void
model_advance(Model *m, int64_t now)
{
	if (now <= m->at)
		return;
	m->missing -= (__int128) (now - m->at) * m->value;
	if (m->missing < 0)
		m->missing = 0;
	m->at = now;
}

static bool
model_take(Model *m, int64_t n, int64_t now)
{
	model_advance(m, now);
	if (m->missing + (__int128) n * m->window >
		(__int128) m->value * m->window)
		return false;
	m->missing += (__int128) n * m->window;
	return true;
}

static uint64_t seed = 88172645463325252u;

static int64_t
any(int64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (int64_t) (seed % (uint64_t) below);
}

/* A number whose size, too, is any */
static int64_t
any_size(int64_t most)
{
	int64_t		n = any(INT64_C(1) << (1 + any(50)));

	return n > most ? most : n;
}

/* Every take is answered as by the model, whatever size, window and times are. */
static void
test_model(void **state)
{
	int			round;
	int			i;

	(void) state;
	for (round = 0; round < 2000; round++)
	{
		int64_t		value = 1 + any_size(SN_BUCKET_VALUE_MAX - 1);
		int64_t		window = 1 + any_size(YEAR - 1);
		int64_t		now = any(1000);
		Model		m = {value, window, 0, now};
		SnBucket	b;

		sn_bucket_fill(&b, value, window, now);
		for (i = 0; i < 300; i++)
		{
			int64_t		n = any(4) == 0 ? any_size(value) : any(1 + value / 8);
			bool		taken;

			now += any(3) == 0 ? 0 : any_size(1 + window / 4);
			taken = model_take(&m, n, now);
			if (!taken && n <= value)
			{
				SnBucket	later = b;
				int64_t		wait = sn_bucket_wait(&later, n, now);

				assert_true(wait > 0 && wait <= window);
				assert_false(sn_bucket_take(&later, n, now + wait - 1));
				assert_true(sn_bucket_take(&later, n, now + wait));
			}
			assert_int_equal(sn_bucket_take(&b, n, now), taken);
			assert_true(b.left >= 0 && b.left <= value);
			assert_int_equal(sn_bucket_is_full(&b, now), m.missing == 0);
		}
	}
}

/* Just the bucket at one moment, unit by unit, also where it does not divide. */
static void
test_burst(void **state)
{
	SnBucket	b;
	int			i;

	(void) state;
	sn_bucket_fill(&b, 3, SECOND, 5);
	for (i = 0; i < 3; i++)
		assert_true(sn_bucket_take(&b, 1, 5));
	assert_false(sn_bucket_take(&b, 1, 5));
	assert_int_equal(sn_bucket_wait(&b, 1, 5), 333334);
	assert_false(sn_bucket_take(&b, 1, 5 + 333333));
	assert_true(sn_bucket_take(&b, 1, 5 + 333334));
	/* the fractions of the three thirds make up one whole window */
	assert_true(sn_bucket_take(&b, 2, 5 + SECOND));
	assert_false(sn_bucket_take(&b, 1, 5 + SECOND));
}

/* Asking every microsecond brings neither more nor less than asking once. */
static void
test_asking_costs_nothing(void **state)
{
	SnBucket	b;
	int64_t		taken = 0;
	int64_t		t;

	(void) state;
	sn_bucket_fill(&b, 7, 1000, 0);
	for (t = 0; t <= 100000; t++)
		while (sn_bucket_take(&b, 1, t))
			taken++;
	assert_int_equal(taken, 7 + 700);
}

/* Nothing, too much, a time before the last one. */
static void
test_boundaries(void **state)
{
	SnBucket	b;

	(void) state;
	sn_bucket_fill(&b, 0, SECOND, 0);
	assert_true(sn_bucket_take(&b, 0, 1));
	assert_false(sn_bucket_take(&b, 1, YEAR));
	assert_int_equal(sn_bucket_wait(&b, 1, YEAR), SN_BUCKET_NEVER);
	assert_int_equal(sn_bucket_wait(&b, 0, YEAR), 0);
	assert_true(sn_bucket_is_full(&b, YEAR));

	sn_bucket_fill(&b, 10, SECOND, 1000);
	assert_true(sn_bucket_take(&b, 10, 1000));
	assert_false(sn_bucket_take(&b, 1, 0));
	assert_int_equal(sn_bucket_wait(&b, 11, 1000), SN_BUCKET_NEVER);
	assert_int_equal(sn_bucket_wait(&b, 10, 1000), SECOND);
	assert_true(sn_bucket_is_full(&b, INT64_MAX));

	sn_bucket_fill(&b, SN_BUCKET_VALUE_MAX, YEAR, 0);
	assert_true(sn_bucket_take(&b, SN_BUCKET_VALUE_MAX, 0));
	assert_int_equal(sn_bucket_wait(&b, SN_BUCKET_VALUE_MAX, 0), YEAR);
	assert_true(sn_bucket_take(&b, SN_BUCKET_VALUE_MAX - 32, YEAR - 1));
	assert_false(sn_bucket_take(&b, 1, YEAR - 1));
}

/* What was taken stays taken when the limit changes. */
static void
test_change(void **state)
{
	SnBucket	b;

	(void) state;
	sn_bucket_fill(&b, 100, SECOND, 0);
	assert_true(sn_bucket_take(&b, 100, 0));
	sn_bucket_change(&b, 150, SECOND, 0);
	assert_true(sn_bucket_take(&b, 50, 0));
	assert_false(sn_bucket_take(&b, 1, 0));
	sn_bucket_change(&b, 100, 3600 * SECOND, 0);
	assert_false(sn_bucket_take(&b, 1, SECOND));
	assert_int_equal(sn_bucket_wait(&b, 1, SECOND), 35 * SECOND);
	sn_bucket_change(&b, 10, SECOND, SECOND);
	assert_false(sn_bucket_take(&b, 1, SECOND));
	sn_bucket_change(&b, 0, SECOND, SECOND);
	assert_int_equal(b.left, 0);
	sn_bucket_fill(&b, 100, SECOND, 0);
	sn_bucket_change(&b, 10, SECOND, 0);
	assert_true(sn_bucket_take(&b, 10, 0));
	assert_false(sn_bucket_take(&b, 1, 0));
}

/* undo: what give_back() does for takes of which the first was at that time */
static void
undo_at(SnBucket *with, SnBucket *without, int64_t n, int64_t total_before,
		int64_t taken_at, int64_t now)
{
	sn_bucket_give_back(with, n, total_before, taken_at, now);
	(void) sn_bucket_is_full(without, now);
	assert_true(with->left >= 0 && with->left <= with->value);
	assert_true(with->part >= 0 && with->part < with->window);
	assert_true(with->left < without->left ||
				(with->left == without->left && with->part <= without->part));
	assert_int_equal(with->total, without->total);
}

/*
 * Takes that are undone never leave more than there would be without them, and as
 * much if nobody else took anything in between.
 */
static void
test_give_back(void **state)
{
	int			round;

	(void) state;
	for (round = 0; round < 200000; round++)
	{
		int64_t		value = 1 + any_size(1000);
		int64_t		window = 1 + any_size(100000);
		int64_t		n = any(value + 1);
		int64_t		more = any(2) ? any(value + 1) : 0;
		int64_t		other = any(2) ? any(value + 1) : 0;
		int64_t		before = any(2 * window);
		int64_t		between = any_size(window);
		int64_t		after = any_size(window);
		int64_t		total_before;
		SnBucket	with;
		SnBucket	without;

		sn_bucket_fill(&with, value, window, 0);
		(void) sn_bucket_take(&with, any(value + 1), 0);
		without = with;
		total_before = with.total;
		if (!sn_bucket_take(&with, n, before))
			continue;
		/* what the other one gets, he gets in both cases */
		if (sn_bucket_take(&with, other, before + between))
			assert_true(sn_bucket_take(&without, other, before + between));
		else
			other = 0;
		if (!sn_bucket_take(&with, more, before + between + after / 2))
			more = 0;
		undo_at(&with, &without, n + more, total_before, before,
				before + between + after);
		if (other == 0 || n + more == 0)
			assert_true(with.left == without.left && with.part == without.part);
	}
}

/* What was taken and is not there comes first, however long that takes. */
static void
test_debt(void **state)
{
	SnBucket	b;

	(void) state;
	sn_bucket_fill(&b, 10, SECOND, 5);
	sn_bucket_owe(&b, 4, 5);
	assert_true(sn_bucket_take(&b, 6, 5));
	sn_bucket_owe(&b, 35, 5);
	assert_int_equal(sn_bucket_wait(&b, 1, 5), 36 * SECOND / 10);
	assert_false(sn_bucket_take(&b, 1, 5 + 2 * SECOND));
	assert_int_equal(sn_bucket_wait(&b, 1, 5 + 2 * SECOND), 16 * SECOND / 10);
	assert_true(sn_bucket_take(&b, 1, 5 + 36 * SECOND / 10));
	assert_false(sn_bucket_take(&b, 1, 5 + 36 * SECOND / 10));
	sn_bucket_owe(&b, 35, 5 + 36 * SECOND / 10);
	assert_true(sn_bucket_is_full(&b, 10 * SECOND));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_asking_costs_nothing),
		cmocka_unit_test(test_boundaries),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_debt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
