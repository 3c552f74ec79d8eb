/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wanted.c
 *		Whether an event of its stream is one for a subscription.
 */
#include "postgres.h"

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

/* is_own_control: an event that tells about a failure of this subscription */
static bool
is_own_control(const SnSub *sub, SnLogReader *log, const text *event_type)
{
	bool		isnull;
	Datum		datum;
	Jsonb	   *payload;
	JsonbValue	value;

	if (!sn_is_control_type(event_type))
		return false;
	datum = slot_getattr(log->slot, Anum_log_payload, &isnull);
	if (isnull)
		return false;			/* somebody wrote it over */
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
	return names->n < 0 || sn_names_have(names, sn_log_text(log, column));
}

/*
 * sn_in_filter: whether the event that the log reader has fetched passes the
 * filter, and is not from before the subscription's start.  filter: what its
 * stream still has to be filtered by, or NULL.
 */
bool
sn_in_filter(const SnSub *sub, const SnFilter *filter, SnLogReader *log)
{
	bool		isnull;

	if (filter != NULL &&
		(!passes_part(&filter->types, log, Anum_log_event_type) ||
		 !passes_part(&filter->tenants, log, Anum_log_tenant_id) ||
		 !passes_part(&filter->aggregate_types, log,
					  Anum_log_aggregate_type)))
		return false;
	if (sub->start_xmax >= 0 &&
		seen_at_start(sub, DatumGetInt64(sn_log_datum(log, Anum_log_txid,
													  &isnull))))
		return false;
	if (sub->start_time != DT_NOBEGIN &&
		DatumGetTimestampTz(sn_log_datum(log, Anum_log_occurred_at,
										 &isnull)) < sub->start_time)
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
	return !is_own_control(sub, log, sn_log_text(log, Anum_log_event_type));
}
