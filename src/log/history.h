/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history.h
 *		Reading the log by aggregate, by tenant and by flow: what the files of
 *		that share.
 */
#ifndef SN_HISTORY_H
#define SN_HISTORY_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "log/event.h"
#include "log/event_run.h"

/* What is asked for */
typedef struct SnQuestion
{
	text	   *tenant_id;
	text	   *aggregate_id;	/* NULL: every aggregate */
	text	   *aggregate_type; /* NULL: any */
	bool		by_aggregate;
	int32		hash;
	Datum	   *event_types;
	int			ntypes;			/* -1: any type */
	text	   *correlation_id; /* NULL: any */
	bool		by_flow;		/* for get_trace() */
	bool		unnamed;		/* only those that name no flow: for which the
								 * aggregate stands */
	TimestampTz from;
	TimestampTz to;
	pg_uuid_t	lower;			/* ids are above this one */
	pg_uuid_t	upper;			/* and below this one */
	int			limit;

	/*
	 * What is done with a row that was asked for; returns how many rows of the
	 * result that made.  NULL: it is one of the result, as the functions here have
	 * it.  Nothing of the slot may be kept.
	 */
	int			(*put) (void *arg, TupleTableSlot *slot);
	void	   *put_arg;
} SnQuestion;

/* Rows of one partition on their way to the result */
typedef struct SnReading
{
	SnQuestion *q;
	Relation	rel;
	SnRunReader runs;
	pg_uuid_t	first_above;	/* first events of runs are above this one */
	ReturnSetInfo *rsinfo;
	int			n;				/* put so far */
	int			limit;
	bool		flatten;		/* copy values that are stored out of line */
} SnReading;

/* sn_history_id: the id of the event in a slot */
static inline pg_uuid_t *
sn_history_id(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetUUIDP(slot_getattr(slot, Anum_log_event_id, &isnull));
}

/* history.c */
extern void sn_history_read(SnQuestion *q, ReturnSetInfo *rsinfo);
extern void sn_history_bounds(FunctionCallInfo fcinfo, int from, int after,
							  SnQuestion *q);

/* history_row.c */
extern void sn_history_put(SnReading *r, TupleTableSlot *slot);

/* history_part.c */
extern void sn_history_tenant(SnReading *r);
extern void sn_history_aggregate(SnReading *r);

/* history_flow.c */
extern void sn_history_flow(SnReading *r);

#endif							/* SN_HISTORY_H */
