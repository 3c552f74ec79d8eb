/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * replicated.c
 *		No table of ours is filled by logical replication.
 *
 * A row of another place has a transaction number, a position or a half of a
 * journal that means something else here: rounds pass it over, or find it when
 * numbers here have come so far, and a TRUNCATE of a journal that has turned
 * over there would empty it here.  So every table refuses what is applied.
 *
 * A session that sets session_replication_role to restore a dump applies
 * nothing, and may go on: a dump is whole, and after_restore() takes it over.
 */
#include "postgres.h"

#include "base/args.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "replication/origin.h"
#include "utils/rel.h"

#include "base/sentinai.h"

PG_FUNCTION_INFO_V1(sentinai_refuse_replication);

/* is_applied: whether this process applies changes that were made elsewhere */
static bool
is_applied(void)
{
	return IsLogicalWorker() ||
		replorigin_session_origin != InvalidRepOriginId;
}

/* refuse_replication(): trigger of every table, for replicas */
Datum
sentinai_refuse_replication(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	sn_require_trigger(fcinfo, "refuse_replication");
	if (is_applied())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" cannot be filled by logical replication",
						SN_INTERNAL, RelationGetRelationName(data->tg_relation)),
				 errdetail("Transaction numbers and positions of another place mean nothing here: its events would never reach a subscription."),
				 errhint("Leave schema \"%s\" out of the publication. To move a database use pg_dump or pg_upgrade; to have its events elsewhere, publish them there with an agent.",
						 SN_INTERNAL)));
	/* a null pointer, which is not SQL's NULL: that is an error of a trigger */
	if (TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ?
					  data->tg_newtuple : data->tg_trigtuple);
}
