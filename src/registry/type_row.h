/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * type_row.h
 *		Rows of table event_type.
 */
#ifndef SN_TYPE_ROW_H
#define SN_TYPE_ROW_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "store/store.h"

/* A walk over the versions of one type, or of all, in their order */
typedef struct SnTypeScan
{
	Snapshot	snapshot;
	bool		registered;		/* here */
	SnScan		scan;
	Datum	   *values;			/* of the row at hand */
	bool	   *nulls;
	text	   *event_type;
	int32		version;
	bool		deprecated;
	bool		dropped;
} SnTypeScan;

extern void sn_type_scan_begin(SnTypeScan *scan, const text *event_type,
							   Snapshot snapshot);
extern bool sn_type_scan_next(SnTypeScan *scan);
extern void sn_type_scan_end(SnTypeScan *scan);
extern Jsonb *sn_type_schema(const text *event_type, int32 version,
							 Snapshot snapshot);
extern void sn_type_replace(ItemPointer tid, Datum *values, bool *nulls);

/* type_action.c */
extern Jsonb *sn_type_json(const Datum *values, const bool *nulls);
extern void sn_type_record(const char *function, const text *event_type,
						   Jsonb *before, Jsonb *after);

#endif							/* SN_TYPE_ROW_H */
