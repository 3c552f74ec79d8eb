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

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/sqlstate.h"
#include "registry/schema_build.h"

#define SAID_MAX 1024			/* bytes of a pointer or a name in an error */
#define NOTES_MAX	(32 * 1024 * 1024)	/* bytes */

const SnBranches sn_no_branches = {0};

/* cut_pointer: a pointer that is not too long; it ends before the name that is */
static char *
cut_pointer(const char *pointer)
{
	int			len = strlen(pointer);

	if (len > SAID_MAX)
		for (len = SAID_MAX; len > 0 && pointer[len] != '/'; len--)
			 /* to the end of a name */ ;
	return pnstrdup(pointer, len);
}

/*
 * sn_schema_refuse: SN422 for a document that is no schema, or asks for too much.
 * The detail is an array as that of a value that a schema does not take; its
 * pointer leads into the schema.
 */
void
sn_schema_refuse(const char *pointer, const char *keyword, const char *why)
{
	SnSchemaErrors errors = {.count = 1};
	StringInfoData detail;

	errors.first[0].pointer = cut_pointer(pointer);
	errors.first[0].keyword =
		pnstrdup(keyword, pg_mbcliplen(keyword, strlen(keyword), SAID_MAX));
	errors.first[0].message = unconstify(char *, why);
	initStringInfo(&detail);
	sn_schema_errors_json(&errors, &detail);
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("the JSON Schema cannot be used"),
			 errdetail_internal("%s", detail.data)));
}

/* note_size: a long name with many schemas in it must not take up all memory */
static void
note_size(SnSchemaBuild *build, const char *pointer, Size size)
{
	build->noted += size;
	if (build->noted > NOTES_MAX)
		sn_schema_refuse(pointer, "schema",
						 "stands too deep, or below too long names, for one of so many");
}

/* sn_schema_note: a text with an end that is there while the schema is compiled */
char *
sn_schema_note(SnSchemaBuild *build, const char *text, int len)
{
	MemoryContext old = MemoryContextSwitchTo(build->notes);
	char	   *result = pnstrdup(text, len);

	MemoryContextSwitchTo(old);
	return result;
}

/* sn_schema_below: the pointer of what stands one step further */
const char *
sn_schema_below(SnSchemaBuild *build, const char *pointer, const char *name,
				int len)
{
	MemoryContext old = MemoryContextSwitchTo(build->notes);
	char	   *result;

	note_size(build, pointer, strlen(pointer) + len);
	result = sn_schema_pointer(pointer, name, len);
	MemoryContextSwitchTo(old);
	return result;
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
		case SN_PART_BRANCHES:
			if (node->branches == &sn_no_branches)
				node->branches = palloc0(sizeof(SnBranches));
			return (char *) unconstify(SnBranches *, node->branches);
		case SN_PART_SOURCE:
		case SN_PART_NOTE:
			return (char *) node->origin;
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
	const char *pointer = node->origin->pointer;

	if (keyword == NULL)
	{
		if (key->len >= 2 && memcmp(key->name, "x-", 2) == 0)
			return;
		sn_schema_refuse(sn_schema_pointer(pointer, key->name, key->len),
						 pnstrdup(key->name, key->len),
						 "is no keyword that is supported");
	}
	place.keyword = keyword->name;
	place.pointer = sn_schema_below(build, pointer, keyword->name,
									strlen(keyword->name));
	if (keyword->compile != NULL)
		keyword->compile(&place,
						 part_of(node, keyword->part) + keyword->offset);
}

/* add_node: an empty one, which everything matches */
static SnNode *
add_node(SnSchemaBuild *build, const char *pointer, const char *keyword)
{
	SnNode	   *node = palloc0(sizeof(SnNode));
	SnNodes    *all = &build->nodes;

	node->keyword = keyword;
	node->types = SN_JSON_ANY;
	node->nvalues = -1;
	node->branches = &sn_no_branches;
	node->origin = MemoryContextAllocZero(build->notes, sizeof(SnNodeOrigin));
	node->origin->pointer = pointer;
	if (all->n == build->room)
	{
		build->room = build->room == 0 ? 16 : build->room * 2;
		all->nodes = all->nodes == NULL ?
			MemoryContextAlloc(build->notes, sizeof(SnNode *) * build->room) :
			repalloc(all->nodes, sizeof(SnNode *) * build->room);
	}
	all->nodes[all->n++] = node;
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
		sn_schema_refuse(psprintf("%s/pattern", pointer), "pattern",
						 psprintf("looks ahead or behind, which needs a maxLength of at most %d beside it",
								  SN_PATTERN_LOOK_MAX));
	return node;
}

/*
 * sn_schema_build: the nodes of a document, in a context of their own, with what
 * the compiler knows of them; sn_schema_end_build() has to follow
 */
SnSchema *
sn_schema_build(Jsonb *document, SnSchemaBuild *build)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext,
											  "SentinAI JSON Schema",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	SnSchema   *schema = palloc0(sizeof(SnSchema));
	JsonbValue	top;

	memset(build, 0, sizeof(SnSchemaBuild));
	build->notes = AllocSetContextCreate(own, "SentinAI JSON Schema notes",
										 ALLOCSET_DEFAULT_SIZES);
	schema->document = palloc(VARSIZE(document));
	memcpy(schema->document, document, VARSIZE(document));
	sn_json_root(schema->document, &top);
	schema->root = sn_schema_build_node(build, &top, "", "schema");
	sn_schema_resolve(&build->nodes, build->id);
	MemoryContextSwitchTo(old);
	return schema;
}

/* sn_schema_end_build: all nodes are as they will be, and nothing noted is needed */
void
sn_schema_end_build(SnSchemaBuild *build)
{
	int			i;

	for (i = 0; i < build->nodes.n; i++)
	{
		SnNode	   *node = build->nodes.nodes[i];

		node->is_plain = node->branches == &sn_no_branches &&
			node->nvalues < 0 && node->constant == NULL;
		node->origin = NULL;
	}
	MemoryContextDelete(build->notes);
}

/*
 * sn_schema_compile: a document as something that sn_schema_check() can run.
 * It lives in a child of cxt and as long as that.  SN422: it is no schema of
 * draft 2020-12, or uses what is not supported.
 */
SnSchema *
sn_schema_compile(Jsonb *document, MemoryContext cxt)
{
	SnSchemaBuild build;
	SnSchema   *schema = sn_schema_build(document, &build);
	MemoryContext own = GetMemoryChunkContext(schema);

	sn_schema_end_build(&build);
	schema->size = MemoryContextMemAllocated(own, true) +
		(Size) build.patterns * SN_PATTERN_BYTES;
	MemoryContextSetParent(own, cxt);	/* not before: an error leaves nothing */
	return schema;
}

/* sn_schema_size: how much memory a compiled schema takes, about */
Size
sn_schema_size(const SnSchema *schema)
{
	return schema->size;
}

/* sn_schema_free: a compiled schema and all that it has */
void
sn_schema_free(SnSchema *schema)
{
	MemoryContextDelete(GetMemoryChunkContext(schema));
}
