/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * store.c
 *		Names of tables and indexes to OIDs.  (Partitions: range.c; reading
 *		rows: scan.c; writing them: insert.c)
 *
 * OIDs are cached until a relation of the catalog changes.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "store/store.h"

#define SN_NAME(table, column)			#column,
#define SN_NAME_AS(table, name, column)	#column,
#define SN_TABLE_ENTRY(name, sql, columns) \
	[SN_##name] = {#sql, Natts_##columns, \
		(const char *const[]) {SN_COLUMNS_##columns(SN_NAME, SN_NAME_AS) NULL}, NULL},
#define SN_INDEX_ENTRY(name, sql, keys) \
	[SN_##name] = {#sql, 0, NULL, keys},

/* Tables and indexes */
static const struct
{
	const char *name;
	int			natts;			/* 0: an index */
	const char *const *columns;
	const char *keys;			/* of an index */
}			rels[] =
{
	SN_RELATIONS(SN_TABLE_ENTRY, SN_TABLE_ENTRY, SN_INDEX_ENTRY)
};

static Oid	rel_oids[SN_REL_COUNT];
static bool callbacks_registered = false;
static bool met_short = false;	/* a table of the version before, in this session */

static void
forget_oids(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(rel_oids, 0, sizeof(rel_oids));
}

/* count_columns: of a table or index, 0 if it is gone */
static int
count_columns(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		return 0;
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

/*
 * count_columns_now: the same, as the catalog has it now.  A transaction's changes can
 * be seen a moment before it tells of them, and the cache has what was before.
 */
static int
count_columns_now(Oid relid)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			natts;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ClassOidIndexId, true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	natts = HeapTupleIsValid(tuple) ?
		((Form_pg_class) GETSTRUCT(tuple))->relnatts : 0;
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return natts;
}

/* assert_columns: the columns that C arrays are made for are where it looks */
static void
assert_columns(SnRel which, Oid relid)
{
#ifdef USE_ASSERT_CHECKING
	int			i;

	for (i = 0; i < Min(rels[which].natts, count_columns(relid)); i++)
		if (get_attnum(relid, rels[which].columns[i]) != i + 1)
			elog(PANIC, "column \"%s\" of table \"%s\" is not number %d",
				 rels[which].columns[i], rels[which].name, i + 1);
#endif
}

/* assert_keys: an index has the columns that scans of it count */
static void
assert_keys(SnRel which, Oid relid)
{
#ifdef USE_ASSERT_CHECKING
	StringInfoData keys;
	int			n = count_columns(relid);
	int			i;

	if (rels[which].keys == NULL || sn_other_version() != NULL)
		return;
	initStringInfo(&keys);
	for (i = 1; i <= n; i++)
		appendStringInfo(&keys, "%s%s", i > 1 ? "," : "",
						 get_attname(relid, i, false));
	if (strcmp(keys.data, rels[which].keys) != 0)
		elog(PANIC, "index \"%s\" is on (%s) and not on (%s)",
			 rels[which].name, keys.data, rels[which].keys);
#endif
}

/*
 * may_lack_columns: whether a table may be one of the version before, which does
 * not have the last columns yet.  Partitions and what they are of may not.
 */
static bool
may_lack_columns(SnRel which)
{
	return which > SN_SLICE && sn_other_version() != NULL;
}

/*
 * check_columns: a table must have the columns that this library was built
 * for, or the first of them while it waits for ALTER EXTENSION UPDATE.  Others
 * come from another version of the extension, or by hand.
 */
static void
check_columns(SnRel which, Oid relid)
{
	int			natts = count_columns(relid);
	bool		is_short = natts > 0 && natts < rels[which].natts;

	if (is_short && !may_lack_columns(which))
	{
		/* the update may have come between the two looks */
		AcceptInvalidationMessages();
		natts = count_columns_now(relid);
		is_short = false;
	}
	if (is_short)
		met_short = true;
	else if (rels[which].natts != 0 && natts != rels[which].natts)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not the one that this library knows",
						SN_INTERNAL, rels[which].name),
				 errdetail("It has %d columns instead of %d.", natts,
						   rels[which].natts),
				 errhint("After an update of the library run ALTER EXTENSION sentinai UPDATE; do not add columns to its tables.")));
	assert_columns(which, relid);
	assert_keys(which, relid);
}

/*
 * sn_full_desc: how the rows of a table look to this library: what the table
 * does not have yet reads as null, and is not written.  NULL: as the table says.
 */
TupleDesc
sn_full_desc(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleDesc	full;
	int			which = SN_SLICE + 1;
	int			i;

	if (!met_short)
		return NULL;
	while (which < SN_REL_COUNT &&
		   strcmp(rels[which].name, RelationGetRelationName(rel)) != 0)
		which++;
	if (which == SN_REL_COUNT || desc->natts >= rels[which].natts)
		return NULL;
	full = CreateTemplateTupleDesc(rels[which].natts);
	for (i = 1; i <= desc->natts; i++)
		TupleDescCopyEntry(full, i, desc, i);
	for (; i <= full->natts; i++)
		TupleDescInitEntry(full, i, rels[which].columns[i - 1], INT4OID, -1, 0);
	return full;
}

/* sn_intact: whether a table is there, and the one that this library knows */
bool
sn_intact(SnRel which)
{
	Oid			relid = get_relname_relid(rels[which].name,
										  get_namespace_oid(SN_INTERNAL, true));

	return OidIsValid(relid) && count_columns(relid) == rels[which].natts;
}

/*
 * sn_present: whether a table is there at all.  What an update of the extension
 * brings is not, while this library runs on the tables of the version before.
 */
bool
sn_present(SnRel which)
{
	Oid			schema = get_namespace_oid(SN_INTERNAL, true);

	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid(rels[which].name, schema));
}

/* refuse_missing: no extension, one from before this table, or it was dropped */
static void pg_attribute_noreturn()
refuse_missing(SnRel which)
{
	char	   *installed = sn_other_version();

	if (which != SN_EVENT_LOG && installed != NULL && sn_installed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s.%s\" is not in this version of the extension",
						SN_INTERNAL, rels[which].name),
				 errdetail("The library is version %s, what is installed in this database is version %s.",
						   SENTINAI_VERSION, installed),
				 errhint("Run ALTER EXTENSION sentinai UPDATE.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation \"%s.%s\" does not exist",
					SN_INTERNAL, rels[which].name),
			 errhint("Create the extension with CREATE EXTENSION sentinai.")));
	pg_unreachable();
}

/* sn_rel: OID of a table or index of the extension */
Oid
sn_rel(SnRel which)
{
	Oid			relid;

	if (OidIsValid(rel_oids[which]))
		return rel_oids[which];

	if (!callbacks_registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_oids, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_oids, (Datum) 0);
		callbacks_registered = true;
	}
	relid = get_relname_relid(rels[which].name,
							  get_namespace_oid(SN_INTERNAL, false));
	if (!OidIsValid(relid))
		refuse_missing(which);
	check_columns(which, relid);
	rel_oids[which] = relid;
	return relid;
}

/* sn_installed: whether this database has the extension, all of it */
bool
sn_installed(void)
{
	Oid			schema;

	if (!OidIsValid(get_extension_oid("sentinai", true)))
		return false;
	schema = get_namespace_oid(SN_INTERNAL, true);
	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid(rels[SN_EVENT_LOG].name, schema));
}

/* sn_sequence_next: a value of the sequence of an identity column */
int64
sn_sequence_next(const char *name)
{
	Oid			relid = get_relname_relid(name,
										  get_namespace_oid(SN_INTERNAL, false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", SN_INTERNAL, name)));
	return nextval_internal(relid, false);
}

/*
 * sn_other_version: the version of the extension's objects in this database when
 * it is not that of the library; NULL: it is, or there are none
 */
char *
sn_other_version(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("sentinai"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		version = TextDatumGetCString(heap_getattr(tuple,
												   Anum_pg_extension_extversion,
												   RelationGetDescr(rel),
												   &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version != NULL && strcmp(version, SENTINAI_VERSION) != 0 ?
		version : NULL;
}
