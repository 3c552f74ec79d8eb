/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_bulk.c
 *		retry_dead_letters(), discard_dead_letters(): many letters, a bounded
 *		number in each call.
 *
 * A call finds its letters first, by an index that has the pending ones by
 * worker type, key and position: those of a key that were earlier are dealt with
 * in an earlier call.  Then it locks their lanes, in the order that is the same
 * for all (by worker type, ascending), so that no two of these calls, and no
 * agent that finishes a batch beside one, wait for each other in a circle.
 * Under the lock each letter is looked at again.
 *
 * The next call goes on behind the last letter.  What dies anew meanwhile is
 * left alone, or a handler that always fails would keep the calls from ending.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "base/result_row.h"
#include "base/text.h"
#include "log/event.h"
#include "queue/letter_filter.h"
#include "queue/letter_lane.h"
#include "store/lane_hints.h"

PG_FUNCTION_INFO_V1(sentinai_retry_dead_letters);
PG_FUNCTION_INFO_V1(sentinai_discard_dead_letters);

#define CALL_MAX	10000		/* letters of a call */
#define LOOK_MAX	20000		/* letters that it passes over at most */
#define LANES_MAX	256			/* lanes that it locks */
#define KEY_COLUMNS 6			/* of the index of pending letters */

/* A letter that was found */
typedef struct Found
{
	pg_uuid_t	id;
	text	   *worker_type;
	int			lane;
	int			place;			/* in which it was found */
} Found;

/* What a call is to do, and what it has found and done */
typedef struct Bulk
{
	SnLetterFilter filter;
	SnLetterCursor cursor;		/* where it begins; then where the next one does */
	SnLetterWhy why;
	bool		retries;		/* or discards */
	bool		dry_run;
	int			max;
	Snapshot	snapshot;
	Found	   *found;
	int			nfound;
	int			nlanes;
	uint64		lanes;			/* of the worker type at hand */
	int			looked;			/* at letters that are not asked for */
	int			skipped;
	bool		more;			/* there may be letters behind the cursor */
} Bulk;

/* note: a letter that is asked for; false when its lane would be one too many */
static bool
note(Bulk *bulk, text *worker_type, TupleTableSlot *slot)
{
	Found	   *found = &bulk->found[bulk->nfound];
	int			lane = sn_letter_lane(slot);
	bool		isnull;

	if ((bulk->lanes & SN_LANE_BIT(lane)) == 0)
	{
		if (bulk->nlanes >= LANES_MAX)
			return false;
		bulk->nlanes++;
		bulk->lanes |= SN_LANE_BIT(lane);
	}
	found->id = *DatumGetUUIDP(slot_getattr(slot, Anum_dead_event_id, &isnull));
	found->worker_type = worker_type;
	found->lane = lane;
	found->place = bulk->nfound++;
	return true;
}

/* is_lost: whether a worker type's letter cannot be tried again */
static bool
is_lost(const Bulk *bulk, const text *worker_type, TupleTableSlot *slot)
{
	bool		isnull;

	return bulk->retries &&
		!sn_sub_takes(sn_sub_by_name(worker_type),
					  DatumGetTextPP(slot_getattr(slot, Anum_dead_tenant_id,
												  &isnull)));
}

/* look_at_letter: at a pending letter of the index; false when the call ends before it */
static bool
look_at_letter(Bulk *bulk, text *worker_type, TupleTableSlot *slot)
{
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	if (bulk->nfound >= bulk->max || bulk->looked >= LOOK_MAX)
		return false;
	if (DatumGetTimestampTz(slot_getattr(slot, Anum_dead_dead_at, &isnull)) >
		bulk->cursor.time || !sn_letter_filter_has(&bulk->filter, slot))
		bulk->looked++;
	else if (is_lost(bulk, worker_type, slot))
	{
		bulk->looked++;
		bulk->skipped++;
	}
	else if (!note(bulk, worker_type, slot))
		return false;
	bulk->cursor.id = *DatumGetUUIDP(slot_getattr(slot, Anum_dead_event_id,
												  &isnull));
	bulk->cursor.worker_type = worker_type;
	return true;
}

/* set_key: a column of the index, compared with a value of its type */
static void
set_key(ScanKey key, int column, StrategyNumber strategy, Datum value)
{
	switch (column)
	{
		case 4:
			sn_key_int4(key, column, strategy, DatumGetInt32(value));
			break;
		case 5:
			sn_key_int8(key, column, strategy, DatumGetInt64(value));
			break;
		case 6:
			sn_key_uuid(key, column, strategy, DatumGetUUIDP(value));
			break;
		default:
			sn_key_text(key, column, strategy, value);
	}
}

/*
 * scan_behind: letters that share the first columns with a place in the index,
 * and are behind it in the next one; false when the call ends
 */
static bool
scan_behind(Bulk *bulk, text *worker_type, const Datum *place, int same,
			bool behind)
{
	ScanKeyData keys[KEY_COLUMNS];
	SnScan		scan;
	bool		go_on = true;
	int			i;

	for (i = 0; i < same; i++)
		set_key(&keys[i], i + 1, BTEqualStrategyNumber, place[i]);
	if (behind)
		set_key(&keys[same], same + 1, BTGreaterStrategyNumber, place[same]);
	sn_scan_named(&scan, SN_DEAD_LETTER, SN_DEAD_LETTER_PENDING_IDX,
				  bulk->snapshot, same + behind, keys, ForwardScanDirection);
	while (go_on && sn_scan_next(&scan))
		go_on = look_at_letter(bulk, worker_type, scan.slot);
	sn_scan_end(&scan);
	return go_on;
}

/* place_of_letter: where a letter is in the index */
static void
place_of_letter(const SnLetter *letter, Datum *place)
{
	place[0] = letter->values[Anum_dead_worker_type - 1];
	place[1] = letter->values[Anum_dead_tenant_id - 1];
	place[2] = letter->nulls[Anum_dead_aggregate_id - 1] ?
		CStringGetTextDatum("") : letter->values[Anum_dead_aggregate_id - 1];
	place[3] = letter->nulls[Anum_dead_sub_id - 1] ? Int32GetDatum(0) :
		letter->values[Anum_dead_sub_id - 1];
	place[4] = letter->nulls[Anum_dead_pos - 1] ? Int64GetDatum(0) :
		letter->values[Anum_dead_pos - 1];
	place[5] = letter->values[Anum_dead_event_id - 1];
}

/* find_of: the pending letters of a worker type; false when the call ends */
static bool
find_of(Bulk *bulk, text *worker_type)
{
	Datum		place[KEY_COLUMNS];
	SnLetter	letter;
	int			least = bulk->filter.tenant_id != NULL ? 2 : 1;
	int			same = least;

	bulk->lanes = 0;
	place[0] = PointerGetDatum(worker_type);
	place[1] = PointerGetDatum(bulk->filter.tenant_id);
	if (bulk->cursor.given &&
		sn_text_equal(bulk->cursor.worker_type, worker_type) &&
		sn_letter_find(&bulk->cursor.id, worker_type, bulk->snapshot, &letter) &&
		(bulk->filter.tenant_id == NULL ||
		 sn_text_equal(bulk->filter.tenant_id,
					   sn_letter_text(&letter, Anum_dead_tenant_id))))
	{
		place_of_letter(&letter, place);
		for (same = KEY_COLUMNS - 1; same >= least; same--)
			if (!scan_behind(bulk, worker_type, place, same, true))
				return false;
		return true;
	}
	return scan_behind(bulk, worker_type, place, same, false);
}

/* next_worker_type: the first with pending letters behind one, or NULL */
static text *
next_worker_type(const Bulk *bulk, const text *after)
{
	text	   *result = NULL;
	ScanKeyData key;
	SnScan		scan;
	bool		isnull;

	if (after != NULL)
		set_key(&key, 1, BTGreaterStrategyNumber, PointerGetDatum(after));
	sn_scan_named(&scan, SN_DEAD_LETTER, SN_DEAD_LETTER_PENDING_IDX,
				  bulk->snapshot, after != NULL, &key, ForwardScanDirection);
	if (sn_scan_next(&scan))
		result = DatumGetTextPCopy(slot_getattr(scan.slot, Anum_dead_worker_type,
												&isnull));
	sn_scan_end(&scan);
	return result;
}

/* find_by_filter: the letters of this call */
static void
find_by_filter(Bulk *bulk)
{
	text	   *worker_type = bulk->filter.worker_type;

	if (worker_type != NULL)
	{
		bulk->more = !find_of(bulk, worker_type);
		return;
	}
	worker_type = bulk->cursor.given ? bulk->cursor.worker_type :
		next_worker_type(bulk, NULL);
	while (worker_type != NULL && !bulk->more)
	{
		bulk->more = !find_of(bulk, worker_type);
		worker_type = next_worker_type(bulk, worker_type);
	}
}

/* find_by_id: the pending letters of an event, of the worker type or of all */
static void
find_by_id(Bulk *bulk, const pg_uuid_t *id)
{
	Relation	rel = table_open(sn_rel(SN_DEAD_LETTER), AccessShareLock);
	int			before = bulk->nfound;
	ScanKeyData key;
	SnScan		scan;

	sn_key_uuid(&key, 1, BTEqualStrategyNumber, id);
	sn_scan_begin(&scan, RelationGetRelid(rel),
				  sn_index_of(rel, Anum_dead_event_id, Anum_dead_worker_type),
				  bulk->snapshot, 1, &key, ForwardScanDirection);
	while (bulk->nfound < bulk->max && sn_scan_next(&scan))
	{
		bool		isnull;
		text	   *worker_type =
			DatumGetTextPCopy(slot_getattr(scan.slot, Anum_dead_worker_type,
										   &isnull));

		if (sn_letter_filter_has(&bulk->filter, scan.slot) &&
			sn_letter_status(DatumGetTextPP(slot_getattr(scan.slot, Anum_dead_status,
														 &isnull))) == SN_LETTER_PENDING &&
			!is_lost(bulk, worker_type, scan.slot))
		{
			bulk->lanes = 0;	/* each counts: they come in any order */
			if (!note(bulk, worker_type, scan.slot))
				ereport(ERROR,
						(errcode(ERRCODE_SN_TOO_LARGE),
						 errmsg("event_ids must not have more than %d letters",
								LANES_MAX)));
		}
	}
	sn_scan_end(&scan);
	table_close(rel, NoLock);
	bulk->skipped += bulk->nfound == before;
}

/* find_by_ids: the letters of the events that were named */
static void
find_by_ids(Bulk *bulk, ArrayType *array)
{
	Datum	   *ids;
	bool	   *nulls;
	int			n;
	int			i;

	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids,
					  &nulls, &n);
	if (n > LANES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("event_ids must not have more than %d letters",
						LANES_MAX)));
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_SN_INVALID),
					 errmsg("event_ids must not have nulls")));
		find_by_id(bulk, DatumGetUUIDP(ids[i]));
	}
}

/* compare_bulk: lanes in the order in which all lock them, letters as found */
static int
compare_bulk(const void *a, const void *b)
{
	const Found *x = a;
	const Found *y = b;
	int			result = sn_text_compare(x->worker_type, y->worker_type);

	if (result == 0)
		result = x->lane - y->lane;
	return result != 0 ? result : x->place - y->place;
}

/* deal_with: the letters of a lane; how many were pending still */
static int
deal_with(Bulk *bulk, const Found *found, int n, MemoryContext context)
{
	SnLetterLane lane;
	int			done = 0;
	int			i;

	sn_letter_lane_open(&lane, found->worker_type, found->lane);
	for (i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		SnLetter	letter;

		CHECK_FOR_INTERRUPTS();
		if (sn_letter_lane_find(&lane, &found[i].id, &letter) &&
			letter.was == SN_LETTER_PENDING &&
			(!bulk->retries ||
			 sn_sub_takes(lane.sub, sn_letter_text(&letter,
												   Anum_dead_tenant_id))))
		{
			if (bulk->retries)
				sn_letter_retry(&lane, &letter, &bulk->why);
			else
				sn_letter_discard(&lane, &letter, &bulk->why);
			done++;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	sn_letter_lane_close(&lane);
	return done;
}

/* deal_with_all: what was found, lane by lane; how many were pending still */
static int
deal_with_all(Bulk *bulk)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai letters",
												  ALLOCSET_DEFAULT_SIZES);
	int			done = 0;
	int			i;
	int			end;

	qsort(bulk->found, bulk->nfound, sizeof(Found), compare_bulk);
	for (i = 0; i < bulk->nfound; i = end)
	{
		const Found *first = &bulk->found[i];

		for (end = i + 1; end < bulk->nfound &&
			 bulk->found[end].lane == first->lane &&
			 sn_text_equal(bulk->found[end].worker_type, first->worker_type);
			 end++)
			;
		done += deal_with(bulk, first, end - i, context);
	}
	MemoryContextDelete(context);
	return done;
}

/* check_arguments: what is asked for, by whom and why */
static void
check_arguments(FunctionCallInfo fcinfo, Bulk *bulk)
{
	sn_letter_filter_args(fcinfo, SN_RIGHTS_LETTER, &bulk->filter);
	if (PG_ARGISNULL(0) && PG_ARGISNULL(1) && PG_ARGISNULL(6))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("tenant_id, worker_type or event_ids must be given"),
				 errhint("Call it for one worker type after the other to deal with all letters.")));
	bulk->why.actor = sn_actor_arg(fcinfo, 7);
	if (!bulk->retries || !PG_ARGISNULL(8))
		bulk->why.reason = sn_text_arg(fcinfo, 8, "reason", SN_REASON_MAX);
	SN_REQUIRE_ARG(9, "dry_run");
	bulk->dry_run = PG_GETARG_BOOL(9);
	SN_REQUIRE_ARG(10, "max_letters");
	bulk->max = PG_GETARG_INT32(10);
	if (bulk->max < 1 || bulk->max > CALL_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_letters must be between 1 and %d", CALL_MAX)));
	sn_letter_cursor_arg(fcinfo, 11, &bulk->cursor);
	if (!bulk->cursor.given)
		bulk->cursor.time = sn_now();
}

/* report: how many letters, how many skipped, and where the next call begins */
static Datum
report(FunctionCallInfo fcinfo, const Bulk *bulk, int letters)
{
	Datum		values[3];
	bool		nulls[3] = {false};

	values[0] = Int32GetDatum(letters);
	values[1] = Int32GetDatum(bulk->skipped);
	nulls[2] = !bulk->more || bulk->cursor.worker_type == NULL;
	if (!nulls[2])
		values[2] = PointerGetDatum(sn_letter_cursor_text(&bulk->cursor));
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}

/* bulk_command: both functions */
static Datum
bulk_command(FunctionCallInfo fcinfo, const char *name, bool retries)
{
	Bulk		bulk = {.retries = retries};
	int			letters;

	check_arguments(fcinfo, &bulk);
	if (!bulk.dry_run)
		PreventCommandIfReadOnly(name);
	bulk.snapshot = RegisterSnapshot(GetLatestSnapshot());
	bulk.found = palloc(bulk.max * sizeof(Found));
	if (PG_ARGISNULL(6))
		find_by_filter(&bulk);
	else
		find_by_ids(&bulk, PG_GETARG_ARRAYTYPE_P(6));
	UnregisterSnapshot(bulk.snapshot);
	letters = bulk.nfound;
	if (!bulk.dry_run)
	{
		letters = deal_with_all(&bulk);
		bulk.skipped += bulk.nfound - letters;
	}
	return report(fcinfo, &bulk, letters);
}

/*
 * retry_dead_letters(tenant_id, worker_type, event_type, from_time, to_time,
 *		error, event_ids, actor, reason, dry_run, max_letters, after_cursor)
 */
Datum
sentinai_retry_dead_letters(PG_FUNCTION_ARGS)
{
	return bulk_command(fcinfo, "retry_dead_letters()", true);
}

/* discard_dead_letters(): the same arguments */
Datum
sentinai_discard_dead_letters(PG_FUNCTION_ARGS)
{
	return bulk_command(fcinfo, "discard_dead_letters()", false);
}
