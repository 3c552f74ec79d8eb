/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * proof.c
 *		audit_proof(): that an event is in the evidence, for who has no access
 *		to the database.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "audit/audit_row.h"
#include "audit/trees.h"
#include "base/sentinai.h"
#include "base/text.h"
#include "log/log_read.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_audit_proof);

static void
refuse_event(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("there is no evidence for the event"),
			 errdetail("There is no such event, the caller may not audit its tenant, or its interval is not closed yet.")));
}

/* tenant_to_audit: the tenant of an event, which the caller has to be allowed */
static text *
tenant_to_audit(Snapshot snapshot, const pg_uuid_t *id)
{
	SnLogReader *reader = sn_log_begin(snapshot);
	text	   *tenant_id = sn_log_fetch(reader, id) ?
		sn_log_text(reader, Anum_log_tenant_id) : NULL;

	if (tenant_id != NULL)
		tenant_id = sn_text_copy(tenant_id);
	sn_log_end(reader);
	if (tenant_id == NULL || !sn_may(SN_RIGHT_AUDIT, tenant_id))
		refuse_event();
	return tenant_id;
}

/* find_interval: the closed interval that has an id */
static void
find_interval(Snapshot snapshot, const pg_uuid_t *id, SnInterval *interval)
{
	SnScan		scan;
	bool		found;

	sn_intervals_begin(&scan, snapshot, id);
	found = sn_intervals_next(&scan, interval) &&
		sn_uuid_cmp(&interval->from_id, id) <= 0;
	sn_scan_end(&scan);
	if (!found)
		refuse_event();
}

static void
put_id(StringInfo json, const char *name, const pg_uuid_t *id)
{
	appendStringInfo(json, ", \"%s\": \"%s\"", name,
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(id))));
}

/* put_path: what stands beside the way from the leaf to the root */
static void
put_path(StringInfo json, const SnMerklePath *path)
{
	int			i;

	appendStringInfoString(json, ", \"path\": [");
	for (i = 0; i < path->n; i++)
	{
		appendStringInfo(json, "%s{\"%s\": \"%s\"}", i > 0 ? ", " : "",
						 path->steps[i].left ? "left" : "right",
						 sn_digest_text(&path->steps[i].sibling));
	}
	appendStringInfoChar(json, ']');
}

/* make_proof: the document */
static Jsonb *
make_proof(const SnWanted *wanted, const SnInterval *interval,
		   const SnRoot *root, const SnRoot *last)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"event\": %s, \"leaf\": \"%s\"",
					 wanted->fields.data, sn_digest_text(&wanted->leaf));
	put_path(&json, &wanted->path);
	appendStringInfo(&json, ", \"root\": \"%s\", \"tenant_id\": ",
					 sn_digest_text(&root->root));
	escape_json(&json, text_to_cstring(root->tenant_id));
	appendStringInfo(&json, ", \"root_no\": %lld, \"interval_no\": %lld, \"events\": %lld",
					 (long long) root->no, (long long) root->interval_no,
					 (long long) root->events);
	put_id(&json, "from_id", &interval->from_id);
	put_id(&json, "to_id", &interval->to_id);
	appendStringInfo(&json, ", \"previous_chain\": \"%s\", \"chain\": \"%s\"}",
					 sn_digest_text(&last->chain),
					 sn_digest_text(&root->chain));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json.data)));
}

/* refuse_altered: the log is not what the evidence says */
static void
refuse_altered(const SnInterval *interval)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the log is not what its evidence says"),
			 errdetail("Interval %lld has been changed since it was closed.",
					   (long long) interval->no),
			 errhint("verify_audit() says what was changed.")));
}

/* audit_proof(event_id uuid) returns jsonb */
Datum
sentinai_audit_proof(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	SnWanted	wanted = {0};
	SnInterval	interval;
	SnRoot		root;
	SnRoot		last;
	SnTrees    *trees;
	SnTenantTree *tree;
	SnDigest	digest;
	text	   *tenant_id;

	wanted.event_id = *PG_GETARG_UUID_P(0);
	wanted.path.leaf = -1;
	initStringInfo(&wanted.fields);
	tenant_id = tenant_to_audit(snapshot, &wanted.event_id);
	find_interval(snapshot, &wanted.event_id, &interval);
	if (!sn_root_of(snapshot, tenant_id, interval.no, &root))
		refuse_event();
	trees = sn_trees_begin(CurrentMemoryContext, &interval.from_id);
	trees->only = tenant_id;
	trees->wanted = &wanted;
	(void) sn_trees_read(trees, snapshot, &interval.to_id, PG_INT64_MAX);
	tree = sn_trees_of(trees, tenant_id);
	if (tree == NULL || !wanted.found)
		refuse_event();			/* of an event that outlived its partition */
	sn_merkle_root(&tree->tree, &digest);
	sn_root_newest(snapshot, tenant_id, root.no, &last);
	if (memcmp(&digest, &root.root, sizeof(SnDigest)) != 0)
		refuse_altered(&interval);
	PG_RETURN_JSONB_P(make_proof(&wanted, &interval, &root, &last));
}
