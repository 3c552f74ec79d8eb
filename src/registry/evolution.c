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
#include "registry/schema_document.h"

#define DEPTH_MAX	64
#define STEPS_MAX	6400000
#define STEPS_OF_KEYWORD 16
#define STEPS_OF_COMPARED(bytes) (1 + (bytes) / 64)
#define STEPS_OF_WRITTEN(bytes) (1 + (bytes) / 4)

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
	int64		steps;
} Comparison;

/* Values of an enum and the like, in the order of sn_json_compare() */
typedef struct Values
{
	int			n;
	JsonbValue *values;
} Values;

static bool takes(Comparison *c, const Pair *above, const char *field,
				  const SnDocument *reader, const SnDocument *writer);

static const SnDocument anything = {.type = jbvBool,.val.boolean = true};

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

/* spend: count what is done, so that no pair of schemas is compared for long */
static void
spend(Comparison *c, Size steps)
{
	CHECK_FOR_INTERRUPTS();
	c->steps += steps;
}

/* is_spent: whether that is too much; what has not been looked at differs */
static bool
is_spent(const Comparison *c)
{
	return c->steps > STEPS_MAX;
}

/* too_much: say so */
static bool
too_much(Comparison *c, const char *field, const char *keyword)
{
	return differs(c, field, keyword, "is too deep or too much to be compared");
}

/* below: the pointer of a field inside another */
static char *
below(Comparison *c, const char *field, const SnJsonKey *key)
{
	spend(c, STEPS_OF_WRITTEN(strlen(field) + key->len));
	return sn_schema_pointer(field, key->name, key->len);
}

/* all_below: the pointer of all fields inside another */
static char *
all_below(Comparison *c, const char *field)
{
	spend(c, STEPS_OF_WRITTEN(strlen(field)));
	return psprintf("%s/*", field);
}

/* item_below: the pointer of an item of an array */
static char *
item_below(Comparison *c, const char *field, int place)
{
	spend(c, STEPS_OF_WRITTEN(strlen(field)));
	return psprintf("%s/%d", field, place);
}

/* json_bytes: what a comparison of a value may have to look at */
static Size
json_bytes(const JsonbValue *value)
{
	return value->type == jbvBinary ? value->val.binary.len :
		value->type == jbvString ? value->val.string.len : 0;
}

/* same: whether two values, or the lack of them, mean the same */
static bool
same(Comparison *c, const JsonbValue *a, const JsonbValue *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	spend(c, STEPS_OF_COMPARED(Min(json_bytes(a), json_bytes(b))));
	return sn_json_compare(a, b) == 0 && !sn_document_has_ref(a);
}

/* same_members: whether two schemas have the same under some keywords */
static bool
same_members(Comparison *c, const SnDocument *a, const SnDocument *b,
			 const char *const *keywords)
{
	for (; *keywords != NULL; keywords++)
		if (!same(c, sn_document_member(a, *keywords),
				  sn_document_member(b, *keywords)))
			return false;
	return true;
}

/* lead: where a reference of a schema leads in its document, or NULL */
static JsonbValue *
lead(Comparison *c, JsonbContainer *document, const SnDocument *schema)
{
	JsonbValue *ref = sn_document_member(schema, "$ref");

	spend(c, STEPS_OF_WRITTEN(json_bytes(ref)));
	return sn_document_target(document, ref);
}

/* only_ref: whether a schema asks for nothing but its $ref */
static bool
only_ref(Comparison *c, const SnDocument *schema)
{
	if (sn_document_member(schema, "$ref") == NULL)
		return false;
	spend(c, JsonContainerSize(schema->val.binary.data) * STEPS_OF_KEYWORD);
	return sn_document_only_ref(schema);
}

/* follow: what the writer's schema says once its references are followed */
static const SnDocument *
follow(Comparison *c, const SnDocument *writer)
{
	int			i;

	for (i = 0; i < DEPTH_MAX && only_ref(c, writer); i++)
	{
		const SnDocument *next = lead(c, c->writer, writer);

		if (next == NULL)
			return &anything;
		writer = next;
	}
	return writer;
}

/* compare_values: for qsort_arg() and bsearch_arg() */
static int
compare_values(const void *a, const void *b, void *comparison)
{
	spend(comparison, STEPS_OF_COMPARED(Min(json_bytes(a), json_bytes(b))));
	return sn_json_compare(a, b);
}

/* values_of: what a list of a schema has, or const; nothing without either */
static Values
values_of(Comparison *c, const SnDocument *schema, const char *keyword)
{
	JsonbValue *value = sn_document_member(schema, keyword);
	Values		result = {0};
	SnJsonWalk	walk;

	if (value == NULL)
		return result;
	if (strcmp(keyword, "const") == 0)
		return (Values) {1, value};
	sn_json_walk(&walk, value->val.binary.data);
	result.values = palloc(sizeof(JsonbValue) * Max(walk.count, 1));
	while (sn_json_next(&walk, NULL, &result.values[result.n]))
		result.n++;
	qsort_arg(result.values, result.n, sizeof(JsonbValue), compare_values, c);
	return result;
}

/* has_value: whether one is among them */
static bool
has_value(Comparison *c, const Values *values, const JsonbValue *value)
{
	return bsearch_arg(value, values->values, values->n, sizeof(JsonbValue),
					   compare_values, c) != NULL;
}

/* values_follow: enum or const of the reader's has all values of the writer's */
static bool
values_follow(Comparison *c, const char *field, const char *keyword,
			   const SnDocument *reader, const SnDocument *writer)
{
	JsonbValue *only = sn_document_member(writer, "const");
	JsonbValue *values = sn_document_member(writer, "enum");
	Values		mine = values_of(c, reader, keyword);
	SnJsonWalk	walk;
	JsonbValue	one;

	if (only != NULL)
		return has_value(c, &mine, only) ||
			differs(c, field, keyword, "no longer has the value that there was");
	if (values == NULL)
		return differs(c, field, keyword,
					   "limits values that had no such limit");
	sn_json_walk(&walk, values->val.binary.data);
	while (sn_json_next(&walk, NULL, &one))
		if (!has_value(c, &mine, &one))
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
		return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
												 DirectFunctionCall2(numeric_mod, w, r),
												 DirectFunctionCall1(int4_numeric, Int32GetDatum(0)))) == 0;
	order = DatumGetInt32(DirectFunctionCall2(numeric_cmp, w, r));
	return bound == LEAST ? order >= 0 : order <= 0;
}

/* types_follow: the reader's has all types of the writer's */
static bool
types_follow(Comparison *c, const char *field, const SnDocument *reader,
			 const SnDocument *writer)
{
	return (sn_document_types(writer) & ~sn_document_types(reader)) == 0 ||
		differs(c, field, "type", "does not take all types of the other schema");
}

/* required_follow: what the reader's asks for is always there */
static bool
required_follow(Comparison *c, const char *field, const SnDocument *reader,
				 const SnDocument *writer)
{
	Values		theirs = values_of(c, writer, "required");
	SnJsonWalk	walk;
	JsonbValue	name;
	bool		good = true;

	sn_json_walk(&walk, sn_document_member(reader, "required")->val.binary.data);
	while (sn_json_next(&walk, NULL, &name))
	{
		SnJsonKey	key = {name.val.string.val, name.val.string.len};

		if (is_spent(c))
			return too_much(c, field, "required");
		if (!has_value(c, &theirs, &name))
			good = differs(c, below(c, field, &key), "required",
						   "is required, and may be missing by the other schema");
	}
	return good;
}

/* property_of: what a schema says of a property; more than that may hold */
static const SnDocument *
property_of(const SnDocument *schema, const SnJsonKey *key)
{
	const SnDocument *found = sn_document_member_of(schema, "properties", key);

	if (found == NULL && sn_document_member(schema, "patternProperties") == NULL)
		found = sn_document_member(schema, "additionalProperties");
	return found == NULL ? &anything : found;
}

/* properties_follow: each that the reader's names */
static bool
properties_follow(Comparison *c, const Pair *pair, const SnDocument *reader,
				   const SnDocument *writer)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	inner;
	bool		good = true;

	sn_json_walk(&walk, sn_document_member(reader, "properties")->val.binary.data);
	while (sn_json_next(&walk, &key, &inner))
		good &= takes(c, pair, below(c, pair->field, &key), &inner,
					  property_of(writer, &key));
	return good;
}

/*
 * additional_follow: what the reader's says of all properties that it does not
 * name
 */
static bool
additional_follow(Comparison *c, const Pair *pair, const SnDocument *reader,
				   const SnDocument *writer)
{
	JsonbValue *additional = sn_document_member(reader, "additionalProperties");
	JsonbValue *named = sn_document_member(writer, "properties");
	const SnDocument *other = sn_document_member(writer, "additionalProperties");
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	inner;
	bool		good = true;

	if (additional->type == jbvBool && additional->val.boolean)
		return true;
	if (!same(c, sn_document_member(reader, "patternProperties"),
			  sn_document_member(writer, "patternProperties")))
		return unknown(c, pair->field, "patternProperties");
	if (named != NULL)
	{
		sn_json_walk(&walk, named->val.binary.data);
		while (sn_json_next(&walk, &key, &inner))
			if (sn_document_member_of(reader, "properties", &key) == NULL)
				good &= takes(c, pair, below(c, pair->field, &key), additional,
							  &inner);
	}
	return takes(c, pair, all_below(c, pair->field), additional,
				 other == NULL ? &anything : other) && good;
}

/* item_of: what a schema says of an item of an array, by its place */
static const SnDocument *
item_of(const SnDocument *schema, int place)
{
	JsonbValue *first = sn_document_member(schema, "prefixItems");
	const SnDocument *found = NULL;

	if (first != NULL)
		found = getIthJsonbValueFromContainer(first->val.binary.data, place);
	if (found == NULL)
		found = sn_document_member(schema, "items");
	return found == NULL ? &anything : found;
}

/* first_items: how many items of an array a schema speaks of one by one */
static int
first_items(const SnDocument *schema)
{
	JsonbValue *first = sn_document_member(schema, "prefixItems");

	return first == NULL ? 0 : JsonContainerSize(first->val.binary.data);
}

/* items_follow: prefixItems and items together */
static bool
items_follow(Comparison *c, const Pair *pair, const SnDocument *reader,
			  const SnDocument *writer)
{
	int			n = Max(first_items(reader), first_items(writer));
	bool		good = true;
	int			i;

	for (i = 0; i < n; i++)
		good &= takes(c, pair, item_below(c, pair->field, i),
					  item_of(reader, i), item_of(writer, i));
	return takes(c, pair, all_below(c, pair->field), item_of(reader, n),
				 item_of(writer, n)) && good;
}

/* some_take: whether one of the reader's choices takes a schema */
static bool
some_take(Comparison *c, const Pair *pair, const JsonbValue *choices,
		  const SnDocument *writer)
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
any_follows(Comparison *c, const Pair *pair, const SnDocument *reader,
			const SnDocument *writer)
{
	JsonbValue *choices = sn_document_member(reader, "anyOf");
	JsonbValue *others = sn_document_member(writer, "anyOf");
	SnJsonWalk	walk;
	JsonbValue	other;

	if (some_take(c, pair, choices, writer))
		return true;
	if (others == NULL)
		others = sn_document_member(writer, "oneOf");
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
all_follow(Comparison *c, const Pair *pair, const SnDocument *reader,
			const SnDocument *writer)
{
	SnJsonWalk	walk;
	JsonbValue	part;
	bool		good = true;

	sn_json_walk(&walk, sn_document_member(reader, "allOf")->val.binary.data);
	while (sn_json_next(&walk, NULL, &part))
		good &= takes(c, pair, pair->field, &part, writer);
	return good;
}

/* ref_follows: what the reader's refers to */
static bool
ref_follows(Comparison *c, const Pair *pair, const SnDocument *reader,
			const SnDocument *writer)
{
	const SnDocument *to = lead(c, c->reader, reader);

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
	{"minimum", SN_ALL_NUMBERS, BOUND, LEAST},
	{"exclusiveMinimum", SN_ALL_NUMBERS, BOUND, LEAST},
	{"maximum", SN_ALL_NUMBERS, BOUND, MOST},
	{"exclusiveMaximum", SN_ALL_NUMBERS, BOUND, MOST},
	{"multipleOf", SN_ALL_NUMBERS, BOUND, MULTIPLE},
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
	{"oneOf", SN_ALL_TYPES, SAME},
	{"not", SN_ALL_TYPES, SAME},
	{"if", SN_ALL_TYPES, SAME, 0, if_with},
	{"then", SN_ALL_TYPES, SAME, 0, if_with},
	{"else", SN_ALL_TYPES, SAME, 0, if_with},
};

/* simple_follows: a keyword of that list, or one that nobody can compare */
static bool
simple_follows(Comparison *c, const char *field, const char *keyword,
			   const SnDocument *reader, const SnDocument *writer)
{
	JsonbValue *value = sn_document_member(reader, keyword);
	JsonbValue *other = sn_document_member(writer, keyword);
	const Simple *s = NULL;
	int			i;

	for (i = 0; i < lengthof(simple) && s == NULL; i++)
		if (strcmp(simple[i].keyword, keyword) == 0)
			s = &simple[i];
	if (s == NULL)
		return unknown(c, field, keyword);
	if ((sn_document_types(writer) & s->types) == 0)
		return true;
	if (s->kind == BOUND)
		return (other != NULL && follows(s->bound, value, other)) ||
			differs(c, field, keyword,
					"asks for more than the other schema does");
	if (value->type == jbvBool && !value->val.boolean &&
		strcmp(keyword, "uniqueItems") == 0)
		return true;
	return (s->with != NULL ? same_members(c, reader, writer, s->with) :
			same(c, value, other)) || unknown(c, field, keyword);
}

/* keyword_follows: one of the reader's schema */
static bool
keyword_follows(Comparison *c, const Pair *pair, const char *keyword,
				const SnDocument *reader, const SnDocument *writer)
{
	int			types = sn_document_types(writer);

	spend(c, STEPS_OF_KEYWORD);
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
		 sn_document_member(reader, "items") == NULL))
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
	  const SnDocument *reader, const SnDocument *writer)
{
	Pair		pair = {above, above == NULL ? 1 : above->depth + 1,.field = field};
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	bool		good = true;

	check_stack_depth();
	spend(c, STEPS_OF_KEYWORD);
	writer = follow(c, writer);
	if (writer->type == jbvBool && !writer->val.boolean)
		return true;
	if (reader->type == jbvBool)
		return reader->val.boolean ||
			differs(c, field, "false", "is not taken, and the other schema lets it through");
	if (same(c, reader, writer))
		return true;
	pair.reader = reader->val.binary.data;
	pair.writer = writer->type == jbvBinary ? writer->val.binary.data : NULL;
	if (is_open(&pair))
		return true;
	if (pair.depth > DEPTH_MAX || is_spent(c))
		return too_much(c, field, "$ref");
	sn_json_walk(&walk, reader->val.binary.data);
	while (sn_json_next(&walk, &key, &value))
	{
		spend(c, STEPS_OF_WRITTEN(key.len));
		good &= keyword_follows(c, &pair, pnstrdup(key.name, key.len), reader,
								writer);
	}
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
