/*-------------------------------------------------------------------------
 *
 * test_sha256.c
 *	  SHA-256 and HMAC give what FIPS 180-4 and RFC 4231 say.
 *
 * SPDX-License-Identifier: PostgreSQL
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

#include "base/sha256.h"
#include "base/sha256_block.h"

static const char *
hex(const unsigned char *bytes)
{
	static char out[2 * SN_SHA256_LEN + 1];

	for (int i = 0; i < SN_SHA256_LEN; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
	return out;
}

static const char *
hash_of(const void *bytes, size_t len)
{
	unsigned char result[SN_SHA256_LEN];
	SnSha256	sha;

	sn_sha256_begin(&sha);
	sn_sha256_add(&sha, bytes, len);
	sn_sha256_end(&sha, result);
	return hex(result);
}

static const char *
hmac_of(const void *key, size_t key_len, const void *bytes, size_t len)
{
	unsigned char result[SN_SHA256_LEN];
	SnHmacKey	k;
	SnSha256	sha;

	sn_hmac_key(&k, key, key_len);
	sha = k.inner;
	sn_sha256_add(&sha, bytes, len);
	sn_hmac_end(&k, &sha, result);
	return hex(result);
}

static void
test_vectors(void **state)
{
	const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	char	   *million = malloc(1000000);

	(void) state;
	assert_string_equal(hash_of("", 0),
						"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_string_equal(hash_of("abc", 3),
						"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(hash_of(two, strlen(two)),
						"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(million, 'a', 1000000);
	assert_string_equal(hash_of(million, 1000000),
						"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(million);
}

/* However it is cut into pieces. */
static void
test_pieces(void **state)
{
	unsigned char text[300];
	unsigned char result[SN_SHA256_LEN];
	char		whole[2 * SN_SHA256_LEN + 1];

	(void) state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (unsigned char) (i * 7);
	for (size_t len = 0; len <= sizeof(text); len++)
		for (size_t piece = 1; piece < 130; piece += 21)
		{
			SnSha256	sha;

			strcpy(whole, hash_of(text, len));
			sn_sha256_begin(&sha);
			for (size_t at = 0; at < len; at += piece)
				sn_sha256_add(&sha, text + at, at + piece > len ? len - at : piece);
			sn_sha256_end(&sha, result);
			assert_string_equal(hex(result), whole);
		}
}

/* With the processor's instructions as without them, block by block and many at once. */
static void
test_instructions(void **state)
{
	unsigned char blocks[5 * SN_SHA256_BLOCK];
	uint32_t	plain[8];
	uint32_t	other[8];

	(void) state;
	if (!sn_sha256_has_instructions())
		skip();
	srandom(1);
	for (int turn = 0; turn < 2000; turn++)
	{
		size_t		n = turn % 6;

		for (size_t i = 0; i < sizeof(blocks); i++)
			blocks[i] = (unsigned char) (random() >> 7);
		for (int i = 0; i < 8; i++)
			plain[i] = other[i] = (uint32_t) random() * 3;
		sn_sha256_blocks_plain(plain, blocks, n);
		sn_sha256_blocks(other, blocks, n);
		assert_memory_equal(plain, other, sizeof(plain));
	}
}

/* RFC 4231, cases 1, 2, 3 and 6 */
static void
test_hmac(void **state)
{
	unsigned char key[131];
	unsigned char data[50];

	(void) state;
	memset(key, 0x0b, 20);
	assert_string_equal(hmac_of(key, 20, "Hi There", 8),
						"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_string_equal(hmac_of("Jefe", 4, "what do ya want for nothing?", 28),
						"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	assert_string_equal(hmac_of(key, 20, data, sizeof(data)),
						"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	assert_string_equal(hmac_of(key, 131,
								"Test Using Larger Than Block-Size Key - Hash Key First", 54),
						"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_instructions),
		cmocka_unit_test(test_hmac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
