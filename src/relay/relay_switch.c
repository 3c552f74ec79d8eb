/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_switch.c
 *		Whether the relay is paused.
 *
 * Each relay looks once a second, so it reads the two tables directly: a
 * statement would be a line of an audit log each time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/text.h"
#include "relay/relay_row.h"
#include "relay/relay_store.h"
#include "shared/recovery.h"
#include "store/owner.h"
#include "store/store.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/right.h"

PG_FUNCTION_INFO_V1(sentinai_relay_is_paused);
PG_FUNCTION_INFO_V1(sentinai_pause_relay);
PG_FUNCTION_INFO_V1(sentinai_resume_relay);
PG_FUNCTION_INFO_V1(sentinai_relay_control_changed);

/* Who lets a relay send takes the database into use */
#define AFTER_RESTORE \
	" from (select " SN_SCHEMA ".after_restore() offset 0) r"

/* What pause_relay() or resume_relay() stored last */
typedef struct Switch
{
	bool		there;
	bool		paused;
	int			node_no;		/* when it was stored */
	int64		recovery;
} Switch;

/* read_own_switch: that of a relay that create_relay() has made */
static void
read_own_switch(int sub_id, Switch *s)
{
	SnRelayRow	row;

	s->there = sn_relay_row_get(sub_id, &row);
	if (!s->there)
		return;
	s->paused = row.paused;
	s->node_no = row.node_no;
	s->recovery = row.recovery;
}

/* read_switch: that of a relay, if it has one; 0: of the server's */
static void
read_switch(int sub_id, Switch *s)
{
	SnTableScan *scan;
	TupleTableSlot *slot;

	memset(s, 0, sizeof(Switch));
	if (sub_id != 0)
	{
		read_own_switch(sub_id, s);
		return;
	}
	scan = sn_table_read(SN_RELAY_CONTROL, NULL);
	slot = sn_table_next(scan);
	if (slot != NULL)
	{
		Datum	   *values = slot->tts_values;

		s->there = true;
		s->paused = DatumGetBool(values[Anum_control_paused - 1]);
		s->node_no = DatumGetInt32(values[Anum_control_node_no - 1]);
		s->recovery = DatumGetInt64(values[Anum_control_recovery - 1]);
	}
	sn_table_end(scan);
}

/*
 * sn_relay_is_paused: by pause_relay(), or because the database came to another
 * place, or its cluster out of a backup, and nobody has decided since.  0: the
 * relay of the server's parameters.
 */
bool
sn_relay_is_paused(int sub_id)
{
	int			node_no;
	int64		recovery;
	bool		elsewhere = sn_node_elsewhere(&node_no, &recovery);
	Switch		s;

	if (elsewhere)
		return true;
	read_switch(sub_id, &s);
	if (node_no == 0)
		return s.paused || (s.there && sn_recovery_id() != 0 &&
							s.recovery != sn_recovery_id());
	if (!s.there)
		return node_no > 1 || recovery != 0;
	return s.paused || s.node_no < node_no || s.recovery != recovery;
}

/* relay_is_paused(): the same for SQL */
Datum
sentinai_relay_is_paused(PG_FUNCTION_ARGS)
{
	SnSub	   *sub;
	text	   *name;

	if (PG_NARGS() == 0)
		PG_RETURN_BOOL(sn_relay_is_paused(0));
	name = PG_GETARG_TEXT_PP(0);
	if (sn_text_is(name, SN_RELAY_WORKER_TYPE))
		PG_RETURN_BOOL(sn_relay_is_paused(0));
	sub = sn_sub_by_name(name);
	if (sub == NULL || !sub->is_relay || !sn_sub_may_watch(sub))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(sn_relay_is_paused(sub->sub_id));
}

/*
 * turn_switch: by a statement of the owner's, for who may: a relay sends what
 * more than one tenant may publish.  own is about the server's relay, named about
 * the one that the caller has named.
 */
static void
turn_switch(FunctionCallInfo fcinfo, const char *function, const char *own,
			const char *named)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {(Datum) 0};
	SnCaller	caller;
	bool		is_own = PG_NARGS() == 0;

	PreventCommandIfReadOnly(function);
	sn_require_every("pause or resume the relay");
	if (!is_own)
	{
		SN_REQUIRE_ARG(0, "name");
		values[0] = PG_GETARG_DATUM(0);
		is_own = sn_text_is(PG_GETARG_TEXT_PP(0), SN_RELAY_WORKER_TYPE);
	}
	sn_become_tables_owner(&caller);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(is_own ? own : named, is_own ? 0 : 1, types, values,
							  NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not turn the switch");
	SPI_finish();
	sn_become_caller(&caller);
}

/* pause_relay() and pause_relay(name text) return void */
Datum
sentinai_pause_relay(PG_FUNCTION_ARGS)
{
	turn_switch(fcinfo, "pause_relay()",
				"select " SN_SCHEMA ".set_relay_paused(true)",
				"select " SN_SCHEMA ".set_relay_paused($1, true)");
	PG_RETURN_VOID();
}

/* resume_relay() and resume_relay(name text) return void */
Datum
sentinai_resume_relay(PG_FUNCTION_ARGS)
{
	turn_switch(fcinfo, "resume_relay()",
				"select " SN_SCHEMA ".set_relay_paused(false)" AFTER_RESTORE,
				"select " SN_SCHEMA ".set_relay_paused($1, false)" AFTER_RESTORE);
	PG_RETURN_VOID();
}

/* switch_json: a row of the switch, for the action log; NULL for none */
static Jsonb *
switch_json(HeapTuple row, TupleDesc desc, bool *paused)
{
	Datum		values[Natts_control];
	bool		nulls[Natts_control];

	if (row == NULL)
		return NULL;
	heap_deform_tuple(row, desc, values, nulls);
	*paused = DatumGetBool(values[Anum_control_paused - 1]);
	return sn_action_json("paused", *paused ? "true" : "false",
						  "node_no",
						  psprintf("%d", DatumGetInt32(values[Anum_control_node_no - 1])),
						  "recovery",
						  psprintf(INT64_FORMAT,
								   DatumGetInt64(values[Anum_control_recovery - 1])),
						  NULL);
}

/*
 * relay_control_changed(): trigger of the switch, which SQL writes: somebody has
 * paused the relay, or resumed it, perhaps for the first time in another place
 */
Datum
sentinai_relay_control_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	SnAction	action = {.object = "relay"};
	TupleDesc	desc;
	bool		updated;
	bool		paused = false;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != sn_rel(SN_RELAY_CONTROL))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("relay_control_changed() can only be called as a trigger")));
	desc = RelationGetDescr(trigger->tg_relation);
	updated = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	action.tenant_id = cstring_to_text(SN_EVERY);
	action.before = switch_json(updated ? trigger->tg_trigtuple : NULL, desc,
								&paused);
	action.after = switch_json(updated ? trigger->tg_newtuple :
							   trigger->tg_trigtuple, desc, &paused);
	action.action = paused ? "pause_relay" : "resume_relay";
	if (action.before == NULL ||
		compareJsonbContainers(&action.before->root, &action.after->root) != 0)
		sn_action_record(&action);
	PG_RETURN_POINTER(NULL);
}
