/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition.c
 *		Partitions of the log and of what is partitioned like it.
 *
 * Four tables share their boundaries, which are times: three are partitioned
 * by event id, whose lead is the time, and slice by its number, whose lead is
 * the round's time.  They are made as a set, for the whole interval around a
 * moment, less what neighbours already cover.
 *
 * Who makes partitions holds SHARE UPDATE EXCLUSIVE on event_log, which blocks
 * no publisher, and looks again after it has it.  Who finds none while he
 * publishes has it made by a worker: partition_maker.c.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/fault.h"
#include "base/guc.h"
#include "base/set_here.h"
#include "store/owner.h"
#include "store/partition.h"
#include "store/range.h"
#include "store/statement.h"
#include "store/wall.h"

PG_FUNCTION_INFO_V1(sentinai_refuse_change);

/* A stretch of time in milliseconds, [lower, upper), covered or a hole */
typedef struct Stretch
{
	int64		lower;
	int64		upper;
	bool		covered;
} Stretch;

#define MAX_INDEXES 7

/* not in the partitions of 0.1.0: index_partitions() */
#define FLOW_INDEX \
	"(hashtext(correlation_id), event_id) with (deduplicate_items = off)" \
	" where correlation_id is not null"

/* The sets, and the keys and indexes that each of their partitions gets */
static const struct
{
	SnRel		parent;
	const char *name;
	const char *primary_key;	/* NULL: none */
	const char *indexes[MAX_INDEXES];
}			sets[] =
{
	{SN_EVENT_LOG, "event_log", "event_id", {
		"(txid) where run >= 0",
		"(partition_hash, event_id) with (deduplicate_items = off)"
		" where run > -2 and run < 2",
		"(hashtext(tenant_id), event_id) with (deduplicate_items = off)"
		" where run >= 0 and run < 3",
		"(deliver_at) where deliver_at is not null",
		"(run, tenant_id, event_id) where run = 2",
		"(hashtext(tenant_id), event_id, partition_hash)"
		" with (deduplicate_items = off) where run = 3",
		FLOW_INDEX
	}},
	{SN_EVENT_PROCESSING, "event_processing", "event_id, worker_type", {NULL}},
	{SN_EVENT_IDEMPOTENCY, "event_idempotency", NULL, {
		"(tenant_id, idempotency_key)",
		"(idempotency_key) where idempotency_key < E'\\x02'"
	}},
	{SN_SLICE, "slice", "stream_id, lane, slice_no", {NULL}},
};

/* find_stretch: the partition or the hole that a moment lies in */
static Stretch
find_stretch(SnRel parent, int64 ms)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
	Stretch		result = {PG_INT64_MIN, PG_INT64_MAX, false};
	SnPartRange *map;
	int			n;
	int			i;

	map = sn_partition_map(parent, rel, &n);
	for (i = 0; i < n && map[i].upper <= ms; i++)
		result.lower = map[i].upper;
	if (i < n && map[i].lower <= ms)
		result = (Stretch) {map[i].lower, map[i].upper, true};
	else if (i < n)
		result.upper = map[i].lower;
	pfree(map);
	table_close(rel, AccessShareLock);
	return result;
}

/* partition_name: <table>_<UTC start>, with a number if that is taken */
static char *
partition_name(const char *parent, int64 lower)
{
	Oid			schema = get_namespace_oid(SN_INTERNAL, false);
	pg_time_t	start = lower / 1000;
	struct pg_tm *tm = pg_gmtime(&start);
	char	   *name = psprintf("%s_%04d%02d%02d_%02d%02d", parent,
								tm->tm_year + 1900, tm->tm_mon + 1,
								tm->tm_mday, tm->tm_hour, tm->tm_min);
	char	   *result = name;
	int			n;

	for (n = 1; OidIsValid(get_relname_relid(result, schema)); n++)
		result = psprintf("%s_%d", name, n);
	return result;
}

/* bound_text: the literal of a partition bound */
static char *
bound_text(SnRel parent, int64 ms)
{
	pg_uuid_t	floor;

	if (parent == SN_SLICE)
		return psprintf(INT64_FORMAT, SN_ROUND_SLICE(ms - SN_EPOCH_MS));
	sn_uuid_floor(ms, &floor);
	return DatumGetCString(DirectFunctionCall1(uuid_out,
											   UUIDPGetDatum(&floor)));
}

/*
 * take_rights_back: what ALTER DEFAULT PRIVILEGES gave somebody for a table that
 * was just made, as the script of the extension does for those it makes
 */
static void
take_rights_back(const char *name)
{
	SPITupleTable *found;
	uint64		n;
	uint64		i;

	if (SPI_execute(psprintf("select distinct pg_catalog.format('revoke all on " SN_INTERNAL ".%%I from %%s cascade',"
							 " c.relname, case a.grantee when 0 then 'public'"
							 " else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end)"
							 " from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a"
							 " where c.oid operator(pg_catalog.=) '" SN_INTERNAL ".%s'::pg_catalog.regclass"
							 " and a.grantee operator(pg_catalog.<>) c.relowner",
							 name), false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the rights of \"%s\"", name);
	found = SPI_tuptable;
	n = SPI_processed;
	for (i = 0; i < n; i++)
		sn_execute(SPI_getvalue(found->vals[i], found->tupdesc, 1));
}

/* make_indexes: the keys and indexes of a partition of a set */
static void
make_indexes(int set, const char *name)
{
	int			i;

	if (sets[set].primary_key != NULL)
		sn_execute(psprintf("alter table " SN_INTERNAL ".%s add primary key (%s)",
							name, sets[set].primary_key));
	for (i = 0; i < MAX_INDEXES && sets[set].indexes[i] != NULL; i++)
		sn_execute(psprintf("create index on " SN_INTERNAL ".%s %s", name,
							sets[set].indexes[i]));
}

/* make_triggers: those of a partition that refuse what must not be done to it */
static void
make_triggers(SnRel parent, const char *name)
{
	if (parent == SN_EVENT_LOG)
	{
		sn_execute(psprintf("create trigger refuse_change before update or delete"
							" or truncate on " SN_INTERNAL ".%s for each statement"
							" execute function " SN_SCHEMA ".refuse_change()", name));
		sn_execute(psprintf("alter table " SN_INTERNAL ".%s"
							" enable always trigger refuse_change", name));
	}
	sn_execute(psprintf("create trigger refuse_replication before insert or update"
						" or delete on " SN_INTERNAL ".%s for each row"
						" execute function " SN_SCHEMA ".refuse_replication()", name));
	sn_execute(psprintf("create trigger refuse_replicated_truncate before truncate"
						" on " SN_INTERNAL ".%s for each statement"
						" execute function " SN_SCHEMA ".refuse_replication()", name));
	sn_execute(psprintf("alter table " SN_INTERNAL ".%s"
						" enable replica trigger refuse_replication,"
						" enable replica trigger refuse_replicated_truncate", name));
}

/* make_partition: one partition of one set */
static void
make_partition(int set, int64 lower, int64 upper)
{
	SnRel		parent = sets[set].parent;
	const char *table = sets[set].name;
	char	   *name = partition_name(table, lower);

	sn_execute(psprintf("create table " SN_INTERNAL ".%s (like " SN_INTERNAL ".%s"
						" including all excluding comments)", name, table));
	take_rights_back(name);
	make_indexes(set, name);
	make_triggers(parent, name);
	SN_FAULT(partition_create);
	sn_execute(psprintf("alter table " SN_INTERNAL ".%s"
						" attach partition " SN_INTERNAL ".%s for values from ('%s') to ('%s')", table, name,
						bound_text(parent, lower), bound_text(parent, upper)));
	if (sn_wall_wanted(parent))
		sn_wall_make(name);
}

/* interval_ms: the length of what is made from now on */
static int64
interval_ms(void)
{
	return (int64) sn_partition_interval * 60 * 1000;
}

/*
 * make_set: what is missing around a moment; returns the end of it.  The log
 * has no rows to come for a time that is over, so what somebody notes about an
 * event of such a time gets one partition for all of it, of the parent that
 * lacks one: whoever names such events cannot have tables made one by one.
 */
static int64
make_set(SnRel parent, int64 ms, int *made)
{
	int64		interval = interval_ms();
	int64		now = SN_TICK_MS(sn_clock_last());
	int64		start = ms - ms % interval;
	int64		end = start + interval;
	Stretch		log = find_stretch(SN_EVENT_LOG, ms);
	int64		lower = log.lower;
	int64		upper = log.upper;
	bool		past = !log.covered && end <= now;
	bool		any = false;
	int			i;

	if (past)
	{
		start = SN_EPOCH_MS;
		end = now - now % interval;
	}
	if (!log.covered || lower == PG_INT64_MIN)
		lower = Max(lower, start);
	if (!log.covered || upper == PG_INT64_MAX)
		upper = Min(upper, end);
	for (i = 0; i < lengthof(sets); i++)
	{
		Stretch		hole = find_stretch(sets[i].parent, ms);

		if (hole.covered || (past && sets[i].parent != parent))
			continue;
		make_partition(i, Max(lower, hole.lower), Min(upper, hole.upper));
		any = true;
	}
	*made += any;
	return upper;
}

/* pin_making_settings: what the user has set must not change what is made */
static int
pin_making_settings(void)
{
	int			level = sn_name_safely();

	sn_set_here("default_table_access_method", "heap");
	sn_set_here("default_tablespace", "");
	return level;
}

/* covered: whether every set has its partitions from a moment through another */
static bool
covered(int64 from, int64 until)
{
	int			i;

	for (i = 0; i < lengthof(sets); i++)
	{
		int64		ms = from;

		while (ms <= until)
		{
			Stretch		stretch = find_stretch(sets[i].parent, ms);

			if (!stretch.covered)
				return false;
			ms = stretch.upper;
		}
	}
	return true;
}

/*
 * make_range: the missing sets from one moment through another, as the owner
 * of the log, but not more than so many.  Returns how many were made; the lock
 * is taken only when one is missing, and given back when that one was made
 * meanwhile.
 */
static int
make_range(SnRel parent, int64 from, int64 until, int max)
{
	LOCKMODE	lockmode = ShareUpdateExclusiveLock;
	int			made = 0;
	Relation	rel;
	SnCaller	caller;
	int			level;

	if (covered(from, until))
		return 0;
	rel = table_open(sn_rel(SN_EVENT_LOG), lockmode);
	sn_become_owner(rel, &caller);
	table_close(rel, NoLock);
	level = pin_making_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	while (from <= until && made < max)
	{
		CHECK_FOR_INTERRUPTS();
		from = make_set(parent, from, &made);
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	AtEOXact_GUC(false, level);
	sn_become_caller(&caller);
	if (made == 0)
		UnlockRelationOid(sn_rel(SN_EVENT_LOG), lockmode);
	else
		(void) sn_node_activate();	/* no event without a row of node */
	return made;
}

/* sn_partition_make: what is missing at a moment, of one set or of all */
void
sn_partition_make(SnRel parent, int64 ms)
{
	(void) make_range(parent, ms, ms, 1);
}

/* sn_partition_ahead: whether a moment is beyond what is made for whoever asks */
bool
sn_partition_ahead(int64 ms)
{
	return ms > SN_TICK_MS(sn_clock_last()) + interval_ms() &&
		!find_stretch(SN_EVENT_LOG, ms).covered;
}

/*
 * end_of_step: the last moment up to which so many sets are missing from one
 * moment on, as far as the log's partitions tell, or until
 */
static int64
end_of_step(int64 from, int64 until, int max)
{
	int64		interval = interval_ms();
	int			missing = 0;

	while (from <= until)
	{
		Stretch		log = find_stretch(SN_EVENT_LOG, from);

		CHECK_FOR_INTERRUPTS();
		if (!log.covered)
		{
			if (missing++ == max)
				return from - 1;
			log.upper = Min(log.upper, from - from % interval + interval);
		}
		if (log.upper > until)
			break;
		from = log.upper;
	}
	return until;
}

/* sn_make_partitions: the next of the sets until a time; true: more to do */
bool
sn_make_partitions(TimestampTz until)
{
	int64		from = Max(SN_TICK_MS(sn_clock_now()), SN_EPOCH_MS);
	int64		last = Min(Max(sn_timestamp_ms(until), from), SN_MAX_MS);
	int			max = sn_sets_at_once();

	return make_range(SN_EVENT_LOG, from, last, max) == max;
}

/*
 * sn_make_all_partitions: all of the sets until a time, or an error when they are
 * more than this transaction may lock.  Returns how many it has made.
 */
int
sn_make_all_partitions(TimestampTz until)
{
	int64		from = Max(SN_TICK_MS(sn_clock_now()), SN_EPOCH_MS);
	int			max = sn_sets_at_once();
	int64		last = sn_timestamp_ms(until);
	int64		end;

	if (last >= from - from % interval_ms())
		last = Max(last, from); /* now() is a little in the past */
	end = end_of_step(from, Min(last, SN_MAX_MS), max);
	if (last > end)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("time is too far ahead"),
				 errdetail("One transaction cannot lock the tables of so many intervals of sentinai.partition_interval."),
				 errhint("Make them in several transactions, the first through %s, or raise \"max_locks_per_transaction\".",
						 timestamptz_to_str(sn_ms_timestamp(end)))));
	return make_range(SN_EVENT_LOG, from, last, max);
}

/* make_flow_index: that of a partition which is locked and open; closes it */
static void
make_flow_index(Relation part)
{
	char	   *name = pstrdup(RelationGetRelationName(part));
	SnCaller	caller;
	int			level;

	sn_become_owner(part, &caller);
	relation_close(part, NoLock);
	level = pin_making_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	sn_execute(psprintf("create index on " SN_INTERNAL ".%s " FLOW_INDEX,
						quote_identifier(name)));
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	AtEOXact_GUC(false, level);
	sn_become_caller(&caller);
	pfree(name);
}

/*
 * complete_partition: make the index that get_trace() reads by if a partition
 * lacks it, unless look says only to look; returns whether it has it then.  The
 * lock keeps out a second call, and nobody else of ours but retention.
 */
static bool
complete_partition(Oid relid, bool look)
{
	LOCKMODE	lockmode = look ? AccessShareLock : ShareRowExclusiveLock;
	Relation	part = try_relation_open(relid, lockmode);
	bool		complete;

	if (part == NULL)
		return true;			/* retention was faster */
	complete = OidIsValid(sn_flow_index_of(part));
	if (complete || look)
		relation_close(part, lockmode);
	else
		make_flow_index(part);
	return complete || !look;
}

/*
 * sn_index_partitions: complete so many partitions of the log whose time is over,
 * the newest first.  Returns how many are not complete then.
 */
int
sn_index_partitions(int left)
{
	int64		now = SN_TICK_MS(sn_clock_last());
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	int			lacking = 0;
	int			i;

	for (i = list_length(ranges) - 1; i >= 0; i--)
	{
		SnPartRange *range = list_nth(ranges, i);
		bool		over = range->upper <= now;

		CHECK_FOR_INTERRUPTS();
		if (complete_partition(range->oid, true))
			continue;
		if (over && left > 0 && complete_partition(range->oid, false))
			left--;
		else
			lacking++;
	}
	list_free_deep(ranges);
	return lacking;
}

/*
 * sn_partition_locked: whether this transaction holds a lock that a worker would
 * wait for, as after CREATE EXTENSION or when it made a partition itself.
 */
bool
sn_partition_locked(void)
{
	bool		locked = false;
	int			i;

	for (i = 0; i < lengthof(sets) && !locked; i++)
	{
		Relation	rel = table_open(sn_rel(sets[i].parent), AccessShareLock);

		locked = CheckRelationLockedByMe(rel, ShareUpdateExclusiveLock, true);
		table_close(rel, AccessShareLock);
	}
	return locked;
}

/*
 * sn_partition_in_hands: whether another transaction, prepared ones included, makes
 * partitions.  It holds the lock until everybody has been told of them.  Those who
 * hold it are not asked for: one that is visible already, and tells the others just
 * now, is not among them.
 */
bool
sn_partition_in_hands(void)
{
	Oid			log = sn_rel(SN_EVENT_LOG);

	if (!ConditionalLockRelationOid(log, ShareUpdateExclusiveLock))
		return true;
	UnlockRelationOid(log, ShareUpdateExclusiveLock);
	return false;
}

/* sn_refuse_change: a command would change what is append-only */
void
sn_refuse_change(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("\"%s\" is append-only", name),
			 errdetail("Published events cannot be changed or removed."),
			 errhint("Old events leave when retention drops their partition.")));
	pg_unreachable();
}

/* refuse_change(): trigger of the log, which is append-only */
Datum
sentinai_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *data;

	sn_require_trigger(fcinfo, "refuse_change");
	data = (TriggerData *) fcinfo->context;
	sn_refuse_change(data->tg_trigger->tgnargs > 0 ?
					 data->tg_trigger->tgargs[0] :	/* what a view shows of it */
					 RelationGetRelationName(data->tg_relation));
	PG_RETURN_NULL();
}
