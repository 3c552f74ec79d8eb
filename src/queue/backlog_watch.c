/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog_watch.c
 *		How long the backlogs are that have a limit: the sequencer's process looks,
 *		and notes which are over.
 *
 * The backlog of a subscription is what its slices say, lane by lane (lag.c), in
 * a few milliseconds whatever its length.  What it reads of its past is none: no
 * publisher can do anything about that.  No tenant has a longer one.  Only
 * when that is over a tenant's limit are the tenant's own events counted, in the
 * log: those that are not older than the first one that waits in their lane, on
 * the tracks that they may be on.
 * Counting goes on in steps, with rounds in between, and ends as soon as the
 * limit is passed; so it reads no more than the limit, and what is done already
 * in lanes that are ahead.  It gives up when that is ten times the limit.
 *
 * An episode begins above the limit and ends at nine tenths of it.  Its row, the
 * event that tells of it and what publishers are told are one transaction.  So
 * there is one event for the beginning and one for the end, whatever crashes.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "log/event.h"
#include "queue/backlog_limit.h"
#include "queue/lag.h"
#include "queue/subscription.h"
#include "sequencer/track_rows.h"
#include "tenancy/limit.h"
#include "tenancy/right.h"

#define PAGE_EVENTS		1000	/* that are counted in one step */
#define GIVE_UP			10		/* times the limit, of events that are looked at */

/* How far the watch has come */
typedef struct Watch
{
	int			place;			/* of the limit at hand, in the order of the rows */
	bool		counting;		/* the tenant's events */
	pg_uuid_t	after;			/* counted up to here */
	int64		counted;
	int64		looked_at;
} Watch;

static Watch watch;
static bool nothing_watched = false;
static bool watch_registered = false;

/* forget_watched: whether there are limits has to be looked up */
static void
forget_watched(Datum arg, Oid relid)
{
	nothing_watched = false;
}

/* sn_backlogs_are_watched: whether there may be a limit, at next to no cost */
bool
sn_backlogs_are_watched(void)
{
	return !nothing_watched;
}

/* filter_of: what a subscription gets by now */
static const SnFilter *
filter_of(const SnSub *sub)
{
	return &sub->segments[sub->nsegments - 1].filter;
}

/*
 * waiting_for: what waits in a subscription for all tenants, or on the tracks
 * that a tenant's may be on.  In between the others of its lane were handed out.
 */
static int64
waiting_for(SnSub *sub, const text *tenant_id, TimestampTz *oldest)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		events;

	events = sn_sub_backlog(sub, sn_text_is(tenant_id, SN_EVERY) ? -1 :
							SN_COMMON_BIT |
							SN_TRACK_BIT(sn_track_of(tenant_id, snapshot)),
							snapshot, oldest);
	UnregisterSnapshot(snapshot);
	return events;
}

/* wants_tenant: whether a subscription is for a tenant at all */
static bool
wants_tenant(const SnSub *sub, const text *tenant_id)
{
	return sn_names_have(&filter_of(sub)->tenants, tenant_id);
}

/* count_page: some more events of a tenant; false when there are no more */
static bool
count_page(const SnSub *sub, const text *tenant_id, const TimestampTz *oldest)
{
	Oid			types[] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID, UUIDOID,
		INT4OID, TIMESTAMPTZARRAYOID, INT4OID};
	char		nulls[] = "       ";
	int			lanes = sn_node()->lanes;
	TimestampTz since = DT_NOEND;
	Datum		elems[SN_MAX_LANES];
	Datum		args[lengthof(types)] = {PointerGetDatum(tenant_id), 0, 0,
		UUIDPGetDatum(&watch.after), Int32GetDatum(PAGE_EVENTS), 0,
	Int32GetDatum(lanes)};
	SPITupleTable *table;
	bool		isnull;
	int64		n;
	Datum		last;
	int			i;

	for (i = 0; i < lanes; i++)
	{
		elems[i] = TimestampTzGetDatum(oldest[i]);
		since = Min(since, oldest[i]);
	}
	args[2] = TimestampTzGetDatum(since);
	args[5] = PointerGetDatum(construct_array(elems, lanes, TIMESTAMPTZOID,
											  sizeof(TimestampTz),
											  FLOAT8PASSBYVAL,
											  TYPALIGN_DOUBLE));
	args[1] = sn_names_array(&filter_of(sub)->types, &isnull);
	if (isnull)
		nulls[1] = 'n';
	if (watch.looked_at == 0)
		nulls[3] = 'n';
	if (SPI_execute_with_args("select pg_catalog.count(*), pg_catalog.count(*) filter (where e.occurred_at >="
							  " $6[1 + (sentinai.partition_hash(sentinai.get_partition_key(e.tenant_id, e.aggregate_id)) & 2147483647) % $7]),"
							  " (pg_catalog.array_agg(e.event_id order by e.event_id desc))[1]"
							  " from sentinai.get_events_by_tenant($1, $2, $3, null, null, $4, $5) e",
							  lengthof(types), types, args, nulls, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "the events of a tenant cannot be counted");
	table = SPI_tuptable;
	n = DatumGetInt64(SPI_getbinval(table->vals[0], table->tupdesc, 1,
									&isnull));
	watch.looked_at += n;
	watch.counted += DatumGetInt64(SPI_getbinval(table->vals[0],
												 table->tupdesc, 2, &isnull));
	last = SPI_getbinval(table->vals[0], table->tupdesc, 3, &isnull);
	if (!isnull)
		watch.after = *DatumGetUUIDP(last);
	return n == PAGE_EVENTS;
}

/*
 * measure_backlog: the backlog that a limit is about, or as much of it as decides; -1: it
 * is not known yet.  more: another step will tell more.
 */
static int64
measure_backlog(SnSub *sub, const SnBacklogLimit *limit, bool *more)
{
	TimestampTz oldest[SN_MAX_LANES];
	int64		events = waiting_for(sub, limit->tenant_id, oldest);

	*more = false;
	if (events <= limit->max_backlog * 9 / 10 ||
		sn_text_is(limit->tenant_id, SN_EVERY))
		return events;
	if (!wants_tenant(sub, limit->tenant_id))
		return 0;
	if (!watch.counting)
		watch.counted = watch.looked_at = 0;
	watch.counting = count_page(sub, limit->tenant_id, oldest) &&
		watch.counted <= limit->max_backlog &&
		watch.looked_at < GIVE_UP * limit->max_backlog + PAGE_EVENTS;
	*more = watch.counting;
	if (*more)
		return -1;
	/* events that are not in a slice yet were counted, too */
	return watch.counted;
}

/* put_json: a text as a JSON string */
static void
put_json(StringInfo json, const char *name, const text *value)
{
	appendStringInfo(json, "\"%s\": ", name);
	escape_json(json, text_to_cstring(value));
	appendStringInfoString(json, ", ");
}

/* tell_payload: what there is to tell of an episode */
static char *
tell_payload(const SnBacklogLimit *limit, int64 backlog)
{
	char		room[MAXDATELEN + 1];
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	put_json(&json, "worker_type", limit->worker_type);
	put_json(&json, "tenant_id", limit->tenant_id);
	put_json(&json, "policy",
			 DatumGetTextPP(limit->values[Anum_pressure_policy - 1]));
	JsonEncodeDateTime(room, limit->values[Anum_pressure_over_since - 1],
					   TIMESTAMPTZOID, NULL);
	appendStringInfo(&json, "\"over_since\": \"%s\", \"max_backlog\": " INT64_FORMAT ", \"backlog\": ",
					 room, limit->max_backlog);
	if (backlog < 0)
		appendStringInfoString(&json, "null}");
	else
		appendStringInfo(&json, INT64_FORMAT "}", backlog);
	return json.data;
}

/* sn_backlog_tell: publish that an episode has begun or is over */
void
sn_backlog_tell(const SnBacklogLimit *limit, const char *type, int64 backlog)
{
	SnEvent		event;
	pg_uuid_t	id;

	sn_event_own(&event, type, tell_payload(limit, backlog));
	event.tenant_id = limit->tenant_id;
	event.aggregate_type = cstring_to_text("subscription");
	event.aggregate_id = limit->worker_type;
	sn_publish(&event, &id);
}

/* note_set: a set of names in the row; whether it is another one now */
static bool
note_set(SnBacklogLimit *limit, AttrNumber column, const SnNames *names)
{
	Datum	   *value = &limit->values[column - 1];
	bool	   *isnull = &limit->nulls[column - 1];
	bool		new_isnull = true;
	Datum		new = names == NULL ? (Datum) 0 : sn_names_array(names, &new_isnull);
	bool		same = new_isnull == *isnull &&
		(new_isnull || DatumGetBool(OidFunctionCall2Coll(F_ARRAY_EQ,
														 C_COLLATION_OID,
														 *value, new)));

	*value = new;
	*isnull = new_isnull;
	return !same;
}

/* note_filter: what the subscription gets; whether that is something else now */
static bool
note_filter(SnBacklogLimit *limit, const SnSub *sub)
{
	const SnFilter *filter = sub == NULL ? NULL : filter_of(sub);
	bool		types = note_set(limit, Anum_pressure_event_types,
								 filter == NULL ? NULL : &filter->types);
	bool		tenants = note_set(limit, Anum_pressure_tenants,
								   filter == NULL ? NULL : &filter->tenants);

	return types || tenants;
}

/*
 * note_backlog: how many wait, for what publishers are told; whether that is worth
 * a new row.  All of them read the rows again then, so a little more or less is not.
 */
static bool
note_backlog(SnBacklogLimit *limit, int64 backlog)
{
	Datum	   *value = &limit->values[Anum_pressure_backlog - 1];
	bool	   *isnull = &limit->nulls[Anum_pressure_backlog - 1];
	int64		noted = *isnull ? 0 : DatumGetInt64(*value);
	bool		same = !*isnull && Max(backlog, noted) - Min(backlog, noted) <= noted / 10;

	*value = Int64GetDatum(backlog);
	*isnull = false;
	return !same;
}

/*
 * decide: whether an episode begins, goes on or ends.  The row is read anew under
 * the lock: somebody may have changed it.  Who is changing one is not waited for,
 * since rounds would wait, too: the next look decides.
 */
static void
decide(const SnBacklogLimit *seen, const SnSub *sub, int64 backlog)
{
	SnBacklogLimit *limit;
	List	   *rows;
	bool		begins = !seen->over && backlog > seen->max_backlog;
	bool		ends = seen->over && backlog <= seen->max_backlog * 9 / 10;
	bool		news;

	if ((!begins && !seen->over) || !sn_lock_limits(false))
		return;
	rows = sn_backlog_limits(seen->worker_type, seen->tenant_id);
	if (rows == NIL)
		return;
	limit = linitial(rows);
	if (limit->over != seen->over || limit->max_backlog != seen->max_backlog)
		return;
	news = note_filter(limit, sub);
	news |= note_backlog(limit, backlog);
	if (!news && !begins && !ends)
		return;
	if (begins)
		limit->values[Anum_pressure_over_since - 1] =
			TimestampTzGetDatum(GetCurrentTimestamp());
	if (begins || ends)
		sn_backlog_tell(limit, begins ? SN_TYPE_BACKPRESSURE :
						SN_TYPE_BACKPRESSURE_OVER, backlog);
	limit->nulls[Anum_pressure_over_since - 1] = ends;
	limit->nulls[Anum_pressure_backlog - 1] = ends;
	sn_backlog_limit_write(limit);
}

/* watch_one: a step with the limit at hand; whether it needs another one */
static bool
watch_one(const SnBacklogLimit *limit)
{
	SnSub	   *sub = sn_sub_by_name(limit->worker_type);
	int64		backlog = 0;
	bool		more = false;

	if (sub != NULL)
	{
		SPI_connect();
		backlog = measure_backlog(sub, limit, &more);
		SPI_finish();
	}
	if (backlog >= 0)
		decide(limit, sub, backlog);
	return more;
}

/* next_limit: the one at hand is done with */
static void
next_limit(void)
{
	watch.place++;
	watch.counting = false;
}

/*
 * sn_backlog_watch: a step of looking at the backlogs that have a limit, in the
 * caller's transaction; whether there is more to do before the next look.  When
 * an error ended a step, the next one goes on with the limit behind it.
 */
bool
sn_backlog_watch(void)
{
	static bool in_step = false;
	List	   *limits;

	if (!watch_registered)
		sn_watch_relations(forget_watched);
	watch_registered = true;
	nothing_watched = true;		/* a change while looking clears it again */
	limits = sn_present(SN_BACKLOG_LIMIT) ? sn_backlog_limits(NULL, NULL) : NIL;
	nothing_watched &= limits == NIL;
	if (in_step)
		next_limit();
	if (watch.place < list_length(limits))
	{
		in_step = true;
		if (!watch_one(list_nth(limits, watch.place)))
			next_limit();
		in_step = false;
	}
	if (watch.place < list_length(limits))
		return true;
	watch.place = 0;
	return false;
}
