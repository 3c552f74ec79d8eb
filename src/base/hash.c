/*-------------------------------------------------------------------------
 *
 * hash.c
 *	  Kafka's murmur2 and what follows from it: partition and lane.  And a hash
 *	  for tables in memory.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * The result of murmur2 must equal, bit for bit, what the Java client's default
 * partitioner computes from the same key bytes: an aggregate then stays in
 * one lane here and in one partition there, whoever produces.  Input is read
 * byte by byte (little endian by construction), so neither the alignment of
 * the data nor the machine's byte order matters.
 *
 *-------------------------------------------------------------------------
 */
#include "base/hash.h"

#define MURMUR2_SEED	UINT32_C(0x9747b28c)
#define MURMUR2_MULT	UINT32_C(0x5bd1e995)
#define MURMUR2_SHIFT	24

/* Clear the sign bit, as the Java client does before it takes the modulus. */
#define TO_POSITIVE(h)	((int32_t) ((uint32_t) (h) & UINT32_C(0x7fffffff)))

/* Hash len bytes as the Java client does: 32 bits, signed. */
int32_t
sn_murmur2(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t	h = MURMUR2_SEED ^ (uint32_t) len;

	for (; len >= 4; p += 4, len -= 4)
	{
		uint32_t	k = (uint32_t) p[0] |
			(uint32_t) p[1] << 8 |
			(uint32_t) p[2] << 16 |
			(uint32_t) p[3] << 24;

		k *= MURMUR2_MULT;
		k ^= k >> MURMUR2_SHIFT;
		h = (h * MURMUR2_MULT) ^ (k * MURMUR2_MULT);
	}

	if (len > 0)
	{
		if (len == 3)
			h ^= (uint32_t) p[2] << 16;
		if (len >= 2)
			h ^= (uint32_t) p[1] << 8;
		h = (h ^ p[0]) * MURMUR2_MULT;
	}

	h = (h ^ (h >> 13)) * MURMUR2_MULT;
	return (int32_t) (h ^ (h >> 15));
}

/* Partition of a hash in a topic with that many (> 0) partitions. */
int
sn_partition_for_hash(int32_t hash, int partitions)
{
	return TO_POSITIVE(hash) % partitions;
}

/* Lane of a hash in a database with that many (> 0) lanes. */
int
sn_lane_of(int32_t hash, int lanes)
{
	return TO_POSITIVE(hash) % lanes;
}

/* FNV-1a, for tables in memory: nothing that is stored or sent depends on it. */
uint32_t
sn_fnv1a(const char *text)
{
	uint32_t	hash = UINT32_C(2166136261);

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char) *text) * UINT32_C(16777619);
	return hash;
}
