/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tracks.h
 *		Which track of its lanes a tenant's events go to.
 */
#ifndef SN_SEQUENCER_TRACKS_H
#define SN_SEQUENCER_TRACKS_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "base/sentinai.h"

extern SnPos sn_apart_until(void);

/* for rounds */
extern void sn_tracks_load(Snapshot snapshot, bool of_filters);
extern void sn_tracks_rematch(void);
extern int32 sn_tracks_note(Datum tenant_id);
extern void sn_tracks_decide(Snapshot snapshot, int64 round_no);
extern void sn_tracks_sequenced(int64 before, int64 round_no);
extern int32 sn_tracks_match(int32 who);
extern int	sn_tracks_of(int32 who);
extern bool sn_tracks_beside(void);
extern bool sn_tracks_shared(void);
extern int64 sn_tracks_last_round(const text *tenant_id, int64 newest);
extern void sn_tracks_behind(uint64 events, uint64 on_common);
extern void sn_tracks_forget(void);

#endif							/* SN_SEQUENCER_TRACKS_H */
