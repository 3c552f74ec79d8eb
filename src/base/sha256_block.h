/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sha256_block.h
 *		Blocks of SHA-256.  Private to sha256.c and its test.
 *
 * Pure C.
 */
#ifndef SN_SHA256_BLOCK_H
#define SN_SHA256_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* work n blocks of 64 bytes into a state */
extern void sn_sha256_blocks(uint32_t *state, const unsigned char *p, size_t n);

/* the same in C alone */
extern void sn_sha256_blocks_plain(uint32_t *state, const unsigned char *p,
								   size_t n);

/* whether the processor has instructions for it */
extern bool sn_sha256_has_instructions(void);

#endif							/* SN_SHA256_BLOCK_H */
