/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * query.h
 *		SQL on the tables of deadlines, as their owner.
 */
#ifndef SN_SLA_QUERY_H
#define SN_SLA_QUERY_H

#include "postgres.h"

#include "store/owner.h"

/* What has to be put back */
typedef struct SnQuery
{
	SnCaller	caller;
	int			guc_level;
} SnQuery;

#define SN_QUERY_ARGS_MAX 16
#define SN_QUERY_PLANS_MAX 16

extern void sn_query_begin(SnQuery *query);
extern void sn_query_end(SnQuery *query);
extern int	sn_query_run(const char *sql, int nargs, const Oid *types,
						 const Datum *values, const bool *nulls);
extern Datum sn_query_datum(int row, int column, bool *isnull);

#endif							/* SN_SLA_QUERY_H */
