/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * store.h
 *		Access to the extension's tables below SQL: names to OIDs, partition of
 *		a key, bulk insert, index scans, locks that outlive no transaction.
 *
 * Nothing here checks privileges: the right to execute the SQL function that
 * led here is the right to what it does.
 */
#ifndef SN_STORE_H
#define SN_STORE_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/sentinai.h"
#include "shared/clock.h"

/* attribute numbers, in the order of sql/20_tables_event.sql and 21 */
enum
{
	Anum_log_event_id = 1, Anum_log_txid, Anum_log_occurred_at,
	Anum_log_partition_hash, Anum_log_schema_version, Anum_log_run,
	Anum_log_tenant_id, Anum_log_aggregate_type, Anum_log_aggregate_id,
	Anum_log_event_type, Anum_log_correlation_id, Anum_log_causation_id,
	Anum_log_deliver_at, Anum_log_payload, Anum_log_metadata,
	Anum_log_run_keys, Natts_log = Anum_log_run_keys
};
enum
{
	Anum_proc_event_id = 1, Anum_proc_worker_type, Anum_proc_tenant_id,
	Anum_proc_aggregate_id, Anum_proc_status, Anum_proc_attempt,
	Anum_proc_worker_id, Anum_proc_processed_at,
	Natts_proc = Anum_proc_processed_at
};
enum
{
	Anum_idem_event_id = 1, Anum_idem_body_hash, Anum_idem_tenant_id,
	Anum_idem_key, Natts_idem = Anum_idem_key
};
enum
{
	Anum_stream_id = 1, Anum_stream_event_types, Anum_stream_first_round,
	Natts_stream = Anum_stream_first_round
};
enum
{
	Anum_sub_id = 1, Anum_sub_worker_type, Anum_sub_stream_id,
	Anum_sub_start_pos, Anum_sub_start_time, Anum_sub_start_xmax,
	Anum_sub_start_xip, Anum_sub_max_attempts, Anum_sub_backoff,
	Anum_sub_on_dead, Anum_sub_ordered, Anum_sub_is_relay,
	Anum_sub_created_at, Anum_sub_old_streams, Anum_sub_old_until,
	Natts_sub = Anum_sub_old_until
};
enum
{
	Anum_slice_no = 1, Anum_slice_base, Anum_slice_stream_id,
	Anum_slice_lane, Anum_slice_event_ids, Anum_slice_places,
	Natts_slice = Anum_slice_places
};
enum
{
	Anum_round_no = 1, Anum_round_snap_xmax,
	Anum_round_snap_xip, Anum_round_due_until, Anum_round_events,
	Anum_round_taken_at, Natts_round = Anum_round_taken_at
};
enum
{
	Anum_lane_sub_id = 1, Anum_lane_lane, Anum_lane_ver,
	Anum_lane_pos, Anum_lane_end_pos, Anum_lane_batch, Anum_lane_done_batch,
	Anum_lane_lease_until, Anum_lane_claimed_at, Anum_lane_lost_pos,
	Anum_lane_lost, Anum_lane_open, Anum_lane_parked, Anum_lane_completed,
	Anum_lane_failed, Anum_lane_dead, Anum_lane_worker_id,
	Anum_lane_resolved, Anum_lane_retries, Natts_lane = Anum_lane_retries
};
enum
{
	Anum_retry_sub_id = 1, Anum_retry_lane, Anum_retry_pos,
	Anum_retry_event_id, Anum_retry_partition_hash, Anum_retry_attempt,
	Anum_retry_solo, Anum_retry_dead, Anum_retry_due_at,
	Anum_retry_not_before, Anum_retry_first_failed_at, Anum_retry_tenant_id,
	Anum_retry_aggregate_id, Anum_retry_last_error, Anum_retry_history,
	Anum_retry_topic, Natts_retry = Anum_retry_topic
};
enum
{
	Anum_policy_worker_type = 1, Anum_policy_event_type,
	Anum_policy_max_attempts, Anum_policy_backoff,
	Natts_policy = Anum_policy_backoff
};
enum
{
	Anum_dead_event_id = 1, Anum_dead_worker_type, Anum_dead_tenant_id,
	Anum_dead_aggregate_type, Anum_dead_aggregate_id, Anum_dead_event_type,
	Anum_dead_schema_version, Anum_dead_correlation_id,
	Anum_dead_causation_id, Anum_dead_occurred_at, Anum_dead_attempts,
	Anum_dead_reason, Anum_dead_status, Anum_dead_first_failed_at,
	Anum_dead_dead_at, Anum_dead_resolved_at, Anum_dead_resolved_by,
	Anum_dead_resolution, Anum_dead_history, Anum_dead_payload,
	Anum_dead_metadata, Anum_dead_sub_id, Anum_dead_pos,
	Natts_dead = Anum_dead_pos
};

/* Tables and indexes, by the names that sn_rel() knows */
typedef enum SnRel
{
	SN_EVENT_LOG, SN_EVENT_PROCESSING, SN_EVENT_IDEMPOTENCY, SN_SLICE,
	SN_EVENT_KEPT,
	SN_NODE, SN_STREAM, SN_SUBSCRIPTION, SN_SUBSCRIPTION_NAME_IDX,
	SN_ROUND_0, SN_ROUND_1, SN_ROUND_0_IDX, SN_ROUND_1_IDX,
	SN_LANE_STATE_0, SN_LANE_STATE_1, SN_LANE_STATE_0_IDX,
	SN_LANE_STATE_1_IDX, SN_EVENT_RETRY, SN_EVENT_RETRY_PKEY,
	SN_EVENT_RETRY_KEY_IDX, SN_EVENT_RETRY_DUE_IDX, SN_EVENT_RETRY_NEXT_IDX,
	SN_EVENT_RETRY_TOPIC_IDX,
	SN_DEAD_LETTER, SN_DEAD_LETTER_PENDING_IDX, SN_RETRY_POLICY,
	SN_REL_COUNT
} SnRel;

extern Oid	sn_rel(SnRel which);
extern bool sn_intact(SnRel which);
extern bool sn_installed(void);

/* What the newest row of node says, in force for this database */
typedef struct SnNode
{
	int			lanes;
	int64		txid_offset;
} SnNode;

extern const SnNode *sn_node(void);
extern const SnNode *sn_node_activate(void);
extern bool sn_node_active(void);
extern bool sn_node_moved(void);
extern bool sn_node_copied(void);
extern TimestampTz sn_node_moved_at(void);
extern int64 sn_logical_txid(void);
extern int64 sn_logical_xid(TransactionId xid);

/* Partitions */
extern Oid	sn_require_partition(SnRel parent, Datum key, int64 ms);
extern bool sn_make_partitions(TimestampTz until);
extern int	sn_sets_at_once(void);
extern PGDLLEXPORT void sn_partition_worker_main(Datum arg) pg_attribute_noreturn();

extern Oid	sn_find_index(Relation heap, int ncolumns,
						  const AttrNumber *columns);

/*
 * In place of a first column: hashtext(tenant_id).  A comparison of integers
 * takes a fraction of one of texts, and a descent has a dozen of them.
 */
#define SN_TENANT_HASH 0

/* the index of a table that is on these columns and has all rows in it */
#define sn_index_of(heap, ...) \
	sn_find_index(heap, lengthof(((AttrNumber[]) {__VA_ARGS__})), \
				  (AttrNumber[]) {__VA_ARGS__})

/* Bulk insert: rows are buffered, written at the end, every 128, every MB */
typedef struct SnInserter SnInserter;

extern SnInserter *sn_insert_begin(Oid relid, bool unless_present);
extern void sn_insert_row(SnInserter *ins, Datum *values, bool *nulls);
extern List *sn_insert_end(SnInserter *ins);

/* One row; visible, or gone, after the next CommandCounterIncrement() */
extern void sn_insert_one(Oid relid, Datum *values, bool *nulls);
extern void sn_delete_one(SnRel table, ItemPointer tid);

/* Table scans: all rows, in no order */
typedef struct SnTableScan
{
	Relation	heap;
	LOCKMODE	lockmode;
	Snapshot	snapshot;
	bool		registered;		/* here */
	TableScanDesc desc;
	TupleTableSlot *slot;
} SnTableScan;

extern SnTableScan *sn_table_read(SnRel table, Snapshot snapshot);
extern SnTableScan *sn_table_change(SnRel table, Snapshot snapshot, int nkeys,
									ScanKey keys);
extern TupleTableSlot *sn_table_next(SnTableScan *scan);
extern void sn_table_delete(SnTableScan *scan);
extern void sn_table_end(SnTableScan *scan);

/* Index scans */
typedef struct SnScan
{
	Relation	heap;
	Relation	index;
	IndexScanDesc desc;
	TupleTableSlot *slot;
	ScanDirection direction;
} SnScan;

extern void sn_scan_begin(SnScan *scan, Oid heap, Oid index, Snapshot snapshot,
						  int nkeys, ScanKey keys, ScanDirection direction);
extern void sn_scan_named(SnScan *scan, SnRel heap, SnRel index,
						  Snapshot snapshot, int nkeys, ScanKey keys,
						  ScanDirection direction);
extern void sn_scan_again(SnScan *scan, Snapshot snapshot, int nkeys,
						  ScanKey keys);
extern bool sn_scan_next(SnScan *scan);
extern void sn_scan_end(SnScan *scan);

extern void sn_key_int2(ScanKey key, AttrNumber column,
						StrategyNumber strategy, int16 value);
extern void sn_key_int4(ScanKey key, AttrNumber column,
						StrategyNumber strategy, int32 value);
extern void sn_key_int8(ScanKey key, AttrNumber column,
						StrategyNumber strategy, int64 value);
extern void sn_key_uuid(ScanKey key, AttrNumber column,
						StrategyNumber strategy, const pg_uuid_t *value);
extern void sn_key_time(ScanKey key, AttrNumber column,
						StrategyNumber strategy, TimestampTz value);
extern void sn_key_tenant(ScanKey key, AttrNumber column,
						  const text *tenant_id);
extern void sn_key_text(ScanKey key, AttrNumber column,
						StrategyNumber strategy, Datum value);

/* Whether the extension is ours until the transaction ends */
typedef enum SnHold
{
	SN_HOLD_TAKEN,
	SN_HOLD_BUSY,				/* somebody drops or updates it */
	SN_HOLD_GONE				/* it is not there, or not all of it */
} SnHold;

extern SnHold sn_hold_extension(void);

/* Locks of a transaction, seen in pg_locks as objects of the table named */
extern bool sn_lock_lane(int sub_id, int lane, bool wait);
extern void sn_lock_lane_yielding(int sub_id, int lane);
extern void sn_unlock_lane(int sub_id, int lane);
#ifdef USE_ASSERT_CHECKING
extern bool sn_lane_is_ours(int sub_id, int lane);
extern bool sn_round_is_ours(void);
#endif
extern bool sn_lane_in_hands(int sub_id, int lane);
extern bool sn_lock_streams(bool wait);
extern bool sn_lock_round(bool wait);
extern bool sn_round_in_hands(void);
extern void sn_unlock_round(void);
extern bool sn_own_lane(int sub_id, int lane);
extern void sn_lock_key(uint32 hash);
extern void sn_unlock_key(uint32 hash);
extern void sn_lock_making(void);
extern void sn_unlock_making(void);

#endif							/* SN_STORE_H */
