/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256_block.c
 *		Blocks of SHA-256: by the processor's instructions where it has them.
 *
 * Intel and AMD processors of the last years have instructions for its rounds,
 * which take a tenth of the time.  Others get it in C.
 *
 * Pure C.
 */
#include "base/sha256_block.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_SHA_INSTRUCTIONS
#include <cpuid.h>
#include <immintrin.h>
#endif

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

/* NEXT_WORD: the words of a block after its 16 own, the last 16 of which are kept */
#define NEXT_WORD(j) \
	(w[j] += (turn(w[((j) + 1) & 15], 7) ^ turn(w[((j) + 1) & 15], 18) ^ w[((j) + 1) & 15] >> 3) + \
	 w[((j) + 9) & 15] + \
	 (turn(w[((j) + 14) & 15], 17) ^ turn(w[((j) + 14) & 15], 19) ^ w[((j) + 14) & 15] >> 10))

/* one of the 64 rounds; the names of the letters move, and not their values */
#define ROUND(a, b, c, d, e, f, g, h, i, next) \
	do { \
		uint32_t	t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + \
			(g ^ (e & (f ^ g))) + k[i] + (next); \
		d += t; \
		h = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + \
			((a & b) | (c & (a | b))); \
	} while (0)

/* eight rounds, after which the letters are back at their places */
#define EIGHT_ROUNDS(i, next) \
	do { \
		ROUND(a, b, c, d, e, f, g, h, i, next(i)); \
		ROUND(h, a, b, c, d, e, f, g, i + 1, next(i + 1)); \
		ROUND(g, h, a, b, c, d, e, f, i + 2, next(i + 2)); \
		ROUND(f, g, h, a, b, c, d, e, i + 3, next(i + 3)); \
		ROUND(e, f, g, h, a, b, c, d, i + 4, next(i + 4)); \
		ROUND(d, e, f, g, h, a, b, c, i + 5, next(i + 5)); \
		ROUND(c, d, e, f, g, h, a, b, i + 6, next(i + 6)); \
		ROUND(b, c, d, e, f, g, h, a, i + 7, next(i + 7)); \
	} while (0)

#define OWN_WORD(j) (w[j] = word(block + 4 * (j)))

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
	const uint32_t *k = constants;

	EIGHT_ROUNDS(0, OWN_WORD);
	EIGHT_ROUNDS(8, OWN_WORD);
	for (k += 16; k < constants + 64; k += 16)
	{
		EIGHT_ROUNDS(0, NEXT_WORD);
		EIGHT_ROUNDS(8, NEXT_WORD);
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

/* sn_sha256_blocks_plain: in C alone */
void
sn_sha256_blocks_plain(uint32_t *state, const unsigned char *p, size_t n)
{
	for (; n > 0; n--, p += 64)
		take_block(state, p);
}

#ifdef HAVE_SHA_INSTRUCTIONS

/* four rounds with the words in w; the two halves of the state change places */
#define FOUR_ROUNDS(w, i) \
	do { \
		__m128i		k = _mm_add_epi32(w, \
			_mm_loadu_si128((const __m128i *) &constants[4 * (i)])); \
		cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k); \
		abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e)); \
	} while (0)

/* the words that come 16 after those in a, of which b, c and d are the next 12 */
#define NEXT_WORDS(a, b, c, d) \
	a = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(a, b), \
										   _mm_alignr_epi8(d, c, 4)), d)

/* 16 rounds, and the words for the next 16 */
#define ROUNDS_ON(i) \
	do { \
		FOUR_ROUNDS(w0, i); \
		NEXT_WORDS(w0, w1, w2, w3); \
		FOUR_ROUNDS(w1, i + 1); \
		NEXT_WORDS(w1, w2, w3, w0); \
		FOUR_ROUNDS(w2, i + 2); \
		NEXT_WORDS(w2, w3, w0, w1); \
		FOUR_ROUNDS(w3, i + 3); \
		NEXT_WORDS(w3, w0, w1, w2); \
	} while (0)

/* load_words: 16 bytes of a block, as four words */
static inline __m128i __attribute__((target("sse4.1")))
load_words(const unsigned char *p)
{
	const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL,
										 0x0405060700010203LL);

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) p), order);
}

/* take_blocks: by the instructions, which want the state in another order */
static void __attribute__((target("sha,sse4.1")))
take_blocks(uint32_t *state, const unsigned char *p, size_t n)
{
	__m128i		cdab = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *) state), 0xb1);
	__m128i		efgh = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *) state + 1), 0x1b);
	__m128i		abef = _mm_alignr_epi8(cdab, efgh, 8);
	__m128i		cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
	__m128i		feba;
	__m128i		dchg;

	for (; n > 0; n--, p += 64)
	{
		__m128i		abef_before = abef;
		__m128i		cdgh_before = cdgh;
		__m128i		w0 = load_words(p);
		__m128i		w1 = load_words(p + 16);
		__m128i		w2 = load_words(p + 32);
		__m128i		w3 = load_words(p + 48);

		ROUNDS_ON(0);
		ROUNDS_ON(4);
		ROUNDS_ON(8);
		FOUR_ROUNDS(w0, 12);
		FOUR_ROUNDS(w1, 13);
		FOUR_ROUNDS(w2, 14);
		FOUR_ROUNDS(w3, 15);
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	feba = _mm_shuffle_epi32(abef, 0x1b);
	dchg = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *) state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *) state + 1, _mm_alignr_epi8(dchg, feba, 8));
}

/* sn_sha256_has_instructions: SHA, and the SSE4.1 that goes with them */
bool
sn_sha256_has_instructions(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) != 0 &&
		__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

/* sn_sha256_blocks: in the way that the first call finds best */
void
sn_sha256_blocks(uint32_t *state, const unsigned char *p, size_t n)
{
	static void (*blocks) (uint32_t *, const unsigned char *, size_t) = NULL;

	if (blocks == NULL)
		blocks = sn_sha256_has_instructions() ? take_blocks :
			sn_sha256_blocks_plain;
	blocks(state, p, n);
}

#else

bool
sn_sha256_has_instructions(void)
{
	return false;
}

void
sn_sha256_blocks(uint32_t *state, const unsigned char *p, size_t n)
{
	sn_sha256_blocks_plain(state, p, n);
}

#endif
