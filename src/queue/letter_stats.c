/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_stats.c
 *		dead_letter_stats(): how many dead letters there are, from the sums of
 *		dead_letter_count.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/result_row.h"
#include "queue/dead_letter.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_dead_letter_stats);

#define NAME_ROOM	256			/* bytes of a type's name, and a NUL */
#define COLUMNS		(SN_LETTER_STATUSES + 4)

/* What one name has */
typedef struct Named
{
	char		name[NAME_ROOM];
	int64		letters[SN_LETTER_STATUSES];
} Named;

/* make_names: an empty table of names */
static HTAB *
make_names(void)
{
	HASHCTL		ctl = {.keysize = NAME_ROOM,.entrysize = sizeof(Named),
	.hcxt = CurrentMemoryContext};

	return hash_create("sentinai letters by name", 64, &ctl,
					   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* add_counts: what a row counts, to the name in one of its columns and to the sums */
static void
add_counts(HTAB *names, TupleTableSlot *slot, AttrNumber column, int64 *sums)
{
	char		name[NAME_ROOM];
	Named	   *named;
	bool		found;
	bool		isnull;
	int			i;

	text_to_cstring_buffer(DatumGetTextPP(slot_getattr(slot, column, &isnull)),
						   name, NAME_ROOM);
	named = hash_search(names, name, HASH_ENTER, &found);
	if (!found)
		memset(named->letters, 0, sizeof(named->letters));
	for (i = 0; i < SN_LETTER_STATUSES; i++)
	{
		int64		n = DatumGetInt64(slot_getattr(slot, Anum_count_pending + i,
												   &isnull));

		named->letters[i] += n;
		sums[i] += n;
	}
}

/* names_json: an object of objects; names that have no letters are left out */
static Datum
names_json(HTAB *names)
{
	HASH_SEQ_STATUS seq;
	StringInfoData json;
	Named	   *named;
	int			i;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	hash_seq_init(&seq, names);
	while ((named = hash_seq_search(&seq)) != NULL)
	{
		int64		total = 0;

		for (i = 0; i < SN_LETTER_STATUSES; i++)
			total += named->letters[i];
		if (total == 0)
			continue;
		if (json.len > 1)
			appendStringInfoChar(&json, ',');
		escape_json(&json, named->name);
		appendStringInfoString(&json, ":{");
		for (i = 0; i < SN_LETTER_STATUSES; i++)
			appendStringInfo(&json, "%s\"%s\":" INT64_FORMAT, i > 0 ? "," : "",
							 sn_letter_statuses[i], named->letters[i]);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* count_rows: the rows of a tenant, or of all for NULL */
static void
count_rows(const text *tenant_id, HTAB *types, HTAB *subs, int64 *sums)
{
	int64		again[SN_LETTER_STATUSES] = {0};
	ScanKeyData key;
	SnScan		scan;

	if (tenant_id != NULL)
		sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_scan_named(&scan, SN_DEAD_LETTER_COUNT, SN_DEAD_LETTER_COUNT_IDX,
				  GetActiveSnapshot(), tenant_id != NULL, &key,
				  ForwardScanDirection);
	while (sn_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		add_counts(types, scan.slot, Anum_count_event_type, sums);
		add_counts(subs, scan.slot, Anum_count_worker_type, again);
	}
	sn_scan_end(&scan);
}

/* oldest_pending: when the oldest pending letter was given up; false without one */
static bool
oldest_pending(const text *tenant_id, Datum *dead_at)
{
	ScanKeyData keys[2];
	SnScan		scan;
	bool		found;
	bool		isnull;
	int			n = 0;

	if (tenant_id != NULL)
		sn_key_text(&keys[n++], 1, BTEqualStrategyNumber,
					PointerGetDatum(tenant_id));
	sn_key_text(&keys[n], n + 1, BTEqualStrategyNumber,
				CStringGetTextDatum(sn_letter_statuses[SN_LETTER_PENDING]));
	n++;
	sn_scan_named(&scan, SN_DEAD_LETTER, tenant_id != NULL ?
				  SN_DEAD_LETTER_TENANT_IDX : SN_DEAD_LETTER_STATUS_IDX,
				  GetActiveSnapshot(), n, keys, ForwardScanDirection);
	found = sn_scan_next(&scan);
	if (found)
		*dead_at = slot_getattr(scan.slot, Anum_dead_dead_at, &isnull);
	sn_scan_end(&scan);
	return found;
}

/* dead_letter_stats(tenant_id text) returns record */
Datum
sentinai_dead_letter_stats(PG_FUNCTION_ARGS)
{
	const text *tenant_id = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	HTAB	   *types = make_names();
	HTAB	   *subs = make_names();
	int64		sums[SN_LETTER_STATUSES] = {0};
	int64		total = 0;
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};
	int			i;

	sn_require(SN_RIGHTS_SEE_LETTER, tenant_id, SN_LETTER_MAY);
	count_rows(tenant_id, types, subs, sums);
	for (i = 0; i < SN_LETTER_STATUSES; i++)
	{
		values[1 + i] = Int64GetDatum(sums[i]);
		total += sums[i];
	}
	values[0] = Int64GetDatum(total);
	values[1 + SN_LETTER_STATUSES] = names_json(types);
	values[2 + SN_LETTER_STATUSES] = names_json(subs);
	nulls[3 + SN_LETTER_STATUSES] =
		!oldest_pending(tenant_id, &values[3 + SN_LETTER_STATUSES]);
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}
