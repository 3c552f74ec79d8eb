/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * track_weights.h
 *		The weights of the tracks.
 */
#ifndef SN_TRACK_WEIGHTS_H
#define SN_TRACK_WEIGHTS_H

#include "postgres.h"

#include "base/sentinai.h"
#include "shared/shmem.h"
#include "tenancy/weight.h"

#define SN_WEIGHTS_EQUAL UINT64CONST(0x0101010101010101)

StaticAssertDecl(SN_TRACKS == sizeof(uint64), "a track's weight has a byte");
StaticAssertDecl(SN_WEIGHT_MAX <= PG_UINT8_MAX, "a weight fits into a byte");

/* sn_weight_of_track: of a track, in what sn_track_weights() returned */
static inline int
sn_weight_of_track(uint64 weights, int track)
{
	return weights >> 8 * track & 0xff;
}

extern uint64 sn_read_track_weights(SnDatabase *db);

/*
 * sn_track_weights: the weights of all tracks, a byte for each; all are 1 where
 * they are equal
 */
static inline uint64
sn_track_weights(void)
{
	SnDatabase *db = sn_database();
	uint64		weights = pg_atomic_read_u64(&db->weights);

	return likely(weights != 0) ? weights : sn_read_track_weights(db);
}

#endif							/* SN_TRACK_WEIGHTS_H */
