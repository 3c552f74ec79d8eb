/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * bucket_table.h
 *		The buckets of all tenants, which the processes of a server share.
 */
#ifndef SN_BUCKET_TABLE_H
#define SN_BUCKET_TABLE_H

#include "postgres.h"

#include "tenancy/bucket.h"

#define SN_KIND_MAX		63		/* bytes */

/* The place of a bucket; it stays where it is for the life of the server */
typedef struct SnBucketSlot SnBucketSlot;

/* A bucket as somebody has found it; a place may get another bucket later */
typedef struct SnBucketRef
{
	SnBucketSlot *slot;			/* NULL: not looked for */
	uint32		life;			/* of the place, at that time */
} SnBucketRef;

/* What a bucket has to be like, and whose it is */
typedef struct SnBucketKey
{
	const char *tenant;
	int			tenant_len;
	const char *kind;
	int			kind_len;
	int64		value;
	int64		window;			/* us */
} SnBucketKey;

typedef enum SnTaken
{
	SN_TAKEN,
	SN_TAKEN_NONE,				/* it has not so many */
	SN_TAKEN_NO_ROOM			/* for one more bucket */
} SnTaken;

/* A bucket for the views */
typedef struct SnBucketView
{
	text	   *tenant_id;
	text	   *kind;
	SnBucket	bucket;
	int64		refused;		/* calls, since the bucket was made */
	int64		made_at;		/* us by the steady clock */
} SnBucketView;

typedef void (*SnBucketVisit) (const SnBucketView *view, void *arg);

extern SnTaken sn_bucket_table_look(const SnBucketKey *key, SnBucketRef *ref,
									int64 now, SnBucket *found);
extern SnTaken sn_bucket_table_take(const SnBucketKey *key, SnBucketRef *ref,
									int64 n, int64 now, SnBucket *found);
extern void sn_bucket_table_undo(const SnBucketKey *key, SnBucketRef *ref,
								 int64 n, int64 total_before, int64 taken_at,
								 int64 now);
extern void sn_bucket_table_refused(const SnBucketKey *key, SnBucketRef *ref);
extern void sn_bucket_table_visit(SnBucketVisit visit, void *arg);

#endif							/* SN_BUCKET_TABLE_H */
