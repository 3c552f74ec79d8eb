/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_filter.c
 *		Which dead letters are asked for, and where a page of them ends.
 *
 * A cursor is a text of a time, an event id and a worker type.  It names nothing
 * that its holder could not ask for, and whatever it says is only a place in an
 * order: a made-up one shows no more than the filter allows.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

#include "base/args.h"
#include "base/text.h"
#include "log/event.h"
#include "queue/letter_filter.h"
#include "tenancy/gate.h"

#define ERROR_MAX		1024	/* bytes of the text to look for */
#define TIME_DIGITS		16

/* column: a column of a letter that is never null */
static Datum
column(TupleTableSlot *slot, AttrNumber number)
{
	bool		isnull;

	return slot_getattr(slot, number, &isnull);
}

/*
 * sn_letter_filter_args: the first arguments: tenant_id, worker_type, event_type,
 * from_time, to_time, error.  rights: the caller has to have one of them for the
 * tenants whose letters he gets.
 */
void
sn_letter_filter_args(FunctionCallInfo fcinfo, int rights,
					  SnLetterFilter *filter)
{
	text	  **texts[] = {&filter->tenant_id, &filter->worker_type,
	&filter->event_type};
	int			i;

	memset(filter, 0, sizeof(SnLetterFilter));
	for (i = 0; i < lengthof(texts); i++)
		if (!PG_ARGISNULL(i))
			*texts[i] = PG_GETARG_TEXT_PP(i);
	filter->from = PG_ARGISNULL(3) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(3);
	filter->until = PG_ARGISNULL(4) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(4);
	if (!PG_ARGISNULL(5))
		filter->error = sn_text_arg(fcinfo, 5, "error", ERROR_MAX);
	filter->rights = rights;
	if (filter->tenant_id != NULL)
		sn_require(rights, filter->tenant_id, SN_LETTER_MAY);
}

/* has_part: whether a text has another in it, byte by byte */
static bool
has_part(Datum datum, const text *wanted)
{
	text	   *t = DatumGetTextPP(datum);
	bool		found = memmem(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t),
							   VARDATA_ANY(wanted),
							   VARSIZE_ANY_EXHDR(wanted)) != NULL;

	if ((Pointer) t != DatumGetPointer(datum))
		pfree(t);
	return found;
}

/* is_text: whether a column is what is asked for, or nothing is */
static bool
is_text(TupleTableSlot *slot, AttrNumber number, const text *wanted)
{
	return wanted == NULL ||
		sn_text_equal(DatumGetTextPP(column(slot, number)), wanted);
}

/* sn_letter_filter_has: whether a letter is one that is asked for */
bool
sn_letter_filter_has(const SnLetterFilter *filter, TupleTableSlot *slot)
{
	TimestampTz dead_at = DatumGetTimestampTz(column(slot, Anum_dead_dead_at));

	return dead_at >= filter->from && dead_at < filter->until &&
		is_text(slot, Anum_dead_tenant_id, filter->tenant_id) &&
		(filter->tenant_id != NULL ||
		 sn_may(filter->rights,
				DatumGetTextPP(column(slot, Anum_dead_tenant_id)))) &&
		is_text(slot, Anum_dead_worker_type, filter->worker_type) &&
		is_text(slot, Anum_dead_event_type, filter->event_type) &&
		(filter->error == NULL ||
		 has_part(column(slot, Anum_dead_reason), filter->error));
}

/* bad_cursor: the error for a text that is none */
static void pg_attribute_noreturn()
bad_cursor(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("cursor is not one that a page of dead letters ended with")));
	pg_unreachable();
}

/* sn_letter_cursor_arg: the cursor that an argument is, or none */
void
sn_letter_cursor_arg(FunctionCallInfo fcinfo, int n, SnLetterCursor *cursor)
{
	uint8		time[TIME_DIGITS / 2];
	const char *p;
	text	   *t;
	int			least = TIME_DIGITS + 2 * UUID_LEN + 2;
	int			i;

	memset(cursor, 0, sizeof(SnLetterCursor));
	if (PG_ARGISNULL(n))
		return;
	t = PG_GETARG_TEXT_PP(n);
	p = VARDATA_ANY(t);
	if (VARSIZE_ANY_EXHDR(t) <= least ||
		VARSIZE_ANY_EXHDR(t) > least + SN_WORKER_TYPE_MAX ||
		!sn_hex_bytes(p, sizeof(time), time) || p[TIME_DIGITS] != '.' ||
		!sn_hex_bytes(p + TIME_DIGITS + 1, UUID_LEN, cursor->id.data) ||
		p[least - 1] != '.')
		bad_cursor();
	for (i = 0; i < sizeof(time); i++)
		cursor->time = (TimestampTz) ((uint64) cursor->time << 8 | time[i]);
	cursor->worker_type =
		cstring_to_text_with_len(p + least, VARSIZE_ANY_EXHDR(t) - least);
	cursor->given = true;
}

/* sn_letter_cursor_text: the cursor as a text */
text *
sn_letter_cursor_text(const SnLetterCursor *cursor)
{
	StringInfoData s;
	int			i;

	initStringInfo(&s);
	appendStringInfo(&s, "%08x%08x.", (uint32) ((uint64) cursor->time >> 32),
					 (uint32) cursor->time);
	for (i = 0; i < UUID_LEN; i++)
		appendStringInfo(&s, "%02x", cursor->id.data[i]);
	appendStringInfoChar(&s, '.');
	appendBinaryStringInfo(&s, VARDATA_ANY(cursor->worker_type),
						   VARSIZE_ANY_EXHDR(cursor->worker_type));
	return cstring_to_text_with_len(s.data, s.len);
}

/* sn_letter_cursor_at: a cursor at a letter; its time is when it was given up */
void
sn_letter_cursor_at(SnLetterCursor *cursor, TupleTableSlot *slot)
{
	cursor->given = true;
	cursor->time = DatumGetTimestampTz(column(slot, Anum_dead_dead_at));
	cursor->id = *DatumGetUUIDP(column(slot, Anum_dead_event_id));
	cursor->worker_type =
		DatumGetTextPCopy(column(slot, Anum_dead_worker_type));
}
