/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * track_rows.h
 *		The tracks that were ever used, and the tenants that have one.
 */
#ifndef SN_TRACK_ROWS_H
#define SN_TRACK_ROWS_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "base/sentinai.h"

/* A tenant that was set apart */
typedef struct SnApart
{
	text	   *tenant_id;
	int			track;
	int64		since_round;	/* the first whose events of it went there */
} SnApart;

extern SnTracks sn_tracks_used(Snapshot snapshot);
extern SnTracks sn_tracks_read(Snapshot snapshot, SnPos ends[SN_TRACKS]);
extern void sn_tracks_end(int64 newest);
extern int	sn_tracks_apart(Snapshot snapshot, SnApart **list);
extern int	sn_track_of(const text *tenant_id, Snapshot snapshot);

/* for rounds */
extern void sn_track_use(int track, int64 round_no);
extern void sn_track_give(text *tenant_id, int track, int64 round_no);

#endif							/* SN_TRACK_ROWS_H */
