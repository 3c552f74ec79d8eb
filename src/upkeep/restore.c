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
#include "store/store.h"
#include "tenancy/action.h"

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
	SnAction	action = {.action = "after_restore", .kind = SN_ACTION_ACTS};
	TimestampTz moved_at;
	ListCell   *lc;
	bool		moved;
	int			events = 0;

	PreventCommandIfReadOnly("after_restore()");
	moved = sn_node_moved();
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
		events += sn_batch_release(&batch);
		sn_batch_close(&batch);
	}
	action.after = sn_action_json("events", psprintf("%d", events), NULL);
	if (moved || events > 0)
		sn_action_record(&action);
	PG_RETURN_VOID();
}
