/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_node.h
 *		What a schema is compiled to.  Private to the schema_*.c files.
 *
 * A node is one schema of the document.  What it asks of numbers, strings,
 * arrays and objects stands apart, as most schemas speak of one of them.
 * Nodes form a graph: $ref is an edge.  Edges that stay at the same value (in
 * place) form no circle, so that a check ends.
 */
#ifndef SN_SCHEMA_NODE_H
#define SN_SCHEMA_NODE_H

#include "base/compat.h"
#include "registry/json_type.h"
#include "registry/json_walk.h"
#include "registry/schema.h"
#include "registry/schema_format.h"
#include "registry/schema_pattern.h"

typedef struct SnNode SnNode;

/* A list of schemas, or of whatever holds one */
typedef struct SnNodes
{
	int			n;
	SnNode	  **nodes;
} SnNodes;

typedef struct SnNumberRule
{
	Numeric		minimum;		/* each may be NULL */
	Numeric		maximum;
	Numeric		exclusive_minimum;
	Numeric		exclusive_maximum;
	Numeric		multiple_of;
} SnNumberRule;

typedef struct SnStringRule
{
	int64		min_length;		/* in characters */
	int64		max_length;		/* -1: none */
	SnPattern  *pattern;
	const SnFormat *format;
} SnStringRule;

typedef struct SnArrayRule
{
	SnNodes		prefix_items;
	SnNode	   *items;
	SnNode	   *contains;
	SnNode	   *unevaluated;
	int64		min_contains;
	int64		max_contains;	/* -1: none */
	int64		min_items;
	int64		max_items;		/* -1: none */
	bool		unique;
} SnArrayRule;

/* A property that is named by properties or required, in the order of keys */
typedef struct SnProperty
{
	SnJsonKey	key;
	SnNode	   *node;			/* NULL: only required */
	bool		required;
} SnProperty;

typedef struct SnPatternProperty
{
	SnJsonKey	text;
	SnPattern  *pattern;
	SnNode	   *node;
} SnPatternProperty;

/* What the presence of a property asks for */
typedef struct SnDependent
{
	SnJsonKey	key;
	SnNode	   *node;			/* dependentSchemas, or NULL */
	int			nkeys;			/* dependentRequired */
	SnJsonKey  *keys;
} SnDependent;

typedef struct SnObjectRule
{
	int			nproperties;
	SnProperty *properties;
	int			npatterns;
	SnPatternProperty *patterns;
	int			ndependents;
	SnDependent *dependents;
	SnNode	   *additional;
	SnNode	   *names;
	SnNode	   *unevaluated;
	int64		min_properties;
	int64		max_properties;	/* -1: none */
} SnObjectRule;

/* Other schemas for the same value */
typedef struct SnBranches
{
	SnNode	   *ref;
	SnNodes		all_of;
	SnNodes		any_of;
	SnNodes		one_of;
	SnNode	   *not_schema;
	SnNode	   *if_schema;
	SnNode	   *then_schema;
	SnNode	   *else_schema;
} SnBranches;

/* What only the compiler has to know of a node */
typedef struct SnNodeOrigin
{
	const char *pointer;		/* where it stands in the document */
	const char *ref_text;		/* what $ref says, or NULL */
	const char *anchor;			/* or NULL */
	int			mark;			/* of a walk over in-place edges */
	int			height;			/* edges in place, one behind the other */
} SnNodeOrigin;

struct SnNode
{
	int			types;
	bool		never;			/* the schema false */
	bool		is_plain;		/* without enum, const and other schemas */
	const char *keyword;		/* which applies it */
	SnNumberRule *number;		/* each rule may be NULL */
	SnStringRule *string;
	SnArrayRule *array;
	SnObjectRule *object;
	const SnBranches *branches; /* sn_no_branches: none */
	int			nvalues;		/* enum, sorted by sn_json_compare(); -1: none */
	JsonbValue *values;
	JsonbValue *constant;		/* or NULL */
	JsonbContainer *source;		/* as it was written; NULL: true or false */
	SnNodeOrigin *origin;		/* NULL as soon as the schema is compiled */
};

struct SnSchema
{
	Jsonb	   *document;		/* what names, numbers and strings lie in */
	SnNode	   *root;
	Size		size;			/* of all of it */
};

extern const SnBranches sn_no_branches;

extern void sn_schema_resolve(const SnNodes *all, const char *id);
extern void sn_schema_refuse(const char *pointer, const char *keyword,
							 const char *why) pg_attribute_noreturn();

#endif							/* SN_SCHEMA_NODE_H */
