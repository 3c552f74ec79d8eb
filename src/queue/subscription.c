/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * subscription.c
 *		Subscriptions as the queue functions see them: a cache in each session.
 *
 * subscribe() and its like announce a change as one of the catalog's about
 * table subscription, which every session learns of before it can get a lock
 * that the change held.  So who holds a lane's lock and finds the cache valid
 * knows the subscription as it is; changes that must not run beside a claim
 * take the locks of all its lanes.
 *
 * A change that arrives while a function runs only marks the cache; it is
 * emptied when the next function begins, so that pointers stay good.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/printable.h"
#include "queue/replaced.h"
#include "queue/subscription.h"
#include "sequencer/track_rows.h"
#include "store/store.h"
#include "store/xact_watch.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_may_see_worker_type);

static MemoryContext cache_context = NULL;
static List *cache = NIL;		/* of SnSub */
static bool cache_valid = false;
static uint64 loads = 0;		/* how often the cache was filled */
static Oid	watched = InvalidOid;	/* table subscription */

/* sn_unknown_worker_type: the error of that name */
void
sn_unknown_worker_type(const text *worker_type)
{
	text	   *shown = sn_storable_text(VARDATA_ANY(worker_type),
									 VARSIZE_ANY_EXHDR(worker_type),
									 SN_WORKER_TYPE_MAX);

	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("worker type \"%s\" does not exist",
					text_to_cstring(shown)),
			 errhint("Make it with subscribe().")));
}

/*
 * tenants_of: the tenants of the subscription's filter and of its earlier
 * ones, a tenant perhaps more than once; false when it is for all tenants.
 */
static bool
tenants_of(const SnSub *sub, List **tenants)
{
	int			i;
	int			j;

	*tenants = NIL;
	for (i = 0; i < sub->nsegments; i++)
	{
		const SnNames *names = &sub->segments[i].filter.tenants;

		if (names->n < 0)
			return false;
		for (j = 0; j < names->n; j++)
			*tenants = lappend(*tenants, names->names[j]);
	}
	return true;
}

/*
 * may_work: whether the caller may claim from a subscription, and work for every
 * tenant that it has events of
 */
static bool
may_work(const SnSub *sub)
{
	List	   *tenants;
	ListCell   *lc;

	if (!sn_may_claim(sub->worker_type))
		return false;
	if (!sn_gate_asks() || sn_gate_may(SN_RIGHT_WORK, NULL))
		return true;
	if (!tenants_of(sub, &tenants))
		return false;
	foreach(lc, tenants)
		if (!sn_gate_may(SN_RIGHT_WORK, lfirst(lc)))
			return false;
	return true;
}

/* sn_sub_require_work: an error unless he may */
void
sn_sub_require_work(const SnSub *sub)
{
	if (!may_work(sub))
		sn_refuse_worker_type("work for");
}

/*
 * sn_sub_takes: whether an event of a tenant may be tried again where somebody
 * says so: with isolation, who claims is asked for the tenants of the filter, and
 * a letter may be from before these.  Whoever narrows the filter has the lane's
 * lock, as the caller has.
 */
bool
sn_sub_takes(const SnSub *sub, const text *tenant_id)
{
	const SnNames *tenants = sub == NULL ? NULL :
		&sub->segments[sub->nsegments - 1].filter.tenants;

	return tenants != NULL &&
		(!sn_gate_asks() || sub->is_relay || tenants->n < 0 ||
		 sn_names_have(tenants, tenant_id));
}

/*
 * sn_sub_may_watch: whether the caller may see that there is a subscription, and
 * its figures: who may watch all, or gets its events.  NULL: there is none.
 */
bool
sn_sub_may_watch(const SnSub *sub)
{
	return sn_gate_may_watch() || (sub != NULL && may_work(sub));
}

/* may_see_worker_type(worker_type text) returns boolean */
Datum
sentinai_may_see_worker_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) &&
				   sn_sub_may_watch(sn_sub_by_name(PG_GETARG_TEXT_PP(0))));
}

/* sn_sub_require_lease: an error if a lease is longer than the subscription allows */
void
sn_sub_require_lease(const SnSub *sub, int64 lease)
{
	Interval	most = {.time = sub->max_lease};

	if (lease > sub->max_lease)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("lease is longer than the subscription allows"),
				 errdetail("Worker type \"%s\" allows a lease of %s.",
						   text_to_cstring(sub->worker_type),
						   DatumGetCString(DirectFunctionCall1(interval_out,
															   IntervalPGetDatum(&most)))),
				 errhint("Ask for a shorter lease, and extend() it while the work goes on.")));
}

/* sn_sub_shares: whether the lanes that a role holds of it are counted */
bool
sn_sub_shares(const SnSub *sub, const SnSubSlot *slot)
{
	return sub->max_lanes < SN_MAX_LANES && slot != NULL;
}

/*
 * sn_sub_require_manage: an error unless the caller may make, change or end a
 * subscription: who operates for every tenant, or works for it
 */
void
sn_sub_require_manage(const text *worker_type)
{
	if (sn_may(SN_RIGHT_OPERATE, NULL))
		return;
	if (!sn_may_claim(worker_type) || !sn_may(SN_RIGHT_WORK, NULL))
		sn_refuse_worker_type("manage");
}

static void
invalidate(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == watched)
		cache_valid = false;
}

/*
 * subscriptions_xact_end: what a failed transaction saw of its own is not
 * there
 */
static void
subscriptions_xact_end(XactEvent event)
{
	if (event == XACT_EVENT_ABORT)
		cache_valid = false;
}

static void
subscriptions_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		cache_valid = false;
}

static SnXactWatch watch = {.end = subscriptions_xact_end,.sub_end = subscriptions_subxact_end};

/* sn_subs_changed: this transaction has changed what the cache holds */
void
sn_subs_changed(void)
{
	CacheInvalidateRelcacheByRelid(sn_rel(SN_SUBSCRIPTION));
	CommandCounterIncrement();
	cache_valid = false;
}

/* read_int8s: a bigint[] as an array of its own */
static int
read_int8s(Datum datum, int64 **result)
{
	ArrayType  *array = DatumGetArrayTypePCopy(datum);

	*result = (int64 *) ARR_DATA_PTR(array);
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* read_policy: max_attempts and backoff */
static void
read_policy(Datum max_attempts, Datum backoff, SnPolicy *policy)
{
	ArrayType  *array = DatumGetArrayTypePCopy(backoff);

	policy->max_attempts = DatumGetInt32(max_attempts);
	policy->nbackoff = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	policy->backoff = (Interval *) ARR_DATA_PTR(array);
}

/* find_stream: filter and first round of a stream under a snapshot, if there is one */
static bool
find_stream(int stream_id, Snapshot snapshot, SnSegment *segment)
{
	SnTableScan *scan = sn_table_read(SN_STREAM, snapshot);
	TupleTableSlot *slot;
	bool		found = false;

	while (!found && (slot = sn_table_next(scan)) != NULL)
	{
		Datum	   *values = slot->tts_values;
		bool	   *nulls = slot->tts_isnull;

		if (DatumGetInt32(values[Anum_stream_id - 1]) != stream_id)
			continue;
		found = true;
		segment->stream_id = stream_id;
		segment->first_round = nulls[Anum_stream_first_round - 1] ? -1 :
			DatumGetInt64(values[Anum_stream_first_round - 1]);
		sn_names_read(values[Anum_stream_event_types - 1],
					  nulls[Anum_stream_event_types - 1],
					  &segment->filter.types);
		sn_names_read(values[Anum_stream_tenants - 1],
					  nulls[Anum_stream_tenants - 1],
					  &segment->filter.tenants);
		sn_names_read(values[Anum_stream_aggregate_types - 1],
					  nulls[Anum_stream_aggregate_types - 1],
					  &segment->filter.aggregate_types);
	}
	sn_table_end(scan);
	return found;
}

/* sn_stream_row: the same of a stream that is there */
void
sn_stream_row(int stream_id, Snapshot snapshot, SnSegment *segment)
{
	if (!find_stream(stream_id, snapshot, segment))
		elog(ERROR, "stream %d is missing", stream_id);
}

/* read_segments: the streams of a subscription, oldest first */
static void
read_segments(SnSub *sub, Datum *values, bool *nulls, Snapshot snapshot)
{
	int64	   *until = NULL;
	int32	   *streams = NULL;
	int			nold = 0;
	int			i;

	if (!nulls[Anum_sub_old_streams - 1])
	{
		ArrayType  *array =
			DatumGetArrayTypePCopy(values[Anum_sub_old_streams - 1]);

		streams = (int32 *) ARR_DATA_PTR(array);
		nold = read_int8s(values[Anum_sub_old_until - 1], &until);
	}
	sub->nsegments = nold + 1;
	sub->segments = palloc0(sub->nsegments * sizeof(SnSegment));
	for (i = 0; i < sub->nsegments; i++)
	{
		SnSegment  *segment = &sub->segments[i];

		sn_stream_row(i < nold ? streams[i] :
					  DatumGetInt32(values[Anum_sub_stream_id - 1]),
					  snapshot, segment);
		segment->until = i < nold ? until[i] : PG_INT64_MAX;
		sub->filling = sub->filling || segment->first_round < 0;
	}
}

/* read_start: where a subscription begins */
static void
read_start(SnSub *sub, Datum *values, bool *nulls)
{
	sub->start_pos = DatumGetInt64(values[Anum_sub_start_pos - 1]);
	sub->tracks_pos = SN_POS_MAX;
	if (!nulls[Anum_sub_tracks_from - 1])
		sub->tracks_pos =
			Max(sub->start_pos,
				SN_ROUND_POS(DatumGetInt64(values[Anum_sub_tracks_from - 1])));
	if (!nulls[Anum_sub_in_line_until - 1])
		sub->in_line_pos =
			SN_ROUND_POS(DatumGetInt64(values[Anum_sub_in_line_until - 1]));
	sub->start_time = DT_NOBEGIN;
	sub->start_xmax = -1;
	if (!nulls[Anum_sub_start_time - 1])
		sub->start_time =
			DatumGetTimestampTz(values[Anum_sub_start_time - 1]);
	if (!nulls[Anum_sub_start_xmax - 1])
		sub->start_xmax = DatumGetInt64(values[Anum_sub_start_xmax - 1]);
	if (!nulls[Anum_sub_start_xip - 1])
		sub->nstart_xip = read_int8s(values[Anum_sub_start_xip - 1],
									 &sub->start_xip);
}

/* read_sub: a row of table subscription */
static SnSub *
read_sub(TupleTableSlot *slot, Snapshot snapshot)
{
	SnSub	   *sub = palloc0(sizeof(SnSub));
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;

	slot_getallattrs(slot);
	sub->sub_id = DatumGetInt32(values[Anum_sub_id - 1]);
	sub->worker_type = DatumGetTextPCopy(values[Anum_sub_worker_type - 1]);
	read_policy(values[Anum_sub_max_attempts - 1],
				values[Anum_sub_backoff - 1], &sub->policy);
	sub->block = text_to_cstring(DatumGetTextPP(values[Anum_sub_on_dead - 1]))[0] == 'b';
	sub->ordered = DatumGetBool(values[Anum_sub_ordered - 1]);
	sub->is_relay = DatumGetBool(values[Anum_sub_is_relay - 1]);
	sub->created_at = DatumGetTimestampTz(values[Anum_sub_created_at - 1]);
	sub->max_lease = nulls[Anum_sub_max_lease - 1] ? SN_DAY :
		sn_duration_of(DatumGetIntervalP(values[Anum_sub_max_lease - 1]));
	sub->max_lanes = nulls[Anum_sub_max_lanes - 1] ? SN_MAX_LANES :
		DatumGetInt32(values[Anum_sub_max_lanes - 1]);
	read_start(sub, values, nulls);
	read_segments(sub, values, nulls, snapshot);
	sub->has_replaced = sn_replaced_last(sub->worker_type, snapshot,
										 &sub->last_replaced_by);
	sub->sources = palloc((2 * sub->nsegments + 1) * sizeof(SnSource));
	return sub;
}

/* add_source_part: read a stream up to a position */
static void
add_source_part(SnSub *sub, int stream_id, SnPos until, const SnFilter *filter,
				SnTracks merged)
{
	SnSource   *source = &sub->sources[sub->nsources++];

	source->stream_id = stream_id;
	source->until = until;
	source->filter = filter;
	source->merged = merged;
	source->ends = sub->track_ends;
}

/* add_source: read a stream up to a round, if there is anything to read */
static void
add_source(SnSub *sub, int stream_id, int64 until, const SnFilter *filter)
{
	SnPos		pos = until == PG_INT64_MAX ? SN_POS_MAX : SN_ROUND_POS(until);
	SnPos		since = sub->nsources == 0 ? 0 :
		sub->sources[sub->nsources - 1].until;

	if (sub->nsources > 0 && since >= pos)
		return;
	if (since < sub->tracks_pos && sub->tracks != SN_COMMON_BIT)
	{
		since = Min(pos, sub->tracks_pos);
		add_source_part(sub, stream_id, since, filter, sub->tracks);
	}
	if (since < pos)
		add_source_part(sub, stream_id, pos, filter, 0);
}

/*
 * make_sources: what the segments come to.  A stream has what was sequenced
 * from its first round on; what came before is read from the stream that has
 * everything.
 */
static void
make_sources(SnSub *sub)
{
	int			i;

	sub->nsources = 0;
	for (i = 0; i < sub->nsegments; i++)
	{
		SnSegment  *segment = &sub->segments[i];
		int64		first = segment->first_round;

		if (segment->stream_id == SN_STREAM_ALL)
			add_source(sub, SN_STREAM_ALL, segment->until, NULL);
		else if (first < 0)
			add_source(sub, SN_STREAM_ALL, segment->until, &segment->filter);
		else
		{
			add_source(sub, SN_STREAM_ALL, Min(first, segment->until),
					   &segment->filter);
			add_source(sub, segment->stream_id, segment->until, NULL);
		}
	}
}

/*
 * sn_sub_sources: bring sub->sources up to what a snapshot shows: a stream's
 * first round becomes visible together with the slices of that round, and a
 * track with its first one.  Only who merges all of them has to know.  A stream
 * may be missing under an older snapshot than subscriptions were read by, and
 * under a newer one when it is forgotten, as every lane has passed it: then the
 * stream that has everything has its events.
 */
void
sn_sub_sources(SnSub *sub, Snapshot snapshot)
{
	SnTracks	tracks = sub->tracks_pos < SN_POS_MAX ? sub->tracks :
		sn_tracks_read(snapshot, sub->track_ends);
	int			i;

	if (!sub->filling && tracks == sub->tracks)
		return;
	sub->tracks = tracks;
	sub->filling = false;
	for (i = 0; i < sub->nsegments; i++)
	{
		SnSegment	now;

		if (sub->segments[i].first_round >= 0)
			continue;
		now.first_round = -1;
		(void) find_stream(sub->segments[i].stream_id, snapshot, &now);
		sub->segments[i].first_round = now.first_round;
		sub->filling = sub->filling || now.first_round < 0;
	}
	make_sources(sub);
}

/* find_id, find_name: a subscription in the cache */
static SnSub *
find_id(int sub_id)
{
	ListCell   *lc;

	foreach(lc, cache)
	{
		SnSub	   *sub = lfirst(lc);

		if (sub->sub_id == sub_id)
			return sub;
	}
	return NULL;
}

static SnSub *
find_name(const text *worker_type)
{
	ListCell   *lc;

	foreach(lc, cache)
	{
		SnSub	   *sub = lfirst(lc);

		if (sn_text_equal(sub->worker_type, worker_type))
			return sub;
	}
	return NULL;
}

/* load_types: the retry policies of event types */
static void
load_types(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_RETRY_POLICY, snapshot);
	TupleTableSlot *slot;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		Datum	   *values = slot->tts_values;
		SnTypePolicy *type;
		SnSub	   *sub;

		sub = find_name(DatumGetTextPP(values[Anum_policy_worker_type - 1]));
		if (sub == NULL)
			continue;
		if (sub->ntypes == 0)
			sub->types = palloc(sizeof(SnTypePolicy));
		else
			sub->types = repalloc(sub->types,
								  (sub->ntypes + 1) * sizeof(SnTypePolicy));
		type = &sub->types[sub->ntypes++];
		type->event_type =
			DatumGetTextPCopy(values[Anum_policy_event_type - 1]);
		read_policy(values[Anum_policy_max_attempts - 1],
					values[Anum_policy_backoff - 1], &type->policy);
	}
	sn_table_end(scan);
}

/* load_subscriptions: read all subscriptions into the cache */
static void
load_subscriptions(void)
{
	SnTableScan *scan = sn_table_read(SN_SUBSCRIPTION, NULL);
	TupleTableSlot *slot;
	SnPos		ends[SN_TRACKS];
	SnTracks	tracks = sn_tracks_read(scan->snapshot, ends);
	MemoryContext old = MemoryContextSwitchTo(cache_context);

	while ((slot = sn_table_next(scan)) != NULL)
	{
		SnSub	   *sub = read_sub(slot, scan->snapshot);

		sub->tracks = tracks;
		memcpy(sub->track_ends, ends, sizeof(ends));
		make_sources(sub);
		cache = lappend(cache, sub);
	}
	load_types(scan->snapshot);
	MemoryContextSwitchTo(old);
	sn_table_end(scan);
}

/* make_cache_valid: make the cache valid */
static void
make_cache_valid(void)
{
	AcceptInvalidationMessages();
	if (cache_valid)
		return;
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "sentinai subscriptions",
											  ALLOCSET_DEFAULT_SIZES);
		sn_watch_relations(invalidate);
		sn_watch_xacts(&watch);
	}
	MemoryContextReset(cache_context);
	cache = NIL;
	watched = sn_rel(SN_SUBSCRIPTION);
	loads++;
	cache_valid = true;			/* a change while loading clears it again */
	PG_TRY();
	{
		load_subscriptions();
	}
	PG_CATCH();
	{
		cache = NIL;
		cache_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * sn_sub_by_name, sn_sub_by_id: a subscription, or NULL.  The result is good
 * until the next call of one of these functions.
 */
SnSub *
sn_sub_by_name(const text *worker_type)
{
	make_cache_valid();
	return find_name(worker_type);
}

SnSub *
sn_sub_by_id(int sub_id)
{
	make_cache_valid();
	return find_id(sub_id);
}

/* sn_sub_require: the subscription that an agent may name, or an error */
SnSub *
sn_sub_require(const text *worker_type)
{
	SnSub	   *sub = sn_sub_by_name(worker_type);

	if (sub == NULL || sub->is_relay)
		sn_unknown_worker_type(worker_type);
	return sub;
}

/*
 * sn_subs_current: whether subscriptions are still as they were read, for one
 * who got a lane's lock since.
 */
bool
sn_subs_current(void)
{
	AcceptInvalidationMessages();
	return cache_valid;
}

/* sn_subs_loads: another number than before: subscriptions may have changed */
uint64
sn_subs_loads(void)
{
	return loads;
}

/* sn_sub_policy: what holds for events of a type */
const SnPolicy *
sn_sub_policy(const SnSub *sub, const text *event_type)
{
	int			i;

	for (i = 0; i < sub->ntypes; i++)
		if (sn_text_equal(sub->types[i].event_type, event_type))
			return &sub->types[i].policy;
	return &sub->policy;
}

/* sn_sub_ids: the numbers of all subscriptions */
List *
sn_sub_ids(void)
{
	SnTableScan *scan = sn_table_read(SN_SUBSCRIPTION, NULL);
	TupleTableSlot *slot;
	List	   *result = NIL;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		result = lappend_int(result,
							 DatumGetInt32(slot->tts_values[Anum_sub_id - 1]));
	}
	sn_table_end(scan);
	return result;
}
