/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * stat.c
 *		What the stat_* views take from shared memory.
 *
 * None of these functions asks for a right on a table, so that a view may be
 * read with no right on anything below it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/guc.h"
#include "base/printable.h"
#include "base/result_row.h"
#include "base/sentinai.h"
#include "queue/subscription.h"
#include "relay/relay_provider.h"
#include "shared/clock.h"
#include "shared/shmem.h"
#include "store/journal.h"
#include "tenancy/gate.h"

#define SAMPLE_AGE_US	(10 * USECS_PER_SEC)
#define NO_SLOT			"no background worker slot is free; raise max_worker_processes"

PG_FUNCTION_INFO_V1(sentinai_event_time);
PG_FUNCTION_INFO_V1(sentinai_stat_claimed);
PG_FUNCTION_INFO_V1(sentinai_stat_clock);
PG_FUNCTION_INFO_V1(sentinai_stat_failures);
PG_FUNCTION_INFO_V1(sentinai_stat_lane_state);
PG_FUNCTION_INFO_V1(sentinai_stat_rate);
PG_FUNCTION_INFO_V1(sentinai_stat_relay_workers);
PG_FUNCTION_INFO_V1(sentinai_stat_relays);
PG_FUNCTION_INFO_V1(sentinai_stat_round);
PG_FUNCTION_INFO_V1(sentinai_stat_server);

/* event_time(uuid): the time a UUIDv7 carries */
Datum
sentinai_event_time(PG_FUNCTION_ARGS)
{
	SnTick		tick = sn_uuid_tick(PG_GETARG_UUID_P(0));

	PG_RETURN_TIMESTAMPTZ(sn_ms_timestamp(SN_TICK_MS(tick)));
}

/* stat_clock(): the time that leases go by */
Datum
sentinai_stat_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(sn_now());
}

/* rate: growth of a total per second since a sample */
static double
rate(int64 total, int64 before, TimestampTz now, TimestampTz then)
{
	return Max(total - before, 0) / ((double) (now - then) / USECS_PER_SEC);
}

/* may_watch: whether the subscription is one that the caller may see figures of */
static bool
may_watch(FunctionCallInfo fcinfo)
{
	return !sn_gate_asks() ||
		sn_sub_may_watch(sn_sub_by_id(PG_GETARG_INT32(0)));
}

/* stat_claimed(sub_id): when claim() was last called, since the server's start */
Datum
sentinai_stat_claimed(PG_FUNCTION_ARGS)
{
	SnSubSlot  *slot = sn_sub_slot_find(PG_GETARG_INT32(0));
	uint64		at = slot == NULL || !may_watch(fcinfo) ? 0 :
		pg_atomic_read_u64(&slot->claimed_at);

	if (at == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ((TimestampTz) at);
}

/*
 * newest_journal_row: the newest row of a journal that the keys allow, or null
 */
static Datum
newest_journal_row(FunctionCallInfo fcinfo, SnJournal journal, int nkeys,
				   ScanKey keys)
{
	SnJournalReader reader = {false};
	TupleTableSlot *slot = sn_journal_newest(&reader, journal,
											 GetActiveSnapshot(), nkeys, keys);
	Datum		result = (Datum) 0;

	if (slot == NULL)
		fcinfo->isnull = true;
	else
	{
		/* a row of either half counts as one of the first */
		slot_getallattrs(slot);
		result = sn_row_datum(fcinfo, slot->tts_values, slot->tts_isnull);
	}
	sn_journal_end(&reader);
	return result;
}

/* stat_lane_state(sub_id, lane): what the journal says of a lane */
Datum
sentinai_stat_lane_state(PG_FUNCTION_ARGS)
{
	ScanKeyData keys[2];

	if (!may_watch(fcinfo))
		PG_RETURN_NULL();
	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, PG_GETARG_INT32(0));
	sn_key_int4(&keys[1], 2, BTEqualStrategyNumber, PG_GETARG_INT32(1));
	return newest_journal_row(fcinfo, SN_LANES, lengthof(keys), keys);
}

/* stat_round(): the newest round, which says how much all tenants publish */
Datum
sentinai_stat_round(PG_FUNCTION_ARGS)
{
	if (!sn_gate_may_watch())
		PG_RETURN_NULL();
	return newest_journal_row(fcinfo, SN_ROUNDS, 0, NULL);
}

/*
 * stat_rate(sub_id, completed, failed): a slot keeps two samples; when the
 * newer one is ten seconds old it becomes the older one, which is the base.
 * Looking takes no slot: what nobody works on has no rates.
 */
Datum
sentinai_stat_rate(PG_FUNCTION_ARGS)
{
	SnSubSlot  *slot = sn_sub_slot_find(PG_GETARG_INT32(0));
	int64		completed = PG_GETARG_INT64(1);
	int64		failed = PG_GETARG_INT64(2);
	TimestampTz now = sn_now();
	SnRateSample base = {0};
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};

	if (slot != NULL && may_watch(fcinfo))
	{
		LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
		if (now - slot->samples[1].at >= SAMPLE_AGE_US)
		{
			slot->samples[0] = slot->samples[1];
			slot->samples[1].at = now;
			slot->samples[1].completed = completed;
			slot->samples[1].failed = failed;
		}
		base = slot->samples[0];
		LWLockRelease(&sn_shared()->lock);
	}
	if (base.at != 0 && now > base.at)
	{
		values[0] = Float8GetDatum(rate(completed, base.completed, now,
										base.at));
		values[1] = Float8GetDatum(rate(failed, base.failed, now, base.at));
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}

/* put_stat_time: a timestamp column, null for "never" */
static void
put_stat_time(TimestampTz t, int column, Datum *values, bool *nulls)
{
	values[column] = TimestampTzGetDatum(t);
	nulls[column] = t == 0;
}

/* Columns of stat_relay_workers(); stat_relays() has the relay's number behind them */
#define RELAY_COLUMNS	16

/* put_error: what a relay's last error said, columns 11 and 12 */
static void
put_error(const SnRelaySlot *slot, Datum *values, bool *nulls)
{
	put_stat_time(slot->last_error_at, 11, values, nulls);
	nulls[12] = slot->last_error[0] == '\0';
	values[12] = PointerGetDatum(sn_storable_text(slot->last_error,
												  strlen(slot->last_error),
												  SN_ERROR_LEN));
}

/* shown_index: the number of a process; a sentinai-relay is the only one */
static int
shown_index(int index)
{
	return index == SN_OUTSIDE ? 0 : index;
}

/* put_relay_row: a relay's slot as a row of stat_relay_workers() */
static void
put_relay_row(ReturnSetInfo *rsinfo, const SnRelaySlot *slot)
{
	Datum		values[RELAY_COLUMNS];
	bool		nulls[RELAY_COLUMNS] = {false};

	values[0] = Int32GetDatum(shown_index(slot->index));
	values[1] = Int32GetDatum(slot->pid);
	values[2] = CStringGetTextDatum(slot->breaker == SN_BREAKER_OPEN ?
									"waiting" : "running");
	values[3] = Int32GetDatum(slot->inflight);
	values[4] = Int64GetDatum(slot->sent);
	values[5] = Int64GetDatum(slot->acked);
	values[6] = Int64GetDatum(slot->errors);
	values[7] = Int64GetDatum(slot->dead);
	values[8] = CStringGetTextDatum(sn_breaker_name(slot->breaker));
	put_stat_time(slot->started_at, 9, values, nulls);
	put_stat_time(slot->last_ack_at, 10, values, nulls);
	put_error(slot, values, nulls);
	values[13] = Int64GetDatum((int64) slot->barred);
	values[14] = Int32GetDatum(slot->relay_id);
	values[15] = BoolGetDatum(slot->limited);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* is_served: whether the launcher serves this database */
static bool
is_served(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
	bool		result = form->datallowconn && !form->datistemplate;

	ReleaseSysCache(tuple);
	return result;
}

/*
 * why_none: why this database has no sequencer; NULL when it has one.  The
 * causes that keep it from all others come first.
 */
static const char *
why_none(const SnDatabase *db)
{
	SnShared   *s = sn_shared();

	if (db != NULL && db->sequencer_pid != 0)
		return NULL;
	if (!sn_preloaded())
		return "sentinai is not in shared_preload_libraries";
	if (RecoveryInProgress())
		return "the server is a standby";
	if (s->launcher_pid == 0)
		return "the launcher does not run; at the server's start it needs a slot of max_worker_processes";
	if (!is_served())
		return "the database is a template, or nobody may connect to it";
	if (db == NULL && sn_databases_full())
		return "too many databases of the server use sentinai";
	if (db != NULL && db->vacate_until > sn_now())
		return "a command needs the database to itself";
	if (s->workers_full)
		return NO_SLOT;
	return "it is being started, or failed; see the server log";
}

/* why_stopped: why a process of a relay does not run; full: has no worker slot */
static const char *
why_stopped(const SnDatabase *db, uint32 full, int index)
{
	const char *problem = why_none(db);

	if (problem != NULL)
		return psprintf("no sequencer runs: %s", problem);
	return full & ((uint32) 1 << index) ? NO_SLOT : NULL;
}

/*
 * why_no_relay: why a relay does not run, unless it was one and its last error
 * says it; NULL also when relays are switched off
 */
static const char *
why_no_relay(const SnDatabase *db, int index)
{
	const char *missing = sn_provider_missing();

	if (missing != NULL || sn_provider_wanted() == NULL)
		return missing;
	return why_stopped(db, db == NULL ? 0 : db->relays_full, index);
}

/*
 * put_stopped_row: the same of a relay that does not run: because of what is
 * missing, or because of what the error said that ended it
 */
static void
put_stopped_row(ReturnSetInfo *rsinfo, int relay_id, int index,
				const SnRelaySlot *slot, const char *missing)
{
	Datum		values[RELAY_COLUMNS] = {0};
	bool		nulls[RELAY_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[0] = Int32GetDatum(shown_index(index));
	values[2] = CStringGetTextDatum("stopped");
	values[14] = Int32GetDatum(relay_id);
	nulls[0] = nulls[2] = nulls[14] = false;
	if (missing != NULL)
	{
		values[12] = CStringGetTextDatum(missing);
		nulls[12] = false;
	}
	else if (slot != NULL)
		put_error(slot, values, nulls);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* find_relay: the slot of a relay of this database, among copies, or NULL */
static const SnRelaySlot *
find_relay(const SnRelaySlot *slots, int relay_id, int index)
{
	int			i;

	for (i = 0; i < SN_MAX_RELAYS; i++)
		if (slots[i].dboid == MyDatabaseId && slots[i].relay_id == relay_id &&
			slots[i].index == index)
			return &slots[i];
	return NULL;
}

/* put_relay: the processes of a relay; workers: that there shall be */
static void
put_relay(ReturnSetInfo *rsinfo, const SnRelaySlot *slots, int relay_id,
		  int workers, uint32 full)
{
	SnDatabase *db = sn_database_find();
	bool		outside = workers == 0 && relay_id != 0;
	int			i;

	if (!sn_sub_may_watch(relay_id == 0 ? NULL : sn_sub_by_id(relay_id)))
		return;
	for (i = outside ? SN_OUTSIDE : 0; i <= SN_OUTSIDE; i++)
	{
		const SnRelaySlot *slot = find_relay(slots, relay_id, i);

		if (i == SN_OUTSIDE && !outside)
			break;
		if (slot != NULL && slot->pid != 0)
			put_relay_row(rsinfo, slot);
		else if (outside)
			put_stopped_row(rsinfo, relay_id, i, slot,
							"no sentinai-relay is connected for it");
		else if (i < workers)
			put_stopped_row(rsinfo, relay_id, i, slot,
							relay_id == 0 ? why_no_relay(db, i) :
							why_stopped(db, full, i));
	}
}

/* stat_relays(): the relay processes of this database */
Datum
sentinai_stat_relays(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SnShared   *s = sn_shared();
	SnRelaySlot copy[SN_MAX_RELAYS];
	SnRelayTold told[SN_MAX_TOLD];
	int			n = sn_told_get(MyDatabaseId, told);
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(&s->lock, LW_SHARED);
	memcpy(copy, s->relays, sizeof(copy));
	LWLockRelease(&s->lock);
	put_relay(rsinfo, copy, 0, sn_relay_workers, 0);
	for (i = 0; i < n; i++)
		put_relay(rsinfo, copy, told[i].relay_id, told[i].workers,
				  told[i].full);
	return (Datum) 0;
}

/* stat_relay_workers(): for a library newer than the extension's objects */
Datum
sentinai_stat_relay_workers(PG_FUNCTION_ARGS)
{
	return sentinai_stat_relays(fcinfo);
}

/* clock_ahead: the event clock minus the wall clock, at least zero */
static Interval *
clock_ahead(void)
{
	Interval   *result = palloc0(sizeof(Interval));
	int64		ahead = (int64) pg_atomic_read_u64(&sn_shared()->clock) -
	(int64) sn_clock_now();

	result->time = (Max(ahead, 0) >> SN_TICK_BITS) * 1000;
	return result;
}

/* stat_server(): what shared memory knows of this database */
Datum
sentinai_stat_server(PG_FUNCTION_ARGS)
{
	SnShared   *s = sn_shared();
	SnDatabase *db = sn_database_find();
	const char *problem = why_none(db);
	Datum		values[9] = {0};
	bool		nulls[9] = {false};

	values[0] = CStringGetTextDatum(SENTINAI_VERSION);
	values[1] = BoolGetDatum(sn_preloaded());
	values[2] = Int32GetDatum(s->launcher_pid);
	nulls[2] = s->launcher_pid == 0;
	nulls[3] = db == NULL || db->sequencer_pid == 0;
	if (db != NULL)
	{
		uint64		commits = pg_atomic_read_u64(&db->commits);
		uint64		sequenced = pg_atomic_read_u64(&db->sequenced);

		values[3] = Int32GetDatum(db->sequencer_pid);
		values[4] = Int64GetDatum((int64) pg_atomic_read_u64(&db->rounds));
		values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&db->round_events));
		values[6] = Int64GetDatum((int64) (commits - Min(sequenced, commits)));
	}
	values[7] = IntervalPGetDatum(clock_ahead());
	nulls[4] = nulls[5] = nulls[6] = db == NULL || !sn_gate_may_watch();
	nulls[8] = problem == NULL;
	values[8] = CStringGetTextDatum(problem ? problem : "");
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}

/* put_failure_row: a failure as a row of stat_failures() */
static void
put_failure_row(ReturnSetInfo *rsinfo, const SnFailing *failure)
{
	Datum		values[7];
	bool		nulls[7] = {false};

	values[0] = CStringGetTextDatum(failure->step);
	values[1] = TimestampTzGetDatum(failure->since);
	values[2] = Int64GetDatum(failure->count);
	values[3] = TimestampTzGetDatum(failure->last_at);
	values[4] = TimestampTzGetDatum(failure->retry_at);
	nulls[4] = failure->retry_at == 0;
	values[5] = CStringGetTextDatum(unpack_sql_state(failure->sqlstate));
	values[6] = CStringGetTextDatum(failure->message);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* stat_failures(): what fails in this database, of whatever tenant it is */
Datum
sentinai_stat_failures(PG_FUNCTION_ARGS)
{
	SnFailing	copy[SN_MAX_FAILURES];
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (!sn_gate_may_watch())
		return (Datum) 0;
	sn_shared_copy(copy, sn_shared()->failures, sizeof(copy));
	for (i = 0; i < SN_MAX_FAILURES; i++)
		if (copy[i].dboid == MyDatabaseId)
			put_failure_row((ReturnSetInfo *) fcinfo->resultinfo, &copy[i]);
	return (Datum) 0;
}
