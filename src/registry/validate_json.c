/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * validate_json.c
 *		validate_json(): a value against a schema, without registering it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/args.h"
#include "registry/register.h"
#include "registry/schema.h"

PG_FUNCTION_INFO_V1(sentinai_validate_json);

/* The schema that this call site has compiled last */
typedef struct Compiled
{
	SnSchema   *schema;
	int			size;
	void	   *document;
} Compiled;

/* compiled: the schema of this call, from the call before when it is the same */
static SnSchema *
compiled(FunctionCallInfo fcinfo, Jsonb *document)
{
	Compiled   *last = fcinfo->flinfo->fn_extra;
	MemoryContext cxt = fcinfo->flinfo->fn_mcxt;
	int			size = VARSIZE(document);

	if (last != NULL && last->schema != NULL && last->size == size &&
		memcmp(last->document, document, size) == 0)
		return last->schema;
	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(cxt, sizeof(Compiled));
	if (last->schema != NULL)
	{
		sn_schema_free(last->schema);
		pfree(last->document);
		last->schema = NULL;
	}
	sn_check_document(document, "schema");
	last->schema = sn_schema_compile(document, cxt);
	last->size = size;
	last->document = MemoryContextAlloc(cxt, size);
	memcpy(last->document, document, size);
	return last->schema;
}

/* validate_json(schema jsonb, value jsonb) returns jsonb */
Datum
sentinai_validate_json(PG_FUNCTION_ARGS)
{
	SnSchemaErrors errors;
	StringInfoData out;

	SN_REQUIRE_ARG(0, "schema");
	SN_REQUIRE_ARG(1, "value");
	(void) sn_schema_check(compiled(fcinfo, PG_GETARG_JSONB_P(0)),
						   PG_GETARG_JSONB_P(1), &errors);
	initStringInfo(&out);
	sn_schema_errors_json(&errors, &out);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
