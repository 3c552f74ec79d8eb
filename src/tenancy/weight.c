/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * weight.c
 *		set_weight() and drop_weight(): rows of table tenant_weight.
 *
 * What one tenant gets more of, others get less of.  So it takes the right for
 * every tenant, whose weight ever it is.  Both hold the lock of limits (lock.c)
 * until the transaction ends.  What claims know of weights is forgotten when it
 * was committed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/sqlstate.h"
#include "store/store.h"
#include "store/xact_end.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/weight.h"

PG_FUNCTION_INFO_V1(sentinai_set_weight);
PG_FUNCTION_INFO_V1(sentinai_drop_weight);
PG_FUNCTION_INFO_V1(sentinai_weight_changed);

/* The row of a tenant */
typedef struct WeightRow
{
	int			weight;			/* 0: there is none */
	ItemPointerData tid;
} WeightRow;

/* find_weight_row: as it is now, under the lock */
static WeightRow
find_weight_row(const text *tenant_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	WeightRow	result = {0};
	ScanKeyData key;
	SnScan		scan;

	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_scan_named(&scan, SN_TENANT_WEIGHT, SN_TENANT_WEIGHT_PKEY, snapshot, 1,
				  &key, ForwardScanDirection);
	if (sn_scan_next(&scan))
	{
		slot_getallattrs(scan.slot);
		result.weight =
			DatumGetInt32(scan.slot->tts_values[Anum_weight_weight - 1]);
		result.tid = sn_scan_place(&scan);
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/* weight_json: a weight for the action log; NULL for none */
static Jsonb *
weight_json(int weight)
{
	return weight == 0 ? NULL :
		sn_action_json("weight", psprintf("%d", weight), NULL);
}

/* put_weight: the row of a tenant becomes another; 0: it goes */
static void
put_weight(text *tenant_id, WeightRow *row, int weight)
{
	SnAction	done = {
		.action = weight == 0 ? "drop_weight" : "set_weight",
		.tenant_id = tenant_id,
		.before = weight_json(row->weight),
		.after = weight_json(weight),
	};

	if (row->weight != 0)
		sn_delete_one(SN_TENANT_WEIGHT, &row->tid);
	if (weight != 0)
	{
		Datum		values[Natts_weight];
		bool		nulls[Natts_weight] = {false};

		values[Anum_weight_tenant_id - 1] = PointerGetDatum(tenant_id);
		values[Anum_weight_weight - 1] = Int32GetDatum(weight);
		values[Anum_weight_changed_at - 1] =
			TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		values[Anum_weight_changed_by - 1] =
			PointerGetDatum(sn_session_role());
		sn_insert_one(SN_TENANT_WEIGHT, values, nulls);
	}
	CommandCounterIncrement();
	sn_action_record(&done);
	sn_note_weights_changed();
}

/* set_weight(tenant_id text, weight int) */
Datum
sentinai_set_weight(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	WeightRow	row;
	int			weight;

	SN_REQUIRE_ARG(1, "weight");
	weight = PG_GETARG_INT32(1);
	PreventCommandIfReadOnly("set_weight()");
	sn_require_every("set weights of tenants");
	if (weight < 1 || weight > SN_WEIGHT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("weight must be from 1 to %d", SN_WEIGHT_MAX)));
	(void) sn_lock_limits(true);
	row = find_weight_row(tenant_id);
	if (row.weight != weight)
		put_weight(tenant_id, &row, weight);
	PG_RETURN_VOID();
}

/* drop_weight(tenant_id text) returns boolean */
Datum
sentinai_drop_weight(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_tenant_or_every_arg(fcinfo, 0, "tenant_id");
	WeightRow	row;

	PreventCommandIfReadOnly("drop_weight()");
	sn_require_every("set weights of tenants");
	(void) sn_lock_limits(true);
	row = find_weight_row(tenant_id);
	if (row.weight != 0)
		put_weight(tenant_id, &row, 0);
	PG_RETURN_BOOL(row.weight != 0);
}

/*
 * weight_changed(): trigger of table tenant_weight, for what SQL changes there, as
 * a restored dump does
 */
Datum
sentinai_weight_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "weight_changed");
	sn_note_weights_changed();
	PG_RETURN_POINTER(NULL);
}
