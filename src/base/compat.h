/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * compat.h
 *		The only place that looks at PG_VERSION_NUM.
 */
#ifndef SN_COMPAT_H
#define SN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "SentinAI needs PostgreSQL 15 or later"
#endif

#include "access/genam.h"
#include "executor/executor.h"
#include "pgstat.h"
#include "replication/walsender_private.h"
#include "utils/guc_tables.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Named wait events exist since 17 (commit c9af054653); before that every
 * wait of an extension shows as "Extension".
 */
#if PG_VERSION_NUM >= 170000
#define sn_wait_event(name) \
	({ static uint32 event_ = 0; \
	   if (event_ == 0) \
		   event_ = WaitEventExtensionNew(name); \
	   event_; })
#else
#define sn_wait_event(name) PG_WAIT_EXTENSION
#endif

/*
 * The connection to the client, of libpq.h: that includes the headers of
 * GSSAPI, which who builds for Debian's server need not have.  Input that was
 * read and not used has another name since 17.
 */
extern PGDLLIMPORT struct WaitEventSet *FeBeWaitSet;
#define SN_CLIENT_SOCKET 0		/* its place in there */
#if PG_VERSION_NUM >= 170000
extern ssize_t pq_buffer_remaining_data(void);
#define sn_buffered_input() (pq_buffer_remaining_data() > 0)
#else
extern bool pq_buffer_has_data(void);
#define sn_buffered_input() pq_buffer_has_data()
#endif

/* whether a stronger lock will do is asked for since 18 (a07e03fd8f); needs lock.h */
#if PG_VERSION_NUM >= 180000
#define sn_lock_is_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define sn_lock_is_held(tag, mode) LockHeldByMe(tag, mode)
#endif

/* every setting of the server: made anew for whoever asks since 16 (3057465acf) */
#if PG_VERSION_NUM >= 160000
#define sn_guc_variables(n) get_guc_variables(n)
#else
#define sn_guc_variables(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* the executor's call has one more argument since 16 (19d8e2308b) */
#if PG_VERSION_NUM >= 160000
#define sn_insert_index_tuples(rri, slot, estate, no_dup_err, conflict) \
	ExecInsertIndexTuples(rri, slot, estate, false, no_dup_err, conflict, \
						  NIL, false)
#else
#define sn_insert_index_tuples(rri, slot, estate, no_dup_err, conflict) \
	ExecInsertIndexTuples(rri, slot, estate, false, no_dup_err, conflict, NIL)
#endif

/* index scans are counted since 18 (0fbceae841) */
#if PG_VERSION_NUM >= 180000
#define sn_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define sn_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* a descent into a B-tree knows the table since 16 (61b313e47e); needs nbtree.h */
#if PG_VERSION_NUM >= 160000
#define sn_bt_search(index, heap, key, leaf) \
	_bt_search(index, heap, key, leaf, BT_WRITE)
#else
#define sn_bt_search(index, heap, key, leaf) \
	_bt_search(index, key, leaf, BT_WRITE, NULL)
#endif

/* a foreign path has more to say since 17 (9e9931d2bf) and 18 (e222534679); needs pathnode.h */
#if PG_VERSION_NUM >= 180000
#define sn_foreignscan_path(root, rel, rows, cost, pathkeys) \
	create_foreignscan_path(root, rel, NULL, rows, 0, 0, cost, pathkeys, \
							(rel)->lateral_relids, NULL, NIL, NIL)
#elif PG_VERSION_NUM >= 170000
#define sn_foreignscan_path(root, rel, rows, cost, pathkeys) \
	create_foreignscan_path(root, rel, NULL, rows, 0, cost, pathkeys, \
							(rel)->lateral_relids, NULL, NIL, NIL)
#else
#define sn_foreignscan_path(root, rel, rows, cost, pathkeys) \
	create_foreignscan_path(root, rel, NULL, rows, 0, cost, pathkeys, \
							(rel)->lateral_relids, NULL, NIL)
#endif

/* what EXPLAIN says is written by functions of their own header since 18 (9173e8b604) */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* pathkeys have a comparison since 18 (8123e91f5a) */
#if PG_VERSION_NUM >= 180000
#define sn_pathkey_descends(pathkey) ((pathkey)->pk_cmptype == COMPARE_GT)
#else
#define sn_pathkey_descends(pathkey) \
	((pathkey)->pk_strategy == BTGreaterStrategyNumber)
#endif

/* for whom a table is read: in the plan since 16 (a61b1f7482) */
#if PG_VERSION_NUM >= 160000
#define sn_reads_for(node) \
	((ForeignScan *) (node)->ss.ps.plan)->checkAsUser
#else
#define sn_reads_for(node) \
	exec_rt_fetch(((ForeignScan *) (node)->ss.ps.plan)->scan.scanrelid, \
				  (node)->ss.ps.state)->checkAsUser
#endif

/* a fetched datum may be left in the sort's memory since 16 */
#if PG_VERSION_NUM >= 160000
#define sn_tuplesort_getdatum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, true, value, isnull, NULL)
#else
#define sn_tuplesort_getdatum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, value, isnull, NULL)
#endif

/* intervals can be infinite since 17 (519fc1bd9e); needs timestamp.h */
#ifdef INTERVAL_NOT_FINITE
#define sn_interval_infinite(interval) INTERVAL_NOT_FINITE(interval)
#else
#define sn_interval_infinite(interval) false
#endif

/* what a hook of a setting keeps beside the value: memory of the settings' own since 16 (3057465acf) */
#if PG_VERSION_NUM >= 160000
#define sn_guc_malloc(size) guc_malloc(LOG, size)
#else
#define sn_guc_malloc(size) malloc(size)
#endif

/* the number of this session's transaction has moved in 17 (ab355e3a88); needs proc.h */
#if PG_VERSION_NUM >= 170000
#define sn_lxid() (MyProc->vxid.lxid)
#else
#define sn_lxid() (MyProc->lxid)
#endif

/* input functions can answer without raising an error since 16 */
#if PG_VERSION_NUM >= 160000
#define SN_SOFT_INPUT
#endif

/* a set of wait events that lives as long as the process (an owner since 17) */
#if PG_VERSION_NUM >= 170000
#define sn_wait_event_set(n) CreateWaitEventSet(NULL, n)
#else
#define sn_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, n)
#endif

/* one function for all kinds of objects since 16 (afbfc02983); needs acl.h */
#if PG_VERSION_NUM >= 160000
#define sn_owns_extension(extension, role) \
	object_ownercheck(ExtensionRelationId, extension, role)
#define sn_owns_relation(relation, role) \
	object_ownercheck(RelationRelationId, relation, role)
#else
#define sn_owns_extension(extension, role) \
	pg_extension_ownercheck(extension, role)
#define sn_owns_relation(relation, role) \
	pg_class_ownercheck(relation, role)
#endif

/* all settings: a copy of the list since 16 (3057465acf) */
#if PG_VERSION_NUM >= 160000
#define sn_guc_variables(n)	get_guc_variables(n)
#else
#define sn_guc_variables(n) \
	(*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* 18 has pg_noreturn instead (8f1791c618) */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* whether synchronous standbys are asked for: bits since 15.13 and 17.5 */
#ifdef SYNC_STANDBY_DEFINED
#define sn_sync_standbys_defined() \
	((WalSndCtl->sync_standbys_status & SYNC_STANDBY_INIT) == 0 ? \
	 SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0' : \
	 (WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0)
#else
#define sn_sync_standbys_defined() (WalSndCtl->sync_standbys_defined)
#endif

#endif							/* SN_COMPAT_H */
