/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * leaf.c
 *		The digest of an event, and what it is a digest of.
 *
 * Who checks a proof outside the database has to make the same bytes.  So a
 * field is its text: a length of four bytes, the highest first, and UTF-8; a
 * length of 0xFFFFFFFF for null.  Times are microseconds since 1970.
 *
 * How an event is stored is a field of its own, since that is how readers find it:
 * who makes the first event of a run look like another hides the run from the
 * history.  Evidence is of rows of the log, which nothing of ours changes.  Copies in
 * event_kept are stored otherwise, but are in no tree.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "audit/leaf.h"
#include "log/log_read.h"

/* A column of the log, and how its text is made */
typedef struct Field
{
	const char *name;
	AttrNumber	column;			/* 0: of several, see storage_text() */
	char	   *(*text) (Datum value);
} Field;

static char *
of_uuid(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, value));
}

static char *
of_int8(Datum value)
{
	return psprintf("%lld", (long long) DatumGetInt64(value));
}

static char *
of_int4(Datum value)
{
	return psprintf("%d", DatumGetInt32(value));
}

/* of_time: "-infinity" and the like do not come here, see event_check.c */
static char *
of_time(Datum value)
{
	return psprintf("%lld", (long long) DatumGetTimestampTz(value) +
					SN_UNIX_EPOCH_US);
}

static char *
of_text(Datum value)
{
	return TextDatumGetCString(value);
}

static char *
of_json(Datum value)
{
	Jsonb	   *json = DatumGetJsonbP(value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

static const Field fields[] =
{
	{"event_id", Anum_log_event_id, of_uuid},
	{"txid", Anum_log_txid, of_int8},
	{"tenant_id", Anum_log_tenant_id, of_text},
	{"aggregate_type", Anum_log_aggregate_type, of_text},
	{"aggregate_id", Anum_log_aggregate_id, of_text},
	{"partition_hash", Anum_log_partition_hash, of_int4},
	{"event_type", Anum_log_event_type, of_text},
	{"schema_version", Anum_log_schema_version, of_int4},
	{"occurred_at", Anum_log_occurred_at, of_time},
	{"deliver_at", Anum_log_deliver_at, of_time},
	{"correlation_id", Anum_log_correlation_id, of_text},
	{"causation_id", Anum_log_causation_id, of_uuid},
	{"payload", Anum_log_payload, of_json},
	{"metadata", Anum_log_metadata, of_json},
	{"storage", 0, NULL}
};

/* keys_text: a digest of a run's keys, which are those of other events */
static char *
keys_text(Datum keys)
{
	char	   *text = OidOutputFunctionCall(F_ARRAY_OUT, keys);
	SnDigest	digest;

	sn_sha_begin(SN_SHA_KEYS);
	sn_sha_add(text, strlen(text));
	sn_sha_end(&digest);
	return sn_digest_text(&digest);
}

/*
 * storage_text: what of a row is about the row: the place in a run, whether the
 * flow has a name of its own, and the keys of a long run
 */
static char *
storage_text(const Datum *values, const bool *nulls)
{
	StringInfoData text;

	initStringInfo(&text);
	if (!nulls[Anum_log_run - 1])
		appendStringInfo(&text, "%d",
						 DatumGetInt16(values[Anum_log_run - 1]));
	if (!nulls[Anum_log_correlation_id - 1])
		appendStringInfoString(&text, " named");
	if (!nulls[Anum_log_run_keys - 1])
		appendStringInfo(&text, " %s",
						 keys_text(values[Anum_log_run_keys - 1]));
	return text.data;
}

/* field_text: NULL for null */
static char *
field_text(const Field *field, const Datum *values, const bool *nulls)
{
	AttrNumber	column;

	if (field->column == 0)
		return storage_text(values, nulls);
	column = sn_log_column(field->column, nulls);
	return nulls[column - 1] ? NULL : field->text(values[column - 1]);
}

/* sn_leaf: the digest of an event, from the columns of its row */
void
sn_leaf(const Datum *values, const bool *nulls, SnDigest *digest)
{
	char	   *texts[lengthof(fields)];
	int			i;

	for (i = 0; i < lengthof(fields); i++)
		texts[i] = field_text(&fields[i], values, nulls);
	sn_sha_begin(SN_SHA_LEAF);
	for (i = 0; i < lengthof(fields); i++)
	{
		uint32		len = texts[i] == NULL ? PG_UINT32_MAX : strlen(texts[i]);
		uint32		bytes = pg_hton32(len);

		sn_sha_add(&bytes, sizeof(bytes));
		if (texts[i] == NULL)
			continue;
		sn_sha_add(texts[i], len);
		pfree(texts[i]);
	}
	sn_sha_end(digest);
}

/* sn_leaf_fields: append what a digest is of, as a JSON array of texts */
void
sn_leaf_fields(StringInfo json, const Datum *values, const bool *nulls)
{
	int			i;

	appendStringInfoChar(json, '[');
	for (i = 0; i < lengthof(fields); i++)
	{
		char	   *text = field_text(&fields[i], values, nulls);

		if (i > 0)
			appendStringInfoString(json, ", ");
		appendStringInfoString(json, "{\"name\": ");
		escape_json(json, fields[i].name);
		appendStringInfoString(json, ", \"value\": ");
		if (text == NULL)
			appendStringInfoString(json, "null");
		else
			escape_json(json, text);
		appendStringInfoChar(json, '}');
	}
	appendStringInfoChar(json, ']');
}
