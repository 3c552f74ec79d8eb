/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tell.c
 *		SLAImminent and SLAExpired.  The one place that publishes them.
 *
 * The rows are locked by the caller's query, and change in the transaction of
 * their events.  So there is one event for each, whoever else looks for them at
 * the same time, and however often somebody begins and crashes.  A row that has
 * missed its SLAImminent gets both, in their order: who acts on the first is not
 * passed over.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "base/control_type.h"
#include "log/clock_floor.h"
#include "log/event.h"
#include "sla/deadline.h"
#include "sla/query.h"

/* The events of some deadlines, and the rows that change with them */
typedef struct Telling
{
	SnEvent    *events;
	int			nevents;
	Datum	   *ids;			/* of the deadlines */
	int			nids;
	TimestampTz now;
	SnTold	   *told;
} Telling;

/* deadline_text: a text of a row that was read; NULL for null */
static text *
deadline_text(int row, int column)
{
	bool		isnull;
	Datum		value = sn_query_datum(row, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* has_come: whether a time that may be null is not ahead */
static bool
has_come(int row, int column, TimestampTz now)
{
	bool		isnull;
	Datum		value = sn_query_datum(row, column, &isnull);

	return !isnull && DatumGetTimestampTz(value) <= now;
}

/* put_time: a member that is a time, or null */
static void
put_time(StringInfo json, const char *name, int row, int column)
{
	char		room[MAXDATELEN + 1];
	bool		isnull;
	Datum		value = sn_query_datum(row, column, &isnull);

	appendStringInfo(json, ", \"%s\": ", name);
	if (isnull)
	{
		appendStringInfoString(json, "null");
		return;
	}
	JsonEncodeDateTime(room, value, TIMESTAMPTZOID, NULL);
	appendStringInfo(json, "\"%s\"", room);
}

/* sla_payload: what there is to tell of a deadline */
static char *
sla_payload(int row)
{
	StringInfoData json;
	bool		isnull;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"deadline_id\": " INT64_FORMAT ", \"kind\": ",
					 DatumGetInt64(sn_query_datum(row, Col_id, &isnull)));
	escape_json(&json, text_to_cstring(deadline_text(row, Col_kind)));
	put_time(&json, "set_at", row, Col_set_at);
	put_time(&json, "warn_at", row, Col_warn_at);
	put_time(&json, "due_at", row, Col_due_at);
	appendStringInfo(&json, ", \"moves\": %d}",
					 DatumGetInt32(sn_query_datum(row, Col_moves, &isnull)));
	return json.data;
}

/* add_event: an event about a deadline, in the flow of its aggregate */
static void
add_event(Telling *telling, int row, const char *type)
{
	SnEvent    *event = &telling->events[telling->nevents++];
	bool		isnull;
	Datum		cause = sn_query_datum(row, Col_causation_id, &isnull);

	sn_event_own(event, type, sla_payload(row));
	event->tenant_id = deadline_text(row, Col_tenant_id);
	event->aggregate_type = deadline_text(row, Col_aggregate_type);
	event->aggregate_id = deadline_text(row, Col_aggregate_id);
	event->correlation_id = deadline_text(row, Col_correlation_id);
	event->causation_id = isnull ? NULL : DatumGetUUIDP(cause);
}

/* add_deadline: what has come of a deadline */
static void
add_deadline(Telling *telling, int row)
{
	bool		isnull;
	bool		warned;

	(void) sn_query_datum(row, Col_warned_at, &isnull);
	warned = !isnull;
	if (!warned && has_come(row, Col_warn_at, telling->now))
	{
		add_event(telling, row, SN_TYPE_SLA_IMMINENT);
		telling->told->imminent++;
	}
	if (has_come(row, Col_due_at, telling->now))
	{
		add_event(telling, row, SN_TYPE_SLA_EXPIRED);
		telling->told->expired++;
	}
	telling->ids[telling->nids++] = sn_query_datum(row, Col_id, &isnull);
}

/* publish_told: all events at once; an aggregate's in their order */
static void
publish_told(const Telling *telling)
{
	pg_uuid_t  *ids = palloc(telling->nevents * sizeof(pg_uuid_t));
	SnWriter	writer;
	SnTick		tick;
	int			i;

	sn_store_ready();
	sn_write_begin(&writer);	/* the number before the ids */
	tick = sn_clock_take(telling->nevents);
	for (i = 0; i < telling->nevents; i++)
		sn_uuid_make(tick + i, &ids[i]);
	sn_write_events(&writer, telling->events, ids, telling->nevents, false);
	sn_write_end(&writer);
}

/* change_told: the rows say what was published */
static void
change_told(const Telling *telling)
{
	Oid			types[] = {INT8ARRAYOID, TIMESTAMPTZOID};
	Datum		values[] = {
		PointerGetDatum(construct_array(telling->ids, telling->nids, INT8OID,
										sizeof(int64), FLOAT8PASSBYVAL,
										TYPALIGN_DOUBLE)),
		TimestampTzGetDatum(telling->now)
	};
	int			n = sn_query_run("update sentinai_internal.deadline d"
								 " set status = case when d.due_at <= $2 then 'expired' else d.status end,"
								 " warned_at = case when d.warned_at is null and d.warn_at <= $2 then $2 else d.warned_at end,"
								 " next_at = case when d.due_at <= $2 then null else d.due_at end,"
								 " expired_at = case when d.due_at <= $2 then $2 end,"
								 " ended_at = case when d.due_at <= $2 then $2 end"
								 " where d.deadline_id = any ($1)",
								 lengthof(types), types, values, NULL);

	if (n != telling->nids)
		elog(ERROR, "%d of %d deadlines that are locked have changed", n,
			 telling->nids);
}

/*
 * sn_deadlines_tell: publish what has come of the n open deadlines that the last
 * query has read and locked
 */
void
sn_deadlines_tell(int n, TimestampTz now, SnTold *told)
{
	Telling		telling = {.now = now, .told = told};
	int			row;

	if (n == 0)
		return;
	telling.events = palloc(2 * n * sizeof(SnEvent));
	telling.ids = palloc(n * sizeof(Datum));
	for (row = 0; row < n; row++)
		add_deadline(&telling, row);
	publish_told(&telling);
	change_told(&telling);
}
