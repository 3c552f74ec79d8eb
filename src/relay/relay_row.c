/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_row.c
 *		Table relay: what create_relay() was told.
 *
 * The processes look at it once a second, and so it is read below SQL.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "queue/filter.h"
#include "relay/relay_row.h"
#include "shared/shmem.h"
#include "tenancy/action.h"

/* read_relay: a row of the table, copied */
static void
read_relay(TupleTableSlot *slot, SnRelayRow *row)
{
	Datum	   *values = slot->tts_values;

	row->sub_id = DatumGetInt32(values[Anum_relay_id - 1]);
	row->broker = TextDatumGetCString(values[Anum_relay_broker - 1]);
	row->conf = TextDatumGetCString(values[Anum_relay_settings - 1]);
	row->topic_template =
		TextDatumGetCString(values[Anum_relay_topic_template - 1]);
	row->record_format =
		TextDatumGetCString(values[Anum_relay_record_format - 1]);
	row->record_options =
		TextDatumGetCString(values[Anum_relay_record_options - 1]);
	row->transform_owner =
		TextDatumGetCString(values[Anum_relay_transform_owner - 1]);
	row->limits = TextDatumGetCString(values[Anum_relay_limits - 1]);
	row->workers = DatumGetInt32(values[Anum_relay_workers - 1]);
	row->paused = DatumGetBool(values[Anum_relay_paused - 1]);
	row->node_no = DatumGetInt32(values[Anum_relay_node_no - 1]);
	row->recovery = DatumGetInt64(values[Anum_relay_recovery - 1]);
}

/* sn_relay_rows: all relays that create_relay() has made */
List *
sn_relay_rows(void)
{
	List	   *result = NIL;
	SnTableScan *scan;
	TupleTableSlot *slot;

	if (!sn_present(SN_RELAY))
		return NIL;				/* before an update of the extension */
	scan = sn_table_read(SN_RELAY, NULL);
	while ((slot = sn_table_next(scan)) != NULL)
	{
		SnRelayRow *row = palloc(sizeof(SnRelayRow));

		slot_getallattrs(slot);
		read_relay(slot, row);
		result = lappend(result, row);
	}
	sn_table_end(scan);
	return result;
}

/* sn_relay_row_get: the row of a relay; false when there is none */
bool
sn_relay_row_get(int sub_id, SnRelayRow *row)
{
	ListCell   *lc;

	foreach(lc, sn_relay_rows())
	{
		*row = *(SnRelayRow *) lfirst(lc);
		if (row->sub_id == sub_id)
			return true;
	}
	return false;
}

/* sn_relay_row_put: add a row */
void
sn_relay_row_put(const SnRelayRow *row)
{
	Datum		values[Natts_relay];
	bool		nulls[Natts_relay] = {false};

	values[Anum_relay_id - 1] = Int32GetDatum(row->sub_id);
	values[Anum_relay_broker - 1] = CStringGetTextDatum(row->broker);
	values[Anum_relay_settings - 1] = CStringGetTextDatum(row->conf);
	values[Anum_relay_topic_template - 1] =
		CStringGetTextDatum(row->topic_template);
	values[Anum_relay_record_format - 1] =
		CStringGetTextDatum(row->record_format);
	values[Anum_relay_record_options - 1] =
		CStringGetTextDatum(row->record_options);
	values[Anum_relay_transform_owner - 1] =
		CStringGetTextDatum(row->transform_owner);
	values[Anum_relay_limits - 1] = CStringGetTextDatum(row->limits);
	values[Anum_relay_workers - 1] = Int32GetDatum(row->workers);
	values[Anum_relay_paused - 1] = BoolGetDatum(row->paused);
	values[Anum_relay_node_no - 1] = Int32GetDatum(row->node_no);
	values[Anum_relay_recovery - 1] = Int64GetDatum(row->recovery);
	values[Anum_relay_changed_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	values[Anum_relay_changed_by - 1] =
		PointerGetDatum(sn_session_role());
	sn_insert_one(SN_RELAY, values, nulls);
}

/* sn_relay_row_remove: remove the row of a relay */
void
sn_relay_row_remove(int sub_id)
{
	ScanKeyData key;
	SnTableScan *scan;

	sn_key_int4(&key, Anum_relay_id, BTEqualStrategyNumber, sub_id);
	scan = sn_table_change(SN_RELAY, NULL, 1, &key);
	while (sn_table_next(scan) != NULL)
		sn_table_delete(scan);
	sn_table_end(scan);
	CommandCounterIncrement();
}

/*
 * sn_relays_tell: tell the launcher, which can read no table, which relays there
 * are here
 */
void
sn_relays_tell(void)
{
	List	   *rows = sn_relay_rows();
	SnRelayTold told[SN_MAX_TOLD];
	ListCell   *lc;
	int			n = 0;

	foreach(lc, rows)
	{
		const SnRelayRow *row = lfirst(lc);

		if (n == SN_MAX_TOLD)
			break;
		memset(&told[n], 0, sizeof(SnRelayTold));
		told[n].dboid = MyDatabaseId;
		told[n].relay_id = row->sub_id;
		told[n++].workers = row->workers;
	}
	if (!sn_told_set(told, n) || n < list_length(rows))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many relays"),
				 errdetail("A server can have %d of them.", SN_MAX_TOLD)));
}
