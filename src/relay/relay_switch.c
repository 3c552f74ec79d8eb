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

#include "fmgr.h"

#include "relay/relay_store.h"
#include "shared/recovery.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(sentinai_relay_is_paused);

/* What pause_relay() or resume_relay() stored last */
typedef struct Switch
{
	bool		there;
	bool		paused;
	int			node_no;		/* when it was stored */
	int64		recovery;
} Switch;

/* read_switch: the one row, if there is one */
static void
read_switch(Switch *s)
{
	SnTableScan *scan = sn_table_read(SN_RELAY_CONTROL, NULL);
	TupleTableSlot *slot = sn_table_next(scan);

	memset(s, 0, sizeof(Switch));
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
 * place, or its cluster out of a backup, and nobody has decided since
 */
bool
sn_relay_is_paused(void)
{
	int			node_no;
	int64		recovery;
	bool		elsewhere = sn_node_elsewhere(&node_no, &recovery);
	Switch		s;

	if (elsewhere)
		return true;
	read_switch(&s);
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
	PG_RETURN_BOOL(sn_relay_is_paused());
}
