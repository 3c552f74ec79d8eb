/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * charge.c
 *		What a call that publishes takes of limits: all of it or nothing.
 *
 * A call may be for many tenants, each with a bucket for each kind.  Nothing is
 * locked meanwhile.  First all buckets are looked at, so that most calls that
 * are over a limit take nothing; then each gives its units.  If one of them has
 * not so many any more, the others get theirs back, and the call is refused.
 * They do not get back what may have run over in between (bucket.c): so nobody
 * ever gets more than the limits say.
 *
 * What was taken stays taken when the transaction is rolled back.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "base/steady.h"
#include "base/text.h"
#include "tenancy/charge.h"
#include "tenancy/limit.h"

#define FEW_ITEMS 8				/* that are looked through one by one */
#define MAX_ITEMS 65536			/* of a statement whose rows come one by one;
								 * those of more tenants are not given back */

/* A tenant's part */
typedef struct ChargeItem
{
	text	   *tenant_id;
	SnLimit		limits[SN_PUBLISH_KINDS];
	int64		wanted[SN_PUBLISH_KINDS];
	int64		taken[SN_PUBLISH_KINDS];
	int64		taken_at[SN_PUBLISH_KINDS]; /* the first of it */
	int64		total_before[SN_PUBLISH_KINDS]; /* SnBucket.total, before that */
} ChargeItem;

struct SnCharge
{
	MemoryContext context;
	int			n;
	int			room;
	int			last;			/* item of the tenant before */
	ChargeItem *items;
	HTAB	   *places;			/* of tenants in items; NULL: there are few */
};

/* Where a tenant is among the items */
typedef struct ChargePlace
{
	text	   *tenant_id;		/* the key, by its bytes */
	int			place;
} ChargePlace;

/* Why a call is refused: the limit that it has to wait for longest */
typedef struct Refusal
{
	SnLimit    *limit;
	int64		n;				/* units of it that the call needs */
	int64		wait;			/* us, or SN_BUCKET_NEVER */
	SnBucket	bucket;
} Refusal;

/* waits_longer: whether one wait is longer than another */
static bool
waits_longer(int64 wait, int64 than)
{
	if (than == SN_BUCKET_NEVER)
		return false;
	return wait == SN_BUCKET_NEVER || wait > than;
}

/* weigh: look whether the call waits for this limit, and longer than for others */
static void
weigh(SnLimit *limit, int64 n, int64 now, Refusal *why)
{
	SnBucket	bucket;
	int64		wait;

	if (sn_bucket_table_look(&limit->key, &limit->ref, now, &bucket) != SN_TAKEN)
		sn_limit_no_room(limit);
	wait = sn_bucket_wait(&bucket, n, now);
	if (wait == 0 || (why->limit != NULL && !waits_longer(wait, why->wait)))
		return;
	why->limit = limit;
	why->n = n;
	why->wait = wait;
	why->bucket = bucket;
}

/* weigh_items: the longest wait of all; nothing of it is taken */
static void
weigh_items(ChargeItem *items, int n, Refusal *why)
{
	int64		now = sn_steady_us();
	int			i;
	int			k;

	why->limit = NULL;
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (k = 0; k < SN_PUBLISH_KINDS; k++)
			if (items[i].wanted[k] > 0)
				weigh(&items[i].limits[k], items[i].wanted[k], now, why);
	}
}

/* take_item: what a tenant's part needs; or, in lacks, the kind that it fails of */
static SnTaken
take_item(ChargeItem *item, int64 now, int *lacks)
{
	int			k;

	for (k = 0; k < SN_PUBLISH_KINDS; k++)
	{
		SnLimit    *limit = &item->limits[k];
		int64		n = item->wanted[k];
		SnBucket	bucket;
		SnTaken		result;

		if (n == 0)
			continue;
		result = sn_bucket_table_take(&limit->key, &limit->ref, n, now,
									  &bucket);
		if (result != SN_TAKEN)
		{
			*lacks = k;
			return result;
		}
		if (item->taken[k] == 0)
		{
			item->taken_at[k] = now;
			item->total_before[k] = bucket.total - n;
		}
		item->taken[k] += n;
		item->wanted[k] = 0;
	}
	return SN_TAKEN;
}

/* undo_items: give back what was taken; it is wanted again */
static void
undo_items(ChargeItem *items, int n)
{
	int64		now = sn_steady_us();
	int			i;
	int			k;

	for (i = 0; i < n; i++)
		for (k = 0; k < SN_PUBLISH_KINDS; k++)
		{
			SnLimit    *limit = &items[i].limits[k];

			if (items[i].taken[k] == 0)
				continue;
			sn_bucket_table_undo(&limit->key, &limit->ref, items[i].taken[k],
								 items[i].total_before[k],
								 items[i].taken_at[k], now);
			items[i].wanted[k] += items[i].taken[k];
			items[i].taken[k] = 0;
		}
}

/* refuse_items: nothing is taken any more, and the call fails of a limit at least */
static void pg_attribute_noreturn()
refuse_items(ChargeItem *items, int n, SnLimit *limit, int64 wanted)
{
	Refusal		why;

	weigh_items(items, n, &why);
	if (why.limit == NULL)		/* it has what it lacked a moment ago */
	{
		weigh(limit, PG_INT64_MAX, sn_steady_us(), &why);
		why.n = wanted;
		why.wait = 1;
	}
	sn_limit_refuse(why.limit, why.n, &why.bucket, why.wait);
}

/*
 * take_part: what a tenant's part needs; if it has not so much, all n items give
 * back what they took
 */
static void
take_part(ChargeItem *items, int n, int part, int64 now)
{
	ChargeItem *item = &items[part];
	int			lacks;
	SnTaken		result = take_item(item, now, &lacks);
	int64		wanted;

	if (likely(result == SN_TAKEN))
		return;
	wanted = item->wanted[lacks];
	undo_items(items, n);
	if (result == SN_TAKEN_NO_ROOM)
		sn_limit_no_room(&item->limits[lacks]);
	refuse_items(items, n, &item->limits[lacks], wanted);
}

/* want: add to what a tenant's part needs, of kinds that are limited */
static inline void
want(ChargeItem *item, int64 events, int64 bytes)
{
	if (item->limits[SN_PUBLISH_EVENTS].key.kind != NULL)
		item->wanted[SN_PUBLISH_EVENTS] += events;
	if (item->limits[SN_PUBLISH_BYTES].key.kind != NULL)
		item->wanted[SN_PUBLISH_BYTES] += bytes;
}

/* sn_charge_event: a call that publishes one event, with so many bytes */
void
sn_charge_event(const text *tenant_id, int64 bytes)
{
	SnLimit    *limits = sn_limit_bypass ? NULL :
		sn_limits_of_publishing(tenant_id);
	ChargeItem	item = {NULL};

	if (limits == NULL)
		return;
	memcpy(item.limits, limits, sizeof(item.limits));
	want(&item, 1, bytes);
	take_part(&item, 1, 0, sn_steady_us());
	memcpy(limits, item.limits, sizeof(item.limits));	/* where the buckets are */
}

/* sn_charge_begin: a call that may publish for many tenants, or NULL: no limits */
SnCharge *
sn_charge_begin(MemoryContext context)
{
	SnCharge   *charge;

	if (sn_limit_bypass)
		return NULL;
	charge = MemoryContextAllocZero(context, sizeof(SnCharge));
	charge->context = context;
	charge->room = 4;
	charge->items = MemoryContextAlloc(context,
									   charge->room * sizeof(ChargeItem));
	return charge;
}

/* note_place: have an item found by the hash of its tenant */
static void
note_place(SnCharge *charge, int i)
{
	ChargePlace *place = hash_search(charge->places,
									 &charge->items[i].tenant_id, HASH_ENTER,
									 NULL);

	place->place = i;
}

/* index_items: from now on all are */
static void
index_items(SnCharge *charge)
{
	int			i;

	charge->places = sn_tenant_hash("sentinai charge", sizeof(ChargePlace),
									charge->context);
	for (i = 0; i < charge->n; i++)
		note_place(charge, i);
}

/* find_item: the place of a tenant, or -1 */
static int
find_item(const SnCharge *charge, const text *tenant_id)
{
	ChargePlace *found;
	int			i;

	if (charge->n > 0 &&
		sn_text_equal(charge->items[charge->last].tenant_id, tenant_id))
		return charge->last;
	if (charge->places != NULL)
	{
		found = hash_search(charge->places, &tenant_id, HASH_FIND, NULL);
		return found == NULL ? -1 : found->place;
	}
	for (i = 0; i < charge->n; i++)
		if (sn_text_equal(charge->items[i].tenant_id, tenant_id))
			return i;
	return -1;
}

/* copy_limits: a part's own copy, as what a session knows may go at any time */
static void
copy_limits(ChargeItem *item, const SnLimit *limits)
{
	int			k;

	for (k = 0; k < SN_PUBLISH_KINDS; k++)
	{
		item->limits[k] = limits[k];
		item->limits[k].key.tenant = VARDATA_ANY(item->tenant_id);
		if (limits[k].key.kind != NULL)
			item->limits[k].key.kind = sn_publish_kinds[k];
	}
}

/* add_item: a part for a tenant that has none yet */
static int
add_item(SnCharge *charge, const text *tenant_id)
{
	const SnLimit *limits = sn_limits_of_publishing(tenant_id);
	MemoryContext old = MemoryContextSwitchTo(charge->context);
	ChargeItem *item;

	if (charge->n == charge->room)
	{
		charge->items = repalloc_huge(charge->items,
									  2 * charge->room * sizeof(ChargeItem));
		charge->room *= 2;
	}
	item = &charge->items[charge->n];
	memset(item, 0, sizeof(ChargeItem));
	item->tenant_id = sn_text_copy(tenant_id);
	if (limits != NULL)
		copy_limits(item, limits);
	MemoryContextSwitchTo(old);
	charge->n++;
	if (charge->places != NULL)
		note_place(charge, charge->n - 1);
	else if (charge->n > FEW_ITEMS)
		index_items(charge);
	return charge->n - 1;
}

/* charge_item: a tenant's part; it is where it is until there is another one */
static ChargeItem *
charge_item(SnCharge *charge, const text *tenant_id)
{
	int			place = find_item(charge, tenant_id);

	if (place < 0)
		place = add_item(charge, tenant_id);
	charge->last = place;
	return &charge->items[place];
}

/* sn_charge_add: what the call needs for a tenant, beside what was added before */
void
sn_charge_add(SnCharge *charge, const text *tenant_id, int64 events,
			  int64 bytes)
{
	want(charge_item(charge, tenant_id), events, bytes);
}

/* sn_charge_take: what was added, or SN429 */
void
sn_charge_take(SnCharge *charge)
{
	int64		now;
	int			i;

	if (charge->n > 1)
	{
		Refusal		why;

		weigh_items(charge->items, charge->n, &why);
		if (why.limit != NULL)
			sn_limit_refuse(why.limit, why.n, &why.bucket, why.wait);
	}
	now = sn_steady_us();
	for (i = 0; i < charge->n; i++)
		take_part(charge->items, charge->n, i, now);
}

/*
 * sn_charge_row: one more event of a statement that does not know yet how many it
 * has; what it took for those before is given back if this one is refused
 */
void
sn_charge_row(SnCharge *charge, const text *tenant_id, int64 bytes)
{
	ChargeItem *item;

	if (charge->n >= MAX_ITEMS && find_item(charge, tenant_id) < 0)
	{
		sn_charge_event(tenant_id, bytes);
		return;
	}
	item = charge_item(charge, tenant_id);
	want(item, 1, bytes);
	take_part(charge->items, charge->n, charge->last, sn_steady_us());
}
