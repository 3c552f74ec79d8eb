/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * describe.c
 *		describe_event_type(): a version of an event type, for people.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "registry/register.h"
#include "registry/schema.h"
#include "registry/type_row.h"

PG_FUNCTION_INFO_V1(sentinai_describe_event_type);

/* A version as it is stored */
typedef struct Version
{
	int32		number;			/* 0: there is none */
	text	   *direction;
	text	   *description;	/* or NULL */
	text	   *compatibility;
	TimestampTz deprecated_since;
	bool		deprecated;
	Jsonb	   *schema;
	Jsonb	   *examples;
} Version;

/* take_version: the row at hand */
static void
take_version(const SnTypeScan *scan, Version *version)
{
	version->number = scan->version;
	version->deprecated = scan->deprecated;
	version->direction =
		DatumGetTextPCopy(scan->values[Anum_type_direction - 1]);
	version->compatibility =
		DatumGetTextPCopy(scan->values[Anum_type_compatibility - 1]);
	version->description = scan->nulls[Anum_type_description - 1] ? NULL :
		DatumGetTextPCopy(scan->values[Anum_type_description - 1]);
	version->deprecated_since = !scan->deprecated ? 0 :
		DatumGetTimestampTz(scan->values[Anum_type_deprecated_since - 1]);
	version->schema = DatumGetJsonbPCopy(scan->values[Anum_type_schema - 1]);
	version->examples = DatumGetJsonbPCopy(scan->values[Anum_type_examples - 1]);
}

/*
 * pick_version: a version, or for 0 the newest that is not deprecated, or the
 * newest when all are
 */
static void
pick_version(const text *event_type, int32 asked, Version *version)
{
	SnTypeScan	scan;

	memset(version, 0, sizeof(Version));
	sn_type_scan_begin(&scan, event_type, NULL);
	while (sn_type_scan_next(&scan))
	{
		if (scan.dropped || (asked > 0 && scan.version != asked) ||
			(scan.deprecated && version->number > 0 && !version->deprecated))
			continue;
		take_version(&scan, version);
	}
	sn_type_scan_end(&scan);
}

/* put_head: what is known of the version beside its payload */
static void
put_head(StringInfo out, const text *event_type, const Version *version)
{
	appendStringInfo(out, "%s, version %d\n\n", text_to_cstring(event_type),
					 version->number);
	if (version->description != NULL)
		appendStringInfo(out, "%s\n\n", text_to_cstring(version->description));
	appendStringInfo(out, "Direction: %s\nCompatibility: %s\n",
					 text_to_cstring(version->direction),
					 text_to_cstring(version->compatibility));
	if (version->deprecated)
		appendStringInfo(out, "Deprecated since: %s\n",
						 timestamptz_to_str(version->deprecated_since));
	appendStringInfoChar(out, '\n');
}

/* put_example: the first that was registered and fits, or one that is made */
static void
put_example(StringInfo out, const Version *version, const SnSchema *schema)
{
	Jsonb	   *example = NULL;
	const char *origin = "registered";
	uint32		i;

	for (i = 0; example == NULL && JB_ROOT_IS_ARRAY(version->examples) &&
		 i < JB_ROOT_COUNT(version->examples); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&version->examples->root,
														  i);

		example = JsonbValueToJsonb(value);
		if (!JB_ROOT_IS_OBJECT(example) ||
			!sn_schema_check(schema, example, NULL))
			example = NULL;
	}
	if (example == NULL)
	{
		origin = "made from the schema";
		example = sn_schema_example(schema);
	}
	if (example == NULL)
		appendStringInfoString(out, "\nNo example: none is registered, and none could be made from the schema.\n");
	else
	{
		appendStringInfo(out, "\nExample (%s):\n", origin);
		(void) JsonbToCStringIndent(out, &example->root, VARSIZE(example));
		appendStringInfoChar(out, '\n');
	}
}

/* describe_event_type(event_type text, version int) returns text */
Datum
sentinai_describe_event_type(PG_FUNCTION_ARGS)
{
	text	   *event_type = sn_text_arg(fcinfo, 0, "event_type",
										 SN_TYPE_NAME_MAX);
	int32		asked = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	Version		version = {0};
	SnSchema   *schema;
	StringInfoData out;

	if (!sn_is_type_name(event_type))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_type " SN_TYPE_NAME_RULE)));
	if (PG_ARGISNULL(1) || asked > 0)
		pick_version(event_type, asked, &version);
	if (version.number == 0)
		sn_unknown_type(event_type, asked);
	schema = sn_schema_compile(version.schema, CurrentMemoryContext);
	initStringInfo(&out);
	put_head(&out, event_type, &version);
	sn_schema_describe(schema, &out);
	put_example(&out, &version, schema);
	sn_schema_free(schema);
	out.data[--out.len] = '\0';	/* the last line feed */
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
