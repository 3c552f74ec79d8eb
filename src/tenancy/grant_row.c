/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * grant_row.c
 *		Rows of tenant_grant, work_grant and proof_role.
 *
 * They name roles by number, as PostgreSQL's own grants do: a role that is
 * renamed keeps what it has, and one that is dropped and made anew gets
 * nothing.  They are read under the latest snapshot.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "tenancy/grant_row.h"
#include "tenancy/right.h"

/* the rights by their bits */
static const char *const right_names[SN_RIGHTS] = {
	"publish", "work", "read", "operate", "audit", "admin"
};

/* sn_right_of: the bit of a right; 0: there is none of that name */
int
sn_right_of(const text *name)
{
	int			i;

	for (i = 0; i < SN_RIGHTS; i++)
		if (sn_text_is(name, right_names[i]))
			return 1 << i;
	return 0;
}

/* sn_unknown_right: the error for a name that is none of a right */
void
sn_unknown_right(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("right must be \"publish\", \"work\", \"read\", \"operate\", \"audit\" or \"admin\"")));
	pg_unreachable();
}

/* sn_tables_owner: who owns the extension's tables */
Oid
sn_tables_owner(void)
{
	Oid			relid = sn_rel(SN_SUBSCRIPTION);
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = BOOTSTRAP_SUPERUSERID;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/* sn_key_role: equality of a column that has roles */
void
sn_key_role(ScanKey key, AttrNumber column, Oid role)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(role));
}

/* sn_grant_roles_begin: walk over the roles that have grants for tenants */
void
sn_grant_roles_begin(SnGrantRoles *roles)
{
	roles->snapshot = sn_snapshot_now();
	roles->role = InvalidOid;
}

/* sn_grant_roles_next: the next of them, found by one descent */
bool
sn_grant_roles_next(SnGrantRoles *roles)
{
	ScanKeyData key;
	SnScan		scan;
	bool		found;

	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_OIDGT,
				ObjectIdGetDatum(roles->role));
	sn_scan_named(&scan, SN_TENANT_GRANT, SN_TENANT_GRANT_PKEY,
				  roles->snapshot, 1, &key, ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
	{
		bool		isnull;

		roles->role = DatumGetObjectId(slot_getattr(scan.slot,
													Anum_grant_role, &isnull));
	}
	sn_scan_end(&scan);
	return found;
}

void
sn_grant_roles_end(SnGrantRoles *roles)
{
	UnregisterSnapshot(roles->snapshot);
}

/* sn_tenant_rights: what a role was granted for a tenant, or for all for NULL */
int
sn_tenant_rights(Oid role, const text *tenant_id)
{
	Snapshot	snapshot = sn_snapshot_now();
	ScanKeyData keys[2];
	SnScan		scan;
	int			rights = 0;

	if (tenant_id == NULL)
		tenant_id = cstring_to_text(SN_EVERY);
	sn_key_role(&keys[0], 1, role);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				PointerGetDatum(tenant_id));
	sn_scan_named(&scan, SN_TENANT_GRANT, SN_TENANT_GRANT_PKEY, snapshot,
				  lengthof(keys), keys, ForwardScanDirection);
	while (sn_scan_next(&scan))
	{
		bool		isnull;

		rights |= sn_right_of(DatumGetTextPP(slot_getattr(scan.slot,
														  Anum_grant_right_name,
														  &isnull)));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return rights;
}

/*
 * sn_granted_tenants: the tenants that a role was granted one of the rights for, each
 * once, but not more than so many
 */
List *
sn_granted_tenants(Oid role, int rights, int max)
{
	Snapshot	snapshot = sn_snapshot_now();
	List	   *tenants = NIL;
	ScanKeyData key;
	SnScan		scan;

	sn_key_role(&key, 1, role);
	sn_scan_named(&scan, SN_TENANT_GRANT, SN_TENANT_GRANT_PKEY, snapshot, 1,
				  &key, ForwardScanDirection);
	while (list_length(tenants) < max && sn_scan_next(&scan))
	{
		bool		isnull;
		text	   *tenant_id =
			DatumGetTextPP(slot_getattr(scan.slot, Anum_grant_tenant_id,
										&isnull));
		Datum		right = slot_getattr(scan.slot, Anum_grant_right_name,
										 &isnull);

		if ((sn_right_of(DatumGetTextPP(right)) & rights) != 0 &&
			(tenants == NIL || !sn_text_equal(llast(tenants), tenant_id)))
			tenants = lappend(tenants, sn_text_copy(tenant_id));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return tenants;
}

/* has_work_grant: whether a role may claim from subscriptions of this name in the table */
static bool
has_work_grant(Oid role, const text *worker_type, Snapshot snapshot, bool *any)
{
	ScanKeyData key;
	SnScan		scan;
	bool		granted = false;

	*any = false;
	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(worker_type));
	sn_scan_named(&scan, SN_WORK_GRANT, SN_WORK_GRANT_PKEY, snapshot, 1, &key,
				  ForwardScanDirection);
	while (!granted && sn_scan_next(&scan))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		*any = true;
		granted = has_privs_of_role(role,
									DatumGetObjectId(slot_getattr(scan.slot,
																  Anum_work_role,
																  &isnull)));
	}
	sn_scan_end(&scan);
	return granted;
}

/* sn_work_rights: what work_grant says of a role and a subscription */
int
sn_work_rights(Oid role, const text *worker_type)
{
	Snapshot	snapshot = sn_snapshot_now();
	int			rights = 0;
	bool		any;
	bool		any_of_all;

	if (has_work_grant(role, worker_type, snapshot, &any) ||
		has_work_grant(role, cstring_to_text(SN_EVERY), snapshot, &any_of_all))
		rights = SN_WORK_GRANTED;
	else if (!any)
		rights = SN_WORK_FREE;
	UnregisterSnapshot(snapshot);
	return rights;
}

/* has_row: whether there is anything in a table */
static bool
has_row(SnRel table)
{
	SnTableScan *scan = sn_table_read(table, NULL);
	bool		any = sn_table_next(scan) != NULL;

	sn_table_end(scan);
	return any;
}

/* sn_any_work_grant: whether somebody was granted a subscription */
bool
sn_any_work_grant(void)
{
	return has_row(SN_WORK_GRANT);
}

/*
 * sn_needs_proof: whether a role, or one that it is a member of, was marked.
 * Membership counts and not inheritance.
 */
bool
sn_needs_proof(Oid role)
{
	SnTableScan *scan = sn_table_read(SN_PROOF_ROLE, NULL);
	TupleTableSlot *slot;
	bool		needed = false;

	while (!needed && (slot = sn_table_next(scan)) != NULL)
	{
		bool		isnull;

		needed = is_member_of_role_nosuper(role,
										   DatumGetObjectId(slot_getattr(slot,
																		 Anum_proof_role,
																		 &isnull)));
	}
	sn_table_end(scan);
	return needed;
}

/* sn_any_needs_proof: whether some role was marked */
bool
sn_any_needs_proof(void)
{
	return has_row(SN_PROOF_ROLE);
}

/* sn_grant_find: where the row is that has these keys */
bool
sn_grant_find(SnRel table, SnRel index, int nkeys, ScanKey keys,
			  ItemPointer tid)
{
	Snapshot	snapshot = sn_snapshot_now();
	SnScan		scan;
	bool		found;

	sn_scan_named(&scan, table, index, snapshot, nkeys, keys,
				  ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
		*tid = sn_scan_place(&scan);
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return found;
}
