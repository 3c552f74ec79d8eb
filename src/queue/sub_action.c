/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sub_action.c
 *		What people do with subscriptions and relays, for the action log.
 *
 * A subscription or relay may be for some tenants.  Each has a row of its own
 * then, which names no other: its auditor sees that row, and nothing of the
 * others'.  What is for every tenant is one row of all of them.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/text.h"
#include "queue/filter.h"
#include "queue/request.h"
#include "queue/sub_action.h"
#include "tenancy/right.h"

/* copy_filter_names: a part of a filter */
static void
copy_filter_names(SnNames *to, const SnNames *from)
{
	int			i;

	to->n = from->n;
	to->names = palloc(Max(from->n, 1) * sizeof(text *));
	for (i = 0; i < from->n; i++)
		to->names[i] = sn_text_copy(from->names[i]);
}

/* sn_filter_copy: a filter that stays as it is */
void
sn_filter_copy(SnFilter *to, const SnFilter *from)
{
	copy_filter_names(&to->types, &from->types);
	copy_filter_names(&to->tenants, &from->tenants);
	copy_filter_names(&to->aggregate_types, &from->aggregate_types);
}

/* sn_sub_shape: what a subscription is: its filter, and the rest as in its row */
void
sn_sub_shape(SnSubShape *shape, const SnFilter *filter, const Datum *row)
{
	sn_filter_copy(&shape->filter, filter);
	shape->max_attempts = row[Anum_sub_max_attempts - 1];
	shape->backoff = PointerGetDatum(DatumGetArrayTypePCopy(row[Anum_sub_backoff - 1]));
	shape->on_dead = sn_text_copy(DatumGetTextPP(row[Anum_sub_on_dead - 1]));
	shape->start_from = NULL;
	shape->ordered = DatumGetBool(row[Anum_sub_ordered - 1]);
	shape->max_lease = sn_lease_text(row[Anum_sub_max_lease - 1]);
	shape->max_lanes = DatumGetInt32(row[Anum_sub_max_lanes - 1]);
}

/* sn_filter_tells: what a filter says of a tenant to himself; NULL: nothing */
const char *
sn_filter_tells(const SnFilter *filter, const text *tenant_id)
{
	if (filter->tenants.n < 0)
		return SN_EVERY;
	return sn_names_have(&filter->tenants, tenant_id) ?
		text_to_cstring(tenant_id) : NULL;
}

/* shape_json: a subscription as it is for a tenant */
static Jsonb *
shape_json(const void *what, const text *tenant_id)
{
	const SnSubShape *shape = what;

	return sn_action_json("event_types", sn_names_string(&shape->filter.types),
						  "tenant", sn_filter_tells(&shape->filter, tenant_id),
						  "max_attempts",
						  psprintf("%d", DatumGetInt32(shape->max_attempts)),
						  "backoff",
						  sn_action_value(F_ARRAY_OUT, shape->backoff),
						  "on_dead", text_to_cstring(shape->on_dead),
						  "ordered", shape->ordered ? "true" : "false",
						  "max_lease", shape->max_lease,
						  "max_lanes", psprintf("%d", shape->max_lanes),
						  shape->start_from == NULL ? NULL : "start_from",
						  shape->start_from, NULL);
}

/* record_for: a row of a tenant, if something of it has changed */
static void
record_for(SnAction *action, const text *tenant_id, SnTold told,
		   const void *before, const void *after)
{
	action->tenant_id = tenant_id;
	action->before = before == NULL ? NULL : told(before, tenant_id);
	action->after = after == NULL ? NULL : told(after, tenant_id);
	if (before == NULL || after == NULL ||
		compareJsonbContainers(&action->before->root,
							   &action->after->root) != 0)
		sn_action_record(action);
}

/* add_tenants: those of a filter; every: it is for every one */
static void
add_tenants(const SnNames *names, List **tenants, bool *every)
{
	int			i;

	*every |= names->n < 0;
	for (i = 0; i < names->n; i++)
		*tenants = lappend(*tenants, names->names[i]);
}

/* tenants_in_order: each of those that were added, once */
static void
tenants_in_order(List *list, SnNames *tenants)
{
	Datum	   *elems = palloc(Max(list_length(list), 1) * sizeof(Datum));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, list)
		elems[n++] = PointerGetDatum(lfirst(lc));
	sn_names_of(elems, n, tenants);
}

/*
 * sn_record_told: what has a filter was made, changed or ended: what it was, and
 * what it is, as it is told to each tenant; NULL: it was not there.  Both begin with
 * their filter.
 */
void
sn_record_told(const char *function, const text *worker_type, SnTold told,
			   const SnFilter *before, const SnFilter *after)
{
	SnAction	action = {.action = function,.worker_type = worker_type,
	.object = text_to_cstring(worker_type)};
	List	   *list = NIL;
	SnNames		tenants;
	bool		every = false;
	int			i;

	if (before != NULL)
		add_tenants(&before->tenants, &list, &every);
	if (after != NULL)
		add_tenants(&after->tenants, &list, &every);
	if (every)
		record_for(&action, cstring_to_text(SN_EVERY), told, before, after);
	tenants_in_order(list, &tenants);
	for (i = 0; i < tenants.n; i++)
		record_for(&action, tenants.names[i], told, before, after);
}

/* sn_sub_record: the same of a subscription */
void
sn_sub_record(const char *function, const text *worker_type,
			  const SnSubShape *before, const SnSubShape *after)
{
	sn_record_told(function, worker_type, shape_json, (const SnFilter *) before,
				   (const SnFilter *) after);
}

/*
 * sn_sub_record_each: something that concerns the tenants of a subscription, for
 * each of them
 */
void
sn_sub_record_each(SnAction *action, const SnSub *sub)
{
	const SnNames *tenants = &sub->segments[sub->nsegments - 1].filter.tenants;
	int			i;

	action->worker_type = sub->worker_type;
	action->tenant_id = cstring_to_text(SN_EVERY);
	if (tenants->n < 0)
		sn_action_record(action);
	for (i = 0; i < tenants->n; i++)
	{
		action->tenant_id = tenants->names[i];
		sn_action_record(action);
	}
}
