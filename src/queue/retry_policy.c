/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * retry_policy.c
 *		set_retry_policy(): attempts and backoff of one event type of a
 *		subscription.
 *
 * It holds the lock of subscriptions, as subscribe() does.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/text.h"
#include "log/event_check.h"
#include "queue/request.h"
#include "queue/sub_action.h"
#include "queue/subscription.h"

PG_FUNCTION_INFO_V1(sentinai_set_retry_policy);

/* policy_json: a retry policy, for the action log */
static Jsonb *
policy_json(const text *event_type, Datum max_attempts, Datum backoff)
{
	return sn_action_json("event_type", text_to_cstring(event_type),
						  "max_attempts",
						  psprintf("%d", DatumGetInt32(max_attempts)),
						  "backoff", sn_action_value(F_ARRAY_OUT, backoff),
						  NULL);
}

/*
 * sn_policies_delete: those of a worker type, or of one of its event types; what the
 * last was, or NULL
 */
Jsonb *
sn_policies_delete(const text *worker_type, const text *event_type,
				   Snapshot snapshot)
{
	SnTableScan *scan = sn_table_change(SN_RETRY_POLICY, snapshot, 0, NULL);
	TupleTableSlot *slot;
	Jsonb	   *before = NULL;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		if (sn_text_equal(DatumGetTextPP(slot->tts_values[0]), worker_type) &&
			(event_type == NULL ||
			 sn_text_equal(DatumGetTextPP(slot->tts_values[1]), event_type)))
		{
			before = policy_json(DatumGetTextPP(slot->tts_values[1]),
								 slot->tts_values[Anum_policy_max_attempts - 1],
								 slot->tts_values[Anum_policy_backoff - 1]);
			sn_table_delete(scan);
		}
	}
	sn_table_end(scan);
	return before;
}

/* record_policy: note in the action log what a policy was and is */
static void
record_policy(const SnSub *sub, Jsonb *before, Jsonb *after)
{
	SnAction	action = {
		.action = "set_retry_policy",
		.object = text_to_cstring(sub->worker_type),
		.before = before,
		.after = after,
	};

	if (before == NULL ? after != NULL : after == NULL ||
		compareJsonbContainers(&before->root, &after->root) != 0)
		sn_sub_record_each(&action, sub);
}

/* set_retry_policy(worker_type, event_type, max_attempts, backoff) */
Datum
sentinai_set_retry_policy(PG_FUNCTION_ARGS)
{
	Datum		values[Natts_policy];
	bool		nulls[Natts_policy] = {false};
	bool		removes = PG_ARGISNULL(2) && PG_ARGISNULL(3);
	const SnSub *sub;
	Jsonb	   *before;
	Jsonb	   *after = NULL;
	Snapshot	snapshot;
	text	   *worker_type;
	text	   *event_type;

	SN_REQUIRE_ARG(0, "worker_type");
	SN_REQUIRE_ARG(1, "event_type");
	PreventCommandIfReadOnly("set_retry_policy()");
	worker_type = PG_GETARG_TEXT_PP(0);
	event_type = sn_event_type_arg(PG_GETARG_DATUM(1), "event_type");
	sn_sub_require_manage(worker_type);
	if (!removes)
	{
		SN_REQUIRE_ARG(2, "max_attempts");
		SN_REQUIRE_ARG(3, "backoff");
		sn_check_policy(PG_GETARG_INT32(2), PG_GETARG_ARRAYTYPE_P(3));
	}
	(void) sn_lock_streams(true);
	sub = sn_sub_require(worker_type);

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	before = sn_policies_delete(worker_type, event_type, snapshot);
	UnregisterSnapshot(snapshot);
	if (!removes)
	{
		values[Anum_policy_worker_type - 1] = PointerGetDatum(worker_type);
		values[Anum_policy_event_type - 1] = PointerGetDatum(event_type);
		values[Anum_policy_max_attempts - 1] = PG_GETARG_DATUM(2);
		values[Anum_policy_backoff - 1] = PG_GETARG_DATUM(3);
		sn_insert_one(SN_RETRY_POLICY, values, nulls);
		after = policy_json(event_type, values[Anum_policy_max_attempts - 1],
							values[Anum_policy_backoff - 1]);
	}
	record_policy(sub, before, after);
	sn_subs_changed();
	PG_RETURN_VOID();
}
