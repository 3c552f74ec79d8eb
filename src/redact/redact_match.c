/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_match.c
 *		Which rules concern a value: the nodes that a walk is at.
 *
 * A document that does not have the shape a rule expects must not get round
 * it.  So the name of a member also counts for the objects in an array that
 * stands in the object's place, and [*] and [0] also count for a value that
 * stands in the place of an array.
 */
#include "postgres.h"

#include "base/compat.h"
#include "redact/redact_name.h"
#include "redact/redact_walk.h"

#define ONLY_NAMES	1			/* of an entry */

/* activate: one more node for the value at hand, once */
static void
activate(SnWalk *w, SnActive *at, int node, int mode)
{
	int			entry = 2 * node + mode;

	if (w->set->seen[entry] == w->set->walk)
		return;
	w->set->seen[entry] = w->set->walk;
	if (w->nactive == w->active_room)
	{
		Size		size = (Size) w->active_room * 2 * sizeof(int);

		if (w->active == w->active_here)
		{
			w->active = palloc(size);
			memcpy(w->active, w->active_here, sizeof(w->active_here));
		}
		else
			w->active = repalloc_huge(w->active, size);
		w->active_room *= 2;
	}
	w->active[w->nactive++] = entry;
	at->n++;
}

/* begin_active: nodes for another value */
static SnActive
begin_active(SnWalk *w)
{
	SnActive	at = {w->nactive, 0};

	w->set->walk++;
	return at;
}

/* activate_item: the node of the item of that number */
static void
activate_item(SnWalk *w, SnActive *at, const SnRuleNode *node, int index)
{
	int			i;

	for (i = 0; i < node->nitems; i++)
		if (node->items[i].index == index)
			activate(w, at, node->items[i].node, 0);
}

/* enter_nodes: what the nodes of a value lead to without a step */
static void
enter_nodes(SnWalk *w, SnActive *at, bool is_array)
{
	int			i;

	for (i = 0; i < at->n; i++)
	{
		int			entry = w->active[at->from + i];
		const SnRuleNode *node = &w->set->nodes[entry / 2];

		if (entry & ONLY_NAMES)
			continue;
		if (node->deep != 0)
			activate(w, at, node->deep, 0);
		if (is_array)
			continue;
		if (node->any_item != 0)
			activate(w, at, node->any_item, 0);
		activate_item(w, at, node, 0);
	}
}

/* sn_match_root: what concerns an object as a whole */
SnActive
sn_match_root(SnWalk *w, int node)
{
	SnActive	at = begin_active(w);

	activate(w, &at, node, 0);
	enter_nodes(w, &at, false);
	return at;
}

/* member_node: the node of the member of that name, or 0 */
static int
member_node(const SnRuleNode *node, const SnJsonKey *key)
{
	int			low = 0;
	int			high = node->nnames;

	if ((node->lengths >> Min(key->len, 63) & 1) == 0)
		return 0;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = sn_json_compare_keys(&node->names[middle].key, key);

		if (order == 0)
			return node->names[middle].node;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

/* concerns: whether a step of a node leads to a member of that name */
static inline bool
concerns(const SnWalk *w, int entry, const SnJsonKey *name)
{
	const SnRuleNode *node = &w->set->nodes[entry / 2];

	if (node->any != 0 || node->is_deep)
		return true;
	return (node->lengths >> Min(name->len, 63) & 1) != 0 &&
		member_node(node, name) != 0;
}

/* follow_name: the nodes that the steps of one node lead to */
static void
follow_name(SnWalk *w, SnActive *next, int entry, const SnJsonKey *name,
			bool *named)
{
	const SnRuleNode *node = &w->set->nodes[entry / 2];
	int			found = member_node(node, name);

	if (found != 0)
	{
		activate(w, next, found, 0);
		*named = true;
	}
	if (entry & ONLY_NAMES)
		return;
	if (node->any != 0)
		activate(w, next, node->any, 0);
	if (node->is_deep)
		activate(w, next, entry / 2, 0);
}

/* sn_match_member: what concerns a member of an object.  named: a rule has its name */
SnActive
sn_match_member(SnWalk *w, SnActive at, const SnJsonKey *key, bool is_array,
				bool *named)
{
	SnActive	next = {w->nactive, 0};
	SnJsonKey	name = *key;
	int			i;

	*named = false;
	if (w->set->unicode && !sn_name_is_ascii(name.name, name.len))
		sn_name_normalize(&name);
	for (i = 0; i < at.n; i++)
		if (concerns(w, w->active[at.from + i], &name))
			break;
	if (i == at.n)
		return next;			/* as for most members */
	next = begin_active(w);
	for (; i < at.n; i++)
		follow_name(w, &next, w->active[at.from + i], &name, named);
	enter_nodes(w, &next, is_array);
	return next;
}

/* sn_match_item: the same for an item of an array */
SnActive
sn_match_item(SnWalk *w, SnActive at, int index, bool is_array)
{
	SnActive	next = begin_active(w);
	int			i;

	for (i = 0; i < at.n; i++)
	{
		int			entry = w->active[at.from + i];
		const SnRuleNode *node = &w->set->nodes[entry / 2];

		if (!(entry & ONLY_NAMES))
		{
			if (node->any != 0)
				activate(w, &next, node->any, 0);
			if (node->any_item != 0)
				activate(w, &next, node->any_item, 0);
			activate_item(w, &next, node, index);
			if (node->is_deep)
				activate(w, &next, entry / 2, 0);
		}
		if (node->nnames > 0 && !node->is_deep)
			activate(w, &next, entry / 2, ONLY_NAMES);
	}
	if (next.n > 0)
		enter_nodes(w, &next, is_array);
	return next;
}

/* sn_match_effect: what is done to a value with these nodes */
SnEffect
sn_match_effect(const SnWalk *w, SnActive at, SnEffect inherited)
{
	int			i;

	for (i = 0; i < at.n; i++)
	{
		int			entry = w->active[at.from + i];
		const SnRuleNode *node = &w->set->nodes[entry / 2];

		if (!(entry & ONLY_NAMES) && node->effect.method != SN_METHOD_NONE)
			inherited = sn_effect_stronger(inherited, node->effect);
	}
	return inherited;
}
