/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sqlstate.h
 *		SentinAI's own error codes: class SN, whose last three digits are the
 *		HTTP status an error maps to.  What PostgreSQL has a code for keeps
 *		PostgreSQL's code.  docs/errors.md lists both.
 */
#ifndef SN_SQLSTATE_H
#define SN_SQLSTATE_H

/* the tenant may not be written or read by this caller, or is not set */
#define ERRCODE_SN_TENANT_NOT_ALLOWED	MAKE_SQLSTATE('S','N','4','0','3')
/* no such worker type, token or event in the batch */
#define ERRCODE_SN_NOT_FOUND			MAKE_SQLSTATE('S','N','4','0','4')
/* the token is stale, or the state forbids the change */
#define ERRCODE_SN_CONFLICT				MAKE_SQLSTATE('S','N','4','0','9')
/* payload, metadata or batch above its limit */
#define ERRCODE_SN_TOO_LARGE			MAKE_SQLSTATE('S','N','4','1','3')
/* an argument has the right type and a value that is not allowed */
#define ERRCODE_SN_INVALID				MAKE_SQLSTATE('S','N','4','2','2')
/* a rate or queue limit is reached */
#define ERRCODE_SN_LIMIT				MAKE_SQLSTATE('S','N','4','2','9')

#endif							/* SN_SQLSTATE_H */
