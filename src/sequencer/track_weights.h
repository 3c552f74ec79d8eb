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

/* those of the tracks, and what a tenant has that was given none */
#define SN_WEIGHT_OTHERWISE SN_TRACKS

StaticAssertDecl(SN_WEIGHTS == SN_WEIGHT_OTHERWISE + 1, "each has a place");
StaticAssertDecl(SN_WEIGHT_MAX <= PG_UINT8_MAX, "a weight fits into a byte");

extern bool sn_read_track_weights(SnDatabase *db, uint8 weights[SN_WEIGHTS]);

/* sn_track_weights: all weights; false where they are equal */
static inline bool
sn_track_weights(uint8 weights[SN_WEIGHTS])
{
	SnDatabase *db = sn_database();

	if (likely(pg_atomic_read_u32(&db->weights_known) == SN_WEIGHTS_EQUAL))
		return false;
	return sn_read_track_weights(db, weights);
}

#endif							/* SN_TRACK_WEIGHTS_H */
