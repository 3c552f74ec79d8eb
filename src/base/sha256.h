/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256.h
 *		SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104), for short texts.
 *
 * Pure C.
 */
#ifndef SN_SHA256_H
#define SN_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SN_SHA256_LEN	32
#define SN_SHA256_BLOCK 64

typedef struct SnSha256
{
	uint32_t	state[8];
	uint64_t	len;			/* bytes so far */
	unsigned char block[SN_SHA256_BLOCK];	/* those that are no block yet */
} SnSha256;

/* What a key comes to: the states behind its two blocks */
typedef struct SnHmacKey
{
	SnSha256	inner;
	SnSha256	outer;
} SnHmacKey;

extern void sn_sha256(const void *data, size_t len,
					  unsigned char digest[SN_SHA256_LEN]);
extern void sn_sha256_begin(SnSha256 *sha);
extern void sn_sha256_more(SnSha256 *sha, const void *bytes, size_t len);
extern void sn_sha256_end(SnSha256 *sha, unsigned char *result);
extern void sn_hmac_key(SnHmacKey *key, const void *bytes, size_t len);
extern void sn_hmac_end(const SnHmacKey *key, SnSha256 *sha,
						unsigned char *result);

/* sn_sha256_add: hash some bytes more */
static inline void
sn_sha256_add(SnSha256 *sha, const void *bytes, size_t len)
{
	size_t		used = sha->len % SN_SHA256_BLOCK;

	if (len >= SN_SHA256_BLOCK - used)
	{
		sn_sha256_more(sha, bytes, len);
		return;
	}
	memcpy(sha->block + used, bytes, len);
	sha->len += len;
}

#endif							/* SN_SHA256_H */
