/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * text.c
 *	  A growing text buffer, JSON writing and UTF-8 cleaning.
 *
 * JSON is only written here, never read: payloads are passed on as the
 * server printed them, because reading and printing them again would change
 * numbers that no C type can hold.
 */
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* Makes room for `more` bytes and a terminator. */
static bool
text_reserve(Text *text, size_t more)
{
	size_t		size = text->size ? text->size : 256;
	char	   *data;

	if (text->failed)
		return false;
	if (more < text->size && text->length < text->size - more)
		return true;
	while (size <= text->length || size - text->length <= more)
	{
		if (size > ((size_t) -1) / 2)
		{
			text->failed = true;
			return false;
		}
		size *= 2;
	}
	data = realloc(text->data, size);
	if (data == NULL)
	{
		text->failed = true;
		return false;
	}
	text->data = data;
	text->size = size;
	return true;
}

/* Appends bytes. */
void
text_add_bytes(Text *text, const char *bytes, size_t length)
{
	if (!text_reserve(text, length))
		return;
	memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
}

/* Appends a string. */
void
text_add(Text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

/* Appends a string as a JSON string with its quotes. */
void
text_add_json_string(Text *text, const char *string)
{
	static const char hex[] = "0123456789abcdef";
	const char *start = string;
	const char *p;

	text_add_bytes(text, "\"", 1);
	for (p = string; *p != '\0'; p++)
	{
		unsigned char c = (unsigned char) *p;
		char		escape[6] = {'\\', 'u', '0', '0', 0, 0};

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		text_add_bytes(text, start, (size_t) (p - start));
		start = p + 1;
		if (c == '"' || c == '\\')
		{
			escape[1] = (char) c;
			text_add_bytes(text, escape, 2);
		}
		else
		{
			escape[4] = hex[c >> 4];
			escape[5] = hex[c & 15];
			text_add_bytes(text, escape, 6);
		}
	}
	text_add_bytes(text, start, (size_t) (p - start));
	text_add_bytes(text, "\"", 1);
}

/*
 * Appends a member of an object, with a comma unless it is the first.  A
 * `raw` value is JSON already; a NULL value is null.
 */
void
text_add_json_member(Text *text, const char *name, const char *value, bool raw)
{
	if (text->length > 0 && text->data[text->length - 1] != '{')
		text_add_bytes(text, ",", 1);
	text_add_json_string(text, name);
	text_add_bytes(text, ":", 1);
	if (value == NULL)
		text_add(text, "null");
	else if (raw)
		text_add(text, value);
	else
		text_add_json_string(text, value);
}

/* Frees the buffer. */
void
text_free(Text *text)
{
	free(text->data);
	memset(text, 0, sizeof(*text));
}

/* Length of the valid UTF-8 character at `p`, or 0. */
static size_t
utf8_length(const unsigned char *p, size_t left)
{
	size_t		length;
	size_t		i;
	unsigned long code;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xC2 && p[0] <= 0xDF)
	{
		length = 2;
		code = p[0] & 0x1FU;
	}
	else if ((p[0] & 0xF0) == 0xE0)
	{
		length = 3;
		code = p[0] & 0x0FU;
	}
	else if (p[0] >= 0xF0 && p[0] <= 0xF4)
	{
		length = 4;
		code = p[0] & 0x07U;
	}
	else
		return 0;
	if (left < length)
		return 0;
	for (i = 1; i < length; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		code = (code << 6) | (p[i] & 0x3FU);
	}
	if ((length == 3 && code < 0x800) || (length == 4 && code < 0x10000) ||
		code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return 0;
	return length;
}

/* Is the string UTF-8? */
bool
text_is_utf8(const char *string)
{
	const unsigned char *p = (const unsigned char *) string;
	size_t		left = strlen(string);

	while (left > 0)
	{
		size_t		n = utf8_length(p, left);

		if (n == 0)
			return false;
		p += n;
		left -= n;
	}
	return true;
}

/*
 * Copies text so that it is valid UTF-8 without control characters and fits
 * into `size` bytes: what is not valid becomes '?'.
 */
void
text_clean(char *destination, size_t size, const char *source, size_t length)
{
	const unsigned char *p = (const unsigned char *) source;
	size_t		in = 0;
	size_t		out = 0;

	while (in < length)
	{
		size_t		n = utf8_length(p + in, length - in);
		bool		bad = n == 0 || (n == 1 && (p[in] < 0x20 || p[in] == 0x7F));

		if (n == 0)
			n = 1;
		if (out + n >= size)
			break;
		if (!bad)
			memcpy(destination + out, source + in, n);
		else
			destination[out] = (p[in] == '\t' || p[in] == '\n') ? ' ' : '?';
		in += n;
		out += n;
	}
	destination[out] = '\0';
}
