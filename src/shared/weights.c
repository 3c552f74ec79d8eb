/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * weights.c
 *		The weights of the tracks, as claims know them: made from tables by the
 *		first claim that wants them (sequencer/track_weights.c), and forgotten when the
 *		tables have changed.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "shared/shmem.h"

/*
 * sn_weights_forget: the tables have changed, and everybody can see it.  Raises no
 * error.
 */
void
sn_weights_forget(void)
{
	SnDatabase *db = sn_database_find();

	if (db == NULL)
		return;
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	sn_weights_reset(db);
	LWLockRelease(&sn_shared()->lock);
}

/* sn_weights_changes: how often they have changed, before the tables are read */
uint64
sn_weights_changes(SnDatabase *db)
{
	uint64		result;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	result = db->weight_changes;
	LWLockRelease(&sn_shared()->lock);
	return result;
}

/* sn_weights_keep: what was read holds, unless there was a change meanwhile */
void
sn_weights_keep(SnDatabase *db, uint64 changes,
				const uint8 weights[SN_WEIGHTS], bool equal)
{
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (db->dboid == MyDatabaseId && db->weight_changes == changes)
	{
		memcpy(db->weights, weights, sizeof(db->weights));
		pg_atomic_write_u32(&db->weights_known,
							equal ? SN_WEIGHTS_EQUAL : SN_WEIGHTS_GIVEN);
	}
	LWLockRelease(&sn_shared()->lock);
}
