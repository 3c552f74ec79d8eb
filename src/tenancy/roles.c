/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * roles.c
 *		create_roles(): roles with exactly the functions that each needs.
 *
 * What a role may execute is said here once.  Whose events it may do that with
 * is another question: grants for tenants answer it.
 *
 * Roles and memberships are made with the caller's rights: they are of all
 * databases.  What is granted here belongs to the extension.  Its owner grants
 * it for a caller who may everything and does not own it; the server would warn
 * him, and grant nothing.  Such a statement has names of the catalog, and runs
 * nothing else; the search path is ours.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/sentinai.h"
#include "base/set_here.h"
#include "store/owner.h"
#include "store/statement.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_create_roles);

#define ADMIN "sentinai_admin"

/* A role; lists are of names with blanks between */
typedef struct Role
{
	const char *name;
	const char *functions;
	const char *readable;		/* views */
	bool		publishes;		/* inserts into outbox */
	bool		watches;		/* the statistics */
} Role;

static const Role roles[] = {
	{"sentinai_publisher",
		"publish publish_batch publish_events work_on"
		" redacted_payload redacted_error"
		" set_deadline meet_deadline cancel_deadline",
	NULL, true, false},
	{"sentinai_agent",
		"publish publish_batch publish_events work_on"
		" claim complete fail extend release wait_for_work"
		" is_already_processed mark_as_processing mark_as_completed"
		" mark_as_failed mark_as_settled redacted_payload redacted_error"
		" consume_limit set_deadline meet_deadline cancel_deadline",
	NULL, true, false},
	{"sentinai_reader",
		"get_events_by_aggregate get_events_by_exception"
		" get_events_by_tenant get_trace trace_tree json_schema"
		" describe_event_type",
	"event_log event_processing event_types outbox deadlines", false, false},
	{"sentinai_operator",
		"subscribe alter_subscription unsubscribe set_retry_policy"
		" revoke_lease retry_event give_up_event"
		" retry_dead_letter discard_dead_letter mark_as_settled"
		" purge_dead_letters"
		" dead_letters get_dead_letter dead_letter_stats retry_dead_letters"
		" discard_dead_letters edit_and_retry set_alert drop_alert"
		" set_limit drop_limit set_weight drop_weight set_backlog_limit drop_backlog_limit limit_buckets"
		" pause_relay resume_relay relay_is_paused maintain make_partitions"
		" index_partitions"
		" partitions_until retention_status"
		" register_event_type deprecate_event_type drop_event_type_version"
		" set_deadline meet_deadline cancel_deadline sla_scan set_sla_threshold"
		" enable_cron disable_cron cron_status"
		" json_schema describe_event_type asyncapi get_trace trace_tree",
	"dead_letter event_types limits limit_usage weights backlog_limits alerts"
	" deadlines sla_thresholds",
		false, true},
	{"sentinai_auditor",
		"verify_audit audit_proof audit_trail",
	"actions tenant_grants work_grants audit_roots redactions", false, false},
	{"sentinai_relay",
		"relay_open relay_call relay_wait",
	NULL, false, false},
	{ADMIN,
		"create_relay alter_relay drop_relay"
		" grant_tenant revoke_tenant grant_work revoke_work require_proof"
		" create_roles after_restore set_redaction drop_redaction",
	"actions tenant_grants work_grants redactions", false, true},
};

/* What is granted, and whose it is; a condition on its name follows */
#define GRANT_ROUTINES \
	"select pg_catalog.format('grant execute on routine %s to %I', p.oid::pg_catalog.regprocedure, $2), p.proowner" \
	" from pg_catalog.pg_proc p" \
	" where p.pronamespace operator(pg_catalog.=) '" SN_SCHEMA "'::pg_catalog.regnamespace" \
	" and p.proname "
#define GRANT_RELATIONS(right) \
	"select pg_catalog.format('grant " right " on %s to %I', c.oid::pg_catalog.regclass, $2), c.relowner" \
	" from pg_catalog.pg_class c" \
	" where c.relnamespace operator(pg_catalog.=) '" SN_SCHEMA "'::pg_catalog.regnamespace" \
	" and c.relkind operator(pg_catalog.=) any ('{v,f}') and c.relname "
#define IS_NAMED	"operator(pg_catalog.=) any (pg_catalog.string_to_array($1, ' '))"
#define IS_LIKE		"operator(pg_catalog.~~) $1"

/* grant_as: one statement, as the owner of what it grants unless the caller may */
static void
grant_as(Oid owner, const char *statement)
{
	SnCaller	caller;

	if (has_privs_of_role(GetUserId(), owner))
	{
		sn_execute(statement);
		return;
	}
	sn_become_role(owner, &caller);
	sn_execute(statement);
	sn_become_caller(&caller);
}

/* grant_found: the statements that a query makes of a list and the role's name */
static void
grant_found(const char *query, const char *list, const char *role)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(list),
	CStringGetTextDatum(role)};
	SPITupleTable *found;
	uint64		n;
	uint64		i;

	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", query);
	found = SPI_tuptable;
	n = SPI_processed;
	for (i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		owner = SPI_getbinval(found->vals[i], found->tupdesc, 2,
										  &isnull);

		grant_as(DatumGetObjectId(owner),
				 SPI_getvalue(found->vals[i], found->tupdesc, 1));
	}
}

/* grant_statistics: the views that pg_monitor may read, with what they call */
static void
grant_statistics(const char *role)
{
	grant_found(GRANT_RELATIONS("select") IS_LIKE, "stat\\_%", role);
	grant_found(GRANT_ROUTINES IS_LIKE, "stat\\_%", role);
	grant_found(GRANT_ROUTINES IS_NAMED,
				"partitions_until retention_status relay_is_paused", role);
}

/* make_role: a role, unless it is there; and what it gets */
static void
make_role(const Role *role)
{
	if (!OidIsValid(get_role_oid(role->name, true)))
		sn_execute(psprintf("create role %s nologin", role->name));
	grant_found("select pg_catalog.format('grant usage on schema %I to %I', n.nspname, $2), n.nspowner"
				" from pg_catalog.pg_namespace n where n.nspname " IS_NAMED,
				SN_SCHEMA, role->name);
	grant_found(GRANT_ROUTINES IS_NAMED, role->functions, role->name);
	if (role->readable != NULL)
		grant_found(GRANT_RELATIONS("select") IS_NAMED, role->readable,
					role->name);
	if (role->publishes)
		grant_found(GRANT_RELATIONS("insert") IS_NAMED, "outbox", role->name);
	if (role->watches)
		grant_statistics(role->name);
}

/* make_admin: who has what all the others have, and every tenant */
static void
make_admin(void)
{
	int			i;

	for (i = 0; i < lengthof(roles); i++)
		if (!is_member_of_role_nosuper(get_role_oid(ADMIN, false),
									   get_role_oid(roles[i].name, false)))
			sn_execute(psprintf("grant %s to " ADMIN, roles[i].name));
	if (SPI_execute("select " SN_SCHEMA ".grant_tenant('" ADMIN "', '*', 'admin')",
					false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not grant \"admin\"");
}

/* create_roles() returns void */
Datum
sentinai_create_roles(PG_FUNCTION_ARGS)
{
	SnAction	action = {.action = "create_roles"};
	int			guc_level;
	int			i;

	PreventCommandIfReadOnly("create_roles()");
	sn_require_admin("call create_roles()");
	guc_level = sn_name_safely();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	for (i = 0; i < lengthof(roles); i++)
		make_role(&roles[i]);
	make_admin();
	SPI_finish();
	AtEOXact_GUC(false, guc_level);
	sn_action_record(&action);
	PG_RETURN_VOID();
}
