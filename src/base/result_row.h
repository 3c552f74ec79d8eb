/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * result_row.h
 *		The row that a function returns.
 */
#ifndef SN_RESULT_ROW_H
#define SN_RESULT_ROW_H

#include "postgres.h"

#include "fmgr.h"

extern Datum sn_row_datum(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

#endif							/* SN_RESULT_ROW_H */
