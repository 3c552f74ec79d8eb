/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * compatibility.c
 *		What a version has to be for those who know another one.
 *
 * The modes are those of schema registries.  Backward: who reads with the new
 * schema can read what was written with the old one.  Forward: who reads with
 * the old one can read what will be written with the new one.  Full: both.  The
 * version before counts or, transitive, all of them.  Versions that were dropped
 * do not count; deprecated ones do, as events of them are published still.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/sqlstate.h"
#include "base/text.h"
#include "registry/compatibility.h"
#include "registry/evolution.h"
#include "registry/schema.h"
#include "registry/type_row.h"

/* sn_compatibility: the mode of a name */
SnCompatibility
sn_compatibility(const text *name)
{
	static const struct
	{
		const char *name;
		int			mode;
	}			modes[] =
	{
		{"backward", SN_COMPATIBLE_BACKWARD},
		{"forward", SN_COMPATIBLE_FORWARD},
		{"full", SN_COMPATIBLE_BACKWARD | SN_COMPATIBLE_FORWARD},
		{"none", SN_COMPATIBLE_NONE},
		{"backward_transitive", SN_COMPATIBLE_BACKWARD | SN_COMPATIBLE_ALL},
		{"forward_transitive", SN_COMPATIBLE_FORWARD | SN_COMPATIBLE_ALL},
		{"full_transitive", SN_COMPATIBLE_BACKWARD | SN_COMPATIBLE_FORWARD | SN_COMPATIBLE_ALL},
	};
	int			i;

	for (i = 0; i < lengthof(modes); i++)
		if (sn_text_is(name, modes[i].name))
			return modes[i].mode;
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("compatibility must be \"backward\", \"forward\", \"full\" or \"none\", the first three perhaps with \"_transitive\"")));
	pg_unreachable();
}

/* check_one: one way, between the new version and an old one */
static void
check_one(const text *event_type, int32 old_version, Jsonb *reader, Jsonb *writer,
		  const char *way)
{
	SnSchemaErrors errors = {0};
	StringInfoData detail;

	if (sn_schema_takes(reader, writer, &errors))
		return;
	initStringInfo(&detail);
	sn_schema_errors_json(&errors, &detail);
	ereport(ERROR,
			(errcode(ERRCODE_SN_CONFLICT),
			 errmsg("schema is not %s compatible with version %d of event type \"%s\"",
					way, old_version, text_to_cstring(event_type)),
			 errdetail_internal("%s", detail.data),
			 errhint("Change the schema, or register the version with another compatibility.")));
}

/* tell_version: whose schema it is that cannot be used */
static void
tell_version(void *arg)
{
	const SnTypeScan *scan = arg;

	errcontext("version %d of event type \"%s\"", scan->version,
			   text_to_cstring(scan->event_type));
}

/*
 * check_stored: a schema that is stored has to be one.  Documents are compared as
 * what was checked when it was registered, and SQL may have written this row.
 */
static void
check_stored(const SnTypeScan *scan, Jsonb *schema)
{
	ErrorContextCallback callback = {error_context_stack, tell_version,
	(void *) scan};

	error_context_stack = &callback;
	(void) sn_schema_compile(schema, CurrentMemoryContext);
	error_context_stack = callback.previous;
}

/* check_with: between the new version and an old one, whose row is at hand */
static void
check_with(const SnTypeScan *scan, Jsonb *schema,
		   SnCompatibility mode)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sentinai compatibility",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Jsonb	   *before =
		DatumGetJsonbPCopy(scan->values[Anum_type_schema - 1]);

	check_stored(scan, before);
	if (mode & SN_COMPATIBLE_BACKWARD)
		check_one(scan->event_type, scan->version, schema, before, "backward");
	if (mode & SN_COMPATIBLE_FORWARD)
		check_one(scan->event_type, scan->version, before, schema, "forward");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* version_before: the newest registered one before a version, or 0 */
static int32
version_before(const text *event_type, int32 version, Snapshot snapshot)
{
	SnTypeScan	scan;
	int32		before = 0;

	sn_type_scan_begin(&scan, event_type, snapshot);
	while (sn_type_scan_next(&scan))
		if (!scan.dropped && scan.version < version)
			before = scan.version;
	sn_type_scan_end(&scan);
	return before;
}

/* sn_compatibility_check: a new version against those before it, or an error */
void
sn_compatibility_check(const text *event_type, int32 version,
					   Jsonb *schema, SnCompatibility mode,
					   Snapshot snapshot)
{
	int32		before = version_before(event_type, version, snapshot);
	SnTypeScan	scan;

	if (mode == SN_COMPATIBLE_NONE || before == 0)
		return;
	sn_type_scan_begin(&scan, event_type, snapshot);
	while (sn_type_scan_next(&scan))
		if (!scan.dropped && scan.version < version &&
			(mode & SN_COMPATIBLE_ALL || scan.version == before))
			check_with(&scan, schema, mode);
	sn_type_scan_end(&scan);
}
