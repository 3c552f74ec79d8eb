/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_ref.c
 *		What $ref means: edges between the nodes of one document.
 *
 * A reference can name a place in the same document, by JSON Pointer or by
 * $anchor.  Nothing is ever fetched.  A schema that refers to itself may do so
 * for a part of the value only, because the check of the same value would
 * never end.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/text.h"
#include "registry/schema_node.h"

typedef enum Mark
{
	UNSEEN, OPEN, DONE
} Mark;

static int
compare_pointers(const void *a, const void *b)
{
	return strcmp((*(SnNode *const *) a)->pointer,
				  (*(SnNode *const *) b)->pointer);
}

static int
compare_anchors(const void *a, const void *b)
{
	return strcmp((*(SnNode *const *) a)->anchor,
				  (*(SnNode *const *) b)->anchor);
}

/* decode_fragment: a URI's fragment without its percent signs */
static char *
decode_fragment(const char *text)
{
	char	   *result = palloc(strlen(text) + 1);
	char	   *out = result;

	while (*text != '\0')
	{
		if (*text == '%' && sn_hex_value(text[1]) >= 0 && sn_hex_value(text[2]) >= 0)
		{
			*out++ = (char) (sn_hex_value(text[1]) << 4 | sn_hex_value(text[2]));
			text += 3;
		}
		else
			*out++ = *text++;
	}
	*out = '\0';
	return result;
}

/* take_anchors: the nodes that have one, sorted by it */
static SnNodes
take_anchors(const SnSchema *schema)
{
	SnNodes		result = {0, palloc(sizeof(SnNode *) * schema->nodes.n)};
	int			i;

	for (i = 0; i < schema->nodes.n; i++)
		if (schema->nodes.nodes[i]->anchor != NULL)
			result.nodes[result.n++] = schema->nodes.nodes[i];
	qsort(result.nodes, result.n, sizeof(SnNode *), compare_anchors);
	for (i = 1; i < result.n; i++)
		if (compare_anchors(&result.nodes[i - 1], &result.nodes[i]) == 0)
			sn_schema_refuse(result.nodes[i]->pointer, "$anchor",
							 "is given twice");
	return result;
}

/* find_target: the node that a reference names */
static SnNode *
find_target(const SnSchema *schema, const SnNodes *anchors, const char *id,
			const SnNode *from)
{
	const char *text = from->ref_text;
	const char *fragment = strchr(text, '#');
	int			len = fragment == NULL ? strlen(text) : fragment - text;
	SnNode		key = {0};
	SnNode	   *wanted = &key;
	SnNode	  **found;

	if (len > 0 && (id == NULL || strlen(id) != len ||
					strncmp(id, text, len) != 0))
		sn_schema_refuse(from->pointer, "$ref",
						 "names another document; a place in this one begins with \"#\"");
	key.pointer = key.anchor =
		fragment == NULL ? "" : decode_fragment(fragment + 1);
	if (*key.pointer == '\0' || *key.pointer == '/')
		found = bsearch(&wanted, schema->nodes.nodes, schema->nodes.n,
						sizeof(SnNode *), compare_pointers);
	else
		found = bsearch(&wanted, anchors->nodes, anchors->n,
						sizeof(SnNode *), compare_anchors);
	if (found == NULL)
		sn_schema_refuse(from->pointer, "$ref",
						 "names a place that is no schema of this document");
	return *found;
}

static void visit(SnNode *node);

static void
visit_all(const SnNodes *nodes)
{
	int			i;

	for (i = 0; i < nodes->n; i++)
		visit(nodes->nodes[i]);
}

/* visit: walk over the edges that stay at the same value */
static void
visit(SnNode *node)
{
	int			i;

	if (node == NULL || node->mark == DONE)
		return;
	check_stack_depth();
	if (node->mark == OPEN)
		sn_schema_refuse(node->pointer, "$ref",
						 "leads back to itself for the same value");
	node->mark = OPEN;
	visit(node->ref);
	visit_all(&node->all_of);
	visit_all(&node->any_of);
	visit_all(&node->one_of);
	visit(node->not_schema);
	visit(node->if_schema);
	visit(node->then_schema);
	visit(node->else_schema);
	for (i = 0; node->object != NULL && i < node->object->ndependents; i++)
		visit(node->object->dependents[i].node);
	node->mark = DONE;
}

/* sn_schema_resolve: every $ref gets its target.  id: of the document, or NULL. */
void
sn_schema_resolve(SnSchema *schema, const char *id)
{
	SnNodes		anchors;
	int			i;

	qsort(schema->nodes.nodes, schema->nodes.n, sizeof(SnNode *),
		  compare_pointers);
	anchors = take_anchors(schema);
	for (i = 0; i < schema->nodes.n; i++)
	{
		SnNode	   *node = schema->nodes.nodes[i];

		if (node->ref_text != NULL)
			node->ref = find_target(schema, &anchors, id, node);
	}
	visit_all(&schema->nodes);
}
