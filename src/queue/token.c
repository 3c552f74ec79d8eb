/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * token.c
 *		The token of a batch: "<sub_id>-<lanes>-<secret>", the subscription in
 *		decimal, the set of lanes and a random secret in hexadecimal.
 *
 * A token says where to look, not what is true: the lanes' states tell whether
 * the batch still holds them.  There is one way to write a token, and anything
 * else is not one.
 *
 * The number of the batch, which is stored and shown, is a digest of all that
 * the token says and of the role that claimed.  So nobody can make a token of
 * what he finds in a view, a table or a backup; a token with other lanes is
 * one of no batch; and so is a token in the hands of another role.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/sha256.h"
#include "queue/token.h"

#define LANES_DIGITS	16
#define SECRET_DIGITS	(2 * UUID_LEN)
#define TOKEN_MAX		(10 + 1 + LANES_DIGITS + 1 + SECRET_DIGITS)

static const char digits[] = "0123456789abcdef";

/* put_hex: count digits of value, the last at end - 1 */
static void
put_hex(char *end, uint64 value, int count)
{
	for (; count > 0; count--, value >>= 4)
		*--end = digits[value & 15];
}

/* get_hex: read exactly count digits; false when one of them is none */
static bool
get_hex(const char *from, int count, uint64 *value)
{
	*value = 0;
	for (; count > 0; count--, from++)
	{
		const char *digit = *from ? strchr(digits, *from) : NULL;

		if (digit == NULL)
			return false;
		*value = *value << 4 | (uint64) (digit - digits);
	}
	return true;
}

/* get_sub_id: a positive number without leading zero, up to a hyphen */
static const char *
get_sub_id(const char *from, int *sub_id)
{
	int64		value = 0;

	if (*from < '1' || *from > '9')
		return NULL;
	for (; *from >= '0' && *from <= '9'; from++)
	{
		value = value * 10 + (*from - '0');
		if (value > INT_MAX)
			return NULL;
	}
	*sub_id = (int) value;
	return *from == '-' ? from + 1 : NULL;
}

/*
 * sn_token_new: a random secret for a batch.  Secrets are drawn by the handful,
 * as each call of the generator costs more than a number.
 */
void
sn_token_new(SnToken *token)
{
	static pg_uuid_t drawn[16];
	static int	left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(drawn, sizeof(drawn)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = lengthof(drawn);
	}
	token->secret = drawn[--left];
}

/*
 * sn_token_seal: the batch's number, once everything about the token is known.
 * The role is the one whose rights count now.  It is the same in all that a
 * SECURITY DEFINER function does for its callers.  It belongs to the statement
 * and not to the session, so that a pool of connections may be between.
 */
void
sn_token_seal(SnToken *token)
{
	unsigned char said[UUID_LEN + sizeof(token->lanes) +
					   sizeof(token->sub_id) + sizeof(Oid)];
	unsigned char digest[SN_SHA256_LEN];
	unsigned char *p = said;
	Oid			role = GetUserId();

	Assert(token->lanes != 0);
	memcpy(p, token->secret.data, UUID_LEN);
	p += UUID_LEN;
	memcpy(p, &token->lanes, sizeof(token->lanes));
	p += sizeof(token->lanes);
	memcpy(p, &token->sub_id, sizeof(token->sub_id));
	p += sizeof(token->sub_id);
	memcpy(p, &role, sizeof(role));
	sn_sha256(said, sizeof(said), digest);
	memcpy(token->batch.data, digest, UUID_LEN);
}

/* sn_token_text: the token as callers see it */
text *
sn_token_text(const SnToken *token)
{
	char		room[TOKEN_MAX + 1];
	char	   *p = room;
	int			i;

	p += snprintf(room, sizeof(room), "%d-", token->sub_id);
	put_hex(p + LANES_DIGITS, token->lanes, LANES_DIGITS);
	p += LANES_DIGITS;
	*p++ = '-';
	for (i = 0; i < UUID_LEN; i++, p += 2)
		put_hex(p + 2, token->secret.data[i], 2);
	return cstring_to_text_with_len(room, p - room);
}

/* sn_token_parse: read a token in the caller's hands; false when it is none */
bool
sn_token_parse(const text *from, SnToken *token)
{
	char		room[TOKEN_MAX + 1];
	Size		len = VARSIZE_ANY_EXHDR(from);
	const char *p;
	int			i;

	if (len > TOKEN_MAX)
		return false;
	memcpy(room, VARDATA_ANY(from), len);
	room[len] = '\0';

	p = get_sub_id(room, &token->sub_id);
	if (p == NULL || room + len - p != LANES_DIGITS + 1 + SECRET_DIGITS ||
		p[LANES_DIGITS] != '-' ||
		!get_hex(p, LANES_DIGITS, &token->lanes) || token->lanes == 0)
		return false;
	p += LANES_DIGITS + 1;
	for (i = 0; i < UUID_LEN; i++, p += 2)
	{
		uint64		byte;

		if (!get_hex(p, 2, &byte))
			return false;
		token->secret.data[i] = (unsigned char) byte;
	}
	sn_token_seal(token);
	return true;
}
