/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_keyword.c
 *		The keywords of JSON Schema, and what each makes of a node.
 *
 * One table says what each keyword is.  A keyword that is not in it is refused:
 * one that were ignored would let through what its author wanted to keep out.
 * Only names that begin with "x-" are anybody's own.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "base/json_number.h"
#include "registry/schema_build.h"

#define DIALECT "https://json-schema.org/draft/2020-12/schema"
#define NUMBER_MAX 1000			/* characters: a message may have a bound in it */
#define PATTERNS_MAX 200000	/* of a schema: size of all automata */
#define MULTIPLE_OF_MAX 40		/* digits: what it costs grows with their square */

static void pg_attribute_noreturn()
refuse_value(const SnKeywordPlace *place, const char *why)
{
	sn_schema_refuse(place->pointer, place->keyword, why);
	pg_unreachable();
}

static void
check_is_string(const SnKeywordPlace *place)
{
	if (place->value->type != jbvString)
		refuse_value(place, "must be a string");
}

/* need_string: the value as a string with an end, while the schema is compiled */
static char *
need_string(const SnKeywordPlace *place)
{
	check_is_string(place);
	return sn_schema_note(place->build, place->value->val.string.val,
						  place->value->val.string.len);
}

static JsonbContainer *
need_object(const SnKeywordPlace *place)
{
	if (!sn_json_is_object(place->value))
		refuse_value(place, "must be an object");
	return place->value->val.binary.data;
}

static JsonbContainer *
need_array(const SnKeywordPlace *place)
{
	if (!sn_json_is_array(place->value))
		refuse_value(place, "must be an array");
	return place->value->val.binary.data;
}

static void
compile_string(const SnKeywordPlace *place, void *field)
{
	*(const char **) field = need_string(place);
}

/* compile_text: an annotation that has to be a string */
static void
compile_text(const SnKeywordPlace *place, void *field)
{
	check_is_string(place);
}

static void
compile_flag(const SnKeywordPlace *place, void *field)
{
	if (place->value->type != jbvBool)
		refuse_value(place, "must be true or false");
}

static void
compile_unique(const SnKeywordPlace *place, void *field)
{
	compile_flag(place, field);
	*(bool *) field = place->value->val.boolean;
}

static void
compile_array(const SnKeywordPlace *place, void *field)
{
	(void) need_array(place);
}

static void
compile_number(const SnKeywordPlace *place, void *field)
{
	if (place->value->type != jbvNumeric)
		refuse_value(place, "must be a number");
	if (sn_number_text_size(place->value->val.numeric) > NUMBER_MAX)
		refuse_value(place, "has too many digits");
	*(Numeric *) field = place->value->val.numeric;
}

static void
compile_multiple_of(const SnKeywordPlace *place, void *field)
{
	Datum		number;

	compile_number(place, field);
	number = NumericGetDatum(place->value->val.numeric);
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, number,
										  DirectFunctionCall1(int4_numeric,
															  Int32GetDatum(0)))) <= 0)
		refuse_value(place, "must be above 0");
	if (sn_number_text_size(place->value->val.numeric) > MULTIPLE_OF_MAX)
		refuse_value(place, "has too many digits");
}

/* compile_count: an integer from 0; what no value can reach is no bound */
static void
compile_count(const SnKeywordPlace *place, void *field)
{
	Datum		number;
	Datum		whole;

	if (place->value->type != jbvNumeric)
		refuse_value(place, "must be an integer from 0");
	number = NumericGetDatum(place->value->val.numeric);
	whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)) ||
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, number,
										  DirectFunctionCall1(int4_numeric,
															  Int32GetDatum(0)))) < 0)
		refuse_value(place, "must be an integer from 0");
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, number,
										  DirectFunctionCall1(int4_numeric,
															  Int32GetDatum(INT_MAX)))) > 0)
		*(int64 *) field = INT_MAX;
	else
		*(int64 *) field = DatumGetInt64(DirectFunctionCall1(numeric_int8,
															 number));
}

static void
compile_type(const SnKeywordPlace *place, void *field)
{
	const char *why = "must be the name of a type, or a list of different ones";
	int			types = sn_json_type_bit(place->value);
	SnJsonWalk	walk;
	JsonbValue	item;

	if (types == 0)
	{
		if (!sn_json_is_array(place->value))
			refuse_value(place, why);
		sn_json_walk(&walk, place->value->val.binary.data);
		while (sn_json_next(&walk, NULL, &item))
		{
			if (sn_json_type_bit(&item) == 0 || (types & sn_json_type_bit(&item)) != 0)
				refuse_value(place, why);
			types |= sn_json_type_bit(&item);
		}
		if (types == 0)
			refuse_value(place, why);
	}
	*(int *) field = types;
}

/* compare_for_sort: for qsort() */
static int
compare_for_sort(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return sn_json_compare(a, b);
}

static void
compile_enum(const SnKeywordPlace *place, void *field)
{
	SnNode	   *node = place->node;
	SnJsonWalk	walk;

	sn_json_walk(&walk, need_array(place));
	node->nvalues = 0;
	node->values = palloc(sizeof(JsonbValue) * Max(walk.count, 1));
	while (sn_json_next(&walk, NULL, &node->values[node->nvalues]))
		node->nvalues++;
	qsort(node->values, node->nvalues, sizeof(JsonbValue), compare_for_sort);
}

static void
compile_const(const SnKeywordPlace *place, void *field)
{
	JsonbValue *copy = palloc(sizeof(JsonbValue));

	*copy = *place->value;
	*(JsonbValue **) field = copy;
}

static void
compile_format(const SnKeywordPlace *place, void *field)
{
	const SnFormat *format;

	check_is_string(place);
	format = sn_format_find(place->value->val.string.val,
							place->value->val.string.len);
	if (format == NULL)
		refuse_value(place, "is none of date-time, date, time, duration, uuid, email, hostname, uri, ipv4 and ipv6");
	*(const SnFormat **) field = format;
}

/* make_pattern: a regular expression, or the reason why it is refused */
static SnPattern *
make_pattern(const SnKeywordPlace *place, const char *text, int len)
{
	const char *why;
	SnPattern  *pattern = sn_pattern_compile(text, len, CurrentMemoryContext,
											 &why);

	if (pattern == NULL)
		refuse_value(place, psprintf("is a regular expression that %s", why));
	place->build->patterns += sn_pattern_size(pattern);
	if (place->build->patterns > PATTERNS_MAX)
		refuse_value(place, "is one regular expression too many, or too large, for one schema");
	return pattern;
}

static void
compile_pattern(const SnKeywordPlace *place, void *field)
{
	check_is_string(place);
	*(SnPattern **) field = make_pattern(place, place->value->val.string.val,
										 place->value->val.string.len);
}

static void
compile_schema(const SnKeywordPlace *place, void *field)
{
	*(SnNode **) field = sn_schema_build_node(place->build, place->value,
									  place->pointer, place->keyword);
}

static void
compile_schemas(const SnKeywordPlace *place, void *field)
{
	SnNodes    *nodes = field;
	char		number[12];
	SnJsonWalk	walk;
	JsonbValue	item;

	sn_json_walk(&walk, need_array(place));
	if (walk.count == 0)
		refuse_value(place, "must have an item");
	nodes->nodes = palloc(sizeof(SnNode *) * walk.count);
	while (sn_json_next(&walk, NULL, &item))
	{
		nodes->nodes[nodes->n] =
			sn_schema_build_node(place->build, &item,
						 sn_schema_below(place->build, place->pointer, number,
										 pg_ltoa(nodes->n, number)),
						 place->keyword);
		nodes->n++;
	}
}

/* compile_member: the schema that a member of an object of schemas is */
static SnNode *
compile_member(const SnKeywordPlace *place, const SnJsonKey *key,
			   const JsonbValue *value)
{
	return sn_schema_build_node(place->build, value,
						sn_schema_below(place->build, place->pointer,
										key->name, key->len),
						place->keyword);
}

/* compile_definitions: schemas that are there to be referred to */
static void
compile_definitions(const SnKeywordPlace *place, void *field)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, need_object(place));
	while (sn_json_next(&walk, &key, &value))
		(void) compile_member(place, &key, &value);
}

static void
compile_pattern_properties(const SnKeywordPlace *place, void *field)
{
	SnObjectRule *rule = field;
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, need_object(place));
	rule->patterns = palloc(sizeof(SnPatternProperty) * Max(walk.count, 1));
	while (sn_json_next(&walk, &key, &value))
	{
		SnPatternProperty *p = &rule->patterns[rule->npatterns++];

		p->text = key;
		p->pattern = make_pattern(place, key.name, key.len);
		if (sn_pattern_looks_around(p->pattern))
			refuse_value(place, "looks ahead or behind, which costs too much for names");
		p->node = compile_member(place, &key, &value);
	}
}

/* take_names: a list of different strings, as keys */
static SnJsonKey *
take_names(const SnKeywordPlace *place, int *n)
{
	const char *why = "must be a list of different strings";
	SnJsonWalk	walk;
	JsonbValue	item;
	SnJsonKey  *keys;
	int			i;

	sn_json_walk(&walk, need_array(place));
	keys = palloc(sizeof(SnJsonKey) * Max(walk.count, 1));
	*n = 0;
	while (sn_json_next(&walk, NULL, &item))
	{
		if (item.type != jbvString)
			refuse_value(place, why);
		keys[(*n)++] = (SnJsonKey) {item.val.string.val, item.val.string.len};
	}
	qsort(keys, *n, sizeof(SnJsonKey),
		  (int (*) (const void *, const void *)) sn_json_compare_keys);
	for (i = 1; i < *n; i++)
		if (sn_json_compare_keys(&keys[i - 1], &keys[i]) == 0)
			refuse_value(place, why);
	return keys;
}

/* compile_dependents: dependentRequired and dependentSchemas */
static void
compile_dependents(const SnKeywordPlace *place, void *field)
{
	SnObjectRule *rule = field;
	bool		is_list = strcmp(place->keyword, "dependentRequired") == 0;
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, need_object(place));
	if (walk.count == 0)
		return;
	rule->dependents = rule->dependents == NULL ?
		palloc(sizeof(SnDependent) * walk.count) :
		repalloc(rule->dependents,
				 sizeof(SnDependent) * (rule->ndependents + walk.count));
	while (sn_json_next(&walk, &key, &value))
	{
		SnDependent *d = &rule->dependents[rule->ndependents++];
		SnKeywordPlace		inner = *place;

		memset(d, 0, sizeof(*d));
		d->key = key;
		inner.value = &value;
		inner.pointer = sn_schema_below(place->build, place->pointer,
										key.name, key.len);
		if (is_list)
			d->keys = take_names(&inner, &d->nkeys);
		else
			d->node = compile_member(place, &key, &value);
	}
}

/*
 * compile_properties: properties and required go into one list, which
 * merge_properties() puts in order, so that a check goes through both
 * at once.
 */
static void
compile_properties(const SnKeywordPlace *place, void *field)
{
	SnObjectRule *rule = field;
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, need_object(place));
	rule->properties = rule->properties == NULL ?
		palloc(sizeof(SnProperty) * Max(walk.count, 1)) :
		repalloc(rule->properties,
				 sizeof(SnProperty) * (rule->nproperties + walk.count + 1));
	while (sn_json_next(&walk, &key, &value))
	{
		SnProperty *p = &rule->properties[rule->nproperties++];

		p->key = key;
		p->required = false;
		p->node = compile_member(place, &key, &value);
	}
}

static void
compile_required(const SnKeywordPlace *place, void *field)
{
	SnObjectRule *rule = field;
	int			n;
	SnJsonKey  *keys = take_names(place, &n);
	int			i;

	rule->properties = rule->properties == NULL ?
		palloc(sizeof(SnProperty) * Max(n, 1)) :
		repalloc(rule->properties,
				 sizeof(SnProperty) * (rule->nproperties + n + 1));
	for (i = 0; i < n; i++)
		rule->properties[rule->nproperties++] =
			(SnProperty) {.key = keys[i],.required = true};
}

/* compile_at_top: what a document says of itself as a whole */
static void
compile_at_top(const SnKeywordPlace *place, void *field)
{
	char	   *text = need_string(place);
	int			len = strlen(text);

	if (place->pointer[strcspn(place->pointer + 1, "/") + 1] != '\0')
		refuse_value(place, "can stand at the top only");
	if (len > 0 && text[len - 1] == '#')
		text[len - 1] = '\0';
	if (strcmp(place->keyword, "$id") == 0)
	{
		if (strchr(text, '#') != NULL)
			refuse_value(place, "must have no fragment");
		place->build->id = text;
	}
	else if (strcmp(text, DIALECT) != 0)
		refuse_value(place, "must be \"" DIALECT "\"");
}

#define FIELD(part, type, name) part, offsetof(type, name)

static const SnKeyword keywords[] = {
	{"$anchor", compile_string, FIELD(SN_PART_NOTE, SnNodeOrigin, anchor)},
	{"$comment", compile_text, SN_PART_NOTE, 0},
	{"$defs", compile_definitions, SN_PART_NOTE, 0},
	{"$id", compile_at_top, SN_PART_NOTE, 0},
	{"$ref", compile_string, FIELD(SN_PART_SOURCE, SnNodeOrigin, ref_text)},
	{"$schema", compile_at_top, SN_PART_NOTE, 0},
	{"additionalProperties", compile_schema, FIELD(SN_PART_OBJECT, SnObjectRule, additional)},
	{"allOf", compile_schemas, FIELD(SN_PART_BRANCHES, SnBranches, all_of)},
	{"anyOf", compile_schemas, FIELD(SN_PART_BRANCHES, SnBranches, any_of)},
	{"const", compile_const, FIELD(SN_PART_NODE, SnNode, constant)},
	{"contains", compile_schema, FIELD(SN_PART_ARRAY, SnArrayRule, contains)},
	{"contentEncoding", compile_text, SN_PART_NOTE, 0},
	{"contentMediaType", compile_text, SN_PART_NOTE, 0},
	{"default", NULL, SN_PART_NOTE, 0},
	{"dependentRequired", compile_dependents, SN_PART_OBJECT, 0},
	{"dependentSchemas", compile_dependents, SN_PART_OBJECT, 0},
	{"deprecated", compile_flag, SN_PART_NOTE, 0},
	{"description", compile_text, SN_PART_NOTE, 0},
	{"else", compile_schema, FIELD(SN_PART_BRANCHES, SnBranches, else_schema)},
	{"enum", compile_enum, SN_PART_NODE, 0},
	{"examples", compile_array, SN_PART_NOTE, 0},
	{"exclusiveMaximum", compile_number, FIELD(SN_PART_NUMBER, SnNumberRule, exclusive_maximum)},
	{"exclusiveMinimum", compile_number, FIELD(SN_PART_NUMBER, SnNumberRule, exclusive_minimum)},
	{"format", compile_format, FIELD(SN_PART_STRING, SnStringRule, format)},
	{"if", compile_schema, FIELD(SN_PART_BRANCHES, SnBranches, if_schema)},
	{"items", compile_schema, FIELD(SN_PART_ARRAY, SnArrayRule, items)},
	{"maxContains", compile_count, FIELD(SN_PART_ARRAY, SnArrayRule, max_contains)},
	{"maxItems", compile_count, FIELD(SN_PART_ARRAY, SnArrayRule, max_items)},
	{"maxLength", compile_count, FIELD(SN_PART_STRING, SnStringRule, max_length)},
	{"maxProperties", compile_count, FIELD(SN_PART_OBJECT, SnObjectRule, max_properties)},
	{"maximum", compile_number, FIELD(SN_PART_NUMBER, SnNumberRule, maximum)},
	{"minContains", compile_count, FIELD(SN_PART_ARRAY, SnArrayRule, min_contains)},
	{"minItems", compile_count, FIELD(SN_PART_ARRAY, SnArrayRule, min_items)},
	{"minLength", compile_count, FIELD(SN_PART_STRING, SnStringRule, min_length)},
	{"minProperties", compile_count, FIELD(SN_PART_OBJECT, SnObjectRule, min_properties)},
	{"minimum", compile_number, FIELD(SN_PART_NUMBER, SnNumberRule, minimum)},
	{"multipleOf", compile_multiple_of, FIELD(SN_PART_NUMBER, SnNumberRule, multiple_of)},
	{"not", compile_schema, FIELD(SN_PART_BRANCHES, SnBranches, not_schema)},
	{"oneOf", compile_schemas, FIELD(SN_PART_BRANCHES, SnBranches, one_of)},
	{"pattern", compile_pattern, FIELD(SN_PART_STRING, SnStringRule, pattern)},
	{"patternProperties", compile_pattern_properties, SN_PART_OBJECT, 0},
	{"prefixItems", compile_schemas, FIELD(SN_PART_ARRAY, SnArrayRule, prefix_items)},
	{"properties", compile_properties, SN_PART_OBJECT, 0},
	{"propertyNames", compile_schema, FIELD(SN_PART_OBJECT, SnObjectRule, names)},
	{"readOnly", compile_flag, SN_PART_NOTE, 0},
	{"required", compile_required, SN_PART_OBJECT, 0},
	{"then", compile_schema, FIELD(SN_PART_BRANCHES, SnBranches, then_schema)},
	{"title", compile_text, SN_PART_NOTE, 0},
	{"type", compile_type, FIELD(SN_PART_NODE, SnNode, types)},
	{"unevaluatedItems", compile_schema, FIELD(SN_PART_ARRAY, SnArrayRule, unevaluated)},
	{"unevaluatedProperties", compile_schema, FIELD(SN_PART_OBJECT, SnObjectRule, unevaluated)},
	{"uniqueItems", compile_unique, FIELD(SN_PART_ARRAY, SnArrayRule, unique)},
	{"writeOnly", compile_flag, SN_PART_NOTE, 0},
};

/* sn_schema_keyword: what the table says of a name, or NULL */
const SnKeyword *
sn_schema_keyword(const SnJsonKey *key)
{
	int			i;

	for (i = 0; i < lengthof(keywords); i++)
		if (strlen(keywords[i].name) == key->len &&
			memcmp(keywords[i].name, key->name, key->len) == 0)
			return &keywords[i];
	return NULL;
}

/* sn_keyword_value: whether a keyword has schemas under it, and how */
SnKeywordValue
sn_keyword_value(const SnKeyword *keyword)
{
	if (keyword->compile == compile_schema)
		return SN_VALUE_SCHEMA;
	if (keyword->compile == compile_schemas)
		return SN_VALUE_LIST;
	if (keyword->compile == compile_definitions ||
		keyword->compile == compile_properties ||
		keyword->compile == compile_pattern_properties ||
		strcmp(keyword->name, "dependentSchemas") == 0)
		return SN_VALUE_MAP;
	return SN_VALUE_DATA;
}

/* sn_schema_is_note: whether a keyword asks nothing of a value */
bool
sn_schema_is_note(const char *name)
{
	SnJsonKey	key = {name, strlen(name)};
	const SnKeyword *keyword = sn_schema_keyword(&key);

	return keyword == NULL ? strncmp(name, "x-", 2) == 0 :
		keyword->part == SN_PART_NOTE;
}
