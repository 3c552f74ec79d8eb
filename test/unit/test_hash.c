/*-------------------------------------------------------------------------
 *
 * test_hash.c
 *	  src/base/hash.c gives every key the hash and partition of the Java client.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * The vectors in test/data/murmur2.tsv were printed by Kafka's own client
 * (test/kafka/Murmur2Vectors.java).
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

#ifndef DATA_DIR
#define DATA_DIR "../data"
#endif

#define MAX_KEY			4096
#define VECTOR_PARTITIONS	12
#define MIN_VECTORS		2000

typedef struct Vector
{
	unsigned char key[MAX_KEY];
	size_t		len;
	int32_t		hash;
	int			partition;
} Vector;

/* Read one line of the vector file; false at its end. */
static int
read_vector(FILE *file, Vector *v)
{
	static char line[2 * MAX_KEY + 64];
	char	   *tab;

	if (fgets(line, sizeof(line), file) == NULL)
		return 0;
	tab = strchr(line, '\t');
	assert_non_null(tab);
	v->len = (size_t) (tab - line) / 2;
	assert_true(v->len <= MAX_KEY);
	for (size_t i = 0; i < v->len; i++)
	{
		unsigned int byte;

		assert_int_equal(sscanf(line + 2 * i, "%2x", &byte), 1);
		v->key[i] = (unsigned char) byte;
	}
	assert_int_equal(sscanf(tab, "%d %d", &v->hash, &v->partition), 2);
	return 1;
}

/* Hash and partition of every vector equal the Java client's. */
static void
test_java_vectors(void **state)
{
	FILE	   *file = fopen(DATA_DIR "/murmur2.tsv", "r");
	static Vector v;
	int			count = 0;

	(void) state;
	assert_non_null(file);
	while (read_vector(file, &v))
	{
		int32_t		hash = sn_murmur2(v.key, v.len);

		count++;
		if (hash != v.hash)
			fail_msg("vector %d: hash %d, Java has %d", count, hash, v.hash);
		assert_int_equal(sn_partition_for_hash(hash, VECTOR_PARTITIONS),
						 v.partition);
	}
	fclose(file);
	assert_true(count >= MIN_VECTORS);
}

/* The address of the key does not change its hash. */
static void
test_unaligned(void **state)
{
	static const char key[] = "tenant-a:N14228";
	char		buffer[64];

	(void) state;
	for (size_t shift = 0; shift < 16; shift++)
	{
		memcpy(buffer + shift, key, sizeof(key) - 1);
		assert_int_equal(sn_murmur2(buffer + shift, sizeof(key) - 1),
						 sn_murmur2(key, sizeof(key) - 1));
	}
}

/* Partition and lane drop the sign bit instead of taking an absolute value. */
static void
test_sign(void **state)
{
	(void) state;
	assert_int_equal(sn_partition_for_hash(INT32_MIN, 12), 0);
	assert_int_equal(sn_partition_for_hash(-1, 12), INT32_MAX % 12);
	assert_int_equal(sn_lane_of(INT32_MIN, 64), 0);
	assert_int_equal(sn_lane_of(-1, 64), 63);
	assert_int_equal(sn_lane_of(INT32_MIN + 5, 64), 5);
	for (int32_t hash = -1000; hash < 1000; hash++)
	{
		assert_true(sn_lane_of(hash, 64) >= 0 && sn_lane_of(hash, 64) < 64);
		assert_int_equal(sn_partition_for_hash(hash, 1), 0);
	}
}

/* Published vectors of FNV-1a, 32 bits. */
static void
test_fnv1a(void **state)
{
	(void) state;
	assert_int_equal(sn_fnv1a(""), 0x811c9dc5);
	assert_int_equal(sn_fnv1a("a"), 0xe40c292c);
	assert_int_equal(sn_fnv1a("foobar"), 0xbf9cf968);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_java_vectors),
		cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_sign),
		cmocka_unit_test(test_fnv1a),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
