/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema.h
 *		JSON Schema, draft 2020-12: a document is compiled once and then run on
 *		many jsonb values.
 */
#ifndef SN_SCHEMA_H
#define SN_SCHEMA_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#define SN_SCHEMA_ERRORS_MAX 20	/* described; the rest is counted */

typedef struct SnSchema SnSchema;

/* What one value breaks */
typedef struct SnSchemaError
{
	char	   *pointer;		/* RFC 6901: where in the value */
	const char *keyword;		/* of the schema */
	char	   *message;		/* has nothing of the value in it */
} SnSchemaError;

typedef struct SnSchemaErrors
{
	int			count;			/* all of them */
	SnSchemaError first[SN_SCHEMA_ERRORS_MAX];
} SnSchemaErrors;

extern SnSchema *sn_schema_compile(Jsonb *document, MemoryContext cxt);
extern Size sn_schema_size(const SnSchema *schema);
extern void sn_schema_free(SnSchema *schema);
extern bool sn_schema_check(const SnSchema *schema, Jsonb *value,
							SnSchemaErrors *errors);
extern Jsonb *sn_schema_example(const SnSchema *schema);
extern void sn_schema_embed(Jsonb *document, const char *base, StringInfo out);
extern void sn_schema_describe(const SnSchema *schema, StringInfo out);
extern bool sn_schema_is_note(const char *name);
extern char *sn_schema_pointer(const char *parent, const char *name, int len);
extern void sn_schema_errors_json(const SnSchemaErrors *errors, StringInfo out);

#endif							/* SN_SCHEMA_H */
