/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * track_weights.c
 *		The weights of the tracks: how many turns each gets in a round of turns.
 *
 * A track's weight is the greatest of the tenants that have it, so that none gets
 * less than its own.  The common track has all that are not set apart.  Who has no
 * weight has the default, which is 1 unless somebody has set it.
 *
 * Claims want them often, and they change rarely.  So they are kept in shared
 * memory, and read from the tables by the first claim after a change, or after the
 * server's start.  Whoever changes a weight, or gives a tenant another track, has
 * them forgotten when his transaction has been committed (store/xact_end.c).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/text.h"
#include "sequencer/track_weights.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "tenancy/limit.h"
#include "tenancy/right.h"

/* A tenant that is set apart */
typedef struct Apart
{
	text	   *tenant_id;		/* the key, by its bytes */
	int			track;
} Apart;

/* weight_at: of the row at hand, whatever SQL has written there */
static int
weight_at(const SnScan *scan)
{
	int			weight =
		DatumGetInt32(scan->slot->tts_values[Anum_weight_weight - 1]);

	return Min(Max(weight, 1), SN_WEIGHT_MAX);
}

/* tenant_at: whose it is */
static text *
tenant_at(const SnScan *scan)
{
	return DatumGetTextPP(scan->slot->tts_values[Anum_weight_tenant_id - 1]);
}

/* weight_of: a tenant's weight, or what it is otherwise */
static int
weight_of(const text *tenant_id, int otherwise, Snapshot snapshot)
{
	int			result = otherwise;
	ScanKeyData key;
	SnScan		scan;

	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_scan_named(&scan, SN_TENANT_WEIGHT, SN_TENANT_WEIGHT_PKEY, snapshot, 1,
				  &key, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		slot_getallattrs(scan.slot);
		result = weight_at(&scan);
	}
	sn_scan_end(&scan);
	return result;
}

/* find_apart: the tenants that are set apart, and their tracks */
static HTAB *
find_apart(Snapshot snapshot)
{
	HTAB	   *apart = sn_tenant_hash("sentinai weights", sizeof(Apart),
									   CurrentMemoryContext);
	SnTableScan *scan = sn_table_read(SN_TRACK_TENANT, snapshot);
	TupleTableSlot *slot;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		text	   *name;
		Apart	   *found;

		slot_getallattrs(slot);
		name = sn_text_copy(DatumGetTextPP(slot->tts_values[Anum_on_tenant_id - 1]));
		found = hash_search(apart, &name, HASH_ENTER, NULL);
		found->track =
			DatumGetInt32(slot->tts_values[Anum_on_track - 1]) & (SN_TRACKS - 1);
	}
	sn_table_end(scan);
	return apart;
}

/*
 * common_weight: that of the common track.  The heaviest come first, and few of
 * them are set apart.
 */
static int
common_weight(HTAB *apart, int otherwise, Snapshot snapshot)
{
	int			result = otherwise;
	SnScan		scan;

	sn_scan_named(&scan, SN_TENANT_WEIGHT, SN_TENANT_WEIGHT_IDX, snapshot, 0,
				  NULL, BackwardScanDirection);
	while (result == otherwise && sn_scan_next(&scan))
	{
		text	   *name;

		slot_getallattrs(scan.slot);
		if (weight_at(&scan) <= otherwise)
			break;
		name = tenant_at(&scan);
		if (hash_search(apart, &name, HASH_FIND, NULL) == NULL)
			result = weight_at(&scan);
	}
	sn_scan_end(&scan);
	return result;
}

/* find_weights: all weights by a snapshot */
static void
find_weights(uint8 weights[SN_WEIGHTS], Snapshot snapshot)
{
	HTAB	   *apart = find_apart(snapshot);
	text	   *every = cstring_to_text(SN_EVERY);
	int			otherwise = weight_of(every, 1, snapshot);
	HASH_SEQ_STATUS status;
	Apart	   *tenant;
	int			i;

	memset(weights, 0, SN_WEIGHTS);
	hash_seq_init(&status, apart);
	while ((tenant = hash_seq_search(&status)) != NULL)
		weights[tenant->track] =
			Max(weights[tenant->track],
				weight_of(tenant->tenant_id, otherwise, snapshot));
	for (i = 0; i < SN_WEIGHTS; i++)
		if (weights[i] == 0)
			weights[i] = otherwise;
	weights[SN_TRACK_COMMON] = common_weight(apart, otherwise, snapshot);
}

/* are_equal: whether all weights are the same */
static bool
are_equal(const uint8 weights[SN_WEIGHTS])
{
	int			i;

	for (i = 1; i < SN_WEIGHTS; i++)
		if (weights[i] != weights[0])
			return false;
	return true;
}

/*
 * read_weights: the same from the tables, for all who want them then; false where
 * they are equal
 */
static bool
read_weights(SnDatabase *db, uint8 weights[SN_WEIGHTS])
{
	uint64		changes = sn_weights_changes(db);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai weights",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		equal = true;

	memset(weights, 1, SN_WEIGHTS);
	if (sn_present(SN_TENANT_WEIGHT))
	{
		Snapshot	snapshot = sn_snapshot_now();

		find_weights(weights, snapshot);
		equal = are_equal(weights);
		UnregisterSnapshot(snapshot);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!sn_weights_noted())
		sn_weights_keep(db, changes, weights, equal);
	return !equal;
}

/*
 * sn_read_track_weights: sn_track_weights() where they are not known to be equal
 */
bool
sn_read_track_weights(SnDatabase *db, uint8 weights[SN_WEIGHTS])
{
	if (pg_atomic_read_u32(&db->weights_known) != SN_WEIGHTS_GIVEN)
		return read_weights(db, weights);
	sn_shared_copy(weights, db->weights, SN_WEIGHTS);
	return true;
}
