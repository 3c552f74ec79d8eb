/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_set.c
 *		set_redaction() and drop_redaction().
 *
 * Both hold the lock of rules (lock.c) until the transaction ends.  Publishers
 * take no notice: they go on with what they know until their next transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/args.h"
#include "base/json_size.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "redact/redact.h"
#include "redact/redact_row.h"
#include "redact/redact_secret.h"
#include "registry/event_type.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

#define RULES_MAX		64		/* of a tenant for one type, or for all */
#define KEEP_DEFAULT	4

PG_FUNCTION_INFO_V1(sentinai_set_redaction);
PG_FUNCTION_INFO_V1(sentinai_drop_redaction);
PG_FUNCTION_INFO_V1(sentinai_redaction_changed);

/* Which rule is meant */
typedef struct Meant
{
	text	   *tenant;
	text	   *event_type;
	text	   *path;			/* in the one form */
	SnPath		parsed;
} Meant;

static void pg_attribute_noreturn()
refuse_rule(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_SN_INVALID), errmsg("%s", what)));
	pg_unreachable();
}

/* whose_arg: a tenant whose rules the caller may set, or all */
static text *
whose_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *tenant = sn_tenant_or_every_arg(fcinfo, n, "tenant");

	sn_require(SN_RIGHT_ADMIN, sn_whose(tenant), "set the redaction of");
	return tenant;
}

/* events_arg: a type that others than the extension publish, or all */
static text *
events_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *type = sn_text_arg(fcinfo, n, "event_type", SN_TYPE_NAME_MAX);

	if (sn_text_is(type, SN_EVERY))
		return type;
	if (!sn_is_type_name(type))
		refuse_rule("event_type " SN_TYPE_NAME_RULE);
	if (sn_type_is_own(type))
		refuse_rule("event_type must not be one of the extension's own");
	return type;
}

/* meant_args: the first three arguments of both functions */
static void
meant_args(FunctionCallInfo fcinfo, Meant *meant)
{
	char		room[SN_PATH_TEXT_MAX];
	text	   *path;
	const char *why;

	meant->tenant = whose_arg(fcinfo, 0);
	meant->event_type = events_arg(fcinfo, 1);
	path = sn_text_arg(fcinfo, 2, "path", SN_PATH_MAX);
	if (!sn_path_parse(VARDATA_ANY(path), VARSIZE_ANY_EXHDR(path),
					   &meant->parsed, &why))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("path %s", why),
				 errhint("Write it as in '$.customer.cards[*].number', '$..iban' or '$metadata.user'.")));
	meant->path = cstring_to_text_with_len(room,
										   (int) sn_path_format(&meant->parsed,
																room));
}

/* method_arg: what is to be done */
static SnMethod
method_arg(FunctionCallInfo fcinfo, int n)
{
	SnMethod	method = sn_method_of(sn_text_arg(fcinfo, n, "method", 16));

	if (method == SN_METHOD_NONE)
		refuse_rule("method must be \"remove\", \"mask\", \"hash\", \"replace\" or \"secrets\"");
	return method;
}

/* keep_arg: characters at the end that a mask leaves */
static void
keep_arg(FunctionCallInfo fcinfo, int n, SnMethod method, Datum *values,
		 bool *nulls)
{
	int32		keep = KEEP_DEFAULT;

	if (!PG_ARGISNULL(n))
		keep = PG_GETARG_INT32(n);
	if (!PG_ARGISNULL(n) && method != SN_METHOD_MASK)
		refuse_rule("keep is for method \"mask\"");
	if (keep < 0 || keep > SN_REDACT_KEEP_MAX)
		refuse_rule("keep must be 0 to 64");
	values[Anum_redaction_keep - 1] = Int32GetDatum(keep);
	nulls[Anum_redaction_keep - 1] = method != SN_METHOD_MASK;
}

/* check_replacement: a constant that can stand where the path leads */
static void
check_replacement(const SnPath *path, Jsonb *with)
{
	JsonbValue	value;

	if (VARSIZE(with) > SN_REPLACEMENT_MAX ||
		sn_json_fit(with, SN_REPLACEMENT_MAX) != SN_JSON_FITS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("replacement must not be larger than %d bytes",
						SN_REPLACEMENT_MAX)));
	if (path->nsteps > 0)
		return;
	if (path->root == SN_ROOT_ERROR)
	{
		sn_json_root(with, &value);
		if (value.type != jbvString)
			refuse_rule("replacement of \"$error\" must be a JSON string");
	}
	else if (!JB_ROOT_IS_OBJECT(with))
		refuse_rule("replacement of \"$\" or \"$metadata\" must be a JSON object");
	else if (path->root == SN_ROOT_METADATA &&
			 getKeyJsonValueFromContainer(&with->root, SN_OUTBOX_ID,
										  strlen(SN_OUTBOX_ID), &value) != NULL)
		refuse_rule("replacement of \"$metadata\" must not have a member \"outbox_id\"");
}

/* replacement_arg: what stands in place of a value */
static void
replacement_arg(FunctionCallInfo fcinfo, int n, SnMethod method,
				const SnPath *path, Datum *values, bool *nulls)
{
	Datum		with = PG_GETARG_DATUM(n);

	nulls[Anum_redaction_replacement - 1] = method != SN_METHOD_REPLACE;
	if (method != SN_METHOD_REPLACE)
	{
		if (!PG_ARGISNULL(n))
			refuse_rule("replacement is for method \"replace\"");
		return;
	}
	if (PG_ARGISNULL(n))
		with = DirectFunctionCall1(jsonb_in,
								   CStringGetDatum("\"" SN_REDACT_TEXT "\""));
	check_replacement(path, DatumGetJsonbP(with));
	values[Anum_redaction_replacement - 1] = with;
}

/* kinds_array: kinds of secrets, each once and in their order */
static Datum
kinds_array(unsigned int kinds)
{
	Datum		names[SN_SECRET_KINDS];
	int			n = 0;
	int			i;

	for (i = 0; i < SN_SECRET_KINDS; i++)
		if ((kinds & 1u << i) != 0)
			names[n++] = CStringGetTextDatum(sn_secret_kinds[i]);
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* patterns_arg: which secrets are looked for; null for all */
static void
patterns_arg(FunctionCallInfo fcinfo, int n, SnMethod method, Datum *values,
			 bool *nulls)
{
	unsigned int kinds = SN_SECRET_ALL;

	if (!PG_ARGISNULL(n))
	{
		if (method != SN_METHOD_SECRETS)
			refuse_rule("patterns are for method \"secrets\"");
		kinds = sn_kinds_of(PG_GETARG_ARRAYTYPE_P(n));
	}
	if (kinds == 0)
		refuse_rule("patterns must be of \"bearer_token\", \"private_key\" and \"card_number\"");
	nulls[Anum_redaction_patterns - 1] = method != SN_METHOD_SECRETS;
	values[Anum_redaction_patterns - 1] = kinds_array(kinds);
}

/* shown: a column of a rule for the action log; NULL when it is null */
static char *
shown(const Datum *values, const bool *nulls, AttrNumber column, Oid type)
{
	Oid			output;
	bool		is_varlena;

	if (nulls[column - 1])
		return NULL;
	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, values[column - 1]);
}

/* describe_rule: a rule for the action log */
static Jsonb *
describe_rule(const Datum *values, const bool *nulls)
{
	return sn_action_json("event_type",
						  shown(values, nulls, Anum_redaction_event_type, TEXTOID),
						  "path",
						  shown(values, nulls, Anum_redaction_path, TEXTOID),
						  "method",
						  shown(values, nulls, Anum_redaction_method, TEXTOID),
						  "keep",
						  shown(values, nulls, Anum_redaction_keep, INT4OID),
						  "replacement",
						  shown(values, nulls, Anum_redaction_replacement, JSONBOID),
						  "patterns",
						  shown(values, nulls, Anum_redaction_patterns, TEXTARRAYOID),
						  NULL);
}

/* What is there of a rule */
typedef struct Found
{
	bool		found;
	ItemPointerData tid;
	Jsonb	   *before;			/* for the action log */
	int			n;				/* rules that the tenant has for the type */
} Found;

/* find_rule: where a rule stands */
static void
find_rule(const Meant *meant, Found *found)
{
	SnRuleScan	scan;

	memset(found, 0, sizeof(Found));
	sn_rule_scan_begin(&scan, meant->tenant);
	while (sn_rule_scan_next(&scan))
	{
		if (!sn_text_equal(scan.event_type, meant->event_type))
			continue;
		found->n++;
		if (!sn_text_equal(DatumGetTextPP(scan.values[Anum_redaction_path - 1]),
						   meant->path))
			continue;
		found->found = true;
		found->tid = sn_scan_place(&scan.scan);
		found->before = describe_rule(scan.values, scan.nulls);
	}
	sn_rule_scan_end(&scan);
}

/* tell_change: the other sessions, and the action log */
static void
tell_change(const char *name, const Meant *meant, Jsonb *before, Jsonb *after)
{
	SnAction	action = {.action = name,.tenant_id = meant->tenant,
		.object = text_to_cstring(meant->path),.before = before,.after = after};

	sn_redactions_changed();
	sn_action_record(&action);
}

/* put_rule: write a rule, in place of another one for the same path */
static void
put_rule(const Meant *meant, Datum *values, bool *nulls)
{
	Jsonb	   *after = describe_rule(values, nulls);
	Found		found;

	sn_lock_redactions();
	find_rule(meant, &found);
	if (found.found &&
		compareJsonbContainers(&found.before->root, &after->root) == 0)
		return;
	if (found.found)
		sn_delete_one(SN_REDACTION, &found.tid);
	else if (found.n >= RULES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("a tenant must not have more than %d redaction rules for one event type",
						RULES_MAX),
				 errhint("A path can be the way to many values: $..name, $.name.* or $.name[*].")));
	CommandCounterIncrement();
	sn_insert_one(SN_REDACTION, values, nulls);
	tell_change("set_redaction", meant, found.before, after);
}

/*
 * set_redaction(tenant text, event_type text, path text, method text, keep int,
 *		replacement jsonb, patterns text[]) returns void
 */
Datum
sentinai_set_redaction(PG_FUNCTION_ARGS)
{
	Datum		values[Natts_redaction];
	bool		nulls[Natts_redaction] = {false};
	Meant		meant;
	SnMethod	method;

	PreventCommandIfReadOnly("set_redaction()");
	meant_args(fcinfo, &meant);
	method = method_arg(fcinfo, 3);
	keep_arg(fcinfo, 4, method, values, nulls);
	replacement_arg(fcinfo, 5, method, &meant.parsed, values, nulls);
	patterns_arg(fcinfo, 6, method, values, nulls);
	values[Anum_redaction_tenant_id - 1] = PointerGetDatum(meant.tenant);
	values[Anum_redaction_event_type - 1] = PointerGetDatum(meant.event_type);
	values[Anum_redaction_path - 1] = PointerGetDatum(meant.path);
	values[Anum_redaction_method - 1] =
		CStringGetTextDatum(sn_redact_methods[method]);
	values[Anum_redaction_changed_at - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[Anum_redaction_changed_by - 1] =
		PointerGetDatum(sn_session_role());
	put_rule(&meant, values, nulls);
	PG_RETURN_VOID();
}

/* drop_redaction(tenant text, event_type text, path text) returns void */
Datum
sentinai_drop_redaction(PG_FUNCTION_ARGS)
{
	Meant		meant;
	Found		found;

	PreventCommandIfReadOnly("drop_redaction()");
	meant_args(fcinfo, &meant);
	sn_lock_redactions();
	find_rule(&meant, &found);
	if (!found.found)
		ereport(ERROR,
				(errcode(ERRCODE_SN_NOT_FOUND),
				 errmsg("there is no redaction rule for this tenant, event type and path"),
				 errhint("The view redactions shows the rules.")));
	sn_delete_one(SN_REDACTION, &found.tid);
	tell_change("drop_redaction", &meant, found.before, NULL);
	PG_RETURN_VOID();
}

/*
 * redaction_changed(): trigger of table redaction, for what SQL changes there,
 * as a restored dump does
 */
Datum
sentinai_redaction_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "redaction_changed");
	sn_redactions_changed();
	PG_RETURN_POINTER(NULL);
}
