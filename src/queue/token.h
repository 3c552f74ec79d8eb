/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * token.h
 *		The token of a batch.
 */
#ifndef SN_TOKEN_H
#define SN_TOKEN_H

#include "postgres.h"

#include "utils/uuid.h"

typedef struct SnToken
{
	int			sub_id;
	uint64		lanes;			/* that the batch holds; never empty */
	pg_uuid_t	secret;			/* nowhere but in the token */
	pg_uuid_t	batch;			/* number of the batch, as stored */
} SnToken;

extern void sn_token_new(SnToken *token);
extern void sn_token_seal(SnToken *token);
extern text *sn_token_text(const SnToken *token);
extern bool sn_token_parse(const text *from, SnToken *token);

#endif							/* SN_TOKEN_H */
