/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * evolution.c
 *		Whether one schema takes all that another one lets through.
 *
 * The one is the reader's, the other the writer's.  Each keyword of the reader's
 * has to follow from what the writer's says.  What the writer's says and is not
 * looked at only makes it take more, and what cannot be told is a difference:
 * so the answer may be no for schemas that are compatible, and never yes for
 * such that are not.  Keywords that are hard to compare (not, oneOf, if, ...)
 * have to be the same in both.
 *
 * A difference is told by the field of a value that it is about, as a JSON
 * pointer in which * stands for all items of an array and all properties that
 * have no name in the schema.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "registry/evolution.h"
#include "registry/json_type.h"
#include "registry/json_walk.h"

#define DEPTH_MAX	64
#define STEPS_MAX	200000

/* A schema of a document: true, false or an object */
typedef JsonbValue Schema;

/* A pair that is compared, and those around it */
typedef struct Pair
{
	const struct Pair *above;
	int			depth;
	const void *reader;			/* containers */
	const void *writer;
	const char *field;
} Pair;

typedef struct Comparison
{
	JsonbContainer *reader;		/* the documents, for $ref */
	JsonbContainer *writer;
	SnSchemaErrors *errors;		/* NULL while something is tried */
	int			steps;
} Comparison;

static bool takes(Comparison *c, const Pair *above, const char *field,
				  const Schema *reader, const Schema *writer);

static const Schema anything = {.type = jbvBool,.val.boolean = true};

/* differs: note a difference; returns false */
static bool
differs(Comparison *c, const char *field, const char *keyword,
		const char *message)
{
	if (c->errors != NULL && c->errors->count++ < SN_SCHEMA_ERRORS_MAX)
	{
		SnSchemaError *error = &c->errors->first[c->errors->count - 1];

		error->pointer = pstrdup(field);
		error->keyword = pstrdup(keyword);
		error->message = pstrdup(message);
	}
	return false;
}

/* unknown: what cannot be compared counts as a difference */
static bool
unknown(Comparison *c, const char *field, const char *keyword)
{
	return differs(c, field, keyword,
				   "cannot be compared with the other schema unless both have the same");
}

/* member: of an object, or NULL */
static JsonbValue *
member(const Schema *schema, const char *key)
{
	return schema->type != jbvBinary ? NULL :
		getKeyJsonValueFromContainer(schema->val.binary.data, key,
									 strlen(key), NULL);
}

/* member_of: of a member that is an object, by a key of any bytes, or NULL */
static JsonbValue *
member_of(const Schema *schema, const char *keyword, const SnJsonKey *key)
{
	JsonbValue *inner = member(schema, keyword);

	return inner == NULL || inner->type != jbvBinary ? NULL :
		getKeyJsonValueFromContainer(inner->val.binary.data, key->name,
									 key->len, NULL);
}

/* below: the pointer of a field inside another */
static char *
below(const char *field, const SnJsonKey *key)
{
	return sn_schema_pointer(field, key->name, key->len);
}

/* all_below: the pointer of all fields inside another */
static char *
all_below(const char *field)
{
	return psprintf("%s/*", field);
}

/* has_ref: whether something in a value depends on its document */
static bool
has_ref(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	part;
	bool		found = false;

	if (value->type != jbvBinary)
		return false;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while (!found &&
		   (token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		found = token == WJB_KEY && part.val.string.len == 4 &&
			memcmp(part.val.string.val, "$ref", 4) == 0;
	}
	return found;
}

/* same: whether two values, or the lack of them, mean the same */
static bool
same(const JsonbValue *a, const JsonbValue *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return sn_json_compare(a, b) == 0 && !has_ref(a);
}

/* same_members: whether two schemas have the same under some keywords */
static bool
same_members(const Schema *a, const Schema *b, const char *const *keywords)
{
	for (; *keywords != NULL; keywords++)
		if (!same(member(a, *keywords), member(b, *keywords)))
			return false;
	return true;
}

/*
 * target: what a $ref leads to, or NULL when it is none that is followed here:
 * # or a pointer of plain keys
 */
static JsonbValue *
target(JsonbContainer *document, const JsonbValue *ref)
{
	char	   *at = pnstrdup(ref->val.string.val, ref->val.string.len);
	JsonbValue *value = palloc0(sizeof(JsonbValue));
	char	   *step;

	if (at[0] != '#' || strpbrk(at, "~%") != NULL ||
		(at[1] != '\0' && at[1] != '/'))
		return NULL;
	value->type = jbvBinary;
	value->val.binary.data = document;
	at += at[1] == '\0' ? 1 : 2;
	for (step = strtok_r(at, "/", &at); step != NULL;
		 step = strtok_r(NULL, "/", &at))
	{
		if (!sn_json_is_object(value))
			return NULL;
		value = member(value, step);
		if (value == NULL)
			return NULL;
	}
	return value->type == jbvBool || sn_json_is_object(value) ? value : NULL;
}

/* only_ref: whether a schema asks for nothing but its $ref */
static bool
only_ref(const Schema *schema)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, schema->val.binary.data);
	while (sn_json_next(&walk, &key, &value))
	{
		char	   *name = pnstrdup(key.name, key.len);

		if (strcmp(name, "$ref") != 0 && !sn_schema_is_note(name))
			return false;
	}
	return true;
}

/* follow: what the writer's schema says once its references are followed */
static const Schema *
follow(Comparison *c, const Schema *writer)
{
	int			i;

	for (i = 0; i < DEPTH_MAX && member(writer, "$ref") != NULL &&
		 only_ref(writer); i++)
	{
		const Schema *next = target(c->writer, member(writer, "$ref"));

		if (next == NULL)
			return &anything;
		writer = next;
	}
	return writer;
}

/* A set of types has both bits for numbers: an integer is one as well */
#define ALL_NUMBERS	(SN_JSON_NUMBER | SN_JSON_INTEGER)
#define ALL_TYPES	(SN_JSON_ANY | SN_JSON_INTEGER)

/* bits_of_type: the values that have a type */
static int
bits_of_type(const JsonbValue *name)
{
	int			bit = sn_json_type_bit(name);

	return bit == SN_JSON_NUMBER ? ALL_NUMBERS : bit;
}

/* types_of: the types that values of a schema may have */
static int
types_of(const Schema *schema)
{
	JsonbValue *type = member(schema, "type");
	SnJsonWalk	walk;
	JsonbValue	name;
	int			types = 0;

	if (type == NULL)
		return ALL_TYPES;
	if (type->type == jbvString)
		return bits_of_type(type);
	sn_json_walk(&walk, type->val.binary.data);
	while (sn_json_next(&walk, NULL, &name))
		types |= bits_of_type(&name);
	return types;
}

/* lists_value: whether enum or const of a schema has a value */
static bool
lists_value(const Schema *schema, const char *keyword, const JsonbValue *value)
{
	JsonbValue *values = member(schema, keyword);
	SnJsonWalk	walk;
	JsonbValue	one;

	if (strcmp(keyword, "const") == 0)
		return sn_json_compare(values, value) == 0;
	sn_json_walk(&walk, values->val.binary.data);
	while (sn_json_next(&walk, NULL, &one))
		if (sn_json_compare(&one, value) == 0)
			return true;
	return false;
}

/* values_follow: enum or const of the reader's has all values of the writer's */
static bool
values_follow(Comparison *c, const char *field, const char *keyword,
			   const Schema *reader, const Schema *writer)
{
	JsonbValue *only = member(writer, "const");
	JsonbValue *values = member(writer, "enum");
	SnJsonWalk	walk;
	JsonbValue	one;

	if (only != NULL)
		return lists_value(reader, keyword, only) ||
			differs(c, field, keyword, "no longer has the value that there was");
	if (values == NULL)
		return differs(c, field, keyword,
					   "limits values that had no such limit");
	sn_json_walk(&walk, values->val.binary.data);
	while (sn_json_next(&walk, NULL, &one))
		if (!lists_value(reader, keyword, &one))
			return differs(c, field, keyword,
						   "does not have all values of the other schema");
	return true;
}

/* How a number of the reader's follows from one of the writer's */
typedef enum Bound
{
	LEAST, MOST, MULTIPLE
} Bound;

/* follows: whether it does */
static bool
follows(Bound bound, const JsonbValue *reader, const JsonbValue *writer)
{
	Datum		r = NumericGetDatum(reader->val.numeric);
	Datum		w = NumericGetDatum(writer->val.numeric);
	int			order;

	if (bound == MULTIPLE)
		return sn_json_compare(reader, writer) == 0;
	order = DatumGetInt32(DirectFunctionCall2(numeric_cmp, w, r));
	return bound == LEAST ? order >= 0 : order <= 0;
}

/* types_follow: the reader's has all types of the writer's */
static bool
types_follow(Comparison *c, const char *field, const Schema *reader,
			 const Schema *writer)
{
	return (types_of(writer) & ~types_of(reader)) == 0 ||
		differs(c, field, "type", "does not take all types of the other schema");
}

/* is_required: whether a schema asks for a property */
static bool
is_required(const Schema *schema, const JsonbValue *name)
{
	JsonbValue *required = member(schema, "required");

	return required != NULL && lists_value(schema, "required", name);
}

/* required_follow: what the reader's asks for is always there */
static bool
required_follow(Comparison *c, const char *field, const Schema *reader,
				 const Schema *writer)
{
	SnJsonWalk	walk;
	JsonbValue	name;
	bool		good = true;

	sn_json_walk(&walk, member(reader, "required")->val.binary.data);
	while (sn_json_next(&walk, NULL, &name))
	{
		SnJsonKey	key = {name.val.string.val, name.val.string.len};

		if (!is_required(writer, &name))
			good = differs(c, below(field, &key), "required",
						   "is required, and may be missing by the other schema");
	}
	return good;
}

/* property_of: what a schema says of a property; more than that may hold */
static const Schema *
property_of(const Schema *schema, const SnJsonKey *key)
{
	const Schema *found = member_of(schema, "properties", key);

	if (found == NULL && member(schema, "patternProperties") == NULL)
		found = member(schema, "additionalProperties");
	return found == NULL ? &anything : found;
}

/* properties_follow: each that the reader's names */
static bool
properties_follow(Comparison *c, const Pair *pair, const Schema *reader,
				   const Schema *writer)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	inner;
	bool		good = true;

	sn_json_walk(&walk, member(reader, "properties")->val.binary.data);
	while (sn_json_next(&walk, &key, &inner))
		good &= takes(c, pair, below(pair->field, &key), &inner,
					  property_of(writer, &key));
	return good;
}

/*
 * additional_follow: what the reader's says of all properties that it does not
 * name
 */
static bool
additional_follow(Comparison *c, const Pair *pair, const Schema *reader,
				   const Schema *writer)
{
	JsonbValue *additional = member(reader, "additionalProperties");
	JsonbValue *named = member(writer, "properties");
	const Schema *other = member(writer, "additionalProperties");
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	inner;
	bool		good = true;

	if (additional->type == jbvBool && additional->val.boolean)
		return true;
	if (!same(member(reader, "patternProperties"),
			  member(writer, "patternProperties")))
		return unknown(c, pair->field, "patternProperties");
	if (named != NULL)
	{
		sn_json_walk(&walk, named->val.binary.data);
		while (sn_json_next(&walk, &key, &inner))
			if (member_of(reader, "properties", &key) == NULL)
				good &= takes(c, pair, below(pair->field, &key), additional,
							  &inner);
	}
	return takes(c, pair, all_below(pair->field), additional,
				 other == NULL ? &anything : other) && good;
}

/* item_of: what a schema says of an item of an array, by its place */
static const Schema *
item_of(const Schema *schema, int place)
{
	JsonbValue *first = member(schema, "prefixItems");
	const Schema *found = NULL;

	if (first != NULL)
		found = getIthJsonbValueFromContainer(first->val.binary.data, place);
	if (found == NULL)
		found = member(schema, "items");
	return found == NULL ? &anything : found;
}

/* first_items: how many items of an array a schema speaks of one by one */
static int
first_items(const Schema *schema)
{
	JsonbValue *first = member(schema, "prefixItems");

	return first == NULL ? 0 : JsonContainerSize(first->val.binary.data);
}

/* items_follow: prefixItems and items together */
static bool
items_follow(Comparison *c, const Pair *pair, const Schema *reader,
			  const Schema *writer)
{
	int			n = Max(first_items(reader), first_items(writer));
	bool		good = true;
	int			i;

	for (i = 0; i < n; i++)
		good &= takes(c, pair, psprintf("%s/%d", pair->field, i),
					  item_of(reader, i), item_of(writer, i));
	return takes(c, pair, all_below(pair->field), item_of(reader, n),
				 item_of(writer, n)) && good;
}

/* some_take: whether one of the reader's choices takes a schema */
static bool
some_take(Comparison *c, const Pair *pair, const JsonbValue *choices,
		  const Schema *writer)
{
	SnSchemaErrors *errors = c->errors;
	SnJsonWalk	walk;
	JsonbValue	choice;
	bool		found = false;

	c->errors = NULL;
	sn_json_walk(&walk, choices->val.binary.data);
	while (!found && sn_json_next(&walk, NULL, &choice))
		found = takes(c, pair, pair->field, &choice, writer);
	c->errors = errors;
	return found;
}

/* any_follows: anyOf takes the whole, or each of the writer's choices */
static bool
any_follows(Comparison *c, const Pair *pair, const Schema *reader,
			const Schema *writer)
{
	JsonbValue *choices = member(reader, "anyOf");
	JsonbValue *others = member(writer, "anyOf");
	SnJsonWalk	walk;
	JsonbValue	other;

	if (some_take(c, pair, choices, writer))
		return true;
	if (others == NULL)
		others = member(writer, "oneOf");
	if (others == NULL)
		return differs(c, pair->field, "anyOf",
					   "has no choice that takes what the other schema does");
	sn_json_walk(&walk, others->val.binary.data);
	while (sn_json_next(&walk, NULL, &other))
		if (!some_take(c, pair, choices, &other))
			return differs(c, pair->field, "anyOf",
						   "does not take every choice of the other schema");
	return true;
}

/* all_follow: allOf */
static bool
all_follow(Comparison *c, const Pair *pair, const Schema *reader,
			const Schema *writer)
{
	SnJsonWalk	walk;
	JsonbValue	part;
	bool		good = true;

	sn_json_walk(&walk, member(reader, "allOf")->val.binary.data);
	while (sn_json_next(&walk, NULL, &part))
		good &= takes(c, pair, pair->field, &part, writer);
	return good;
}

/* ref_follows: what the reader's refers to */
static bool
ref_follows(Comparison *c, const Pair *pair, const Schema *reader,
			const Schema *writer)
{
	JsonbValue *ref = member(reader, "$ref");
	const Schema *to = target(c->reader, ref);

	return to == NULL ? unknown(c, pair->field, "$ref") :
		takes(c, pair, pair->field, to, writer);
}

/* A keyword that is a number, or has to be the same */
typedef struct Simple
{
	const char *keyword;
	int			types;			/* that it is about */
	enum
	{
		BOUND, SAME
	}			kind;
	Bound		bound;
	const char *const *with;	/* keywords that change its meaning */
} Simple;

static const char *const contains_with[] = {
	"contains", "minContains", "maxContains", NULL
};
static const char *const if_with[] = {"if", "then", "else", NULL};

static const Simple simple[] = {
	{"minimum", ALL_NUMBERS, BOUND, LEAST},
	{"exclusiveMinimum", ALL_NUMBERS, BOUND, LEAST},
	{"maximum", ALL_NUMBERS, BOUND, MOST},
	{"exclusiveMaximum", ALL_NUMBERS, BOUND, MOST},
	{"multipleOf", ALL_NUMBERS, BOUND, MULTIPLE},
	{"minLength", SN_JSON_STRING, BOUND, LEAST},
	{"maxLength", SN_JSON_STRING, BOUND, MOST},
	{"minItems", SN_JSON_ARRAY, BOUND, LEAST},
	{"maxItems", SN_JSON_ARRAY, BOUND, MOST},
	{"minProperties", SN_JSON_OBJECT, BOUND, LEAST},
	{"maxProperties", SN_JSON_OBJECT, BOUND, MOST},
	{"pattern", SN_JSON_STRING, SAME},
	{"format", SN_JSON_STRING, SAME},
	{"uniqueItems", SN_JSON_ARRAY, SAME},
	{"contains", SN_JSON_ARRAY, SAME, 0, contains_with},
	{"minContains", SN_JSON_ARRAY, SAME, 0, contains_with},
	{"maxContains", SN_JSON_ARRAY, SAME, 0, contains_with},
	{"propertyNames", SN_JSON_OBJECT, SAME},
	{"patternProperties", SN_JSON_OBJECT, SAME},
	{"dependentRequired", SN_JSON_OBJECT, SAME},
	{"dependentSchemas", SN_JSON_OBJECT, SAME},
	{"oneOf", ALL_TYPES, SAME},
	{"not", ALL_TYPES, SAME},
	{"if", ALL_TYPES, SAME, 0, if_with},
	{"then", ALL_TYPES, SAME, 0, if_with},
	{"else", ALL_TYPES, SAME, 0, if_with},
};

/* simple_follows: a keyword of that list, or one that nobody can compare */
static bool
simple_follows(Comparison *c, const char *field, const char *keyword,
			   const Schema *reader, const Schema *writer)
{
	JsonbValue *value = member(reader, keyword);
	JsonbValue *other = member(writer, keyword);
	const Simple *s = NULL;
	int			i;

	for (i = 0; i < lengthof(simple) && s == NULL; i++)
		if (strcmp(simple[i].keyword, keyword) == 0)
			s = &simple[i];
	if (s == NULL)
		return unknown(c, field, keyword);
	if ((types_of(writer) & s->types) == 0)
		return true;
	if (s->kind == BOUND)
		return (other != NULL && follows(s->bound, value, other)) ||
			differs(c, field, keyword,
					"asks for more than the other schema does");
	if (value->type == jbvBool && !value->val.boolean &&
		strcmp(keyword, "uniqueItems") == 0)
		return true;
	return (s->with != NULL ? same_members(reader, writer, s->with) :
			same(value, other)) || unknown(c, field, keyword);
}

/* keyword_follows: one of the reader's schema */
static bool
keyword_follows(Comparison *c, const Pair *pair, const char *keyword,
				const Schema *reader, const Schema *writer)
{
	int			types = types_of(writer);

	if (sn_schema_is_note(keyword))
		return true;
	if (strcmp(keyword, "type") == 0)
		return types_follow(c, pair->field, reader, writer);
	if (strcmp(keyword, "enum") == 0 || strcmp(keyword, "const") == 0)
		return values_follow(c, pair->field, keyword, reader, writer);
	if (strcmp(keyword, "required") == 0)
		return !(types & SN_JSON_OBJECT) ||
			required_follow(c, pair->field, reader, writer);
	if (strcmp(keyword, "properties") == 0)
		return !(types & SN_JSON_OBJECT) ||
			properties_follow(c, pair, reader, writer);
	if (strcmp(keyword, "additionalProperties") == 0)
		return !(types & SN_JSON_OBJECT) ||
			additional_follow(c, pair, reader, writer);
	if (strcmp(keyword, "items") == 0 ||
		(strcmp(keyword, "prefixItems") == 0 &&
		 member(reader, "items") == NULL))
		return !(types & SN_JSON_ARRAY) || items_follow(c, pair, reader, writer);
	if (strcmp(keyword, "prefixItems") == 0)
		return true;			/* with items */
	if (strcmp(keyword, "anyOf") == 0)
		return any_follows(c, pair, reader, writer);
	if (strcmp(keyword, "allOf") == 0)
		return all_follow(c, pair, reader, writer);
	if (strcmp(keyword, "$ref") == 0)
		return ref_follows(c, pair, reader, writer);
	return simple_follows(c, pair->field, keyword, reader, writer);
}

/* is_open: whether a pair is compared further up: it is as it turns out there */
static bool
is_open(const Pair *pair)
{
	const Pair *above;

	for (above = pair->above; above != NULL; above = above->above)
		if (above->reader == pair->reader && above->writer == pair->writer &&
			strcmp(above->field, pair->field) != 0)
			return true;
	return false;
}

/* takes: whether the reader's schema takes all that the writer's lets through */
static bool
takes(Comparison *c, const Pair *above, const char *field,
	  const Schema *reader, const Schema *writer)
{
	Pair		pair = {above, above == NULL ? 1 : above->depth + 1,.field = field};
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	bool		good = true;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	writer = follow(c, writer);
	if (writer->type == jbvBool && !writer->val.boolean)
		return true;
	if (reader->type == jbvBool)
		return reader->val.boolean ||
			differs(c, field, "false", "is not taken, and the other schema lets it through");
	if (same(reader, writer))
		return true;
	pair.reader = reader->val.binary.data;
	pair.writer = writer->type == jbvBinary ? writer->val.binary.data : NULL;
	if (is_open(&pair))
		return true;
	if (pair.depth > DEPTH_MAX || ++c->steps > STEPS_MAX)
		return differs(c, field, "$ref", "is too deep or too much to be compared");
	sn_json_walk(&walk, reader->val.binary.data);
	while (sn_json_next(&walk, &key, &value))
		good &= keyword_follows(c, &pair, pnstrdup(key.name, key.len), reader,
								writer);
	return good;
}

/*
 * sn_schema_takes: whether the reader's schema takes all that the writer's lets
 * through; where not, and where that cannot be told.  Both are schemas that were
 * compiled before.
 */
bool
sn_schema_takes(Jsonb *reader, Jsonb *writer, SnSchemaErrors *errors)
{
	Comparison	c = {&reader->root, &writer->root, errors};
	JsonbValue	r;
	JsonbValue	w;

	errors->count = 0;
	sn_json_root(reader, &r);
	sn_json_root(writer, &w);
	return takes(&c, NULL, "", &r, &w);
}
