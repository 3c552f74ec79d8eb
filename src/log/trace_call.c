/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace_call.c
 *		get_trace(), trace_tree(): queries over tables that callers may not read.
 *
 * They are SQL functions of the owner's, and run as the owner.  Were they SECURITY
 * DEFINER, the gate would be asked about the owner, too.  So they are called
 * from here: the gate is asked about the caller, whoever is the current user
 * meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "base/args.h"
#include "base/sentinai.h"
#include "store/owner.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_get_trace);
PG_FUNCTION_INFO_V1(sentinai_trace_tree);

#define NARGS 3					/* correlation_id, tenant_id, max_events */

/* put_rows: what the query found */
static void
put_rows(ReturnSetInfo *rsinfo)
{
	uint64		i;

	for (i = 0; i < SPI_processed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	}
}

/* put_answer: the query with the function's arguments */
static void
put_answer(FunctionCallInfo fcinfo, const char *query)
{
	Oid			types[NARGS] = {TEXTOID, TEXTOID, INT4OID};
	Datum		values[NARGS];
	char		nulls[NARGS];
	int			i;

	for (i = 0; i < NARGS; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, NARGS, types, values, nulls, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", query);
	put_rows((ReturnSetInfo *) fcinfo->resultinfo);
	SPI_finish();
}

/* run_as_owner: the same as the owner of the tables, for the caller */
static Datum
run_as_owner(FunctionCallInfo fcinfo, const char *query)
{
	Oid			asker = sn_gate_ask_for(sn_gate_asker());
	SnCaller	caller;

	PG_TRY();
	{
		if (!PG_ARGISNULL(1))
			sn_require(SN_RIGHT_READ, PG_GETARG_TEXT_PP(1), "read");
		InitMaterializedSRF(fcinfo, 0);
		sn_become_tables_owner(&caller);
		put_answer(fcinfo, query);
		sn_become_caller(&caller);
	}
	PG_FINALLY();
	{
		(void) sn_gate_ask_for(asker);
	}
	PG_END_TRY();
	return (Datum) 0;
}

/* get_trace(correlation_id text, tenant_id text, max_events int) */
Datum
sentinai_get_trace(PG_FUNCTION_ARGS)
{
	return run_as_owner(fcinfo, "select * from " SN_SCHEMA
						".flow_trace($1, $2, $3)");
}

/* trace_tree(correlation_id text, tenant_id text, max_events int) */
Datum
sentinai_trace_tree(PG_FUNCTION_ARGS)
{
	return run_as_owner(fcinfo, "select * from " SN_SCHEMA
						".flow_trace_tree($1, $2, $3)");
}
