/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_compile.c
 *		From a JSON Schema document to nodes that can be run.
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
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/json_number.h"
#include "base/sqlstate.h"
#include "registry/schema_node.h"

#define DIALECT "https://json-schema.org/draft/2020-12/schema"
#define NUMBER_MAX 1000			/* characters: a message may have a bound in it */
#define MULTIPLE_OF_MAX 40		/* digits: what it costs grows with their square */

typedef struct Compiler
{
	int			nnodes;
	int			room;
	SnNode	  **nodes;
	const char *id;				/* of the document, or NULL */
} Compiler;

/* A value of a keyword, and where it stands */
typedef struct Place
{
	Compiler   *compiler;
	SnNode	   *node;
	const char *keyword;
	const char *pointer;
	const JsonbValue *value;
} Place;

typedef enum Part
{
	NODE, NUMBER, STRING, ARRAY, OBJECT
} Part;

typedef struct Keyword
{
	const char *name;
	void		(*compile) (const Place *place, void *field);	/* NULL: says nothing */
	Part		part;
	size_t		offset;			/* of the field that it fills in the part */
} Keyword;

static SnNode *compile_node(Compiler *compiler, const JsonbValue *value,
							const char *pointer, const char *keyword);

/* sn_schema_refuse: SN422 for a document that is no schema, or asks for too much */
void
sn_schema_refuse(const char *pointer, const char *keyword, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("the JSON Schema cannot be used"),
			 errdetail("At \"%s\": \"%s\" %s.", pointer, keyword, why)));
}

/* sn_schema_pointer: a JSON Pointer (RFC 6901) one step further */
char *
sn_schema_pointer(const char *parent, const char *name, int len)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	appendStringInfoString(&out, parent);
	appendStringInfoChar(&out, '/');
	for (i = 0; i < len; i++)
	{
		if (name[i] == '~')
			appendStringInfoString(&out, "~0");
		else if (name[i] == '/')
			appendStringInfoString(&out, "~1");
		else
			appendStringInfoChar(&out, name[i]);
	}
	return out.data;
}

static void pg_attribute_noreturn()
refuse_value(const Place *place, const char *why)
{
	sn_schema_refuse(place->pointer, place->keyword, why);
	pg_unreachable();
}

/* need_string: the value as a string with an end */
static char *
need_string(const Place *place)
{
	if (place->value->type != jbvString)
		refuse_value(place, "must be a string");
	return pnstrdup(place->value->val.string.val,
					place->value->val.string.len);
}

static JsonbContainer *
need_object(const Place *place)
{
	if (!sn_json_is_object(place->value))
		refuse_value(place, "must be an object");
	return place->value->val.binary.data;
}

static JsonbContainer *
need_array(const Place *place)
{
	if (!sn_json_is_array(place->value))
		refuse_value(place, "must be an array");
	return place->value->val.binary.data;
}

static void
compile_string(const Place *place, void *field)
{
	*(const char **) field = need_string(place);
}

/* compile_text: an annotation that has to be a string */
static void
compile_text(const Place *place, void *field)
{
	(void) need_string(place);
}

static void
compile_flag(const Place *place, void *field)
{
	if (place->value->type != jbvBool)
		refuse_value(place, "must be true or false");
}

static void
compile_unique(const Place *place, void *field)
{
	compile_flag(place, field);
	*(bool *) field = place->value->val.boolean;
}

static void
compile_array(const Place *place, void *field)
{
	(void) need_array(place);
}

static void
compile_number(const Place *place, void *field)
{
	if (place->value->type != jbvNumeric)
		refuse_value(place, "must be a number");
	if (sn_number_text_size(place->value->val.numeric) > NUMBER_MAX)
		refuse_value(place, "has too many digits");
	*(Numeric *) field = place->value->val.numeric;
}

static void
compile_multiple_of(const Place *place, void *field)
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
compile_count(const Place *place, void *field)
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

/* type_bit: of one of JSON's names of types, or 0 */
static int
type_bit(const JsonbValue *name)
{
	static const struct
	{
		const char *name;
		int			bit;
	}			types[] = {
		{"null", SN_JSON_NULL}, {"boolean", SN_JSON_BOOLEAN},
		{"object", SN_JSON_OBJECT}, {"array", SN_JSON_ARRAY},
		{"number", SN_JSON_NUMBER}, {"string", SN_JSON_STRING},
		{"integer", SN_JSON_INTEGER},
	};
	int			i;

	for (i = 0; name->type == jbvString && i < lengthof(types); i++)
		if (name->val.string.len == strlen(types[i].name) &&
			memcmp(name->val.string.val, types[i].name,
				   name->val.string.len) == 0)
			return types[i].bit;
	return 0;
}

static void
compile_type(const Place *place, void *field)
{
	const char *why = "must be the name of a type, or a list of different ones";
	int			types = type_bit(place->value);
	SnJsonWalk	walk;
	JsonbValue	item;

	if (types == 0)
	{
		if (!sn_json_is_array(place->value))
			refuse_value(place, why);
		sn_json_walk(&walk, place->value->val.binary.data);
		while (sn_json_next(&walk, NULL, &item))
		{
			if (type_bit(&item) == 0 || (types & type_bit(&item)) != 0)
				refuse_value(place, why);
			types |= type_bit(&item);
		}
		if (types == 0)
			refuse_value(place, why);
	}
	*(int *) field = types;
}

/* compare_for_sort: for qsort() and bsearch() */
static int
compare_for_sort(const void *a, const void *b)
{
	return sn_json_compare(a, b);
}

static void
compile_enum(const Place *place, void *field)
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
compile_const(const Place *place, void *field)
{
	JsonbValue *copy = palloc(sizeof(JsonbValue));

	*copy = *place->value;
	*(JsonbValue **) field = copy;
}

static void
compile_format(const Place *place, void *field)
{
	char	   *name = need_string(place);
	const SnFormat *format = sn_format_find(name, strlen(name));

	if (format == NULL)
		refuse_value(place, "is none of date-time, date, time, duration, uuid, email, hostname, uri, ipv4 and ipv6");
	*(const SnFormat **) field = format;
}

/* make_pattern: a regular expression, or the reason why it is refused */
static SnPattern *
make_pattern(const Place *place, const char *text, int len)
{
	const char *why;
	SnPattern  *pattern = sn_pattern_compile(text, len, CurrentMemoryContext,
											 &why);

	if (pattern == NULL)
		refuse_value(place, psprintf("is a regular expression that %s", why));
	return pattern;
}

static void
compile_pattern(const Place *place, void *field)
{
	if (place->value->type != jbvString)
		refuse_value(place, "must be a string");
	*(SnPattern **) field = make_pattern(place, place->value->val.string.val,
										 place->value->val.string.len);
}

static void
compile_schema(const Place *place, void *field)
{
	*(SnNode **) field = compile_node(place->compiler, place->value,
									  place->pointer, place->keyword);
}

static void
compile_schemas(const Place *place, void *field)
{
	SnNodes    *nodes = field;
	SnJsonWalk	walk;
	JsonbValue	item;

	sn_json_walk(&walk, need_array(place));
	if (walk.count == 0)
		refuse_value(place, "must have an item");
	nodes->nodes = palloc(sizeof(SnNode *) * walk.count);
	while (sn_json_next(&walk, NULL, &item))
	{
		nodes->nodes[nodes->n] =
			compile_node(place->compiler, &item,
						 psprintf("%s/%d", place->pointer, nodes->n),
						 place->keyword);
		nodes->n++;
	}
}

/* compile_member: the schema that a member of an object of schemas is */
static SnNode *
compile_member(const Place *place, const SnJsonKey *key,
			   const JsonbValue *value)
{
	return compile_node(place->compiler, value,
						sn_schema_pointer(place->pointer, key->name, key->len),
						place->keyword);
}

/* compile_definitions: schemas that are there to be referred to */
static void
compile_definitions(const Place *place, void *field)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, need_object(place));
	while (sn_json_next(&walk, &key, &value))
		(void) compile_member(place, &key, &value);
}

static void
compile_pattern_properties(const Place *place, void *field)
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

		p->pattern = make_pattern(place, key.name, key.len);
		if (sn_pattern_looks_around(p->pattern))
			refuse_value(place, "looks ahead or behind, which costs too much for names");
		p->node = compile_member(place, &key, &value);
	}
}

/* take_names: a list of different strings, as keys */
static SnJsonKey *
take_names(const Place *place, int *n)
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
compile_dependents(const Place *place, void *field)
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
		Place		inner = *place;

		memset(d, 0, sizeof(*d));
		d->key = key;
		inner.value = &value;
		inner.pointer = sn_schema_pointer(place->pointer, key.name, key.len);
		if (is_list)
			d->keys = take_names(&inner, &d->nkeys);
		else
			d->node = compile_member(place, &key, &value);
	}
}

/*
 * compile_properties: properties and required become one list, in the order
 * of the keys of an object, so that a check goes through both at once.
 * "required" is taken along with "properties" or, without that, by itself.
 */
static void
compile_properties(const Place *place, void *field)
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
compile_required(const Place *place, void *field)
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

static int
compare_properties(const void *a, const void *b)
{
	return sn_json_compare_keys(&((const SnProperty *) a)->key,
								&((const SnProperty *) b)->key);
}

/* merge_properties: what is both named and required becomes one */
static void
merge_properties(SnObjectRule *rule)
{
	SnProperty *p = rule->properties;
	int			n = 0;
	int			i;

	qsort(p, rule->nproperties, sizeof(SnProperty), compare_properties);
	for (i = 0; i < rule->nproperties; i++)
	{
		if (n > 0 && compare_properties(&p[n - 1], &p[i]) == 0)
		{
			p[n - 1].required |= p[i].required;
			if (p[n - 1].node == NULL)
				p[n - 1].node = p[i].node;
		}
		else
			p[n++] = p[i];
	}
	rule->nproperties = n;
}

/* compile_at_top: what a document says of itself as a whole */
static void
compile_at_top(const Place *place, void *field)
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
		place->compiler->id = text;
	}
	else if (strcmp(text, DIALECT) != 0)
		refuse_value(place, "must be \"" DIALECT "\"");
}

#define FIELD(part, type, name) part, offsetof(type, name)

static const Keyword keywords[] = {
	{"$anchor", compile_string, FIELD(NODE, SnNode, anchor)},
	{"$comment", compile_text, NODE, 0},
	{"$defs", compile_definitions, NODE, 0},
	{"$id", compile_at_top, NODE, 0},
	{"$ref", compile_string, FIELD(NODE, SnNode, ref_text)},
	{"$schema", compile_at_top, NODE, 0},
	{"additionalProperties", compile_schema, FIELD(OBJECT, SnObjectRule, additional)},
	{"allOf", compile_schemas, FIELD(NODE, SnNode, all_of)},
	{"anyOf", compile_schemas, FIELD(NODE, SnNode, any_of)},
	{"const", compile_const, FIELD(NODE, SnNode, constant)},
	{"contains", compile_schema, FIELD(ARRAY, SnArrayRule, contains)},
	{"contentEncoding", compile_text, NODE, 0},
	{"contentMediaType", compile_text, NODE, 0},
	{"default", NULL, NODE, 0},
	{"dependentRequired", compile_dependents, OBJECT, 0},
	{"dependentSchemas", compile_dependents, OBJECT, 0},
	{"deprecated", compile_flag, NODE, 0},
	{"description", compile_text, NODE, 0},
	{"else", compile_schema, FIELD(NODE, SnNode, else_schema)},
	{"enum", compile_enum, NODE, 0},
	{"examples", compile_array, NODE, 0},
	{"exclusiveMaximum", compile_number, FIELD(NUMBER, SnNumberRule, exclusive_maximum)},
	{"exclusiveMinimum", compile_number, FIELD(NUMBER, SnNumberRule, exclusive_minimum)},
	{"format", compile_format, FIELD(STRING, SnStringRule, format)},
	{"if", compile_schema, FIELD(NODE, SnNode, if_schema)},
	{"items", compile_schema, FIELD(ARRAY, SnArrayRule, items)},
	{"maxContains", compile_count, FIELD(ARRAY, SnArrayRule, max_contains)},
	{"maxItems", compile_count, FIELD(ARRAY, SnArrayRule, max_items)},
	{"maxLength", compile_count, FIELD(STRING, SnStringRule, max_length)},
	{"maxProperties", compile_count, FIELD(OBJECT, SnObjectRule, max_properties)},
	{"maximum", compile_number, FIELD(NUMBER, SnNumberRule, maximum)},
	{"minContains", compile_count, FIELD(ARRAY, SnArrayRule, min_contains)},
	{"minItems", compile_count, FIELD(ARRAY, SnArrayRule, min_items)},
	{"minLength", compile_count, FIELD(STRING, SnStringRule, min_length)},
	{"minProperties", compile_count, FIELD(OBJECT, SnObjectRule, min_properties)},
	{"minimum", compile_number, FIELD(NUMBER, SnNumberRule, minimum)},
	{"multipleOf", compile_multiple_of, FIELD(NUMBER, SnNumberRule, multiple_of)},
	{"not", compile_schema, FIELD(NODE, SnNode, not_schema)},
	{"oneOf", compile_schemas, FIELD(NODE, SnNode, one_of)},
	{"pattern", compile_pattern, FIELD(STRING, SnStringRule, pattern)},
	{"patternProperties", compile_pattern_properties, OBJECT, 0},
	{"prefixItems", compile_schemas, FIELD(ARRAY, SnArrayRule, prefix_items)},
	{"properties", compile_properties, OBJECT, 0},
	{"propertyNames", compile_schema, FIELD(OBJECT, SnObjectRule, names)},
	{"readOnly", compile_flag, NODE, 0},
	{"required", compile_required, OBJECT, 0},
	{"then", compile_schema, FIELD(NODE, SnNode, then_schema)},
	{"title", compile_text, NODE, 0},
	{"type", compile_type, FIELD(NODE, SnNode, types)},
	{"unevaluatedItems", compile_schema, FIELD(ARRAY, SnArrayRule, unevaluated)},
	{"unevaluatedProperties", compile_schema, FIELD(OBJECT, SnObjectRule, unevaluated)},
	{"uniqueItems", compile_unique, FIELD(ARRAY, SnArrayRule, unique)},
	{"writeOnly", compile_flag, NODE, 0},
};

/* find_keyword: what the table says of a name, or NULL */
static const Keyword *
find_keyword(const SnJsonKey *key)
{
	int			i;

	for (i = 0; i < lengthof(keywords); i++)
		if (strlen(keywords[i].name) == key->len &&
			memcmp(keywords[i].name, key->name, key->len) == 0)
			return &keywords[i];
	return NULL;
}

/* part_of: the part of a node that a keyword speaks of, made when it is not there */
static char *
part_of(SnNode *node, Part part)
{
	switch (part)
	{
		case NUMBER:
			if (node->number == NULL)
				node->number = palloc0(sizeof(SnNumberRule));
			return (char *) node->number;
		case STRING:
			if (node->string == NULL)
			{
				node->string = palloc0(sizeof(SnStringRule));
				node->string->max_length = -1;
			}
			return (char *) node->string;
		case ARRAY:
			if (node->array == NULL)
			{
				node->array = palloc0(sizeof(SnArrayRule));
				node->array->min_contains = 1;
				node->array->max_contains = node->array->max_items = -1;
			}
			return (char *) node->array;
		case OBJECT:
			if (node->object == NULL)
			{
				node->object = palloc0(sizeof(SnObjectRule));
				node->object->max_properties = -1;
			}
			return (char *) node->object;
		default:
			return (char *) node;
	}
}

/* compile_keyword: one member of a schema */
static void
compile_keyword(Compiler *compiler, SnNode *node, const SnJsonKey *key,
				const JsonbValue *value)
{
	const Keyword *keyword = find_keyword(key);
	Place		place = {compiler, node, NULL, NULL, value};

	if (keyword == NULL)
	{
		if (key->len >= 2 && memcmp(key->name, "x-", 2) == 0)
			return;
		sn_schema_refuse(node->pointer, pnstrdup(key->name, key->len),
						 "is no keyword that is supported");
	}
	place.keyword = keyword->name;
	place.pointer = psprintf("%s/%s", node->pointer, keyword->name);
	if (keyword->compile != NULL)
		keyword->compile(&place,
						 part_of(node, keyword->part) + keyword->offset);
}

/* add_node: an empty one, which everything matches */
static SnNode *
add_node(Compiler *compiler, const char *pointer, const char *keyword)
{
	SnNode	   *node = palloc0(sizeof(SnNode));

	node->pointer = pointer;
	node->keyword = keyword;
	node->types = SN_JSON_ANY;
	node->nvalues = -1;
	if (compiler->nnodes == compiler->room)
	{
		compiler->room = compiler->room == 0 ? 16 : compiler->room * 2;
		compiler->nodes = compiler->nodes == NULL ?
			palloc(sizeof(SnNode *) * compiler->room) :
			repalloc(compiler->nodes, sizeof(SnNode *) * compiler->room);
	}
	compiler->nodes[compiler->nnodes++] = node;
	return node;
}

/* compile_node: one schema of the document, with all that are in it */
static SnNode *
compile_node(Compiler *compiler, const JsonbValue *value, const char *pointer,
			 const char *keyword)
{
	SnNode	   *node = add_node(compiler, pointer, keyword);
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	member;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvBool)
	{
		node->never = !value->val.boolean;
		return node;
	}
	if (!sn_json_is_object(value))
		sn_schema_refuse(pointer, keyword,
						 "must be a schema: an object, true or false");
	sn_json_walk(&walk, value->val.binary.data);
	while (sn_json_next(&walk, &key, &member))
		compile_keyword(compiler, node, &key, &member);
	if (node->object != NULL)
		merge_properties(node->object);
	if (node->string != NULL && node->string->pattern != NULL &&
		sn_pattern_looks_around(node->string->pattern) &&
		(node->string->max_length < 0 ||
		 node->string->max_length > SN_PATTERN_LOOK_MAX))
		sn_schema_refuse(pointer, "pattern",
						 psprintf("looks ahead or behind, which needs a maxLength of at most %d beside it",
								  SN_PATTERN_LOOK_MAX));
	return node;
}

/*
 * sn_schema_compile: a document as something that sn_schema_check() can run.
 * It lives in a child of cxt and as long as that.  SN422: it is no schema of
 * draft 2020-12, or uses what is not supported.
 */
SnSchema *
sn_schema_compile(Jsonb *document, MemoryContext cxt)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext,
											  "SentinAI JSON Schema",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	SnSchema   *schema = palloc0(sizeof(SnSchema));
	Compiler	compiler = {0};
	JsonbValue	top;

	schema->document = palloc(VARSIZE(document));
	memcpy(schema->document, document, VARSIZE(document));
	sn_json_root(schema->document, &top);
	schema->root = compile_node(&compiler, &top, "", "schema");
	schema->nodes = (SnNodes) {compiler.nnodes, compiler.nodes};
	sn_schema_resolve(schema, compiler.id);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(own, cxt);	/* not before: an error leaves nothing */
	return schema;
}

/* sn_schema_free: a compiled schema and all that it has */
void
sn_schema_free(SnSchema *schema)
{
	MemoryContextDelete(GetMemoryChunkContext(schema));
}
