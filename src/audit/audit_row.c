/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * audit_row.c
 *		Rows of audit_interval and audit_root, and how they are chained.
 *
 * A row's chain is a digest of all that the row says and of the chain before
 * it.  So who knows the newest chain of a tenant knows that nothing before it
 * was changed.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "audit/audit_row.h"
#include "base/sentinai.h"

/* read_digest: what is no digest of ours is all zeros, and so matches none */
static void
read_digest(Datum value, SnDigest *digest)
{
	bytea	   *bytes = DatumGetByteaPP(value);

	memset(digest, 0, sizeof(SnDigest));
	if (VARSIZE_ANY_EXHDR(bytes) == sizeof(digest->bytes))
		memcpy(digest->bytes, VARDATA_ANY(bytes), sizeof(digest->bytes));
}

static Datum
digest_datum(const SnDigest *digest)
{
	return PointerGetDatum(cstring_to_text_with_len((const char *) digest->bytes,
													sizeof(digest->bytes)));
}

/* evidence: the columns of a row, none of which is null unless somebody has put it there */
static Datum *
evidence(TupleTableSlot *slot)
{
	int			i;

	slot_getallattrs(slot);
	for (i = 0; i < slot->tts_nvalid; i++)
		if (slot->tts_isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the evidence is not what it was"),
					 errdetail("Column \"%s\" is null in a row.",
							   NameStr(TupleDescAttr(slot->tts_tupleDescriptor, i)->attname))));
	return slot->tts_values;
}

static void
read_interval(TupleTableSlot *slot, SnInterval *result)
{
	Datum	   *values = evidence(slot);

	result->no = DatumGetInt64(values[Anum_interval_no - 1]);
	result->from_id = *DatumGetUUIDP(values[Anum_interval_from_id - 1]);
	result->to_id = *DatumGetUUIDP(values[Anum_interval_to_id - 1]);
	result->events = DatumGetInt64(values[Anum_interval_events - 1]);
	read_digest(values[Anum_interval_root - 1], &result->root);
	read_digest(values[Anum_interval_chain - 1], &result->chain);
	result->closed_at =
		DatumGetTimestampTz(values[Anum_interval_closed_at - 1]);
}

/* read_root: in the current memory context */
static void
read_root(TupleTableSlot *slot, SnRoot *result)
{
	Datum	   *values = evidence(slot);

	result->tenant_id = DatumGetTextPCopy(values[Anum_root_tenant_id - 1]);
	result->no = DatumGetInt64(values[Anum_root_no - 1]);
	result->interval_no = DatumGetInt64(values[Anum_root_interval_no - 1]);
	result->events = DatumGetInt64(values[Anum_root_events - 1]);
	read_digest(values[Anum_root_root - 1], &result->root);
	read_digest(values[Anum_root_chain - 1], &result->chain);
}

/* first_interval: the first row of a scan, which ends; zeros: there is none */
static bool
first_interval(SnScan *scan, SnInterval *result)
{
	bool		found = sn_scan_next(scan);

	memset(result, 0, sizeof(SnInterval));
	if (found)
		read_interval(scan->slot, result);
	sn_scan_end(scan);
	return found;
}

/* first_root: the same of roots */
static bool
first_root(SnScan *scan, SnRoot *result)
{
	bool		found = sn_scan_next(scan);

	memset(result, 0, sizeof(SnRoot));
	if (found)
		read_root(scan->slot, result);
	sn_scan_end(scan);
	return found;
}

/* sn_interval_newest: the last one that was closed */
void
sn_interval_newest(Snapshot snapshot, SnInterval *result)
{
	SnScan		scan;
	ScanKeyData key;

	sn_key_int8(&key, 1, BTGreaterEqualStrategyNumber, 0);
	sn_scan_named(&scan, SN_AUDIT_INTERVAL, SN_AUDIT_INTERVAL_PKEY, snapshot,
				  1, &key, BackwardScanDirection);
	(void) first_interval(&scan, result);
}

/* sn_interval_of: the one with a number; false: there is none */
bool
sn_interval_of(Snapshot snapshot, int64 no, SnInterval *result)
{
	SnScan		scan;
	ScanKeyData key;

	sn_key_int8(&key, 1, BTEqualStrategyNumber, no);
	sn_scan_named(&scan, SN_AUDIT_INTERVAL, SN_AUDIT_INTERVAL_PKEY, snapshot,
				  1, &key, ForwardScanDirection);
	return first_interval(&scan, result);
}

/* sn_intervals_begin: those that end after an id, in their order */
void
sn_intervals_begin(SnScan *scan, Snapshot snapshot, const pg_uuid_t *lower)
{
	ScanKeyData key;

	sn_key_uuid(&key, 1, BTGreaterStrategyNumber, lower);
	sn_scan_named(scan, SN_AUDIT_INTERVAL, SN_AUDIT_INTERVAL_TO_IDX,
				  snapshot, 1, &key, ForwardScanDirection);
}

bool
sn_intervals_next(SnScan *scan, SnInterval *result)
{
	if (!sn_scan_next(scan))
		return false;
	read_interval(scan->slot, result);
	return true;
}

/* sn_interval_write: the row of an interval */
void
sn_interval_write(const SnInterval *interval)
{
	Datum		values[Natts_interval];
	bool		nulls[Natts_interval] = {false};

	values[Anum_interval_no - 1] = Int64GetDatum(interval->no);
	values[Anum_interval_from_id - 1] = UUIDPGetDatum(&interval->from_id);
	values[Anum_interval_to_id - 1] = UUIDPGetDatum(&interval->to_id);
	values[Anum_interval_events - 1] = Int64GetDatum(interval->events);
	values[Anum_interval_root - 1] = digest_datum(&interval->root);
	values[Anum_interval_chain - 1] = digest_datum(&interval->chain);
	values[Anum_interval_closed_at - 1] =
		TimestampTzGetDatum(interval->closed_at);
	sn_insert_one(SN_AUDIT_INTERVAL, values, nulls);
}

/* sn_interval_chain: its place in the chain, behind that of the one before */
void
sn_interval_chain(SnInterval *interval, const SnDigest *before)
{
	sn_sha_begin(SN_SHA_INTERVAL);
	sn_sha_add(before->bytes, sizeof(before->bytes));
	sn_sha_add_int64(interval->no);
	sn_sha_add(interval->from_id.data, UUID_LEN);
	sn_sha_add(interval->to_id.data, UUID_LEN);
	sn_sha_add_int64(interval->events);
	sn_sha_add(interval->root.bytes, sizeof(interval->root.bytes));
	sn_sha_add_int64(interval->closed_at + SN_UNIX_EPOCH_US);
	sn_sha_end(&interval->chain);
}

/* sn_root_newest: a tenant's last one with a number below another */
void
sn_root_newest(Snapshot snapshot, text *tenant_id, int64 below, SnRoot *result)
{
	SnScan		scan;
	ScanKeyData keys[2];

	sn_key_text(&keys[0], 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_key_int8(&keys[1], 2, BTLessStrategyNumber, below);
	sn_scan_named(&scan, SN_AUDIT_ROOT, SN_AUDIT_ROOT_PKEY, snapshot, 2, keys,
				  BackwardScanDirection);
	(void) first_root(&scan, result);
}

/* sn_root_of: a tenant's one of an interval; false: there is none */
bool
sn_root_of(Snapshot snapshot, text *tenant_id, int64 interval_no,
		   SnRoot *result)
{
	SnScan		scan;
	ScanKeyData keys[2];

	sn_key_int8(&keys[0], 1, BTEqualStrategyNumber, interval_no);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_scan_named(&scan, SN_AUDIT_ROOT, SN_AUDIT_ROOT_INTERVAL_IDX, snapshot, 2,
				  keys, ForwardScanDirection);
	return first_root(&scan, result);
}

/* scan_roots: those whose interval's number is equal or greater */
static void
scan_roots(SnScan *scan, Snapshot snapshot, StrategyNumber how,
		   int64 interval_no)
{
	ScanKeyData key;

	sn_key_int8(&key, 1, how, interval_no);
	sn_scan_named(scan, SN_AUDIT_ROOT, SN_AUDIT_ROOT_INTERVAL_IDX,
				  snapshot, 1, &key, ForwardScanDirection);
}

/* sn_roots_begin: those of an interval, by tenant */
void
sn_roots_begin(SnScan *scan, Snapshot snapshot, int64 interval_no)
{
	scan_roots(scan, snapshot, BTEqualStrategyNumber, interval_no);
}

/* sn_roots_after: those of later intervals */
void
sn_roots_after(SnScan *scan, Snapshot snapshot, int64 interval_no)
{
	scan_roots(scan, snapshot, BTGreaterStrategyNumber, interval_no);
}

bool
sn_roots_next(SnScan *scan, SnRoot *result)
{
	if (!sn_scan_next(scan))
		return false;
	read_root(scan->slot, result);
	return true;
}

/* sn_root_put: the row of a tenant in an interval */
void
sn_root_put(SnInserter *inserter, const SnRoot *root)
{
	Datum		values[Natts_root];
	bool		nulls[Natts_root] = {false};

	values[Anum_root_tenant_id - 1] = PointerGetDatum(root->tenant_id);
	values[Anum_root_no - 1] = Int64GetDatum(root->no);
	values[Anum_root_interval_no - 1] = Int64GetDatum(root->interval_no);
	values[Anum_root_events - 1] = Int64GetDatum(root->events);
	values[Anum_root_root - 1] = digest_datum(&root->root);
	values[Anum_root_chain - 1] = digest_datum(&root->chain);
	sn_insert_row(inserter, values, nulls);
}

/* sn_root_chain: its place in the tenant's chain */
void
sn_root_chain(SnRoot *root, const SnInterval *interval, const SnDigest *before)
{
	sn_sha_begin(SN_SHA_ROOT);
	sn_sha_add(before->bytes, sizeof(before->bytes));
	sn_sha_add_int64(root->no);
	sn_sha_add_int64(root->interval_no);
	sn_sha_add(interval->from_id.data, UUID_LEN);
	sn_sha_add(interval->to_id.data, UUID_LEN);
	sn_sha_add_int64(root->events);
	sn_sha_add(root->root.bytes, sizeof(root->root.bytes));
	sn_sha_add(VARDATA_ANY(root->tenant_id), VARSIZE_ANY_EXHDR(root->tenant_id));
	sn_sha_end(&root->chain);
}
