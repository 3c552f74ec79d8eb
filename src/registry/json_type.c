/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_type.c
 *		The types of JSON values, as JSON Schema names them.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "registry/json_type.h"

/* In the order of the bits */
static const char *const names[] = {
	"null", "boolean", "object", "array", "number", "string", "integer",
};

/* sn_json_type_bit: of the name of a type; 0 when it is none */
int
sn_json_type_bit(const JsonbValue *name)
{
	int			i;

	for (i = 0; name->type == jbvString && i < lengthof(names); i++)
		if (name->val.string.len == strlen(names[i]) &&
			memcmp(name->val.string.val, names[i], name->val.string.len) == 0)
			return 1 << i;
	return 0;
}

/* sn_json_type_names: of some bits, for a message */
char *
sn_json_type_names(int types)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < lengthof(names); i++)
		if ((types & 1 << i) != 0)
			appendStringInfo(&out, "%s%s", out.len == 0 ? "" : " or ", names[i]);
	return out.data;
}
