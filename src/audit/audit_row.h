/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * audit_row.h
 *		Rows of audit_interval and audit_root.
 */
#ifndef SN_AUDIT_ROW_H
#define SN_AUDIT_ROW_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "audit/merkle.h"
#include "store/store.h"

/* An interval: events with ids in [from_id, to_id) */
typedef struct SnInterval
{
	int64		no;				/* 0: there is none yet */
	pg_uuid_t	from_id;
	pg_uuid_t	to_id;
	int64		events;
	SnDigest	root;			/* over the chains of its tenants */
	SnDigest	chain;
	TimestampTz closed_at;
} SnInterval;

/* A tenant in an interval */
typedef struct SnRoot
{
	text	   *tenant_id;
	int64		no;				/* 0: there is none yet */
	int64		interval_no;
	int64		events;
	SnDigest	root;			/* over its events */
	SnDigest	chain;
} SnRoot;

extern void sn_interval_newest(Snapshot snapshot, SnInterval *result);
extern bool sn_interval_of(Snapshot snapshot, int64 no, SnInterval *result);
extern void sn_intervals_begin(SnScan *scan, Snapshot snapshot,
							   const pg_uuid_t *lower);
extern bool sn_intervals_next(SnScan *scan, SnInterval *result);
extern void sn_interval_write(const SnInterval *interval);
extern void sn_interval_chain(SnInterval *interval, const SnDigest *before);

extern void sn_root_newest(Snapshot snapshot, text *tenant_id, int64 below,
						   SnRoot *result);
extern bool sn_root_of(Snapshot snapshot, text *tenant_id, int64 interval_no,
					   SnRoot *result);
extern void sn_roots_begin(SnScan *scan, Snapshot snapshot,
						   int64 interval_no);
extern void sn_roots_after(SnScan *scan, Snapshot snapshot,
						   int64 interval_no);
extern bool sn_roots_next(SnScan *scan, SnRoot *result);
extern void sn_root_put(SnInserter *inserter, const SnRoot *root);
extern void sn_root_chain(SnRoot *root, const SnInterval *interval,
						  const SnDigest *before);

#endif							/* SN_AUDIT_ROW_H */
