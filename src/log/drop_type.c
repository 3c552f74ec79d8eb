/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * drop_type.c
 *		drop_event_type_version().
 *
 * The log has no index on types, so that publishers need not write one: to drop
 * a version reads the log until it finds an event of it.  Nobody is kept waiting
 * for that, and transactions that have not committed are not asked.  What they
 * publish meanwhile keeps its version, like what is there when a version goes
 * by force: the number comes to mean nothing else.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "registry/event_type.h"
#include "registry/register.h"
#include "store/range.h"
#include "store/store.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_drop_event_type_version);

/* A version whose events are looked for */
typedef struct Sought
{
	text	   *event_type;
	int32		version;
	Snapshot	snapshot;
} Sought;

/* is_in: whether a table has a row of the version */
static bool
is_in(const Sought *sought, Oid relid, AttrNumber type_column,
	  AttrNumber version_column)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	ScanKeyData keys[2];
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool		found;

	if (rel == NULL)
		return false;			/* retention was faster */
	sn_key_int4(&keys[0], version_column, BTEqualStrategyNumber,
				sought->version);
	sn_key_text(&keys[1], type_column, BTEqualStrategyNumber,
				PointerGetDatum(sought->event_type));
	scan = table_beginscan(rel, sought->snapshot, 2, keys);
	slot = table_slot_create(rel, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	relation_close(rel, AccessShareLock);
	return found;
}

/* is_used: whether the log, or what is kept of it, has an event of the version */
static bool
is_used(const Sought *sought)
{
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	int			i;

	if (is_in(sought, sn_rel(SN_EVENT_KEPT), Anum_log_event_type,
			  Anum_log_schema_version) ||
		is_in(sought, sn_rel(SN_DEAD_LETTER), Anum_dead_event_type,
			  Anum_dead_schema_version))
		return true;
	for (i = list_length(ranges) - 1; i >= 0; i--)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_in(sought, ((SnPartRange *) list_nth(ranges, i))->oid,
				  Anum_log_event_type, Anum_log_schema_version))
			return true;
	}
	return false;
}

/* drop_event_type_version(event_type, version, force) returns void */
Datum
sentinai_drop_event_type_version(PG_FUNCTION_ARGS)
{
	Sought		sought;
	bool		used;

	sought.event_type = sn_type_name_arg(fcinfo, 0);
	SN_REQUIRE_ARG(1, "version");
	SN_REQUIRE_ARG(2, "force");
	PreventCommandIfReadOnly("drop_event_type_version()");
	sn_require_every("drop versions of event types");	/* it tells what there is */
	sought.version = PG_GETARG_INT32(1);
	sn_lock_types();
	sn_type_drop(sought.event_type, sought.version);
	sought.snapshot = RegisterSnapshot(GetLatestSnapshot());
	used = !PG_GETARG_BOOL(2) && is_used(&sought);
	UnregisterSnapshot(sought.snapshot);
	if (used)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("there are events of version %d of event type \"%s\"",
						sought.version, text_to_cstring(sought.event_type)),
				 errdetail("Whoever reads them may ask what they mean."),
				 errhint("Deprecate the version, or wait until retention has dropped the events; force => true drops it all the same, and the events stay.")));
	PG_RETURN_VOID();
}
