/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * grant.c
 *		grant_tenant(), grant_work() and what takes them back.
 *
 * All of them hold the lock of grants (lock.c) until the transaction ends, and
 * want the caller to be one who may everything: the right to execute them is
 * not enough to give oneself more.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

PG_FUNCTION_INFO_V1(sentinai_grant_tenant);
PG_FUNCTION_INFO_V1(sentinai_revoke_tenant);
PG_FUNCTION_INFO_V1(sentinai_grant_work);
PG_FUNCTION_INFO_V1(sentinai_revoke_work);
PG_FUNCTION_INFO_V1(sentinai_require_proof);
PG_FUNCTION_INFO_V1(sentinai_grants_changed);

/* A row of one of the tables, and where it is */
typedef struct Grant
{
	const char *action;
	SnRel		table;
	SnRel		index;
	int			nkeys;
	ScanKeyData keys[3];
	ItemPointerData tid;
	const char *role;
	const text *tenant_id;		/* NULL: none of its own */
	const text *worker_type;	/* NULL: none, or every one */
	const char *object;
	Jsonb	   *json;
} Grant;

/* role_arg: a role that is there */
static Oid
role_arg(FunctionCallInfo fcinfo, int n, const char **name)
{
	SN_REQUIRE_ARG(n, "role");
	*name = pstrdup(NameStr(*PG_GETARG_NAME(n)));
	return get_role_oid(*name, false);
}

/* right_arg: the name of a right, such as can be granted for the tenant */
static text *
right_arg(FunctionCallInfo fcinfo, int n, const text *tenant_id)
{
	text	   *name = sn_text_arg(fcinfo, n, "right", NAMEDATALEN);
	int			right = sn_right_of(name);

	if (right == 0)
		sn_unknown_right();
	if (right == SN_RIGHT_ADMIN && sn_whose(tenant_id) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("right \"admin\" can only be granted for the tenant \"*\"")));
	return name;
}

/* tenant_grant: what the arguments of grant_tenant() name */
static void
tenant_grant(FunctionCallInfo fcinfo, const char *action, Grant *grant)
{
	Oid			role = role_arg(fcinfo, 0, &grant->role);
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 1, "tenant");
	text	   *right = right_arg(fcinfo, 2, tenant_id);

	grant->action = action;
	grant->table = SN_TENANT_GRANT;
	grant->index = SN_TENANT_GRANT_PKEY;
	grant->nkeys = 3;
	sn_key_role(&grant->keys[0], Anum_grant_role, role);
	sn_key_text(&grant->keys[1], Anum_grant_tenant_id, BTEqualStrategyNumber,
				PointerGetDatum(tenant_id));
	sn_key_text(&grant->keys[2], Anum_grant_right_name, BTEqualStrategyNumber,
				PointerGetDatum(right));
	grant->tenant_id = tenant_id;
	grant->worker_type = NULL;
	grant->object = grant->role;
	grant->json = sn_action_json("role", grant->role,
								 "tenant", text_to_cstring(tenant_id),
								 "right", text_to_cstring(right), NULL);
}

/* work_grant: what the arguments of grant_work() name */
static void
work_grant(FunctionCallInfo fcinfo, const char *action, Grant *grant)
{
	Oid			role = role_arg(fcinfo, 0, &grant->role);
	text	   *worker_type;

	SN_REQUIRE_ARG(1, "worker_type");
	worker_type = PG_GETARG_TEXT_PP(1);
	if (!sn_text_is(worker_type, SN_EVERY))
		(void) sn_check_worker_type(worker_type);
	grant->action = action;
	grant->table = SN_WORK_GRANT;
	grant->index = SN_WORK_GRANT_PKEY;
	grant->nkeys = 2;
	sn_key_text(&grant->keys[0], Anum_work_worker_type, BTEqualStrategyNumber,
				PointerGetDatum(worker_type));
	sn_key_role(&grant->keys[1], Anum_work_role, role);
	grant->tenant_id = cstring_to_text(SN_EVERY);
	grant->worker_type = sn_whose(worker_type);
	grant->object = grant->role;
	grant->json = sn_action_json("role", grant->role, "worker_type",
								 text_to_cstring(worker_type), NULL);
}

/* proof_mark: what the arguments of require_proof() name */
static void
proof_mark(FunctionCallInfo fcinfo, Grant *grant)
{
	Oid			role = role_arg(fcinfo, 0, &grant->role);

	SN_REQUIRE_ARG(1, "required");
	grant->action = "require_proof";
	grant->table = SN_PROOF_ROLE;
	grant->index = SN_PROOF_ROLE_PKEY;
	grant->nkeys = 1;
	sn_key_role(&grant->keys[0], Anum_proof_role, role);
	grant->tenant_id = NULL;
	grant->worker_type = NULL;
	grant->object = grant->role;
	grant->json = sn_action_json("role", grant->role, NULL);
}

/* begin_grant: the caller may do it, and nobody else does now; whether the row is there */
static bool
begin_grant(Grant *grant)
{
	char	   *function = psprintf("%s()", grant->action);

	PreventCommandIfReadOnly(function);
	sn_require_admin(psprintf("call %s", function));
	(void) sn_lock_grants(true);
	return sn_grant_find(grant->table, grant->index, grant->nkeys,
						 grant->keys, &grant->tid);
}

/* finish_grant: tell the other sessions and the action log */
static void
finish_grant(const Grant *grant, bool adds)
{
	SnAction	action = {.action = grant->action,.tenant_id = grant->tenant_id,
		.worker_type = grant->worker_type,.object = grant->object,
		.before = adds ? NULL : grant->json,
	.after = adds ? grant->json : NULL};

	sn_grants_changed();
	sn_action_record(&action);
}

/* add: the row, unless it is there; its columns are its keys, when and who */
static Datum
add(Grant *grant)
{
	Datum		values[Natts_grant];
	bool		nulls[Natts_grant] = {false};
	int			i;

	if (begin_grant(grant))
		return BoolGetDatum(false);
	for (i = 0; i < grant->nkeys; i++)
		values[i] = grant->keys[i].sk_argument;
	values[i++] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[i] = PointerGetDatum(sn_session_role());
	sn_insert_one(grant->table, values, nulls);
	finish_grant(grant, true);
	return BoolGetDatum(true);
}

/* take_back: the row, if it is there */
static Datum
take_back(Grant *grant)
{
	if (!begin_grant(grant))
		return BoolGetDatum(false);
	sn_delete_one(grant->table, &grant->tid);
	finish_grant(grant, false);
	return BoolGetDatum(true);
}

/* grant_tenant(role name, tenant text, right text) returns boolean */
Datum
sentinai_grant_tenant(PG_FUNCTION_ARGS)
{
	Grant		grant;

	tenant_grant(fcinfo, "grant_tenant", &grant);
	return add(&grant);
}

/* revoke_tenant(role name, tenant text, right text) returns boolean */
Datum
sentinai_revoke_tenant(PG_FUNCTION_ARGS)
{
	Grant		grant;

	tenant_grant(fcinfo, "revoke_tenant", &grant);
	return take_back(&grant);
}

/* take_nobody: what keeps a subscription of dropped roles from everybody goes */
static void
take_nobody(const Grant *grant)
{
	ScanKeyData keys[2];
	ItemPointerData tid;

	keys[0] = grant->keys[0];
	sn_key_role(&keys[1], Anum_work_role, InvalidOid);
	if (sn_grant_find(SN_WORK_GRANT, SN_WORK_GRANT_PKEY, lengthof(keys), keys,
					  &tid))
		sn_delete_one(SN_WORK_GRANT, &tid);
}

/* grant_work(role name, worker_type text) returns boolean */
Datum
sentinai_grant_work(PG_FUNCTION_ARGS)
{
	Grant		grant;
	Datum		added;

	work_grant(fcinfo, "grant_work", &grant);
	added = add(&grant);
	take_nobody(&grant);
	return added;
}

/* revoke_work(role name, worker_type text) returns boolean */
Datum
sentinai_revoke_work(PG_FUNCTION_ARGS)
{
	Grant		grant;

	work_grant(fcinfo, "revoke_work", &grant);
	return take_back(&grant);
}

/* require_proof(role name, required boolean) returns boolean */
Datum
sentinai_require_proof(PG_FUNCTION_ARGS)
{
	Grant		grant;

	proof_mark(fcinfo, &grant);
	return PG_GETARG_BOOL(1) ? add(&grant) : take_back(&grant);
}

/*
 * grants_changed(): trigger of the tables of grants, for what SQL changes
 * there, as a restored dump does
 */
Datum
sentinai_grants_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "grants_changed");
	sn_grants_changed();
	PG_RETURN_POINTER(NULL);
}
