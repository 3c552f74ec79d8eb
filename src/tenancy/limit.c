/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * limit.c
 *		The limits that are set, as those see them who have to keep them: a
 *		cache in each session of what table tenant_limit says.
 *
 * A tenant's limits are read when the session first does something for it.  A
 * row of its own goes before the default, also when it is switched off.
 *
 * Whoever changes tenant_limit announces it as a change of the catalog's about
 * the table, as for event types (event_type.c); every session learns of it when
 * it takes its next lock, at the next statement at the latest.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/text.h"
#include "store/store.h"
#include "tenancy/limit.h"
#include "tenancy/right.h"

#define CACHE_TENANTS	16384	/* that a session knows at once */

/* What is in force for a tenant */
typedef struct CachedTenant
{
	text	   *tenant_id;		/* the key, by its bytes */
	int			n;
	SnLimit    *limits;			/* by their kinds, see compare_kinds() */
	SnLimit		publish[SN_PUBLISH_KINDS];	/* those of them that publishers
											 * look at, or none */
} CachedTenant;

const char *const sn_publish_kinds[SN_PUBLISH_KINDS] = {
	[SN_PUBLISH_EVENTS] = SN_KIND_EVENTS,
	[SN_PUBLISH_BYTES] = SN_KIND_BYTES,
};

bool		sn_no_publish_limits = false;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static SnKnown known = {SN_TENANT_LIMIT, &sn_no_publish_limits};
static CachedTenant *last = NULL;	/* most calls are for the tenant of before */

/* forget_limits: a table has changed */
static void
forget_limits(Datum arg, Oid relid)
{
	sn_known_forget(&known, relid);
}

/* sn_limits_changed: this transaction has changed table tenant_limit */
void
sn_limits_changed(void)
{
	sn_known_changed(&known);
}

/* hash_tenant, compare_tenants: of keys that point to texts */
static uint32
hash_tenant(const void *key, Size size)
{
	const text *tenant_id = *(text *const *) key;

	return hash_bytes((const unsigned char *) VARDATA_ANY(tenant_id),
					  VARSIZE_ANY_EXHDR(tenant_id));
}

static int
compare_tenants(const void *a, const void *b, Size size)
{
	return !sn_text_equal(*(text *const *) a, *(text *const *) b);
}

/* sn_tenant_hash: a table of entries that begin with a pointer to a tenant's id */
HTAB *
sn_tenant_hash(const char *name, Size entry, MemoryContext context)
{
	HASHCTL		ctl = {.keysize = sizeof(text *), .entrysize = entry,
	.hash = hash_tenant, .match = compare_tenants, .hcxt = context};

	return hash_create(name, 64, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* make_tenant_cache: an empty one */
static void
make_tenant_cache(void)
{
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "sentinai limits",
											  ALLOCSET_DEFAULT_SIZES);
		sn_watch_relations(forget_limits);
	}
	last = NULL;
	cache = NULL;
	MemoryContextReset(cache_context);
	cache = sn_tenant_hash("sentinai limits", sizeof(CachedTenant),
						   cache_context);
}

/* sn_limit_is_of_publishing: whether a kind is one that publishers are counted by */
bool
sn_limit_is_of_publishing(const text *kind)
{
	int			i;

	for (i = 0; i < SN_PUBLISH_KINDS; i++)
		if (sn_text_is(kind, sn_publish_kinds[i]))
			return true;
	return false;
}

/* scan_limits: walk over the rows of a tenant, or over all for NULL */
static void
scan_limits(SnScan *scan, const text *tenant_id, Snapshot snapshot)
{
	ScanKeyData key;

	if (tenant_id != NULL)
		sn_key_text(&key, 1, BTEqualStrategyNumber,
					PointerGetDatum(tenant_id));
	sn_scan_named(scan, SN_TENANT_LIMIT, SN_TENANT_LIMIT_PKEY, snapshot,
				  tenant_id != NULL ? 1 : 0, &key, ForwardScanDirection);
}

/* limit_column: of the row at hand, which is not null */
static Datum
limit_column(const SnScan *scan, AttrNumber number)
{
	return scan->slot->tts_values[number - 1];
}

/* any_publish_limit: whether there is one that publishers have to look at */
static bool
any_publish_limit(void)
{
	Snapshot	snapshot = sn_snapshot_now();
	SnScan		scan;
	bool		found = false;

	scan_limits(&scan, NULL, snapshot);
	while (!found && sn_scan_next(&scan))
	{
		slot_getallattrs(scan.slot);
		found = DatumGetBool(limit_column(&scan, Anum_limit_enabled)) &&
			sn_limit_is_of_publishing(DatumGetTextPP(limit_column(&scan,
																  Anum_limit_kind)));
	}
	sn_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * cache_ready: make the cache valid; false when there is no table yet, before an
 * update of the extension
 */
static bool
cache_ready(void)
{
	if (known.valid)
		return OidIsValid(known.table);
	make_tenant_cache();
	sn_known_begin(&known);
	if (!OidIsValid(known.table) || !any_publish_limit())
		sn_no_publish_limits = known.valid;
	return OidIsValid(known.table);
}

/* compare_kinds: the order of the table's index for limits of one tenant */
static int
compare_kinds(const void *a, const void *b)
{
	const SnBucketKey *x = &((const SnLimit *) a)->key;
	const SnBucketKey *y = &((const SnLimit *) b)->key;
	int			order = memcmp(x->kind, y->kind, Min(x->kind_len, y->kind_len));

	return order != 0 ? order : x->kind_len - y->kind_len;
}

/* find_kind: a limit among n that are in order, or NULL */
static SnLimit *
find_kind(SnLimit *limits, int n, const char *kind, int kind_len)
{
	SnLimit		wanted = {.key = {.kind = kind,.kind_len = kind_len}};

	return bsearch(&wanted, limits, n, sizeof(SnLimit), compare_kinds);
}

/*
 * add_limit: the row at hand, unless it is a default and one of the tenant's
 * own goes before it.  One that is switched off is kept until all are read, with
 * a window of 0.
 */
static void
add_limit(CachedTenant *tenant, int own, const SnScan *scan, int *room)
{
	text	   *kind = DatumGetTextPP(limit_column(scan, Anum_limit_kind));
	int			len = VARSIZE_ANY_EXHDR(kind);
	SnBucketKey *key;

	if (find_kind(tenant->limits, own, VARDATA_ANY(kind), len) != NULL)
		return;
	if (tenant->n == *room)
	{
		*room *= 2;
		tenant->limits = repalloc(tenant->limits, *room * sizeof(SnLimit));
	}
	memset(&tenant->limits[tenant->n], 0, sizeof(SnLimit));
	key = &tenant->limits[tenant->n++].key;
	key->tenant = VARDATA_ANY(tenant->tenant_id);
	key->tenant_len = VARSIZE_ANY_EXHDR(tenant->tenant_id);
	key->kind = memcpy(MemoryContextAlloc(cache_context, len),
					   VARDATA_ANY(kind), len);
	key->kind_len = len;
	key->value = DatumGetInt64(limit_column(scan, Anum_limit_value));
	if (DatumGetBool(limit_column(scan, Anum_limit_enabled)))
		key->window = sn_duration_of(DatumGetIntervalP(limit_column(scan,
															 Anum_limit_window)));
}

/* read_limits: what is in force for a tenant */
static void
read_limits(CachedTenant *tenant)
{
	Snapshot	snapshot = sn_snapshot_now();
	const text *whose[] = {tenant->tenant_id, cstring_to_text(SN_EVERY)};
	int			room = 4;
	int			own = 0;
	int			kept = 0;
	int			i;

	tenant->limits = MemoryContextAlloc(cache_context, room * sizeof(SnLimit));
	for (i = 0; i < lengthof(whose); i++)
	{
		SnScan		scan;

		scan_limits(&scan, whose[i], snapshot);
		while (sn_scan_next(&scan))
		{
			slot_getallattrs(scan.slot);
			add_limit(tenant, own, &scan, &room);
		}
		sn_scan_end(&scan);
		own = tenant->n;
	}
	UnregisterSnapshot(snapshot);
	for (i = 0; i < tenant->n; i++)
		if (tenant->limits[i].key.window > 0)
			tenant->limits[kept++] = tenant->limits[i];
	tenant->n = kept;
	qsort(tenant->limits, kept, sizeof(SnLimit), compare_kinds);
	for (i = 0; i < SN_PUBLISH_KINDS; i++)
	{
		SnLimit    *limit = find_kind(tenant->limits, tenant->n,
									  sn_publish_kinds[i],
									  strlen(sn_publish_kinds[i]));

		if (limit != NULL)
			tenant->publish[i] = *limit;
	}
}

/* look_up_tenant: a tenant in the cache, which gets it when it has it not */
static CachedTenant *
look_up_tenant(const text *tenant_id)
{
	CachedTenant read = {NULL};
	CachedTenant *tenant;
	bool		found;

	tenant = hash_search(cache, &tenant_id, HASH_FIND, NULL);
	if (tenant != NULL)
		return tenant;
	if (hash_get_num_entries(cache) >= CACHE_TENANTS)
		make_tenant_cache();
	read.tenant_id = MemoryContextAlloc(cache_context,
										VARSIZE_ANY(tenant_id));
	memcpy(read.tenant_id, tenant_id, VARSIZE_ANY(tenant_id));
	read_limits(&read);
	tenant = hash_search(cache, &read.tenant_id, HASH_ENTER, &found);
	*tenant = read;
	return tenant;
}

/* find_tenant: what is in force for a tenant; the cache is ready */
static CachedTenant *
find_tenant(const text *tenant_id)
{
	if (last == NULL || !sn_text_equal(last->tenant_id, tenant_id))
		last = look_up_tenant(tenant_id);
	return last;
}

/*
 * sn_limit_find: the limit of a kind that is in force for a tenant, or NULL.
 * It stays where it is until the next call of this room.
 */
SnLimit *
sn_limit_find(const text *tenant_id, const char *kind, int kind_len)
{
	CachedTenant *tenant;

	if (!cache_ready())
		return NULL;
	tenant = find_tenant(tenant_id);
	return find_kind(tenant->limits, tenant->n, kind, kind_len);
}

/*
 * sn_limits_of_publishing: likewise those that publishers look at, one for each
 * kind, or NULL when there are none at all
 */
SnLimit *
sn_limits_of_publishing(const text *tenant_id)
{
	if (!cache_ready() || sn_no_publish_limits)
		return NULL;
	return find_tenant(tenant_id)->publish;
}
