/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_build.h
 *		A schema while it is compiled: what its keywords are, and what they make
 *		of a node.  Private to the schema_*.c files.
 */
#ifndef SN_SCHEMA_BUILD_H
#define SN_SCHEMA_BUILD_H

#include "registry/schema_node.h"

typedef struct SnSchemaBuild
{
	SnNodes		nodes;			/* all of them */
	int			room;
	const char *id;				/* of the document, or NULL */
	MemoryContext notes;		/* for what is not needed once it is compiled */
	Size		noted;			/* bytes there */
	double		patterns;		/* size of their automata */
} SnSchemaBuild;

/* A value of a keyword, and where it stands */
typedef struct SnKeywordPlace
{
	SnSchemaBuild   *build;
	SnNode	   *node;
	const char *keyword;
	const char *pointer;
	const JsonbValue *value;
} SnKeywordPlace;

typedef enum SnNodePart
{
	SN_PART_NODE, SN_PART_BRANCHES, SN_PART_SOURCE, SN_PART_NUMBER, SN_PART_STRING, SN_PART_ARRAY, SN_PART_OBJECT,
	SN_PART_NOTE				/* it asks nothing of a value; as SN_PART_SOURCE */
} SnNodePart;

typedef struct SnKeyword
{
	const char *name;
	void		(*compile) (const SnKeywordPlace *place, void *field);	/* NULL: says nothing */
	SnNodePart		part;
	size_t		offset;			/* of the field that it fills in the part */
} SnKeyword;

/* What stands under a keyword */
typedef enum SnKeywordValue
{
	SN_VALUE_DATA, SN_VALUE_SCHEMA, SN_VALUE_LIST, SN_VALUE_MAP
} SnKeywordValue;

extern SnSchema *sn_schema_build(Jsonb *document, SnSchemaBuild *build);
extern void sn_schema_end_build(SnSchemaBuild *build);
extern SnKeywordValue sn_keyword_value(const SnKeyword *keyword);
extern const SnKeyword *sn_schema_keyword(const SnJsonKey *key);
extern char *sn_schema_note(SnSchemaBuild *build, const char *text, int len);
extern const char *sn_schema_below(SnSchemaBuild *build, const char *pointer,
								   const char *name, int len);
extern SnNode *sn_schema_build_node(SnSchemaBuild *build,
									const JsonbValue *value,
									const char *pointer, const char *keyword);

#endif							/* SN_SCHEMA_BUILD_H */
