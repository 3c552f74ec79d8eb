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

#include <string.h>

static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

/* turn: to the right by so many bits */
static inline uint32_t
turn(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* word: four bytes, the first one highest */
static inline uint32_t
word(const unsigned char *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

/* next_word: the words of a block after its 16 own, the last 16 of which are kept */
static inline uint32_t
next_word(uint32_t *w, int i)
{
	uint32_t	a = w[(i + 1) & 15];
	uint32_t	b = w[(i + 14) & 15];

	return w[i & 15] += (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[(i + 9) & 15] +
		(turn(b, 17) ^ turn(b, 19) ^ b >> 10);
}

/* one of the 64 rounds; the names of the letters move, and not their values */
#define ROUND(a, b, c, d, e, f, g, h, i) \
	do { \
		uint32_t	t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + \
			(g ^ (e & (f ^ g))) + constants[i] + \
			((i) < 16 ? w[(i) & 15] : next_word(w, i)); \
		d += t; \
		h = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + \
			((a & b) | (c & (a | b))); \
	} while (0)

/* take_block: one more block into the state */
static void
take_block(uint32_t *state, const unsigned char *block)
{
	uint32_t	w[16];
	uint32_t	a = state[0];
	uint32_t	b = state[1];
	uint32_t	c = state[2];
	uint32_t	d = state[3];
	uint32_t	e = state[4];
	uint32_t	f = state[5];
	uint32_t	g = state[6];
	uint32_t	h = state[7];
	int			i;

	for (i = 0; i < 16; i++)
		w[i] = word(block + 4 * i);
	for (i = 0; i < 64; i += 8)
	{
		ROUND(a, b, c, d, e, f, g, h, i);
		ROUND(h, a, b, c, d, e, f, g, i + 1);
		ROUND(g, h, a, b, c, d, e, f, i + 2);
		ROUND(f, g, h, a, b, c, d, e, i + 3);
		ROUND(e, f, g, h, a, b, c, d, i + 4);
		ROUND(d, e, f, g, h, a, b, c, i + 5);
		ROUND(c, d, e, f, g, h, a, b, i + 6);
		ROUND(b, c, d, e, f, g, h, a, i + 7);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
}

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

/* sn_sha256_add: hash some bytes more */
void
sn_sha256_add(SnSha256 *sha, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	size_t		used = sha->len % SN_SHA256_BLOCK;

	sha->len += len;
	if (used > 0)
	{
		size_t		n = SN_SHA256_BLOCK - used;

		if (len < n)
			n = len;
		memcpy(sha->block + used, p, n);
		if (used + n < SN_SHA256_BLOCK)
			return;
		take_block(sha->state, sha->block);
		p += n;
		len -= n;
	}
	for (; len >= SN_SHA256_BLOCK; len -= SN_SHA256_BLOCK)
	{
		take_block(sha->state, p);
		p += SN_SHA256_BLOCK;
	}
	memcpy(sha->block, p, len);
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
		take_block(sha->state, sha->block);
		used = 0;
	}
	memset(sha->block + used, 0, SN_SHA256_BLOCK - 8 - used);
	for (i = 0; i < 8; i++)
		sha->block[SN_SHA256_BLOCK - 1 - i] = (unsigned char) (bits >> (8 * i));
	take_block(sha->state, sha->block);
	for (i = 0; i < SN_SHA256_LEN; i++)
		result[i] = (unsigned char) (sha->state[i / 4] >> (24 - 8 * (i % 4)));
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
