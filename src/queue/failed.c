/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * failed.c
 *		mark_as_failed(): an attempt at an event that did not come from claim().
 *
 * The ledger knows what is done.  What has failed is kept by whoever tries again,
 * and here it is told as fail() tells it: by the events RetryScheduled and
 * DeadLettered, which nobody may publish himself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/printable.h"
#include "log/event.h"
#include "log/log.h"
#include "queue/attempt.h"
#include "queue/control.h"
#include "queue/subscription.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_mark_as_failed);

/*
 * find_event: an event of a tenant that the caller may work for.  One of another
 * tenant is not told from one that is not there.
 */
static bool
find_event(const pg_uuid_t *id, const text *worker_type, SnEventRow *event)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnLogReader *log = sn_log_begin(snapshot);
	bool		found = sn_event_row(log, id, worker_type, snapshot, event);

	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	return found &&
		sn_may(SN_RIGHT_WORK, sn_row_text(event, Anum_log_tenant_id));
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
	if (!find_event(control.event_id, control.worker_type, &event))
		PG_RETURN_NULL();
	control.error = storable_error(PG_GETARG_TEXT_PP(2), &event);
	sn_control_tell(&control);
	PG_RETURN_TEXT_P(control.error);
}
