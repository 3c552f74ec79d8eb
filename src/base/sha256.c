/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256.c
 *		SHA-256 (FIPS 180-4): the relay's core and programs outside of the server
 *		make names of topics alike.  Of some bytes it takes half of what a library
 *		does that is asked for the algorithm by its name each time.
 */
#include "base/sha256.h"

#include <stdint.h>
#include <string.h>

#define BLOCK 64

static const uint32_t k[64] = {
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

/* Rotates to the right. */
static inline uint32_t
turn(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* One round; the caller gives the eight numbers other names in the next. */
static inline void
take_word(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e,
		  uint32_t f, uint32_t g, uint32_t *h, uint32_t word)
{
	*h += word + (g ^ (e & (f ^ g))) + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25));
	*d += *h;
	*h += ((a & b) | (c & (a | b))) + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22));
}

/* Takes one block into the state. */
static void
take_block(uint32_t state[8], const unsigned char *block)
{
	uint32_t	w[64];
	uint32_t	s[8];
	int			i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t) block[4 * i] << 24 | (uint32_t) block[4 * i + 1] << 16 |
			(uint32_t) block[4 * i + 2] << 8 | block[4 * i + 3];
	for (; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
			(turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
			(turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, state, sizeof(s));
#define TAKE(a, b, c, d, e, f, g, h, j) \
	take_word(s[a], s[b], s[c], &s[d], s[e], s[f], s[g], &s[h], k[i + j] + w[i + j])
	for (i = 0; i < 64; i += 8)
	{
		TAKE(0, 1, 2, 3, 4, 5, 6, 7, 0);
		TAKE(7, 0, 1, 2, 3, 4, 5, 6, 1);
		TAKE(6, 7, 0, 1, 2, 3, 4, 5, 2);
		TAKE(5, 6, 7, 0, 1, 2, 3, 4, 3);
		TAKE(4, 5, 6, 7, 0, 1, 2, 3, 4);
		TAKE(3, 4, 5, 6, 7, 0, 1, 2, 5);
		TAKE(2, 3, 4, 5, 6, 7, 0, 1, 6);
		TAKE(1, 2, 3, 4, 5, 6, 7, 0, 7);
	}
#undef TAKE
	for (i = 0; i < 8; i++)
		state[i] += s[i];
}

/* The digest of a piece of memory. */
void
sn_sha256(const void *data, size_t len, unsigned char digest[SN_SHA256_LEN])
{
	uint32_t	state[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};
	unsigned char end[2 * BLOCK] = {0};
	const unsigned char *p = data;
	uint64_t	bits = (uint64_t) len * 8;
	size_t		rest = len % BLOCK;
	size_t		blocks = rest < BLOCK - 8 ? 1 : 2;
	size_t		i;

	for (i = 0; i + BLOCK <= len; i += BLOCK)
		take_block(state, p + i);
	if (rest > 0)
		memcpy(end, p + i, rest);
	end[rest] = 0x80;
	for (i = 0; i < 8; i++)
		end[blocks * BLOCK - 1 - i] = (unsigned char) (bits >> 8 * i);
	for (i = 0; i < blocks; i++)
		take_block(state, end + i * BLOCK);
	for (i = 0; i < SN_SHA256_LEN; i++)
		digest[i] = (unsigned char) (state[i / 4] >> (24 - i % 4 * 8));
}
