/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * text.c
 *		Texts: the same and in order byte by byte, whatever the collation; copies of
 *		them; their digits.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/hex.h"
#include "base/text.h"

/* sn_text_equal: whether two texts, or NULLs, are the same */
bool
sn_text_equal(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return sn_text_has(a, VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b));
}

/* sn_text_compare: their order, as collation "C" has it */
int
sn_text_compare(const text *a, const text *b)
{
	Size		len = VARSIZE_ANY_EXHDR(a);
	Size		other_len = VARSIZE_ANY_EXHDR(b);
	int			cmp = memcmp(VARDATA_ANY(a), VARDATA_ANY(b),
							 Min(len, other_len));

	return cmp != 0 ? cmp : (len > other_len) - (len < other_len);
}

/* sn_text_is: whether a text is that name */
bool
sn_text_is(const text *value, const char *name)
{
	return sn_text_has(value, name, strlen(name));
}

/* sn_text_copy: a text, or NULL, in the current memory context */
text *
sn_text_copy(const text *from)
{
	Size		size;
	text	   *result;

	if (from == NULL)
		return NULL;
	size = VARSIZE_ANY(from);
	result = palloc(size);
	memcpy(result, from, size);
	return result;
}

/* sn_hex_bytes: two digits for each of n bytes; false when they are none */
bool
sn_hex_bytes(const char *digits, int n, uint8 *bytes)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		int			high = sn_hex_value(digits[2 * i]);
		int			low = sn_hex_value(digits[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = high << 4 | low;
	}
	return true;
}
