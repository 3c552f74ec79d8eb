/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_filter.h
 *		Which dead letters are asked for.
 */
#ifndef SN_LETTER_FILTER_H
#define SN_LETTER_FILTER_H

#include "postgres.h"

#include "fmgr.h"

#include "queue/dead_letter.h"

/* Arguments of the functions, in this order: tenant_id, worker_type, ... */
typedef struct SnLetterFilter
{
	text	   *tenant_id;		/* NULL: of any, likewise the others */
	text	   *worker_type;
	text	   *event_type;
	TimestampTz from;			/* that it was given up; DT_NOBEGIN: any */
	TimestampTz until;			/* before this time; DT_NOEND: any */
	text	   *error;			/* that its reason has in it */
	int			rights;			/* of which the caller has to have one */
} SnLetterFilter;

/* A letter that a page ends at, and when the first page was asked for */
typedef struct SnLetterCursor
{
	bool		given;
	TimestampTz time;			/* when it was given up, or of the first page */
	pg_uuid_t	id;
	text	   *worker_type;
} SnLetterCursor;

extern void sn_letter_filter_args(FunctionCallInfo fcinfo, int rights,
								  SnLetterFilter *filter);
extern bool sn_letter_filter_has(const SnLetterFilter *filter,
								 TupleTableSlot *slot);
extern void sn_letter_cursor_arg(FunctionCallInfo fcinfo, int n,
								 SnLetterCursor *cursor);
extern text *sn_letter_cursor_text(const SnLetterCursor *cursor);
extern void sn_letter_cursor_at(SnLetterCursor *cursor, TupleTableSlot *slot);

#endif							/* SN_LETTER_FILTER_H */
