/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_name.c
 *		Names of members, which are the same when Unicode says so.
 *
 * An accent can be part of its letter or a character of its own, and systems
 * differ in which of the two they write.  Whoever looks at the two sees no
 * difference, so a rule makes none: names are compared in normal form C.
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"

#include "redact/redact_name.h"

/* sn_name_is_ascii: whether a name is the same in every form */
bool
sn_name_is_ascii(const char *name, int len)
{
	int			i;

	for (i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(name[i]))
			return false;
	return true;
}

/* decode: the characters of a name, with a zero behind them */
static pg_wchar *
decode(const SnJsonKey *key)
{
	const unsigned char *p = (const unsigned char *) key->name;
	const unsigned char *end = p + key->len;
	pg_wchar   *result = palloc((key->len + 1) * sizeof(pg_wchar));
	int			n = 0;

	for (; p < end; p += pg_utf_mblen(p))
		result[n++] = utf8_to_unicode(p);
	result[n] = 0;
	return result;
}

/* sn_name_normalize: a name in normal form C, copied when it was not in it */
void
sn_name_normalize(SnJsonKey *key)
{
	pg_wchar   *given = decode(key);

	if (unicode_is_normalized_quickcheck(UNICODE_NFC, given) != UNICODE_NORM_QC_YES)
	{
		pg_wchar   *normal = unicode_normalize(UNICODE_NFC, given);
		char	   *name;
		int			n = 0;
		int			i;

		for (i = 0; normal[i] != 0; i++)
			n++;
		name = palloc(n * 4 + 1);
		for (i = n = 0; normal[i] != 0; i++)
		{
			unicode_to_utf8(normal[i], (unsigned char *) name + n);
			n += pg_utf_mblen((unsigned char *) name + n);
		}
		key->name = name;
		key->len = n;
		pfree(normal);
	}
	pfree(given);
}
