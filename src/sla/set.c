/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set.c
 *		set_deadline(): a deadline is set, or the open one is moved.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "log/event.h"
#include "log/event_check.h"
#include "log/flow.h"
#include "sla/deadline.h"
#include "sla/query.h"
#include "tenancy/action.h"
#include "tenancy/charge.h"
#include "tenancy/limit.h"

PG_FUNCTION_INFO_V1(sentinai_set_deadline);

/* What set_deadline() was asked for */
typedef struct Wish
{
	SnDeadlineKey key;
	TimestampTz due_at;
	TimestampTz warn_at;		/* DT_NOEND: by the threshold */
	float8		threshold;		/* 0: the tenant's */
	text	   *aggregate_type;
	SnEvent		flow;			/* correlation and causation */
	TimestampTz now;
	bool		charged;
} Wish;

/*
 * charge_wish: a deadline that is set or moved becomes an event, so it takes one of
 * the tenant's.  What it finds as it shall be costs nothing.
 */
static void
charge_wish(Wish *wish)
{
	if (!wish->charged && sn_limits_ask())
		sn_charge_event(wish->key.tenant_id, 0);
	wish->charged = true;
}

/* warn_wish: the arguments that say when SLAImminent is due */
static void
warn_wish(FunctionCallInfo fcinfo, Wish *wish)
{
	wish->warn_at = DT_NOEND;
	if (!PG_ARGISNULL(4) && !PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("warn_at and threshold must not both be given")));
	if (!PG_ARGISNULL(4))
	{
		wish->warn_at = sn_near_time(PG_GETARG_TIMESTAMPTZ(4), "warn_at");
		if (wish->warn_at > wish->due_at)
			sn_event_refuse(ERRCODE_SN_INVALID, 0, "warn_at",
							"must not be after due_at");
	}
	if (!PG_ARGISNULL(5))
	{
		wish->threshold = PG_GETARG_FLOAT8(5);
		sn_check_threshold(wish->threshold);
	}
}

/* read_wish: the arguments */
static void
read_wish(FunctionCallInfo fcinfo, Wish *wish)
{
	memset(wish, 0, sizeof(Wish));
	sn_deadline_key_arg(fcinfo, &wish->key);
	SN_REQUIRE_ARG(3, "due_at");
	wish->due_at = sn_near_time(PG_GETARG_TIMESTAMPTZ(3), "due_at");
	warn_wish(fcinfo, wish);
	wish->aggregate_type = sn_event_aggregate_type(PG_GETARG_DATUM(6),
												   PG_ARGISNULL(6), 0);
	if (!PG_ARGISNULL(7))
		wish->flow.correlation_id = sn_event_correlation(PG_GETARG_DATUM(7), 0);
	if (sn_flow_on)
		sn_flow_inherit(&wish->flow);
	wish->now = GetCurrentTimestamp();
}

/* warn_time: when SLAImminent is due, of a deadline that was set at a time */
static TimestampTz
warn_time(Wish *wish, TimestampTz set_at)
{
	if (wish->warn_at != DT_NOEND)
		return wish->warn_at;
	if (wish->threshold == 0)
		wish->threshold = sn_threshold_of(wish->key.tenant_id);
	if (wish->due_at <= set_at || wish->threshold >= 1)
		return DT_NOEND;
	return set_at + (TimestampTz) ((wish->due_at - set_at) * wish->threshold);
}

/* put_optional: a value that stands for null, or not */
static void
put_optional(Datum *values, bool *nulls, int n, Datum value, bool isnull)
{
	values[n] = value;
	nulls[n] = isnull;
}

/* set_new: a deadline of a key that has no open one; false: it has by now */
static bool
set_new(Wish *wish, TimestampTz *warn_at)
{
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
		UUIDOID};
	Datum		values[lengthof(types)];
	bool		nulls[lengthof(types)] = {false};

	*warn_at = warn_time(wish, wish->now);
	values[0] = PointerGetDatum(wish->key.tenant_id);
	values[1] = PointerGetDatum(wish->aggregate_type);
	values[2] = PointerGetDatum(wish->key.aggregate_id);
	values[3] = PointerGetDatum(wish->key.kind);
	values[4] = TimestampTzGetDatum(wish->due_at);
	put_optional(values, nulls, 5, TimestampTzGetDatum(*warn_at),
				 *warn_at == DT_NOEND);
	values[6] = TimestampTzGetDatum(wish->now);
	values[7] = PointerGetDatum(sn_session_role());
	put_optional(values, nulls, 8, PointerGetDatum(wish->flow.correlation_id),
				 wish->flow.correlation_id == NULL);
	put_optional(values, nulls, 9, UUIDPGetDatum(wish->flow.causation_id),
				 wish->flow.causation_id == NULL);
	charge_wish(wish);
	return sn_query_run("insert into sentinai_internal.deadline (tenant_id, aggregate_type, aggregate_id, kind,"
						" status, due_at, warn_at, next_at, set_at, set_by, moves, correlation_id, causation_id)"
						" values ($1, $2, $3, $4, 'open', $5, $6, coalesce($6, $5), $7, $8, 0, $9, $10)"
						" on conflict (tenant_id, aggregate_id, kind) where status = 'open' do nothing",
						lengthof(types), types, values, nulls) > 0;
}

/*
 * move_found: the open deadline that was found becomes what is asked for; false:
 * it is not open.  Who moves it to a later time wants to be warned again; who
 * moves it to an earlier one has been.
 */
static bool
move_found(Wish *wish, TimestampTz *warn_at)
{
	static const Oid types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TEXTOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];
	bool		nulls[lengthof(types)] = {false};
	TimestampTz old_due;
	TimestampTz old_warn;

	if (!sn_found_is("open"))
		return false;
	values[0] = sn_found_id();
	old_due = sn_found_time(Col_due_at);
	old_warn = sn_found_time(Col_warn_at);
	*warn_at = warn_time(wish, sn_found_time(Col_set_at));
	if (old_due == wish->due_at && old_warn == *warn_at)
		return true;
	values[1] = TimestampTzGetDatum(wish->due_at);
	put_optional(values, nulls, 2, TimestampTzGetDatum(*warn_at),
				 *warn_at == DT_NOEND);
	values[3] = PointerGetDatum(sn_session_role());
	values[4] = PointerGetDatum(wish->aggregate_type);
	put_optional(values, nulls, 5, PointerGetDatum(wish->flow.correlation_id),
				 wish->flow.correlation_id == NULL);
	charge_wish(wish);
	(void) sn_query_run("update sentinai_internal.deadline d"
						" set due_at = $2, warn_at = $3, set_by = $4, moves = d.moves + 1, aggregate_type = $5,"
						" correlation_id = coalesce($6, d.correlation_id),"
						" warned_at = case when $2 <= d.due_at then d.warned_at end,"
						" next_at = case when $2 <= d.due_at and d.warned_at is not null then $2 else coalesce($3, $2) end"
						" where d.deadline_id = $1",
						lengthof(types), types, values, nulls);
	return true;
}

/*
 * set_deadline(tenant_id text, aggregate_id text, kind text, due_at timestamptz,
 *		warn_at timestamptz, threshold float8, aggregate_type text,
 *		correlation_id text) returns timestamptz
 */
Datum
sentinai_set_deadline(PG_FUNCTION_ARGS)
{
	Wish		wish;
	SnQuery		query;
	TimestampTz warn_at;

	PreventCommandIfReadOnly("set_deadline()");
	read_wish(fcinfo, &wish);
	(void) sn_node_activate();	/* the workers leave alone what nobody uses */
	sn_query_begin(&query);
	/* what others set or end at the same time is looked at anew */
	while (!(sn_deadline_find(&wish.key) > 0 && move_found(&wish, &warn_at)) &&
		   !set_new(&wish, &warn_at))
		CHECK_FOR_INTERRUPTS();
	sn_query_end(&query);
	if (warn_at == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(warn_at);
}
