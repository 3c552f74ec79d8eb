/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * dead_letter.h
 *		Events that were given up.
 */
#ifndef SN_DEAD_LETTER_H
#define SN_DEAD_LETTER_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "log/log_read.h"
#include "queue/retry.h"
#include "tenancy/right.h"

/* An event, in the columns of event_log, copied */
typedef struct SnEventRow
{
	Datum		values[Natts_log];
	bool		nulls[Natts_log];
} SnEventRow;

/* What a letter's status can be, in the order of dead_letter_count's columns */
typedef enum SnLetterStatus
{
	SN_LETTER_PENDING, SN_LETTER_RETRYING, SN_LETTER_SUCCEEDED,
	SN_LETTER_DISCARDED
} SnLetterStatus;

#define SN_LETTER_STATUSES (SN_LETTER_DISCARDED + 1)

/* A row of dead_letter, copied */
typedef struct SnLetter
{
	Datum		values[Natts_dead];
	bool		nulls[Natts_dead];
	ItemPointerData tid;
	SnLetterStatus was;			/* its status when it was read */
	text	   *was_tenant;		/* and what it was counted under */
	text	   *was_type;
} SnLetter;

extern const char *const sn_letter_statuses[];

/* Who may see letters, and who may deal with them, for their tenant */
#define SN_RIGHTS_SEE_LETTER	(SN_RIGHT_READ | SN_RIGHT_OPERATE)
#define SN_RIGHTS_LETTER		SN_RIGHT_OPERATE
#define SN_LETTER_MAY			"see or change dead letters of"

/* sn_text_at: a column of a row as a text, or NULL */
static inline text *
sn_text_at(const Datum *values, const bool *nulls, AttrNumber column)
{
	return nulls[column - 1] ? NULL : DatumGetTextPP(values[column - 1]);
}

/* sn_row_text, sn_letter_text: a column of an event or a letter as a text */
static inline text *
sn_row_text(const SnEventRow *row, AttrNumber column)
{
	return sn_text_at(row->values, row->nulls, column);
}

static inline text *
sn_letter_text(const SnLetter *letter, AttrNumber column)
{
	return sn_text_at(letter->values, letter->nulls, column);
}

extern int	sn_letter_lane(TupleTableSlot *slot);
extern void sn_letter_set(SnLetter *letter, AttrNumber column, Datum datum);
extern bool sn_letter_find(const pg_uuid_t *id, const text *worker_type,
						   Snapshot snapshot, SnLetter *letter);
extern void sn_letter_mend(SnLetter *letter, Snapshot snapshot);
extern void sn_letter_write(SnLetter *letter, bool replaces);
extern void sn_letter_event(const SnLetter *letter, SnEventRow *row);
extern void sn_letter_unknown(void) pg_attribute_noreturn();
extern void sn_letter_refuse_status(const SnLetter *letter)
			pg_attribute_noreturn();
extern bool sn_lock_letters(const text *worker_type, int lane, bool wait);

/* letter_count.c */
extern SnLetterStatus sn_letter_status(const text *status);
extern void sn_letter_count(const SnLetter *letter, int before, int after);
extern bool sn_letter_fold_step(void);

/* purge.c */
extern bool sn_purge_step(void);

extern bool sn_event_row(SnLogReader *log, const pg_uuid_t *id,
						 const text *worker_type, Snapshot snapshot,
						 SnEventRow *row);
extern bool sn_event_remains(SnLogReader *log, const pg_uuid_t *id,
							 const text *worker_type, Snapshot snapshot,
							 SnEventRow *row);
extern bool sn_event_has_tenant(const SnEventRow *row);
extern bool sn_dead_letter_event(const pg_uuid_t *id, const text *worker_type,
								 Snapshot snapshot, SnEventRow *row);
extern bool sn_dead_letter_exists(const pg_uuid_t *id,
								  const text *worker_type, Snapshot snapshot);
extern int	sn_dead_letter_attempts(const pg_uuid_t *id,
									const text *worker_type,
									Snapshot snapshot);
extern bool sn_dead_letter_put(const SnEventRow *event,
							   const text *worker_type, const SnRetry *retry,
							   TimestampTz now);
extern void sn_dead_letter_succeeded(const pg_uuid_t *id,
									 const text *worker_type,
									 Snapshot snapshot, TimestampTz now);
extern void sn_dead_letter_given_back(const pg_uuid_t *id,
									  const text *worker_type,
									  Snapshot snapshot);
extern bool sn_dead_letters_pending(const text *worker_type,
									Snapshot snapshot, int64 *counts);

#endif							/* SN_DEAD_LETTER_H */
