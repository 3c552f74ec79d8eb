/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * store.c
 *		Names of tables and indexes to OIDs.  (Partitions: range.c; reading
 *		rows: scan.c; writing them: insert.c)
 *
 * OIDs are cached until a relation of the catalog changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store/store.h"

/* Tables and indexes; natts: columns of a table that C arrays are made for */
static const struct
{
	const char *name;
	int			natts;			/* 0: not checked */
}			rels[SN_REL_COUNT] =
{
	[SN_EVENT_LOG] = {"event_log", Natts_log},
	[SN_EVENT_PROCESSING] = {"event_processing", Natts_proc},
	[SN_EVENT_IDEMPOTENCY] = {"event_idempotency", Natts_idem},
	[SN_SLICE] = {"slice", Natts_slice},
	[SN_EVENT_KEPT] = {"event_kept", Natts_log},
	[SN_NODE] = {"node"},
	[SN_STREAM] = {"stream", Natts_stream},
	[SN_SUBSCRIPTION] = {"subscription", Natts_sub},
	[SN_SUBSCRIPTION_NAME_IDX] = {"subscription_worker_type_key"},
	[SN_ROUND_0] = {"round_0", Natts_round},
	[SN_ROUND_1] = {"round_1", Natts_round},
	[SN_ROUND_0_IDX] = {"round_0_idx"},
	[SN_ROUND_1_IDX] = {"round_1_idx"},
	[SN_LANE_STATE_0] = {"lane_state_0", Natts_lane},
	[SN_LANE_STATE_1] = {"lane_state_1", Natts_lane},
	[SN_LANE_STATE_0_IDX] = {"lane_state_0_idx"},
	[SN_LANE_STATE_1_IDX] = {"lane_state_1_idx"},
	[SN_EVENT_RETRY] = {"event_retry", Natts_retry},
	[SN_EVENT_RETRY_PKEY] = {"event_retry_pkey"},
	[SN_EVENT_RETRY_KEY_IDX] = {"event_retry_key_idx"},
	[SN_EVENT_RETRY_DUE_IDX] = {"event_retry_due_idx"},
	[SN_EVENT_RETRY_NEXT_IDX] = {"event_retry_next_idx"},
	[SN_EVENT_RETRY_TOPIC_IDX] = {"event_retry_topic_idx"},
	[SN_DEAD_LETTER] = {"dead_letter", Natts_dead},
	[SN_DEAD_LETTER_PENDING_IDX] = {"dead_letter_pending_idx"},
	[SN_RETRY_POLICY] = {"retry_policy", Natts_policy},
};

static Oid	rel_oids[SN_REL_COUNT];
static bool callbacks_registered = false;

static void
forget_oids(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(rel_oids, 0, sizeof(rel_oids));
}

/* count_columns: of a table or index, 0 if it is gone */
static int
count_columns(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		return 0;
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

/*
 * check_columns: a table must have the columns that this library was built
 * for.  Others come from another version of the extension, or by hand.
 */
static void
check_columns(SnRel which, Oid relid)
{
	int			natts = count_columns(relid);

	if (rels[which].natts != 0 && natts != rels[which].natts)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not the one that this library knows",
						SN_INTERNAL, rels[which].name),
				 errdetail("It has %d columns instead of %d.", natts,
						   rels[which].natts),
				 errhint("After an update of the library run ALTER EXTENSION sentinai UPDATE; do not add columns to its tables.")));
}

/* sn_intact: whether a table is there, and the one that this library knows */
bool
sn_intact(SnRel which)
{
	Oid			relid = get_relname_relid(rels[which].name,
										  get_namespace_oid(SN_INTERNAL, true));

	return OidIsValid(relid) && count_columns(relid) == rels[which].natts;
}

/* sn_rel: OID of a table or index of the extension */
Oid
sn_rel(SnRel which)
{
	Oid			relid;

	if (OidIsValid(rel_oids[which]))
		return rel_oids[which];

	if (!callbacks_registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_oids, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_oids, (Datum) 0);
		callbacks_registered = true;
	}
	relid = get_relname_relid(rels[which].name,
							  get_namespace_oid(SN_INTERNAL, false));
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist",
						SN_INTERNAL, rels[which].name),
				 errhint("Create the extension with CREATE EXTENSION sentinai.")));
	check_columns(which, relid);
	rel_oids[which] = relid;
	return relid;
}

/* sn_installed: whether this database has the extension, all of it */
bool
sn_installed(void)
{
	Oid			schema;

	if (!OidIsValid(get_extension_oid("sentinai", true)))
		return false;
	schema = get_namespace_oid(SN_INTERNAL, true);
	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid(rels[SN_EVENT_LOG].name, schema));
}
