/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256.h
 *		SHA-256 (FIPS 180-4) of a piece of memory.
 *
 * Pure C.
 */
#ifndef SN_SHA256_H
#define SN_SHA256_H

#include <stddef.h>

#define SN_SHA256_LEN 32

extern void sn_sha256(const void *data, size_t len,
					  unsigned char digest[SN_SHA256_LEN]);

#endif							/* SN_SHA256_H */
