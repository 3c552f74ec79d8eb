/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * log_read.h
 *		Reading rows of event_log by event id.
 */
#ifndef SN_LOG_READ_H
#define SN_LOG_READ_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

#include "store/store.h"

/*
 * Who reads much stops when so many partitions are open: each stays locked
 * until the transaction ends, and the lock table is everybody's.
 */
#define SN_LOG_PARTS_MAX 64

struct SnLogPart;

typedef struct SnLogReader
{
	TupleTableSlot *slot;		/* the row last fetched */
	Snapshot	snapshot;
	Snapshot	newer;			/* registered here, see read_anew(); or NULL */
	struct SnLogPart *parts;	/* opened so far */
	int			nparts;
	int			current;
	int			kept;			/* which of them is event_kept; -1: not opened */
	Size		copied;			/* bytes of the copies made */
} SnLogReader;

/* A fetched row, or where it is, for the reader that fetched it */
typedef struct SnLogRef
{
	int			part;
	ItemPointerData tid;
	HeapTuple	copy;			/* NULL: none was made */
} SnLogRef;

/*
 * sn_log_column: where the value of a column is.  The flow of an event is named
 * by its aggregate unless it was told another name, and then nothing is stored.
 */
static inline AttrNumber
sn_log_column(AttrNumber column, const bool *nulls)
{
	return column == Anum_log_correlation_id && nulls[column - 1] ?
		Anum_log_aggregate_id : column;
}

extern SnLogReader *sn_log_begin(Snapshot snapshot);
extern void sn_log_snapshot(SnLogReader *reader, Snapshot snapshot);
extern bool sn_log_fetch(SnLogReader *reader, const pg_uuid_t *id);
extern bool sn_log_fetch_at(SnLogReader *reader, const pg_uuid_t *id,
							const ItemPointerData *row_tid);
extern void sn_log_ref(SnLogReader *reader, SnLogRef *ref);
extern bool sn_log_columns(SnLogReader *reader, const SnLogRef *ref,
						   Datum *values, bool *nulls);
extern void sn_log_end(SnLogReader *reader);

/*
 * NULL where there can be none: somebody has taken NOT NULL off the table.  What
 * has no value there is refused, also by the functions below.
 */
extern AttrNumber sn_log_missing(const bool *nulls);
extern AttrNumber sn_log_lacks(SnLogReader *reader);
extern void sn_log_require(SnLogReader *reader);

/* sn_slot_text: a text column of a row of the log, or NULL */
static inline text *
sn_slot_text(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* columns of the row last fetched; texts point into it */
extern Datum sn_log_datum(SnLogReader *reader, AttrNumber column,
						  bool *isnull);
extern text *sn_log_text(SnLogReader *reader, AttrNumber column);
extern text *sn_log_text_if_any(SnLogReader *reader, AttrNumber column);

#endif							/* SN_LOG_READ_H */
