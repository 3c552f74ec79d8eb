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

extern bool sn_text_equal(const text *a, const text *b);
extern int	sn_text_compare(const text *a, const text *b);
extern text *sn_text_copy(const text *from);
extern bool sn_text_is(const text *value, const char *name);
extern bool sn_hex_bytes(const char *digits, int n, uint8 *bytes);

#endif							/* SN_TEXT_H */
