/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * describe_rules.c
 *		What schemas say of one value, in words: its type, its bounds, and what
 *		their author says of it.
 *
 * Names and texts are the author's.  Each is one line of printable characters
 * here, and has an end.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "base/json_number.h"
#include "base/printable.h"
#include "registry/describe_rules.h"

#define GATHER_MAX 256			/* schemas that speak of one value */
#define VALUES_MAX 10			/* of an enum */
#define VALUE_MAX 60			/* bytes of a value, a pattern, a name */
#define RULES_MAX 300			/* bytes */
#define NOTE_MAX 300

/* sn_describe_line: a text on one line, with an end */
char *
sn_describe_line(const char *bytes, int len, int max)
{
	text	   *clean = sn_storable_text(bytes, len, max);
	int			kept = VARSIZE_ANY_EXHDR(clean);
	char	   *line = palloc(kept + 4);
	int			n = 0;
	int			i;

	for (i = 0; i < kept; i++)
	{
		char		c = VARDATA_ANY(clean)[i];

		if (c != '\n' && c != '\t')
			line[n++] = c;
		else if (n > 0 && line[n - 1] != ' ')
			line[n++] = ' ';
	}
	strcpy(line + n, kept < len && kept + 4 > max ? "…" : "");
	pfree(clean);
	return line;
}

/* sn_describe_gather: a schema and all that always speak of the same value */
bool
sn_describe_gather(SnRules *rules, const SnNode *node)
{
	bool		all = true;
	int			i;

	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i] == node)
			return true;
	if (rules->n == GATHER_MAX)
		return false;
	sn_rules_add(rules, node);
	if (node->branches->ref != NULL)
		all = sn_describe_gather(rules, node->branches->ref);
	for (i = 0; i < node->branches->all_of.n; i++)
		all &= sn_describe_gather(rules, node->branches->all_of.nodes[i]);
	return all;
}

/* put_quoted: a string of the schema, as JSON has it; a long one has no end */
static void
put_quoted(StringInfo out, const char *bytes, int len)
{
	char	   *text = pnstrdup(bytes, pg_mbcliplen(bytes, len, VALUE_MAX));

	escape_json(out, text);
	pfree(text);
}

/* put_short: a value of the schema, as far as there is room */
static void
put_short(StringInfo out, const JsonbValue *value)
{
	SnJsonWalk	walk;
	SnJsonKey	key = {0};
	JsonbValue	inner;
	bool		is_object = sn_json_is_object(value);
	bool		first = true;

	check_stack_depth();
	if (out->len > VALUE_MAX)
		return;
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvString:
			put_quoted(out, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(out, sn_number_text_size(value->val.numeric) > VALUE_MAX ?
								   "a long number" :
								   DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
			break;
		default:
			appendStringInfoChar(out, is_object ? '{' : '[');
			sn_json_walk(&walk, value->val.binary.data);
			for (; out->len <= VALUE_MAX &&
				 sn_json_next(&walk, is_object ? &key : NULL, &inner); first = false)
			{
				appendStringInfoString(out, first ? "" : ", ");
				if (is_object)
				{
					put_quoted(out, key.name, key.len);
					appendStringInfoString(out, ": ");
				}
				put_short(out, &inner);
			}
			appendStringInfoChar(out, is_object ? '}' : ']');
	}
}

/* value_text: a value of the schema, short */
static char *
value_text(const JsonbValue *value)
{
	StringInfoData text;

	initStringInfo(&text);
	put_short(&text, value);
	return sn_describe_line(text.data, text.len, VALUE_MAX);
}

/* source_text: a schema as it was written, short */
static char *
source_text(const SnNode *node)
{
	JsonbValue	value = {.type = jbvBool};

	value.val.boolean = !node->never;
	if (node->source != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = node->source;
	}
	return value_text(&value);
}

/* next_rule: go on to one more; false when there is no room for it */
static bool
next_rule(StringInfo out)
{
	if (out->len > RULES_MAX)
		return false;
	if (out->len > 0)
		appendStringInfoString(out, "; ");
	return true;
}

/* add_count: bounds of a number of things; most is -1 for none */
static void
add_count(StringInfo out, int64 least, int64 most, const char *what)
{
	if ((least <= 0 && most < 0) || !next_rule(out))
		return;
	if (most < 0)
		appendStringInfo(out, INT64_FORMAT " or more %s", least, what);
	else if (least == most)
		appendStringInfo(out, INT64_FORMAT " %s", least, what);
	else if (least <= 0)
		appendStringInfo(out, "at most " INT64_FORMAT " %s", most, what);
	else
		appendStringInfo(out, INT64_FORMAT " to " INT64_FORMAT " %s", least,
						 most, what);
}

static void
add_bound(StringInfo out, const char *format, Numeric bound)
{
	char	   *text;

	if (bound == NULL || !next_rule(out))
		return;
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(bound)));
	appendStringInfo(out, "%s%s", format,
					 sn_describe_line(text, strlen(text), VALUE_MAX));
}

static void
add_number_rule(StringInfo out, const SnNumberRule *rule)
{
	add_bound(out, "at least ", rule->minimum);
	add_bound(out, "above ", rule->exclusive_minimum);
	add_bound(out, "at most ", rule->maximum);
	add_bound(out, "below ", rule->exclusive_maximum);
	add_bound(out, "a multiple of ", rule->multiple_of);
}

static void
add_string_rule(StringInfo out, const SnNode *node)
{
	const SnStringRule *rule = node->string;
	JsonbValue	pattern;

	add_count(out, rule->min_length, rule->max_length, "characters");
	if (rule->format != NULL && next_rule(out))
		appendStringInfo(out, "format %s", rule->format->name);
	if (rule->pattern != NULL &&
		getKeyJsonValueFromContainer(node->source, "pattern", 7, &pattern) != NULL &&
		next_rule(out))
		appendStringInfo(out, "pattern %s",
						 sn_describe_line(pattern.val.string.val,
										  pattern.val.string.len, VALUE_MAX));
}

static void
add_array_rule(StringInfo out, const SnArrayRule *rule)
{
	add_count(out, rule->min_items, rule->max_items, "items");
	if (rule->unique && next_rule(out))
		appendStringInfoString(out, "all different");
	if (rule->contains != NULL)
		add_count(out, rule->min_contains, rule->max_contains,
				  psprintf("items like %s", source_text(rule->contains)));
	if (((rule->items != NULL && rule->items->never) ||
		 (rule->unevaluated != NULL && rule->unevaluated->never)) &&
		next_rule(out))
		appendStringInfoString(out, "no other items");
}

static void
add_object_rule(StringInfo out, const SnObjectRule *rule)
{
	int			i;
	int			j;

	add_count(out, rule->min_properties, rule->max_properties, "fields");
	if (((rule->additional != NULL && rule->additional->never) ||
		 (rule->unevaluated != NULL && rule->unevaluated->never)) &&
		next_rule(out))
		appendStringInfoString(out, "no other fields");
	if (rule->names != NULL && next_rule(out))
		appendStringInfo(out, "names like %s", source_text(rule->names));
	for (i = 0; i < rule->ndependents; i++)
	{
		const SnDependent *d = &rule->dependents[i];

		if (d->nkeys == 0 || !next_rule(out))
			continue;
		appendStringInfo(out, "with %s also",
						 sn_describe_line(d->key.name, d->key.len, VALUE_MAX));
		for (j = 0; j < d->nkeys && out->len <= RULES_MAX; j++)
			appendStringInfo(out, "%s %s", j == 0 ? "" : ",",
							 sn_describe_line(d->keys[j].name, d->keys[j].len,
											  VALUE_MAX));
	}
}

static void
add_values(StringInfo out, const SnNode *node)
{
	int			i;

	if (node->constant != NULL && next_rule(out))
		appendStringInfo(out, "always %s", value_text(node->constant));
	if (node->nvalues < 0 || !next_rule(out))
		return;
	appendStringInfoString(out, node->nvalues == 1 ? "only" : "one of");
	for (i = 0; i < Min(node->nvalues, VALUES_MAX); i++)
		appendStringInfo(out, "%s %s", i == 0 ? "" : ",",
						 value_text(&node->values[i]));
	if (node->nvalues > VALUES_MAX)
		appendStringInfo(out, " and %d more", node->nvalues - VALUES_MAX);
}

/* sn_describe_rules: what all schemas of a value ask of it, beside its type */
char *
sn_describe_rules(const SnRules *rules)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < rules->n; i++)
	{
		const SnNode *node = rules->nodes[i];

		add_values(&out, node);
		if (node->number != NULL)
			add_number_rule(&out, node->number);
		if (node->string != NULL)
			add_string_rule(&out, node);
		if (node->array != NULL)
			add_array_rule(&out, node->array);
		if (node->object != NULL)
			add_object_rule(&out, node->object);
		if (node->branches->not_schema != NULL && next_rule(&out))
			appendStringInfo(&out, "not like %s", source_text(node->branches->not_schema));
	}
	return sn_describe_line(out.data, out.len, RULES_MAX);
}

/* inner_type: of the items of an array, when all have one schema */
static char *
inner_type(const SnRules *rules)
{
	SnRules		items = {0};
	int			i;

	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i]->array != NULL && rules->nodes[i]->array->items != NULL &&
			!rules->nodes[i]->array->items->never)
			(void) sn_describe_gather(&items, rules->nodes[i]->array->items);
	if (items.n == 0)
		return "";
	for (i = 0; i < items.n; i++)
		if (items.nodes[i]->array != NULL)
			return " of arrays";
	return psprintf(" of %s", sn_describe_type(&items));
}

/* type_of: the bit of a value's type */
static int
type_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return SN_JSON_NULL;
		case jbvBool:
			return SN_JSON_BOOLEAN;
		case jbvString:
			return SN_JSON_STRING;
		case jbvNumeric:
			return sn_number_is_integral(value->val.numeric) ?
				SN_JSON_INTEGER : SN_JSON_NUMBER;
		default:
			return sn_json_is_object(value) ? SN_JSON_OBJECT : SN_JSON_ARRAY;
	}
}

/* implied_types: what a value is that nothing says the type of */
static int
implied_types(const SnRules *rules)
{
	int			types = 0;
	int			i;
	int			j;

	for (i = 0; i < rules->n && types == 0; i++)
	{
		const SnNode *node = rules->nodes[i];

		if (node->constant != NULL)
			types = type_of(node->constant);
		for (j = 0; j < node->nvalues; j++)
			types |= type_of(&node->values[j]);
		if (node->object != NULL)
			types |= SN_JSON_OBJECT;
		else if (node->array != NULL)
			types |= SN_JSON_ARRAY;
	}
	if ((types & SN_JSON_NUMBER) != 0)
		types &= ~SN_JSON_INTEGER;
	return types == 0 ? SN_JSON_ANY : types;
}

/* sn_describe_type: the types that all schemas of a value let through */
char *
sn_describe_type(const SnRules *rules)
{
	int			types = SN_JSON_ANY | SN_JSON_INTEGER;
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		int			one = rules->nodes[i]->never ? 0 : rules->nodes[i]->types;

		types &= (one & SN_JSON_NUMBER) != 0 ? one | SN_JSON_INTEGER : one;
	}
	if (types == 0)
		return "nothing";
	if ((types & SN_JSON_NUMBER) != 0)
		types &= ~SN_JSON_INTEGER;
	if (types == SN_JSON_ANY)
		types = implied_types(rules);
	if (types == SN_JSON_ANY)
		return "any";
	if ((types & SN_JSON_ARRAY) == 0)
		return sn_json_type_names(types);
	return psprintf("%s%s%s", types == SN_JSON_ARRAY ? "" :
					psprintf("%s or ", sn_json_type_names(types & ~SN_JSON_ARRAY)),
					"array", inner_type(rules));
}

/* flag: whether one of the schemas sets a mark */
static bool
flag(const SnRules *rules, const char *name)
{
	JsonbValue	value;
	int			i;

	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i]->source != NULL &&
			getKeyJsonValueFromContainer(rules->nodes[i]->source, name,
										 strlen(name), &value) != NULL &&
			value.val.boolean)
			return true;
	return false;
}

/* sn_describe_note: what the author of the schemas says of a value */
char *
sn_describe_note(const SnRules *rules)
{
	static const char *const names[] = {"description", "title"};
	static const char *const flags[] = {"deprecated", "readOnly", "writeOnly"};
	static const char *const words[] = {"deprecated", "read only", "write only"};
	StringInfoData out;
	JsonbValue	value;
	int			i;
	int			j;

	initStringInfo(&out);
	for (i = 0; i < lengthof(flags); i++)
		if (flag(rules, flags[i]))
			appendStringInfo(&out, "%s(%s)", out.len > 0 ? " " : "", words[i]);
	for (j = 0; j < lengthof(names); j++)
		for (i = 0; i < rules->n; i++)
		{
			if (rules->nodes[i]->source == NULL ||
				getKeyJsonValueFromContainer(rules->nodes[i]->source, names[j],
											 strlen(names[j]), &value) == NULL)
				continue;
			if (out.len > 0)
				appendStringInfoChar(&out, ' ');
			appendStringInfoString(&out,
								   sn_describe_line(value.val.string.val,
													value.val.string.len,
													NOTE_MAX));
			return out.data;
		}
	return out.data;
}
