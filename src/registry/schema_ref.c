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

#include "base/hex.h"
#include "registry/schema_node.h"

#define BRANCH_DEPTH_MAX 1000	/* schemas in a row for one value */

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

/* refuse_member: a keyword of a schema is refused */
static void pg_attribute_noreturn()
refuse_member(const SnNodeOrigin *origin, const char *keyword, const char *why)
{
	sn_schema_refuse(psprintf("%s/%s", origin->pointer, keyword), keyword, why);
	pg_unreachable();
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
			refuse_member(result.nodes[i]->origin, "$anchor", "is given twice");
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
		refuse_member(from, "$ref",
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
		refuse_member(from, "$ref",
					  "names a place that is no schema of this document");
	return *found;
}

static int	visit(SnNode *node, int depth);

static int
visit_all(const SnNodes *nodes, int depth)
{
	int			height = 0;
	int			i;

	for (i = 0; i < nodes->n; i++)
		height = Max(height, visit(nodes->nodes[i], depth));
	return height;
}

/*
 * visit: walk over the edges that stay at the same value; returns how many there
 * are one behind the other.  depth: how many lead here.
 */
static int
visit(SnNode *node, int depth)
{
	const SnBranches *branches;
	int			height = 0;
	int			i;

	if (node == NULL)
		return 0;
	check_stack_depth();
	if (node->origin->mark == OPEN)
		sn_schema_refuse(node->origin->pointer, "$ref",
						 "leads back to itself for the same value");
	if (node->origin->mark == UNSEEN && depth < BRANCH_DEPTH_MAX)
	{
		node->origin->mark = OPEN;
		branches = node->branches;
		height = Max(height, visit(branches->ref, depth + 1));
		height = Max(height, visit_all(&branches->all_of, depth + 1));
		height = Max(height, visit_all(&branches->any_of, depth + 1));
		height = Max(height, visit_all(&branches->one_of, depth + 1));
		height = Max(height, visit(branches->not_schema, depth + 1));
		height = Max(height, visit(branches->if_schema, depth + 1));
		height = Max(height, visit(branches->then_schema, depth + 1));
		height = Max(height, visit(branches->else_schema, depth + 1));
		for (i = 0; node->object != NULL && i < node->object->ndependents; i++)
			height = Max(height, visit(node->object->dependents[i].node, depth + 1));
		node->origin->mark = DONE;
		node->origin->height = height + 1;
	}
	if (depth + node->origin->height > BRANCH_DEPTH_MAX ||
		node->origin->mark == UNSEEN)
		sn_schema_refuse(node->origin->pointer, "$ref",
						 "has too many schemas one behind the other for the same value");
	return node->origin->height;
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
	(void) visit_all(all, 0);
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
