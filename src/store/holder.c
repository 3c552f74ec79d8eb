/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * holder.c
 *		Who holds a table that somebody wants to himself.
 *
 * Who waits for an exclusive lock stands in a queue, and everybody who comes
 * later stands behind him, be it only to read for a moment.  So retention does
 * not ask for one that somebody keeps through a transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "store/holder.h"

#define MOMENT 10000			/* us: what takes longer is not just a look */

/* conflicts: the transactions that hold a table; how many */
static VirtualTransactionId *
conflicts(Oid relid, int *n)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return GetLockConflicts(&tag, AccessExclusiveLock, n);
}

/*
 * sn_held_for_long: whether a transaction holds a table now and a moment
 * later.  A prepared one is among them.
 */
bool
sn_held_for_long(Oid relid)
{
	VirtualTransactionId *before;
	VirtualTransactionId *after;
	int			nbefore;
	int			nafter;
	int			i;
	int			j;

	before = conflicts(relid, &nbefore);
	if (nbefore == 0)
		return false;
	pg_usleep(MOMENT);
	CHECK_FOR_INTERRUPTS();
	after = conflicts(relid, &nafter);
	for (i = 0; i < nbefore; i++)
		for (j = 0; j < nafter; j++)
			if (VirtualTransactionIdEquals(before[i], after[j]))
				return true;
	return false;
}

/* oid_array: a list of OIDs as an array */
static Datum
oid_array(List *oids)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, oids)
		values[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(values, n, OIDOID, sizeof(Oid),
										   true, TYPALIGN_INT));
}

/* query_texts: the texts that a query about tables ($1) answers */
static List *
query_texts(const char *query, List *relids)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			type = OIDARRAYOID;
	Datum		value = oid_array(relids);
	List	   *result = NIL;
	uint64		i;

	if (relids == NIL)
		return NIL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, 1, &type, &value, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", query);
	for (i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(context);

		result = lappend(result, cstring_to_text(name));
		MemoryContextSwitchTo(old);
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	return result;
}

/*
 * sn_holders: the processes and prepared transactions that hold one of these
 * tables, as texts; not this process.
 */
List *
sn_holders(List *relids)
{
	return query_texts("select distinct case when l.pid is null"
					   " then pg_catalog.format('prepared transaction \"%s\" (lock)', p.gid)"
					   " else pg_catalog.format('process %s (lock)', l.pid) end"
					   " from pg_catalog.pg_locks l"
					   " left join lateral (select q.gid from pg_catalog.pg_locks x"
					   " join pg_catalog.pg_prepared_xacts q"
					   " on q.transaction operator(pg_catalog.=) x.transactionid"
					   " where l.pid is null and x.pid is null"
					   " and x.virtualtransaction operator(pg_catalog.=) l.virtualtransaction"
					   " limit 1) p on true"
					   " where l.granted and l.locktype operator(pg_catalog.=) 'relation'"
					   " and l.database operator(pg_catalog.=)"
					   " (select d.oid from pg_catalog.pg_database d where d.datname"
					   " operator(pg_catalog.=) pg_catalog.current_database())"
					   " and l.relation operator(pg_catalog.=) any ($1)"
					   " and l.pid is distinct from pg_catalog.pg_backend_pid()"
					   " order by 1", relids);
}

/*
 * sn_dependents: the objects that depend on one of these tables or on its row
 * type, as texts; not what goes with it.
 */
List *
sn_dependents(List *relids)
{
	return query_texts("select distinct pg_catalog.pg_describe_object(coalesce(r.classid, d.classid),"
					   " coalesce(r.refobjid, d.objid), 0)"
					   " from pg_catalog.pg_class c"
					   " join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) c.reltype"
					   " join pg_catalog.pg_depend d on d.deptype operator(pg_catalog.=) 'n'"
					   " and (d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
					   " and d.refobjid operator(pg_catalog.=) c.oid"
					   " or d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass"
					   " and (d.refobjid operator(pg_catalog.=) t.oid"
					   " or d.refobjid operator(pg_catalog.=) t.typarray))"
					   " left join lateral (select x.refclassid as classid, x.refobjid"
					   " from pg_catalog.pg_depend x"
					   " where d.classid operator(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
					   " and x.classid operator(pg_catalog.=) d.classid"
					   " and x.objid operator(pg_catalog.=) d.objid"
					   " and x.deptype operator(pg_catalog.=) 'i') r on true"
					   " where c.oid operator(pg_catalog.=) any ($1)"
					   " and not (d.classid operator(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass"
					   " and exists (select from pg_catalog.pg_policy y where y.oid operator(pg_catalog.=) d.objid"
					   " and y.polrelid operator(pg_catalog.=) any ($1)))"
					   " order by 1", relids);
}
