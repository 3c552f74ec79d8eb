/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * bucket.h
 *		A bucket of units that fills at a steady rate.
 *
 * Pure C.
 */
#ifndef SN_BUCKET_H
#define SN_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define SN_BUCKET_VALUE_MAX		INT64_C(1000000000000000)
#define SN_BUCKET_NEVER			(-1)

/* What it holds at a time; between the calls, as of the last one */
typedef struct SnBucket
{
	int64_t		value;			/* units it has room for */
	int64_t		window;			/* us in which an empty one fills, at least 1 */
	int64_t		left;			/* units in it; below 0: units owed */
	int64_t		part;			/* of the next unit, in parts of window */
	int64_t		at;				/* us by a clock that nobody sets */
	int64_t		total;			/* units that were ever taken */
} SnBucket;

extern void sn_bucket_fill(SnBucket *b, int64_t value, int64_t window,
						   int64_t now);
extern void sn_bucket_change(SnBucket *b, int64_t value, int64_t window,
							 int64_t now);
extern bool sn_bucket_take(SnBucket *b, int64_t n, int64_t now);
extern void sn_bucket_owe(SnBucket *b, int64_t n, int64_t now);
extern void sn_bucket_give_back(SnBucket *b, int64_t n, int64_t total_before,
								int64_t taken_at, int64_t now);
extern bool sn_bucket_is_full(SnBucket *b, int64_t now);
extern int64_t sn_bucket_wait(SnBucket *b, int64_t n, int64_t now);

#endif							/* SN_BUCKET_H */
