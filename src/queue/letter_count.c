/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_count.c
 *		How many dead letters there are: table dead_letter_count.
 *
 * Whoever writes or removes a letter adds a row with the difference, so nobody
 * waits for a counter and nothing is updated in place.  Maintenance folds the
 * differences of a tenant, worker type and event type into one row.  The sum
 * over a tenant's rows is right at any time.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "queue/dead_letter.h"

#define FOLD_MAX	2000		/* differences of one step of maintenance */

const char *const sn_letter_statuses[] =
{"pending", "retrying", "succeeded", "discarded"};

/* Differences of one tenant, worker type and event type */
typedef struct Sum
{
	text	   *names[3];
	int64		letters[SN_LETTER_STATUSES];
} Sum;

/* sn_letter_status: a status by its name; -1 for none of them */
SnLetterStatus
sn_letter_status(const text *status)
{
	int			i;

	for (i = 0; i < SN_LETTER_STATUSES; i++)
		if (sn_text_is(status, sn_letter_statuses[i]))
			return i;
	return -1;
}

/* put_sum: add a row; a folded one, or a difference */
static void
put_sum(const Sum *sum, bool folded)
{
	Datum		values[Natts_count];
	bool		nulls[Natts_count] = {false};
	int			i;

	for (i = 0; i < lengthof(sum->names); i++)
		values[Anum_count_tenant_id - 1 + i] = PointerGetDatum(sum->names[i]);
	for (i = 0; i < SN_LETTER_STATUSES; i++)
		values[Anum_count_pending - 1 + i] = Int64GetDatum(sum->letters[i]);
	values[Anum_count_folded - 1] = BoolGetDatum(folded);
	sn_insert_one(SN_DEAD_LETTER_COUNT, values, nulls);
}

/* sn_letter_count: a letter's status was before and is after; -1: no letter */
void
sn_letter_count(const SnLetter *letter, int before, int after)
{
	Sum			sum = {{sn_letter_text(letter, Anum_dead_tenant_id),
	sn_letter_text(letter, Anum_dead_worker_type),
	sn_letter_text(letter, Anum_dead_event_type)}};

	if (before == after || !sn_present(SN_DEAD_LETTER_COUNT))
		return;
	if (before >= 0)
		sum.letters[before]--;
	if (after >= 0)
		sum.letters[after]++;
	put_sum(&sum, false);
}

/* add_difference: what a row counts */
static void
add_difference(Sum *sum, TupleTableSlot *slot)
{
	bool		isnull;
	int			i;

	for (i = 0; i < SN_LETTER_STATUSES; i++)
		sum->letters[i] += DatumGetInt64(slot_getattr(slot, Anum_count_pending + i,
													  &isnull));
}

/* is_of: whether a row counts the same tenant, worker type and event type */
static bool
is_of(const Sum *sum, TupleTableSlot *slot)
{
	bool		isnull;
	int			i;

	for (i = 0; i < lengthof(sum->names); i++)
		if (sum->names[i] == NULL ||
			!sn_text_equal(sum->names[i],
						   DatumGetTextPP(slot_getattr(slot, Anum_count_tenant_id + i,
													   &isnull))))
			return false;
	return true;
}

/* begin_sum: one for what a row counts */
static void
begin_sum(Sum *sum, TupleTableSlot *slot)
{
	bool		isnull;
	int			i;

	memset(sum, 0, sizeof(Sum));
	for (i = 0; i < lengthof(sum->names); i++)
		sum->names[i] =
			DatumGetTextPCopy(slot_getattr(slot, Anum_count_tenant_id + i,
										   &isnull));
}

/* fold: rows that count the same become one, or none; how many they were */
static int
fold(Sum *sum, Snapshot snapshot)
{
	ScanKeyData keys[3];
	SnScan		scan;
	bool		any = false;
	int			n = 0;
	int			i;

	for (i = 0; i < lengthof(sum->names); i++)
		sn_key_text(&keys[i], i + 1, BTEqualStrategyNumber,
					PointerGetDatum(sum->names[i]));
	sn_scan_named(&scan, SN_DEAD_LETTER_COUNT, SN_DEAD_LETTER_COUNT_IDX,
				  snapshot, 3, keys, ForwardScanDirection);
	for (; n < FOLD_MAX && sn_scan_next(&scan); n++)
	{
		CHECK_FOR_INTERRUPTS();
		add_difference(sum, scan.slot);
		sn_delete_one(SN_DEAD_LETTER_COUNT, &scan.slot->tts_tid);
	}
	sn_scan_end(&scan);
	for (i = 0; i < SN_LETTER_STATUSES; i++)
		any |= sum->letters[i] != 0;
	if (any)
		put_sum(sum, true);
	return n;
}

/*
 * sn_letter_fold_step: fold what has differences, as far as a step goes; whether
 * there may be more.  One at a time does it: others only add rows.
 */
bool
sn_letter_fold_step(void)
{
	Snapshot	snapshot;
	SnScan		scan;
	Sum			sum = {{NULL}};
	int			n = 0;

	if (!sn_present(SN_DEAD_LETTER_COUNT) || !sn_lock_counts())
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sn_scan_named(&scan, SN_DEAD_LETTER_COUNT, SN_DEAD_LETTER_COUNT_NEW_IDX,
				  snapshot, 0, NULL, ForwardScanDirection);
	while (n < FOLD_MAX && sn_scan_next(&scan))
	{
		if (is_of(&sum, scan.slot))
			continue;
		begin_sum(&sum, scan.slot);
		n += fold(&sum, snapshot);
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	if (n > 0)
		CommandCounterIncrement();
	return n >= FOLD_MAX;
}
