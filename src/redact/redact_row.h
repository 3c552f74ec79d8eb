/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_row.h
 *		Rows of table redaction.  Private to the files of redaction.
 */
#ifndef SN_REDACT_ROW_H
#define SN_REDACT_ROW_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "store/store.h"
#include "redact/redact_rules.h"
#include "tenancy/right.h"

/* A walk over the rules of one tenant, in the order of types and paths */
typedef struct SnRuleScan
{
	Snapshot	snapshot;
	SnScan		scan;
	Datum	   *values;			/* of the row at hand */
	bool	   *nulls;
	text	   *event_type;
} SnRuleScan;

extern void sn_rule_scan_begin(SnRuleScan *scan, const text *tenant_id);
extern bool sn_rule_scan_next(SnRuleScan *scan);
extern void sn_rule_scan_end(SnRuleScan *scan);
extern void sn_rule_read(const SnRuleScan *scan, MemoryContext context,
						 SnRule *rule);
extern SnMethod sn_method_of(const text *name);
extern unsigned int sn_kinds_of(ArrayType *array);

#endif							/* SN_REDACT_ROW_H */
