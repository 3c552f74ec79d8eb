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
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "queue/lane.h"
#include "queue/subscription.h"
#include "queue/token.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(sentinai_after_restore);

extern PGDLLEXPORT Datum sentinai_release(PG_FUNCTION_ARGS);

/* is_old: whether the lane is held since before a time */
static bool
is_old(const SnLaneState *state, TimestampTz before)
{
	return state->held && state->claimed_at < before;
}

/*
 * old_batch: a batch that holds lanes of a subscription since before a time.
 * Its lanes are locked and read again: it may have ended just now.
 */
static bool
old_batch(SnSub *sub, TimestampTz before, SnToken *token)
{
	int			lanes = sn_node()->lanes;
	int			lane;

	token->sub_id = sub->sub_id;
	token->lanes = 0;
	for (lane = 0; lane < lanes; lane++)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		SnLaneState state;

		CHECK_FOR_INTERRUPTS();
		sn_lane_read(sub, lane, snapshot, &state);
		UnregisterSnapshot(snapshot);
		if (!is_old(&state, before))
			continue;
		(void) sn_lock_lane(sub->sub_id, lane, true);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		sn_lane_read(sub, lane, snapshot, &state);
		UnregisterSnapshot(snapshot);
		if (!is_old(&state, before) ||
			(token->lanes != 0 && sn_uuid_cmp(&state.batch, &token->batch) != 0))
			continue;
		token->batch = state.batch;
		token->lanes |= UINT64CONST(1) << lane;
	}
	return token->lanes != 0;
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
		SnSub	   *sub;
		SnToken		token;

		while ((sub = sn_sub_by_id(lfirst_int(lc))) != NULL &&
			   !sub->is_relay && old_batch(sub, moved_at, &token))
		{
			(void) DirectFunctionCall1(sentinai_release,
									   PointerGetDatum(sn_token_text(&token)));
			CommandCounterIncrement();
		}
	}
	PG_RETURN_VOID();
}
