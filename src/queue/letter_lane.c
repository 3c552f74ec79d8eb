/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_lane.c
 *		Retrying, discarding and replacing dead letters under their lane's lock.
 *
 * The lane is locked and read once, however many of its letters are dealt with,
 * and is stored once at the end.  Each letter is read as it is then: what was
 * done to the one before must be seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/control_type.h"
#include "base/hash.h"
#include "log/event.h"
#include "queue/backlog.h"
#include "queue/control.h"
#include "queue/letter_lane.h"
#include "redact/redact.h"
#include "store/lane_hints.h"
#include "store/xact_end.h"
#include "tenancy/action.h"
#include "tenancy/hold.h"

/* sn_letter_lane_open: lock the lane of a worker type's letters, and read it */
void
sn_letter_lane_open(SnLetterLane *lane, const text *worker_type, int number)
{
	SnLaneReader reader = {false};
	Snapshot	snapshot;

	memset(lane, 0, sizeof(SnLetterLane));
	lane->worker_type = worker_type;
	lane->lane = number;
	(void) sn_lock_letters(worker_type, number, true);
	sn_hold_briefly();
	lane->sub = sn_sub_by_name(worker_type);
	if (lane->sub != NULL)
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		sn_lane_open(&lane->all, &reader, lane->sub, number, snapshot);
		sn_lane_read_end(&reader);
		UnregisterSnapshot(snapshot);
	}
	lane->now = sn_now();
}

/* sn_letter_lane_find: a letter as it is now that nobody else changes it */
bool
sn_letter_lane_find(const SnLetterLane *lane, const pg_uuid_t *id,
					SnLetter *letter)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = sn_letter_find(id, lane->worker_type, snapshot, letter);

	UnregisterSnapshot(snapshot);
	return found;
}

/* sn_letter_lane_close: store the lane and tell those who wait */
void
sn_letter_lane_close(SnLetterLane *lane)
{
	if (lane->sub != NULL)
		sn_lane_put_back(&lane->all, sn_sub_slot(lane->sub->sub_id));
}

/* sn_letter_hash: hash of the key that the letter's event has */
int32
sn_letter_hash(const SnLetter *letter)
{
	return sn_key_hash(sn_letter_text(letter, Anum_dead_tenant_id),
					   sn_letter_text(letter, Anum_dead_aggregate_id));
}

/* letter_id: the event that a letter is about */
static const pg_uuid_t *
letter_id(const SnLetter *letter)
{
	return DatumGetUUIDP(letter->values[Anum_dead_event_id - 1]);
}

/* find_blocking: the row of event_retry that is the letter's, or false */
static bool
find_blocking(const SnLetterLane *lane, const SnLetter *letter, SnRetry *retry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = sn_retry_find(lane->sub->sub_id, lane->lane,
									  sn_letter_hash(letter),
									  letter_id(letter), snapshot, retry);

	UnregisterSnapshot(snapshot);
	return found;
}

/* is_taken: whether an event has a position already */
static bool
is_taken(const SnLetterLane *lane, SnPos pos)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnRetry		other;
	bool		found = sn_retry_get(lane->sub->sub_id, lane->lane, pos,
									 snapshot, &other);

	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * front_pos: a position for an event that has none of its own: before the round
 * it was in, in the order of ids.  No slice has so high a place, so no event
 * of the queue has it.
 */
static SnPos
front_pos(const SnLetterLane *lane, const pg_uuid_t *id)
{
	SnTick		tick = sn_uuid_tick(id);
	int64		ms = Max(SN_TICK_MS(tick) - SN_EPOCH_MS - 1, 0);
	SnPos		pos = SN_ROUND_POS(ms) +
		((SnPos) (tick & ((1 << SN_TICK_BITS) - 1)) <<
		 (SN_CHUNK_BITS + SN_OFF_BITS - SN_TICK_BITS)) + SN_SLICE_MAX;

	while (is_taken(lane, pos))
	{
		CHECK_FOR_INTERRUPTS();
		pos++;
		if (SN_POS_OFF(pos) < SN_SLICE_MAX)
			pos += SN_SLICE_MAX;
	}
	Assert(SN_POS_OFF(pos) >= SN_SLICE_MAX);
	return pos;
}

/*
 * retry_position: where the letter's event goes: to the position it had, which no
 * other event has.  A letter of an earlier subscription of that name knows of
 * none.
 */
static SnPos
retry_position(const SnLetterLane *lane, const SnLetter *letter)
{
	SnPos		pos;

	if (letter->nulls[Anum_dead_pos - 1] ||
		letter->nulls[Anum_dead_sub_id - 1] ||
		DatumGetInt32(letter->values[Anum_dead_sub_id - 1]) !=
		lane->sub->sub_id)
		return front_pos(lane, letter_id(letter));
	pos = DatumGetInt64(letter->values[Anum_dead_pos - 1]);
	return is_taken(lane, pos) ? front_pos(lane, letter_id(letter)) : pos;
}

/* fresh_row: an event of the letter's key, at the letter's place */
static void
fresh_row(const SnLetterLane *lane, const SnLetter *letter, SnRetry *retry)
{
	memset(retry, 0, sizeof(SnRetry));
	retry->sub_id = lane->sub->sub_id;
	retry->lane = lane->lane;
	retry->pos = retry_position(lane, letter);
	retry->hash = sn_letter_hash(letter);
	retry->tenant_id = sn_letter_text(letter, Anum_dead_tenant_id);
	retry->aggregate_id = sn_letter_text(letter, Anum_dead_aggregate_id);
	retry->last_error = sn_letter_text(letter, Anum_dead_reason);
}

/* count_lane: so many rows of event_retry and letters more, or less */
static void
count_lane(SnLetterLane *lane, int parked, int dead)
{
	sn_lane_count(lane->all.of[SN_TRACK_COMMON], parked, dead);
}

/* put_back: the row goes to its place among those of its key, due now */
static void
put_back(SnLetterLane *lane, SnRetry *retry, bool blocking)
{
	retry->attempt = 0;
	retry->solo = false;
	retry->dead = false;
	retry->has_due = true;
	retry->due_at = lane->now;
	retry->not_before = 0;
	if (blocking)
		sn_retry_delete(retry, 1);
	else
		count_lane(lane, 1, 0);
	sn_retry_put(retry, lane->sub->ordered);
	if (lane->sub->ordered)
		sn_arrange_ranges(&lane->all, lane->now);
}

/* id_text: an id, or NULL */
static const char *
id_text(const pg_uuid_t *id)
{
	return id == NULL ? NULL :
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* function_of: the function that publishes a type, for one letter or for many */
static const char *
function_of(const char *type)
{
	if (strcmp(type, SN_TYPE_LETTER_RETRIED) == 0)
		return "retry_dead_letter";
	return strcmp(type, SN_TYPE_LETTER_DISCARDED) == 0 ?
		"discard_dead_letter" : "edit_and_retry";
}

/* record_action: note in the action log what somebody does with a letter */
static void
record_action(const SnLetter *letter, const char *type, const SnLetterWhy *why,
			  const pg_uuid_t *replaced_by)
{
	SnAction	action = {
		.action = function_of(type),
		.kind = SN_ACTION_ACTS,
		.worker_type = sn_letter_text(letter, Anum_dead_worker_type),
		.aggregate_id = sn_letter_text(letter, Anum_dead_aggregate_id),
		.before = sn_action_json("status", sn_letter_statuses[letter->was],
								 NULL),
		.tenant_id = sn_letter_text(letter, Anum_dead_tenant_id),
		.object = id_text(letter_id(letter)),
		.actor = why->actor,
		.reason = why->reason,
	};

	action.after =
		sn_action_json("worker_type",
					   text_to_cstring(sn_letter_text(letter, Anum_dead_worker_type)),
					   "status",
					   text_to_cstring(sn_letter_text(letter, Anum_dead_status)),
					   "replaced_by", id_text(replaced_by), NULL);
	sn_action_record(&action);
}

/* storable: who and why, as it may be stored about the letter's event */
static SnLetterWhy
storable(const SnLetter *letter, const SnLetterWhy *given)
{
	const text *tenant_id = sn_letter_text(letter, Anum_dead_tenant_id);
	const text *event_type = sn_letter_text(letter, Anum_dead_event_type);

	return (SnLetterWhy) {
		sn_redact_note(tenant_id, event_type, given->actor),
		sn_redact_note(tenant_id, event_type, given->reason)
	};
}

/*
 * write_action: store what the letter has become, and publish what was done;
 * replaced_by: or NULL
 */
static void
write_action(SnLetterLane *lane, SnLetter *letter, const char *type,
			 SnLetterStatus status, const SnLetterWhy *given,
			 const pg_uuid_t *replaced_by)
{
	SnLetterWhy why = storable(letter, given);
	SnEventRow	event;
	SnLetterAction action = {
		type, sn_letter_text(letter, Anum_dead_worker_type), &event,
		letter_id(letter), why.actor, why.reason, replaced_by
	};

	sn_letter_set(letter, Anum_dead_status,
				  CStringGetTextDatum(sn_letter_statuses[status]));
	sn_letter_set(letter, Anum_dead_resolved_by, PointerGetDatum(why.actor));
	if (replaced_by != NULL)
		sn_letter_set(letter, Anum_dead_resolution,
					  CStringGetTextDatum(psprintf("replaced by %s: %s",
												   id_text(replaced_by),
												   text_to_cstring(why.reason))));
	else if (why.reason != NULL)
		sn_letter_set(letter, Anum_dead_resolution, PointerGetDatum(why.reason));
	if (status == SN_LETTER_DISCARDED)
		sn_letter_set(letter, Anum_dead_resolved_at,
					  TimestampTzGetDatum(lane->now));
	sn_letter_write(letter, true);
	record_action(letter, type, &why, replaced_by);
	sn_letter_event(letter, &event);
	sn_control_letter(&action);
	if (lane->sub == NULL)
		return;
	count_lane(lane, 0, -1);
}

/* sn_letter_retry: the letter's event is tried again */
void
sn_letter_retry(SnLetterLane *lane, SnLetter *letter, const SnLetterWhy *why)
{
	SnRetry		retry;
	bool		blocking = find_blocking(lane, letter, &retry);

	if (!blocking)
		fresh_row(lane, letter, &retry);
	retry.event_id = *letter_id(letter);
	retry.history = DatumGetJsonbP(letter->values[Anum_dead_history - 1]);
	retry.first_failed_at =
		DatumGetTimestampTz(letter->values[Anum_dead_first_failed_at - 1]);
	put_back(lane, &retry, blocking);
	sn_note_relay_change();
	write_action(lane, letter, SN_TYPE_LETTER_RETRIED, SN_LETTER_RETRYING, why,
				 NULL);
}

/* unblock_key: if the letter blocks its key, the key goes on */
static void
unblock_key(SnLetterLane *lane, const SnLetter *letter)
{
	SnRetry		retry;

	if (lane->sub == NULL || !find_blocking(lane, letter, &retry))
		return;
	sn_retry_remove(&retry, 1, lane->sub->ordered, lane->now);
	count_lane(lane, -1, 0);
}

/* sn_letter_discard: the letter is settled without another attempt */
void
sn_letter_discard(SnLetterLane *lane, SnLetter *letter, const SnLetterWhy *why)
{
	unblock_key(lane, letter);
	write_action(lane, letter, SN_TYPE_LETTER_DISCARDED, SN_LETTER_DISCARDED,
				 why, NULL);
}

/* put_other: another event takes the place of the letter's, and has not failed */
static void
put_other(SnLetterLane *lane, const SnLetter *letter, const pg_uuid_t *id)
{
	SnRetry		retry;
	SnRetry		other;
	bool		blocking = find_blocking(lane, letter, &retry);

	if (blocking)
		sn_retry_delete(&retry, 1);
	fresh_row(lane, letter, &other);
	if (blocking)
	{
		other.pos = retry.pos;
		count_lane(lane, -1, 0);
	}
	other.event_id = *id;
	other.last_error = NULL;
	put_back(lane, &other, false);
}

/*
 * sn_letter_replace: the letter is settled by another event, which is in the log
 * and takes the letter's place; a relay sends it where it stands there.
 */
void
sn_letter_replace(SnLetterLane *lane, SnLetter *letter, const SnLetterWhy *why,
				  const pg_uuid_t *by)
{
	if (lane->sub->is_relay)
		unblock_key(lane, letter);
	else
		put_other(lane, letter, by);
	write_action(lane, letter, SN_TYPE_LETTER_REPLACED, SN_LETTER_DISCARDED,
				 why, by);
}
