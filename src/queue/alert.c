/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * alert.c
 *		Alerts about the growth of dead letters: set_alert(), drop_alert(), and
 *		the step of maintenance that raises and clears them.
 *
 * An episode begins when there are as many letters as the threshold says, and
 * ends when there are fewer.  Each has one AlertRaised and one AlertCleared.  The
 * letters are counted in an index, up to the threshold and no further.  Letters
 * about control events do not count: an agent that fails on the alerts
 * themselves would otherwise raise the next one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/control_type.h"
#include "base/printable.h"
#include "base/text.h"
#include "log/event.h"
#include "log/event_check.h"
#include "queue/alert.h"
#include "queue/control.h"
#include "queue/dead_letter.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"

PG_FUNCTION_INFO_V1(sentinai_set_alert);
PG_FUNCTION_INFO_V1(sentinai_drop_alert);

#define ALERT_LETTERS	"dead_letters"	/* the one kind there is */
#define THRESHOLD_MAX	100000
#define CHANNELS_MAX	16
#define CHANNEL_MAX		256		/* bytes of a channel */
#define LOOK_MAX		20000	/* letters about control events */
#define STEP_MAX		100		/* alerts of one step of maintenance */

/* A row of alert, copied */
typedef struct Alert
{
	Datum		values[Natts_alert];
	bool		nulls[Natts_alert];
	ItemPointerData tid;
} Alert;

/* scan_alerts: an alert, or those of its kind behind it */
static void
scan_alerts(SnScan *scan, const text *alert, const text *tenant_id,
			StrategyNumber strategy, Snapshot snapshot)
{
	ScanKeyData keys[2];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber, PointerGetDatum(alert));
	sn_key_text(&keys[1], 2, strategy, PointerGetDatum(tenant_id));
	sn_scan_named(scan, SN_ALERT, SN_ALERT_PKEY, snapshot, 2, keys,
				  ForwardScanDirection);
}

/* next_alert: copy the next row of a scan; false at its end */
static bool
next_alert(SnScan *scan, Alert *alert)
{
	HeapTuple	tuple;

	if (!sn_scan_next(scan))
		return false;
	tuple = ExecCopySlotHeapTuple(scan->slot);
	heap_deform_tuple(tuple, scan->slot->tts_tupleDescriptor, alert->values,
					  alert->nulls);
	alert->tid = sn_scan_place(scan);
	return true;
}

/* find_alert: the alert of a kind and tenant; false: there is none */
static bool
find_alert(const text *kind, const text *tenant_id, Alert *alert)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnScan		scan;
	bool		found;

	scan_alerts(&scan, kind, tenant_id, BTEqualStrategyNumber, snapshot);
	found = next_alert(&scan, alert);
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* put_alert: set a column */
static void
put_alert(Alert *alert, AttrNumber column, Datum value, bool isnull)
{
	alert->values[column - 1] = value;
	alert->nulls[column - 1] = isnull;
}

/* write_alert: store a row, in place of the one that was read */
static void
write_alert(Alert *alert, bool replaces)
{
	if (replaces)
		sn_delete_one(SN_ALERT, &alert->tid);
	sn_insert_one(SN_ALERT, alert->values, alert->nulls);
	CommandCounterIncrement();
}

/* kind_arg: which alert */
static text *
kind_arg(FunctionCallInfo fcinfo)
{
	SN_REQUIRE_ARG(0, "alert");
	if (!sn_text_is(PG_GETARG_TEXT_PP(0), ALERT_LETTERS))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("alert must be \"%s\"", ALERT_LETTERS)));
	return PG_GETARG_TEXT_PP(0);
}

/* alert_tenant_arg: whose letters; "*": everybody's */
static text *
alert_tenant_arg(FunctionCallInfo fcinfo)
{
	text	   *tenant_id;

	SN_REQUIRE_ARG(1, "tenant_id");
	tenant_id = sn_event_text(PG_GETARG_DATUM(1), SN_TENANT_MAX, 0, "tenant_id");
	if (VARSIZE_ANY_EXHDR(tenant_id) == 0 ||
		memchr(VARDATA_ANY(tenant_id), ':', VARSIZE_ANY_EXHDR(tenant_id)))
		sn_event_refuse(ERRCODE_SN_INVALID, 0, "tenant_id",
						"must not be empty or contain \":\"");
	sn_require(SN_RIGHTS_LETTER, sn_whose(tenant_id), "set alerts for");
	return tenant_id;
}

/* threshold_arg: how many letters are too many */
static Datum
threshold_arg(FunctionCallInfo fcinfo)
{
	SN_REQUIRE_ARG(2, "threshold");
	if (PG_GETARG_INT32(2) < 1 || PG_GETARG_INT32(2) > THRESHOLD_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("threshold must be between 1 and %d", THRESHOLD_MAX)));
	return PG_GETARG_DATUM(2);
}

/* channels_arg: names of where the alert shall go, for those who deliver it */
static Datum
channels_arg(FunctionCallInfo fcinfo)
{
	ArrayType  *array;
	Datum	   *values;
	int			n;
	int			i;

	SN_REQUIRE_ARG(4, "channels");
	array = PG_GETARG_ARRAYTYPE_P(4);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array) ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > CHANNELS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("channels must have one dimension, no nulls and at most %d elements",
						CHANNELS_MAX)));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (i = 0; i < n; i++)
		(void) sn_event_text(values[i], CHANNEL_MAX, 0, "channels");
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* alert_json: what an alert is, for the action log */
static Jsonb *
alert_json(const Alert *alert)
{
	return sn_action_json("threshold",
						  psprintf("%d", DatumGetInt32(alert->values[Anum_alert_threshold - 1])),
						  "window", alert->nulls[Anum_alert_within - 1] ? NULL :
						  sn_action_value(F_INTERVAL_OUT,
										  alert->values[Anum_alert_within - 1]),
						  "channels",
						  OidOutputFunctionCall(F_ARRAY_OUT,
												alert->values[Anum_alert_channels - 1]),
						  NULL);
}

/* record_alert: note in the action log what an alert was and is */
static void
record_alert(const char *action, const text *tenant_id, Jsonb *before,
			 Jsonb *after)
{
	SnAction	what = {
		.action = action,
		.tenant_id = tenant_id,
		.object = ALERT_LETTERS,
		.before = before,
		.after = after,
	};

	sn_action_record(&what);
}

/* set_alert(alert, tenant_id, threshold, "window", channels) returns void */
Datum
sentinai_set_alert(PG_FUNCTION_ARGS)
{
	text	   *kind = kind_arg(fcinfo);
	text	   *tenant_id = alert_tenant_arg(fcinfo);
	Datum		threshold = threshold_arg(fcinfo);
	Datum		channels = channels_arg(fcinfo);
	Alert		alert;
	Jsonb	   *before;
	bool		replaces;

	if (!PG_ARGISNULL(3))
		(void) sn_duration(PG_GETARG_INTERVAL_P(3), "window", 1, SN_YEAR);
	PreventCommandIfReadOnly("set_alert()");
	(void) sn_lock_alerts(true);
	sn_hold_briefly();
	replaces = find_alert(kind, tenant_id, &alert);
	before = replaces ? alert_json(&alert) : NULL;
	put_alert(&alert, Anum_alert_alert, PointerGetDatum(kind), false);
	put_alert(&alert, Anum_alert_tenant_id, PointerGetDatum(tenant_id), false);
	put_alert(&alert, Anum_alert_threshold, threshold, false);
	put_alert(&alert, Anum_alert_within, PG_GETARG_DATUM(3), PG_ARGISNULL(3));
	put_alert(&alert, Anum_alert_channels, channels, false);
	put_alert(&alert, Anum_alert_set_at, TimestampTzGetDatum(sn_now()), false);
	put_alert(&alert, Anum_alert_set_by,
			  PointerGetDatum(sn_session_role()),
			  false);
	if (!replaces)
	{
		put_alert(&alert, Anum_alert_raised_at, (Datum) 0, true);
		put_alert(&alert, Anum_alert_raised_count, Int64GetDatum(0), false);
	}
	write_alert(&alert, replaces);
	record_alert("set_alert", tenant_id, before, alert_json(&alert));
	PG_RETURN_VOID();
}

/* count_status: letters of a status since a time, up to a number */
static void
count_status(const text *tenant_id, SnLetterStatus status, TimestampTz since,
			 int max, int *letters, int *looked)
{
	bool		all = sn_text_is(tenant_id, SN_EVERY);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData keys[3];
	SnScan		scan;
	int			n = 0;
	bool		isnull;

	if (!all)
		sn_key_text(&keys[n++], 1, BTEqualStrategyNumber,
					PointerGetDatum(tenant_id));
	sn_key_text(&keys[n], n + 1, BTEqualStrategyNumber,
				CStringGetTextDatum(sn_letter_statuses[status]));
	n++;
	sn_key_time(&keys[n], n + 1, BTGreaterStrategyNumber, since);
	n++;
	sn_scan_named(&scan, SN_DEAD_LETTER, all ? SN_DEAD_LETTER_STATUS_IDX :
				  SN_DEAD_LETTER_TENANT_IDX, snapshot, n, keys,
				  BackwardScanDirection);
	while (*letters < max && *looked < LOOK_MAX && sn_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		if (sn_is_control_type(DatumGetTextPP(slot_getattr(scan.slot,
														   Anum_dead_event_type,
														   &isnull))))
			++*looked;
		else
			++*letters;
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
}

/* alert_letters: those that count for an alert, up to its threshold */
static int
alert_letters(const Alert *alert, TimestampTz now)
{
	text	   *tenant_id =
		DatumGetTextPP(alert->values[Anum_alert_tenant_id - 1]);
	int			threshold = DatumGetInt32(alert->values[Anum_alert_threshold - 1]);
	bool		pending = alert->nulls[Anum_alert_within - 1];
	TimestampTz since = pending ? DT_NOBEGIN : now -
		sn_duration_of(DatumGetIntervalP(alert->values[Anum_alert_within - 1]));
	int			letters = 0;
	int			looked = 0;
	int			i;

	for (i = 0; i < (pending ? 1 : SN_LETTER_STATUSES); i++)
		count_status(tenant_id, i, since, threshold, &letters, &looked);
	return letters;
}

/* tell: publish that an episode begins or ends */
static void
tell(const Alert *alert, const char *type, int letters, TimestampTz raised_at)
{
	SnAlertNews news = {
		.type = type,
		.alert = DatumGetTextPP(alert->values[Anum_alert_alert - 1]),
		.tenant_id = DatumGetTextPP(alert->values[Anum_alert_tenant_id - 1]),
		.threshold = DatumGetInt32(alert->values[Anum_alert_threshold - 1]),
		.letters = letters,
		.within = alert->nulls[Anum_alert_within - 1] ? NULL :
		DatumGetIntervalP(alert->values[Anum_alert_within - 1]),
		.raised_at = raised_at,
		.channels = alert->values[Anum_alert_channels - 1],
	};

	sn_control_alert(&news);
}

/* raised_at_of: since when an episode has been going on */
static TimestampTz
raised_at_of(const Alert *alert)
{
	return DatumGetTimestampTz(alert->values[Anum_alert_raised_at - 1]);
}

/* check_alert: whether an episode begins or ends */
static void
check_alert(Alert *alert)
{
	TimestampTz now = sn_now();
	int			letters = alert_letters(alert, now);
	bool		raised = !alert->nulls[Anum_alert_raised_at - 1];
	bool		over = letters >=
		DatumGetInt32(alert->values[Anum_alert_threshold - 1]);

	if (over == raised)
		return;
	if (over)
	{
		tell(alert, SN_TYPE_ALERT_RAISED, letters, now);
		put_alert(alert, Anum_alert_raised_count,
				  Int64GetDatum(1 + DatumGetInt64(alert->values[Anum_alert_raised_count - 1])),
				  false);
	}
	else
		tell(alert, SN_TYPE_ALERT_CLEARED, letters, raised_at_of(alert));
	put_alert(alert, Anum_alert_raised_at, TimestampTzGetDatum(now), !over);
	write_alert(alert, true);
}

/* drop_alert(alert, tenant_id) returns boolean */
Datum
sentinai_drop_alert(PG_FUNCTION_ARGS)
{
	text	   *kind = kind_arg(fcinfo);
	text	   *tenant_id = alert_tenant_arg(fcinfo);
	Alert		alert;

	PreventCommandIfReadOnly("drop_alert()");
	(void) sn_lock_alerts(true);
	sn_hold_briefly();
	if (!find_alert(kind, tenant_id, &alert))
		PG_RETURN_BOOL(false);
	if (!alert.nulls[Anum_alert_raised_at - 1])
		tell(&alert, SN_TYPE_ALERT_CLEARED, alert_letters(&alert, sn_now()),
			 raised_at_of(&alert));
	sn_delete_one(SN_ALERT, &alert.tid);
	CommandCounterIncrement();
	record_alert("drop_alert", tenant_id, alert_json(&alert), NULL);
	PG_RETURN_BOOL(true);
}

/* Tenant behind which the next step of maintenance goes on */
static char next_tenant[SN_TENANT_MAX + 1] = "";

/*
 * sn_alert_step: look at some alerts; whether there are more.  Who sets or drops
 * one has the lock, and is not waited for.
 */
bool
sn_alert_step(void)
{
	text	   *kind = cstring_to_text(ALERT_LETTERS);
	Snapshot	snapshot;
	SnScan		scan;
	Alert		alert;
	int			n = 0;

	if (!sn_present(SN_ALERT) || !sn_lock_alerts(false))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan_alerts(&scan, kind, cstring_to_text(next_tenant),
				BTGreaterStrategyNumber, snapshot);
	while (n < STEP_MAX && next_alert(&scan, &alert))
	{
		CHECK_FOR_INTERRUPTS();
		n++;
		check_alert(&alert);
		text_to_cstring_buffer(DatumGetTextPP(alert.values[Anum_alert_tenant_id - 1]),
							   next_tenant, sizeof(next_tenant));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	if (n < STEP_MAX)
		next_tenant[0] = '\0';
	return n == STEP_MAX;
}
