/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_command.c
 *		retry_dead_letter(), discard_dead_letter(), edit_and_retry(): what people
 *		do with one event that was given up.
 *
 * They wait for the lock of the event's lane in the order in which they are
 * called, and an agent may wait for several lanes.  It is they who give way.
 * Who has many letters takes the functions of letter_bulk.c.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/hash.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/flow.h"
#include "queue/letter_lane.h"
#include "queue/replaced.h"
#include "tenancy/charge.h"
#include "tenancy/gate.h"
#include "tenancy/limit.h"

PG_FUNCTION_INFO_V1(sentinai_retry_dead_letter);
PG_FUNCTION_INFO_V1(sentinai_discard_dead_letter);
PG_FUNCTION_INFO_V1(sentinai_edit_and_retry);

/* A letter that somebody deals with */
typedef struct LetterCommand
{
	SnLetterLane lane;
	SnLetter	letter;
	SnLetterWhy why;
} LetterCommand;

/*
 * find_letter: the letter of an event and a worker type, or an error; the one
 * place that asks whether the caller may deal with it.  One of a foreign tenant
 * is as unknown as one that is not there.
 */
static void
find_letter(const pg_uuid_t *id, const text *worker_type, SnLetter *letter)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = sn_letter_find(id, worker_type, snapshot, letter);

	if (found)
		sn_letter_mend(letter, snapshot);
	UnregisterSnapshot(snapshot);
	if (!found || !sn_may(SN_RIGHTS_LETTER,
						  sn_letter_text(letter, Anum_dead_tenant_id)))
		sn_letter_unknown();
}

/* open_letter_command: find the letter, see that it is pending and stays so */
static void
open_letter_command(LetterCommand *command, FunctionCallInfo fcinfo)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	text	   *worker_type = PG_GETARG_TEXT_PP(1);

	find_letter(id, worker_type, &command->letter);
	sn_letter_lane_open(&command->lane, worker_type,
						sn_lane_of(sn_letter_hash(&command->letter),
								   sn_node()->lanes));
	find_letter(id, worker_type, &command->letter); /* nobody changes it now */
	if (command->letter.was != SN_LETTER_PENDING)
		sn_letter_refuse_status(&command->letter);
}

/* require_sub: an error unless the subscription gets the event again */
static void
require_sub(const LetterCommand *command)
{
	const SnSub *sub = command->lane.sub;

	if (sub == NULL)
		sn_unknown_worker_type(command->lane.worker_type);
	if (!sn_sub_takes(sub, sn_letter_text(&command->letter,
										  Anum_dead_tenant_id)))
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("subscription \"%s\" has no events of the dead letter's tenant any more",
						text_to_cstring(command->lane.worker_type)),
				 errdetail("Who claims from it was granted the tenants that it has now."),
				 errhint("Have alter_subscription() give it the tenant again, or discard the letter.")));
}

/* retry_dead_letter(event_id uuid, worker_type text, actor text) returns void */
Datum
sentinai_retry_dead_letter(PG_FUNCTION_ARGS)
{
	LetterCommand command = {0};

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	command.why.actor = sn_actor_arg(fcinfo, 2);
	PreventCommandIfReadOnly("retry_dead_letter()");
	open_letter_command(&command, fcinfo);
	require_sub(&command);
	sn_letter_retry(&command.lane, &command.letter, &command.why);
	sn_letter_lane_close(&command.lane);
	PG_RETURN_VOID();
}

/* discard_dead_letter(event_id uuid, worker_type text, actor text, reason text) */
Datum
sentinai_discard_dead_letter(PG_FUNCTION_ARGS)
{
	LetterCommand command = {0};

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	command.why.actor = sn_actor_arg(fcinfo, 2);
	command.why.reason = sn_text_arg(fcinfo, 3, "reason", SN_REASON_MAX);
	PreventCommandIfReadOnly("discard_dead_letter()");
	open_letter_command(&command, fcinfo);
	sn_letter_discard(&command.lane, &command.letter, &command.why);
	sn_letter_lane_close(&command.lane);
	PG_RETURN_VOID();
}

/* replaced_metadata: what the event had to say of itself, and what it replaces */
static Datum
replaced_metadata(const SnLetter *letter, Datum metadata)
{
	char	   *replaces =
		psprintf("{\"replaces\": \"%s\"}",
				 DatumGetCString(DirectFunctionCall1(uuid_out,
													 letter->values[Anum_dead_event_id - 1])));

	return DirectFunctionCall2(jsonb_concat, metadata,
							   DirectFunctionCall1(jsonb_in,
												   CStringGetDatum(replaces)));
}

/* publish_corrected: the event that takes the letter's place */
static pg_uuid_t *
publish_corrected(const SnLetter *letter, FunctionCallInfo fcinfo)
{
	static const AttrNumber columns[SN_INPUT_COLUMNS] = {
		Anum_dead_event_type, Anum_dead_tenant_id, Anum_dead_aggregate_id,
		Anum_dead_payload, Anum_dead_aggregate_type, Anum_dead_metadata,
		Anum_dead_correlation_id
	};
	Datum		values[SN_INPUT_COLUMNS];
	bool		nulls[SN_INPUT_COLUMNS];
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	int32		version = PG_ARGISNULL(6) ? 0 : PG_GETARG_INT32(6);
	SnEvent		event;
	int			i;

	for (i = 0; i < SN_INPUT_COLUMNS; i++)
	{
		values[i] = letter->values[columns[i] - 1];
		nulls[i] = letter->nulls[columns[i] - 1];
	}
	values[SN_INPUT_PAYLOAD] = PG_GETARG_DATUM(2);
	values[SN_INPUT_METADATA] =
		replaced_metadata(letter, PG_ARGISNULL(5) ?
						  values[SN_INPUT_METADATA] : PG_GETARG_DATUM(5));
	sn_check_event(&event, values, nulls, version, 0);
	sn_check_version(&event, version, 0);
	if (sn_limits_ask())
		sn_charge_event(event.tenant_id, sn_event_bytes(&event));
	event.causation_id = DatumGetUUIDP(letter->values[Anum_dead_event_id - 1]);
	sn_flow_apply(&event);
	sn_publish(&event, id);
	return id;
}

/*
 * edit_and_retry(event_id uuid, worker_type text, payload jsonb, actor text,
 *		reason text, metadata jsonb, schema_version int) returns uuid
 */
Datum
sentinai_edit_and_retry(PG_FUNCTION_ARGS)
{
	LetterCommand command = {0};
	pg_uuid_t  *by;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	SN_REQUIRE_ARG(2, "payload");
	command.why.actor = sn_actor_arg(fcinfo, 3);
	command.why.reason = sn_text_arg(fcinfo, 4, "reason", SN_REASON_MAX);
	if (!PG_ARGISNULL(5) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(5)))
		sn_event_refuse(ERRCODE_SN_INVALID, 0, "metadata", "must be a JSON object");
	if (!PG_ARGISNULL(6) && PG_GETARG_INT32(6) < 1)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, "schema_version",
						"must be at least 1");
	PreventCommandIfReadOnly("edit_and_retry()");
	open_letter_command(&command, fcinfo);
	require_sub(&command);
	by = publish_corrected(&command.letter, fcinfo);
	sn_letter_replace(&command.lane, &command.letter, &command.why, by);
	sn_letter_lane_close(&command.lane);
	if (!command.lane.sub->is_relay)
	{
		sn_replaced_note(command.lane.worker_type, PG_GETARG_UUID_P(0), by);
		sn_subs_changed();		/* sessions know the newest by heart */
	}
	PG_RETURN_UUID_P(by);
}
