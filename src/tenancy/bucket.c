/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * bucket.c
 *		The arithmetic of a bucket: pure C, without a clock of its own.
 *
 * A bucket gets `value` units in each `window`, and never holds more than
 * `value`.  What has come is counted exactly: the part of a unit that is not
 * whole yet is kept in parts of the window, so nothing is lost or won by asking
 * often.  From any moment on, no more than the bucket and the rate times the
 * time can be taken.
 *
 * The values are bounded by SN_BUCKET_VALUE_MAX (50 bits), and windows by a year
 * (45 bits), so products need more than 64 bits and less than 128.
 */
#include "tenancy/bucket.h"

/* quotient: of a product and something more, with what is left of it */
static int64_t
quotient(int64_t a, int64_t b, int64_t more, int64_t by, int64_t *left)
{
	int64_t		product;
	unsigned __int128 wide;

	if (!__builtin_mul_overflow(a, b, &product) &&
		!__builtin_add_overflow(product, more, &product))
	{
		*left = product % by;
		return product / by;
	}
	wide = (unsigned __int128) a * b + more;
	*left = (int64_t) (wide % by);
	return (int64_t) (wide / by);
}

/* bring_up: have it hold what has come until now; a clock does not go back */
static void
bring_up(SnBucket *b, int64_t now)
{
	int64_t		elapsed = now - b->at;

	if (elapsed <= 0)
		return;
	b->at = now;
	if (b->left < b->value && (elapsed < b->window || b->left < 0))
		b->left += quotient(elapsed, b->value, b->part, b->window, &b->part);
	else
		b->left = b->value;
	if (b->left >= b->value)
	{
		b->left = b->value;
		b->part = 0;
	}
}

/* sn_bucket_fill: a new one, which is full */
void
sn_bucket_fill(SnBucket *b, int64_t value, int64_t window, int64_t now)
{
	b->value = b->left = value;
	b->window = window;
	b->part = 0;
	b->at = now;
	b->total = 0;
}

/*
 * sn_bucket_change: another size or rate.  What was taken stays taken: units,
 * not a share of the bucket.
 */
void
sn_bucket_change(SnBucket *b, int64_t value, int64_t window, int64_t now)
{
	int64_t		taken;

	if (b->value == value && b->window == window)
		return;
	bring_up(b, now);
	taken = b->value - b->left;
	b->value = value;
	b->window = window;
	b->left = taken < value ? value - taken : 0;
	b->part = 0;
}

/* sn_bucket_take: take n units, or none when there are fewer */
bool
sn_bucket_take(SnBucket *b, int64_t n, int64_t now)
{
	bring_up(b, now);
	if (n > b->left)
		return false;
	b->left -= n;
	b->total += n;
	return true;
}

/*
 * sn_bucket_owe: take n units, also those that are not there.  They are owed, and
 * nobody can take any before they have come.
 */
void
sn_bucket_owe(SnBucket *b, int64_t n, int64_t now)
{
	bring_up(b, now);
	b->left -= n;
	b->total += n;
}

/*
 * sn_bucket_give_back: undo one's takes, of which the first was at taken_at.
 * total_before is what total was before it.  If others took units meanwhile,
 * the bucket might have been full without these takes, and some of what came
 * would have run over, but no more than came in that time.  So much is not given
 * back: it never holds more than without them.
 */
void
sn_bucket_give_back(SnBucket *b, int64_t n, int64_t total_before,
					int64_t taken_at, int64_t now)
{
	int64_t		part = 0;
	bool		alone = b->total - n == total_before;

	bring_up(b, now);
	b->total -= n;
	if (!alone && now > taken_at)
	{
		if (now - taken_at >= b->window)
			return;
		n -= quotient(now - taken_at, b->value, 0, b->window, &part);
		if (n <= 0)
			return;
	}
	b->left += n;
	b->part -= part;
	if (b->part < 0)
	{
		b->part += b->window;
		b->left--;
	}
	if (b->left >= b->value)
	{
		b->left = b->value;
		b->part = 0;
	}
}

/* sn_bucket_is_full: whether it is like a new one */
bool
sn_bucket_is_full(SnBucket *b, int64_t now)
{
	bring_up(b, now);
	return b->left == b->value;
}

/*
 * sn_bucket_wait: us until n units can be taken if nobody else takes any, or
 * SN_BUCKET_NEVER
 */
int64_t
sn_bucket_wait(SnBucket *b, int64_t n, int64_t now)
{
	unsigned __int128 parts;

	if (n > b->value)
		return SN_BUCKET_NEVER;
	bring_up(b, now);
	if (n <= b->left)
		return 0;
	parts = (unsigned __int128) (n - b->left) * b->window - b->part;
	return (int64_t) ((parts + b->value - 1) / b->value);
}
