/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * describe_fields.c
 *		The fields that a schema speaks of, as a table in plain text.
 *
 * A field has a row.  What is in it stands below, and further right.  $ref and
 * allOf are followed: their fields stand where they apply.  anyOf, oneOf and
 * their like have rows that say so.  What leads back to a row above it says
 * that, too.  A table has an end: what is left out is said.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "registry/describe_rules.h"

#define ROWS_MAX 1000
#define LEVEL_MAX 16
#define NAME_MAX_ 60			/* bytes */

enum
{
	COLUMN_NAME, COLUMN_TYPE, COLUMN_REQUIRED, COLUMN_RULES, COLUMN_NOTE, COLUMNS
};

static const char *const titles[COLUMNS] = {
	"Field", "Type", "Required", "Rules", "Description",
};

/* Wider cells push what stands right of them */
static const int widest[COLUMNS] = {40, 24, 8, 48, 0};

typedef struct Row
{
	const char *cells[COLUMNS];
} Row;

typedef struct Describing
{
	int			nrows;
	Row			rows[ROWS_MAX];
	bool		full;			/* of rows */
	bool		cut;			/* something was left out */
} Describing;

/* The rows above that a field belongs to */
typedef struct Above
{
	const struct Above *above;
	const SnRules *rules;
	const char *name;
	int			level;
} Above;

/* A field of an object, from all schemas that speak of that */
typedef struct Field
{
	SnJsonKey	key;
	const SnNode *node;			/* NULL: it is only required */
	bool		required;
} Field;

static void describe_inside(Describing *d, const Above *at);

/* add_line: false when the table is full */
static bool
add_line(Describing *d, int level, const char *name, const SnRules *rules,
		bool required)
{
	Row		   *row = &d->rows[d->nrows];

	d->full |= d->nrows == ROWS_MAX;
	d->cut |= d->full || level > LEVEL_MAX;
	if (d->full || level > LEVEL_MAX)
		return false;
	d->nrows++;
	row->cells[COLUMN_NAME] = psprintf("%*s%s", 2 * level, "", name);
	row->cells[COLUMN_TYPE] = rules->n == 0 ? "" : sn_describe_type(rules);
	row->cells[COLUMN_REQUIRED] = required ? "yes" : "";
	row->cells[COLUMN_RULES] = sn_describe_rules(rules);
	row->cells[COLUMN_NOTE] = sn_describe_note(rules);
	return true;
}

/* add_words: a row that has only a name and rules */
static bool
add_words(Describing *d, int level, const char *name, const char *words)
{
	SnRules		none = {0};

	if (!add_line(d, level, name, &none, false))
		return false;
	d->rows[d->nrows - 1].cells[COLUMN_RULES] = words;
	return true;
}

/* found_above: the row above that a value leads back to, or NULL */
static const Above *
found_above(const Above *above, const SnRules *rules)
{
	int			i;
	int			j;

	for (; above != NULL; above = above->above)
		for (i = 0; i < rules->n; i++)
			for (j = 0; j < above->rules->n; j++)
				if (rules->nodes[i] == above->rules->nodes[j] &&
					(rules->nodes[i]->object != NULL ||
					 rules->nodes[i]->array != NULL))
					return above;
	return NULL;
}

/* describe_value: a row for a value, and what is in it */
static void
describe_value(Describing *d, const Above *above, const char *name,
			   const SnRules *rules, bool required)
{
	const Above *same = found_above(above, rules);
	Above		at = {above, rules, name, above->level + 1};

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (!add_line(d, at.level, name, rules, required))
		return;
	if (same == NULL)
		describe_inside(d, &at);
	else
		d->rows[d->nrows - 1].cells[COLUMN_RULES] = same->name == NULL ?
			"as the payload as a whole" : psprintf("as \"%s\" above", same->name);
}

/* describe_node: the same for one schema, of what need not be there */
static void
describe_node(Describing *d, const Above *above, const char *name,
			  const SnNode *node)
{
	SnRules		rules = {0};

	if (!sn_describe_gather(&rules, node))
		d->cut = true;
	describe_value(d, above, name, &rules, false);
	pfree(rules.nodes);
}

static int
compare_keys(const Field *a, const Field *b)
{
	int			len = Min(a->key.len, b->key.len);
	int			order = memcmp(a->key.name, b->key.name, len);

	return order != 0 ? order : a->key.len - b->key.len;
}

static int
by_key(const void *a, const void *b)
{
	return compare_keys(a, b);
}

/* any_required: whether any of the rows of one field says so */
static bool
any_required(const Field *fields, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (fields[i].required)
			return true;
	return false;
}

/* take_fields: those of all schemas, sorted by name; one may come more than once */
static Field *
take_fields(const SnRules *rules, int *n)
{
	Field	   *fields;
	int			i;
	int			j;

	*n = 0;
	for (i = 0; i < rules->n; i++)
		if (rules->nodes[i]->object != NULL)
			*n += rules->nodes[i]->object->nproperties;
	fields = palloc(sizeof(Field) * Max(*n, 1));
	*n = 0;
	for (i = 0; i < rules->n; i++)
	{
		const SnObjectRule *rule = rules->nodes[i]->object;

		for (j = 0; rule != NULL && j < rule->nproperties; j++)
			fields[(*n)++] = (Field) {rule->properties[j].key,
				rule->properties[j].node, rule->properties[j].required};
	}
	qsort(fields, *n, sizeof(Field), by_key);
	return fields;
}

/* describe_fields: required ones first, then the others, each by name */
static void
describe_fields(Describing *d, const Above *at)
{
	int			n;
	Field	   *fields = take_fields(at->rules, &n);
	int			pass;
	int			i;
	int			next;

	for (pass = 0; pass < 2 && !d->full; pass++)
		for (i = 0; i < n && !d->full; i = next)
		{
			SnRules		rules = {0};
			int			j;

			for (next = i; next < n && compare_keys(&fields[i], &fields[next]) == 0;)
				next++;
			if (any_required(&fields[i], next - i) != (pass == 0))
				continue;
			for (j = i; j < next; j++)
				if (fields[j].node != NULL)
					d->cut |= !sn_describe_gather(&rules, fields[j].node);
			describe_value(d, at, sn_describe_line(fields[i].key.name,
												   fields[i].key.len, NAME_MAX_),
						   &rules, pass == 0);
			if (rules.nodes != NULL)
				pfree(rules.nodes);
		}
	pfree(fields);
}

/* describe_others: fields that have no name in the schema */
static void
describe_others(Describing *d, const Above *at, const SnObjectRule *rule)
{
	int			i;

	for (i = 0; i < rule->npatterns; i++)
		describe_node(d, at, psprintf("/%s/", sn_describe_line(rule->patterns[i].text.name,
															   rule->patterns[i].text.len,
															   NAME_MAX_)),
					  rule->patterns[i].node);
	if (rule->additional != NULL && !rule->additional->never)
		describe_node(d, at, "(others)", rule->additional);
	if (rule->unevaluated != NULL && !rule->unevaluated->never)
		describe_node(d, at, "(others)", rule->unevaluated);
	for (i = 0; i < rule->ndependents; i++)
		if (rule->dependents[i].node != NULL)
			describe_node(d, at, psprintf("(with %s)",
										  sn_describe_line(rule->dependents[i].key.name,
														   rule->dependents[i].key.len,
														   NAME_MAX_)),
						  rule->dependents[i].node);
}

/* describe_items: what is in an array; fields of items stand below it at once */
static void
describe_items(Describing *d, const Above *at, const SnArrayRule *rule)
{
	SnRules		items = {0};
	Above		inner = *at;
	int			i;

	for (i = 0; i < rule->prefix_items.n; i++)
		describe_node(d, at, psprintf("[%d]", i), rule->prefix_items.nodes[i]);
	if (rule->items == NULL || rule->items->never)
		return;
	d->cut |= !sn_describe_gather(&items, rule->items);
	if (found_above(at, &items) != NULL || rule->prefix_items.n > 0 ||
		*sn_describe_rules(&items) != '\0' || *sn_describe_note(&items) != '\0')
		describe_value(d, at, rule->prefix_items.n > 0 ? "[others]" : "[each]",
					   &items, false);
	else
	{
		inner.above = at;
		inner.rules = &items;
		describe_inside(d, &inner);
	}
	pfree(items.nodes);
}

/* describe_ways: anyOf or oneOf */
static void
describe_ways(Describing *d, const Above *at, const SnNodes *ways,
			  const char *words)
{
	Above		inner = *at;
	int			i;

	if (ways->n == 0 || !add_words(d, at->level + 1, words, ""))
		return;
	inner.level++;
	for (i = 0; i < ways->n && !d->full; i++)
		describe_node(d, &inner, psprintf("%d.", i + 1), ways->nodes[i]);
}

/* describe_choices: what depends on the value */
static void
describe_choices(Describing *d, const Above *at, const SnNode *node)
{
	describe_ways(d, at, &node->branches->any_of, "(at least one of)");
	describe_ways(d, at, &node->branches->one_of, "(exactly one of)");
	if (node->branches->if_schema == NULL)
		return;
	describe_node(d, at, "(if)", node->branches->if_schema);
	if (node->branches->then_schema != NULL)
		describe_node(d, at, "(then)", node->branches->then_schema);
	if (node->branches->else_schema != NULL)
		describe_node(d, at, "(else)", node->branches->else_schema);
}

/* describe_inside: rows for all that is in a value */
static void
describe_inside(Describing *d, const Above *at)
{
	int			i;

	check_stack_depth();
	if (d->full)
		return;
	describe_fields(d, at);
	for (i = 0; i < at->rules->n && !d->full; i++)
	{
		const SnNode *node = at->rules->nodes[i];

		if (node->object != NULL)
			describe_others(d, at, node->object);
		if (node->array != NULL)
			describe_items(d, at, node->array);
		describe_choices(d, at, node);
	}
}

/* width_of: columns that a text takes */
static int
width_of(const char *text)
{
	int			width = 0;

	for (; *text != '\0'; text += pg_encoding_mblen(PG_UTF8, text))
		width += Max(pg_encoding_dsplen(PG_UTF8, text), 0);
	return width;
}

/* print_row: cells beside each other, without blanks at the end */
static void
print_row(StringInfo out, const char *const *cells, const int *widths)
{
	int			i;

	for (i = 0; i < COLUMNS; i++)
	{
		if (widths[i] == 0)
			continue;
		appendStringInfoString(out, cells[i]);
		appendStringInfoSpaces(out, Max(widths[i] - width_of(cells[i]), 0) + 2);
	}
	while (out->len > 0 && out->data[out->len - 1] == ' ')
		out->data[--out->len] = '\0';
	appendStringInfoChar(out, '\n');
}

/* print_table: the rows; a column with nothing in it is left out */
static void
print_table(const Describing *d, StringInfo out)
{
	int			widths[COLUMNS] = {0};
	int			i;
	int			j;

	for (i = 0; i < d->nrows; i++)
		for (j = 0; j < COLUMNS; j++)
			if (*d->rows[i].cells[j] != '\0')
				widths[j] = Max(widths[j], Max(width_of(titles[j]),
											   Min(width_of(d->rows[i].cells[j]),
												   widest[j])));
	print_row(out, titles, widths);
	for (i = 0; i < d->nrows; i++)
		print_row(out, d->rows[i].cells, widths);
	if (d->cut)
		appendStringInfoString(out, "… The table does not have all of it; json_schema() has.\n");
}

/* sn_schema_describe: the fields of a schema as a table, for people */
void
sn_schema_describe(const SnSchema *schema, StringInfo out)
{
	Describing *d = palloc0(sizeof(Describing));
	SnRules		rules = {0};
	Above		top = {NULL, &rules, NULL, -1};
	char	   *words;

	d->cut = !sn_describe_gather(&rules, schema->root);
	describe_inside(d, &top);
	words = sn_describe_rules(&rules);
	if (d->nrows > 0)
		print_table(d, out);
	else
		appendStringInfoString(out, "The schema names no fields.\n");
	if (*words != '\0')
		appendStringInfo(out, "\nThe payload as a whole: %s.\n", words);
	pfree(d);
}
