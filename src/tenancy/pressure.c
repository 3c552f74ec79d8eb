/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pressure.c
 *		What publishers do while a backlog is over its limit: they are refused, or
 *		wait for a bounded time.
 *
 * The sequencer's process looks how long the backlogs are, and notes in table
 * backlog_limit which are over (backlog_watch.c).  That is announced like a change
 * of a limit (limit.c).  So publishers count nothing, and most of them look at
 * one flag.
 *
 * A publisher who waits does so once for each of the client's statements, and
 * goes on when the backlog is shorter again or the time is over.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/names.h"
#include "base/sqlstate.h"
#include "base/steady.h"
#include "base/text.h"
#include "store/store.h"
#include "tenancy/gate.h"
#include "tenancy/limit.h"
#include "tenancy/pressure.h"

#define LOOK_AGAIN	50			/* ms, while a publisher waits */

/* A backlog that is over its limit */
typedef struct Pressure
{
	text	   *tenant_id;		/* whose; NULL: everybody's */
	SnNames		types;			/* that the subscription gets */
	SnNames		tenants;
	int64		max_backlog;
	int64		backlog;		/* as it was noted last; -1: it was not */
	bool		refuses;
	int64		max_delay;		/* us */
} Pressure;

bool		sn_no_pressure = false;

static MemoryContext pressure_context = NULL;
static SnKnown known = {SN_BACKLOG_LIMIT, &sn_no_pressure};
static Pressure *pressures = NULL;
static int	npressures = 0;

/* forget_pressures: a table has changed */
static void
forget_pressures(Datum arg, Oid relid)
{
	sn_known_forget(&known, relid);
}

/* sn_pressure_changed: this transaction has changed table backlog_limit */
void
sn_pressure_changed(void)
{
	sn_known_changed(&known);
}

/* add_pressure: the row at hand, if its backlog is over the limit */
static void
add_pressure(TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values;
	Pressure	new = {NULL};
	const text *tenant_id;

	if (slot->tts_isnull[Anum_pressure_over_since - 1])
		return;
	tenant_id = sn_whose(DatumGetTextPP(values[Anum_pressure_tenant_id - 1]));
	if (tenant_id != NULL)
		new.tenant_id = sn_text_copy(tenant_id);
	sn_names_read(values[Anum_pressure_event_types - 1],
				  slot->tts_isnull[Anum_pressure_event_types - 1], &new.types);
	sn_names_read(values[Anum_pressure_tenants - 1],
				  slot->tts_isnull[Anum_pressure_tenants - 1], &new.tenants);
	new.max_backlog = DatumGetInt64(values[Anum_pressure_max_backlog - 1]);
	new.backlog = slot->tts_isnull[Anum_pressure_backlog - 1] ? -1 :
		DatumGetInt64(values[Anum_pressure_backlog - 1]);
	new.refuses = sn_text_is(DatumGetTextPP(values[Anum_pressure_policy - 1]),
							 SN_PRESSURE_REFUSE);
	new.max_delay =
		sn_duration_of(DatumGetIntervalP(values[Anum_pressure_max_delay - 1]));
	pressures = pressures == NULL ? palloc(sizeof(Pressure)) :
		repalloc(pressures, (npressures + 1) * sizeof(Pressure));
	pressures[npressures++] = new;
}

/* read_pressures: all backlogs that are over their limits */
static void
read_pressures(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnTableScan *scan = sn_table_read(SN_BACKLOG_LIMIT, snapshot);
	TupleTableSlot *slot;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(pressure_context);

		slot_getallattrs(slot);
		add_pressure(slot);
		MemoryContextSwitchTo(old);
	}
	sn_table_end(scan);
	UnregisterSnapshot(snapshot);
}

/* pressures_ready: have what is known be valid */
static void
pressures_ready(void)
{
	if (known.valid)
		return;
	if (pressure_context == NULL)
	{
		pressure_context = AllocSetContextCreate(TopMemoryContext,
												 "sentinai backlogs",
												 ALLOCSET_SMALL_SIZES);
		sn_watch_relations(forget_pressures);
	}
	pressures = NULL;
	npressures = 0;
	MemoryContextReset(pressure_context);
	sn_known_begin(&known);
	PG_TRY();
	{
		if (OidIsValid(known.table))
			read_pressures();
	}
	PG_CATCH();
	{
		known.valid = false;	/* some of them are missing */
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (npressures == 0)
		sn_no_pressure = known.valid;
}

/* find_pressure: what an event would make worse; one that refuses goes first */
static const Pressure *
find_pressure(const text *tenant_id, const text *event_type)
{
	const Pressure *found = NULL;
	int			i;

	pressures_ready();
	for (i = 0; i < npressures; i++)
	{
		const Pressure *p = &pressures[i];

		if ((p->tenant_id == NULL || sn_text_equal(p->tenant_id, tenant_id)) &&
			sn_names_have(&p->types, event_type) && sn_names_have(&p->tenants, tenant_id) &&
			(found == NULL || p->refuses ||
			 (!found->refuses && p->max_delay > found->max_delay)))
			found = p;
	}
	return found;
}

/* current_backlog: as JSON; how much waits of all tenants is not for everybody */
static const char *
current_backlog(const Pressure *pressure)
{
	if (pressure->backlog < 0 ||
		(pressure->tenant_id == NULL && !sn_gate_may_watch()))
		return "null";
	return psprintf(INT64_FORMAT, pressure->backlog);
}

/* refuse_event: the backlog has to become shorter first */
static void pg_attribute_noreturn()
refuse_event(const Pressure *pressure, const text *tenant_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_LIMIT),
			 errmsg("limit \"" SN_KIND_BACKLOG "\" of tenant \"%s\" is reached",
					text_to_cstring(tenant_id)),
			 errdetail_internal("{\"kind\": \"" SN_KIND_BACKLOG "\", \"limit\": " INT64_FORMAT ", \"window\": null, \"current\": %s, \"requested\": 1, \"retry_after\": 1, \"reset_at\": null}",
								pressure->max_backlog,
								current_backlog(pressure)),
			 errhint("Too many events wait to be worked on. Try again after \"retry_after\" seconds.")));
	pg_unreachable();
}

/* wait_for_room: until nothing is over its limit, or for the time of the limit */
static void
wait_for_room(const Pressure *pressure, const text *tenant_id,
			  const text *event_type)
{
	static TimestampTz waited = 0;	/* start of the statement that has */
	int64		until = sn_steady_us() + pressure->max_delay;

	if (waited == GetCurrentStatementStartTimestamp())
		return;
	waited = GetCurrentStatementStartTimestamp();
	while (pressure != NULL && !pressure->refuses && sn_steady_us() < until)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_AGAIN, sn_wait_event("SentinaiBacklog"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		pressure = find_pressure(tenant_id, event_type);
	}
	if (pressure != NULL && pressure->refuses)
		refuse_event(pressure, tenant_id);
}

/*
 * sn_pressure_keep: refuse an event, or have its publisher wait, if it would go
 * to a backlog that is over its limit
 */
void
sn_pressure_keep(const text *tenant_id, const text *event_type)
{
	const Pressure *pressure = sn_limit_bypass ? NULL :
		find_pressure(tenant_id, event_type);

	if (pressure == NULL)
		return;
	if (pressure->refuses)
		refuse_event(pressure, tenant_id);
	wait_for_room(pressure, tenant_id, event_type);
}
