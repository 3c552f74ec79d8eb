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
	return strcmp((*(SnNode *const *) a)->origin->pointer,
				  (*(SnNode *const *) b)->origin->pointer);
}

static int
compare_anchors(const void *a, const void *b)
{
	return strcmp((*(SnNode *const *) a)->origin->anchor,
				  (*(SnNode *const *) b)->origin->anchor);
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
take_anchors(const SnNodes *all)
{
	SnNodes		result = {0, palloc(sizeof(SnNode *) * all->n)};
	int			i;

	for (i = 0; i < all->n; i++)
		if (all->nodes[i]->origin->anchor != NULL)
			result.nodes[result.n++] = all->nodes[i];
	qsort(result.nodes, result.n, sizeof(SnNode *), compare_anchors);
	for (i = 1; i < result.n; i++)
		if (compare_anchors(&result.nodes[i - 1], &result.nodes[i]) == 0)
			sn_schema_refuse(result.nodes[i]->origin->pointer, "$anchor",
							 "is given twice");
	return result;
}

/* find_target: the node that a reference names */
static SnNode *
find_target(const SnNodes *all, const SnNodes *anchors, const char *id,
			const SnNodeOrigin *from)
{
	const char *text = from->ref_text;
	const char *fragment = strchr(text, '#');
	int			len = fragment == NULL ? strlen(text) : fragment - text;
	SnNodeOrigin key = {0};
	SnNode		place = {.origin = &key};
	SnNode	   *wanted = &place;
	SnNode	  **found;

	if (len > 0 && (id == NULL || strlen(id) != len ||
					strncmp(id, text, len) != 0))
		sn_schema_refuse(from->pointer, "$ref",
						 "names another document; a place in this one begins with \"#\"");
	key.pointer = key.anchor =
		fragment == NULL ? "" : decode_fragment(fragment + 1);
	if (*key.pointer == '\0' || *key.pointer == '/')
		found = bsearch(&wanted, all->nodes, all->n, sizeof(SnNode *),
						compare_pointers);
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
	const SnBranches *branches;
	int			i;

	if (node == NULL || node->origin->mark == DONE)
		return;
	check_stack_depth();
	if (node->origin->mark == OPEN)
		sn_schema_refuse(node->origin->pointer, "$ref",
						 "leads back to itself for the same value");
	node->origin->mark = OPEN;
	branches = node->branches;
	visit(branches->ref);
	visit_all(&branches->all_of);
	visit_all(&branches->any_of);
	visit_all(&branches->one_of);
	visit(branches->not_schema);
	visit(branches->if_schema);
	visit(branches->then_schema);
	visit(branches->else_schema);
	for (i = 0; node->object != NULL && i < node->object->ndependents; i++)
		visit(node->object->dependents[i].node);
	node->origin->mark = DONE;
}

/* resolve_all: every $ref gets its target */
static void
resolve_all(const SnNodes *all, const char *id)
{
	SnNodes		anchors;
	int			i;

	qsort(all->nodes, all->n, sizeof(SnNode *), compare_pointers);
	anchors = take_anchors(all);
	for (i = 0; i < all->n; i++)
	{
		SnNode	   *node = all->nodes[i];
		SnBranches *branches = unconstify(SnBranches *, node->branches);

		if (node->origin->ref_text == NULL)
			continue;
		if (node->branches == &sn_no_branches)
			node->branches = branches =
				MemoryContextAllocZero(GetMemoryChunkContext(node),
									   sizeof(SnBranches));
		branches->ref = find_target(all, &anchors, id, node->origin);
	}
	visit_all(all);
}

/*
 * sn_schema_resolve: every $ref of some nodes, which are all of a document,
 * gets its target.  id: of the document, or NULL.
 */
void
sn_schema_resolve(const SnNodes *all, const char *id)
{
	MemoryContext old =
		MemoryContextSwitchTo(GetMemoryChunkContext(all->nodes));

	resolve_all(all, id);
	MemoryContextSwitchTo(old);
}
