/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_match.c
 *		Which rules concern a value: the states that a walk goes through.
 *
 * A value is at some nodes of the rules, and they are its state.  Where the name
 * of a member leads to from there is always the same state, so it is worked out
 * once and kept with the rules.  Some rules can make a great many of states: from
 * a size on, one that is new is made for one value, and is gone behind it.
 *
 * A document that does not have the shape a rule expects must not get round
 * it.  So the name of a member also counts for the objects in an array that
 * stands in the object's place, and [*] and [0] also count for a value that
 * stands in the place of an array.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/compat.h"
#include "redact/redact_name.h"
#include "redact/redact_walk.h"

#define ONLY_NAMES	1			/* of an entry */
#define KEPT_SIZE	(64 * 1024) /* of a set's states */
#define ACTIVE_ROOM	64

/* Nodes while they are collected, each once */
typedef struct Active
{
	SnRuleSet  *set;
	int			n;
	int			room;
	int		   *entries;
	int			here[ACTIVE_ROOM];
} Active;

SnRuleState sn_state_nowhere = {.kept = true};

/* activate: one more node for the value at hand, once */
static void
activate(Active *at, int node, int mode)
{
	int			entry = 2 * node + mode;

	if (at->set->seen[entry] == at->set->walk)
		return;
	at->set->seen[entry] = at->set->walk;
	if (at->n == at->room)
	{
		Size		size = (Size) at->room * 2 * sizeof(int);

		if (at->entries == at->here)
			at->entries = memcpy(palloc(size), at->here, sizeof(at->here));
		else
			at->entries = repalloc(at->entries, size);
		at->room *= 2;
	}
	at->entries[at->n++] = entry;
}

/* begin_active: nodes for another value */
static void
begin_active(Active *at, SnRuleSet *set)
{
	at->set = set;
	at->n = 0;
	at->room = ACTIVE_ROOM;
	at->entries = at->here;
	set->walk++;
}

/* activate_item: the node of the item of that number */
static void
activate_item(Active *at, const SnRuleNode *node, int index)
{
	int			i;

	for (i = 0; i < node->nitems; i++)
		if (node->items[i].index == index)
			activate(at, node->items[i].node, 0);
}

/* enter_nodes: what the nodes of a value lead to without a step */
static void
enter_nodes(Active *at, bool is_array)
{
	int			i;

	for (i = 0; i < at->n; i++)
	{
		int			entry = at->entries[i];
		const SnRuleNode *node = &at->set->nodes[entry / 2];

		if (entry & ONLY_NAMES)
			continue;
		if (node->deep != 0)
			activate(at, node->deep, 0);
		if (is_array)
			continue;
		if (node->any_item != 0)
			activate(at, node->any_item, 0);
		activate_item(at, node, 0);
	}
}

/* member_node: the node of the member of that name, or 0 */
static int
member_node(const SnRuleNode *node, const SnJsonKey *key)
{
	int			low = 0;
	int			high = node->nnames;

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

/* order_names, order_items: for the lists of a state */
static int
order_names(const void *a, const void *b)
{
	return sn_json_compare_keys(&((const SnStateName *) a)->key,
								&((const SnStateName *) b)->key);
}

static int
order_items(const void *a, const void *b)
{
	int			x = ((const SnStateItem *) a)->index;
	int			y = ((const SnStateItem *) b)->index;

	return (x > y) - (x < y);
}

/* list_names: the names that the nodes of a state have, in their order */
static void
list_names(const SnRuleSet *set, SnRuleState *state)
{
	int			kept = 0;
	int			i;
	int			k;

	for (i = 0; i < state->n; i++)
	{
		const SnRuleNode *node = &set->nodes[state->entries[i] / 2];

		for (k = 0; k < node->nnames; k++)
			state->names[state->nnames++].key = node->names[k].key;
	}
	qsort(state->names, state->nnames, sizeof(SnStateName), order_names);
	for (i = 0; i < state->nnames; i++)
		if (i == 0 || order_names(&state->names[kept - 1], &state->names[i]) != 0)
			state->names[kept++] = state->names[i];
	state->nnames = kept;
}

/* list_items: likewise the numbers of items */
static void
list_items(const SnRuleSet *set, SnRuleState *state)
{
	int			kept = 0;
	int			i;
	int			k;

	for (i = 0; i < state->n; i++)
	{
		const SnRuleNode *node = &set->nodes[state->entries[i] / 2];

		for (k = 0; k < node->nitems; k++)
			if ((state->entries[i] & ONLY_NAMES) == 0)
				state->items[state->nitems++].index = node->items[k].index;
	}
	qsort(state->items, state->nitems, sizeof(SnStateItem), order_items);
	for (i = 0; i < state->nitems; i++)
		if (i == 0 || order_items(&state->items[kept - 1], &state->items[i]) != 0)
			state->items[kept++] = state->items[i];
	state->nitems = kept;
}

/* describe_state: what is done to a value there, and whether it goes on from there */
static void
describe_state(const SnRuleSet *set, SnRuleState *state)
{
	int			i;

	for (i = 0; i < state->n; i++)
	{
		const SnRuleNode *node = &set->nodes[state->entries[i] / 2];

		state->goes_on |= node->nnames > 0;
		if (state->entries[i] & ONLY_NAMES)
			continue;
		state->goes_on |= node->nitems > 0 || node->any != 0 ||
			node->any_item != 0 || node->is_deep;
		if (node->effect.method != SN_METHOD_NONE)
			state->effect = sn_effect_stronger(state->effect, node->effect);
	}
	list_names(set, state);
	list_items(set, state);
}

/* make_state: a new one, which is kept if there is room for it */
static SnRuleState *
make_state(const Active *at, uint32 hash)
{
	SnRuleSet  *set = at->set;
	Size		entries = MAXALIGN(at->n * sizeof(int));
	Size		names = 0;
	Size		items = 0;
	Size		size;
	SnRuleState *state;
	char	   *more;
	int			i;

	for (i = 0; i < at->n; i++)
	{
		names += set->nodes[at->entries[i] / 2].nnames * sizeof(SnStateName);
		items += set->nodes[at->entries[i] / 2].nitems * sizeof(SnStateItem);
	}
	size = MAXALIGN(sizeof(SnRuleState)) + entries + names + items;
	state = MemoryContextAllocZero(set->states_size + size <= KEPT_SIZE ?
								   set->context : CurrentMemoryContext, size);
	more = (char *) state + MAXALIGN(sizeof(SnRuleState));
	state->entries = memcpy(more, at->entries, at->n * sizeof(int));
	state->n = at->n;
	state->names = (SnStateName *) (more + entries);
	state->items = (SnStateItem *) (more + entries + names);
	describe_state(set, state);
	state->hash = hash;
	state->kept = set->states_size + size <= KEPT_SIZE;
	if (state->kept)
	{
		set->states_size += size;
		sn_rulesets_size += size;
		state->chain = set->states[hash % SN_STATE_CHAINS];
		set->states[hash % SN_STATE_CHAINS] = state;
	}
	return state;
}

/* end_active: the state of the nodes that were collected */
static SnRuleState *
end_active(Active *at)
{
	SnRuleState *state;
	uint32		hash;

	if (at->n == 0)
		return &sn_state_nowhere;
	hash = hash_bytes((const unsigned char *) at->entries,
					  at->n * sizeof(int));
	for (state = at->set->states[hash % SN_STATE_CHAINS]; state != NULL;
		 state = state->chain)
		if (state->hash == hash && state->n == at->n &&
			memcmp(state->entries, at->entries, at->n * sizeof(int)) == 0)
			break;
	if (state == NULL)
		state = make_state(at, hash);
	if (at->entries != at->here)
		pfree(at->entries);
	return state;
}

/* keep_step: have it known where a step leads to */
static SnRuleState *
keep_step(SnStateStep *step, SnRuleState *state, bool is_array)
{
	if (state->kept)
		step->to[is_array] = state;
	return state;
}

/* sn_state_begin: what concerns an object as a whole */
SnRuleState *
sn_state_begin(SnRuleSet *set, SnPathRoot root)
{
	SnStateStep *step = &set->begin[root];
	Active		at;

	if (step->to[false] != NULL)
		return step->to[false];
	begin_active(&at, set);
	activate(&at, root == SN_ROOT_METADATA ? set->metadata : set->payload, 0);
	enter_nodes(&at, false);
	return keep_step(step, end_active(&at), false);
}

/* sn_state_follow_member: where the name of a member leads to for the first time */
SnRuleState *
sn_state_follow_member(SnRuleSet *set, const SnRuleState *state,
					   SnStateStep *step, const SnJsonKey *key, bool is_array)
{
	Active		at;
	int			i;

	begin_active(&at, set);
	for (i = 0; i < state->n; i++)
	{
		int			entry = state->entries[i];
		const SnRuleNode *node = &set->nodes[entry / 2];
		int			found = member_node(node, key);

		if (found != 0)
			activate(&at, found, 0);
		if (entry & ONLY_NAMES)
			continue;
		if (node->any != 0)
			activate(&at, node->any, 0);
		if (node->is_deep)
			activate(&at, entry / 2, 0);
	}
	enter_nodes(&at, is_array);
	return keep_step(step, end_active(&at), is_array);
}

/* sn_state_follow_item: the same for an item of an array */
SnRuleState *
sn_state_follow_item(SnRuleSet *set, const SnRuleState *state,
					 SnStateStep *step, int index, bool is_array)
{
	Active		at;
	int			i;

	begin_active(&at, set);
	for (i = 0; i < state->n; i++)
	{
		int			entry = state->entries[i];
		const SnRuleNode *node = &set->nodes[entry / 2];

		if (!(entry & ONLY_NAMES))
		{
			if (node->any != 0)
				activate(&at, node->any, 0);
			if (node->any_item != 0)
				activate(&at, node->any_item, 0);
			activate_item(&at, node, index);
			if (node->is_deep)
				activate(&at, entry / 2, 0);
		}
		if (node->nnames > 0 && !node->is_deep)
			activate(&at, entry / 2, ONLY_NAMES);
	}
	enter_nodes(&at, is_array);
	return keep_step(step, end_active(&at), is_array);
}

/* sn_state_name_step: the step of a name, however it is written */
SnStateStep *
sn_state_name_step(const SnRuleSet *set, SnRuleState *state, SnJsonKey *key)
{
	SnStateName *found;

	if (set->unicode && !sn_name_is_ascii(key->name, key->len))
		sn_name_normalize(key);
	found = bsearch(key, state->names, state->nnames, sizeof(SnStateName),
					order_names);
	return found == NULL ? &state->other : &found->step;
}

/* sn_state_item_step: the step of an item */
SnStateStep *
sn_state_item_step(SnRuleState *state, int index)
{
	int			i;

	for (i = 0; i < state->nitems; i++)
		if (state->items[i].index >= index)
			break;
	return i < state->nitems && state->items[i].index == index ?
		&state->items[i].step : &state->other_item;
}
