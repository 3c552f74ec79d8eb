/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * printable.c
 *		What may stand in a name that people read in views and logs, and texts
 *		that can be stored whatever they are made of.
 *
 * A name with a line feed makes a log line of its own, one with an escape
 * sequence moves the cursor of who looks at it, and one with a mark that turns
 * the direction of text reads as another name.  Such names are refused.
 *
 * The text of an error is not refused: it may be the only trace of a failure.
 * What cannot be stored of it, or would do harm to who reads it, becomes a
 * question mark.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/compat.h"
#include "base/printable.h"
#include "base/sqlstate.h"

/* is_printable_ascii: a byte that is a printable character by itself */
static inline bool
is_printable_ascii(unsigned char c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* is_mark: a character of several bytes that is not to be seen, or misleads */
static bool
is_mark(pg_wchar c)
{
	return (c >= 0x80 && c <= 0x9f) ||	/* control characters */
		c == 0x200e || c == 0x200f ||	/* direction of text */
		(c >= 0x2028 && c <= 0x202e) || /* separators, direction */
		(c >= 0x2066 && c <= 0x2069) || /* direction */
		c == 0xfeff ||			/* byte order mark */
		(c >= 0xfff9 && c <= 0xfffb) || /* interlinear annotation */
		(c >= 0xe0000 && c <= 0xe007f); /* tags */
}

/* sn_is_printable: whether a valid text has printable characters only */
bool
sn_is_printable(const text *t)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(t);
	const unsigned char *end = p + VARSIZE_ANY_EXHDR(t);

	while (p < end)
	{
		if (is_printable_ascii(*p))
			p++;
		else if (*p < 0x80 || is_mark(utf8_to_unicode(p)))
			return false;
		else
			p += pg_utf_mblen(p);
	}
	return true;
}

/* sn_check_printable: an argument that is a name, or an error */
text *
sn_check_printable(text *t, const char *name)
{
	if (!sn_is_printable(t))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must consist of printable characters", name),
				 errhint(SN_PRINTABLE_HINT)));
	return t;
}

/* begins_type: a letter of ASCII */
static bool
begins_type(unsigned char c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

/* sn_is_type_name: the form of an event type or aggregate type */
bool
sn_is_type_name(const text *t)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(t);
	Size		len = VARSIZE_ANY_EXHDR(t);
	Size		i;

	for (i = 0; i < len; i++)
		if (!begins_type(p[i]) && (p[i] < '0' || p[i] > '9') &&
			(p[i] == '\0' || strchr("_.:-/", p[i]) == NULL))
			return false;
	return len > 0 && len <= SN_TYPE_NAME_MAX && begins_type(p[0]);
}

/* may_stay: whether a character of len bytes may stand in a stored text */
static bool
may_stay(const unsigned char *p, int len)
{
	if (len == 1)
		return is_printable_ascii(*p) || *p == '\n' || *p == '\t';
	return pg_utf8_islegal(p, len) && !is_mark(utf8_to_unicode(p));
}

/* sn_storable_text: at most max bytes of a text, which may be any bytes */
text *
sn_storable_text(const char *bytes, Size len, Size max)
{
	const unsigned char *p = (const unsigned char *) bytes;
	const unsigned char *end = p + len;
	text	   *result = palloc(VARHDRSZ + Min(len, max));
	char	   *out = VARDATA(result);
	char	   *room = out + Min(len, max);

	while (p < end)
	{
		int			n = pg_utf_mblen(p);
		bool		stays = n <= end - p && may_stay(p, n);

		if (!stays && (n > end - p || !pg_utf8_islegal(p, n)))
			n = 1;
		if ((stays ? n : 1) > room - out)
			break;
		if (stays)
			memcpy(out, p, n);
		else
			*out = '?';
		out += stays ? n : 1;
		p += n;
	}
	SET_VARSIZE(result, out - (char *) result);
	return result;
}
