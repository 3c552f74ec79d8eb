/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control.c
 *		What is told of an event that failed: the history of its attempts, the
 *		events RetryScheduled and DeadLettered, and those about what people do
 *		with dead letters, and about alerts.
 *
 * For agents and the relay alike.  The events are published below publish(),
 * which refuses their types: what they say has happened, and nobody else can
 * say so.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "base/args.h"
#include "base/printable.h"
#include "base/text.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/flow.h"
#include "log/log_read.h"
#include "queue/control.h"

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

/* append_json_id: append an id as a JSON string */
static void
append_json_id(StringInfo json, const pg_uuid_t *id)
{
	appendStringInfo(json, "\"%s\"",
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(id))));
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
static char *
make_payload(const SnControl *control)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"worker_type\": ");
	append_json_text(&json, control->worker_type);
	appendStringInfoString(&json, ", \"event_id\": ");
	append_json_id(&json, control->event_id);
	appendStringInfoString(&json, ", \"event_type\": ");
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
	return json.data;
}

/*
 * tell_about: publish a control event about another, which is none itself: there is
 * no end to that otherwise
 */
static void
tell_about(const char *type, const SnEventRow *about, const pg_uuid_t *id,
		   const char *payload)
{
	SnEvent		event;
	pg_uuid_t	own_id;

	sn_event_own(&event, type, payload);
	event.tenant_id = sn_row_text(about, Anum_log_tenant_id);
	event.aggregate_type = sn_row_text(about, Anum_log_aggregate_type);
	event.aggregate_id = sn_row_text(about, Anum_log_aggregate_id);
	event.correlation_id =
		sn_row_text(about, sn_log_column(Anum_log_correlation_id,
										 about->nulls));
	event.causation_id = id;
	if (!about->nulls[Anum_log_metadata - 1])
		sn_flow_of(&event,
				   DatumGetJsonbP(about->values[Anum_log_metadata - 1]));
	sn_publish(&event, &own_id);
}

/*
 * is_to_be_told_of: whether there are events about an event.  There are none about
 * one that is itself such an event, nor where nobody knows whose it is.
 */
static bool
is_to_be_told_of(const SnEventRow *event)
{
	return !sn_is_control_event(event) && sn_event_has_tenant(event);
}

/* sn_control_tell: publish what became of an attempt */
void
sn_control_tell(const SnControl *control)
{
	if (is_to_be_told_of(control->event))
		tell_about(control->type, control->event, control->event_id,
				   make_payload(control));
}

/* sn_control_letter: publish what somebody has done with a letter */
void
sn_control_letter(const SnLetterAction *action)
{
	StringInfoData json;

	if (!is_to_be_told_of(action->event))
		return;
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"worker_type\": ");
	append_json_text(&json, action->worker_type);
	appendStringInfoString(&json, ", \"event_id\": ");
	append_json_id(&json, action->event_id);
	appendStringInfoString(&json, ", \"event_type\": ");
	append_json_text(&json, sn_row_text(action->event, Anum_log_event_type));
	appendStringInfoString(&json, ", \"actor\": ");
	append_json_text(&json, action->actor);
	appendStringInfoString(&json, ", \"reason\": ");
	append_json_text(&json, action->reason);
	if (action->replaced_by != NULL)
	{
		appendStringInfoString(&json, ", \"replaced_by\": ");
		append_json_id(&json, action->replaced_by);
	}
	appendStringInfoChar(&json, '}');
	tell_about(action->type, action->event, action->event_id, json.data);
}

/* append_json_texts: append an array of texts as one of JSON strings */
static void
append_json_texts(StringInfo json, Datum array)
{
	Datum	   *values;
	int			n;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, NULL, &n);
	appendStringInfoChar(json, '[');
	for (i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(json, ", ");
		append_json_text(json, DatumGetTextPP(values[i]));
	}
	appendStringInfoChar(json, ']');
}

/* alert_payload: what there is to tell of an alert */
static char *
alert_payload(const SnAlertNews *news)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"alert\": ");
	append_json_text(&json, news->alert);
	appendStringInfoString(&json, ", \"tenant_id\": ");
	append_json_text(&json, news->tenant_id);
	appendStringInfo(&json, ", \"threshold\": %d, \"letters\": " INT64_FORMAT
					 ", \"window_seconds\": ", news->threshold, news->letters);
	if (news->within == NULL)
		appendStringInfoString(&json, "null");
	else
		appendStringInfo(&json, INT64_FORMAT,
						 sn_duration_of(news->within) / SN_SECOND);
	appendStringInfoString(&json, ", \"raised_at\": ");
	append_json_time(&json, news->raised_at);
	appendStringInfoString(&json, ", \"channels\": ");
	append_json_texts(&json, news->channels);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* sn_control_alert: publish that an alert begins or ends, as one of its tenant */
void
sn_control_alert(const SnAlertNews *news)
{
	SnEvent		event;
	pg_uuid_t	id;

	sn_event_own(&event, news->type, alert_payload(news));
	event.tenant_id = news->tenant_id;
	event.aggregate_type = cstring_to_text("alert");
	event.aggregate_id = sn_text_copy(news->alert);
	sn_publish(&event, &id);
}
