/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_row.c
 *		Rows of table redaction: one for each rule.
 *
 * A row that cannot be read stops who publishes what it concerns: a rule that
 * is left out would let something through.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/text.h"
#include "redact/redact_row.h"
#include "redact/redact_secret.h"

/* sn_rule_scan_begin: walk over the rules of a tenant, or over those for all */
void
sn_rule_scan_begin(SnRuleScan *scan, const text *tenant_id)
{
	ScanKeyData key;

	memset(scan, 0, sizeof(SnRuleScan));
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	sn_key_text(&key, 1, BTEqualStrategyNumber, PointerGetDatum(tenant_id));
	sn_scan_named(&scan->scan, SN_REDACTION, SN_REDACTION_PKEY,
				  scan->snapshot, 1, &key, ForwardScanDirection);
}

/* sn_rule_scan_next: the next rule; what the row points to ends with it */
bool
sn_rule_scan_next(SnRuleScan *scan)
{
	if (!sn_scan_next(&scan->scan))
		return false;
	slot_getallattrs(scan->scan.slot);
	scan->values = scan->scan.slot->tts_values;
	scan->nulls = scan->scan.slot->tts_isnull;
	scan->event_type =
		DatumGetTextPP(scan->values[Anum_redaction_event_type - 1]);
	return true;
}

/* sn_rule_scan_end: the walk is over */
void
sn_rule_scan_end(SnRuleScan *scan)
{
	sn_scan_end(&scan->scan);
	UnregisterSnapshot(scan->snapshot);
}

/* sn_method_of: the method of a name, or SN_METHOD_NONE */
SnMethod
sn_method_of(const text *name)
{
	int			i;

	for (i = SN_METHOD_SECRETS; i < SN_METHODS; i++)
		if (sn_text_is(name, sn_redact_methods[i]))
			return (SnMethod) i;
	return SN_METHOD_NONE;
}

/* sn_kinds_of: the kinds of secrets that an array names; 0 when one is none */
unsigned int
sn_kinds_of(ArrayType *array)
{
	unsigned int kinds = 0;
	Datum	   *names;
	bool	   *nulls;
	int			n;
	int			i;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
					  &n);
	for (i = 0; i < n; i++)
	{
		int			kind = 0;

		while (kind < SN_SECRET_KINDS && !nulls[i] &&
			   !sn_text_is(DatumGetTextPP(names[i]), sn_secret_kinds[kind]))
			kind++;
		if (nulls[i] || kind == SN_SECRET_KINDS)
			return 0;
		kinds |= 1u << kind;
	}
	return kinds;
}

/* sn_rule_read: the row at hand; what it points to is copied */
void
sn_rule_read(const SnRuleScan *scan, MemoryContext context, SnRule *rule)
{
	text	   *path = DatumGetTextPP(scan->values[Anum_redaction_path - 1]);
	text	   *method = DatumGetTextPP(scan->values[Anum_redaction_method - 1]);
	SnEffect   *effect = &rule->effect;
	const char *why;

	memset(effect, 0, sizeof(SnEffect));
	effect->method = sn_method_of(method);
	if (!scan->nulls[Anum_redaction_keep - 1])
		effect->keep = DatumGetInt32(scan->values[Anum_redaction_keep - 1]);
	if (!scan->nulls[Anum_redaction_patterns - 1])
		effect->kinds = sn_kinds_of(DatumGetArrayTypeP(scan->values[Anum_redaction_patterns - 1]));
	if (!scan->nulls[Anum_redaction_replacement - 1])
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		JsonbValue *with = palloc(sizeof(JsonbValue));

		sn_json_root(DatumGetJsonbPCopy(scan->values[Anum_redaction_replacement - 1]),
					 with);
		effect->with = with;
		MemoryContextSwitchTo(old);
	}
	if (!sn_path_parse(VARDATA_ANY(path), VARSIZE_ANY_EXHDR(path), &rule->path,
					   &why) || effect->method == SN_METHOD_NONE ||
		(effect->method == SN_METHOD_SECRETS && effect->kinds == 0) ||
		(effect->method == SN_METHOD_REPLACE && effect->with == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("redaction rule for \"%s\" cannot be read",
						text_to_cstring(path)),
				 errhint("Set it again with set_redaction(), or drop it.")));
}
