/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_command.c
 *		retry_dead_letter(), discard_dead_letter(): what people do with events
 *		that were given up.
 *
 * They wait for the lock of the event's lane in the order in which they are
 * called, and an agent may wait for several lanes.  It is they who give way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "log/event.h"
#include "queue/backlog.h"
#include "queue/dead_letter.h"
#include "queue/lane.h"
#include "store/lane_hints.h"
#include "store/xact_end.h"

PG_FUNCTION_INFO_V1(sentinai_retry_dead_letter);
PG_FUNCTION_INFO_V1(sentinai_discard_dead_letter);

/* A letter that somebody deals with, and where its event belongs */
typedef struct LetterCommand
{
	pg_uuid_t	id;
	text	   *worker_type;
	SnSub	   *sub;			/* NULL: it has gone */
	int32		hash;
	SnLaneState state;			/* of the lane, if there is sub */
	SnLetter	letter;
	Snapshot	snapshot;
	TimestampTz now;
} LetterCommand;

/* no_letter: the error for a letter that is not there */
static void
no_letter(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("dead letter does not exist")));
}

/* read_letter: the letter under a new snapshot, or an error */
static void
read_letter(LetterCommand *command)
{
	if (command->snapshot != NULL)
		UnregisterSnapshot(command->snapshot);
	command->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!sn_letter_find(&command->id, command->worker_type, command->snapshot, &command->letter))
		no_letter();
}

/* open_letter_command: find the letter, see that it is pending and stays so */
static void
open_letter_command(LetterCommand *command, FunctionCallInfo fcinfo)
{
	int			lane;

	memset(command, 0, sizeof(LetterCommand));
	command->id = *PG_GETARG_UUID_P(0);
	command->worker_type = PG_GETARG_TEXT_PP(1);
	read_letter(command);
	command->hash = sn_key_hash(sn_letter_text(&command->letter, Anum_dead_tenant_id),
							 sn_letter_text(&command->letter,
											Anum_dead_aggregate_id));
	lane = sn_lane_of(command->hash, sn_node()->lanes);
	(void) sn_lock_letters(command->worker_type, lane, true);
	command->sub = sn_sub_by_name(command->worker_type);
	read_letter(command);			/* as it is now that nobody changes it */
	if (!sn_letter_status_is(&command->letter, "pending"))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("dead letter is not pending"),
				 errdetail("Its status is \"%s\".",
						   TextDatumGetCString(command->letter.values[Anum_dead_status - 1]))));
	if (command->sub != NULL)
		sn_lane_read(command->sub, lane, command->snapshot, &command->state);
	command->now = sn_now();
}

/* close_letter_command: store the lane and tell those who wait */
static void
close_letter_command(LetterCommand *command)
{
	UnregisterSnapshot(command->snapshot);
	if (command->sub == NULL)
		return;
	command->state.dead--;
	command->state.changed = true;
	sn_lane_put_back(&command->state, sn_sub_slot(command->sub->sub_id));
}

/* find_blocking: the row of event_retry that is the letter's, or false */
static bool
find_blocking(LetterCommand *command, SnRetry *retry)
{
	return sn_retry_find(command->sub->sub_id, command->state.lane, command->hash,
						 &command->id, command->snapshot, retry);
}

/*
 * front_pos: a position for an event that has none of its own: before the round
 * it was in, in the order of ids.  No slice has so high an offset, so no event
 * of the queue has it.
 */
static SnPos
front_pos(LetterCommand *command)
{
	SnTick		tick = sn_uuid_tick(&command->id);
	int64		ms = Max(SN_TICK_MS(tick) - SN_EPOCH_MS - 1, 0);
	SnPos		pos = SN_ROUND_POS(ms) +
		((SnPos) (tick & ((1 << SN_TICK_BITS) - 1)) <<
		 (SN_CHUNK_BITS + SN_OFF_BITS - SN_TICK_BITS)) + SN_SLICE_MAX;
	SnRetry		other;

	while (sn_retry_get(command->sub->sub_id, command->state.lane, pos,
						command->snapshot, &other))
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
 * place_of: where the letter's event goes: to the position it had, which no
 * other event has.  A letter of an earlier subscription of that name knows of
 * none.
 */
static SnPos
place_of(LetterCommand *command)
{
	SnLetter   *letter = &command->letter;
	SnRetry		other;
	SnPos		pos;

	if (letter->nulls[Anum_dead_pos - 1] ||
		letter->nulls[Anum_dead_sub_id - 1] ||
		DatumGetInt32(letter->values[Anum_dead_sub_id - 1]) !=
		command->sub->sub_id)
		return front_pos(command);
	pos = DatumGetInt64(letter->values[Anum_dead_pos - 1]);
	if (sn_retry_get(command->sub->sub_id, command->state.lane, pos,
					 command->snapshot, &other))
		return front_pos(command);
	return pos;
}

/* put_back: the event goes to its place among those of its key, due now */
static void
put_back(LetterCommand *command)
{
	SnLetter   *letter = &command->letter;
	SnRetry		retry;
	bool		blocking = find_blocking(command, &retry);

	if (!blocking)
	{
		memset(&retry, 0, sizeof(SnRetry));
		retry.sub_id = command->sub->sub_id;
		retry.lane = command->state.lane;
		retry.pos = place_of(command);
		retry.event_id = command->id;
		retry.hash = command->hash;
		retry.tenant_id = sn_letter_text(letter, Anum_dead_tenant_id);
		retry.aggregate_id = sn_letter_text(letter, Anum_dead_aggregate_id);
		retry.last_error = sn_letter_text(letter, Anum_dead_reason);
		command->state.parked++;
	}
	retry.attempt = 0;
	retry.solo = false;
	retry.dead = false;
	retry.has_due = true;
	retry.due_at = command->now;
	retry.not_before = 0;
	retry.history = DatumGetJsonbP(letter->values[Anum_dead_history - 1]);
	retry.first_failed_at =
		DatumGetTimestampTz(letter->values[Anum_dead_first_failed_at - 1]);
	if (blocking)
		sn_retry_delete(&retry, 1);
	sn_retry_put(&retry, command->sub->ordered);
	if (command->sub->ordered)
		sn_arrange_range(command->sub, &command->state, command->now);
}

/* retry_dead_letter(event_id uuid, worker_type text, actor text) returns void */
Datum
sentinai_retry_dead_letter(PG_FUNCTION_ARGS)
{
	LetterCommand		command;
	Datum		actor;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = PointerGetDatum(sn_actor_arg(fcinfo, 2));
	PreventCommandIfReadOnly("retry_dead_letter()");
	open_letter_command(&command, fcinfo);
	if (command.sub == NULL)
		sn_unknown_worker_type(command.worker_type);
	put_back(&command);
	sn_note_relay_change();
	sn_letter_set(&command.letter, Anum_dead_status, CStringGetTextDatum("retrying"));
	sn_letter_set(&command.letter, Anum_dead_resolved_by, actor);
	sn_letter_write(&command.letter, true);
	close_letter_command(&command);
	PG_RETURN_VOID();
}

/* discard_dead_letter(event_id uuid, worker_type text, actor text, reason text) */
Datum
sentinai_discard_dead_letter(PG_FUNCTION_ARGS)
{
	LetterCommand		command;
	Datum		actor;
	Datum		reason;
	SnRetry		retry;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	actor = PointerGetDatum(sn_actor_arg(fcinfo, 2));
	reason = PointerGetDatum(sn_text_arg(fcinfo, 3, "reason", SN_REASON_MAX));
	PreventCommandIfReadOnly("discard_dead_letter()");
	open_letter_command(&command, fcinfo);
	if (command.sub != NULL && find_blocking(&command, &retry))
	{
		sn_retry_remove(&retry, 1, command.sub->ordered, command.now);
		command.state.parked--;
	}
	sn_letter_set(&command.letter, Anum_dead_status, CStringGetTextDatum("discarded"));
	sn_letter_set(&command.letter, Anum_dead_resolved_at, TimestampTzGetDatum(command.now));
	sn_letter_set(&command.letter, Anum_dead_resolved_by, actor);
	sn_letter_set(&command.letter, Anum_dead_resolution, reason);
	sn_letter_write(&command.letter, true);
	close_letter_command(&command);
	PG_RETURN_VOID();
}
