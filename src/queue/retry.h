/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retry.h
 *		Rows of event_retry: events that wait, by key in the order of their
 *		positions.
 */
#ifndef SN_RETRY_H
#define SN_RETRY_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "queue/subscription.h"
#include "store/store.h"

typedef struct SnRetry
{
	int			sub_id;
	int			lane;
	SnPos		pos;
	pg_uuid_t	event_id;
	int32		hash;
	int			attempt;
	bool		solo;
	bool		dead;
	bool		has_due;
	TimestampTz due_at;
	TimestampTz not_before;		/* end of its own wait; 0: none */
	TimestampTz first_failed_at;	/* 0: it only waits */
	text	   *tenant_id;
	text	   *aggregate_id;	/* may be NULL */
	text	   *last_error;		/* may be NULL */
	Jsonb	   *history;		/* may be NULL */
	text	   *topic;			/* that a relay holds it for; may be NULL */
	ItemPointerData tid;		/* of a row that was read */
} SnRetry;

/* Reads rows of event_retry by key; the scan stays open for more keys */
typedef struct SnRetryProbe
{
	bool		open;
	SnPos		pos;			/* of the row found */
	SnScan		scan;
} SnRetryProbe;

extern bool sn_retry_get(int sub_id, int lane, SnPos pos, Snapshot snapshot,
						 SnRetry *retry);
extern bool sn_retry_find(int sub_id, int lane, int32 hash,
						  const pg_uuid_t *id, Snapshot snapshot,
						  SnRetry *retry);
extern bool sn_retry_head(SnRetryProbe *probe, int sub_id, int lane,
						  int32 hash, const text *tenant_id,
						  const text *aggregate_id, SnPos after,
						  Snapshot snapshot, SnRetry *retry);
extern bool sn_retry_blocks(SnRetryProbe *probe, int sub_id, int lane,
							const text *tenant_id, const text *aggregate_id,
							Snapshot snapshot, int32 *hash);
extern void sn_retry_probe_end(SnRetryProbe *probe);
extern void sn_retry_read(SnScan *scan, SnRetry *retry);

extern bool sn_retry_waits(int sub_id, int lane, int32 hash,
						   const pg_uuid_t *id, Snapshot snapshot);
extern TimestampTz sn_retry_next_due(int sub_id, int lane, TimestampTz after,
									 Snapshot snapshot);

/* scans: sn_retry_read() takes their rows */
extern void sn_retry_scan_lane(SnScan *scan, int sub_id, int lane,
							   Snapshot snapshot);
extern void sn_retry_scan_keys(SnScan *scan, int sub_id, Snapshot snapshot);
extern void sn_retry_scan_due(SnScan *scan, int sub_id, int lane,
							  TimestampTz from, TimestampTz until,
							  Snapshot snapshot);
extern void sn_retry_scan_topic(SnScan *scan, int sub_id, const text *topic,
								int lane, Snapshot snapshot);
extern bool sn_retry_topic_after(int sub_id, const text *after,
								 Snapshot snapshot, SnRetry *retry);
extern SnTableScan *sn_retry_scan_sub(int sub_id, Snapshot snapshot);
extern SnTableScan *sn_retry_scan_all(Snapshot snapshot);
extern bool sn_retry_next_id(SnTableScan *scan, pg_uuid_t *id);

extern void sn_retry_unlabel(int sub_id, const char *topic, uint64 lanes);
extern SnInserter *sn_retry_begin(void);
extern void sn_retry_insert(SnInserter *inserter, const SnRetry *retry);
extern void sn_retry_put(const SnRetry *retry, bool ordered);
extern TimestampTz sn_retry_due(const SnRetry *retry, TimestampTz now);
extern void sn_retry_replace(SnRetry *retry);
extern void sn_retry_delete(const SnRetry *retries, int n);
extern void sn_retry_remove(const SnRetry *retries, int n, bool ordered,
							TimestampTz now);

#endif							/* SN_RETRY_H */
