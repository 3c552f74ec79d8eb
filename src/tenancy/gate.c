/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * gate.c
 *		Whether a caller may do something for a tenant.  The one place that
 *		answers.
 *
 * The caller is the current user, as everywhere in PostgreSQL: what a SECURITY
 * DEFINER function does is done by its owner, and SET ROLE gives up what the
 * role does not have.  A role has the grants of the roles whose rights it
 * inherits.  The owner of the tables, superusers, and who was granted "admin"
 * may everything.
 *
 * Nobody is asked unless sentinai.tenant_isolation is on or act_as() narrows
 * the transaction.  So where neither is, a question is one branch.
 *
 * What was looked up is kept in each session: for each role that asked, whose
 * grants it has and what it may for every tenant, and what it may for the
 * tenants it named.  Tenants without a grant are kept, too, so that a foreign
 * one costs what an unknown one costs.  A change of the tables of grants is
 * announced as one of the catalog's, and a change of roles or memberships is
 * one; every session learns of both when its next transaction begins.  It only
 * marks the cache, and the next question empties it.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/sqlstate.h"
#include "base/names.h"
#include "base/text.h"
#include "store/store.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

#define CACHE_ENTRIES	16384	/* names that a session knows at once */

/* A role that has asked */
typedef struct Asker
{
	Oid			role;
	bool		admin;
	bool		needs_proof;	/* may nothing without one */
	int			everywhere;		/* rights for every tenant */
	int			ngranted;
	Oid		   *granted;		/* the roles whose grants it has */
	bool		listed;			/* what follows is known */
	SnNames		readable;		/* tenants that it may read */
} Asker;

/* What is asked about, and what for */
typedef enum Subject
{
	ABOUT_TENANT,
	ABOUT_WORKER_TYPE
} Subject;

typedef struct NameKey
{
	Oid			role;
	Subject		about;
	int			len;
	const char *bytes;			/* of an entry: its own */
} NameKey;

typedef struct Answer
{
	NameKey		name;
	int			rights;			/* of a worker type: SN_WORK_GRANTED ... */
} Answer;

bool		sn_work_free = false;

static MemoryContext cache_context = NULL;
static HTAB *answers = NULL;	/* of Answer */
static List *askers = NIL;		/* of Asker */
static SnKnown known = {SN_TENANT_GRANT, &sn_work_free};
static Asker *last_asker = NULL;
static Answer *last = NULL;
static Oid	asked_for = InvalidOid; /* whom the work is done for; none: the
									 * current user */
static bool asked_elsewhere = false;	/* his code runs in another's session */

/* forget_grants: a table has changed */
static void
forget_grants(Datum arg, Oid relid)
{
	sn_known_forget(&known, relid);
}

/* forget_roles: somebody's memberships or rights have changed */
static void
forget_roles(Datum arg, int cacheid, uint32 hashvalue)
{
	known.valid = sn_work_free = false;
}

/* sn_grants_changed: this transaction has changed one of the tables of grants */
void
sn_grants_changed(void)
{
	sn_known_changed(&known);
}

/* hash_name, match_names: names are compared as far as they go */
static uint32
hash_name(const void *key, Size keysize)
{
	const NameKey *name = key;

	return hash_bytes((const unsigned char *) name->bytes, name->len) ^
		murmurhash32(name->role + name->about);
}

static int
match_names(const void *a, const void *b, Size keysize)
{
	const NameKey *x = a;
	const NameKey *y = b;

	return x->role != y->role || x->about != y->about || x->len != y->len ||
		memcmp(x->bytes, y->bytes, x->len) != 0;
}

/* make_gate_cache: an empty one */
static void
make_gate_cache(void)
{
	HASHCTL		ctl = {.keysize = sizeof(NameKey),.entrysize = sizeof(Answer),
	.hash = hash_name,.match = match_names};

	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "sentinai grants",
											  ALLOCSET_DEFAULT_SIZES);
		sn_watch_relations(forget_grants);
		CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, forget_roles, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, forget_roles, (Datum) 0);
	}
	last = NULL;
	last_asker = NULL;
	askers = NIL;
	answers = NULL;
	MemoryContextReset(cache_context);
	ctl.hcxt = cache_context;
	answers = hash_create("sentinai grants", 64, &ctl,
						  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
						  HASH_CONTEXT);
}

/* gate_ready: make the cache valid */
static void
gate_ready(void)
{
	if (known.valid)
		return;
	make_gate_cache();
	sn_known_begin(&known);
	if (!OidIsValid(known.table) || !sn_any_work_grant())
		sn_work_free = known.valid;
}

/* read_asker: what a role may for every tenant, and whose grants it has */
static void
read_asker(Asker *asker)
{
	SnGrantRoles roles;

	asker->admin = has_privs_of_role(asker->role, sn_tables_owner());
	if (asker->admin || !OidIsValid(known.table))
		return;
	sn_grant_roles_begin(&roles);
	while (sn_grant_roles_next(&roles))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (!has_privs_of_role(asker->role, roles.role))
			continue;
		old = MemoryContextSwitchTo(cache_context);
		if (asker->granted == NULL)
			asker->granted = palloc(sizeof(Oid));
		else
			asker->granted = repalloc(asker->granted,
									  (asker->ngranted + 1) * sizeof(Oid));
		MemoryContextSwitchTo(old);
		asker->granted[asker->ngranted++] = roles.role;
		asker->everywhere |= sn_tenant_rights(roles.role, NULL);
	}
	sn_grant_roles_end(&roles);
	asker->admin = (asker->everywhere & SN_RIGHT_ADMIN) != 0;
	asker->needs_proof = !asker->admin && sn_needs_proof(asker->role);
}

/* sn_gate_asker: whose rights count */
Oid
sn_gate_asker(void)
{
	return OidIsValid(asked_for) ? asked_for : GetUserId();
}

/*
 * sn_gate_ask_for: from now on the rights of this role count, whoever is the
 * current user; InvalidOid: his again.  Returns who it was before, which has to
 * be put back, after an error, too.
 */
Oid
sn_gate_ask_for(Oid role)
{
	Oid			before = asked_for;

	if (!OidIsValid(before))	/* soon we are in one of our own */
		asked_elsewhere = InSecurityRestrictedOperation();
	asked_for = role;
	return before;
}

/* find_role: what is known of a role */
static Asker *
find_role(Oid role)
{
	Asker		read = {.role = role};
	MemoryContext old;
	ListCell   *lc;

	gate_ready();
	if (last_asker != NULL && last_asker->role == role)
		return last_asker;
	last_asker = NULL;
	foreach(lc, askers)
		if (((Asker *) lfirst(lc))->role == role)
			return last_asker = lfirst(lc);
	read_asker(&read);
	old = MemoryContextSwitchTo(cache_context);
	last_asker = palloc(sizeof(Asker));
	*last_asker = read;
	askers = lappend(askers, last_asker);
	MemoryContextSwitchTo(old);
	return last_asker;
}

/* find_asker: what is known of who asks */
static Asker *
find_asker(void)
{
	return find_role(sn_gate_asker());
}

/* look_up: what the grants that a role has say of a name */
static int
look_up(const Asker *asker, Subject about, const text *name)
{
	int			rights = 0;
	int			i;

	if (about == ABOUT_WORKER_TYPE)
		return sn_work_rights(asker->role, name);
	for (i = 0; i < asker->ngranted; i++)
		rights |= sn_tenant_rights(asker->granted[i], name);
	return rights;
}

/* answer_by_name: the rights that the current user has by a name */
static int
answer_by_name(Asker *asker, Subject about, const text *value)
{
	NameKey		name = {asker->role, about, VARSIZE_ANY_EXHDR(value),
	VARDATA_ANY(value)};
	Answer	   *entry;
	char	   *bytes;
	int			rights;
	bool		found;

	if (last != NULL && match_names(&last->name, &name, 0) == 0)
		return last->rights;
	entry = hash_search(answers, &name, HASH_FIND, NULL);
	if (entry == NULL)
	{
		if (name.len > SN_TENANT_NAME_MAX)
			return 0;
		rights = look_up(asker, about, value);
		if (hash_get_num_entries(answers) >= CACHE_ENTRIES)
		{
			known.valid = false;	/* the next question empties it */
			return rights;
		}
		bytes = MemoryContextAlloc(cache_context, name.len + 1);
		memcpy(bytes, name.bytes, name.len);
		name.bytes = bytes;
		entry = hash_search(answers, &name, HASH_ENTER, &found);
		entry->rights = rights;
	}
	last = entry;
	return entry->rights;
}

/* was_granted: whether a role has one of the rights for a tenant, or for all */
static bool
was_granted(Asker *asker, int rights, const text *tenant_id)
{
	if (asker->admin || (asker->everywhere & rights) != 0)
		return true;
	return tenant_id != NULL && asker->ngranted > 0 &&
		(answer_by_name(asker, ABOUT_TENANT, tenant_id) & rights) != 0;
}

/* sn_gate_was_granted: the same of the caller, whatever else it takes */
bool
sn_gate_was_granted(int rights, const text *tenant_id)
{
	return was_granted(find_asker(), rights, tenant_id);
}

/*
 * sn_gate_needs_proof: whether the caller may nothing without a proof.  Who has set
 * another role is still who logged in, so that role's mark counts, too.  And in a
 * SECURITY DEFINER function whose owner he may become: he can have made it.  Where
 * the server runs the code of a table's owner for somebody else, as autovacuum does
 * with expressions of indexes, nobody has logged in as that owner.  He may be one
 * that a marked role becomes.
 */
bool
sn_gate_needs_proof(void)
{
	Oid			role = sn_gate_asker();
	Oid			session = GetSessionUserId();
	bool		marked = role != session && find_role(session)->needs_proof &&
		(role == GetOuterUserId() || is_member_of_role(session, role));
	bool		elsewhere = OidIsValid(asked_for) ? asked_elsewhere :
		InSecurityRestrictedOperation();
	bool		unasked = elsewhere && role != session && sn_any_needs_proof();
	Asker	   *asker = find_role(role);

	return asker->needs_proof || ((marked || unasked) && !asker->admin);
}

/* sn_gate_may: sn_may() where it matters */
bool
sn_gate_may(int rights, const text *tenant_id)
{
	if (sn_acting && (tenant_id == NULL || !sn_acts_for(tenant_id)))
		return false;
	if (!sn_tenant_isolation)
		return true;
	if (sn_gate_needs_proof() && !sn_acts_proved(sn_gate_asker()))
		return false;
	return sn_gate_was_granted(rights, tenant_id);
}

/* list_readable: the tenants that a role may read, or one more than the most */
static void
list_readable(Asker *asker)
{
	MemoryContext old = MemoryContextSwitchTo(cache_context);
	Datum	   *granted = palloc(sizeof(Datum) * (SN_READABLE_MAX + 1));
	int			i;
	int			n = 0;

	for (i = 0; i < asker->ngranted && n <= SN_READABLE_MAX; i++)
	{
		List	   *tenants = sn_granted_tenants(asker->granted[i], SN_RIGHT_READ,
												 SN_READABLE_MAX + 1 - n);
		ListCell   *lc;

		foreach(lc, tenants)
			granted[n++] = PointerGetDatum(lfirst(lc));
		list_free(tenants);
	}
	sn_names_of(granted, n, &asker->readable);
	pfree(granted);
	MemoryContextSwitchTo(old);
	asker->listed = n <= SN_READABLE_MAX;
	if (!asker->listed)
		asker->readable.n = n;
}

/*
 * sn_gate_readable: the tenants whose events the caller may read, each once, until the
 * gate is asked again.  False: every tenant, or more of them than SN_READABLE_MAX.
 */
bool
sn_gate_readable(text ***tenants, int *n)
{
	static text *acted_for;
	Asker	   *asker;

	*n = 0;
	if (!sn_gate_asks())
		return false;
	if (sn_acting)
	{
		acted_for = sn_acts_for_whom();
		*tenants = &acted_for;
		*n = sn_gate_may(SN_RIGHT_READ, acted_for);
		return true;
	}
	if (sn_gate_needs_proof())
		return true;
	asker = find_asker();
	if (asker->admin || (asker->everywhere & SN_RIGHT_READ) != 0)
		return false;
	if (!asker->listed && asker->readable.n <= SN_READABLE_MAX)
		list_readable(asker);
	*tenants = asker->readable.names;
	*n = asker->readable.n;
	return asker->listed;
}

/*
 * sn_gate_may_claim: sn_may_claim() where it matters.  Without isolation only
 * subscriptions that somebody was granted are anybody's business.
 */
bool
sn_gate_may_claim(const text *worker_type)
{
	Asker	   *asker = find_asker();

	if (asker->admin || (!sn_tenant_isolation && sn_work_free))
		return true;
	if (!OidIsValid(known.table))
		return !sn_tenant_isolation;
	return (answer_by_name(asker, ABOUT_WORKER_TYPE, worker_type) &
			(sn_tenant_isolation ? SN_WORK_GRANTED :
			 SN_WORK_GRANTED | SN_WORK_FREE)) != 0;
}

/*
 * sn_gate_may_watch: whether the caller may see figures that are of all tenants
 * together: who is there for all of them, or watches the server.
 */
bool
sn_gate_may_watch(void)
{
	return !sn_gate_asks() ||
		sn_gate_may(SN_RIGHT_READ | SN_RIGHT_OPERATE, NULL) ||
		(!sn_acting && has_privs_of_role(sn_gate_asker(), ROLE_PG_MONITOR));
}

/* sn_gate_is_admin: whether the caller may everything, whatever act_as() says */
bool
sn_gate_is_admin(void)
{
	return find_asker()->admin;
}

/*
 * sn_refuse_tenant: the error of who lacks a right.  The text is the same for
 * a tenant of others and for one that nobody knows.  what: as in "publish for".
 */
void
sn_refuse_tenant(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_TENANT_NOT_ALLOWED),
			 errmsg("tenant_id is not one the caller may %s", what)));
	pg_unreachable();
}

/* sn_refuse_worker_type: the same for a subscription, whether it is there or not */
void
sn_refuse_worker_type(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_TENANT_NOT_ALLOWED),
			 errmsg("worker_type is not one the caller may %s", what)));
	pg_unreachable();
}

/* sn_require_claim: an error unless the caller may claim from a subscription */
void
sn_require_claim(const text *worker_type)
{
	if (!sn_may_claim(worker_type))
		sn_refuse_worker_type("work for");
}

/* sn_require: an error unless the caller has one of the rights */
void
sn_require(int rights, const text *tenant_id, const char *what)
{
	if (!sn_may(rights, tenant_id))
		sn_refuse_tenant(what);
}

/*
 * sn_require_every: an error unless the caller may operate for every tenant:
 * for what all of them share
 */
void
sn_require_every(const char *what)
{
	if (!sn_may(SN_RIGHT_OPERATE, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_SN_TENANT_NOT_ALLOWED),
				 errmsg("the caller may not %s", what),
				 errdetail("It takes the right \"operate\" for every tenant.")));
}

/* sn_require_admin: an error unless the caller may everything */
void
sn_require_admin(const char *what)
{
	if (!sn_gate_is_admin())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errdetail("Only the owner of the extension, superusers and members of a role with the right \"admin\" may do that.")));
}
