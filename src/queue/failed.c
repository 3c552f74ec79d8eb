/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * failed.c
 *		mark_as_failed(), mark_as_settled(): what became of an event that did not
 *		come from claim().
 *
 * The ledger knows what is done.  What has failed is kept by whoever tries again,
 * and here it is told as fail(), retry_dead_letter() and discard_dead_letter()
 * tell it: by events which nobody may publish himself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/control_type.h"
#include "base/printable.h"
#include "base/result_row.h"
#include "base/text.h"
#include "log/event.h"
#include "log/log_read.h"
#include "queue/attempt.h"
#include "queue/control.h"
#include "queue/subscription.h"
#include "redact/redact.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_mark_as_failed);
PG_FUNCTION_INFO_V1(sentinai_mark_as_settled);

/*
 * find_event: an event of a tenant that the caller has one of the rights for.
 * One of another tenant is not told from one that is not there.
 */
static bool
find_event(const pg_uuid_t *id, const text *worker_type, int rights,
		   SnEventRow *event)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLogReader *log = sn_log_begin(snapshot);
	bool		found = sn_event_row(log, id, worker_type, snapshot, event);

	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	return found && sn_may(rights, sn_row_text(event, Anum_log_tenant_id));
}

/* storable_error: what the attempt failed of, as it may be stored */
static text *
storable_error(text *error, const SnEventRow *event)
{
	error = sn_attempt_error(error, event);
	return sn_storable_text(VARDATA_ANY(error), VARSIZE_ANY_EXHDR(error),
							SN_ERROR_MAX);
}

/* attempt_arg: which attempt it was */
static int
attempt_arg(int attempt)
{
	if (attempt < 1)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("attempt must be at least 1")));
	return attempt;
}

/* mark_as_failed(event_id, worker_type, error, attempt, retry_in) returns text */
Datum
sentinai_mark_as_failed(PG_FUNCTION_ARGS)
{
	SnEventRow	event;
	SnControl	control = {.type = SN_TYPE_DEAD_LETTERED,.event = &event};

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	SN_REQUIRE_ARG(2, "error");
	SN_REQUIRE_ARG(3, "attempt");
	control.event_id = PG_GETARG_UUID_P(0);
	control.worker_type = sn_check_worker_type(PG_GETARG_TEXT_PP(1));
	control.attempt = attempt_arg(PG_GETARG_INT32(3));
	if (!PG_ARGISNULL(4))
	{
		control.type = SN_TYPE_RETRY_SCHEDULED;
		control.due_at = GetCurrentTimestamp() +
			sn_duration(PG_GETARG_INTERVAL_P(4), "retry_in", 0, SN_YEAR);
	}
	sn_require_claim(control.worker_type);
	PreventCommandIfReadOnly("mark_as_failed()");
	if (!find_event(control.event_id, control.worker_type, SN_RIGHT_WORK, &event))
		PG_RETURN_NULL();
	control.error = storable_error(PG_GETARG_TEXT_PP(2), &event);
	sn_control_tell(&control);
	PG_RETURN_TEXT_P(control.error);
}

/* outcome_arg: the type of the event that tells of it */
static const char *
outcome_arg(const text *outcome)
{
	if (sn_text_is(outcome, "retried"))
		return SN_TYPE_LETTER_RETRIED;
	if (!sn_text_is(outcome, "discarded"))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("outcome must be \"retried\" or \"discarded\"")));
	return SN_TYPE_LETTER_DISCARDED;
}

/* find_settled: its event, if it is the caller's to deal with */
static bool
find_settled(const SnLetterAction *settled, SnEventRow *event)
{
	if (!find_event(settled->event_id, settled->worker_type,
					SN_RIGHT_WORK | SN_RIGHT_OPERATE, event))
		return false;
	if (!sn_may_claim(settled->worker_type) &&
		!sn_may(SN_RIGHTS_LETTER, sn_row_text(event, Anum_log_tenant_id)))
		sn_refuse_worker_type("deal with dead letters of");
	return true;
}

/* record_settled: note in the action log who has dealt with it */
static void
record_settled(const SnLetterAction *settled, const char *status)
{
	SnAction	action = {
		.action = "mark_as_settled",
		.kind = SN_ACTION_ACTS,
		.tenant_id = sn_row_text(settled->event, Anum_log_tenant_id),
		.worker_type = settled->worker_type,
		.aggregate_id = sn_row_text(settled->event, Anum_log_aggregate_id),
		.object = DatumGetCString(DirectFunctionCall1(uuid_out,
													  UUIDPGetDatum(settled->event_id))),
		.before = sn_action_json("status", "pending", NULL),
		.after = sn_action_json("worker_type",
								text_to_cstring(settled->worker_type),
								"status", status, NULL),
		.actor = settled->actor,
		.reason = settled->reason,
	};

	sn_action_record(&action);
}

/* settled_row: who and why, as it is stored; all null without an event */
static Datum
settled_row(FunctionCallInfo fcinfo, const SnLetterAction *settled)
{
	Datum		values[2] = {
		PointerGetDatum(settled->actor), PointerGetDatum(settled->reason)
	};
	bool		nulls[2] = {settled->actor == NULL, settled->reason == NULL};

	return sn_row_datum(fcinfo, values, nulls);
}

/* redact_settled: who and why, as it may be stored of an event of a tenant */
static void
redact_settled(SnLetterAction *settled, const text *tenant_id,
			   const text *event_type, text *actor, text *reason)
{
	settled->actor = sn_redact_note(tenant_id, event_type, actor);
	settled->reason = sn_redact_note(tenant_id, event_type, reason);
}

/*
 * redact_unknown: the same of an event that the log does not have, if the caller
 * says whose it is
 */
static void
redact_unknown(FunctionCallInfo fcinfo, SnLetterAction *settled, text *actor,
			   text *reason)
{
	if (PG_ARGISNULL(5))
		return;
	SN_REQUIRE_ARG(6, "event_type");
	sn_require(SN_RIGHT_WORK | SN_RIGHT_OPERATE, PG_GETARG_TEXT_PP(5),
			   "work or operate for");
	redact_settled(settled, PG_GETARG_TEXT_PP(5), PG_GETARG_TEXT_PP(6), actor,
				   reason);
}

/*
 * mark_as_settled(event_id, worker_type, outcome, actor, reason, tenant_id,
 *		event_type) returns record
 */
Datum
sentinai_mark_as_settled(PG_FUNCTION_ARGS)
{
	SnEventRow	event;
	SnLetterAction settled = {.event = &event};
	text	   *actor;
	text	   *reason = NULL;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	SN_REQUIRE_ARG(2, "outcome");
	settled.event_id = PG_GETARG_UUID_P(0);
	settled.worker_type = sn_check_worker_type(PG_GETARG_TEXT_PP(1));
	settled.type = outcome_arg(PG_GETARG_TEXT_PP(2));
	actor = sn_actor_arg(fcinfo, 3);
	if (!PG_ARGISNULL(4))
		reason = sn_text_arg(fcinfo, 4, "reason", SN_REASON_MAX);
	PreventCommandIfReadOnly("mark_as_settled()");
	if (find_settled(&settled, &event))
	{
		redact_settled(&settled, sn_row_text(&event, Anum_log_tenant_id),
					   sn_row_text(&event, Anum_log_event_type), actor, reason);
		record_settled(&settled, text_to_cstring(PG_GETARG_TEXT_PP(2)));
		sn_control_letter(&settled);
	}
	else
		redact_unknown(fcinfo, &settled, actor, reason);
	PG_RETURN_DATUM(settled_row(fcinfo, &settled));
}
