/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_embed.c
 *		A schema as a part of a larger document, whose references lead to the same
 *		places as before.
 *
 * A reference is written as a pointer from the top of the larger document, also
 * one by $anchor or $id.  These go away, as does $schema: they would say
 * something about the larger document.  Readers of such documents put what a
 * reference leads to in its place, and what stands beside it is lost; so a
 * reference that is not alone goes under allOf, which means the same.  Readers
 * also take everything for a reference that looks like one.  So values that
 * have a member $ref are left out, which makes the schema take more; and a
 * property of that name comes by a pattern.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"
#include "utils/json.h"

#include "base/sqlstate.h"
#include "registry/schema_build.h"
#include "registry/schema_document.h"

#define EMBED_MAX (192 * 1024 * 1024)	/* bytes of the larger document */

typedef struct Embedding
{
	SnNodes		nodes;			/* with a document of their own, by that */
	const char *base;			/* pointer to the schema */
	StringInfo	out;
} Embedding;

#define REF_PROPERTY "/properties/$ref"
#define REF_PATTERN "^[$]ref$"

static void embed(Embedding *e, const JsonbValue *value);

static int
compare_sources(const void *a, const void *b)
{
	const SnNode *x = *(SnNode *const *) a;
	const SnNode *y = *(SnNode *const *) b;

	return x->source < y->source ? -1 : x->source > y->source;
}

/* put_name: a member's name, after what is there already */
static void
put_name(StringInfo out, const char *name, int len)
{
	char	   *text = pnstrdup(name, len);

	if (out->data[out->len - 1] != '{')
		appendStringInfoString(out, ", ");
	escape_json(out, text);
	appendStringInfoString(out, ": ");
	pfree(text);
}

/* put_data: a value as it is */
static void
put_data(StringInfo out, const JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, value));

	(void) JsonbToCString(out, &json->root, VARSIZE(json));
	pfree(json);
}

/* put_uri: a pointer, or a part of one, as a URI has it */
static void
put_uri(StringInfo out, const char *pointer, int len)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; len > 0; len--, pointer++)
	{
		unsigned char c = *pointer;

		if (c < 0x80 && (isalnum(c) || strchr("-._~!$&'()*+,;=:@/", c) != NULL))
			appendStringInfoChar(out, c);
		else
			appendStringInfo(out, "%%%c%c", hex[c >> 4], hex[c & 15]);
	}
}

/* put_ref: a reference to a schema of the same document */
static void
put_ref(Embedding *e, const SnNode *target)
{
	StringInfoData uri;
	const char *p = target->origin->pointer;
	const char *at;

	if (e->out->len > EMBED_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document would be too large")));
	initStringInfo(&uri);
	appendStringInfoString(&uri, e->base);
	while ((at = strstr(p, REF_PROPERTY)) != NULL)
	{
		const char *behind = at + strlen(REF_PROPERTY);
		bool		is_property = *behind == '\0' || *behind == '/';

		put_uri(&uri, p, (is_property ? at : behind) - p);
		if (is_property)
			put_uri(&uri, "/patternProperties/" REF_PATTERN,
					strlen("/patternProperties/" REF_PATTERN));
		p = behind;
	}
	put_uri(&uri, p, strlen(p));
	appendStringInfoString(e->out, "{\"$ref\": ");
	escape_json(e->out, uri.data);
	appendStringInfoChar(e->out, '}');
	pfree(uri.data);
}

/* embed_list: schemas under a keyword; ref: one more, or NULL */
static void
embed_list(Embedding *e, JsonbContainer *list, const SnNode *ref)
{
	SnJsonWalk	walk;
	JsonbValue	item;
	bool		first = true;

	appendStringInfoChar(e->out, '[');
	if (list != NULL)
	{
		sn_json_walk(&walk, list);
		for (; sn_json_next(&walk, NULL, &item); first = false)
		{
			appendStringInfoString(e->out, first ? "" : ", ");
			embed(e, &item);
		}
	}
	if (ref != NULL)
	{
		appendStringInfoString(e->out, first ? "" : ", ");
		put_ref(e, ref);
	}
	appendStringInfoChar(e->out, ']');
}

/* ref_property: the schema of a property that is called $ref, or NULL */
static JsonbValue *
ref_property(const SnNode *node)
{
	JsonbValue *properties = getKeyJsonValueFromContainer(node->source,
														  "properties", 10, NULL);

	return properties == NULL ? NULL :
		getKeyJsonValueFromContainer(properties->val.binary.data, "$ref", 4,
									 NULL);
}

/* embed_map: schemas that have names; by_pattern: one more, or NULL */
static void
embed_map(Embedding *e, JsonbContainer *map, const JsonbValue *by_pattern)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	appendStringInfoChar(e->out, '{');
	if (map != NULL)
	{
		sn_json_walk(&walk, map);
		while (sn_json_next(&walk, &key, &value))
		{
			if (key.len == 4 && memcmp(key.name, "$ref", 4) == 0)
				continue;
			put_name(e->out, key.name, key.len);
			embed(e, &value);
		}
	}
	if (by_pattern != NULL)
	{
		put_name(e->out, REF_PATTERN, strlen(REF_PATTERN));
		embed(e, by_pattern);
	}
	appendStringInfoChar(e->out, '}');
}

/* embed_member: a keyword with its value */
static void
embed_member(Embedding *e, const SnNode *node, const SnJsonKey *key,
			 const JsonbValue *value)
{
	static const char *const gone[] = {"$anchor", "$id", "$ref", "$schema"};
	const SnKeyword *keyword = sn_schema_keyword(key);
	SnKeywordValue kind = keyword == NULL ? SN_VALUE_DATA :
		sn_keyword_value(keyword);
	int			i;

	for (i = 0; keyword != NULL && i < lengthof(gone); i++)
		if (strcmp(keyword->name, gone[i]) == 0)
			return;
	if (kind == SN_VALUE_DATA && sn_document_has_ref(value))
		return;
	put_name(e->out, key->name, key->len);
	if (kind == SN_VALUE_SCHEMA)
		embed(e, value);
	else if (kind == SN_VALUE_LIST)
		embed_list(e, value->val.binary.data,
				   strcmp(keyword->name, "allOf") == 0 ? node->branches->ref : NULL);
	else if (kind == SN_VALUE_MAP)
		embed_map(e, value->val.binary.data,
				  strcmp(keyword->name, "patternProperties") == 0 ?
				  ref_property(node) : NULL);
	else
		put_data(e->out, value);
}

/* embed: one schema with all that are in it */
static void
embed(Embedding *e, const JsonbValue *value)
{
	SnNode		wanted = {0};
	SnNode	   *key_node = &wanted;
	SnNode	   *node;
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	member;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvBool)
	{
		appendStringInfoString(e->out, value->val.boolean ? "true" : "false");
		return;
	}
	wanted.source = value->val.binary.data;
	node = *(SnNode **) bsearch(&key_node, e->nodes.nodes, e->nodes.n,
								sizeof(SnNode *), compare_sources);
	sn_json_walk(&walk, node->source);
	if (node->branches->ref != NULL && walk.count == 1)
	{
		put_ref(e, node->branches->ref);
		return;
	}
	appendStringInfoChar(e->out, '{');
	while (sn_json_next(&walk, &key, &member))
		embed_member(e, node, &key, &member);
	if (node->branches->ref != NULL && node->branches->all_of.n == 0)
	{
		put_name(e->out, "allOf", 5);
		embed_list(e, NULL, node->branches->ref);
	}
	if (ref_property(node) != NULL &&
		getKeyJsonValueFromContainer(node->source, "patternProperties", 17,
									 NULL) == NULL)
	{
		put_name(e->out, "patternProperties", 17);
		embed_map(e, NULL, ref_property(node));
	}
	appendStringInfoChar(e->out, '}');
}

/*
 * sn_schema_embed: a schema as JSON text, for the place in a larger document that
 * a URI fragment names, such as "#/schemas/one"
 */
void
sn_schema_embed(Jsonb *document, const char *base, StringInfo out)
{
	Embedding	e = {.base = base,.out = out};
	SnSchemaBuild build;
	SnSchema   *schema = sn_schema_build(document, &build);
	JsonbValue	top;
	int			i;

	e.nodes.nodes = palloc(sizeof(SnNode *) * build.nodes.n);
	for (i = 0; i < build.nodes.n; i++)
		if (build.nodes.nodes[i]->source != NULL)
			e.nodes.nodes[e.nodes.n++] = build.nodes.nodes[i];
	qsort(e.nodes.nodes, e.nodes.n, sizeof(SnNode *), compare_sources);
	sn_json_root(schema->document, &top);
	embed(&e, &top);
	pfree(e.nodes.nodes);
	sn_schema_end_build(&build);
	sn_schema_free(schema);
}
