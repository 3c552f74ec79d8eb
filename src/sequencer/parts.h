/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * parts.h
 *		What the rounds know of the tables that hold events.
 */
#ifndef SN_PARTS_H
#define SN_PARTS_H

#include "postgres.h"

#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "shared/clock.h"

/* A partition of event_log, or event_kept */
typedef struct SnPart
{
	Oid			heap;
	SnTick		lower;			/* of the ids in it */
	SnTick		upper;
	int64		open_below;		/* transactions below may add to it; 0: not
								 * known yet */
	bool		closes;			/* when this round is committed */
	bool		closed;
	bool		due_known;		/* next_due holds */
	TimestampTz next_due;		/* time of its next delayed event */
	bool		held;			/* locked before the round's snapshot */
	Oid			file;			/* or, if not, its file at that time */
} SnPart;

extern void sn_parts_lock(void);
extern bool sn_parts_complete(Snapshot snapshot);
extern void sn_parts_unlock(void);
extern Relation sn_parts_open(const SnPart *part);
extern SnPart *sn_parts_log(int *n);
extern SnPart *sn_parts_kept(void);
extern void sn_parts_looked(void);
extern void sn_parts_passed(void);
extern void sn_parts_forget(void);
extern TimestampTz sn_parts_next_due(void);

#endif							/* SN_PARTS_H */
