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
	int			nnodes;
	int			room;
	SnNode	  **nodes;
	const char *id;				/* of the document, or NULL */
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
	SN_PART_NODE, SN_PART_NUMBER, SN_PART_STRING, SN_PART_ARRAY, SN_PART_OBJECT,
	SN_PART_NOTE				/* it asks nothing of a value */
} SnNodePart;

typedef struct SnKeyword
{
	const char *name;
	void		(*compile) (const SnKeywordPlace *place, void *field);	/* NULL: says nothing */
	SnNodePart		part;
	size_t		offset;			/* of the field that it fills in the part */
} SnKeyword;

extern const SnKeyword *sn_schema_keyword(const SnJsonKey *key);
extern SnNode *sn_schema_build_node(SnSchemaBuild *build,
									const JsonbValue *value,
									const char *pointer, const char *keyword);

#endif							/* SN_SCHEMA_BUILD_H */
