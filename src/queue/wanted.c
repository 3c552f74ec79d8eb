/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wanted.c
 *		Whether an event of its stream is one for a subscription.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/text.h"
#include "log/event_check.h"
#include "queue/replaced.h"
#include "queue/wanted.h"

/* seen_at_start: whether subscribe('latest') saw a transaction's events */
static bool
seen_at_start(const SnSub *sub, int64 txid)
{
	int			i;

	if (txid >= sub->start_xmax)
		return false;
	for (i = 0; i < sub->nstart_xip; i++)
		if (sub->start_xip[i] == txid)
			return false;
	return true;
}

/*
 * has_column: what the fetched event has in a column; false: somebody wrote NULL
 * over it
 */
static bool
has_column(SnLogReader *log, AttrNumber column, Datum *value)
{
	bool		isnull;

	*value = slot_getattr(log->slot, column, &isnull);
	return !isnull;
}

/* is_own_control: an event that tells about a failure of this subscription */
static bool
is_own_control(const SnSub *sub, SnLogReader *log)
{
	Datum		datum;
	Jsonb	   *payload;
	JsonbValue	value;

	if (!has_column(log, Anum_log_event_type, &datum) ||
		!sn_is_control_type(DatumGetTextPP(datum)) ||
		!has_column(log, Anum_log_payload, &datum))
		return false;
	payload = DatumGetJsonbP(datum);
	return getKeyJsonValueFromContainer(&payload->root, "worker_type",
										strlen("worker_type"), &value) &&
		value.type == jbvString &&
		sn_text_has(sub->worker_type, value.val.string.val,
					value.val.string.len);
}

/*
 * has_a_place: whether the fetched event has taken the place of a dead letter of
 * the subscription, which hands it out there
 */
static bool
has_a_place(const SnSub *sub, SnLogReader *log)
{
	bool		isnull;
	pg_uuid_t	id = *DatumGetUUIDP(sn_log_datum(log, Anum_log_event_id,
												 &isnull));

	return sn_uuid_cmp(&id, &sub->last_replaced_by) <= 0 &&
		sn_replaced_has(sub->worker_type, &id, log->snapshot);
}

/* passes_part: whether the fetched event's value of a column is in a part of a filter */
static bool
passes_part(const SnNames *names, SnLogReader *log, AttrNumber column)
{
	const text *name = names->n < 0 ? NULL :
		sn_log_text_if_any(log, column);

	return name == NULL || sn_names_have(names, name);
}

/*
 * sn_in_filter: whether the event that the log reader has fetched passes the
 * filter, and is not from before the subscription's start.  filter: what its
 * stream still has to be filtered by, or NULL.  What it lacks, as somebody wrote
 * NULL over it, speaks for it: it is not lost in silence.
 */
bool
sn_in_filter(const SnSub *sub, const SnFilter *filter, SnLogReader *log)
{
	Datum		value;

	if (filter != NULL &&
		(!passes_part(&filter->types, log, Anum_log_event_type) ||
		 !passes_part(&filter->tenants, log, Anum_log_tenant_id) ||
		 !passes_part(&filter->aggregate_types, log,
					  Anum_log_aggregate_type)))
		return false;
	if (sub->start_xmax >= 0 && has_column(log, Anum_log_txid, &value) &&
		seen_at_start(sub, DatumGetInt64(value)))
		return false;
	if (sub->start_time != DT_NOBEGIN &&
		has_column(log, Anum_log_occurred_at, &value) &&
		DatumGetTimestampTz(value) < sub->start_time)
		return false;
	return true;
}

/* sn_wanted: whether it is one for an agent of the subscription */
bool
sn_wanted(const SnSub *sub, const SnFilter *filter, SnLogReader *log)
{
	if (!sn_in_filter(sub, filter, log))
		return false;
	if (sub->has_replaced && has_a_place(sub, log))
		return false;
	return !is_own_control(sub, log);
}

/*
 * sn_note_gone: so many events were passed that nobody can hand out: the log has lost
 * their rows, or their partition.  Retention drops none that somebody lacks, so it
 * was done by hand, or else is a fault, and is not to go unseen.
 */
void
sn_note_gone(const SnSub *sub, int n)
{
	if (n > 0)
		ereport(LOG,
				(errmsg_plural("%d event of worker type \"%s\" is passed that the log has no more",
							   "%d events of worker type \"%s\" are passed that the log has no more",
							   n, n, text_to_cstring(sub->worker_type)),
				 errhint("A partition of event_log was dropped, or rows of it were deleted.")));
}
