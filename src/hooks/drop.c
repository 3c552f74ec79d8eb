/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * drop.c
 *		Says what DROP EXTENSION is about to delete.
 *
 * PostgreSQL drops the partitions of an extension's tables without a word,
 * whoever made them, since they depend on their parents.  A notice before that
 * gives the chance to roll back.  It must not keep anybody from dropping an
 * extension that is damaged, so it looks at nothing that may be missing, and it
 * keeps no lock.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "hooks/utility.h"
#include "store/range.h"
#include "store/store.h"

/* What the partitions of a table hold */
typedef struct Contents
{
	int			partitions;
	int64		bytes;
	double		rows;			/* as ANALYZE has counted */
	int64		since;			/* ms since 1970 of the first; 0: unknown */
} Contents;

/* add_partition: one more partition */
static void
add_partition(Contents *contents, const SnPartRange *range)
{
	Datum		oid = ObjectIdGetDatum(range->oid);
	LOCAL_FCINFO(fcinfo, 1);
	HeapTuple	tuple;
	Datum		size;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = oid;
	fcinfo->args[0].isnull = false;
	size = pg_total_relation_size(fcinfo);
	if (!fcinfo->isnull)
		contents->bytes += DatumGetInt64(size);
	tuple = SearchSysCache1(RELOID, oid);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		contents->rows += Max(form->reltuples, 0);
		ReleaseSysCache(tuple);
	}
	if (contents->partitions++ == 0 && range->lower > 0)
		contents->since = range->lower;
}

/* count_contents: what a partitioned table holds, unless it is damaged */
static void
count_contents(SnRel parent, Contents *contents)
{
	ListCell   *lc;

	memset(contents, 0, sizeof(Contents));
	if (!sn_intact(parent))
		return;
	foreach(lc, sn_partition_ranges(parent))
		add_partition(contents, lfirst(lc));
}

/* announce_drop: the notice */
static void
announce_drop(void)
{
	Contents	log;
	Contents	ledger;
	Contents	slices;
	StringInfoData detail;

	count_contents(SN_EVENT_LOG, &log);
	count_contents(SN_EVENT_PROCESSING, &ledger);
	count_contents(SN_SLICE, &slices);
	if (log.partitions == 0)
		return;					/* nothing was ever published */
	initStringInfo(&detail);
	appendStringInfo(&detail, log.partitions == 1 ?
					 "The log has %d partition with %s" :
					 "The log has %d partitions with %s",
					 log.partitions,
					 text_to_cstring(DatumGetTextPP(DirectFunctionCall1(pg_size_pretty,
																		Int64GetDatum(log.bytes)))));
	if (log.rows > 0)
		appendStringInfo(&detail, ", about %.0f events", log.rows);
	if (log.since > 0)
		appendStringInfo(&detail, ", since %s",
						 timestamptz_to_str(time_t_to_timestamptz(log.since / 1000)));
	appendStringInfo(&detail, "; queue and ledger have %s.",
					 text_to_cstring(DatumGetTextPP(DirectFunctionCall1(pg_size_pretty,
																		Int64GetDatum(ledger.bytes + slices.bytes)))));
	ereport(NOTICE,
			(errmsg("extension \"sentinai\" goes with all events, subscriptions and dead letters"),
			 errdetail_internal("%s", detail.data),
			 errhint("If that is not wanted, roll the transaction back, or keep a dump made with pg_dump.")));
	pfree(detail.data);
}

/* names: whether a name is in a list of them */
static bool
names(List *objects, const char *name)
{
	ListCell   *lc;

	foreach(lc, objects)
		if (IsA(lfirst(lc), String) && strcmp(strVal(lfirst(lc)), name) == 0)
			return true;
	return false;
}

/* sn_announce_drop: before a command: does it drop the extension? */
void
sn_announce_drop(Node *stmt)
{
	DropStmt   *drop = (DropStmt *) stmt;
	Oid			extension;

	if (!IsA(stmt, DropStmt))
		return;
	if (!(drop->removeType == OBJECT_EXTENSION &&
		  names(drop->objects, "sentinai")) &&
		!(drop->removeType == OBJECT_SCHEMA &&
		  drop->behavior == DROP_CASCADE && names(drop->objects, SN_SCHEMA)))
		return;
	extension = get_extension_oid("sentinai", true);
	if (OidIsValid(extension) && sn_owns_extension(extension, GetUserId()))
		announce_drop();
}
