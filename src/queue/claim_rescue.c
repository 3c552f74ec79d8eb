/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_rescue.c
 *		What becomes of a batch whose lease was lost, in one of its lanes.
 *
 * The lease costs every event still open an attempt.  Which of several was the
 * reason nobody knows, so from then on they are handed out one by one, until
 * the lane is past them: an event that kills its agent then dies alone.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "queue/attempt.h"
#include "queue/claim_work.h"

/* fail_one: an event whose attempt is known to have been lost; what follows sees it */
static void
fail_one(SnClaim *claim, SnLaneState *state, const SnEntry *entry)
{
	SnFailure	failure = {
		.sub = claim->sub,
		.state = state,
		.entry = entry,
		.error = cstring_to_text("lease was lost"),
		.retryable = true,
		.lost = true,
		.now = claim->now,
		.log = claim->log,
	};

	(void) sn_attempt_failed(&failure);
	sn_claim_new_snapshot(claim);
}

/* resolve_one: an event of the lane's range leaves it */
static void
resolve_one(SnLaneState *state, const SnEntry *entry, int range)
{
	if (state->resolved.bytes == NULL)
		sn_bits_make(&state->resolved, range);
	sn_bits_set(&state->resolved, entry->bit);
}

/*
 * fail_range: the events of the lane's range that were in the batch.  One whose
 * key has a later event in event_retry goes there, so that it comes first.
 */
static void
fail_range(SnClaim *claim, SnLaneState *state, const SnEntry *entries, int n)
{
	int			left = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		const SnEntry *entry = &entries[i];
		int32		hash;

		if (n == 1 ||
			(claim->sub->ordered && sn_lane_whole(state)->parked > 0 &&
			 sn_retry_blocks(&claim->probe, claim->sub->sub_id, entry->lane,
							 entry->tenant_id, entry->aggregate_id,
							 claim->snapshot, &hash)))
		{
			fail_one(claim, state, entry);
			resolve_one(state, entry, n);
		}
		else
			left++;
	}
	if (left == 0)
		return;
	state->lost = entries[0].pos < state->lost_pos ? state->lost + 1 : 1;
	state->lost_pos = entries[n - 1].pos + 1;
	state->failed += left;
}

/* sn_rescue: free a lane whose lease has run out */
void
sn_rescue(SnClaim *claim, SnLaneState *state)
{
	SnEntries	entries = {NULL};
	int			i;

	sn_entries_of_lane(&entries, claim->sub, state, claim->log,
					   claim->snapshot);
	for (i = 0; i < entries.n && entries.items[i].bit < 0; i++)
		fail_one(claim, state, &entries.items[i]);
	fail_range(claim, state, entries.items + i, entries.n - i);
	state->done = false;
	sn_lane_release(state);
}
