/*-------------------------------------------------------------------------
 *
 * hash.h
 *	  Kafka's murmur2 and what follows from it: partition and lane.  And a hash
 *	  for tables in memory.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * Pure C: neither server headers nor libraries, so that the unit tests link
 * it as it is.  Every order domain of the system (aggregate, lane, broker
 * partition) comes from this one hash.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SENTINAI_HASH_H
#define SENTINAI_HASH_H

#include <stddef.h>
#include <stdint.h>

extern int32_t sn_murmur2(const void *data, size_t len);
extern int	sn_partition_for_hash(int32_t hash, int partitions);
extern int	sn_lane_of(int32_t hash, int lanes);
extern uint32_t sn_fnv1a(const char *text);

#endif							/* SENTINAI_HASH_H */
