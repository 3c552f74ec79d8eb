/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sub_action.c
 *		What people do with subscriptions, for the action log.
 *
 * A subscription may be for some tenants.  Each has a row of its own then, which
 * names no other: its auditor sees that row, and nothing of the others'.  What
 * is for every tenant is one row of all of them.
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

/* sn_sub_shape: what a subscription is: its filter, and the rest as in its row */
void
sn_sub_shape(SnSubShape *shape, const SnFilter *filter, const Datum *row)
{
	copy_filter_names(&shape->filter.types, &filter->types);
	copy_filter_names(&shape->filter.tenants, &filter->tenants);
	copy_filter_names(&shape->filter.aggregate_types,
					  &filter->aggregate_types);
	shape->max_attempts = row[Anum_sub_max_attempts - 1];
	shape->backoff = PointerGetDatum(DatumGetArrayTypePCopy(row[Anum_sub_backoff - 1]));
	shape->on_dead = sn_text_copy(DatumGetTextPP(row[Anum_sub_on_dead - 1]));
	shape->start_from = NULL;
	shape->ordered = DatumGetBool(row[Anum_sub_ordered - 1]);
	shape->max_lease = sn_lease_text(row[Anum_sub_max_lease - 1]);
	shape->max_lanes = DatumGetInt32(row[Anum_sub_max_lanes - 1]);
}

/* tenant_of_shape: what a subscription has to do with a tenant; NULL: nothing */
static const char *
tenant_of_shape(const SnSubShape *shape, const text *tenant_id)
{
	if (shape->filter.tenants.n < 0)
		return SN_EVERY;
	return sn_names_have(&shape->filter.tenants, tenant_id) ?
		text_to_cstring(tenant_id) : NULL;
}

/* shape_json: a subscription as it is for a tenant; NULL: there is none */
static Jsonb *
shape_json(const SnSubShape *shape, const text *tenant_id)
{
	if (shape == NULL)
		return NULL;
	return sn_action_json("event_types", sn_names_string(&shape->filter.types),
						  "tenant", tenant_of_shape(shape, tenant_id),
						  "max_attempts",
						  psprintf("%d", DatumGetInt32(shape->max_attempts)),
						  "backoff",
						  OidOutputFunctionCall(F_ARRAY_OUT, shape->backoff),
						  "on_dead", text_to_cstring(shape->on_dead),
						  "ordered", shape->ordered ? "true" : "false",
						  "max_lease", shape->max_lease,
						  "max_lanes", psprintf("%d", shape->max_lanes),
						  shape->start_from == NULL ? NULL : "start_from",
						  shape->start_from, NULL);
}

/* record_for: a row of a tenant, if something of it has changed */
static void
record_for(const char *function, const text *worker_type,
		   const text *tenant_id, const SnSubShape *before,
		   const SnSubShape *after)
{
	SnAction	action = {
		.action = function,
		.tenant_id = tenant_id,
		.worker_type = worker_type,
		.object = text_to_cstring(worker_type),
		.before = shape_json(before, tenant_id),
		.after = shape_json(after, tenant_id),
	};

	if (before == NULL || after == NULL ||
		compareJsonbContainers(&action.before->root, &action.after->root) != 0)
		sn_action_record(&action);
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
 * sn_sub_record: a subscription was made, changed or ended: what it was, and what
 * it is; NULL: it was not there
 */
void
sn_sub_record(const char *function, const text *worker_type,
			  const SnSubShape *before, const SnSubShape *after)
{
	List	   *list = NIL;
	SnNames		tenants;
	bool		every = false;
	int			i;

	if (before != NULL)
		add_tenants(&before->filter.tenants, &list, &every);
	if (after != NULL)
		add_tenants(&after->filter.tenants, &list, &every);
	if (every)
		record_for(function, worker_type, cstring_to_text(SN_EVERY), before,
				   after);
	tenants_in_order(list, &tenants);
	for (i = 0; i < tenants.n; i++)
		record_for(function, worker_type, tenants.names[i], before, after);
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
