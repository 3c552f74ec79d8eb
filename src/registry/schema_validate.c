/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_validate.c
 *		Whether a value matches a compiled schema, and what it breaks.
 *
 * Follows JSON Schema, draft 2020-12 (Validation and Core, sections 10 to 12).
 * What decides between branches (anyOf, oneOf, not, if, contains) runs without
 * a report, and ends at the first thing that is wrong.  Every step is counted,
 * since a schema of a few lines can ask for as many steps as two to the power
 * of a value's depth.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "base/json_number.h"
#include "base/sqlstate.h"
#include "registry/schema_check.h"

#define STEPS_MIN 20000000
#define STEPS_PER_BYTE 64
#define STEPS_OF_BYTES(n) ((n) / 8) /* that are compared or set */
#define STEPS_BETWEEN_INTERRUPTS 1024

/* sn_schema_pause: many steps were taken, or too many */
void
sn_schema_pause(SnCheck *check)
{
	CHECK_FOR_INTERRUPTS();
	check->pause = Max(check->budget - STEPS_BETWEEN_INTERRUPTS, 0);
	if (check->budget < 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("the check of a value against its JSON Schema takes too many steps"),
				 errhint("Schemas that try several branches at every level of a deep value do.")));
}

/* has_type: whether the value is of one of these types */
static bool
has_type(int types, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return (types & SN_JSON_NULL) != 0;
		case jbvBool:
			return (types & SN_JSON_BOOLEAN) != 0;
		case jbvString:
			return (types & SN_JSON_STRING) != 0;
		case jbvNumeric:
			return (types & SN_JSON_NUMBER) != 0 ||
				((types & SN_JSON_INTEGER) != 0 &&
				 sn_number_is_integral(value->val.numeric));
		default:
			return (types & (sn_json_is_object(value) ? SN_JSON_OBJECT :
							 SN_JSON_ARRAY)) != 0;
	}
}

/* compared_steps: what a comparison that looks at all of a value costs */
static int64
compared_steps(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return STEPS_OF_BYTES(value->val.string.len);
		case jbvNumeric:
			return STEPS_OF_BYTES(VARSIZE_ANY(value->val.numeric));
		case jbvBinary:
			return value->val.binary.len;	/* entry by entry */
		default:
			return 0;
	}
}

/* sn_schema_compare: as sn_json_compare(), and paid for */
int
sn_schema_compare(SnCheck *check, const JsonbValue *a, const JsonbValue *b)
{
	sn_schema_spend(check, 1 + Min(compared_steps(a), compared_steps(b)));
	return sn_json_compare(a, b);
}

/* is_among: whether the value is one of those of enum, which are sorted */
static bool
is_among(SnCheck *check, const SnNode *node, const JsonbValue *value)
{
	int			low = 0;
	int			high = node->nvalues;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = sn_schema_compare(check, value,
											  &node->values[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

static bool
check_values(SnCheck *check, const SnNode *node, const JsonbValue *value,
			 const SnCheckStep *step)
{
	bool		ok = true;

	if (node->constant != NULL &&
		sn_schema_compare(check, value, node->constant) != 0)
		ok = sn_schema_broken(check, step, "const", "must be the one value that the schema names");
	if (node->nvalues >= 0 && !is_among(check, node, value))
		ok = sn_schema_broken(check, step, "enum", "must be one of the %d values that the schema names",
							  node->nvalues);
	return ok;
}

/* broken_bound: a number breaks a keyword; the bound becomes text if that is said */
static bool
broken_bound(SnCheck *check, const SnCheckStep *step, const char *keyword,
			 const char *how, Numeric bound)
{
	if (check->errors == NULL)
		return false;
	if (check->errors->count >= SN_SCHEMA_ERRORS_MAX)
		return sn_schema_broken(check, step, keyword, "%s", how);
	return sn_schema_broken(check, step, keyword, "must be %s %s", how,
							DatumGetCString(DirectFunctionCall1(numeric_out,
																NumericGetDatum(bound))));
}

/* is_multiple: exactly; what it costs grows with the digits, not the bytes */
static bool
is_multiple(SnCheck *check, Numeric number, Numeric of)
{
	Numeric		rest;
	bool		result;

	sn_schema_spend(check, sn_number_text_size(number) *
					(1 + sn_number_words(of)));
	rest = DatumGetNumeric(DirectFunctionCall2(numeric_mod,
											   NumericGetDatum(number),
											   NumericGetDatum(of)));
	result = sn_number_words(rest) == 0;
	pfree(rest);
	return result;
}

static bool
check_number(SnCheck *check, const SnNumberRule *rule, Numeric number,
			 const SnCheckStep *step)
{
	bool		ok = true;

	if (rule->minimum != NULL && sn_number_compare(number, rule->minimum) < 0)
		ok = broken_bound(check, step, "minimum", "at least", rule->minimum);
	if (rule->maximum != NULL && sn_number_compare(number, rule->maximum) > 0)
		ok = broken_bound(check, step, "maximum", "at most", rule->maximum);
	if (rule->exclusive_minimum != NULL &&
		sn_number_compare(number, rule->exclusive_minimum) <= 0)
		ok = broken_bound(check, step, "exclusiveMinimum", "above",
						  rule->exclusive_minimum);
	if (rule->exclusive_maximum != NULL &&
		sn_number_compare(number, rule->exclusive_maximum) >= 0)
		ok = broken_bound(check, step, "exclusiveMaximum", "below",
						  rule->exclusive_maximum);
	if (rule->multiple_of != NULL &&
		!is_multiple(check, number, rule->multiple_of))
		ok = broken_bound(check, step, "multipleOf", "a multiple of",
						  rule->multiple_of);
	return ok;
}

static bool
check_string(SnCheck *check, const SnStringRule *rule, const JsonbValue *value,
			 const SnCheckStep *step)
{
	const char *text = value->val.string.val;
	int			len = value->val.string.len;
	int64		chars = -1;
	bool		ok = true;

	/* a character has one byte to four, so bytes often decide */
	if (len / 4 < rule->min_length ||
		(rule->max_length >= 0 && len > rule->max_length))
	{
		sn_schema_spend(check, len);
		chars = pg_mbstrlen_with_len(text, len);
	}
	if (chars >= 0 && chars < rule->min_length)
		ok = sn_schema_broken(check, step, "minLength", "must have at least " INT64_FORMAT " characters",
							  rule->min_length);
	if (rule->max_length >= 0 && chars > rule->max_length)
		ok = sn_schema_broken(check, step, "maxLength", "must have at most " INT64_FORMAT " characters",
							  rule->max_length);
	/* a pattern that looks around must not meet a long text */
	if (ok && rule->pattern != NULL)
	{
		sn_schema_spend(check, sn_pattern_cost(rule->pattern, len));
		if (!sn_pattern_matches(rule->pattern, text, len))
			ok = sn_schema_broken(check, step, "pattern", "must match the pattern of the schema");
	}
	if (rule->format != NULL)
	{
		sn_schema_spend(check, len);
		if (!rule->format->matches(text, len))
			ok = sn_schema_broken(check, step, "format", "must be a valid %s", rule->format->name);
	}
	return ok;
}

/* make_seen: a set of its own for a branch that may not match, or NULL */
static SnCheckSeen *
make_seen(SnCheck *check, const SnCheckSeen *outer, SnCheckSeen *place)
{
	if (outer == NULL)
		return NULL;
	sn_schema_spend(check, STEPS_OF_BYTES(outer->n));
	place->n = outer->n;
	place->is_seen = palloc0(Max(outer->n, 1));
	return place;
}

/* merge_seen: a branch has matched: what it has spoken of counts */
static void
merge_seen(SnCheckSeen *outer, const SnCheckSeen *branch)
{
	int			i;

	for (i = 0; outer != NULL && i < outer->n; i++)
		outer->is_seen[i] |= branch->is_seen[i];
}

/* matches: whether a branch matches; nothing is reported */
static bool
matches(SnCheck *check, const SnNode *node, const JsonbValue *value,
		const SnCheckStep *step, SnCheckSeen *seen)
{
	SnCheck		quiet = sn_check_quietly(check);
	SnCheckSeen place;
	SnCheckSeen *own = make_seen(check, seen, &place);
	bool		ok = sn_check_node(&quiet, node, value, step, own);

	sn_check_spent(check, &quiet);
	if (ok)
		merge_seen(seen, own);
	if (own != NULL)
		pfree(own->is_seen);
	return ok;
}

/* count_matches: of a list, up to a number that is enough unless seen is asked for */
static int
count_matches(SnCheck *check, const SnNodes *nodes, int enough,
			  const JsonbValue *value, const SnCheckStep *step, SnCheckSeen *seen)
{
	int			n = 0;
	int			i;

	for (i = 0; i < nodes->n && (n < enough || seen != NULL); i++)
		n += matches(check, nodes->nodes[i], value, step, seen);
	return n;
}

static bool
check_all_of(SnCheck *check, const SnNodes *nodes, const JsonbValue *value,
			 const SnCheckStep *step, SnCheckSeen *seen)
{
	bool		ok = true;
	int			i;

	for (i = 0; i < nodes->n && (ok || check->errors != NULL); i++)
		ok = sn_check_node(check, nodes->nodes[i], value, step, seen) && ok;
	return ok;
}

/* check_choices: anyOf, oneOf and not */
static bool
check_choices(SnCheck *check, const SnBranches *branches,
			  const JsonbValue *value, const SnCheckStep *step, SnCheckSeen *seen)
{
	bool		ok = true;
	int			n;

	if (branches->any_of.n > 0 &&
		count_matches(check, &branches->any_of, 1, value, step, seen) == 0)
		ok = sn_schema_broken(check, step, "anyOf", "must match one of %d schemas at least",
							  branches->any_of.n);
	if (branches->one_of.n > 0)
	{
		n = count_matches(check, &branches->one_of, 2, value, step, seen);
		if (n != 1)
			ok = sn_schema_broken(check, step, "oneOf", "must match exactly one of %d schemas, and matches %s",
								  branches->one_of.n, n == 0 ? "none" : "more");
	}
	if (branches->not_schema != NULL &&
		matches(check, branches->not_schema, value, step, NULL))
		ok = sn_schema_broken(check, step, "not", "must not match the schema under not");
	return ok;
}

/* check_branches: other schemas for the same value */
static bool
check_branches(SnCheck *check, const SnBranches *branches,
			   const JsonbValue *value, const SnCheckStep *step, SnCheckSeen *seen)
{
	bool		all = check->errors != NULL;
	bool		ok = true;

	if (branches->ref != NULL)
		ok = sn_check_node(check, branches->ref, value, step, seen);
	if ((ok || all) && branches->all_of.n > 0)
		ok = check_all_of(check, &branches->all_of, value, step, seen) && ok;
	if (ok || all)
		ok = check_choices(check, branches, value, step, seen) && ok;
	if ((ok || all) && branches->if_schema != NULL)
	{
		const SnNode *next = matches(check, branches->if_schema, value, step,
									 seen) ?
			branches->then_schema : branches->else_schema;

		if (next != NULL)
			ok = sn_check_node(check, next, value, step, seen) && ok;
	}
	return ok;
}

/* broken_type: a value is of none of the types; their names if that is said */
static bool
broken_type(SnCheck *check, const SnCheckStep *step, int types)
{
	bool		is_said = check->errors != NULL &&
		check->errors->count < SN_SCHEMA_ERRORS_MAX;

	return sn_schema_broken(check, step, "type", "must be %s",
							is_said ? sn_json_type_names(types) : "");
}

/* check_scalar: what the node says of a value that has no others in it */
static inline bool
check_scalar(SnCheck *check, const SnNode *node, const JsonbValue *value,
			 const SnCheckStep *step)
{
	if (value->type == jbvNumeric && node->number != NULL)
		return check_number(check, node->number, value->val.numeric, step);
	if (value->type == jbvString && node->string != NULL)
		return check_string(check, node->string, value, step);
	return true;
}

/* check_value: what the node says of a value of this type */
static bool
check_value(SnCheck *check, const SnNode *node, const JsonbValue *value,
			const SnCheckStep *step, SnCheckSeen *seen)
{
	if (value->type != jbvBinary)
		return check_scalar(check, node, value, step);
	if (sn_json_is_object(value))
		return node->object == NULL ||
			sn_check_object(check, node->object, value->val.binary.data, step,
							seen);
	return node->array == NULL ||
		sn_check_array(check, node->array, value->val.binary.data, step, seen);
}

/* check_unevaluated: what nothing else of the node has spoken of */
static bool
check_unevaluated(SnCheck *check, const SnNode *rule,
				  JsonbContainer *container, const SnCheckStep *step, SnCheckSeen *seen)
{
	SnJsonWalk	walk;
	SnJsonKey	key = {0};
	JsonbValue	value;
	SnCheckStep inner = {.parent = step,.index = -1};
	bool		is_object = JsonContainerIsObject(container);
	bool		ok = true;
	int			i = 0;

	sn_json_walk(&walk, container);
	for (; sn_json_next(&walk, is_object ? &key : NULL, &value); i++)
	{
		if (seen->is_seen[i])
			continue;
		seen->is_seen[i] = true;
		inner.name = key.name;
		inner.len = key.len;
		inner.index = is_object ? -1 : i;
		ok = sn_check_node(check, rule, &value, &inner, NULL) && ok;
		if (!ok && check->errors == NULL)
			break;
	}
	return ok;
}

/* unevaluated_of: the schema for what is left of a value of this type, or NULL */
static const SnNode *
unevaluated_of(const SnNode *node, const JsonbValue *value)
{
	if (sn_json_is_object(value))
		return node->object != NULL ? node->object->unevaluated : NULL;
	return sn_json_is_array(value) && node->array != NULL ?
		node->array->unevaluated : NULL;
}

/* check_parts: all of a node but what is left at the end */
static bool
check_parts(SnCheck *check, const SnNode *node, const JsonbValue *value,
			const SnCheckStep *step, SnCheckSeen *seen)
{
	bool		ok = check_value(check, node, value, step, seen);
	bool		all = check->errors != NULL;

	if ((ok || all) && (node->constant != NULL || node->nvalues >= 0))
		ok = check_values(check, node, value, step) && ok;
	if ((ok || all) && node->branches != &sn_no_branches)
		ok = check_branches(check, node->branches, value, step, seen) && ok;
	return ok;
}

/*
 * sn_check_node: whether a value matches one schema.  seen: which members or
 * items this or a schema in it has spoken of, or NULL when nobody asks.
 */
bool
sn_check_node(SnCheck *check, const SnNode *node, const JsonbValue *value,
			  const SnCheckStep *step, SnCheckSeen *seen)
{
	const SnNode *left;
	SnCheckSeen own;
	bool		ok;

	sn_schema_spend(check, 1);
	if (node->never)
		return sn_schema_broken(check, step, node->keyword, "is not allowed");
	if (node->types != SN_JSON_ANY && !has_type(node->types, value))
		return broken_type(check, step, node->types);
	if (node->is_plain && value->type != jbvBinary)
		return check_scalar(check, node, value, step);
	check_stack_depth();
	left = unevaluated_of(node, value);
	if (left == NULL)
		return check_parts(check, node, value, step, seen);

	own.n = JsonContainerSize(value->val.binary.data);
	sn_schema_spend(check, own.n);	/* all of it is walked over at the end */
	own.is_seen = palloc0(Max(own.n, 1));
	ok = check_parts(check, node, value, step, &own);
	if (ok || check->errors != NULL)
		ok = check_unevaluated(check, left, value->val.binary.data, step,
							   &own) && ok;
	merge_seen(seen, &own);
	pfree(own.is_seen);
	return ok;
}

/*
 * sn_schema_check: whether a value matches a schema.  errors may be NULL;
 * otherwise it gets what is wrong, in the caller's memory context.  SN422 when
 * the check takes more steps than a value of this size should.
 */
bool
sn_schema_check(const SnSchema *schema, Jsonb *value, SnSchemaErrors *errors)
{
	SnCheck		check = {
		.errors = errors,
		.budget = STEPS_MIN + (int64) VARSIZE(value) * STEPS_PER_BYTE,
	};
	SnCheckStep top = {.index = -1};
	JsonbValue	root;

	if (errors != NULL)
		errors->count = 0;
	check.pause = check.budget;
	sn_json_root(value, &root);
	return sn_check_node(&check, schema->root, &root, &top, NULL);
}
