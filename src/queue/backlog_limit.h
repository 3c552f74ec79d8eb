/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * backlog_limit.h
 *		How long backlogs may be, and which are longer.
 */
#ifndef SN_BACKLOG_LIMIT_H
#define SN_BACKLOG_LIMIT_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/timestamp.h"

#include "store/store.h"

/* A row of table backlog_limit, copied */
typedef struct SnBacklogLimit
{
	ItemPointerData tid;
	Datum		values[Natts_pressure];
	bool		nulls[Natts_pressure];
	text	   *worker_type;
	text	   *tenant_id;		/* "*": all together */
	int64		max_backlog;
	bool		over;
} SnBacklogLimit;

/* backlog_row.c */
extern List *sn_backlog_limits(const text *worker_type, const text *tenant_id);
extern void sn_backlog_limit_write(SnBacklogLimit *limit);

/* backlog_watch.c */
extern bool sn_backlog_watch(void);
extern bool sn_backlogs_are_watched(void);
extern void sn_backlog_tell(const SnBacklogLimit *limit, const char *type,
							int64 backlog);

#endif							/* SN_BACKLOG_LIMIT_H */
