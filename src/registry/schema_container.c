/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_container.c
 *		What a schema asks of objects and arrays.
 *
 * Members of a jsonb object and properties of a compiled schema are in one
 * order, so one walk over both finds what is there, missing and too much.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "registry/schema_check.h"

/* A walk over an object beside the properties that the schema names */
typedef struct Merge
{
	SnCheck    *check;
	const SnObjectRule *rule;
	const SnCheckStep *step;			/* of the object */
	SnCheckSeen *seen;
	int			next;			/* property */
	bool		ok;
} Merge;

/* may_stop: nobody wants to know what else is wrong */
static inline bool
may_stop(const SnCheck *check, bool ok)
{
	return !ok && check->errors == NULL;
}

/* miss: a property that the object does not have */
static void
miss(Merge *merge, const SnProperty *property)
{
	SnCheckStep inner = {.parent = merge->step,.name = property->key.name,
	.len = property->key.len,.index = -1};

	sn_schema_spend(merge->check, 1);
	if (property->required)
		merge->ok = sn_schema_broken(merge->check, &inner, "required", "is missing");
}

/* find_property: what the schema says of a member by its name, or NULL */
static const SnProperty *
find_property(Merge *merge, const SnJsonKey *key)
{
	while (merge->next < merge->rule->nproperties)
	{
		const SnProperty *property = &merge->rule->properties[merge->next];
		int			difference = sn_json_compare_keys(&property->key, key);

		if (difference > 0)
			break;
		merge->next++;
		if (difference == 0)
			return property;
		miss(merge, property);
	}
	return NULL;
}

/* check_patterns: returns whether any pattern speaks of the member */
static bool
check_patterns(Merge *merge, const SnJsonKey *key, const JsonbValue *value,
			   const SnCheckStep *inner)
{
	bool		any = false;
	int			i;

	for (i = 0; i < merge->rule->npatterns; i++)
	{
		const SnPatternProperty *p = &merge->rule->patterns[i];

		sn_schema_spend(merge->check, sn_pattern_cost(p->pattern, key->len));
		if (!sn_pattern_matches(p->pattern, key->name, key->len))
			continue;
		any = true;
		merge->ok &= sn_check_node(merge->check, p->node, value, inner, NULL);
	}
	return any;
}

/* check_member: by its name, by patterns, or as one that nothing speaks of */
static void
check_member(Merge *merge, int i, const SnJsonKey *key,
			 const JsonbValue *value)
{
	const SnObjectRule *rule = merge->rule;
	const SnProperty *property = find_property(merge, key);
	SnCheckStep inner = {.parent = merge->step,.name = key->name,
	.len = key->len,.index = -1};
	bool		known = false;

	if (property != NULL && property->node != NULL)
	{
		known = true;
		merge->ok &= sn_check_node(merge->check, property->node, value,
								   &inner, NULL);
	}
	if (rule->npatterns > 0)
		known |= check_patterns(merge, key, value, &inner);
	if (!known && rule->additional != NULL)
	{
		known = true;
		merge->ok &= sn_check_node(merge->check, rule->additional, value,
								   &inner, NULL);
	}
	if (known && merge->seen != NULL)
		merge->seen->is_seen[i] = true;
	if (rule->names != NULL)
	{
		JsonbValue	name = {.type = jbvString};

		name.val.string.val = unconstify(char *, key->name);
		name.val.string.len = key->len;
		merge->ok &= sn_check_node(merge->check, rule->names, &name, &inner,
								   NULL);
	}
}

/* check_dependent: what the presence of a member asks for */
static bool
check_dependent(SnCheck *check, const SnDependent *dependent,
				JsonbContainer *object, const SnCheckStep *step, SnCheckSeen *seen)
{
	JsonbValue	value;
	bool		ok = true;
	int			i;

	sn_schema_spend(check, 1 + dependent->nkeys);
	if (getKeyJsonValueFromContainer(object, dependent->key.name,
									 dependent->key.len, &value) == NULL)
		return true;
	for (i = 0; i < dependent->nkeys; i++)
	{
		const SnJsonKey *key = &dependent->keys[i];
		SnCheckStep inner = {.parent = step,.name = key->name,
		.len = key->len,.index = -1};

		if (getKeyJsonValueFromContainer(object, key->name, key->len,
										 &value) == NULL)
			ok = sn_schema_broken(check, &inner, "dependentRequired", "is missing");
	}
	if (dependent->node != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = object;
		ok = sn_check_node(check, dependent->node, &value, step, seen) && ok;
	}
	return ok;
}

bool
sn_check_object(SnCheck *check, const SnObjectRule *rule,
				JsonbContainer *object, const SnCheckStep *step, SnCheckSeen *seen)
{
	Merge		merge = {check, rule, step, seen, 0, true};
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	int			i;

	sn_json_walk(&walk, object);
	if (walk.count < rule->min_properties)
		merge.ok = sn_schema_broken(check, step, "minProperties", "must have at least " INT64_FORMAT " members",
									rule->min_properties);
	if (rule->max_properties >= 0 && walk.count > rule->max_properties)
		merge.ok = sn_schema_broken(check, step, "maxProperties", "must have at most " INT64_FORMAT " members",
									rule->max_properties);
	for (i = 0; !may_stop(check, merge.ok) && sn_json_next(&walk, &key, &value); i++)
		check_member(&merge, i, &key, &value);
	for (; !may_stop(check, merge.ok) && merge.next < rule->nproperties; merge.next++)
		miss(&merge, &rule->properties[merge.next]);
	for (i = 0; !may_stop(check, merge.ok) && i < rule->ndependents; i++)
		merge.ok &= check_dependent(check, &rule->dependents[i], object, step,
									seen);
	return merge.ok;
}

/* compare_twins: for qsort_arg(), which calls it as often as it likes */
static int
compare_twins(const void *a, const void *b, void *check)
{
	return sn_schema_compare(check, a, b);
}

/* has_twins: whether two items of an array are equal */
static bool
has_twins(SnCheck *check, JsonbContainer *array)
{
	SnJsonWalk	walk;
	JsonbValue *items;
	int			n = 0;
	bool		result = false;
	int			i;

	sn_json_walk(&walk, array);
	items = MemoryContextAllocHuge(CurrentMemoryContext,
								   sizeof(JsonbValue) * ((Size) walk.count + 1));
	while (sn_json_next(&walk, NULL, &items[n]))
		n++;
	qsort_arg(items, n, sizeof(JsonbValue), compare_twins, check);
	for (i = 1; i < n && !result; i++)
		result = sn_schema_compare(check, &items[i - 1], &items[i]) == 0;
	pfree(items);
	return result;
}

/* check_contains: how many items match a schema, whatever stands where */
static bool
check_contains(SnCheck *check, const SnArrayRule *rule, JsonbContainer *array,
			   const SnCheckStep *step, SnCheckSeen *seen)
{
	SnCheck		quiet = sn_check_quietly(check);
	SnJsonWalk	walk;
	JsonbValue	item;
	int64		n = 0;
	int			i;

	sn_json_walk(&walk, array);
	for (i = 0; sn_json_next(&walk, NULL, &item); i++)
	{
		SnCheckStep inner = {.parent = step,.index = i};

		if (!sn_check_node(&quiet, rule->contains, &item, &inner, NULL))
			continue;
		n++;
		if (seen != NULL)
			seen->is_seen[i] = true;
	}
	sn_check_spent(check, &quiet);
	if (n < rule->min_contains)
		return sn_schema_broken(check, step, rule->min_contains == 1 ? "contains" : "minContains",
								"must have at least " INT64_FORMAT " items that match the schema under contains",
								rule->min_contains);
	if (rule->max_contains >= 0 && n > rule->max_contains)
		return sn_schema_broken(check, step, "maxContains", "must have at most " INT64_FORMAT " items that match the schema under contains",
								rule->max_contains);
	return true;
}

/* check_items: prefixItems and items */
static bool
check_items(SnCheck *check, const SnArrayRule *rule, JsonbContainer *array,
			const SnCheckStep *step, SnCheckSeen *seen)
{
	SnJsonWalk	walk;
	JsonbValue	item;
	bool		ok = true;
	int			i;

	sn_json_walk(&walk, array);
	for (i = 0; !may_stop(check, ok) && sn_json_next(&walk, NULL, &item); i++)
	{
		SnCheckStep inner = {.parent = step,.index = i};
		const SnNode *node = i < rule->prefix_items.n ?
			rule->prefix_items.nodes[i] : rule->items;

		if (node == NULL)
			break;
		ok &= sn_check_node(check, node, &item, &inner, NULL);
		if (seen != NULL)
			seen->is_seen[i] = true;
	}
	return ok;
}

bool
sn_check_array(SnCheck *check, const SnArrayRule *rule, JsonbContainer *array,
			   const SnCheckStep *step, SnCheckSeen *seen)
{
	int			n = JsonContainerSize(array);
	bool		ok = true;

	if (n < rule->min_items)
		ok = sn_schema_broken(check, step, "minItems", "must have at least " INT64_FORMAT " items",
							  rule->min_items);
	if (rule->max_items >= 0 && n > rule->max_items)
		ok = sn_schema_broken(check, step, "maxItems", "must have at most " INT64_FORMAT " items",
							  rule->max_items);
	if (!may_stop(check, ok) && rule->unique && has_twins(check, array))
		ok = sn_schema_broken(check, step, "uniqueItems", "must have no two equal items");
	if (!may_stop(check, ok) && (rule->items != NULL || rule->prefix_items.n > 0))
		ok = check_items(check, rule, array, step, seen) && ok;
	if (!may_stop(check, ok) && rule->contains != NULL)
		ok = check_contains(check, rule, array, step, seen) && ok;
	return ok;
}
