/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * type_action.c
 *		What people do with event types, for the action log.
 *
 * A version's schema never changes, and its row stays when the version goes.  So
 * the log names it by its digest.  Examples may change, and look like payloads:
 * of them, too, there is a digest only.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/sha256.h"
#include "registry/type_row.h"
#include "tenancy/action.h"
#include "tenancy/right.h"

/* digest_of: SHA-256 of a column's JSON text, in hexadecimal */
static const char *
digest_of(Datum column)
{
	Jsonb	   *json = DatumGetJsonbP(column);
	char	   *string = JsonbToCString(NULL, &json->root, VARSIZE(json));
	unsigned char digest[SN_SHA256_LEN];
	char	   *result = palloc(2 * SN_SHA256_LEN + 1);

	sn_sha256(string, strlen(string), digest);
	result[hex_encode((const char *) digest, SN_SHA256_LEN, result)] = '\0';
	return result;
}

/* text_or_null: a column that may be null, as a string */
static const char *
text_or_null(const Datum *values, const bool *nulls, AttrNumber column)
{
	return nulls[column - 1] ? NULL : TextDatumGetCString(values[column - 1]);
}

/* sn_type_json: a version of a type, for the action log */
Jsonb *
sn_type_json(const Datum *values, const bool *nulls)
{
	return sn_action_json("version",
						  psprintf("%d", DatumGetInt32(values[Anum_type_version - 1])),
						  "direction",
						  text_or_null(values, nulls, Anum_type_direction),
						  "description",
						  text_or_null(values, nulls, Anum_type_description),
						  "compatibility",
						  text_or_null(values, nulls, Anum_type_compatibility),
						  "schema_sha256",
						  digest_of(values[Anum_type_schema - 1]),
						  "examples_sha256",
						  digest_of(values[Anum_type_examples - 1]),
						  "deprecated",
						  nulls[Anum_type_deprecated_since - 1] ? "false" : "true",
						  "dropped",
						  nulls[Anum_type_dropped_at - 1] ? "false" : "true",
						  NULL);
}

/*
 * sn_type_record: a version of a type was changed; before: NULL for a new one.
 * What the script of another extension registers is not written down: it is a
 * part of CREATE EXTENSION, and where a dump is restored the rows of the log
 * come behind it, with their numbers.
 */
void
sn_type_record(const char *function, const text *event_type, Jsonb *before,
			   Jsonb *after)
{
	SnAction	action = {
		.action = function,
		.tenant_id = cstring_to_text(SN_EVERY),
		.object = text_to_cstring(event_type),
		.before = before,
		.after = after,
	};

	if (!creating_extension)
		sn_action_record(&action);
}
