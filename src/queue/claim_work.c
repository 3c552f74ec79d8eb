/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_work.c
 *		What the parts of a claim do with what they share.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "queue/claim_work.h"

/* sn_claim_full: whether no more events can go into the batch, or its share */
bool
sn_claim_full(const SnClaim *claim)
{
	return claim->entries.n >= claim->limit || claim->solo ||
		claim->enough || claim->sated;
}

/*
 * sn_claim_add: the event whose row the log reader has just fetched joins the
 * batch.  The caller fills in what is special about it.
 */
SnEntry *
sn_claim_add(SnClaim *claim, SnClaimLook *look, const pg_uuid_t *id, SnPos pos)
{
	MemoryContext old = MemoryContextSwitchTo(claim->memory);
	int			room = claim->entries.room;
	SnEntry    *entry = sn_entries_add(&claim->entries);

	if (claim->refs == NULL)
		claim->refs = palloc(claim->entries.room * sizeof(SnLogRef));
	else if (claim->entries.room != room)
		claim->refs = repalloc(claim->refs,
							   claim->entries.room * sizeof(SnLogRef));
	MemoryContextSwitchTo(old);
	entry->event_id = *id;
	entry->pos = pos;
	entry->lane = look->state->lane;
	entry->track = look->state->track;
	return entry;
}

/*
 * sn_claim_new_snapshot: see what was committed, and what this claim wrote.
 * The snapshot that a walk through a lane has begun with lasts as long as that.
 */
void
sn_claim_new_snapshot(SnClaim *claim)
{
	if (claim->snapshot != NULL && claim->snapshot == claim->walked)
		claim->walked_kept = true;
	else if (claim->snapshot != NULL)
		UnregisterSnapshot(claim->snapshot);
	claim->snapshot = RegisterSnapshot(GetLatestSnapshot());
	claim->nsnapshots++;
	sn_log_snapshot(claim->log, claim->snapshot);
}
