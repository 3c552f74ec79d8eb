/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * restore.c
 *		after_restore(): a restored or copied database begins its life here.
 *
 * The leases that were open when the database was dumped belong to agents of
 * the place it came from.  They are given back as release() does, so that the
 * events are handed out at once and no attempt is counted.  Which they are is
 * told by time: they were claimed before the database was first used here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "queue/batch.h"

PG_FUNCTION_INFO_V1(sentinai_after_restore);

/* is_old: whether the lane is held since before a time */
static bool
is_old(const SnLaneState *state, const void *before)
{
	return state->claimed_at < *(const TimestampTz *) before;
}

/* after_restore() returns void */
Datum
sentinai_after_restore(PG_FUNCTION_ARGS)
{
	TimestampTz moved_at;
	ListCell   *lc;

	PreventCommandIfReadOnly("after_restore()");
	(void) sn_node_activate();
	moved_at = sn_node_moved_at();
	if (moved_at == DT_NOBEGIN)
		PG_RETURN_VOID();
	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));
		SnBatch		batch;

		if (sub == NULL || sub->is_relay ||
			!sn_batch_seize(&batch, lfirst_int(lc), is_old, &moved_at))
			continue;
		(void) sn_batch_release(&batch);
		sn_batch_close(&batch);
	}
	PG_RETURN_VOID();
}
