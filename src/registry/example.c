/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * example.c
 *		A value that a schema takes, made of the schema.
 *
 * A value has to match a list of schemas: the one that is asked for, and all
 * that it refers to or has under allOf.  anyOf, oneOf, if and dependentSchemas
 * leave a choice.  Each choice is tried, up to a number, and what is made is
 * checked by the validator itself.  So what comes out is always valid; but
 * there may come out nothing for a schema that does have values.  Time is
 * bounded: values that are begun are counted, and so are the steps of all
 * checks together.
 *
 * The value is made as text.  What was begun in vain is cut off again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/sqlstate.h"
#include "registry/example_make.h"

#define DEPTH_MAX 24
#define MEANT_DEPTH 4
#define TRIES_MAX 5000
#define STEPS_MAX 20000000
#define VARIANTS_MAX 64			/* choices of one value */
#define RULES_MAX 1000			/* schemas that speak of one value */
#define GIVEN_MAX 20			/* values of an enum that are tried */
#define OPTIONAL_MAX 100
#define SIZE_MAX_ (64 * 1024)	/* bytes, looked at when a value is begun */

/* Which choice is made where there is one: a number, digit by digit */
typedef struct Variant
{
	int			number;			/* what is left of it */
	int			count;			/* how many there are, as far as is known */
} Variant;

/* sn_rules_add: one more schema that the value has to match */
void
sn_rules_add(SnRules *rules, const SnNode *node)
{
	if (rules->n == rules->room)
	{
		rules->room = rules->room == 0 ? 4 : rules->room * 2;
		rules->nodes = rules->nodes == NULL ?
			palloc(sizeof(SnNode *) * rules->room) :
			repalloc(rules->nodes, sizeof(SnNode *) * rules->room);
	}
	rules->nodes[rules->n++] = node;
}

/* take_choice: one of n */
static int
take_choice(Variant *variant, int n)
{
	int			chosen = variant->number % n;

	variant->number /= n;
	variant->count = Min(variant->count, VARIANTS_MAX) * Min(n, VARIANTS_MAX);
	return chosen;
}

static void expand(SnMaking *making, SnRules *rules, const SnNode *node,
				   Variant *variant);

static void
expand_choice(SnMaking *making, SnRules *rules, const SnNodes *nodes,
			  Variant *variant)
{
	if (nodes->n > 0)
		expand(making, rules, nodes->nodes[take_choice(variant, nodes->n)],
			   variant);
}

/* has_rule: whether a schema is among the rules already */
static bool
has_rule(SnMaking *making, const SnRules *rules, const SnNode *node)
{
	int			i;

	sn_schema_spend(&making->check, 1 + rules->n);
	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i] == node)
			return true;
	return false;
}

/* expand: a schema and what else speaks of the same value then */
static void
expand(SnMaking *making, SnRules *rules, const SnNode *node, Variant *variant)
{
	const SnBranches *b = node->branches;
	int			i;

	check_stack_depth();
	if (rules->n == RULES_MAX || has_rule(making, rules, node))
		return;					/* what is missing shows in the check */
	sn_rules_add(rules, node);
	if (b->ref != NULL)
		expand(making, rules, b->ref, variant);
	for (i = 0; i < b->all_of.n; i++)
		expand(making, rules, b->all_of.nodes[i], variant);
	expand_choice(making, rules, &b->any_of, variant);
	expand_choice(making, rules, &b->one_of, variant);
	if (b->if_schema != NULL && take_choice(variant, 2) == 0)
	{
		expand(making, rules, b->if_schema, variant);
		if (b->then_schema != NULL)
			expand(making, rules, b->then_schema, variant);
	}
	else if (b->if_schema != NULL && b->else_schema != NULL)
		expand(making, rules, b->else_schema, variant);
	for (i = 0; node->object != NULL && i < node->object->ndependents; i++)
		if (node->object->dependents[i].node != NULL && take_choice(variant, 2) == 0)
			expand(making, rules, node->object->dependents[i].node, variant);
}

/* sn_example_fits: whether a text is a value that is asked for */
bool
sn_example_fits(SnMaking *making, const SnRules *asked, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(making->scratch);
	Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														  CStringGetDatum(text)));
	SnCheckStep top = {.index = -1};
	JsonbValue	value;
	bool		ok = true;
	int			i;

	sn_json_root(json, &value);
	for (i = 0; ok && i < asked->n; i++)
		ok = sn_check_node(&making->check, asked->nodes[i], &value, &top, NULL);
	MemoryContextSwitchTo(old);
	MemoryContextReset(making->scratch);
	return ok;
}

/* give: a value that the schema has, if it fits */
static bool
give(SnMaking *making, const SnRules *asked, const JsonbValue *value,
	 StringInfo out)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	int			start = out->len;
	bool		ok;

	(void) JsonbToCString(out, &json->root, VARSIZE(json));
	pfree(json);
	ok = out->len <= SIZE_MAX_ &&
		sn_example_fits(making, asked, out->data + start);
	if (!ok)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	return ok;
}

/* give_one_of: const or a value of enum; *found tells whether there is any */
static bool
give_one_of(SnMaking *making, const SnRules *asked, const SnRules *rules,
			StringInfo out, bool *found)
{
	int			i;
	int			j;

	for (i = 0; i < rules->n; i++)
	{
		const SnNode *node = rules->nodes[i];

		*found = *found || node->constant != NULL || node->nvalues >= 0;
		if (node->constant != NULL &&
			give(making, asked, node->constant, out))
			return true;
		for (j = 0; j < Min(node->nvalues, GIVEN_MAX); j++)
			if (give(making, asked,
					 &node->values[(j + making->salt) % node->nvalues], out))
				return true;
	}
	return false;
}

/* give_example: what the author of a schema has given as an example or default */
static bool
give_example(SnMaking *making, const SnRules *asked, const SnRules *rules,
			 StringInfo out)
{
	static const char *const names[] = {"examples", "default"};
	JsonbValue	value;
	int			i;
	int			j;

	for (i = 0; i < rules->n; i++)
	{
		for (j = 0; rules->nodes[i]->source != NULL && j < lengthof(names); j++)
		{
			SnJsonWalk	walk;

			if (getKeyJsonValueFromContainer(rules->nodes[i]->source, names[j],
											 strlen(names[j]), &value) == NULL)
				continue;
			if (j == 0)
			{
				sn_json_walk(&walk, value.val.binary.data);
				if (!sn_json_next(&walk, NULL, &value))
					continue;
			}
			if (give(making, asked, &value, out))
				return true;
		}
	}
	return false;
}

/* make_of_type: a value of one type */
static bool
make_of_type(SnMaking *making, const SnMade *made, const SnRules *asked,
			 int type, bool lean, StringInfo out)
{
	int			start = out->len;

	switch (type)
	{
		case SN_JSON_OBJECT:
			return sn_example_object(making, made, lean, out) &&
				sn_example_fits(making, asked, out->data + start);
		case SN_JSON_ARRAY:
			return sn_example_array(making, made, lean, out) &&
				sn_example_fits(making, asked, out->data + start);
		case SN_JSON_STRING:
			return sn_example_string(making, asked, made->rules, out);
		case SN_JSON_INTEGER:
		case SN_JSON_NUMBER:
			return sn_example_number(making, asked, made->rules,
									 type == SN_JSON_INTEGER, out);
		case SN_JSON_BOOLEAN:
			appendStringInfoString(out, making->salt % 2 == 0 ? "true" : "false");
			return sn_example_fits(making, asked, out->data + start);
		default:
			appendStringInfoString(out, "null");
			return sn_example_fits(making, asked, out->data + start);
	}
}

/* allowed_types: what all rules let through; an integer is a type beside number */
static int
allowed_types(const SnRules *rules, int types)
{
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		int			one = rules->nodes[i]->never ? 0 : rules->nodes[i]->types;

		if ((one & SN_JSON_NUMBER) != 0)
			one |= SN_JSON_INTEGER;
		types &= one;
	}
	return types;
}

/* meant_types: those that the rules have something to say about */
static int
meant_types(const SnRules *rules)
{
	int			types = 0;
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		types |= rules->nodes[i]->object != NULL ? SN_JSON_OBJECT : 0;
		types |= rules->nodes[i]->array != NULL ? SN_JSON_ARRAY : 0;
		types |= rules->nodes[i]->string != NULL ? SN_JSON_STRING : 0;
		types |= rules->nodes[i]->number != NULL ?
			SN_JSON_NUMBER | SN_JSON_INTEGER : 0;
	}
	return types;
}

/* make_variant: a value for one way to choose */
static bool
make_variant(SnMaking *making, const SnMade *made, const SnRules *asked,
			 int types, bool lean, StringInfo out)
{
	static const int order[] = {
		SN_JSON_OBJECT, SN_JSON_ARRAY, SN_JSON_STRING, SN_JSON_INTEGER,
		SN_JSON_NUMBER, SN_JSON_BOOLEAN, SN_JSON_NULL,
	};
	int			start = out->len;
	int			meant = meant_types(made->rules);
	bool		given = false;
	int			i;

	types = allowed_types(made->rules, types);
	if (types == 0)
		return false;
	if (give_one_of(making, asked, made->rules, out, &given))
		return true;
	if (given)
		return false;
	if (making->salt == 0 && give_example(making, asked, made->rules, out))
		return true;
	for (i = 0; i < 2 * lengthof(order); i++)
	{
		/* first those that are meant, unless that goes on and on; then simple ones */
		bool		first = (i < lengthof(order)) == (made->depth < MEANT_DEPTH);
		int			type = order[(first ? i : i + 2) % lengthof(order)];

		if ((types & type) == 0 || ((meant & type) != 0) != first)
			continue;
		if (make_of_type(making, made, asked, type, lean, out))
			return true;
		out->len = start;
		out->data[start] = '\0';
	}
	return false;
}

/*
 * sn_example_make: a value of one of these types that matches all that is asked.
 * False: none was found, and out is as it was.
 */
bool
sn_example_make(SnMaking *making, const SnMade *around, const SnRules *asked,
				int types, StringInfo out)
{
	int			start = out->len;
	int			count = 1;
	int			number;
	int			i;

	check_stack_depth();
	if ((around != NULL && around->depth == DEPTH_MAX) || start > SIZE_MAX_)
		return false;
	for (number = 0; number < Min(count, VARIANTS_MAX); number++)
	{
		SnRules		rules = {0};
		SnMade		made = {around, &rules, around == NULL ? 0 : around->depth + 1};
		Variant		variant = {number, 1};
		bool		lean;

		CHECK_FOR_INTERRUPTS();
		if (making->tries-- <= 0)
			return false;
		for (i = 0; i < asked->n; i++)
			expand(making, &rules, asked->nodes[i], &variant);
		lean = take_choice(&variant, 2) == 1;
		count = Max(count, variant.count);
		if (make_variant(making, &made, asked, types, lean, out))
			return true;
		if (rules.nodes != NULL)
			pfree(rules.nodes);
		out->len = start;
		out->data[start] = '\0';
	}
	return false;
}

/* try_example: an object that the schema takes, or NULL */
static Jsonb *
try_example(const SnSchema *schema)
{
	SnMaking	making = {.check = {NULL, STEPS_MAX, STEPS_MAX},.tries = TRIES_MAX,
	.optional = OPTIONAL_MAX};
	SnRules		asked = {0};
	StringInfoData out;

	making.scratch = AllocSetContextCreate(CurrentMemoryContext,
										   "SentinAI example check",
										   ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&out);
	sn_rules_add(&asked, schema->root);
	if (!sn_example_make(&making, NULL, &asked, SN_JSON_OBJECT, &out))
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(out.data)));
}

/*
 * sn_schema_example: an object that the schema takes, made of it; or NULL, when
 * none was found in bounded time.
 */
Jsonb *
sn_schema_example(const SnSchema *schema)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext own = AllocSetContextCreate(cxt, "SentinAI example",
											  ALLOCSET_DEFAULT_SIZES);
	Jsonb	   *volatile example = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(own);
		example = try_example(schema);
		MemoryContextSwitchTo(cxt);
		if (example != NULL)
		{
			Jsonb	   *copy = palloc(VARSIZE(example));

			memcpy(copy, example, VARSIZE(example));
			example = copy;
		}
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* too many steps or levels for a check, or a number beyond what there is */
		if (error->sqlerrcode != ERRCODE_SN_INVALID &&
			error->sqlerrcode != ERRCODE_STATEMENT_TOO_COMPLEX &&
			error->sqlerrcode != ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE)
			ReThrowError(error);
		example = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	MemoryContextDelete(own);
	return example;
}
