/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * escape.c
 *	  Names and texts that others have chosen, in what we write.
 *
 * They may hold anything that the database stores: escape sequences of
 * terminals, marks that turn the direction of text, markup.  The server sends
 * UTF-8; what is none becomes a question mark.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "flow.h"

/* Adds what printf would write; numbers and names of ours. */
void
text_addf(Text *out, const char *format,...)
{
	char		buffer[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(buffer, sizeof(buffer), format, args);
	va_end(args);
	text_add(out, buffer);
}

/* The character that a text begins with, and its bytes; '?' for a bad byte. */
static unsigned
next_character(const char *string, size_t *bytes)
{
	const unsigned char *p = (const unsigned char *) string;
	int			more = p[0] < 0x80 ? 0 : p[0] >= 0xc2 && p[0] < 0xe0 ? 1 :
		p[0] >= 0xe0 && p[0] < 0xf0 ? 2 : p[0] >= 0xf0 && p[0] < 0xf5 ? 3 : -1;
	unsigned	code = more <= 0 ? p[0] : p[0] & (0x3fu >> more);
	int			i;

	*bytes = 1;
	if (more < 0)
		return '?';
	for (i = 1; i <= more; i++)
	{
		if ((p[i] & 0xc0) != 0x80)
			return '?';
		code = code << 6 | (p[i] & 0x3f);
	}
	*bytes = (size_t) more + 1;
	return code;
}

/* Would a terminal or a viewer do something about it instead of showing it? */
static bool
is_active(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
		(c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
		(c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
		(c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe ||
		(c >= 0xd800 && c <= 0xdfff) || (c >= 0xe0000 && c <= 0xe0fff) ||
		c > 0x10ffff;
}

/* How a form of output takes one character; bytes are those it has in UTF-8 */
typedef void (*Put) (Text *out, unsigned c, const char *bytes, size_t count);

/* Adds a text character by character. */
static void
add_characters(Text *out, const char *string, Put put)
{
	while (*string != '\0')
	{
		size_t		count;
		unsigned	c = next_character(string, &count);

		if (c == '?')
			put(out, c, "?", 1);	/* or a byte that is no character */
		else
			put(out, c, string, count);
		string += count;
	}
}

static void
put_plain(Text *out, unsigned c, const char *bytes, size_t count)
{
	if (is_active(c))
		text_addf(out, "\\u{%x}", c);
	else
		text_add_bytes(out, bytes, count);
}

static void
put_xml(Text *out, unsigned c, const char *bytes, size_t count)
{
	if (is_active(c))
		text_add(out, "\xef\xbf\xbd");
	else if (c < 0x80 && strchr("<>&\"'", (int) c) != NULL)
		text_addf(out, "&#%u;", c);
	else
		text_add_bytes(out, bytes, count);
}

static void
put_mermaid(Text *out, unsigned c, const char *bytes, size_t count)
{
	if (is_active(c))
		text_add(out, "#65533;");
	else if (c >= 0x80 || (c >= '0' && c <= '9') || c == ' ' ||
			 ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
		text_add_bytes(out, bytes, count);
	else
		text_addf(out, "#%u;", c);
}

/* Adds a text for a terminal: what is active is written as a number. */
void
text_add_plain(Text *out, const char *string)
{
	add_characters(out, string, put_plain);
}

/* Adds a text for XML, as content or in an attribute. */
void
text_add_xml(Text *out, const char *string)
{
	add_characters(out, string, put_xml);
}

/*
 * Adds a text for a quoted label of Mermaid, in whose language and in whose
 * Markdown and HTML most signs mean something: they are written as numbers.
 */
void
text_add_mermaid(Text *out, const char *string)
{
	add_characters(out, string, put_mermaid);
}

/* Adds a time span with three digits or so. */
void
text_add_duration(Text *out, long long us)
{
	if (us < 0)
	{
		text_add(out, "-");
		us = -us;
	}
	if (us < 1000)
		text_addf(out, "%lld \xc2\xb5s", us);
	else if (us < 1000000)
		text_addf(out, "%.*f ms", us < 100000 ? 1 : 0, (double) us / 1e3);
	else if (us < 120000000)
		text_addf(out, "%.2f s", (double) us / 1e6);
	else if (us < 7200000000LL)
		text_addf(out, "%.1f min", (double) us / 60e6);
	else
		text_addf(out, "%.1f h", (double) us / 3600e6);
}
