/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * limit.h
 *		The limits that are set, as those see them who have to keep them.
 */
#ifndef SN_LIMIT_H
#define SN_LIMIT_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "tenancy/bucket_table.h"

#define SN_KIND_EVENTS	"events_published"
#define SN_KIND_BYTES	"events_bytes"
#define SN_KIND_BACKLOG	"max_backlog"	/* no bucket: see pressure.c */

/* Kinds that publishing is counted by */
enum
{
	SN_PUBLISH_EVENTS, SN_PUBLISH_BYTES, SN_PUBLISH_KINDS
};

extern const char *const sn_publish_kinds[SN_PUBLISH_KINDS];

/* A limit that is in force for a tenant */
typedef struct SnLimit
{
	SnBucketKey key;			/* its kind and size; kind NULL: no limit */
	SnBucketRef ref;
} SnLimit;

/* no limit of publishing is set; false also when that has to be looked up */
extern bool sn_no_publish_limits;

/* sn_limits_ask: whether a publisher has to look at limits at all */
static inline bool
sn_limits_ask(void)
{
	return !sn_no_publish_limits;
}

extern bool sn_limit_is_of_publishing(const text *kind);
extern SnLimit *sn_limit_find(const text *tenant_id, const char *kind,
							  int kind_len);
extern SnLimit *sn_limits_of_publishing(const text *tenant_id);
extern void sn_limits_changed(void);
extern HTAB *sn_tenant_hash(const char *name, Size entry,
							MemoryContext context);

/* limit_set.c */
extern text *sn_limit_kind_arg(FunctionCallInfo fcinfo, int n);

/* limit_refuse.c */
extern double sn_limit_seconds(int64 wait);
extern TimestampTz sn_limit_reset_at(SnBucket bucket, int64 now);
extern void sn_limit_refuse(SnLimit *limit, int64 n, const SnBucket *bucket,
							int64 wait) pg_attribute_noreturn();
extern void sn_limit_no_room(const SnLimit *limit) pg_attribute_noreturn();

#endif							/* SN_LIMIT_H */
