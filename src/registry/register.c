/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * register.c
 *		register_event_type() and deprecate_event_type().
 *
 * Both hold the lock of types (lock.c) until the transaction ends, and look
 * under a snapshot that was taken with it.  So two that register at once come
 * one after the other, and the second sees what the first has done.  Publishers
 * take no notice: they go on with what they know until their next transaction.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/json_size.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "registry/compatibility.h"
#include "registry/event_type.h"
#include "registry/register.h"
#include "registry/schema.h"
#include "registry/type_row.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"

#define SCHEMA_MAX		(1024 * 1024)	/* bytes, as text */
#define EXAMPLES_MAX	100
#define DESCRIPTION_MAX 8192	/* bytes */

PG_FUNCTION_INFO_V1(sentinai_register_event_type);
PG_FUNCTION_INFO_V1(sentinai_deprecate_event_type);
PG_FUNCTION_INFO_V1(sentinai_event_type_changed);
PG_FUNCTION_INFO_V1(sentinai_json_schema);

/* What there is to register */
typedef struct Registration
{
	text	   *event_type;
	int32		version;		/* 0: the next one */
	text	   *direction;
	text	   *description;	/* or NULL */
	Jsonb	   *schema;
	SnSchema   *compiled;
	Jsonb	   *examples;
	text	   *compatibility;
	SnCompatibility mode;
} Registration;

/* What there is of the type */
typedef struct Known
{
	bool		found;			/* a row of the version, or of the same schema */
	bool		same_schema;	/* it has that */
	bool		dropped;
	int32		version;		/* of it */
	ItemPointerData tid;
	Datum		values[Natts_type];
	bool		nulls[Natts_type];
	int32		highest;		/* of all versions; 0: none */
} Known;

static void pg_attribute_noreturn()
refuse(int sqlstate, const char *what)
{
	ereport(ERROR, (errcode(sqlstate), errmsg("%s", what)));
	pg_unreachable();
}

/* sn_unknown_type: the error of a version, or of a type for 0 */
void
sn_unknown_type(const text *event_type, int32 version)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 version == 0 ?
			 errmsg("event type \"%s\" is not registered",
					text_to_cstring(event_type)) :
			 errmsg("event type \"%s\" has no version %d",
					text_to_cstring(event_type), version)));
}

/* sn_type_name_arg: the name of a type that others than the extension manage */
text *
sn_type_name_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *name = sn_text_arg(fcinfo, n, "event_type", SN_TYPE_NAME_MAX);

	if (!sn_is_type_name(name))
		refuse(ERRCODE_SN_INVALID, "event_type " SN_TYPE_NAME_RULE);
	if (sn_type_is_own(name))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("event_type must not be one of the extension's own"),
				 errdetail("Control events are registered with the extension, and change with it.")));
	return name;
}

/* direction_arg: which way events of the type go */
static text *
direction_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *direction;

	SN_REQUIRE_ARG(n, "direction");
	direction = PG_GETARG_TEXT_PP(n);
	if (!sn_text_is(direction, "inbound") && !sn_text_is(direction, "agent") &&
		!sn_text_is(direction, "control"))
		refuse(ERRCODE_SN_INVALID,
			   "direction must be \"inbound\", \"agent\" or \"control\"");
	return direction;
}

/* description_arg: lines of printable characters, or NULL */
static text *
description_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *given;
	text	   *kept;

	if (PG_ARGISNULL(n))
		return NULL;
	given = sn_text_arg(fcinfo, n, "description", DESCRIPTION_MAX);
	kept = sn_storable_text(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given),
							DESCRIPTION_MAX);
	if (!sn_text_equal(given, kept))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("description must consist of printable characters"),
				 errhint(SN_PRINTABLE_HINT)));
	return given;
}

/* sn_check_document: a schema or the like has a bound */
void
sn_check_document(Jsonb *json, const char *what)
{
	switch (sn_json_fit(json, SCHEMA_MAX))
	{
		case SN_JSON_FITS:
			break;
		case SN_JSON_TOO_LARGE:
			refuse(ERRCODE_SN_TOO_LARGE,
				   psprintf("%s must not be larger than %d kB as text", what,
							SCHEMA_MAX / 1024));
		case SN_JSON_TOO_DEEP:
			refuse(ERRCODE_SN_INVALID,
				   psprintf("%s must not be nested more than %d levels deep",
							what, SN_JSON_DEPTH_MAX));
	}
}

/* check_example: an example has to be what the schema says */
static void
check_example(const SnSchema *schema, JsonbValue *value, int place)
{
	Jsonb	   *example = JsonbValueToJsonb(value);
	SnSchemaErrors errors = {0};
	StringInfoData detail;

	if (!JB_ROOT_IS_OBJECT(example))
		refuse(ERRCODE_SN_INVALID,
			   psprintf("example %d must be a JSON object", place));
	if (sn_schema_check(schema, example, &errors))
		return;
	initStringInfo(&detail);
	sn_schema_errors_json(&errors, &detail);
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("example %d does not fit the schema", place),
			 errdetail_internal("%s", detail.data)));
}

/* examples_arg: a JSON array of payloads, an empty one for null */
static Jsonb *
examples_arg(FunctionCallInfo fcinfo, int n, const SnSchema *schema)
{
	Jsonb	   *examples;
	uint32		i;

	if (PG_ARGISNULL(n))
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum("[]")));
	examples = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_ARRAY(examples) || JB_ROOT_IS_SCALAR(examples))
		refuse(ERRCODE_SN_INVALID, "examples must be a JSON array");
	if (JB_ROOT_COUNT(examples) > EXAMPLES_MAX)
		refuse(ERRCODE_SN_INVALID,
			   psprintf("examples must not be more than %d", EXAMPLES_MAX));
	sn_check_document(examples, "examples");
	for (i = 0; i < JB_ROOT_COUNT(examples); i++)
		check_example(schema, getIthJsonbValueFromContainer(&examples->root, i),
					  i + 1);
	return examples;
}

/* read_arguments: of register_event_type(), checked */
static void
read_arguments(FunctionCallInfo fcinfo, Registration *new)
{
	new->event_type = sn_type_name_arg(fcinfo, 0);
	SN_REQUIRE_ARG(1, "schema");
	new->schema = PG_GETARG_JSONB_P(1);
	sn_check_document(new->schema, "schema");
	new->version = 0;
	if (!PG_ARGISNULL(2))
	{
		new->version = PG_GETARG_INT32(2);
		if (new->version < 1)
			refuse(ERRCODE_SN_INVALID, "version must be at least 1");
	}
	new->description = description_arg(fcinfo, 3);
	new->direction = direction_arg(fcinfo, 4);
	SN_REQUIRE_ARG(6, "compatibility");
	new->compatibility = PG_GETARG_TEXT_PP(6);
	new->mode = sn_compatibility(new->compatibility);
	new->compiled = sn_schema_compile(new->schema, CurrentMemoryContext);
	new->examples = examples_arg(fcinfo, 5, new->compiled);
}

/*
 * same_schema: whether the row at hand has the schema of the registration.  Of
 * a type with many versions most have another size, and are not read.
 */
static bool
same_schema(const SnTypeScan *scan, const Registration *new)
{
	Datum		value = scan->values[Anum_type_schema - 1];
	Jsonb	   *schema;
	bool		same;

	if (toast_raw_datum_size(value) != VARSIZE(new->schema))
		return false;
	schema = DatumGetJsonbP(value);
	same = compareJsonbContainers(&schema->root, &new->schema->root) == 0;
	if (schema != (Jsonb *) DatumGetPointer(value))
		pfree(schema);
	return same;
}

/* keep_row: the row at hand is the one that is meant */
static void
keep_row(SnTypeScan *scan, bool same, Known *known)
{
	HeapTuple	tuple = ExecCopySlotHeapTuple(scan->scan.slot);

	known->found = true;
	known->same_schema = same;
	known->dropped = scan->dropped;
	known->version = scan->version;
	known->tid = sn_scan_place(&scan->scan);
	heap_deform_tuple(tuple, scan->scan.slot->tts_tupleDescriptor,
					  known->values, known->nulls);
}

/*
 * look: what there is of the type.  Whoever names no version means the newest
 * one that has the schema, if there is one.
 */
static void
look(const Registration *new, Snapshot snapshot, Known *known)
{
	SnTypeScan	scan;

	memset(known, 0, sizeof(Known));
	sn_type_scan_begin(&scan, new->event_type, snapshot);
	while (sn_type_scan_next(&scan))
	{
		bool		same = (new->version == 0 || scan.version == new->version) &&
			same_schema(&scan, new);

		CHECK_FOR_INTERRUPTS();
		if (new->version == 0 ? same && !scan.dropped :
			scan.version == new->version)
			keep_row(&scan, same, known);
		known->highest = scan.version;
	}
	sn_type_scan_end(&scan);
}

/* check_free: whether the version can have this schema */
static void
check_free(const Registration *new, const Known *known)
{
	const char *name = text_to_cstring(new->event_type);

	if (known->found && !known->same_schema)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg(known->dropped ?
						"version %d of event type \"%s\" was dropped, and had another schema" :
						"version %d of event type \"%s\" has another schema",
						known->version, name),
				 errdetail("A version never changes: events of it may be anywhere."),
				 errhint("Register the schema as the next version: leave the version out.")));
	if (!known->found && new->version > 0 && new->version <= known->highest)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("version %d of event type \"%s\" comes too late",
						new->version, name),
				 errdetail("The type has had version %d already.",
						   known->highest),
				 errhint("Leave the version out to get the next one.")));
	if (!known->found && known->highest == PG_INT32_MAX)
		refuse(ERRCODE_SN_CONFLICT, "there is no higher version");
}

/* note_differs: whether a registered version gets another value in a column */
static void
note_differs(StringInfo changes, const char *what, bool differs)
{
	if (differs)
		appendStringInfo(changes, "%s%s", changes->len > 0 ? ", " : "", what);
}

/* text_of, json_of: a column of a row that may be null */
static text *
text_of(const Known *known, AttrNumber column)
{
	return known->nulls[column - 1] ? NULL :
		DatumGetTextPP(known->values[column - 1]);
}

/* changes_of: what a repeated registration says otherwise than the row */
static char *
changes_of(const Registration *new, const Known *known)
{
	Jsonb	   *examples =
		DatumGetJsonbP(known->values[Anum_type_examples - 1]);
	StringInfoData changes;

	initStringInfo(&changes);
	note_differs(&changes, "description",
				!sn_text_equal(new->description,
							   text_of(known, Anum_type_description)));
	note_differs(&changes, "direction",
				!sn_text_equal(new->direction,
							   text_of(known, Anum_type_direction)));
	note_differs(&changes, "examples",
				compareJsonbContainers(&examples->root,
									   &new->examples->root) != 0);
	note_differs(&changes, "compatibility",
				!sn_text_equal(new->compatibility,
							   text_of(known, Anum_type_compatibility)));
	return changes.data;
}

/* set_columns: those that every registration sets */
static void
set_columns(const Registration *new, Datum *values, bool *nulls)
{
	values[Anum_type_direction - 1] = PointerGetDatum(new->direction);
	values[Anum_type_description - 1] = PointerGetDatum(new->description);
	nulls[Anum_type_description - 1] = new->description == NULL;
	values[Anum_type_examples - 1] = JsonbPGetDatum(new->examples);
	values[Anum_type_compatibility - 1] = PointerGetDatum(new->compatibility);
	nulls[Anum_type_dropped_at - 1] = true;
}

/* add_version: a row for a version that there was not */
static void
add_version(const Registration *new, int32 version)
{
	Datum		values[Natts_type] = {0};
	bool		nulls[Natts_type] = {false};

	values[Anum_type_event_type - 1] = PointerGetDatum(new->event_type);
	values[Anum_type_version - 1] = Int32GetDatum(version);
	values[Anum_type_schema - 1] = JsonbPGetDatum(new->schema);
	values[Anum_type_registered_at - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[Anum_type_registered_by - 1] =
		PointerGetDatum(sn_session_role());
	nulls[Anum_type_deprecated_since - 1] = true;
	set_columns(new, values, nulls);
	sn_type_replace(NULL, values, nulls);
	sn_type_record("register_event_type", new->event_type, NULL,
				   sn_type_json(values, nulls));
}

/* keep_version: a version that is registered, or was, is registered again */
static void
keep_version(const Registration *new, Known *known)
{
	char	   *changes = changes_of(new, known);
	const char *name = text_to_cstring(new->event_type);
	Jsonb	   *before;

	if (!known->nulls[Anum_type_deprecated_since - 1])
		ereport(NOTICE,
				(errmsg("version %d of event type \"%s\" is deprecated",
						known->version, name),
				 errhint("deprecate_event_type() can take that back.")));
	if (changes[0] == '\0' && !known->dropped)
		return;
	if (changes[0] != '\0' && !known->dropped)
		ereport(NOTICE,
				(errmsg("version %d of event type \"%s\" has changed: %s",
						known->version, name, changes)));
	before = sn_type_json(known->values, known->nulls);
	set_columns(new, known->values, known->nulls);
	sn_type_replace(&known->tid, known->values, known->nulls);
	sn_type_record("register_event_type", new->event_type, before,
				   sn_type_json(known->values, known->nulls));
}

/*
 * register_event_type(event_type text, schema jsonb, version int,
 *		description text, direction text, examples jsonb, compatibility text)
 *		returns int
 */
Datum
sentinai_register_event_type(PG_FUNCTION_ARGS)
{
	Registration new;
	Known		known;
	Snapshot	snapshot;
	int32		version;

	PreventCommandIfReadOnly("register_event_type()");
	sn_require_every("register event types");
	read_arguments(fcinfo, &new);
	sn_lock_types();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	look(&new, snapshot, &known);
	check_free(&new, &known);
	version = known.found ? known.version :
		new.version > 0 ? new.version : known.highest + 1;
	if (!known.found || known.dropped)
		sn_compatibility_check(new.event_type, version, new.schema, new.mode,
							   snapshot);
	UnregisterSnapshot(snapshot);
	if (known.found)
		keep_version(&new, &known);
	else
		add_version(&new, version);
	sn_types_changed();
	PG_RETURN_INT32(version);
}

/* deprecate_event_type(event_type, version, deprecated) returns int */
Datum
sentinai_deprecate_event_type(PG_FUNCTION_ARGS)
{
	text	   *event_type = sn_type_name_arg(fcinfo, 0);
	bool		deprecated;
	Snapshot	snapshot;
	SnTypeScan	scan;
	int			found = 0;
	int			changed = 0;

	SN_REQUIRE_ARG(2, "deprecated");
	PreventCommandIfReadOnly("deprecate_event_type()");
	sn_require_every("deprecate event types");
	deprecated = PG_GETARG_BOOL(2);
	sn_lock_types();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sn_type_scan_begin(&scan, event_type, snapshot);
	while (sn_type_scan_next(&scan))
	{
		Known		known;
		Jsonb	   *before;

		if (scan.dropped ||
			(!PG_ARGISNULL(1) && scan.version != PG_GETARG_INT32(1)))
			continue;
		found++;
		if (scan.deprecated == deprecated)
			continue;
		keep_row(&scan, true, &known);
		before = sn_type_json(known.values, known.nulls);
		known.values[Anum_type_deprecated_since - 1] =
			TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		known.nulls[Anum_type_deprecated_since - 1] = !deprecated;
		sn_type_replace(&known.tid, known.values, known.nulls);
		sn_type_record("deprecate_event_type", event_type, before,
					   sn_type_json(known.values, known.nulls));
		changed++;
	}
	sn_type_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	if (found == 0)
		sn_unknown_type(event_type,
						PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1));
	sn_types_changed();
	PG_RETURN_INT32(changed);
}

/* sn_type_drop: a version is registered no longer, under the lock of types */
void
sn_type_drop(text *event_type, int32 version)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SnTypeScan	scan;
	Known		known = {false};
	Jsonb	   *before;

	sn_type_scan_begin(&scan, event_type, snapshot);
	while (sn_type_scan_next(&scan))
		if (scan.version == version && !scan.dropped)
			keep_row(&scan, true, &known);
	sn_type_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	if (!known.found)
		sn_unknown_type(event_type, version);
	before = sn_type_json(known.values, known.nulls);
	known.values[Anum_type_dropped_at - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	known.nulls[Anum_type_dropped_at - 1] = false;
	sn_type_replace(&known.tid, known.values, known.nulls);
	sn_type_record("drop_event_type_version", event_type, before,
				   sn_type_json(known.values, known.nulls));
	sn_types_changed();
}

/*
 * event_type_changed(): trigger of table event_type, for what SQL changes there,
 * as a restored dump does
 */
Datum
sentinai_event_type_changed(PG_FUNCTION_ARGS)
{
	sn_require_trigger(fcinfo, "event_type_changed");
	sn_types_changed();
	PG_RETURN_POINTER(NULL);
}

/* json_schema(event_type text, version int) returns jsonb */
Datum
sentinai_json_schema(PG_FUNCTION_ARGS)
{
	text	   *event_type = sn_text_arg(fcinfo, 0, "event_type",
										 SN_TYPE_NAME_MAX);
	int32		version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	Jsonb	   *schema = NULL;
	SnTypeScan	scan;

	if (!sn_is_type_name(event_type))
		refuse(ERRCODE_SN_INVALID, "event_type " SN_TYPE_NAME_RULE);
	/* as the query sees it: another snapshot could not be taken in parallel mode */
	sn_type_scan_begin(&scan, event_type, GetActiveSnapshot());
	while (sn_type_scan_next(&scan))
		if (!scan.dropped &&
			(PG_ARGISNULL(1) ? !scan.deprecated : scan.version == version))
			schema = DatumGetJsonbPCopy(scan.values[Anum_type_schema - 1]);
	sn_type_scan_end(&scan);
	if (schema == NULL)
		sn_unknown_type(event_type, version);
	PG_RETURN_JSONB_P(schema);
}
