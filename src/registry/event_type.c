/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_type.c
 *		The event types that are registered, as publishers see them: a cache in
 *		each session, and the check of an event against it.
 *
 * A type is read when the session publishes its first event of it, and a schema
 * is compiled when the first event of that version comes.  So what is
 * registered and not used costs nothing.  Types that are not registered are
 * remembered, too.
 *
 * Whoever changes table event_type announces it as a change of the catalog's
 * about the table, which every session learns of when its next transaction
 * begins.  The server tells it to the session itself as well, when a command, a
 * savepoint or a transaction that changed the table ends or is rolled back.
 * A change that arrives during a check only marks the cache; the next check
 * empties it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/control_type.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "registry/event_type.h"
#include "registry/schema.h"
#include "registry/type_row.h"
#include "store/store.h"

#define CACHE_TYPES	16384		/* types that a session knows at once */
#define CACHE_SIZE	(64 * 1024 * 1024)	/* bytes, looked at when one is added */

/* A name, of which the bytes behind its end are zero: it is hashed as a whole */
typedef struct TypeKey
{
	int			len;
	char		bytes[SN_TYPE_NAME_MAX];
} TypeKey;

typedef struct TypeVersion
{
	int32		version;
	SnSchema   *schema;			/* NULL: not needed yet */
} TypeVersion;

typedef struct CachedType
{
	TypeKey		key;
	int			nversions;		/* 0: not registered */
	TypeVersion *versions;		/* rising */
	int			newest;			/* that is not deprecated; -1: all are */
} CachedType;

bool		sn_no_types = false;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static SnKnown known = {SN_EVENT_TYPE, &sn_no_types};
static CachedType *last = NULL; /* most events have the type of the one before */
static Size schemas_size = 0;	/* of those that are compiled */

/* forget_types: a table has changed */
static void
forget_types(Datum arg, Oid relid)
{
	sn_known_forget(&known, relid);
}

/* sn_types_changed: this transaction has changed table event_type */
void
sn_types_changed(void)
{
	sn_known_changed(&known);
}

/* sn_type_is_own: whether only the extension registers and publishes a type */
bool
sn_type_is_own(const text *event_type)
{
#define SN_IS(name) || sn_text_is(event_type, name)
	return false SN_OWN_TYPES(SN_IS);
#undef SN_IS
}

/* make_cache: an empty one; without memory for it nothing is known */
static void
make_cache(void)
{
	HASHCTL		ctl = {.keysize = sizeof(TypeKey),
	.entrysize = sizeof(CachedType)};
	bool		valid = known.valid;

	known.valid = false;
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "sentinai event types",
											  ALLOCSET_DEFAULT_SIZES);
		sn_watch_relations(forget_types);
	}
	last = NULL;
	cache = NULL;
	schemas_size = 0;
	MemoryContextReset(cache_context);
	ctl.hcxt = cache_context;
	cache = hash_create("sentinai event types", 64, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	known.valid = valid;
}

/* is_full: whether the cache has to be emptied before it takes more */
static bool
is_full(void)
{
	return hash_get_num_entries(cache) >= CACHE_TYPES ||
		schemas_size + MemoryContextMemAllocated(cache_context, false) >= CACHE_SIZE;
}

/* any_types: whether somebody has registered a type that is not ours */
static bool
any_types(void)
{
	SnTypeScan	scan;
	bool		found = false;

	sn_type_scan_begin(&scan, NULL, NULL);
	while (!found && sn_type_scan_next(&scan))
		found = !scan.dropped && !sn_type_is_own(scan.event_type);
	sn_type_scan_end(&scan);
	return found;
}

/* ready: make the cache valid */
static void
ready(void)
{
	if (known.valid)
		return;
	make_cache();
	sn_known_begin(&known);
	if (!OidIsValid(known.table) || !any_types())
		sn_no_types = known.valid;
}

/* read_versions: what table event_type has of a type, into its entry */
static void
read_versions(const text *event_type, CachedType *type)
{
	SnTypeScan	scan;
	int			room = 4;

	type->versions = MemoryContextAlloc(cache_context,
										room * sizeof(TypeVersion));
	sn_type_scan_begin(&scan, event_type, NULL);
	while (sn_type_scan_next(&scan))
	{
		if (scan.dropped)
			continue;
		if (type->nversions == room)
		{
			room *= 2;
			type->versions = repalloc(type->versions,
									  room * sizeof(TypeVersion));
		}
		if (!scan.deprecated)
			type->newest = type->nversions;
		type->versions[type->nversions].version = scan.version;
		type->versions[type->nversions++].schema = NULL;
	}
	sn_type_scan_end(&scan);
}

/* look_up_type: a type in the cache, which gets it when it has it not */
static CachedType *
look_up_type(const text *event_type)
{
	CachedType	read = {.newest = -1};
	TypeKey    *key = &read.key;
	CachedType *type;
	bool		found;

	key->len = VARSIZE_ANY_EXHDR(event_type);
	Assert(key->len <= SN_TYPE_NAME_MAX);
	memcpy(key->bytes, VARDATA_ANY(event_type), key->len);
	type = hash_search(cache, key, HASH_FIND, NULL);
	if (type != NULL)
		return type;
	if (is_full())
		make_cache();
	if (OidIsValid(known.table))
		read_versions(event_type, &read);
	type = hash_search(cache, key, HASH_ENTER, &found);
	*type = read;
	return type;
}

/* find_type: what there is to know of a type */
static CachedType *
find_type(const text *event_type)
{
	if (last == NULL ||
		!sn_text_has(event_type, last->key.bytes, last->key.len))
		last = look_up_type(event_type);
	return last;
}

/* find_version: a version of a type, or NULL */
static TypeVersion *
find_version(const CachedType *type, int32 version)
{
	int			low = 0;
	int			high = type->nversions;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (type->versions[middle].version == version)
			return &type->versions[middle];
		if (type->versions[middle].version < version)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* compile_version: the schema of a version, which may empty the cache before */
static const SnSchema *
compile_version(const text *event_type, int32 number)
{
	TypeVersion *version;
	Jsonb	   *document;

	if (is_full())
		make_cache();
	version = find_version(find_type(event_type), number);
	document = version == NULL ? NULL :
		sn_type_schema(event_type, number, NULL);
	if (document == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("event type \"%s\" was changed at this moment",
						text_to_cstring(event_type)),
				 errhint("Try again.")));
	version->schema = sn_schema_compile(document, cache_context);
	schemas_size += sn_schema_size(version->schema);
	pfree(document);
	return version->schema;
}

/* refuse: an error about the type of an event, of a batch or not */
static void pg_attribute_noreturn()
refuse(const char *why, int index, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 index > 0 ? errmsg("event %d of the batch: %s", index, why) :
			 errmsg("%s", why),
			 errhint("%s", hint)));
	pg_unreachable();
}

/*
 * choose_version: the version that an event has.  asked: what its publisher says, 0 for
 * the newest that is not deprecated.
 */
static TypeVersion *
choose_version(const text *event_type, const CachedType *type, int32 asked, int index)
{
	TypeVersion *version;

	if (asked == 0 && type->newest >= 0)
		return &type->versions[type->newest];
	if (asked == 0)
		refuse(psprintf("all versions of event type \"%s\" are deprecated",
						text_to_cstring(event_type)), index,
			   "Name a schema_version to publish one of them all the same, or publish another type.");
	version = find_version(type, asked);
	if (version == NULL)
		refuse(psprintf("event type \"%s\" has no version %d",
						text_to_cstring(event_type), asked), index,
			   "The view event_types shows the versions that are registered.");
	return version;
}

/*
 * refuse_payload: say what is wrong with it.  The detail is for the caller, in
 * JSON; names of fields may say something, so the log has only the count.
 */
static void pg_attribute_noreturn()
refuse_payload(const text *event_type, int32 version,
			   const SnSchemaErrors *errors, int index)
{
	char	   *what = psprintf("payload does not fit version %d of event type \"%s\"",
								version, text_to_cstring(event_type));
	StringInfoData detail;

	initStringInfo(&detail);
	sn_schema_errors_json(errors, &detail);
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 index > 0 ? errmsg("event %d of the batch: %s", index, what) :
			 errmsg("%s", what),
			 errdetail_internal("%s", detail.data),
			 errdetail_log_plural("The schema is broken in %d place, which the caller was told.",
								  "The schema is broken in %d places, which the caller was told.",
								  errors->count, errors->count)));
	pg_unreachable();
}

/*
 * sn_type_check: the version that an event is stored with, after a check of its
 * payload against the schema of that.  version: what the publisher says, or 0.
 * index is the event's place in its batch, from 1, or 0.
 */
int32
sn_type_check(const text *event_type, int32 version, Jsonb *payload,
			  int index)
{
	CachedType *type;
	TypeVersion *used;
	const SnSchema *schema;
	SnSchemaErrors errors;

	ready();
	type = find_type(event_type);
	if (type->nversions == 0)
	{
		if (sn_unknown_event_types == SN_UNKNOWN_REFUSE &&
			OidIsValid(known.table) &&	/* without the table none can be known */
			!sn_type_is_own(event_type))
			refuse(psprintf("event type \"%s\" is not registered",
							text_to_cstring(event_type)), index,
				   "Register it with register_event_type(); sentinai.unknown_event_types says whether it has to be.");
		return version > 0 ? version : 1;
	}
	used = choose_version(event_type, type, version, index);
	version = used->version;
	schema = used->schema != NULL ? used->schema :
		compile_version(event_type, version);
	if (!sn_schema_check(schema, payload, &errors))
		refuse_payload(event_type, version, &errors, index);
	return version;
}
