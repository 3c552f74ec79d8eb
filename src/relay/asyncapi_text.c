/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * asyncapi_text.c
 *		Members of a JSON object, as the parts of asyncapi() write them.
 */
#include "postgres.h"

#include "utils/json.h"

#include "relay/asyncapi.h"

#define DOCUMENT_MAX (192 * 1024 * 1024)	/* bytes of text */

/* sn_api_name: a member's name, after what is there already */
void
sn_api_name(StringInfo out, const char *name)
{
	if (out->len > DOCUMENT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document would be larger than %d MB",
						DOCUMENT_MAX / (1024 * 1024)),
				 errhint("Ask for fewer event types at once.")));
	if (out->data[out->len - 1] != '{')
		appendStringInfoString(out, ", ");
	escape_json(out, name);
	appendStringInfoString(out, ": ");
}

void
sn_api_text(StringInfo out, const char *name, const char *value)
{
	sn_api_name(out, name);
	escape_json(out, value);
}

/* sn_api_ref: a member that refers to one of components */
void
sn_api_ref(StringInfo out, const char *name, const char *place)
{
	sn_api_name(out, name);
	appendStringInfo(out, "{\"$ref\": \"#/components/%s\"}", place);
}

void
sn_api_open(StringInfo out, const char *name)
{
	sn_api_name(out, name);
	appendStringInfoChar(out, '{');
}

void
sn_api_close(StringInfo out)
{
	appendStringInfoChar(out, '}');
}
