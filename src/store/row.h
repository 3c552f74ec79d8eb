/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * row.h
 *		Rows as they are stored.
 */
#ifndef SN_ROW_H
#define SN_ROW_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

extern HeapTuple sn_row_form(TupleDesc desc, TupleDesc *shorter,
							 Datum *values, bool *nulls);

#endif							/* SN_ROW_H */
