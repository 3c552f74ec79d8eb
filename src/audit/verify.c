/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * verify.c
 *		verify_audit(): whether the log is what the evidence says.
 *
 * Each interval is read again by the primary key, and its trees are compared
 * with the rows.  The rows are compared with their chains.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit/audit_row.h"
#include "audit/dropped.h"
#include "audit/trees.h"
#include "base/sentinai.h"
#include "base/text.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_verify_audit);

/* Columns of the result */
enum
{
	VERIFY_INTERVAL_NO, VERIFY_TENANT_ID, VERIFY_FROM_TIME, VERIFY_TO_TIME,
	VERIFY_EVENTS, VERIFY_FOUND, VERIFY_STATUS, VERIFY_COLUMNS
};

/* One call */
typedef struct Verification
{
	ReturnSetInfo *result;
	Snapshot	snapshot;
	text	   *tenant_id;		/* NULL: all */
	SnInterval	last;			/* the interval before */
} Verification;

static Datum
id_time(const pg_uuid_t *id)
{
	return TimestampTzGetDatum(sn_tick_timestamp(sn_uuid_tick(id)));
}

/* put_result: a row of the result; a number below 0 is null */
static void
put_result(Verification *v, const SnInterval *interval, const char *tenant_id,
		   int64 events, int64 found, const char *status)
{
	Datum		values[VERIFY_COLUMNS] = {0};
	bool		nulls[VERIFY_COLUMNS] = {false};

	values[VERIFY_INTERVAL_NO] = Int64GetDatum(interval->no);
	nulls[VERIFY_INTERVAL_NO] = interval->no == 0;
	nulls[VERIFY_TENANT_ID] = tenant_id == NULL;
	if (tenant_id != NULL)
		values[VERIFY_TENANT_ID] = CStringGetTextDatum(tenant_id);
	values[VERIFY_FROM_TIME] = id_time(&interval->from_id);
	values[VERIFY_TO_TIME] = id_time(&interval->to_id);
	values[VERIFY_EVENTS] = Int64GetDatum(events);
	nulls[VERIFY_EVENTS] = events < 0;
	values[VERIFY_FOUND] = Int64GetDatum(found);
	nulls[VERIFY_FOUND] = found < 0;
	values[VERIFY_STATUS] = CStringGetTextDatum(status);
	tuplestore_putvalues(v->result->setResult, v->result->setDesc, values,
						 nulls);
}

/* compare: what the log says of a row of audit_root */
static const char *
compare(Verification *v, const SnInterval *interval, const SnRoot *root,
		SnTenantTree *tree, bool dropped)
{
	SnRoot		expected = *root;
	SnRoot		last;
	SnDigest	digest;

	sn_root_newest(v->snapshot, root->tenant_id, root->no, &last);
	sn_root_chain(&expected, interval, &last.chain);
	if (last.no != root->no - 1 ||
		memcmp(&expected.chain, &root->chain, sizeof(SnDigest)) != 0)
		return "chain broken";
	if (dropped)
		return "dropped";
	if (tree == NULL || tree->tree.leaves < root->events)
		return "missing";
	if (tree->tree.leaves > root->events)
		return "added";
	sn_merkle_root(&tree->tree, &digest);
	return memcmp(&digest, &root->root, sizeof(SnDigest)) == 0 ? "ok" : "altered";
}

/* verify_root: a tenant in an interval */
static void
verify_root(Verification *v, const SnInterval *interval, const SnRoot *root,
			SnTrees *trees, bool dropped)
{
	SnTenantTree *tree = sn_trees_of(trees, root->tenant_id);
	int64		found = tree == NULL ? 0 : tree->tree.leaves;
	const char *status = compare(v, interval, root, tree, dropped);

	if (tree != NULL)
		tree->compared = true;
	put_result(v, interval, text_to_cstring(root->tenant_id), root->events,
			   found, status);
}

/* is_asked: whether a tenant is one that the caller asks about */
static bool
is_asked(const Verification *v, const text *tenant_id)
{
	return v->tenant_id == NULL || sn_text_equal(v->tenant_id, tenant_id);
}

/*
 * verify_roots: all tenants of an interval, and what the interval says of them.
 * Whether its events were dropped is asked now that the log has been read:
 * retention goes on meanwhile.  A partition that is gone in another way is missing.
 */
static void
verify_roots(Verification *v, const SnInterval *interval, SnTrees *trees)
{
	SnInterval	expected = *interval;
	bool		dropped = !sn_log_reaches(&interval->to_id) &&
		sn_dropped_has(&interval->to_id);
	SnMerkle	tree;
	SnScan		scan;
	SnRoot		root;

	sn_merkle_begin(&tree, NULL);
	sn_roots_begin(&scan, v->snapshot, interval->no);
	while (sn_roots_next(&scan, &root))
	{
		sn_merkle_add(&tree, &root.chain);
		if (is_asked(v, root.tenant_id))
			verify_root(v, interval, &root, trees, dropped);
	}
	sn_scan_end(&scan);
	memset(&expected.root, 0, sizeof(SnDigest));
	if (tree.leaves > 0)
		sn_merkle_root(&tree, &expected.root);
	sn_interval_chain(&expected, &v->last.chain);
	if (interval->no != v->last.no + 1 ||
		(v->last.no > 0 &&
		 sn_uuid_cmp(&interval->from_id, &v->last.to_id) != 0) ||
		memcmp(&expected.root, &interval->root, sizeof(SnDigest)) != 0 ||
		memcmp(&expected.chain, &interval->chain, sizeof(SnDigest)) != 0)
		put_result(v, interval, NULL, interval->events, -1, "chain broken");
}

/* put_added: events of tenants that an interval has no root of */
static void
put_added(Verification *v, const SnInterval *interval, SnTrees *trees)
{
	SnTenantTree **tenants;
	int			n;
	int			i;

	tenants = sn_trees_sorted(trees, &n);
	for (i = 0; i < n; i++)
		if (!tenants[i]->compared)
			put_result(v, interval, tenants[i]->tenant_id, 0,
					   tenants[i]->tree.leaves, "added");
}

/* verify_before: the first interval begins with the log, so nothing is older */
static void
verify_before(Verification *v, const pg_uuid_t *lower, const SnInterval *first)
{
	SnInterval	before = {.from_id = *lower,.to_id = first->from_id};
	SnTrees    *trees = sn_trees_begin(CurrentMemoryContext, lower);

	trees->only = v->tenant_id;
	(void) sn_trees_read(trees, v->snapshot, &before.to_id, PG_INT64_MAX);
	put_added(v, &before, trees);
	sn_trees_end(trees);
}

/* verify_interval: one interval */
static void
verify_interval(Verification *v, const SnInterval *interval)
{
	SnTrees    *trees = sn_trees_begin(CurrentMemoryContext,
									   &interval->from_id);

	trees->only = v->tenant_id;
	(void) sn_trees_read(trees, v->snapshot, &interval->to_id, PG_INT64_MAX);
	verify_roots(v, interval, trees);
	put_added(v, interval, trees);
	sn_trees_end(trees);
	v->last = *interval;
}

/* has_roots_after: whether there is a root of an interval that is gone */
static bool
has_roots_after(const Verification *v, int64 interval_no)
{
	SnScan		scan;
	SnRoot		root;
	bool		found = false;

	sn_roots_after(&scan, v->snapshot, interval_no);
	while (!found && sn_roots_next(&scan, &root))
		found = is_asked(v, root.tenant_id);
	sn_scan_end(&scan);
	return found;
}

/* verify_end: what is after the last interval has no evidence yet */
static void
verify_end(Verification *v)
{
	const char *tenant_id = v->tenant_id == NULL ? NULL :
		text_to_cstring(v->tenant_id);
	SnInterval	newest;
	SnInterval	open = {0};

	sn_interval_newest(v->snapshot, &newest);
	if (has_roots_after(v, newest.no))
		put_result(v, &newest, tenant_id, -1, -1, "chain broken");
	open.no = newest.no + 1;
	open.from_id = newest.to_id;
	memset(open.to_id.data, 0xFF, UUID_LEN);
	sn_uuid_floor_tick(sn_clock_now(), &open.to_id);
	put_result(v, &open, tenant_id, -1, -1, "open");
}

/* first_id: the first id of a time; no id is of a time out of range */
static void
first_id(TimestampTz time, pg_uuid_t *id)
{
	int64		ms = TIMESTAMP_IS_NOEND(time) ? SN_MAX_MS :
		TIMESTAMP_IS_NOBEGIN(time) ? 0 : sn_timestamp_ms(time);

	sn_uuid_floor(Min(ms, SN_MAX_MS), id);
}

/*
 * verify_audit(tenant_id text, from_time timestamptz, to_time timestamptz)
 */
Datum
sentinai_verify_audit(PG_FUNCTION_ARGS)
{
	Verification v = {(ReturnSetInfo *) fcinfo->resultinfo};
	pg_uuid_t	lower = {0};
	pg_uuid_t	upper;
	SnScan		scan;
	SnInterval	interval;
	bool		whole = true;	/* nothing of what was asked for is left out */
	MemoryContext scratch;
	MemoryContext old;

	v.tenant_id = PG_ARGISNULL(0) ? NULL :
		unconstify(text *, sn_whose(PG_GETARG_TEXT_PP(0)));
	sn_require(SN_RIGHT_AUDIT, v.tenant_id, "audit");
	memset(upper.data, 0xFF, UUID_LEN);
	if (!PG_ARGISNULL(1))
		first_id(PG_GETARG_TIMESTAMPTZ(1), &lower);
	if (!PG_ARGISNULL(2))
		first_id(PG_GETARG_TIMESTAMPTZ(2), &upper);
	InitMaterializedSRF(fcinfo, 0);
	v.snapshot = GetActiveSnapshot();
	scratch = AllocSetContextCreate(CurrentMemoryContext, "sentinai verify",
									ALLOCSET_DEFAULT_SIZES);
	sn_intervals_begin(&scan, v.snapshot, &lower);
	while (whole && sn_intervals_next(&scan, &interval))
	{
		if (sn_uuid_cmp(&interval.from_id, &upper) >= 0)
			whole = false;
		else
		{
			if (v.last.no == 0)
				(void) sn_interval_of(v.snapshot, interval.no - 1, &v.last);
			old = MemoryContextSwitchTo(scratch);
			if (interval.no == 1)
				verify_before(&v, &lower, &interval);
			verify_interval(&v, &interval);
			MemoryContextSwitchTo(old);
			MemoryContextReset(scratch);
		}
	}
	sn_scan_end(&scan);
	if (whole)
		verify_end(&v);
	return (Datum) 0;
}
