/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * merkle.c
 *		Merkle trees over digests that come one after the other.
 *
 * The tree is that of RFC 6962, section 2.1, with SHA-256: a leaf is hashed
 * behind a byte 0, and two subtrees behind a byte 1; the left subtree has the
 * largest power of two of leaves that leaves some to the right.  Only the roots
 * of full subtrees are kept, so a tree of a million leaves takes 640 bytes.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "audit/merkle.h"

/* Kept by the process: setting one up costs more than a digest */
static pg_cryptohash_ctx *sha = NULL;

static void
sha_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute a SHA-256 digest")));
}

/* make_context: one that outlives the transaction, and is nobody's leak */
static void
make_context(void)
{
	ResourceOwner old = CurrentResourceOwner;
	static ResourceOwner owner = NULL;

	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "sentinai audit");
	CurrentResourceOwner = owner;
	sha = pg_cryptohash_create(PG_SHA256);
	CurrentResourceOwner = old;
}

/* sn_sha_begin: a digest of one kind, SN_SHA_...; one at a time */
void
sn_sha_begin(uint8 what)
{
	if (sha == NULL)
		make_context();
	if (sha == NULL || pg_cryptohash_init(sha) < 0)
		sha_failed();
	sn_sha_add(&what, sizeof(what));
}

/* sn_sha_add: more of what it is of */
void
sn_sha_add(const void *bytes, Size len)
{
	if (pg_cryptohash_update(sha, bytes, len) < 0)
		sha_failed();
}

/* sn_sha_add_int64: a number, its highest byte first */
void
sn_sha_add_int64(int64 number)
{
	uint64		bytes = pg_hton64((uint64) number);

	sn_sha_add(&bytes, sizeof(bytes));
}

/* sn_sha_end: the digest */
void
sn_sha_end(SnDigest *digest)
{
	if (pg_cryptohash_final(sha, digest->bytes, sizeof(digest->bytes)) < 0)
		sha_failed();
}

/* sn_digest_text: a digest in hexadecimal */
char *
sn_digest_text(const SnDigest *digest)
{
	Size		len = sizeof(digest->bytes);
	char	   *text = palloc(2 * len + 1);

	text[hex_encode((const char *) digest->bytes, len, text)] = '\0';
	return text;
}

/* join: the root over two subtrees; result may be one of them */
static void
join(const SnDigest *left, const SnDigest *right, SnDigest *result)
{
	sn_sha_begin(SN_SHA_NODE);
	sn_sha_add(left->bytes, sizeof(left->bytes));
	sn_sha_add(right->bytes, sizeof(right->bytes));
	sn_sha_end(result);
}

/* sn_merkle_begin: an empty tree, in the current memory context */
void
sn_merkle_begin(SnMerkle *tree, SnMerklePath *path)
{
	memset(tree, 0, sizeof(SnMerkle));
	tree->path = path;
	tree->on_path = -1;
	if (path != NULL)
		path->n = 0;
}

/* step_up: a digest that stands beside the subtree on the path */
static void
step_up(SnMerkle *tree, const SnDigest *sibling, bool left)
{
	SnMerkleStep *step = &tree->path->steps[tree->path->n++];

	step->sibling = *sibling;
	step->left = left;
}

/* join_last: the last two subtrees become one */
static void
join_last(SnMerkle *tree)
{
	SnDigest   *left = &tree->subtrees[tree->n - 2];
	SnDigest   *right = &tree->subtrees[tree->n - 1];

	if (tree->on_path == tree->n - 1)
		step_up(tree, left, true);
	else if (tree->on_path == tree->n - 2)
		step_up(tree, right, false);
	if (tree->on_path >= tree->n - 2)
		tree->on_path = tree->n - 2;
	join(left, right, left);
	tree->n--;
}

/* sn_merkle_add: the next leaf */
void
sn_merkle_add(SnMerkle *tree, const SnDigest *leaf)
{
	int64		full;

	if (tree->n == tree->room)
	{
		tree->room = Max(tree->room * 2, 2);
		tree->subtrees = tree->subtrees == NULL ?
			palloc(tree->room * sizeof(SnDigest)) :
			repalloc(tree->subtrees, tree->room * sizeof(SnDigest));
	}
	if (tree->path != NULL && tree->path->leaf == tree->leaves)
		tree->on_path = tree->n;
	tree->subtrees[tree->n++] = *leaf;
	/* as many as the number of leaves before ends with bits that are set */
	for (full = tree->leaves++; full & 1; full >>= 1)
		join_last(tree);
}

/* sn_merkle_root: the root; the tree is used up.  It has a leaf at least. */
void
sn_merkle_root(SnMerkle *tree, SnDigest *root)
{
	Assert(tree->n > 0);
	while (tree->n > 1)
		join_last(tree);
	*root = tree->subtrees[0];
}
