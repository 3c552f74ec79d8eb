/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trees.c
 *		Reading the log by id into a Merkle tree for each tenant.
 *
 * The primary key gives the order.  A partition that somebody drops meanwhile
 * has no events.
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "audit/leaf.h"
#include "audit/trees.h"
#include "base/control_type.h"
#include "base/text.h"
#include "store/range.h"
#include "store/store.h"

/* after: the id that follows another */
static pg_uuid_t
after(const pg_uuid_t *id)
{
	pg_uuid_t	result = *id;
	int			i = UUID_LEN - 1;

	while (i >= 0 && ++result.data[i] == 0)
		i--;
	return result;
}

/* id_before: the id that another follows */
static pg_uuid_t
id_before(const pg_uuid_t *id)
{
	pg_uuid_t	result = *id;
	int			i = UUID_LEN - 1;

	while (i >= 0 && result.data[i]-- == 0)
		i--;
	return result;
}

/*
 * clip: what of [from, upper) a partition takes; false: nothing.  Nobody looks for
 * a row where it does not belong, so such a row is not there.
 */
static bool
clip(const SnRange *ids, pg_uuid_t *from, pg_uuid_t *upper)
{
	if (!ids->no_lower && sn_uuid_cmp(&ids->lower, from) > 0)
		*from = ids->lower;
	if (!ids->no_upper && sn_uuid_cmp(&ids->upper, upper) < 0)
		*upper = ids->upper;
	return sn_uuid_cmp(from, upper) < 0;
}

/* see_partition: its rows with ids in [from, upper), in order */
static bool
see_partition(Oid partition, Snapshot snapshot, const pg_uuid_t *from,
			  const pg_uuid_t *upper, SnSeeRow see, void *arg)
{
	Relation	rel = try_relation_open(partition, AccessShareLock);
	ScanKeyData keys[2];
	SnScan		scan;
	bool		more = true;

	if (rel == NULL)
		return true;
	sn_key_uuid(&keys[0], 1, BTGreaterEqualStrategyNumber, from);
	sn_key_uuid(&keys[1], 1, BTLessStrategyNumber, upper);
	sn_scan_begin(&scan, partition, sn_index_of(rel, Anum_log_event_id),
				  snapshot, 2, keys, ForwardScanDirection);
	while (more && sn_scan_next(&scan))
	{
		slot_getallattrs(scan.slot);
		more = see(scan.slot, arg);
	}
	sn_scan_end(&scan);
	relation_close(rel, AccessShareLock);
	return more;
}

/* sn_see_log: the same of the whole log; false when see() had enough */
bool
sn_see_log(Snapshot snapshot, const pg_uuid_t *from, const pg_uuid_t *upper,
		   SnSeeRow see, void *arg)
{
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	bool		more = true;
	ListCell   *lc;

	foreach(lc, ranges)
	{
		const SnPartRange *range = lfirst(lc);
		pg_uuid_t	first = *from;
		pg_uuid_t	end = *upper;

		if (more && clip(&range->ids, &first, &end))
			more = see_partition(range->oid, snapshot, &first, &end, see, arg);
	}
	list_free_deep(ranges);
	return more;
}

/* sn_log_oldest: the first id that the log has room for; zeros: no bound */
void
sn_log_oldest(pg_uuid_t *id)
{
	List	   *ranges = sn_partition_ranges(SN_EVENT_LOG);
	const SnPartRange *first = ranges == NIL ? NULL : linitial(ranges);

	memset(id, 0, sizeof(pg_uuid_t));
	if (first != NULL && !first->ids.no_lower)
		*id = first->ids.lower;
	list_free_deep(ranges);
}

/*
 * sn_log_reaches: whether the log still has the partition of the ids before one.
 * Retention goes on beside a partition that somebody holds, so an older one may
 * be there.
 */
bool
sn_log_reaches(const pg_uuid_t *upper)
{
	pg_uuid_t	last = id_before(upper);
	SnRange		range;

	return OidIsValid(sn_range_find(SN_EVENT_LOG, &last, &range));
}

/* see_first: note the id, and stop */
static bool
see_first(TupleTableSlot *slot, void *arg)
{
	*(pg_uuid_t *) arg = *DatumGetUUIDP(slot->tts_values[Anum_log_event_id - 1]);
	return false;
}

/* sn_first_event: the first event from an id on; false: there is none */
bool
sn_first_event(Snapshot snapshot, const pg_uuid_t *from, pg_uuid_t *id)
{
	pg_uuid_t	upper;

	memset(upper.data, 0xFF, UUID_LEN);
	return !sn_see_log(snapshot, from, &upper, see_first, id);
}

/* sn_trees_begin: no trees yet, to be read from an id on */
SnTrees *
sn_trees_begin(MemoryContext parent, const pg_uuid_t *from)
{
	MemoryContext context = AllocSetContextCreate(parent, "sentinai audit",
												  ALLOCSET_DEFAULT_SIZES);
	SnTrees    *trees = MemoryContextAllocZero(context, sizeof(SnTrees));
	HASHCTL		ctl = {
		.keysize = SN_TENANT_NAME_MAX + 1,
		.entrysize = sizeof(SnTenantTree),
		.hcxt = context
	};

	trees->context = context;
	trees->scratch = AllocSetContextCreate(context, "sentinai audit event",
										   ALLOCSET_DEFAULT_SIZES);
	trees->tenants = hash_create("sentinai tenants", 64, &ctl,
								 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	trees->next = *from;
	return trees;
}

/* tree_of: a tenant's tree, an empty one for a tenant that is new */
static SnTenantTree *
tree_of(SnTrees *trees, const char *tenant_id)
{
	bool		found;
	SnTenantTree *result = hash_search(trees->tenants, tenant_id, HASH_ENTER,
									   &found);

	if (!found)
	{
		sn_merkle_begin(&result->tree,
						trees->wanted == NULL ? NULL : &trees->wanted->path);
		result->worth_telling = false;
		result->compared = false;
	}
	return result;
}

/* note_wanted: the event whose proof is asked for is the next leaf */
static void
note_wanted(SnWanted *wanted, const SnMerkle *tree, const SnDigest *leaf,
			TupleTableSlot *slot)
{
	wanted->found = true;
	wanted->path.leaf = tree->leaves;
	wanted->leaf = *leaf;
	sn_leaf_fields(&wanted->fields, slot->tts_values, slot->tts_isnull);
}

/* A reading, and how many rows it may still see */
typedef struct Reading
{
	SnTrees    *trees;
	int64		left;
} Reading;

/* text_if_any: the text in a column; NULL: who owns the server has put null there */
static text *
text_if_any(TupleTableSlot *slot, AttrNumber column)
{
	return slot->tts_isnull[column - 1] ? NULL :
		DatumGetTextPP(slot->tts_values[column - 1]);
}

/* see_event: a leaf of its tenant's tree */
static bool
see_event(TupleTableSlot *slot, void *arg)
{
	Reading    *reading = arg;
	SnTrees    *trees = reading->trees;
	const pg_uuid_t *id = DatumGetUUIDP(slot->tts_values[Anum_log_event_id - 1]);
	text	   *tenant_id = text_if_any(slot, Anum_log_tenant_id);

	if (trees->only == NULL ||
		(tenant_id != NULL && sn_text_equal(tenant_id, trees->only)))
	{
		MemoryContext old = MemoryContextSwitchTo(trees->scratch);
		SnDigest	leaf;
		SnTenantTree *tree;
		text	   *type = text_if_any(slot, Anum_log_event_type);

		sn_leaf(slot->tts_values, slot->tts_isnull, &leaf);
		tree = tree_of(trees, tenant_id == NULL ? "" :
					   text_to_cstring(tenant_id));
		tree->worth_telling |= type == NULL ||
			!sn_text_is(type, SN_TYPE_AUDIT_ROOT);
		MemoryContextSwitchTo(trees->context);
		if (trees->wanted != NULL &&
			sn_uuid_cmp(id, &trees->wanted->event_id) == 0)
			note_wanted(trees->wanted, &tree->tree, &leaf, slot);
		sn_merkle_add(&tree->tree, &leaf);
		trees->events++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(trees->scratch);
	}
	trees->next = after(id);
	return --reading->left > 0;
}

/*
 * sn_trees_read: read events with ids from trees->next on and below upper, so
 * many at most; whether all of them have been read
 */
bool
sn_trees_read(SnTrees *trees, Snapshot snapshot, const pg_uuid_t *upper,
			  int64 most)
{
	Reading		reading = {trees, most};
	pg_uuid_t	from = trees->next;

	return sn_see_log(snapshot, &from, upper, see_event, &reading);
}

static int
by_tenant(const void *a, const void *b)
{
	return strcmp((*(SnTenantTree *const *) a)->tenant_id,
				  (*(SnTenantTree *const *) b)->tenant_id);
}

/* sn_trees_sorted: the trees, by the bytes of their tenants' names */
SnTenantTree **
sn_trees_sorted(SnTrees *trees, int *n)
{
	long		count = hash_get_num_entries(trees->tenants);
	SnTenantTree **result = palloc((count + 1) * sizeof(SnTenantTree *));
	HASH_SEQ_STATUS scan;
	SnTenantTree *tree;

	*n = 0;
	hash_seq_init(&scan, trees->tenants);
	while ((tree = hash_seq_search(&scan)) != NULL)
		result[(*n)++] = tree;
	qsort(result, *n, sizeof(SnTenantTree *), by_tenant);
	return result;
}

/* sn_trees_of: a tenant's tree, or NULL */
SnTenantTree *
sn_trees_of(SnTrees *trees, const text *tenant_id)
{
	return hash_search(trees->tenants, text_to_cstring(tenant_id), HASH_FIND,
					   NULL);
}

void
sn_trees_end(SnTrees *trees)
{
	MemoryContextDelete(trees->context);
}
