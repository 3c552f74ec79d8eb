/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_rules.c
 *		The rules for one kind of event, put together for one walk over it.
 *
 * Paths that begin in the same way share their nodes, so that a walk follows
 * all of them at once.  A step at any depth hangs below a node of its own,
 * whose steps count wherever the walk goes from there.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "redact/redact_name.h"
#include "redact/redact_rules.h"

const char *const sn_redact_methods[SN_METHODS] = {
	"none", "secrets", "mask", "hash", "replace", "remove"
};

/* add_rule_node: a new one; nodes move when there are many */
static int
add_rule_node(SnRuleSet *set)
{
	if (set->nnodes == set->room)
	{
		set->room *= 2;
		set->nodes = repalloc(set->nodes, set->room * sizeof(SnRuleNode));
	}
	memset(&set->nodes[set->nnodes], 0, sizeof(SnRuleNode));
	return set->nnodes++;
}

/* sn_ruleset_begin: a set without rules */
SnRuleSet *
sn_ruleset_begin(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent,
												  "sentinai redaction rules",
												  ALLOCSET_SMALL_SIZES);
	SnRuleSet  *set = MemoryContextAllocZero(context, sizeof(SnRuleSet));

	set->context = context;
	set->room = 8;
	set->nodes = MemoryContextAlloc(context, set->room * sizeof(SnRuleNode));
	set->nnodes = 1;			/* 0 is none */
	return set;
}

/* sn_effect_stronger: what two rules about one value come to */
SnEffect
sn_effect_stronger(SnEffect a, SnEffect b)
{
	SnEffect	result = a.method >= b.method ? a : b;

	if (a.method == SN_METHOD_MASK && b.method == SN_METHOD_MASK)
		result.keep = Min(a.keep, b.keep);
	if (a.method == SN_METHOD_SECRETS && b.method == SN_METHOD_SECRETS)
		result.kinds = a.kinds | b.kinds;
	return result;
}

/* follow_link: the node that one of the kinds of steps leads to, made when it is not there */
static int
follow_link(SnRuleSet *set, int parent, size_t offset)
{
	int			node = *(int *) ((char *) &set->nodes[parent] + offset);

	if (node == 0)
	{
		node = add_rule_node(set);
		*(int *) ((char *) &set->nodes[parent] + offset) = node;
	}
	return node;
}

/* follow_item: the same for the item of a number */
static int
follow_item(SnRuleSet *set, int parent, int index)
{
	SnRuleNode *node = &set->nodes[parent];
	int			n = node->nitems;
	int			i;

	for (i = 0; i < n; i++)
		if (node->items[i].index == index)
			return node->items[i].node;
	if (n == 0)
		node->items = MemoryContextAlloc(set->context, sizeof(SnRuleItem));
	else
		node->items = repalloc(node->items, (n + 1) * sizeof(SnRuleItem));
	i = add_rule_node(set);
	node = &set->nodes[parent];
	node->items[n] = (SnRuleItem) {index, i};
	node->nitems++;
	return i;
}

/* insert_name: a name that a node does not have, at its place in the order */
static int
insert_name(SnRuleSet *set, int parent, const SnJsonKey *key, int place)
{
	SnRuleNode *node = &set->nodes[parent];
	int			n = node->nnames;
	char	   *name = MemoryContextAlloc(set->context, key->len + 1);
	int			i;

	memcpy(name, key->name, key->len);
	if (n == 0)
		node->names = MemoryContextAlloc(set->context, sizeof(SnRuleName));
	else
		node->names = repalloc(node->names, (n + 1) * sizeof(SnRuleName));
	i = add_rule_node(set);
	node = &set->nodes[parent];
	memmove(&node->names[place + 1], &node->names[place],
			(n - place) * sizeof(SnRuleName));
	node->names[place].key = (SnJsonKey) {name, key->len};
	node->names[place].node = i;
	node->nnames++;
	return i;
}

/* follow_member: the same for the member of a name */
static int
follow_member(SnRuleSet *set, int parent, const char *name, int len)
{
	SnJsonKey	key = {name, len};
	SnRuleNode *node;
	int			i;

	if (!sn_name_is_ascii(name, len))
	{
		set->unicode = true;
		sn_name_normalize(&key);
	}
	node = &set->nodes[parent];
	for (i = 0; i < node->nnames; i++)
	{
		int			order = sn_json_compare_keys(&node->names[i].key, &key);

		if (order == 0)
			return node->names[i].node;
		if (order > 0)
			break;
	}
	return insert_name(set, parent, &key, i);
}

/* follow_step: the node that a step leads to */
static int
follow_step(SnRuleSet *set, int node, const SnPath *path, const SnPathStep *step)
{
	if (step->deep)
	{
		node = follow_link(set, node, offsetof(SnRuleNode, deep));
		set->nodes[node].is_deep = true;
	}
	switch (step->kind)
	{
		case SN_STEP_MEMBER:
			return follow_member(set, node, path->names + step->name, step->len);
		case SN_STEP_ITEM:
			return follow_item(set, node, step->index);
		case SN_STEP_ANY_ITEM:
			return follow_link(set, node, offsetof(SnRuleNode, any_item));
		case SN_STEP_ANY:
			break;
	}
	return follow_link(set, node, offsetof(SnRuleNode, any));
}

/* sn_ruleset_add: one more rule */
void
sn_ruleset_add(SnRuleSet *set, const SnRule *rule)
{
	const SnPath *path = &rule->path;
	int		   *root = path->root == SN_ROOT_METADATA ? &set->metadata :
		&set->payload;
	SnRuleNode *end;
	int			node;
	int			i;

	if (rule->effect.method == SN_METHOD_SECRETS)
		set->text_kinds |= rule->effect.kinds;
	if (path->root == SN_ROOT_ERROR)
	{
		set->text = sn_effect_stronger(set->text, rule->effect);
		return;
	}
	if (*root == 0)
		*root = add_rule_node(set);
	node = *root;
	for (i = 0; i < path->nsteps; i++)
		node = follow_step(set, node, path, &path->steps[i]);
	end = &set->nodes[node];
	end->effect = sn_effect_stronger(end->effect, rule->effect);
}

/* sn_ruleset_end: all rules are there */
void
sn_ruleset_end(SnRuleSet *set)
{
	set->seen = MemoryContextAllocZero(set->context,
									   2 * set->nnodes * sizeof(uint64));
}
