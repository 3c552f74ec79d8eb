/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_secret.h
 *		What in a text looks like a secret.
 *
 * Pure C.
 */
#ifndef SN_REDACT_SECRET_H
#define SN_REDACT_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Kinds of secrets, as bits; the names are those of secret_name() */
#define SN_SECRET_BEARER_TOKEN	1u
#define SN_SECRET_PRIVATE_KEY	2u
#define SN_SECRET_CARD_NUMBER	4u
#define SN_SECRET_KINDS			3
#define SN_SECRET_ALL			((1u << SN_SECRET_KINDS) - 1)

/* Where a secret stands in a text */
typedef struct SnSecretSpan
{
	size_t		from;
	size_t		to;				/* behind it */
} SnSecretSpan;

extern const char *const sn_secret_kinds[SN_SECRET_KINDS];
extern bool sn_secret_next(const char *text, size_t len, unsigned int kinds,
						   size_t at, SnSecretSpan *span);

#endif							/* SN_REDACT_SECRET_H */
