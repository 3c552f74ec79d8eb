/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * bucket_table.c
 *		The buckets of all tenants, in dynamic shared memory.
 *
 * The memory is taken when the first bucket is needed and grows with their
 * number, up to sentinai.limit_buckets.  A server without limits has none of
 * it, and it is there without shared_preload_libraries, too.
 *
 * A bucket has a place in a chunk.  Chunks are never given back, so a pointer to
 * a place stays good; its `life` tells whether the bucket there is still the
 * one that was looked for.  When there is no room for one more, a full bucket
 * makes place: it is like no bucket at all.  One that is not full holds a debt
 * and stays, so there may be no room.  A tenant that has many gets no more: who
 * may set its limits could take the places of all others with ever new kinds.
 *
 * Locks: SnShared.buckets.lock guards which bucket is at which place: held to
 * look one up, and exclusively to make one, which may take memory and raise an
 * error; nothing is half done then.  The place's mutex guards its numbers.  It is
 * the only one that is taken for a bucket that is known, for a few instructions.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/dsa.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "base/steady.h"
#include "shared/shmem.h"
#include "tenancy/bucket_table.h"

#define CHUNK_SLOTS		1024
#define MAX_CHUNKS		(SN_MAX_LIMIT_BUCKETS / CHUNK_SLOTS)
#define HEADS			65536	/* of chains; a power of two */
#define TENANT_BUCKETS	256		/* of a tenant at a time */
#define EVICT_LOOKS		1024	/* buckets that are looked at for a full one */
#define VISIT_SLOTS		256		/* that are read under one lock */

struct SnBucketSlot
{
	slock_t		mutex;
	uint32		life;			/* under the mutex, changes under both locks */
	SnBucket	bucket;
	int64		refused;
	int64		made_at;
	/* under the lock of the table */
	uint32		hash;
	uint32		next;			/* number of a slot, from 1; 0: the last */
	uint32		tenant_hash;
	uint32		tenant_next;	/* as next, of the tenant's chain */
	Oid			dboid;
	uint16		tenant_len;
	uint16		kind_len;
	dsa_pointer name;			/* tenant and kind; invalid: no bucket */
};

/* In the dynamic memory */
typedef struct Table
{
	uint32		nslots;			/* in use; the chunks for them are there */
	uint32		hand;			/* the last one that was looked at for a full one */
	uint32		spare;			/* the first that has no bucket, as
								 * SnBucketSlot.next */
	uint32		heads[HEADS];	/* as SnBucketSlot.next */
	uint32		tenants[HEADS]; /* as SnBucketSlot.tenant_next */
	dsa_pointer chunks[MAX_CHUNKS];
} Table;

static dsa_area *area = NULL;
static Table *table = NULL;
static SnBucketSlot *chunks[MAX_CHUNKS];	/* addresses in this process */

#define TABLE_LOCK	(&sn_shared()->buckets.lock)

/* attach: to the area that somebody has made */
static void
attach(void)
{
	SnShared   *s = sn_shared();
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	area = dsa_attach(s->buckets.area);
	dsa_pin_mapping(area);
	table = dsa_get_address(area, s->buckets.table);
	MemoryContextSwitchTo(old);
}

/* make_area: for all processes; the lock is held */
static void
make_area(void)
{
	SnShared   *s = sn_shared();
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	dsa_area   *made = dsa_create(s->tranche_id);
	dsa_pointer place = dsa_allocate_extended(made, sizeof(Table),
											  DSA_ALLOC_ZERO);

	dsa_pin(made);
	dsa_pin_mapping(made);
	s->buckets.table = place;
	s->buckets.area = dsa_get_handle(made);
	area = made;
	table = dsa_get_address(area, place);
	MemoryContextSwitchTo(old);
}

/* have_table: whether there are buckets; attaches to them.  Lock held */
static bool
have_table(void)
{
	Assert(LWLockHeldByMe(TABLE_LOCK));
	if (table != NULL)
		return true;
	if (sn_shared()->buckets.area == DSM_HANDLE_INVALID)
		return false;
	attach();
	return true;
}

/* slot_at: the place with a number, from 1 */
static SnBucketSlot *
slot_at(uint32 number)
{
	uint32		chunk = (number - 1) / CHUNK_SLOTS;

	if (chunks[chunk] == NULL)
		chunks[chunk] = dsa_get_address(area, table->chunks[chunk]);
	return &chunks[chunk][(number - 1) % CHUNK_SLOTS];
}

static uint32
hash_of(const SnBucketKey *key)
{
	return hash_combine(hash_bytes((const unsigned char *) key->tenant,
								   key->tenant_len),
						hash_combine(hash_bytes((const unsigned char *) key->kind,
												key->kind_len),
									 murmurhash32(MyDatabaseId)));
}

static uint32
tenant_hash_of(const SnBucketKey *key)
{
	return hash_combine(hash_bytes((const unsigned char *) key->tenant,
								   key->tenant_len),
						murmurhash32(MyDatabaseId));
}

/* is_tenants: whether a bucket is of a tenant, whatever its kind; lock held */
static bool
is_tenants(const SnBucketSlot *slot, const SnBucketKey *key, uint32 tenant_hash)
{
	return slot->tenant_hash == tenant_hash && slot->dboid == MyDatabaseId &&
		slot->tenant_len == key->tenant_len &&
		memcmp(dsa_get_address(area, slot->name), key->tenant,
			   key->tenant_len) == 0;
}

/* holds_bucket: whether the bucket that is looked for is at a place; lock held */
static bool
holds_bucket(const SnBucketSlot *slot, const SnBucketKey *key, uint32 hash)
{
	const char *name;

	if (slot->hash != hash || slot->dboid != MyDatabaseId ||
		slot->tenant_len != key->tenant_len || slot->kind_len != key->kind_len)
		return false;
	name = dsa_get_address(area, slot->name);
	return memcmp(name, key->tenant, key->tenant_len) == 0 &&
		memcmp(name + key->tenant_len, key->kind, key->kind_len) == 0;
}

/* find: a bucket that is there; lock held */
static bool
find(const SnBucketKey *key, uint32 hash, SnBucketRef *ref)
{
	uint32		number = table->heads[hash % HEADS];

	Assert(LWLockHeldByMe(TABLE_LOCK));
	for (; number != 0; number = ref->slot->next)
	{
		ref->slot = slot_at(number);
		if (holds_bucket(ref->slot, key, hash))
		{
			ref->life = ref->slot->life;
			return true;
		}
	}
	ref->slot = NULL;
	return false;
}

/* unlink_slot: take a place out of its chains; lock held */
static void
unlink_slot(uint32 number)
{
	SnBucketSlot *slot = slot_at(number);
	uint32	   *link = &table->heads[slot->hash % HEADS];

	while (*link != number)
		link = &slot_at(*link)->next;
	*link = slot->next;
	link = &table->tenants[slot->tenant_hash % HEADS];
	while (*link != number)
		link = &slot_at(*link)->tenant_next;
	*link = slot->tenant_next;
}

/*
 * free_full: have a bucket make place if it is full.  Whoever knows the place sees
 * that its life has changed.  Lock held exclusively.
 */
static bool
free_full(uint32 number, int64 now)
{
	SnBucketSlot *slot = slot_at(number);
	bool		full;

	SpinLockAcquire(&slot->mutex);
	full = sn_bucket_is_full(&slot->bucket, now);
	if (full)
		slot->life++;
	SpinLockRelease(&slot->mutex);
	if (!full)
		return false;
	unlink_slot(number);
	dsa_free(area, slot->name);
	slot->name = InvalidDsaPointer;
	slot->dboid = InvalidOid;
	slot->next = table->spare;
	table->spare = number;
	return true;
}

/* evict: have a full bucket make place, if one is found; lock held exclusively */
static void
evict(int64 now)
{
	uint32		looks = Min(EVICT_LOOKS, table->nslots);

	for (; looks > 0; looks--)
	{
		table->hand = table->hand % table->nslots + 1;
		if (slot_at(table->hand)->name != InvalidDsaPointer &&
			free_full(table->hand, now))
			return;
	}
}

/*
 * may_have_more: whether a tenant may have one more bucket; a full one of its own
 * makes place if it has as many as it may.  Lock held exclusively.
 */
static bool
may_have_more(const SnBucketKey *key, uint32 tenant_hash, int64 now)
{
	uint32		head = table->tenants[tenant_hash % HEADS];
	uint32		number;
	int			n = 0;

	for (number = head; number != 0; number = slot_at(number)->tenant_next)
		n += is_tenants(slot_at(number), key, tenant_hash);
	if (n < TENANT_BUCKETS)
		return true;
	for (number = head; number != 0; number = slot_at(number)->tenant_next)
		if (is_tenants(slot_at(number), key, tenant_hash) &&
			free_full(number, now))
			return true;
	return false;
}

/* add_slot: a place that nobody has had, or 0.  Lock held exclusively. */
static uint32
add_slot(void)
{
	uint32		chunk = table->nslots / CHUNK_SLOTS;
	SnBucketSlot *slot;

	if (table->nslots >= (uint32) sn_limit_buckets)
		return 0;
	if (table->chunks[chunk] == InvalidDsaPointer)
		table->chunks[chunk] =
			dsa_allocate_extended(area, CHUNK_SLOTS * sizeof(SnBucketSlot),
								  DSA_ALLOC_NO_OOM | DSA_ALLOC_ZERO);
	if (table->chunks[chunk] == InvalidDsaPointer)
		return 0;
	slot = slot_at(table->nslots + 1);
	SpinLockInit(&slot->mutex);
	return ++table->nslots;
}

/* spare_slot: a place for a bucket, or 0.  Lock held exclusively. */
static uint32
spare_slot(int64 now)
{
	uint32		number;

	if (table->spare == 0)
	{
		number = add_slot();
		if (number != 0)
			return number;
		evict(now);
	}
	number = table->spare;
	if (number != 0)
		table->spare = slot_at(number)->next;
	return number;
}

/* copy_name: tenant and kind, for a bucket; invalid when there is no memory */
static dsa_pointer
copy_name(const SnBucketKey *key)
{
	dsa_pointer name = dsa_allocate_extended(area,
											 key->tenant_len + key->kind_len,
											 DSA_ALLOC_NO_OOM);
	char	   *bytes;

	if (name == InvalidDsaPointer)
		return name;
	bytes = dsa_get_address(area, name);
	memcpy(bytes, key->tenant, key->tenant_len);
	memcpy(bytes + key->tenant_len, key->kind, key->kind_len);
	return name;
}

/* make: a full bucket; false when there is no room.  Lock held exclusively. */
static bool
make(const SnBucketKey *key, uint32 hash, SnBucketRef *ref, int64 now)
{
	uint32		tenant_hash = tenant_hash_of(key);
	dsa_pointer name = InvalidDsaPointer;
	uint32		number = 0;
	SnBucketSlot *slot;

	if (may_have_more(key, tenant_hash, now))
		name = copy_name(key);
	if (name != InvalidDsaPointer)
		number = spare_slot(now);
	if (number == 0)
	{
		if (name != InvalidDsaPointer)
			dsa_free(area, name);
		return false;
	}
	slot = slot_at(number);
	slot->hash = hash;
	slot->dboid = MyDatabaseId;
	slot->tenant_len = key->tenant_len;
	slot->kind_len = key->kind_len;
	slot->name = name;
	slot->next = table->heads[hash % HEADS];
	slot->tenant_hash = tenant_hash;
	slot->tenant_next = table->tenants[tenant_hash % HEADS];
	SpinLockAcquire(&slot->mutex);
	slot->life++;
	sn_bucket_fill(&slot->bucket, key->value, key->window, now);
	slot->refused = 0;
	slot->made_at = now;
	SpinLockRelease(&slot->mutex);
	table->heads[hash % HEADS] = number;
	table->tenants[tenant_hash % HEADS] = number;
	ref->slot = slot;
	ref->life = slot->life;
	return true;
}

/* find_or_make: the bucket, made if it is not there and there is room */
static bool
find_or_make(const SnBucketKey *key, SnBucketRef *ref, int64 now)
{
	uint32		hash = hash_of(key);
	bool		found;

	LWLockAcquire(TABLE_LOCK, LW_SHARED);
	found = have_table() && find(key, hash, ref);
	LWLockRelease(TABLE_LOCK);
	if (found)
		return true;
	LWLockAcquire(TABLE_LOCK, LW_EXCLUSIVE);
	if (!have_table())
		make_area();
	found = find(key, hash, ref) || make(key, hash, ref, now);
	LWLockRelease(TABLE_LOCK);
	return found;
}

/*
 * enter: take the mutex of the bucket, as it is to be by the key; false when
 * there is no room for it
 */
static bool
enter(const SnBucketKey *key, SnBucketRef *ref, int64 now)
{
	for (;;)
	{
		if (ref->slot == NULL && !find_or_make(key, ref, now))
			return false;
		SpinLockAcquire(&ref->slot->mutex);
		if (likely(ref->slot->life == ref->life))
			break;
		SpinLockRelease(&ref->slot->mutex);
		ref->slot = NULL;
	}
	sn_bucket_change(&ref->slot->bucket, key->value, key->window, now);
	return true;
}

/* sn_bucket_table_look: a copy of the bucket */
SnTaken
sn_bucket_table_look(const SnBucketKey *key, SnBucketRef *ref, int64 now,
					 SnBucket *found)
{
	if (!enter(key, ref, now))
		return SN_TAKEN_NO_ROOM;
	*found = ref->slot->bucket;
	SpinLockRelease(&ref->slot->mutex);
	return SN_TAKEN;
}

/* sn_bucket_table_take: n units, or none; found: what there is afterwards */
SnTaken
sn_bucket_table_take(const SnBucketKey *key, SnBucketRef *ref, int64 n,
					 int64 now, SnBucket *found)
{
	bool		taken;

	if (!enter(key, ref, now))
		return SN_TAKEN_NO_ROOM;
	taken = sn_bucket_take(&ref->slot->bucket, n, now);
	*found = ref->slot->bucket;
	SpinLockRelease(&ref->slot->mutex);
	return taken ? SN_TAKEN : SN_TAKEN_NONE;
}

/* sn_bucket_table_undo: give back what a call has taken that is refused */
void
sn_bucket_table_undo(const SnBucketKey *key, SnBucketRef *ref, int64 n,
					 int64 total_before, int64 taken_at, int64 now)
{
	if (!enter(key, ref, now))
		return;
	sn_bucket_give_back(&ref->slot->bucket, n, total_before, taken_at, now);
	SpinLockRelease(&ref->slot->mutex);
}

/* sn_bucket_table_refused: one more call was refused */
void
sn_bucket_table_refused(const SnBucketKey *key, SnBucketRef *ref)
{
	if (!enter(key, ref, sn_steady_us()))
		return;
	ref->slot->refused++;
	SpinLockRelease(&ref->slot->mutex);
}

/* copy_view: what there is at a place; lock held */
static bool
copy_view(SnBucketSlot *slot, SnBucketView *view)
{
	const char *name;

	if (slot->dboid != MyDatabaseId)
		return false;
	name = dsa_get_address(area, slot->name);
	view->tenant_id = cstring_to_text_with_len(name, slot->tenant_len);
	view->kind = cstring_to_text_with_len(name + slot->tenant_len,
										  slot->kind_len);
	SpinLockAcquire(&slot->mutex);
	view->bucket = slot->bucket;
	view->refused = slot->refused;
	view->made_at = slot->made_at;
	SpinLockRelease(&slot->mutex);
	return true;
}

/*
 * sn_bucket_table_visit: the buckets of this database, some at a time, so that
 * others are not kept waiting.  What is made meanwhile may be missing.
 */
void
sn_bucket_table_visit(SnBucketVisit visit, void *arg)
{
	SnBucketView views[VISIT_SLOTS];
	uint32		number = 1;
	uint32		nslots;

	do
	{
		int			n = 0;
		int			i;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(TABLE_LOCK, LW_SHARED);
		nslots = have_table() ? table->nslots : 0;
		for (i = 0; i < VISIT_SLOTS && number <= nslots; i++)
			if (copy_view(slot_at(number++), &views[n]))
				n++;
		LWLockRelease(TABLE_LOCK);
		for (i = 0; i < n; i++)
		{
			visit(&views[i], arg);
			pfree(views[i].tenant_id);
			pfree(views[i].kind);
		}
	}
	while (number <= nslots);
}
