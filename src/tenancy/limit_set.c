/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * limit_set.c
 *		set_limit() and drop_limit(): rows of table tenant_limit.
 *
 * Both hold the lock of limits (lock.c) until the transaction ends, and look
 * under a snapshot that was taken with it.  Those who are limited take no lock
 * and learn of the change when it is committed (limit.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "store/store.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"
#include "tenancy/limit.h"

#define WINDOW_MAX		SN_YEAR
#define OWN_PREFIX		"events_"	/* of kinds that only the extension makes */

PG_FUNCTION_INFO_V1(sentinai_set_limit);
PG_FUNCTION_INFO_V1(sentinai_drop_limit);
PG_FUNCTION_INFO_V1(sentinai_limit_changed);

/* refuse_argument: an argument has a value that is not allowed */
static void pg_attribute_noreturn()
refuse_argument(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_SN_INVALID), errmsg("%s", what)));
	pg_unreachable();
}

/* is_kind: whether a text is the name of a kind */
static bool
is_kind(const text *t)
{
	const char *p = VARDATA_ANY(t);
	int			len = VARSIZE_ANY_EXHDR(t);
	int			i;

	for (i = 0; i < len; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') ||
			  (i > 0 && ((p[i] >= '0' && p[i] <= '9') || p[i] == '_'))))
			return false;
	return len > 0;
}

/* is_unknown_own: whether a kind looks like the extension's own and is none */
static bool
is_unknown_own(const text *kind)
{
	int			prefix = strlen(OWN_PREFIX);

	if (sn_limit_is_of_publishing(kind))
		return false;
	return sn_text_is(kind, SN_KIND_BACKLOG) ||
		(VARSIZE_ANY_EXHDR(kind) >= prefix &&
		 memcmp(VARDATA_ANY(kind), OWN_PREFIX, prefix) == 0);
}

/* sn_limit_kind_arg: what is counted */
text *
sn_limit_kind_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *kind = sn_text_arg(fcinfo, n, "kind", SN_KIND_MAX);

	if (!is_kind(kind))
		refuse_argument("kind must begin with a lower-case letter and consist of those, digits and \"_\"");
	if (is_unknown_own(kind))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("kind \"%s\" is not counted by anybody",
						text_to_cstring(kind)),
				 errhint("The extension counts \"%s\" and \"%s\"; set_backlog_limit() limits what waits. Kinds of applications have other names.",
						 SN_KIND_EVENTS, SN_KIND_BYTES)));
	return kind;
}

/* limit_json: what a limit is, for the action log */
static Jsonb *
limit_json(const Datum *values)
{
	return sn_action_json("value", psprintf(INT64_FORMAT,
											DatumGetInt64(values[Anum_limit_value - 1])),
						  "window", sn_action_value(F_INTERVAL_OUT,
													values[Anum_limit_window - 1]),
						  "enabled", DatumGetBool(values[Anum_limit_enabled - 1]) ?
						  "true" : "false",
						  NULL);
}

/*
 * take_limit_row: delete the row of a limit, under the lock; what it was is for the
 * action log, or NULL when there was none
 */
static Jsonb *
take_limit_row(text *tenant_id, text *kind)
{
	Jsonb	   *before = NULL;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData keys[2];
	ItemPointerData tid;
	SnScan		scan;

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
				PointerGetDatum(tenant_id));
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber, PointerGetDatum(kind));
	sn_scan_named(&scan, SN_TENANT_LIMIT, SN_TENANT_LIMIT_PKEY, snapshot, 2,
				  keys, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		slot_getallattrs(scan.slot);
		before = limit_json(scan.slot->tts_values);
		tid = sn_scan_place(&scan);
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	if (before != NULL)
		sn_delete_one(SN_TENANT_LIMIT, &tid);
	return before;
}

/* record: note in the action log what a limit was and is */
static void
record(const char *action, const text *tenant_id, const text *kind,
	   Jsonb *before, Jsonb *after)
{
	SnAction	done = {.action = action, .tenant_id = tenant_id,
	.object = text_to_cstring(kind), .before = before, .after = after};

	sn_action_record(&done);
}

/* set_limit(tenant_id text, kind text, value bigint, window interval, enabled boolean) */
Datum
sentinai_set_limit(PG_FUNCTION_ARGS)
{
	Datum		values[Natts_limit];
	bool		nulls[Natts_limit] = {false};
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	text	   *kind = sn_limit_kind_arg(fcinfo, 1);
	Jsonb	   *before;
	int64		value;

	SN_REQUIRE_ARG(2, "value");
	SN_REQUIRE_ARG(3, "window");
	SN_REQUIRE_ARG(4, "enabled");
	PreventCommandIfReadOnly("set_limit()");
	sn_require(SN_RIGHT_OPERATE, sn_whose(tenant_id), "set limits for");
	value = PG_GETARG_INT64(2);
	if (value < 0 || value > SN_BUCKET_VALUE_MAX)
		refuse_argument(psprintf("value must be from 0 to " INT64_FORMAT,
								 (int64) SN_BUCKET_VALUE_MAX));
	(void) sn_duration(PG_GETARG_INTERVAL_P(3), "window", 1, WINDOW_MAX);

	values[Anum_limit_tenant_id - 1] = PointerGetDatum(tenant_id);
	values[Anum_limit_kind - 1] = PointerGetDatum(kind);
	values[Anum_limit_value - 1] = Int64GetDatum(value);
	values[Anum_limit_window - 1] = PG_GETARG_DATUM(3);
	values[Anum_limit_enabled - 1] = PG_GETARG_DATUM(4);
	values[Anum_limit_changed_at - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[Anum_limit_changed_by - 1] =
		PointerGetDatum(sn_session_role());
	(void) sn_lock_limits(true);
	sn_hold_briefly();
	before = take_limit_row(tenant_id, kind);
	sn_insert_one(SN_TENANT_LIMIT, values, nulls);
	record("set_limit", tenant_id, kind, before, limit_json(values));
	sn_limits_changed();
	PG_RETURN_VOID();
}

/* drop_limit(tenant_id text, kind text) returns boolean */
Datum
sentinai_drop_limit(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	text	   *kind = sn_limit_kind_arg(fcinfo, 1);
	Jsonb	   *before;

	PreventCommandIfReadOnly("drop_limit()");
	sn_require(SN_RIGHT_OPERATE, sn_whose(tenant_id), "set limits for");
	(void) sn_lock_limits(true);
	sn_hold_briefly();
	before = take_limit_row(tenant_id, kind);
	if (before != NULL)
	{
		record("drop_limit", tenant_id, kind, before, NULL);
		sn_limits_changed();
	}
	PG_RETURN_BOOL(before != NULL);
}

/*
 * limit_changed(): trigger of table tenant_limit, for what SQL changes there, as
 * a restored dump does
 */
Datum
sentinai_limit_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "limit_changed");
	sn_limits_changed();
	PG_RETURN_POINTER(NULL);
}
