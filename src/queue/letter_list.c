/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * letter_list.c
 *		dead_letters(), get_dead_letter(): looking at dead letters.
 *
 * A page goes through an index that has the letters of a tenant, of a worker
 * type, or all, by status and time.  Each status that is asked for is a scan of
 * its own, and the newest of their letters comes next.  So a page costs what it
 * shows and what the other conditions pass over, of which there is a bound: the
 * page may end there, with a row that has nothing but a cursor.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/result_row.h"
#include "base/text.h"
#include "log/event.h"
#include "queue/letter_filter.h"
#include "tenancy/gate.h"

PG_FUNCTION_INFO_V1(sentinai_dead_letters);
PG_FUNCTION_INFO_V1(sentinai_get_dead_letter);

#define PAGE_MAX	1000		/* letters of a page */
#define LOOK_MAX	20000		/* letters looked at for it */

/* columns of the answer, and the cursor behind them */
static const AttrNumber shown[] = {
	Anum_dead_event_id, Anum_dead_worker_type, Anum_dead_tenant_id,
	Anum_dead_aggregate_type, Anum_dead_aggregate_id, Anum_dead_event_type,
	Anum_dead_schema_version, Anum_dead_correlation_id, Anum_dead_causation_id,
	Anum_dead_occurred_at, Anum_dead_attempts, Anum_dead_reason,
	Anum_dead_status, Anum_dead_first_failed_at, Anum_dead_dead_at,
	Anum_dead_resolved_at, Anum_dead_resolved_by, Anum_dead_resolution
};

/* Letters of one status, newest first */
typedef struct Source
{
	SnScan		scan;
	SnLetterStatus status;
	bool		open;			/* has a letter at hand */
	bool		tied;			/* reads those of the cursor's very time */
} Source;

/* A page while it is put together */
typedef struct LetterPage
{
	SnLetterFilter filter;
	SnLetterCursor cursor;
	Snapshot	snapshot;
	Source		sources[SN_LETTER_STATUSES];
	int			nsources;
} LetterPage;

/* open_scan: letters of a status, of the cursor's time or of before */
static void
open_scan(LetterPage *page, Source *source)
{
	const SnLetterFilter *filter = &page->filter;
	SnRel		index = filter->tenant_id != NULL ? SN_DEAD_LETTER_TENANT_IDX :
		filter->worker_type != NULL ? SN_DEAD_LETTER_WORKER_IDX :
		SN_DEAD_LETTER_STATUS_IDX;
	TimestampTz until = page->cursor.given ?
		Min(filter->until, page->cursor.time) : filter->until;
	ScanKeyData keys[5];
	int			n = 0;

	if (filter->tenant_id != NULL || filter->worker_type != NULL)
	{
		sn_key_text(&keys[0], 1, BTEqualStrategyNumber,
					PointerGetDatum(filter->tenant_id != NULL ?
									filter->tenant_id : filter->worker_type));
		n = 1;
	}
	sn_key_text(&keys[n], n + 1, BTEqualStrategyNumber,
				CStringGetTextDatum(sn_letter_statuses[source->status]));
	n++;
	if (source->tied)
	{
		sn_key_time(&keys[n], n + 1, BTEqualStrategyNumber, page->cursor.time);
		sn_key_uuid(&keys[n + 1], n + 2, BTLessEqualStrategyNumber,
					&page->cursor.id);
		n += 2;
	}
	else
	{
		sn_key_time(&keys[n], n + 1, BTLessStrategyNumber, until);
		sn_key_time(&keys[n + 1], n + 1, BTGreaterEqualStrategyNumber,
					filter->from);
		n += 2;
	}
	sn_scan_named(&source->scan, SN_DEAD_LETTER, index, page->snapshot, n,
				  keys, BackwardScanDirection);
}

/* is_before: whether a place in the order is before another, newest first */
static bool
is_before(const SnLetterCursor *a, const SnLetterCursor *b)
{
	int			cmp;

	if (a->time != b->time)
		return a->time > b->time;
	cmp = sn_uuid_cmp(&a->id, &b->id);
	return cmp != 0 ? cmp > 0 : sn_text_compare(a->worker_type, b->worker_type) > 0;
}

/* place_at: where a letter is in the order; its worker type is not copied */
static void
place_at(SnLetterCursor *place, TupleTableSlot *slot)
{
	bool		isnull;

	place->time = DatumGetTimestampTz(slot_getattr(slot, Anum_dead_dead_at,
												   &isnull));
	place->id = *DatumGetUUIDP(slot_getattr(slot, Anum_dead_event_id, &isnull));
	place->worker_type = DatumGetTextPP(slot_getattr(slot, Anum_dead_worker_type,
													 &isnull));
}

/* is_shown_already: whether a letter is the cursor's, or was before it */
static bool
is_shown_already(const LetterPage *page, TupleTableSlot *slot)
{
	SnLetterCursor place;

	place_at(&place, slot);
	return !is_before(&page->cursor, &place);
}

/* next_letter: the source's next letter, if it has one */
static void
next_letter(LetterPage *page, Source *source)
{
	for (;;)
	{
		if (sn_scan_next(&source->scan))
		{
			if (source->tied && is_shown_already(page, source->scan.slot))
				continue;
			return;
		}
		sn_scan_end(&source->scan);
		source->open = source->tied;
		if (!source->tied)
			return;
		source->tied = false;
		open_scan(page, source);
	}
}

/* open_sources: a source for each status that is asked for; NULL: for all */
static void
open_sources(LetterPage *page, const text *status)
{
	int			i;

	for (i = 0; i < SN_LETTER_STATUSES; i++)
	{
		Source	   *source = &page->sources[page->nsources];

		if (status != NULL && !sn_text_is(status, sn_letter_statuses[i]))
			continue;
		page->nsources++;
		source->status = i;
		source->open = true;
		source->tied = page->cursor.given;
		open_scan(page, source);
		next_letter(page, source);
	}
	if (page->nsources == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("status must be \"pending\", \"retrying\", \"succeeded\" or \"discarded\"")));
}

/* newest: the source whose letter comes next, or NULL */
static Source *
newest(LetterPage *page)
{
	Source	   *result = NULL;
	SnLetterCursor best;
	int			i;

	for (i = 0; i < page->nsources; i++)
	{
		SnLetterCursor place;

		if (!page->sources[i].open)
			continue;
		place_at(&place, page->sources[i].scan.slot);
		if (result != NULL && !is_before(&place, &best))
			continue;
		result = &page->sources[i];
		best = place;
	}
	return result;
}

/* put_row: a letter, or NULL, and where it is */
static void
put_row(ReturnSetInfo *rsinfo, TupleTableSlot *slot, const SnLetterCursor *at)
{
	Datum		values[lengthof(shown) + 1] = {0};
	bool		nulls[lengthof(shown) + 1];
	int			i;

	memset(nulls, true, sizeof(nulls));
	for (i = 0; slot != NULL && i < lengthof(shown); i++)
		values[i] = slot_getattr(slot, shown[i], &nulls[i]);
	values[lengthof(shown)] = PointerGetDatum(sn_letter_cursor_text(at));
	nulls[lengthof(shown)] = false;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* fill_page: the letters of a page */
static void
fill_page(LetterPage *page, int max, ReturnSetInfo *rsinfo)
{
	Source	   *source;
	SnLetterCursor at;
	int			looked = 0;
	int			n = 0;

	while (n < max && (source = newest(page)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		sn_letter_cursor_at(&at, source->scan.slot);
		if (sn_letter_filter_has(&page->filter, source->scan.slot))
		{
			put_row(rsinfo, source->scan.slot, &at);
			n++;
		}
		else if (++looked >= LOOK_MAX)
		{
			put_row(rsinfo, NULL, &at);
			break;
		}
		pfree(at.worker_type);
		next_letter(page, source);
	}
}

/*
 * dead_letters(tenant_id, worker_type, event_type, from_time, to_time, error,
 *		status, after_cursor, max_letters)
 */
Datum
sentinai_dead_letters(PG_FUNCTION_ARGS)
{
	LetterPage		page = {{NULL}};
	int			max;
	int			i;

	sn_letter_filter_args(fcinfo, SN_RIGHTS_SEE_LETTER, &page.filter);
	sn_letter_cursor_arg(fcinfo, 7, &page.cursor);
	SN_REQUIRE_ARG(8, "max_letters");
	max = PG_GETARG_INT32(8);
	if (max < 1 || max > PAGE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("max_letters must be between 1 and %d", PAGE_MAX)));
	page.snapshot = GetActiveSnapshot();
	InitMaterializedSRF(fcinfo, 0);
	open_sources(&page, PG_ARGISNULL(6) ? NULL : PG_GETARG_TEXT_PP(6));
	fill_page(&page, max, (ReturnSetInfo *) fcinfo->resultinfo);
	for (i = 0; i < page.nsources; i++)
		if (page.sources[i].open)
			sn_scan_end(&page.sources[i].scan);
	return (Datum) 0;
}

/* get_dead_letter(event_id, worker_type) returns dead_letter */
Datum
sentinai_get_dead_letter(PG_FUNCTION_ARGS)
{
	SnLetter	letter;

	SN_REQUIRE_ARG(0, "event_id");
	SN_REQUIRE_ARG(1, "worker_type");
	if (!sn_letter_find(PG_GETARG_UUID_P(0), PG_GETARG_TEXT_PP(1),
						GetActiveSnapshot(), &letter) ||
		!sn_may(SN_RIGHTS_SEE_LETTER, sn_letter_text(&letter, Anum_dead_tenant_id)))
		sn_letter_unknown();
	PG_RETURN_DATUM(sn_row_datum(fcinfo, letter.values, letter.nulls));
}
