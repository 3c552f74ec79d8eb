/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * control.c
 *		Events that tell about other events: RetryScheduled, DeadLettered.
 *
 * They are published below publish(), which refuses their types: what they say
 * has happened, and nobody else can say so.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "log/event.h"
#include "log/event_check.h"
#include "queue/control.h"

/* sn_put_text: append a text as a JSON string, or null */
void
sn_put_text(StringInfo json, const text *value)
{
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, text_to_cstring(value));
}

/* sn_put_time: append a timestamp as a JSON string */
void
sn_put_time(StringInfo json, TimestampTz time)
{
	char		room[MAXDATELEN + 1];

	JsonEncodeDateTime(room, TimestampTzGetDatum(time), TIMESTAMPTZOID, NULL);
	appendStringInfo(json, "\"%s\"", room);
}

/* sn_put_parse: a text that was put together as jsonb */
Jsonb *
sn_put_parse(StringInfo json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json->data)));
}

/* column: a column of the event as a text, or NULL */
static text *
column(const SnEventRow *event, AttrNumber attribute)
{
	return event->nulls[attribute - 1] ? NULL :
		DatumGetTextPP(event->values[attribute - 1]);
}

/* make_payload: what there is to tell */
static Jsonb *
make_payload(const SnControl *control)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"worker_type\": ");
	sn_put_text(&json, control->worker_type);
	appendStringInfo(&json, ", \"event_id\": \"%s\", \"event_type\": ",
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(control->event_id))));
	sn_put_text(&json, column(control->event, Anum_log_event_type));
	appendStringInfo(&json, ", \"attempt\": %d, \"error\": ",
					 control->attempt);
	sn_put_text(&json, control->error);
	appendStringInfoString(&json, ", \"due_at\": ");
	if (control->due_at != 0)
		sn_put_time(&json, control->due_at);
	else
		appendStringInfoString(&json, "null");
	if (control->of_relay)
	{
		appendStringInfoString(&json, ", \"topic\": ");
		sn_put_text(&json, control->topic);
	}
	appendStringInfoChar(&json, '}');
	return sn_put_parse(&json);
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

	if (sn_is_control_type(column(about, Anum_log_event_type)))
		return;
	event.event_type = cstring_to_text(control->type);
	event.tenant_id = column(about, Anum_log_tenant_id);
	event.aggregate_type = column(about, Anum_log_aggregate_type);
	event.aggregate_id = column(about, Anum_log_aggregate_id);
	event.correlation_id = column(about, Anum_log_correlation_id);
	event.causation_id = control->event_id;
	event.deliver_at = DT_NOBEGIN;
	event.schema_version = 1;
	event.payload = make_payload(control);
	event.metadata =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	sn_publish(&event, &id);
}
