/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control.c
 *		What is told of an event that failed: the history of its attempts, and
 *		the events RetryScheduled and DeadLettered.
 *
 * For agents and the relay alike.  The events are published below publish(),
 * which refuses their types: what they say has happened, and nobody else can
 * say so.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "base/printable.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/flow.h"
#include "log/log.h"
#include "queue/control.h"
#include "registry/event_type.h"

#define HISTORY_ERROR_MAX	1024	/* bytes of an error text in the history */
#define HISTORY_MAX			100 /* failed attempts */

/* append_json_text: append a text as a JSON string, or null */
static void
append_json_text(StringInfo json, const text *value)
{
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, text_to_cstring(value));
}

/* append_json_time: append a timestamp as a JSON string */
static void
append_json_time(StringInfo json, TimestampTz time)
{
	char		room[MAXDATELEN + 1];

	JsonEncodeDateTime(room, TimestampTzGetDatum(time), TIMESTAMPTZOID, NULL);
	appendStringInfo(json, "\"%s\"", room);
}

/* put_parse: a text that was put together as jsonb */
static Jsonb *
put_parse(StringInfo json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json->data)));
}

/*
 * sn_history_add: note in a row what its attempt failed of, beside what happened
 * before; the oldest drop out.  The error's bytes may be anything.
 */
void
sn_history_add(SnRetry *retry, const char *error, Size len,
			   const text *worker_id, TimestampTz now)
{
	StringInfoData json;
	Datum		history;

	retry->last_error = sn_storable_text(error, len, SN_ERROR_MAX);
	if (retry->first_failed_at == 0)
		retry->first_failed_at = now;
	initStringInfo(&json);
	appendStringInfo(&json, "[{\"attempt\": %d, \"at\": ", retry->attempt);
	append_json_time(&json, now);
	appendStringInfoString(&json, ", \"error\": ");
	append_json_text(&json, sn_storable_text(error, len, HISTORY_ERROR_MAX));
	appendStringInfoString(&json, ", \"worker_id\": ");
	append_json_text(&json, worker_id);
	appendStringInfoString(&json, "}]");
	if (retry->history == NULL)
	{
		retry->history = put_parse(&json);
		return;
	}
	history = JsonbPGetDatum(retry->history);
	if (JB_ROOT_COUNT(retry->history) >= HISTORY_MAX)
		history = DirectFunctionCall2(jsonb_delete_idx, history,
									  Int32GetDatum(0));
	history = DirectFunctionCall2(jsonb_concat, history,
								  JsonbPGetDatum(put_parse(&json)));
	retry->history = DatumGetJsonbP(history);
}

/* sn_is_control_event: whether an event tells about another */
bool
sn_is_control_event(const SnEventRow *event)
{
	return sn_is_control_type(sn_row_text(event, Anum_log_event_type));
}

/* make_payload: what there is to tell */
static Jsonb *
make_payload(const SnControl *control)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"worker_type\": ");
	append_json_text(&json, control->worker_type);
	appendStringInfo(&json, ", \"event_id\": \"%s\", \"event_type\": ",
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(control->event_id))));
	append_json_text(&json, sn_row_text(control->event, Anum_log_event_type));
	appendStringInfo(&json, ", \"attempt\": %d, \"error\": ",
					 control->attempt);
	append_json_text(&json, control->error);
	appendStringInfoString(&json, ", \"due_at\": ");
	if (control->due_at != 0)
		append_json_time(&json, control->due_at);
	else
		appendStringInfoString(&json, "null");
	if (control->of_relay)
	{
		appendStringInfoString(&json, ", \"topic\": ");
		append_json_text(&json, control->topic);
	}
	appendStringInfoChar(&json, '}');
	return put_parse(&json);
}

/*
 * sn_control_tell: publish a control event, unless the one it is about is one
 * itself: there is no end to that otherwise.
 */
void
sn_control_tell(const SnControl *control)
{
	const SnEventRow *about = control->event;
	SnEvent		event = {0};
	pg_uuid_t	id;

	if (sn_is_control_event(about))
		return;
	event.event_type = cstring_to_text(control->type);
	event.tenant_id = sn_row_text(about, Anum_log_tenant_id);
	event.aggregate_type = sn_row_text(about, Anum_log_aggregate_type);
	event.aggregate_id = sn_row_text(about, Anum_log_aggregate_id);
	event.correlation_id =
		sn_row_text(about, sn_log_column(Anum_log_correlation_id,
										 about->nulls));
	event.causation_id = control->event_id;
	event.deliver_at = DT_NOBEGIN;
	event.payload = make_payload(control);
	event.schema_version = sn_type_check(event.event_type, 0, event.payload, 0);
	event.metadata =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	if (!about->nulls[Anum_log_metadata - 1])
		sn_flow_of(&event,
				   DatumGetJsonbP(about->values[Anum_log_metadata - 1]));
	sn_publish(&event, &id);
}
