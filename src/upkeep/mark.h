/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * mark.h
 *		Marks: rounds that had seen everything of a stretch of time.
 */
#ifndef SN_MARK_H
#define SN_MARK_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "shared/shmem.h"

extern void sn_mark_read(SnMark *mark, int64 taken);
extern bool sn_mark_make(SnMark *mark);
extern SnMark sn_mark_get(void);
extern void sn_mark_set(const SnMark *mark);
extern bool sn_mark_saw_all(Oid partition, const SnMark *mark,
							Snapshot snapshot);

#endif							/* SN_MARK_H */
