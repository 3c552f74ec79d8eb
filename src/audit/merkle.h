/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * merkle.h
 *		Merkle trees over digests that come one after the other.
 */
#ifndef SN_MERKLE_H
#define SN_MERKLE_H

#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"

/* One digest */
typedef struct SnDigest
{
	uint8		bytes[PG_SHA256_DIGEST_LENGTH];
} SnDigest;

#define SN_MERKLE_HEIGHT 64		/* more levels than leaves can be counted */

/* A step from a leaf to the root: what stands beside it */
typedef struct SnMerkleStep
{
	SnDigest	sibling;
	bool		left;			/* it stands to the left */
} SnMerkleStep;

/* The way from one leaf to the root */
typedef struct SnMerklePath
{
	int64		leaf;			/* number of the leaf, from 0 */
	int			n;
	SnMerkleStep steps[SN_MERKLE_HEIGHT];
} SnMerklePath;

/*
 * A tree that grows: the roots of its full subtrees, from the left.  Where path
 * is set, it is filled while the tree grows.
 */
typedef struct SnMerkle
{
	int64		leaves;
	int			n;				/* subtrees: the bits of leaves that are set */
	int			room;
	SnDigest   *subtrees;
	SnMerklePath *path;			/* NULL: nobody asks for one */
	int			on_path;		/* the subtree that has its leaf; -1: none yet */
} SnMerkle;

extern void sn_sha_begin(uint8 what);
extern void sn_sha_add(const void *bytes, Size len);
extern void sn_sha_add_int64(int64 number);
extern void sn_sha_end(SnDigest *digest);
extern char *sn_digest_text(const SnDigest *digest);

extern void sn_merkle_begin(SnMerkle *tree, SnMerklePath *path);
extern void sn_merkle_add(SnMerkle *tree, const SnDigest *leaf);
extern void sn_merkle_root(SnMerkle *tree, SnDigest *root);

/* what a digest is of: its first byte, so that none can be taken for another */
#define SN_SHA_LEAF		0x00
#define SN_SHA_NODE		0x01
#define SN_SHA_ROOT		0x02	/* of a tenant, in its chain */
#define SN_SHA_INTERVAL	0x03	/* of all tenants, in the chain of intervals */
#define SN_SHA_KEYS		0x04	/* of a run, in the leaf of its first event */

#endif							/* SN_MERKLE_H */
