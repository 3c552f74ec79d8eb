/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * hex.h
 *		Hexadecimal digits.
 *
 * Pure C.
 */
#ifndef SN_HEX_H
#define SN_HEX_H

/* sn_hex_value: of a digit in either case, or -1 */
static inline int
sn_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#endif							/* SN_HEX_H */
