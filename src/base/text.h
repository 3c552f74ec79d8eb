/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * text.h
 *		When texts are the same, and their order: byte by byte, whatever the
 *		collation.  Their digits.
 */
#ifndef SN_TEXT_H
#define SN_TEXT_H

#include "postgres.h"

#include "base/compat.h"

/* sn_text_has: whether a text is these bytes; publishers ask it for each event */
static inline bool
sn_text_has(const text *value, const char *bytes, Size len)
{
	return VARSIZE_ANY_EXHDR(value) == len &&
		memcmp(VARDATA_ANY(value), bytes, len) == 0;
}

extern bool sn_text_equal(const text *a, const text *b);
extern int	sn_text_compare(const text *a, const text *b);
extern text *sn_text_copy(const text *from);
extern bool sn_text_is(const text *value, const char *name);
extern bool sn_hex_bytes(const char *digits, int n, uint8 *bytes);

#endif							/* SN_TEXT_H */
