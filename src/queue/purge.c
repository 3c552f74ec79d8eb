/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * purge.c
 *		Letters that are settled go away: purge_dead_letters(), and the step of
 *		maintenance that does the same by age.
 *
 * Only what is settled (succeeded, discarded) goes.  A pending letter is work
 * that nobody has dealt with; its lane counts it, and it may hold its key.  A
 * DELETE would leave both wrong for ever, so that is refused.
 *
 * A letter is changed and deleted under its lane's lock.  The letters found are
 * looked at again, lane by lane, in one order for all.  Maintenance leaves lanes
 * alone that others have; the lock table is everybody's, so there is a limit to
 * the lanes of one call.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/guc.h"
#include "base/hash.h"
#include "base/text.h"
#include "log/event.h"
#include "queue/dead_letter.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/hold.h"

PG_FUNCTION_INFO_V1(sentinai_purge_dead_letters);
PG_FUNCTION_INFO_V1(sentinai_refuse_letter_change);

#define PURGE_MAX	100000		/* letters of one call */
#define STEP_MAX	1000		/* letters of one step of maintenance */
#define LANES_MAX	256			/* lanes of one call, of all subscriptions */

/* Which letters shall go */
typedef struct Purge
{
	TimestampTz before;			/* that they were settled */
	const text *worker_type;	/* NULL: of any */
	const text *tenant_id;		/* NULL: of any */
	int			max;
	bool		wait;			/* for lanes that others have */
	HTAB	   *purged;			/* of Purged; NULL: nobody asks */
} Purge;

/* Letters of a tenant that went */
typedef struct Purged
{
	char		tenant_id[SN_TENANT_MAX + 1];
	int			letters;
} Purged;

/* A letter that was found */
typedef struct Found
{
	pg_uuid_t	id;
	text	   *worker_type;
	int			lane;
} Found;

/* is_asked_for: whether a settled letter is one of those that shall go */
static bool
is_asked_for(const Purge *purge, TupleTableSlot *slot)
{
	bool		isnull;

	return (purge->worker_type == NULL ||
			sn_text_equal(DatumGetTextPP(slot_getattr(slot, Anum_dead_worker_type,
													  &isnull)),
						  purge->worker_type)) &&
		(purge->tenant_id == NULL ||
		 sn_text_equal(DatumGetTextPP(slot_getattr(slot, Anum_dead_tenant_id,
												   &isnull)),
					   purge->tenant_id));
}

/* note_found: what of a letter is needed to find it again under its lock */
static void
note_found(TupleTableSlot *slot, Found *found)
{
	bool		isnull;

	found->lane = sn_letter_lane(slot);
	found->id = *DatumGetUUIDP(slot_getattr(slot, Anum_dead_event_id, &isnull));
	found->worker_type =
		DatumGetTextPCopy(slot_getattr(slot, Anum_dead_worker_type, &isnull));
}

/* find_letters: those that were settled first; how many */
static int
find_letters(const Purge *purge, Snapshot snapshot, Found *found)
{
	ScanKeyData key;
	SnScan		scan;
	int			n = 0;

	sn_key_time(&key, 1, BTLessStrategyNumber, purge->before);
	sn_scan_named(&scan, SN_DEAD_LETTER, SN_DEAD_LETTER_SETTLED_IDX, snapshot,
				  1, &key, ForwardScanDirection);
	while (n < purge->max && sn_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_asked_for(purge, scan.slot))
			note_found(scan.slot, &found[n++]);
	}
	sn_scan_end(&scan);
	return n;
}

/* compare_found: letters of one lane together, lanes in ascending order */
static int
compare_found(const void *a, const void *b)
{
	const Found *x = a;
	const Found *y = b;
	int			result = sn_text_compare(x->worker_type, y->worker_type);

	return result != 0 ? result : x->lane - y->lane;
}

/* same_lane: whether two letters are under one lock */
static bool
same_lane(const Found *a, const Found *b)
{
	return a->lane == b->lane && sn_text_equal(a->worker_type, b->worker_type);
}

/* count_purged: a letter of a tenant went */
static void
count_purged(const Purge *purge, const SnLetter *letter)
{
	char		tenant_id[SN_TENANT_MAX + 1];
	Purged	   *purged;
	bool		found;

	if (purge->purged == NULL)
		return;
	text_to_cstring_buffer(sn_letter_text(letter, Anum_dead_tenant_id),
						   tenant_id, sizeof(tenant_id));
	purged = hash_search(purge->purged, tenant_id, HASH_ENTER, &found);
	if (!found)
		purged->letters = 0;
	purged->letters++;
}

/* record_purge: note in the action log how many of each tenant went */
static void
record_purge(const Purge *purge)
{
	HASH_SEQ_STATUS status;
	Purged	   *purged;

	hash_seq_init(&status, purge->purged);
	while ((purged = hash_seq_search(&status)) != NULL)
	{
		SnAction	action = {
			.action = "purge_dead_letters",
			.kind = SN_ACTION_ACTS,
			.tenant_id = cstring_to_text(purged->tenant_id),
			.worker_type = purge->worker_type,
			.object = "dead_letters",
		};

		action.before =
			sn_action_json("letters", psprintf("%d", purged->letters),
						   "settled_before", timestamptz_to_str(purge->before),
						   NULL);
		sn_action_record(&action);
	}
}

/* delete_letters: those of a lane, which is locked, as they are now */
static int
delete_letters(const Purge *purge, const Found *found, int n)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			result = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		SnLetter	letter;

		CHECK_FOR_INTERRUPTS();
		if (!sn_letter_find(&found[i].id, found[i].worker_type, snapshot,
							&letter) ||
			letter.nulls[Anum_dead_resolved_at - 1] ||
			DatumGetTimestampTz(letter.values[Anum_dead_resolved_at - 1]) >=
			purge->before)
			continue;
		sn_delete_one(SN_DEAD_LETTER, &letter.tid);
		sn_letter_count(&letter, letter.was, -1);
		count_purged(purge, &letter);
		result++;
	}
	UnregisterSnapshot(snapshot);
	return result;
}

/* purge_letters: how many went */
static int
purge_letters(const Purge *purge)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Found	   *found = palloc(purge->max * sizeof(Found));
	int			n = find_letters(purge, snapshot, found);
	int			result = 0;
	int			lanes = 0;
	int			i;
	int			end;

	UnregisterSnapshot(snapshot);
	qsort(found, n, sizeof(Found), compare_found);
	for (i = 0; i < n && lanes < LANES_MAX; i = end, lanes++)
	{
		for (end = i + 1; end < n && same_lane(&found[i], &found[end]); end++)
			;
		if (!sn_lock_letters(found[i].worker_type, found[i].lane, purge->wait))
			continue;
		sn_hold_briefly();
		result += delete_letters(purge, &found[i], end - i);
	}
	if (result > 0)
		CommandCounterIncrement();
	pfree(found);
	return result;
}

/* purge_dead_letters(before, worker_type, tenant_id, max_letters) returns int */
Datum
sentinai_purge_dead_letters(PG_FUNCTION_ARGS)
{
	HASHCTL		ctl = {.keysize = SN_TENANT_MAX + 1,.entrysize = sizeof(Purged)};
	Purge		purge = {.wait = true};
	int			n;

	SN_REQUIRE_ARG(0, "before");
	SN_REQUIRE_ARG(3, "max_letters");
	PreventCommandIfReadOnly("purge_dead_letters()");
	purge.before = PG_GETARG_TIMESTAMPTZ(0);
	purge.worker_type = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	purge.tenant_id = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	purge.max = PG_GETARG_INT32(3);
	sn_require(SN_RIGHT_OPERATE, purge.tenant_id, "operate for");
	if (purge.max < 1 || purge.max > PURGE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_letters must be between 1 and %d", PURGE_MAX)));
	purge.purged = hash_create("sentinai purge", 64, &ctl,
							   HASH_ELEM | HASH_STRINGS);
	n = purge_letters(&purge);
	record_purge(&purge);
	if (n > 0)
		ereport(LOG,
				(errmsg_plural("%d settled dead letter was removed by \"%s\"",
							   "%d settled dead letters were removed by \"%s\"",
							   n, n,
							   GetUserNameFromId(GetSessionUserId(), false))));
	PG_RETURN_INT32(n);
}

/* sn_purge_step: letters that were settled long ago; whether there may be more */
bool
sn_purge_step(void)
{
	Purge		purge = {.max = STEP_MAX};

	if (sn_dead_letter_retention < 0)
		return false;
	purge.before = GetCurrentTimestamp() -
		sn_dead_letter_retention * USECS_PER_MINUTE;
	return purge_letters(&purge) == STEP_MAX;
}

/* refuse_letter_change(): trigger of dead_letter, which functions alone change */
Datum
sentinai_refuse_letter_change(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "refuse_letter_change");
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("\"dead_letter\" cannot be changed by hand"),
			 errdetail("Lanes count their letters, and a letter may hold its key."),
			 errhint("Use retry_dead_letter(), discard_dead_letter() and purge_dead_letters().")));
	PG_RETURN_NULL();
}
