/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256.c
 *		SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104), for short texts.
 *
 * The server has both in common/hmac.h.  With OpenSSL 3 each call there looks
 * its algorithm up and makes contexts, which takes ten times as long as to hash
 * a name.  Here a key is worked in once, and a value of up to 55 bytes costs
 * two blocks.
 *
 * Pure C.
 */
#include "base/sha256.h"

#include "base/sha256_block.h"

/* sn_sha256_begin: nothing is hashed yet */
void
sn_sha256_begin(SnSha256 *sha)
{
	static const uint32_t first[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memcpy(sha->state, first, sizeof(first));
	sha->len = 0;
}

/* sn_sha256_more: hash some bytes more, with which a block is full */
void
sn_sha256_more(SnSha256 *sha, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	size_t		used = sha->len % SN_SHA256_BLOCK;

	sha->len += len;
	if (used > 0)
	{
		size_t		n = SN_SHA256_BLOCK - used;

		memcpy(sha->block + used, p, n);
		sn_sha256_blocks(sha->state, sha->block, 1);
		p += n;
		len -= n;
	}
	if (len >= SN_SHA256_BLOCK)
	{
		size_t		n = len / SN_SHA256_BLOCK;

		sn_sha256_blocks(sha->state, p, n);
		p += n * SN_SHA256_BLOCK;
		len -= n * SN_SHA256_BLOCK;
	}
	memcpy(sha->block, p, len);
}

/* split_word: four bytes, the highest one first */
static inline void
split_word(unsigned char *p, uint32_t w)
{
	p[0] = (unsigned char) (w >> 24);
	p[1] = (unsigned char) (w >> 16);
	p[2] = (unsigned char) (w >> 8);
	p[3] = (unsigned char) w;
}

/* sn_sha256_end: the hash of what was added */
void
sn_sha256_end(SnSha256 *sha, unsigned char *result)
{
	uint64_t	bits = sha->len * 8;
	size_t		used = sha->len % SN_SHA256_BLOCK;
	int			i;

	sha->block[used++] = 0x80;
	if (used > SN_SHA256_BLOCK - 8)
	{
		memset(sha->block + used, 0, SN_SHA256_BLOCK - used);
		sn_sha256_blocks(sha->state, sha->block, 1);
		used = 0;
	}
	memset(sha->block + used, 0, SN_SHA256_BLOCK - 8 - used);
	split_word(sha->block + SN_SHA256_BLOCK - 8, (uint32_t) (bits >> 32));
	split_word(sha->block + SN_SHA256_BLOCK - 4, (uint32_t) bits);
	sn_sha256_blocks(sha->state, sha->block, 1);
	for (i = 0; i < SN_SHA256_LEN / 4; i++)
		split_word(result + 4 * i, sha->state[i]);
}

/* sn_sha256: the hash of a piece of memory */
void
sn_sha256(const void *data, size_t len, unsigned char digest[SN_SHA256_LEN])
{
	SnSha256	sha;

	sn_sha256_begin(&sha);
	sn_sha256_add(&sha, data, len);
	sn_sha256_end(&sha, digest);
}

/* begin_padded: the state behind the block of a key with this padding */
static void
begin_padded(SnSha256 *sha, const unsigned char *block, unsigned char padding)
{
	unsigned char padded[SN_SHA256_BLOCK];
	int			i;

	for (i = 0; i < SN_SHA256_BLOCK; i++)
		padded[i] = block[i] ^ padding;
	sn_sha256_begin(sha);
	sn_sha256_add(sha, padded, sizeof(padded));
	memset(padded, 0, sizeof(padded));
}

/* sn_hmac_key: work a key in */
void
sn_hmac_key(SnHmacKey *key, const void *bytes, size_t len)
{
	unsigned char block[SN_SHA256_BLOCK] = {0};

	if (len > SN_SHA256_BLOCK)
	{
		SnSha256	sha;

		sn_sha256_begin(&sha);
		sn_sha256_add(&sha, bytes, len);
		sn_sha256_end(&sha, block);
	}
	else
		memcpy(block, bytes, len);
	begin_padded(&key->inner, block, 0x36);
	begin_padded(&key->outer, block, 0x5c);
	memset(block, 0, sizeof(block));
}

/*
 * sn_hmac_end: the HMAC of what was added to a copy of key->inner
 */
void
sn_hmac_end(const SnHmacKey *key, SnSha256 *sha, unsigned char *result)
{
	SnSha256	outer = key->outer;

	sn_sha256_end(sha, result);
	sn_sha256_add(&outer, result, SN_SHA256_LEN);
	sn_sha256_end(&outer, result);
}
