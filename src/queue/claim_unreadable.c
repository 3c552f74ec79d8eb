/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_unreadable.c
 *		Events that no reader could hold, as claim() meets them.
 *
 * publish() takes none, but the log may have one from elsewhere, such as a
 * restore.  Handed out it would end the claim, or the agent, of everybody who
 * comes by; so it becomes a dead letter on the spot and its lane goes on.  So does
 * one that a superuser has written over, and that lacks what every event has.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/json_size.h"
#include "queue/attempt.h"
#include "queue/claim_work.h"
#include "store/store.h"

/*
 * column_fits: whether a column of the fetched event can be handed out.  It is
 * not null unless somebody has written that over the event.
 */
static bool
column_fits(SnClaim *claim, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(claim->log->slot, column, &isnull);

	return !isnull && sn_json_fit_stored(value) == SN_JSON_FITS;
}

/* sn_claim_readable: whether the event just fetched can be handed out */
bool
sn_claim_readable(SnClaim *claim)
{
	return sn_log_lacks(claim->log) == 0 &&
		column_fits(claim, Anum_log_payload) &&
		column_fits(claim, Anum_log_metadata);
}

/* sn_row_readable: the same of an event that a dead letter has */
bool
sn_row_readable(const SnEventRow *row)
{
	return sn_json_fit_stored(row->values[Anum_log_payload - 1]) == SN_JSON_FITS &&
		sn_json_fit_stored(row->values[Anum_log_metadata - 1]) == SN_JSON_FITS;
}

/* reason_of: why an event cannot be handed out */
static text *
reason_of(SnClaim *claim, const pg_uuid_t *id)
{
	AttrNumber	column = sn_log_fetch(claim->log, id) ?
		sn_log_lacks(claim->log) : 0;

	return cstring_to_text(column != 0 ?
						   sn_null_text(sn_rel(SN_EVENT_LOG), column, id) :
						   "payload or metadata is too large as text, or nested too deep, to be handed out, or there is none");
}

/*
 * sn_claim_give_up: an event of the lane at hand that cannot be handed out
 * becomes a dead letter.
 */
void
sn_claim_give_up(SnClaim *claim, SnClaimLook *look, const SnEntry *entry)
{
	SnFailure	failure = {
		.sub = claim->sub,
		.state = look->state,
		.entry = entry,
		.error = reason_of(claim, &entry->event_id),
		.retryable = false,
		.now = claim->now,
		.log = claim->log,
	};

	(void) sn_attempt_failed(&failure);
	sn_claim_new_snapshot(claim);
}
