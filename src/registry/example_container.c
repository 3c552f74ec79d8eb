/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * example_container.c
 *		Objects and arrays of an example.
 *
 * An object gets all members that schemas name, as long as there are not too
 * many; or, when it is lean, those that it must have.  One that leads back to
 * a schema around it is left out unless it must be there.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/json.h"

#include "registry/example_make.h"

#define ITEMS_MAX 100
#define NAMES_MAX 100			/* that are made, for minProperties */
#define CLOSE_MAX 50			/* rounds of what asks for more members */

/* A member that the object may get */
typedef struct Member
{
	SnJsonKey	key;
	bool		required;
} Member;

typedef struct Members
{
	int			n;
	int			room;
	Member	   *members;
} Members;

static void
add_member(Members *members, const SnJsonKey *key, bool required)
{
	if (members->n == members->room)
	{
		members->room = members->room == 0 ? 16 : members->room * 2;
		members->members = members->members == NULL ?
			palloc(sizeof(Member) * members->room) :
			repalloc(members->members, sizeof(Member) * members->room);
	}
	members->members[members->n++] = (Member) {*key, required};
}

static int
compare_members(const void *a, const void *b)
{
	return sn_json_compare_keys(&((const Member *) a)->key,
								&((const Member *) b)->key);
}

/* find_member: a member by its name, or NULL */
static Member *
find_member(Members *members, const SnJsonKey *key)
{
	Member		wanted = {*key, false};

	return members->n == 0 ? NULL :
		bsearch(&wanted, members->members, members->n, sizeof(Member),
				compare_members);
}

/* take_members: all that the rules name, sorted, each once */
static void
take_members(const SnRules *rules, Members *members)
{
	Member	   *m;
	int			n = 0;
	int			i;
	int			j;
	int			k;

	for (i = 0; i < rules->n; i++)
	{
		const SnObjectRule *rule = rules->nodes[i]->object;

		for (j = 0; rule != NULL && j < rule->nproperties; j++)
			add_member(members, &rule->properties[j].key,
					   rule->properties[j].required);
		for (j = 0; rule != NULL && j < rule->ndependents; j++)
			for (k = 0; k < rule->dependents[j].nkeys; k++)
				add_member(members, &rule->dependents[j].keys[k], false);
	}
	if (members->n == 0)
		return;
	m = members->members;
	qsort(m, members->n, sizeof(Member), compare_members);
	for (i = 1; i < members->n; i++)
	{
		if (compare_members(&m[n], &m[i]) == 0)
			m[n].required |= m[i].required;
		else
			m[++n] = m[i];
	}
	members->n = n + 1;
}

/* close_members: what a required member asks for is required, too */
static void
close_members(const SnRules *rules, Members *members)
{
	bool		changed = true;
	int			round;
	int			i;
	int			j;
	int			k;

	for (round = 0; changed && round < CLOSE_MAX; round++)
	{
		changed = false;
		for (i = 0; i < rules->n; i++)
		{
			const SnObjectRule *rule = rules->nodes[i]->object;

			for (j = 0; rule != NULL && j < rule->ndependents; j++)
			{
				const SnDependent *d = &rule->dependents[j];
				Member	   *member = find_member(members, &d->key);

				CHECK_FOR_INTERRUPTS();
				for (k = 0; member != NULL && member->required && k < d->nkeys; k++)
				{
					Member	   *asked = find_member(members, &d->keys[k]);

					changed |= !asked->required;
					asked->required = true;
				}
			}
		}
	}
}

static int
compare_named(const void *a, const void *b)
{
	return sn_json_compare_keys(&((const SnProperty *) a)->key,
								&((const SnProperty *) b)->key);
}

/* add_rules_of: what one schema says of a member of this name */
static bool
add_rules_of(SnMaking *making, const SnObjectRule *rule, const SnJsonKey *key,
			 SnRules *result)
{
	SnProperty	wanted = {.key = *key};
	const SnProperty *property = rule->nproperties == 0 ? NULL :
		bsearch(&wanted, rule->properties, rule->nproperties,
				sizeof(SnProperty), compare_named);
	bool		known = property != NULL && property->node != NULL;
	int			i;

	if (known)
		sn_rules_add(result, property->node);
	for (i = 0; i < rule->npatterns; i++)
	{
		const SnPatternProperty *p = &rule->patterns[i];

		sn_schema_spend(&making->check, sn_pattern_cost(p->pattern, key->len));
		if (!sn_pattern_matches(p->pattern, key->name, key->len))
			continue;
		known = true;
		sn_rules_add(result, p->node);
	}
	if (!known && rule->additional != NULL)
		sn_rules_add(result, rule->additional);
	return known || rule->additional != NULL;
}

/* rules_of_member: what all schemas say of a member of this name */
static void
rules_of_member(SnMaking *making, const SnRules *rules, const SnJsonKey *key,
				SnRules *result)
{
	bool		known = false;
	int			i;

	sn_schema_spend(&making->check, 1 + rules->n);
	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i]->object != NULL)
			known |= add_rules_of(making, rules->nodes[i]->object, key, result);
	for (i = 0; !known && i < rules->n; i++)
		if (rules->nodes[i]->object != NULL &&
			rules->nodes[i]->object->unevaluated != NULL)
			sn_rules_add(result, rules->nodes[i]->object->unevaluated);
}

/* leads_back: whether a schema, or what it refers to, is one around the value */
static bool
leads_back(SnMaking *making, const SnMade *made, const SnRules *rules)
{
	const SnMade *around;
	const SnNode *node;
	int			i;
	int			j;

	for (around = made; around != NULL; around = around->around)
		for (i = 0; i < rules->n; i++)
			for (node = rules->nodes[i]; node != NULL; node = node->branches->ref)
			{
				sn_schema_spend(&making->check, 1 + around->rules->n);
				for (j = 0; j < around->rules->n; j++)
					if (around->rules->nodes[j] == node)
						return true;
			}
	return false;
}

/* put_member: a member with a value of its own; false: none was found */
static bool
put_member(SnMaking *making, const SnMade *made, const SnJsonKey *key,
		   bool required, StringInfo out)
{
	SnRules		rules = {0};
	int			start = out->len;
	char	   *name;
	bool		ok;

	rules_of_member(making, made->rules, key, &rules);
	ok = required || !leads_back(making, made, &rules);
	if (ok)
	{
		name = pnstrdup(key->name, key->len);
		if (out->data[start - 1] != '{')
			appendStringInfoString(out, ", ");
		escape_json(out, name);
		appendStringInfoString(out, ": ");
		pfree(name);
		ok = sn_example_make(making, made, &rules, SN_JSON_ANY | SN_JSON_INTEGER,
							 out);
	}
	if (rules.nodes != NULL)
		pfree(rules.nodes);
	if (!ok)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	return ok;
}

/* bounds_of: how many members all rules want */
static void
bounds_of(const SnRules *rules, int64 *least, int64 *most)
{
	int			i;

	*least = 0;
	*most = PG_INT32_MAX;
	for (i = 0; i < rules->n; i++)
	{
		const SnObjectRule *rule = rules->nodes[i]->object;

		if (rule == NULL)
			continue;
		*least = Max(*least, rule->min_properties);
		if (rule->max_properties >= 0)
			*most = Min(*most, rule->max_properties);
	}
}

/* nth_pattern: of those that the rules have for names, counted around; or NULL */
static const SnPatternProperty *
nth_pattern(const SnRules *rules, int n, int *count)
{
	const SnPatternProperty *found = NULL;
	int			i;
	int			j;

	*count = 0;
	for (i = 0; i < rules->n; i++)
	{
		const SnObjectRule *rule = rules->nodes[i]->object;

		for (j = 0; rule != NULL && j < rule->npatterns; j++)
			if ((*count)++ == n)
				found = &rule->patterns[j];
	}
	return found != NULL || *count == 0 ? found :
		nth_pattern(rules, n % *count, count);
}

/* make_name: the i-th name for a member that nothing names */
static char *
make_name(const SnRules *rules, int i, int *len)
{
	StringInfoData name;
	int			count;
	const SnPatternProperty *p = nth_pattern(rules, i, &count);

	initStringInfo(&name);
	if (p == NULL || !sn_example_of_pattern(p->text.name, p->text.len, 2,
											i / count, &name))
	{
		resetStringInfo(&name);
		appendStringInfo(&name, "key%d", i + 1);
	}
	*len = name.len;
	return name.data;
}

/* has_name: whether a list that need not be sorted has a name */
static bool
has_name(const Members *members, const SnJsonKey *key)
{
	int			i;

	for (i = 0; i < members->n; i++)
		if (sn_json_compare_keys(&members->members[i].key, key) == 0)
			return true;
	return false;
}

/* sn_example_object: an object; it has still to be checked */
bool
sn_example_object(SnMaking *making, const SnMade *made, bool lean,
				  StringInfo out)
{
	Members		members = {0};
	Members		more = {0};
	int64		least;
	int64		most;
	int			n = 0;
	int			pass;
	int			i;

	take_members(made->rules, &members);
	close_members(made->rules, &members);
	bounds_of(made->rules, &least, &most);
	appendStringInfoChar(out, '{');
	for (pass = 0; pass < 2; pass++)
	{
		for (i = 0; i < members.n; i++)
		{
			const Member *member = &members.members[i];

			CHECK_FOR_INTERRUPTS();
			if (member->required != (pass == 0) ||
				(pass == 1 && (n >= most || (lean && n >= least) ||
							   making->optional <= 0)))
				continue;
			making->optional -= pass;
			if (put_member(making, made, &member->key, pass == 0, out))
				n++;
			else if (pass == 0)
				return false;
		}
	}
	for (i = 0; n < least && i < NAMES_MAX; i++)
	{
		SnJsonKey	key;

		key.name = make_name(made->rules, i, &key.len);
		if (!has_name(&members, &key) && !has_name(&more, &key) &&
			put_member(making, made, &key, true, out))
		{
			add_member(&more, &key, true);
			n++;
		}
	}
	appendStringInfoChar(out, '}');
	return true;
}

/* How an array has to be, as far as its schemas agree */
typedef struct Shape
{
	int64		needed;			/* items that there must be */
	int64		least;			/* that are given, if they can be */
	int64		most;
	int64		contained;		/* items that match contains, at the end */
	bool		unique;
	bool		has_items;
} Shape;

static Shape
array_shape(const SnRules *rules, bool lean)
{
	Shape		shape = {.most = ITEMS_MAX};
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		const SnArrayRule *rule = rules->nodes[i]->array;

		if (rule == NULL)
			continue;
		shape.needed = Max(shape.needed, rule->min_items);
		if (!lean)
			shape.least = Max(shape.least, rule->prefix_items.n);
		if (rule->max_items >= 0)
			shape.most = Min(shape.most, rule->max_items);
		if (rule->contains != NULL)
			shape.contained = Max(shape.contained, rule->min_contains);
		shape.unique |= rule->unique;
		shape.has_items |= rule->items != NULL && !rule->items->never;
	}
	if (!lean && shape.has_items)
		shape.least = Max(shape.least, 1);
	shape.needed = Min(Max(shape.needed, shape.contained), shape.most);
	shape.least = Min(Max(shape.least, shape.needed), shape.most);
	return shape;
}

/* rules_of_item: what all schemas say of the item at a place */
static void
rules_of_item(const SnRules *rules, const Shape *shape, int place,
			  SnRules *result)
{
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		const SnArrayRule *rule = rules->nodes[i]->array;

		if (rule == NULL)
			continue;
		if (place < rule->prefix_items.n)
			sn_rules_add(result, rule->prefix_items.nodes[place]);
		else if (rule->items != NULL)
			sn_rules_add(result, rule->items);
		if (rule->contains != NULL && place >= shape->least - rule->min_contains)
			sn_rules_add(result, rule->contains);
	}
}

/* put_item: an item at a place of the array; false: none was found */
static bool
put_item(SnMaking *making, const SnMade *made, const Shape *shape, int place,
		 StringInfo out)
{
	SnRules		rules = {0};
	int			start = out->len;
	bool		ok;

	rules_of_item(made->rules, shape, place, &rules);
	ok = place < shape->needed || !leads_back(making, made, &rules);
	if (ok)
	{
		appendStringInfoString(out, place > 0 ? ", " : "");
		ok = sn_example_make(making, made, &rules, SN_JSON_ANY | SN_JSON_INTEGER,
							 out);
	}
	if (rules.nodes != NULL)
		pfree(rules.nodes);
	if (!ok)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	return ok;
}

/* sn_example_array: an array; it has still to be checked */
bool
sn_example_array(SnMaking *making, const SnMade *made, bool lean,
				 StringInfo out)
{
	Shape		shape = array_shape(made->rules, lean);
	int			salt = making->salt;
	int			i;

	appendStringInfoChar(out, '[');
	for (i = 0; i < shape.least; i++)
	{
		making->salt = shape.unique ? i : salt;
		if (!put_item(making, made, &shape, i, out))
			break;
	}
	making->salt = salt;
	appendStringInfoChar(out, ']');
	return i >= shape.needed;
}
