/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * example_pattern.c
 *		A text that a regular expression is likely to match.
 *
 * Reads the expression once and writes what stands there.  It knows nothing of
 * looking around, and gives up nothing: whether the text matches is for the
 * caller to find out.  The expression is one that schema_pattern.c has taken.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "base/hex.h"
#include "registry/example_make.h"

typedef struct Sampling
{
	const char *at;
	const char *end;
	int			extra;			/* repetitions more than the least */
	int			salt;			/* which character of a class */
	StringInfo	out;
} Sampling;

static void sample_alternatives(Sampling *s, bool emit);

static bool
is_at(const Sampling *s, char c)
{
	return s->at < s->end && *s->at == c;
}

/* put_char: a character; one that no JSON string has is left out */
static void
put_char(Sampling *s, pg_wchar c, bool emit)
{
	unsigned char bytes[8];

	if (!emit || c == 0 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return;
	unicode_to_utf8(c, bytes);
	appendBinaryStringInfo(s->out, (char *) bytes, pg_utf_mblen(bytes));
}

/* character: the next one as it stands */
static pg_wchar
character(Sampling *s)
{
	pg_wchar	c = utf8_to_unicode((const unsigned char *) s->at);

	s->at += Min(pg_utf_mblen((const unsigned char *) s->at), s->end - s->at);
	return c;
}

/* hex_digits: a number of hexadecimal digits, at most n */
static pg_wchar
hex_digits(Sampling *s, int n)
{
	pg_wchar	value = 0;

	for (; n > 0 && s->at < s->end && sn_hex_value(*s->at) >= 0; n--)
		value = value * 16 + sn_hex_value(*s->at++);
	return value;
}

/* code_point: what follows \u */
static pg_wchar
code_point(Sampling *s)
{
	pg_wchar	c;

	if (is_at(s, '{'))
	{
		s->at++;
		c = hex_digits(s, 6);
		s->at += is_at(s, '}');
		return c;
	}
	c = hex_digits(s, 4);
	if (c < 0xD800 || c > 0xDBFF || s->end - s->at < 6)
		return c;
	s->at += 2;
	return 0x10000 + ((c - 0xD800) << 10) + (hex_digits(s, 4) - 0xDC00);
}

/* escape: the character that an escape stands for, or one of its class */
static pg_wchar
escape(Sampling *s)
{
	static const char names[] = "tnvfr";
	static const char values[] = "\t\n\v\f\r";
	pg_wchar	c;

	if (s->at == s->end)
		return 0;
	c = character(s);
	switch (c)
	{
		case 'd':
			return '1' + s->salt % 9;
		case 'w':
			return 'a' + s->salt % 26;
		case 's':
			return ' ';
		case 'D':
		case 'S':
			return 'a';
		case 'W':
			return '-';
		case 'u':
			return code_point(s);
		case 'x':
			return hex_digits(s, 2);
		case 'c':
			return s->at < s->end ? *s->at++ & 0x1F : 0;
		default:
			return c < 0x80 && strchr(names, (int) c) != NULL ?
				values[strchr(names, (int) c) - names] : c;
	}
}

/* in_brackets: one character, or one of a class, that stands in brackets */
static pg_wchar
in_brackets(Sampling *s)
{
	if (!is_at(s, '\\'))
		return character(s);
	s->at++;
	return escape(s);
}

/* is_in_class: whether a character belongs to the class with this letter */
static bool
is_in_class(char name, pg_wchar c)
{
	bool		is_digit = c >= '0' && c <= '9';
	bool		is_word = is_digit || c == '_' ||
		((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
	bool		is_space = c == ' ';

	switch (name)
	{
		case 'd':
			return is_digit;
		case 'D':
			return !is_digit;
		case 'w':
			return is_word;
		case 'W':
			return !is_word;
		case 's':
			return is_space;
		default:
			return !is_space;
	}
}

/* excluded: whether what stands in brackets behind ^ has a character */
static bool
excluded(const Sampling *s, pg_wchar c)
{
	Sampling	inner = *s;

	while (inner.at < inner.end && *inner.at != ']')
	{
		bool		is_class = inner.end - inner.at > 1 && *inner.at == '\\' &&
			strchr("dDwWsS", inner.at[1]) != NULL;
		char		name = is_class ? inner.at[1] : '\0';
		pg_wchar	first = in_brackets(&inner);
		pg_wchar	last = first;

		if (is_class)
		{
			if (is_in_class(name, c))
				return true;
			continue;
		}
		if (inner.end - inner.at > 1 && *inner.at == '-' && inner.at[1] != ']')
		{
			inner.at++;
			last = in_brackets(&inner);
		}
		if (c >= first && c <= last)
			return true;
	}
	return false;
}

/* pass_brackets: go behind them */
static void
pass_brackets(Sampling *s)
{
	while (s->at < s->end && *s->at != ']')
		(void) in_brackets(s);
	s->at += s->at < s->end;
}

/* sample_brackets: a character that is in them, or that is not */
static void
sample_brackets(Sampling *s, bool emit)
{
	static const char likely[] = "aA1-_ .:x#";
	pg_wchar	first;
	pg_wchar	last;
	int			i;

	if (is_at(s, '^'))
	{
		s->at++;
		for (i = 0; likely[i] != '\0' && excluded(s, likely[i]); i++)
			 /* the next one */ ;
		put_char(s, likely[i] != '\0' ? likely[i] : 0x3042, emit);
		pass_brackets(s);
		return;
	}
	first = in_brackets(s);
	if (s->end - s->at > 1 && *s->at == '-' && s->at[1] != ']')
	{
		s->at++;
		last = in_brackets(s);
		if (last > first)
			first += s->salt % (last - first + 1);
	}
	put_char(s, first, emit);
	pass_brackets(s);
}

/* sample_group: what is in parentheses, unless it only looks around */
static void
sample_group(Sampling *s, bool emit)
{
	if (is_at(s, '?'))
	{
		s->at++;
		if (is_at(s, '=') || is_at(s, '!') ||
			(is_at(s, '<') && s->end - s->at > 1 &&
			 (s->at[1] == '=' || s->at[1] == '!')))
			emit = false;
		else if (is_at(s, '<'))
			while (s->at < s->end && *s->at != '>')
				s->at++;
		s->at += s->at < s->end && strchr("=!:>", *s->at) != NULL;
	}
	sample_alternatives(s, emit);
	s->at += s->at < s->end;	/* the parenthesis */
}

/* sample_atom: what a repetition speaks of; false for what has no width */
static bool
sample_atom(Sampling *s, bool emit)
{
	switch (*s->at)
	{
		case '(':
			s->at++;
			sample_group(s, emit);
			return true;
		case '[':
			s->at++;
			sample_brackets(s, emit);
			return true;
		case '.':
			s->at++;
			put_char(s, 'a' + s->salt % 26, emit);
			return true;
		case '^':
		case '$':
			s->at++;
			return false;
		case '\\':
			s->at++;
			if (is_at(s, 'b') || is_at(s, 'B'))
			{
				s->at++;
				return false;
			}
			put_char(s, escape(s), emit);
			return true;
		default:
			put_char(s, character(s), emit);
			return true;
	}
}

/* repetitions: decimal digits */
static int
repetitions(Sampling *s)
{
	int			value = 0;

	for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
		value = Min(value * 10 + (*s->at - '0'), SN_EXAMPLE_TEXT_MAX);
	return value;
}

/* times: how often the atom before is to stand there */
static int
times(Sampling *s)
{
	int			least = 1;
	int			most = 1;

	if (s->at == s->end || strchr("*+?{", *s->at) == NULL)
		return 1;
	if (*s->at == '{')
	{
		s->at++;
		least = most = repetitions(s);
		if (is_at(s, ','))
		{
			s->at++;
			most = is_at(s, '}') ? PG_INT32_MAX : repetitions(s);
		}
		s->at += s->at < s->end;
	}
	else
	{
		least = *s->at == '+';
		most = *s->at == '?' ? 1 : PG_INT32_MAX;
		s->at++;
	}
	s->at += is_at(s, '?');
	return Min(least + (int64) s->extra, most);
}

/* sample_sequence: atoms one after the other */
static void
sample_sequence(Sampling *s, bool emit)
{
	while (s->at < s->end && *s->at != '|' && *s->at != ')')
	{
		int			start = s->out->len;
		int			len;
		int			n;

		CHECK_FOR_INTERRUPTS();
		if (!sample_atom(s, emit))
			continue;
		len = s->out->len - start;
		n = times(s);
		if (n == 0)
			s->out->len = start;
		for (; n > 1 && s->out->len <= SN_EXAMPLE_TEXT_MAX; n--)
		{
			enlargeStringInfo(s->out, len);
			appendBinaryStringInfo(s->out, s->out->data + start, len);
		}
	}
}

/* sample_alternatives: the first of them */
static void
sample_alternatives(Sampling *s, bool emit)
{
	check_stack_depth();
	sample_sequence(s, emit);
	while (is_at(s, '|'))
	{
		s->at++;
		sample_sequence(s, false);
	}
}

/*
 * sn_example_of_pattern: append a text that a regular expression may match.
 * extra: how many more repetitions than must be.  False: it is too long.
 */
bool
sn_example_of_pattern(const char *pattern, int len, int extra, int salt,
					  StringInfo out)
{
	Sampling	s = {pattern, pattern + len, extra, salt, out};

	sample_alternatives(&s, true);
	out->data[out->len] = '\0';
	return out->len <= SN_EXAMPLE_TEXT_MAX;
}
