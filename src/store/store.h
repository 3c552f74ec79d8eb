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
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "shared/clock.h"
#include "store/tables.h"

/* Anum_TABLE_COLUMN, and Natts_TABLE: how many */
#define SN_ANUM(table, column)			Anum_##table##_##column,
#define SN_ANUM_AS(table, name, column)	Anum_##table##_##name,
#define SN_NUMBERS(name, sql, table) \
	enum \
	{ \
		Anum_##table##_none, \
		SN_COLUMNS_##table(SN_ANUM, SN_ANUM_AS) \
		Anum_##table##_end, \
		Natts_##table = Anum_##table##_end - 1 \
	};
#define SN_NO_REL(name, sql, what)

SN_RELATIONS(SN_NUMBERS, SN_NO_REL, SN_NO_REL)

/* Tables and indexes, by the names that sn_rel() knows */
#define SN_REL_NAME(name, sql, what)	SN_##name,

typedef enum SnRel
{
	SN_RELATIONS(SN_REL_NAME, SN_REL_NAME, SN_REL_NAME)
	SN_REL_COUNT
} SnRel;

extern Oid	sn_rel(SnRel which);
extern bool sn_intact(SnRel which);
extern bool sn_present(SnRel which);
extern TupleDesc sn_full_desc(Relation rel);
extern bool sn_installed(void);
extern void sn_watch_relations(RelcacheCallbackFunction watcher);

/* What a session knows of a table that is read rarely: watch.c */
typedef struct SnKnown
{
	SnRel		which;
	bool	   *nothing;		/* it is known that nothing is in it */
	bool		valid;			/* nothing has changed since it was read */
	Oid			table;			/* none: it was not there */
} SnKnown;

extern void sn_known_forget(SnKnown *known, Oid relid);
extern void sn_known_changed(SnKnown *known);
extern void sn_known_begin(SnKnown *known);

extern int64 sn_sequence_next(const char *name);
extern char *sn_other_version(void);

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
extern bool sn_node_elsewhere(int *node_no, int64 *recovery);
extern TimestampTz sn_node_moved_at(void);
extern int64 sn_logical_txid(void);
extern int64 sn_logical_xid(TransactionId xid);

/* Partitions */
extern Oid	sn_require_partition(SnRel parent, Datum key, int64 ms);
extern bool sn_make_partitions(TimestampTz until);
extern int	sn_sets_at_once(void);
extern PGDLLEXPORT void sn_partition_maker_main(Datum arg) pg_attribute_noreturn();
extern void sn_refuse_change(const char *name) pg_attribute_noreturn();

extern bool sn_calls_others(Node *node, void *context);
extern bool sn_index_is_ours(Relation heap, Relation index);
extern Oid	sn_find_index(Relation heap, int ncolumns,
						  const AttrNumber *columns, bool missing_ok);

/*
 * In place of a first column: hashtext(tenant_id).  A comparison of integers
 * takes a fraction of one of texts, and a descent has a dozen of them.
 */
#define SN_TENANT_HASH 0
#define SN_FLOW_HASH (-1)		/* likewise: hashtext(correlation_id) */

/* the index of a table that is on these columns and has all rows in it */
#define sn_index_of(heap, ...) \
	sn_find_index(heap, lengthof(((AttrNumber[]) {__VA_ARGS__})), \
				  (AttrNumber[]) {__VA_ARGS__}, false)

/*
 * the index for reading a flow, or InvalidOid: partitions from before 0.2.0 have
 * none, see index_partitions()
 */
#define sn_flow_index_of(heap) \
	sn_find_index(heap, 2, \
				  (AttrNumber[]) {SN_FLOW_HASH, Anum_log_event_id}, true)

/* Bulk insert: rows are buffered, written at the end, every 128, every MB */
typedef struct SnInserter SnInserter;

extern SnInserter *sn_insert_begin(Oid relid, bool unless_present);
extern void sn_insert_row(SnInserter *ins, Datum *values, bool *nulls);
extern List *sn_insert_end(SnInserter *ins);

/* sn_set_column: a column that is null unless present */
static inline void
sn_set_column(Datum *values, bool *nulls, AttrNumber column, bool present,
			  Datum datum)
{
	values[column - 1] = datum;
	nulls[column - 1] = !present;
}

/* One row; visible, or gone, after the next CommandCounterIncrement() */
extern void sn_insert_one(SnRel table, Datum *values, bool *nulls);
extern Relation sn_open_to_delete(SnRel table);
extern void sn_delete_one(SnRel table, ItemPointer tid);

/* NULL where there can be none: required.c */
typedef struct SnRequired SnRequired;

extern const SnRequired *sn_required(Oid table);
extern void sn_require_columns(const SnRequired *required,
							   TupleTableSlot *slot);
extern void sn_require_event(const SnRequired *required, TupleTableSlot *slot);
extern char *sn_null_text(Oid table, AttrNumber column, const pg_uuid_t *id);
extern void sn_refuse_null(Oid table, AttrNumber column, const pg_uuid_t *id)
			pg_attribute_noreturn();

/* Table scans: all rows, in no order */
typedef struct SnTableScan
{
	Relation	heap;
	LOCKMODE	lockmode;
	Snapshot	snapshot;
	bool		registered;		/* here */
	TableScanDesc desc;
	TupleTableSlot *slot;
	const SnRequired *required; /* of its rows, or NULL */
} SnTableScan;

extern Snapshot sn_snapshot_now(void);
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
	const SnRequired *required; /* of its rows, or NULL */
	LOCKMODE	unlock;			/* what its end gives up of the table's lock */
} SnScan;

extern void sn_scan_begin(SnScan *scan, Oid heap, Oid index, Snapshot snapshot,
						  int nkeys, ScanKey keys, ScanDirection direction);
extern void sn_scan_named(SnScan *scan, SnRel heap, SnRel index,
						  Snapshot snapshot, int nkeys, ScanKey keys,
						  ScanDirection direction);
extern void sn_scan_again(SnScan *scan, Snapshot snapshot, int nkeys,
						  ScanKey keys);
extern bool sn_scan_next(SnScan *scan);
extern ItemPointerData sn_scan_place(SnScan *scan);
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
extern void sn_key_hashed(ScanKey key, AttrNumber column, const text *name);
extern void sn_key_null(ScanKey key, AttrNumber column);
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
extern bool sn_streams_are_ours(void);
extern bool sn_lanes_are_owned(int sub_id, uint64 lanes);
extern bool sn_change_is_ours(SnRel table);
#endif
extern bool sn_lane_in_hands(int sub_id, int lane);
extern bool sn_lock_streams(bool wait);
extern void sn_lock_types(void);
extern bool sn_lock_grants(bool wait);
extern bool sn_lock_alerts(bool wait);
extern bool sn_lock_counts(void);
extern bool sn_lock_limits(bool wait);
extern void sn_lock_redactions(void);
extern bool sn_lock_round(void);
extern bool sn_round_in_hands(void);
extern void sn_unlock_round(void);
extern bool sn_own_lane(int sub_id, int lane);
extern bool sn_own_relay(int sub_id);
extern void sn_lock_key(uint32 hash);
extern void sn_unlock_key(uint32 hash);
extern void sn_lock_making(void);
extern void sn_unlock_making(void);

#endif							/* SN_STORE_H */
