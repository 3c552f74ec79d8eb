/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * vanished.c
 *		Grants of roles that were dropped go away: a step of maintenance.
 *
 * DROP ROLE knows nothing of our rows, and need not: they name a role by number,
 * so one of the same name has nothing of them.  But numbers come again, after
 * four billion others, and rows that say nothing are in people's way.
 *
 * A subscription that was granted to somebody is for nobody else.  When the last
 * of those roles goes, it must not be everybody's at once.  So its row stays, with
 * no role in it, until somebody else is granted the subscription.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

#define ROWS_AT_ONCE 1000		/* in a transaction, for their rows of the action log */

/* A table with roles, and what took such a row back */
typedef struct RoleTable
{
	SnRel		table;
	AttrNumber	role;
	const char *action;
} RoleTable;

static const RoleTable role_tables[] = {
	{SN_TENANT_GRANT, Anum_grant_role, "revoke_tenant"},
	{SN_WORK_GRANT, Anum_work_role, "revoke_work"},
	{SN_PROOF_ROLE, Anum_proof_role, "require_proof"},
};

/* has_vanished: whether a role is there no more */
static bool
has_vanished(Oid role)
{
	return OidIsValid(role) &&
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

/* any_tenant_grant: whether a role with grants for tenants is there no more */
static bool
any_tenant_grant(void)
{
	SnGrantRoles roles;
	bool		found = false;

	sn_grant_roles_begin(&roles);
	while (!found && sn_grant_roles_next(&roles))
		found = has_vanished(roles.role);
	sn_grant_roles_end(&roles);
	return found;
}

/* any_row: whether a row of a small table has such a role */
static bool
any_row(const RoleTable *table)
{
	SnTableScan *scan = sn_table_read(table->table, NULL);
	TupleTableSlot *slot;
	bool		found = false;

	while (!found && (slot = sn_table_next(scan)) != NULL)
		found = has_vanished(DatumGetObjectId(slot->tts_values[table->role - 1]));
	sn_table_end(scan);
	return found;
}

/* record_loss: that a row has gone */
static void
record_loss(const RoleTable *table, Oid role, const Datum *values)
{
	char	   *object = psprintf("%u", role);
	SnAction	action = {.action = table->action,.object = object,
		.actor = cstring_to_text("maintenance"),
	.reason = cstring_to_text("the role was dropped")};
	text	   *name;

	switch (table->table)
	{
		case SN_TENANT_GRANT:
			action.tenant_id =
				DatumGetTextPP(values[Anum_grant_tenant_id - 1]);
			action.before = sn_action_json("role", object, "tenant",
										   text_to_cstring(action.tenant_id),
										   "right",
										   TextDatumGetCString(values[Anum_grant_right_name - 1]),
										   NULL);
			break;
		case SN_WORK_GRANT:
			name = DatumGetTextPP(values[Anum_work_worker_type - 1]);
			action.tenant_id = cstring_to_text(SN_EVERY);
			action.worker_type = sn_whose(name);
			action.before = sn_action_json("role", object, "worker_type",
										   text_to_cstring(name), NULL);
			break;
		default:
			action.before = sn_action_json("role", object, NULL);
			break;
	}
	sn_action_record(&action);
}

/* is_closed: whether a subscription is for nobody, or for a role that is there */
static bool
is_closed(Datum worker_type)
{
	Snapshot	snapshot = sn_snapshot_now();
	ScanKeyData key;
	SnScan		scan;
	bool		closed = false;

	sn_key_text(&key, 1, BTEqualStrategyNumber, worker_type);
	sn_scan_named(&scan, SN_WORK_GRANT, SN_WORK_GRANT_PKEY, snapshot, 1, &key,
				  ForwardScanDirection);
	while (!closed && sn_scan_next(&scan))
	{
		bool		isnull;

		closed = !has_vanished(DatumGetObjectId(slot_getattr(scan.slot,
															 Anum_work_role,
															 &isnull)));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return closed;
}

/* take_back_rows: of roles that are there no more, so many at most; how many */
static int
take_back_rows(const RoleTable *table, int most)
{
	SnTableScan *scan = sn_table_change(table->table, NULL, 0, NULL);
	TupleTableSlot *slot;
	int			n = 0;

	while (n < most && (slot = sn_table_next(scan)) != NULL)
	{
		Oid			role = DatumGetObjectId(slot->tts_values[table->role - 1]);

		if (!has_vanished(role))
			continue;
		if (table->table == SN_WORK_GRANT &&
			!is_closed(slot->tts_values[Anum_work_worker_type - 1]))
		{
			Datum		values[Natts_work];
			bool		nulls[Natts_work] = {false};

			memcpy(values, slot->tts_values, sizeof(values));
			values[Anum_work_role - 1] = ObjectIdGetDatum(InvalidOid);
			sn_insert_one(SN_WORK_GRANT, values, nulls);
			CommandCounterIncrement();
		}
		record_loss(table, role, slot->tts_values);
		sn_table_delete(scan);
		n++;
	}
	sn_table_end(scan);
	return n;
}

/* sn_vanished_roles_step: take back what roles had that were dropped */
bool
sn_vanished_roles_step(void)
{
	int			n = 0;
	int			i;

	if (!sn_present(SN_WORK_GRANT) ||
		(!any_tenant_grant() && !any_row(&role_tables[1]) &&
		 !any_row(&role_tables[2])) || !sn_lock_grants(false))
		return false;
	for (i = 0; i < lengthof(role_tables); i++)
		n += take_back_rows(&role_tables[i], ROWS_AT_ONCE - n);
	if (n > 0)
		sn_grants_changed();
	return n >= ROWS_AT_ONCE;
}
