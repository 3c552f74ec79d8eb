/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * journal.h
 *		Journals of two halves, of which only the newest rows count.
 */
#ifndef SN_JOURNAL_H
#define SN_JOURNAL_H

#include "postgres.h"

#include "shared/shmem.h"
#include "store/store.h"

/* Finds newest rows; the scans stay open for more of them */
typedef struct SnJournalReader
{
	bool		open;
	int			newest;			/* half with the row that was found */
	SnScan		half[2];
} SnJournalReader;

extern SnRel sn_journal_half(SnJournal journal, int half);
extern Oid	sn_journal_id(SnJournal journal);
extern int	sn_journal_used(SnJournal journal);

extern void sn_journal_scan(SnScan *scan, SnJournal journal, int half,
							Snapshot snapshot, int nkeys, ScanKey keys);
extern TupleTableSlot *sn_journal_newest(SnJournalReader *reader,
										 SnJournal journal, Snapshot snapshot,
										 int nkeys, ScanKey keys);
extern void sn_journal_end(SnJournalReader *reader);

extern SnInserter *sn_journal_append(SnJournal journal);

extern bool sn_journal_turn(SnJournal journal);
extern bool sn_journal_seize(SnJournal journal);
extern void sn_journal_truncate(SnJournal journal);

#endif							/* SN_JOURNAL_H */
