/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_held.c
 *		Events that a relay has parked in event_retry, past its lanes' positions.
 *
 * Those of a topic that cannot be written now have the topic's name as their
 * label, and go out in the order of their lanes before anything newer of it.
 * Those without a label are dead letters that retry_dead_letter() put back.
 *
 * Rows are written and removed under the lock of their lane, in the transaction
 * that moves the lane's position past them, so that an event is either before
 * the position with a row, or behind it without one.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/guc.h"
#include "base/hash.h"
#include "base/printable.h"
#include "log/event.h"
#include "queue/control.h"
#include "queue/dead_letter.h"
#include "queue/retry.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"
#include "store/lane_hints.h"

#define EVENT_COST	256			/* bytes of an event beside its payload */

struct SnRelayParker
{
	int			sub_id;
	TimestampTz now;
	SnInserter *inserter;
	int			count[SN_MAX_LANES];
};

/* A row that is to be sent */
typedef struct Row
{
	SnPos		pos;
	int			lane;
	pg_uuid_t	id;
	bool		seen;
	SnRelayEvent *event;
} Row;

/* What is read of a label's rows */
typedef struct Reading
{
	int			sub_id;
	Snapshot	snapshot;
	StringInfoData json;
	Size		max_text;
	size_t		bytes;			/* to be read yet */
	Row		   *rows;
	int			nrows;
} Reading;

/* sn_relay_row: the row of an event that has none, or what there is to say of it */
void
sn_relay_row(SnRetry *row, int sub_id, int lane, SnPos pos,
			 const char *event_id)
{
	memset(row, 0, sizeof(SnRetry));
	row->sub_id = sub_id;
	row->lane = lane;
	row->pos = pos;
	row->event_id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in,
													   CStringGetDatum(event_id)));
}

/* sn_relay_park_begin: events are about to be parked */
SnRelayParker *
sn_relay_park_begin(int sub_id)
{
	SnRelayParker *parker = palloc0(sizeof(SnRelayParker));

	parker->sub_id = sub_id;
	parker->now = sn_now();
	parker->inserter = sn_retry_begin();
	return parker;
}

/* sn_relay_park: park the event of a lane, which is locked */
void
sn_relay_park(SnRelayParker *parker, int lane, SnPos pos,
			  const SnRecordEvent *event, const char *topic,
			  const char *error)
{
	SnRetry		retry;

	sn_relay_row(&retry, parker->sub_id, lane, pos, event->event_id);
	retry.tenant_id = cstring_to_text(event->tenant_id);
	if (event->aggregate_id != NULL)
		retry.aggregate_id = cstring_to_text(event->aggregate_id);
	retry.hash = sn_key_hash(retry.tenant_id, retry.aggregate_id);
	retry.first_failed_at = parker->now;
	retry.last_error = sn_storable_text(error, strlen(error), SN_ERROR_MAX);
	retry.topic = cstring_to_text(topic);
	sn_retry_insert(parker->inserter, &retry);
	parker->count[lane]++;
}

/* sn_relay_park_end: write what was parked */
void
sn_relay_park_end(SnRelayParker *parker)
{
	int			lane;

	(void) sn_insert_end(parker->inserter);
	for (lane = 0; lane < SN_MAX_LANES; lane++)
		if (parker->count[lane] > 0)
			sn_relay_count(parker->sub_id, lane, 0, parker->count[lane]);
}

/* get_row: the row at a position, as it is now */
static bool
get_row(int sub_id, int lane, SnPos pos, SnRetry *retry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = sn_retry_get(sub_id, lane, pos, snapshot, retry);

	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * sn_relay_unpark: forget a parked event of a locked lane; its lane has still
 * to be counted.  *row becomes its row, if that is there.
 */
void
sn_relay_unpark(int sub_id, int lane, SnPos pos, SnRetry *row)
{
	if (get_row(sub_id, lane, pos, row))
		sn_retry_delete(row, 1);
}

/* sn_relay_label: a parked event of a locked lane waits for its topic */
void
sn_relay_label(int sub_id, int lane, SnPos pos, const char *topic,
			   const char *error)
{
	SnRetry		retry;

	if (!get_row(sub_id, lane, pos, &retry))
		return;
	retry.topic = cstring_to_text(topic);
	retry.last_error = sn_storable_text(error, strlen(error), SN_ERROR_MAX);
	retry.first_failed_at = sn_now();
	sn_retry_replace(&retry);
}

/* sn_relay_next_label: the label after *topic (NULL: the first), and why */
bool
sn_relay_next_label(int sub_id, char **topic, char **error)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	text	   *after = cstring_to_text(*topic != NULL ? *topic : "");
	SnRetry		retry;
	bool		found = sn_retry_topic_after(sub_id, after, snapshot, &retry);

	if (found)
	{
		*topic = text_to_cstring(retry.topic);
		*error = retry.last_error == NULL ? pstrdup("") :
			text_to_cstring(retry.last_error);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

/* collect: the first rows of a label in some lanes, lane after lane */
static void
collect(Reading *r, const char *topic, uint64 lanes, int max)
{
	static int	start = 0;
	text	   *label = topic == NULL ? NULL : cstring_to_text(topic);
	int			i;

	start++;
	for (i = 0; i < SN_MAX_LANES && r->nrows < max; i++)
	{
		int			lane = (start + i) % SN_MAX_LANES;
		SnScan		scan;

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		sn_retry_scan_topic(&scan, r->sub_id, label, lane, r->snapshot);
		while (r->nrows < max && sn_scan_next(&scan))
		{
			Row		   *row = &r->rows[r->nrows++];
			bool		isnull;

			CHECK_FOR_INTERRUPTS();
			row->lane = lane;
			row->pos = DatumGetInt64(slot_getattr(scan.slot, Anum_retry_pos,
												  &isnull));
			row->id = *DatumGetUUIDP(slot_getattr(scan.slot,
												  Anum_retry_event_id,
												  &isnull));
		}
		sn_scan_end(&scan);
	}
}

/* read_rows: the events of some rows, as far as the bytes go */
static void
read_rows(void *arg)
{
	Reading    *r = arg;
	SnLogReader *log = sn_log_begin(r->snapshot);
	text	   *name = sn_relay.settings.name;
	int			i;

	for (i = 0; i < r->nrows && r->bytes > 0 &&
		 (i == 0 || !sn_transform_late()); i++)
	{
		Row		   *row = &r->rows[i];
		SnEventRow	event;

		CHECK_FOR_INTERRUPTS();
		row->seen = true;
		if (!sn_event_row(log, &row->id, name, r->snapshot, &event))
			continue;
		row->event = sn_relay_event(event.values, event.nulls, &r->json,
									r->max_text);
		r->bytes -= Min(r->bytes,
						row->event->event.payload_len + EVENT_COST);
	}
	sn_log_end(log);
}

/* read_singly: the same one by one, as there is one that cannot be read */
static void
read_singly(Reading *r)
{
	Reading		one = *r;
	char	   *error;
	int			i;

	one.nrows = 1;
	for (i = 0; i < r->nrows && one.bytes > 0 &&
		 (i == 0 || !sn_transform_late()); i++)
	{
		one.rows = &r->rows[i];
		if (!sn_relay_guarded(read_rows, &one, &error))
			one.rows->event = sn_relay_bad_event(&one.rows->id, error);
	}
}

/* forget_row: its event is nowhere any more */
static void
forget_row(int sub_id, const Row *row)
{
	SnRetry		gone;

	if (!sn_lock_lane(sub_id, row->lane, false))
		return;
	sn_relay_unpark(sub_id, row->lane, row->pos, &gone);
	sn_relay_count(sub_id, row->lane, 0, -1);
}

/*
 * sn_relay_parked: the first parked events with a label (NULL: without one) in
 * some lanes, in order, at most max and as far as the bytes go, but one at
 * least.  *all says that there are no more.
 */
List *
sn_relay_parked(int sub_id, const char *topic, uint64 lanes, int max,
				size_t bytes, Size max_text, bool *all)
{
	Reading		r = {.sub_id = sub_id, .max_text = max_text, .bytes = bytes};
	List	   *events = NIL;
	char	   *error;
	int			i;

	r.snapshot = RegisterSnapshot(GetLatestSnapshot());
	r.rows = palloc0(max * sizeof(Row));
	initStringInfo(&r.json);
	collect(&r, topic, lanes, max);
	if (!sn_relay_guarded(read_rows, &r, &error))
	{
		memset(&r.json, 0, sizeof(r.json));
		initStringInfo(&r.json);
		for (i = 0; i < r.nrows; i++)
			r.rows[i].event = NULL;
		r.bytes = bytes;
		read_singly(&r);
	}
	*all = r.nrows < max;
	for (i = 0; i < r.nrows; i++)
	{
		Row		   *row = &r.rows[i];

		if (!row->seen)
		{
			*all = false;
			break;
		}
		if (row->event == NULL)
		{
			forget_row(sub_id, row);
			continue;
		}
		row->event->lane = row->lane;
		row->event->pos = row->pos;
		events = lappend(events, row->event);
	}
	UnregisterSnapshot(r.snapshot);
	return events;
}

/* bury_row: an event has waited too long for its topic */
static void
bury_row(SnRetry *row, const char *topic)
{
	char	   *error = row->last_error == NULL ? "" :
		text_to_cstring(row->last_error);

	sn_retry_delete(row, 1);
	sn_relay_count(row->sub_id, row->lane, 0, -1);
	sn_relay_bury(row, topic,
				  psprintf("waited longer than sentinai.topic_timeout: %s",
						   error));
}

/*
 * sn_relay_expire: what has waited for a topic longer than it may becomes dead
 * letters, at most max of them.  Returns how many.
 */
int
sn_relay_expire(int sub_id, const char *topic, uint64 lanes, int max)
{
	TimestampTz since = sn_now() - (TimestampTz) sn_topic_timeout * USECS_PER_SEC;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	text	   *label = cstring_to_text(topic);
	SnRetry    *old = palloc(max * sizeof(SnRetry));
	int			n = 0;
	int			lane;
	int			i;

	for (lane = 0; lane < SN_MAX_LANES && n < max; lane++)
	{
		SnScan		scan;

		if ((lanes & SN_LANE_BIT(lane)) == 0)
			continue;
		sn_retry_scan_topic(&scan, sub_id, label, lane, snapshot);
		while (n < max && sn_scan_next(&scan))
		{
			sn_retry_read(&scan, &old[n]);
			if (old[n].first_failed_at > since)
				break;
			n++;
		}
		sn_scan_end(&scan);
	}
	UnregisterSnapshot(snapshot);
	for (i = 0; i < n; i++)
	{
		SnRetry		row;

		CHECK_FOR_INTERRUPTS();
		if (sn_lock_lane(sub_id, old[i].lane, false) &&
			get_row(sub_id, old[i].lane, old[i].pos, &row))
			bury_row(&row, topic);
	}
	return n;
}
