/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_compile.c
 *		From a JSON Schema document to nodes that can be run.
 *
 * Each schema of the document becomes a node.  What its keywords mean stands in
 * schema_keyword.c, what its references mean in schema_ref.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/sqlstate.h"
#include "registry/schema_build.h"

/* sn_schema_refuse: SN422 for a document that is no schema, or asks for too much */
void
sn_schema_refuse(const char *pointer, const char *keyword, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("the JSON Schema cannot be used"),
			 errdetail("At \"%s\": \"%s\" %s.", pointer, keyword, why)));
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

/* part_of: the part of a node that a keyword speaks of, made when it is not there */
static char *
part_of(SnNode *node, SnNodePart part)
{
	switch (part)
	{
		case SN_PART_NUMBER:
			if (node->number == NULL)
				node->number = palloc0(sizeof(SnNumberRule));
			return (char *) node->number;
		case SN_PART_STRING:
			if (node->string == NULL)
			{
				node->string = palloc0(sizeof(SnStringRule));
				node->string->max_length = -1;
			}
			return (char *) node->string;
		case SN_PART_ARRAY:
			if (node->array == NULL)
			{
				node->array = palloc0(sizeof(SnArrayRule));
				node->array->min_contains = 1;
				node->array->max_contains = node->array->max_items = -1;
			}
			return (char *) node->array;
		case SN_PART_OBJECT:
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
compile_keyword(SnSchemaBuild *build, SnNode *node, const SnJsonKey *key,
				const JsonbValue *value)
{
	const SnKeyword *keyword = sn_schema_keyword(key);
	SnKeywordPlace		place = {build, node, NULL, NULL, value};

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
add_node(SnSchemaBuild *build, const char *pointer, const char *keyword)
{
	SnNode	   *node = palloc0(sizeof(SnNode));

	node->pointer = pointer;
	node->keyword = keyword;
	node->types = SN_JSON_ANY;
	node->nvalues = -1;
	if (build->nnodes == build->room)
	{
		build->room = build->room == 0 ? 16 : build->room * 2;
		build->nodes = build->nodes == NULL ?
			palloc(sizeof(SnNode *) * build->room) :
			repalloc(build->nodes, sizeof(SnNode *) * build->room);
	}
	build->nodes[build->nnodes++] = node;
	return node;
}

/* sn_schema_build_node: one schema of the document, with all that are in it */
SnNode *
sn_schema_build_node(SnSchemaBuild *build, const JsonbValue *value, const char *pointer,
			 const char *keyword)
{
	SnNode	   *node = add_node(build, pointer, keyword);
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
	node->source = value->val.binary.data;
	sn_json_walk(&walk, value->val.binary.data);
	while (sn_json_next(&walk, &key, &member))
		compile_keyword(build, node, &key, &member);
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
	SnSchemaBuild	build = {0};
	JsonbValue	top;

	schema->document = palloc(VARSIZE(document));
	memcpy(schema->document, document, VARSIZE(document));
	sn_json_root(schema->document, &top);
	schema->root = sn_schema_build_node(&build, &top, "", "schema");
	schema->nodes = (SnNodes) {build.nnodes, build.nodes};
	sn_schema_resolve(schema, build.id);
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
