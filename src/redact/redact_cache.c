/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_cache.c
 *		The rules as publishers see them: a cache in each session.
 *
 * Rules are read and put together when the first event comes that they concern.
 * A tenant without rules of its own, and a type without any, share what others
 * have.  Changes of table redaction are announced like those of event_type,
 * see registry/event_type.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/printable.h"
#include "base/text.h"
#include "redact/redact.h"
#include "redact/redact_row.h"

#define NAME_MAX_LEN	256		/* of a tenant; a type has less */
#define CACHE_ENTRIES	16384
#define CACHE_SIZE		(64 * 1024 * 1024)	/* of sets of rules */

/* Bytes behind the end of a name are zero: a key is hashed as a whole */
typedef struct TenantKey
{
	int			len;
	char		bytes[NAME_MAX_LEN];
} TenantKey;

typedef struct CachedTenant
{
	TenantKey	key;
	bool		has_rules;		/* of its own */
} CachedTenant;

typedef struct SetKey
{
	CachedTenant *tenant;
	int			len;
	char		type[SN_TYPE_NAME_MAX];
} SetKey;

typedef struct CachedSet
{
	SetKey		key;
	SnRuleSet  *set;			/* NULL: no rules; may be another type's */
} CachedSet;

bool		sn_no_redactions = false;
Size		sn_rulesets_size = 0;

static MemoryContext cache_context = NULL;
static HTAB *tenants = NULL;
static HTAB *sets = NULL;
static SnKnown known = {SN_REDACTION, &sn_no_redactions};
static CachedTenant *everyone = NULL;
static CachedTenant *last_tenant = NULL;	/* of the event before */
static CachedSet *last_set = NULL;	/* for that tenant, or for everyone */

/* forget_rules: a table has changed */
static void
forget_rules(Datum arg, Oid relid)
{
	sn_known_forget(&known, relid);
}

/* sn_redactions_changed: this transaction has changed table redaction */
void
sn_redactions_changed(void)
{
	sn_known_changed(&known);
}

/* make_rule_table: an empty one of the cache's */
static HTAB *
make_rule_table(const char *name, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,
	.hcxt = cache_context};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * cut_name: a name, or as much of it as a name may have.  What no event can be
 * called is asked about, too, and must not be known under another's name.
 */
static const text *
cut_name(const text *name, int max)
{
	return VARSIZE_ANY_EXHDR(name) <= max ? name :
		cstring_to_text_with_len(VARDATA_ANY(name), max);
}

/* cached_tenant: a tenant in the cache, which gets it when it has it not */
static CachedTenant *
cached_tenant(const text *tenant_id)
{
	TenantKey	key = {.len = VARSIZE_ANY_EXHDR(tenant_id)};
	CachedTenant *tenant;
	SnRuleScan	scan;
	bool		has_rules;

	memcpy(key.bytes, VARDATA_ANY(tenant_id), key.len);
	tenant = hash_search(tenants, &key, HASH_FIND, NULL);
	if (tenant != NULL)
		return tenant;
	sn_rule_scan_begin(&scan, tenant_id);
	has_rules = sn_rule_scan_next(&scan);
	sn_rule_scan_end(&scan);
	tenant = hash_search(tenants, &key, HASH_ENTER, NULL);
	tenant->has_rules = has_rules;
	return tenant;
}

/* make_rule_cache: an empty one; without memory for it nothing is known */
static void
make_rule_cache(void)
{
	known.valid = sn_no_redactions = false;
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "sentinai redaction",
											  ALLOCSET_DEFAULT_SIZES);
		sn_watch_relations(forget_rules);
	}
	last_tenant = everyone = NULL;
	last_set = NULL;
	tenants = sets = NULL;
	sn_rulesets_size = 0;
	MemoryContextReset(cache_context);
	tenants = make_rule_table("sentinai redaction tenants", sizeof(TenantKey),
						 sizeof(CachedTenant));
	sets = make_rule_table("sentinai redaction rules", sizeof(SetKey),
					  sizeof(CachedSet));
}

/* any_rules: whether there is a rule */
static bool
any_rules(void)
{
	SnTableScan *scan = sn_table_read(SN_REDACTION, NULL);
	bool		found = sn_table_next(scan) != NULL;

	sn_table_end(scan);
	return found;
}

/* ready_rules: make the cache valid, and keep it small */
static void
ready_rules(void)
{
	if (known.valid && hash_get_num_entries(tenants) < CACHE_ENTRIES &&
		hash_get_num_entries(sets) < CACHE_ENTRIES &&
		sn_rulesets_size < CACHE_SIZE)
		return;
	make_rule_cache();
	sn_known_begin(&known);
	if (!OidIsValid(known.table) || !any_rules())
		sn_no_redactions = known.valid;
}

/* read_rules: those of a tenant for a type, and for all; how many were for the type */
static int
read_rules(SnRuleSet *set, const text *tenant_id, const text *event_type)
{
	int			own = 0;
	SnRuleScan	scan;

	sn_rule_scan_begin(&scan, tenant_id);
	while (sn_rule_scan_next(&scan))
	{
		bool		fits = sn_text_equal(scan.event_type, event_type);
		SnRule		rule;

		if (!fits && !sn_text_is(scan.event_type, SN_EVERY))
			continue;
		own += fits;
		sn_rule_read(&scan, set->context, &rule);
		sn_ruleset_add(set, &rule);
	}
	sn_rule_scan_end(&scan);
	return own;
}

/*
 * compile_rules: the rules of a tenant for a type.  own: how many of them are not
 * for all types.  NULL when there are none.
 */
static SnRuleSet *
compile_rules(const CachedTenant *tenant, const text *event_type, int *own)
{
	SnRuleSet  *set = sn_ruleset_begin(CurrentMemoryContext);

	*own = read_rules(set, cstring_to_text(SN_EVERY), event_type);
	if (tenant != everyone)
		*own += read_rules(set,
						   cstring_to_text_with_len(tenant->key.bytes,
													tenant->key.len),
						   event_type);
	if (set->nnodes == 1 && set->text.method == SN_METHOD_NONE)
	{
		MemoryContextDelete(set->context);
		return NULL;
	}
	sn_ruleset_end(set);
	return set;
}

/* find_set: the rules of a tenant for a type, in the cache when it is back */
static CachedSet *
find_set(CachedTenant *tenant, const text *event_type)
{
	SetKey		key;
	CachedSet  *entry;
	SnRuleSet  *set;
	int			own;

	memset(&key, 0, sizeof(key));
	key.tenant = tenant;
	key.len = VARSIZE_ANY_EXHDR(event_type);
	memcpy(key.type, VARDATA_ANY(event_type), key.len);
	entry = hash_search(sets, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry;
	set = compile_rules(tenant, event_type, &own);
	if (own == 0 && !sn_text_is(event_type, SN_EVERY))
	{
		if (set != NULL)
			MemoryContextDelete(set->context);
		set = find_set(tenant, cstring_to_text(SN_EVERY))->set;
	}
	else if (set != NULL)
	{
		sn_rulesets_size += MemoryContextMemAllocated(set->context, false);
		MemoryContextSetParent(set->context, cache_context);
	}
	entry = hash_search(sets, &key, HASH_ENTER, NULL);
	entry->set = set;
	return entry;
}

/* sn_ruleset_of: the rules for events of a type of a tenant, or NULL */
SnRuleSet *
sn_ruleset_of(const text *tenant_id, const text *event_type)
{
	ready_rules();
	if (sn_no_redactions)
		return NULL;
	tenant_id = cut_name(tenant_id, NAME_MAX_LEN);
	event_type = cut_name(event_type, SN_TYPE_NAME_MAX);
	if (everyone == NULL)
		everyone = cached_tenant(cstring_to_text(SN_EVERY));
	if (last_tenant == NULL ||
		!sn_text_has(tenant_id, last_tenant->key.bytes, last_tenant->key.len))
	{
		last_tenant = cached_tenant(tenant_id);
		last_set = NULL;
	}
	if (last_set == NULL ||
		!sn_text_has(event_type, last_set->key.type, last_set->key.len))
		last_set = find_set(last_tenant->has_rules ? last_tenant : everyone,
							event_type);
	return last_set->set;
}
