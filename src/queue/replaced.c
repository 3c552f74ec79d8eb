/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * replaced.c
 *		Events that have taken the place of a dead letter: table
 *		dead_letter_replaced.
 *
 * Such an event is handed out at the letter's place, and its subscription must
 * not get it again where it stands in the log.  The rows outlive the letters,
 * which may be purged before the subscription has come so far, and end with the
 * subscription.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "queue/replaced.h"

/* scan_replaced: the rows of a worker type, newest first; by: of one event */
static void
scan_replaced(SnScan *scan, const text *worker_type, const pg_uuid_t *by,
			  Snapshot snapshot)
{
	ScanKeyData keys[2];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
				PointerGetDatum(worker_type));
	if (by != NULL)
		sn_key_uuid(&keys[1], 2, BTEqualStrategyNumber, by);
	sn_scan_named(scan, SN_DEAD_LETTER_REPLACED, SN_DEAD_LETTER_REPLACED_PKEY,
				  snapshot, by != NULL ? 2 : 1, keys, BackwardScanDirection);
}

/* sn_replaced_note: an event has the place of a dead letter */
void
sn_replaced_note(const text *worker_type, const pg_uuid_t *event_id,
				 const pg_uuid_t *by)
{
	Datum		values[Natts_replaced];
	bool		nulls[Natts_replaced] = {false};

	values[Anum_replaced_worker_type - 1] = PointerGetDatum(worker_type);
	values[Anum_replaced_replaced_by - 1] = UUIDPGetDatum(by);
	values[Anum_replaced_event_id - 1] = UUIDPGetDatum(event_id);
	sn_insert_one(SN_DEAD_LETTER_REPLACED, values, nulls);
}

/* sn_replaced_has: whether an event has the place of a dead letter */
bool
sn_replaced_has(const text *worker_type, const pg_uuid_t *by,
				Snapshot snapshot)
{
	SnScan		scan;
	bool		found;

	scan_replaced(&scan, worker_type, by, snapshot);
	found = sn_scan_next(&scan);
	sn_scan_end(&scan);
	return found;
}

/* sn_replaced_last: the newest such event of a worker type; false for none */
bool
sn_replaced_last(const text *worker_type, Snapshot snapshot, pg_uuid_t *by)
{
	SnScan		scan;
	bool		found;
	bool		isnull;

	if (!sn_present(SN_DEAD_LETTER_REPLACED))
		return false;
	scan_replaced(&scan, worker_type, NULL, snapshot);
	found = sn_scan_next(&scan);
	if (found)
		*by = *DatumGetUUIDP(slot_getattr(scan.slot, Anum_replaced_replaced_by,
										  &isnull));
	sn_scan_end(&scan);
	return found;
}

/* sn_replaced_forget: the subscription ends; another of its name gets them all */
void
sn_replaced_forget(const text *worker_type, Snapshot snapshot)
{
	SnScan		scan;

	if (!sn_present(SN_DEAD_LETTER_REPLACED))
		return;
	scan_replaced(&scan, worker_type, NULL, snapshot);
	while (sn_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		sn_delete_one(SN_DEAD_LETTER_REPLACED, &scan.slot->tts_tid);
	}
	sn_scan_end(&scan);
}
