/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_path.c
 *		Paths that say which values of an event are redacted: from text to
 *		steps, and back to the one form that a path is stored in.
 *
 *	  path	 = ("$" / "$metadata" / "$error") step*
 *	  step	 = "." name / ".*" / ".." name / "..*"
 *			 / "[" digits "]" / "[*]" / "[" string "]"
 *	  name	 = letters, digits, "_", "-" and all beyond ASCII; or a string
 *	  string = in double quotes as in JSON, or in single ones
 *
 * Pure C; the text is valid UTF-8 or any bytes, and is only read.
 */
#include "redact/redact_path.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A text that is being read */
typedef struct Reader
{
	const unsigned char *p;
	const unsigned char *end;
	const char *why;			/* it is none; NULL so far */
	SnPath	   *path;
	int			used;			/* bytes of path->names */
} Reader;

/* note_wrong: note the first thing that is wrong */
static bool
note_wrong(Reader *r, const char *why)
{
	if (r->why == NULL)
		r->why = why;
	return false;
}

/* take_byte: the next byte, if it is that one */
static bool
take_byte(Reader *r, char c)
{
	if (r->p == r->end || *r->p != (unsigned char) c)
		return false;
	r->p++;
	return true;
}

/* is_name_byte: what a name without quotes may consist of */
static bool
is_name_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '-' || c >= 0x80;
}

/* put_name_byte: one more byte of a name; never more than the text has */
static void
put_name_byte(Reader *r, unsigned int byte)
{
	r->path->names[r->used++] = (char) byte;
}

/* put_character: one more character of a name, as UTF-8 */
static void
put_character(Reader *r, uint32_t c)
{
	if (c < 0x80)
		put_name_byte(r, c);
	else if (c < 0x800)
		put_name_byte(r, 0xc0 | c >> 6);
	else if (c < 0x10000)
	{
		put_name_byte(r, 0xe0 | c >> 12);
		put_name_byte(r, 0x80 | (c >> 6 & 0x3f));
	}
	else
	{
		put_name_byte(r, 0xf0 | c >> 18);
		put_name_byte(r, 0x80 | (c >> 12 & 0x3f));
		put_name_byte(r, 0x80 | (c >> 6 & 0x3f));
	}
	if (c >= 0x80)
		put_name_byte(r, 0x80 | (c & 0x3f));
}

/* take_hex: four hexadecimal digits */
static bool
take_hex(Reader *r, uint32_t *value)
{
	int			i;

	*value = 0;
	for (i = 0; i < 4; i++)
	{
		unsigned char c = r->p == r->end ? 0 : *r->p;

		if (c >= '0' && c <= '9')
			c -= '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			c = (c | 0x20) - 'a' + 10;
		else
			return note_wrong(r, "has \"\\u\" without four hexadecimal digits");
		*value = *value << 4 | c;
		r->p++;
	}
	return true;
}

/* take_unicode: what follows \u, the second half of a pair included */
static bool
take_unicode(Reader *r)
{
	uint32_t	c;
	uint32_t	low;

	if (!take_hex(r, &c))
		return false;
	if (c >= 0xd800 && c <= 0xdbff)
	{
		if (!take_byte(r, '\\') || !take_byte(r, 'u') || !take_hex(r, &low) ||
			low < 0xdc00 || low > 0xdfff)
			return note_wrong(r, "has half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	else if (c >= 0xdc00 && c <= 0xdfff)
		return note_wrong(r, "has half of a surrogate pair");
	if (c == 0)
		return note_wrong(r, "has \"\\u0000\", which no name can hold");
	put_character(r, c);
	return true;
}

/* take_escape: what follows a backslash */
static bool
take_escape(Reader *r)
{
	static const char from[] = "\"'\\/bfnrt";
	static const char to[] = "\"'\\/\b\f\n\r\t";
	const char *found;

	if (take_byte(r, 'u'))
		return take_unicode(r);
	found = r->p == r->end || *r->p == '\0' ? NULL : strchr(from, *r->p);
	if (found == NULL)
		return note_wrong(r, "has a backslash before what needs none");
	r->p++;
	put_name_byte(r, (unsigned char) to[found - from]);
	return true;
}

/* take_string: a name in quotes, of which the first has been taken */
static bool
take_string(Reader *r, char quote)
{
	while (!take_byte(r, quote))
	{
		if (r->p == r->end)
			return note_wrong(r, "has a name whose quotes do not end");
		if (take_byte(r, '\\'))
		{
			if (!take_escape(r))
				return false;
		}
		else if (*r->p == '\0')
			return note_wrong(r, "has a zero byte");
		else
			put_name_byte(r, *r->p++);
	}
	return true;
}

/* take_name: the name of a member, in quotes or without */
static bool
take_name(Reader *r, SnPathStep *step)
{
	step->kind = SN_STEP_MEMBER;
	step->name = r->used;
	if (take_byte(r, '"'))
	{
		if (!take_string(r, '"'))
			return false;
	}
	else
	{
		while (r->p < r->end && is_name_byte(*r->p))
			put_name_byte(r, *r->p++);
		if (r->used == step->name)
			return note_wrong(r, "has no name after a dot");
	}
	step->len = r->used - step->name;
	return true;
}

/* take_index: the number of an item, from 0 */
static bool
take_index(Reader *r, SnPathStep *step)
{
	const unsigned char *first = r->p;

	step->kind = SN_STEP_ITEM;
	for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
	{
		step->index = step->index * 10 + (*r->p - '0');
		if (step->index > SN_PATH_INDEX_MAX)
			return note_wrong(r, "has an index above 999999");
	}
	if (r->p == first)
		return note_wrong(r, "has brackets without a number from 0, a name in quotes or \"*\"");
	if (*first == '0' && r->p - first > 1)
		return note_wrong(r, "has an index that begins with 0");
	return true;
}

/* take_bracket: what stands in brackets, of which the first has been taken */
static bool
take_bracket(Reader *r, SnPathStep *step)
{
	bool		single;

	if (take_byte(r, '*'))
		step->kind = SN_STEP_ANY_ITEM;
	else if ((single = take_byte(r, '\'')) || take_byte(r, '"'))
	{
		step->kind = SN_STEP_MEMBER;
		step->name = r->used;
		if (!take_string(r, single ? '\'' : '"'))
			return false;
		step->len = r->used - step->name;
	}
	else if (!take_index(r, step))
		return false;
	return take_byte(r, ']') || note_wrong(r, "has brackets that do not end");
}

/* take_step: one more step */
static bool
take_step(Reader *r, SnPathStep *step)
{
	memset(step, 0, sizeof(SnPathStep));
	if (take_byte(r, '['))
		return take_bracket(r, step);
	if (!take_byte(r, '.'))
		return note_wrong(r, "has something else than a step: .name, .*, ..name, ..*, [n], [*] or [\"name\"]");
	step->deep = take_byte(r, '.');
	if (take_byte(r, '*'))
	{
		step->kind = SN_STEP_ANY;
		return true;
	}
	return take_name(r, step);
}

/* take_word: the next bytes, if they are these and no name goes on behind them */
static bool
take_word(Reader *r, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (r->end - r->p) < len || memcmp(r->p, word, len) != 0 ||
		(r->p + len < r->end && is_name_byte(r->p[len])))
		return false;
	r->p += len;
	return true;
}

/* take_root: what the path begins at */
static bool
take_root(Reader *r, SnPath *path)
{
	if (take_word(r, "$metadata"))
		path->root = SN_ROOT_METADATA;
	else if (take_word(r, "$error"))
		path->root = SN_ROOT_ERROR;
	else if (take_word(r, "$"))
		path->root = SN_ROOT_PAYLOAD;
	else
		return note_wrong(r, "must begin with \"$\", \"$metadata\" or \"$error\"");
	return true;
}

/*
 * sn_path_parse: the steps of a path; false, and what is wrong with it as the
 * rest of a sentence, when it is none.
 */
bool
sn_path_parse(const char *text, size_t len, SnPath *path, const char **why)
{
	Reader		r = {(const unsigned char *) text,
		(const unsigned char *) text + len, NULL, path, 0};

	path->nsteps = 0;
	*why = NULL;
	if (len > SN_PATH_MAX)
		note_wrong(&r, "must not be longer than 512 bytes");
	else if (take_root(&r, path))
		while (r.why == NULL && r.p < r.end)
		{
			if (path->nsteps == SN_PATH_STEPS_MAX)
				note_wrong(&r, "must not have more than 16 steps");
			else if (take_step(&r, &path->steps[path->nsteps]))
				path->nsteps++;
		}
	if (r.why == NULL && path->root == SN_ROOT_ERROR && path->nsteps > 0)
		note_wrong(&r, "has steps into a text");
	if (r.why == NULL && path->nsteps > 0 &&
		(path->steps[0].kind == SN_STEP_ITEM ||
		 path->steps[0].kind == SN_STEP_ANY_ITEM))
		note_wrong(&r, "has an item of what is always an object");
	*why = r.why;
	return r.why == NULL;
}

/* format_name: a name, in quotes unless it needs none */
static size_t
format_name(const char *name, int len, char *out)
{
	size_t		n = 0;
	int			i;
	bool		plain = len > 0;

	for (i = 0; i < len && plain; i++)
		plain = is_name_byte((unsigned char) name[i]);
	if (plain)
	{
		memcpy(out, name, len);
		return len;
	}
	out[n++] = '"';
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) name[i];

		if (c < 0x20 || c == 0x7f)
			n += sprintf(out + n, "\\u%04x", c);
		else
		{
			if (c == '"' || c == '\\')
				out[n++] = '\\';
			out[n++] = (char) c;
		}
	}
	out[n++] = '"';
	return n;
}

/*
 * sn_path_format: the one form of a path, into SN_PATH_TEXT_MAX bytes; returns
 * its length.  There is no zero byte at the end.
 */
size_t
sn_path_format(const SnPath *path, char *out)
{
	static const char *const roots[] = {"$", "$metadata", "$error"};
	size_t		n = strlen(roots[path->root]);
	int			i;

	memcpy(out, roots[path->root], n);
	for (i = 0; i < path->nsteps; i++)
	{
		const SnPathStep *step = &path->steps[i];

		if (step->kind == SN_STEP_ITEM)
			n += sprintf(out + n, "[%d]", step->index);
		else if (step->kind == SN_STEP_ANY_ITEM)
			n += sprintf(out + n, "[*]");
		else
		{
			n += sprintf(out + n, step->deep ? ".." : ".");
			if (step->kind == SN_STEP_ANY)
				out[n++] = '*';
			else
				n += format_name(path->names + step->name, step->len, out + n);
		}
	}
	return n;
}
