/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_translate.c
 *		The regular expressions of JSON Schema in the server's own language.
 *
 * JSON Schema writes them as ECMA-262 does, with the flag u.  What would make the
 * server's automaton go back (references to groups) is refused, and so is what it
 * has no means for (classes by Unicode property), and what would make it large.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "registry/schema_translate.h"

#define DEPTH_MAX	64			/* of groups in groups */
#define REPEAT_MAX	255			/* of the engine */
#define CHAR_MAX_	0x10FFFF
#define ATOMS_MAX	10000		/* of an automaton */
#define ARCS_MAX	60000

/*
 * How large an automaton is, or a part of it, when repetition is written out.
 * The engine makes an arc for each color of a class, and where things may be
 * missing one for each way past them: of n such things in a row that is n * n,
 * and takes even longer to make.
 */
typedef struct Extent
{
	double		atoms;			/* characters and classes */
	double		classes;
	double		optional;		/* what may match nothing */
} Extent;

/* A pattern while it is translated */
typedef struct Translation
{
	const char *at;
	const char *end;
	StringInfoData out;
	const char *why;			/* it cannot be, or NULL */
	bool		repeatable;		/* a quantifier may follow */
	int			looks;			/* that are open: look-aheads and the like */
	int			looks_max;
	int			depth;
	bool		group[DEPTH_MAX];	/* a quantifier may follow its end: no look */
	Extent		before[DEPTH_MAX];	/* the group */
	Extent		all;			/* so far */
	Extent		last;			/* what a quantifier would repeat */
	bool		empty;			/* nothing yet in this branch */
	int			tokens;			/* atoms that are written: colors are no more */
} Translation;

#define DIGITS	"0-9"
#define WORDS	"A-Za-z0-9_"
#define SPACES	"\\u0009-\\u000D\\u0020\\u00A0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000\\uFEFF"
#define NO_DIGITS "\\u0001-/:-\\U0010FFFF"
#define NO_WORDS "\\u0001-/:-@\\u005B-\\u005E\\u0060\\u007B-\\U0010FFFF"
#define NO_SPACES "\\u0001-\\u0008\\u000E-\\u001F\\u0021-\\u009F\\u00A1-\\u167F\\u1681-\\u1FFF\\u200B-\\u2027\\u202A-\\u202E\\u2030-\\u205E\\u2060-\\u2FFF\\u3001-\\uFEFE\\uFF00-\\U0010FFFF"

/* class_of: what a class escape stands for in brackets, or NULL */
static const char *
class_of(char c)
{
	switch (c)
	{
		case 'd':
			return DIGITS;
		case 'D':
			return NO_DIGITS;
		case 'w':
			return WORDS;
		case 'W':
			return NO_WORDS;
		case 's':
			return SPACES;
		case 'S':
			return NO_SPACES;
		default:
			return NULL;
	}
}

/* give_up: note why there is no translation; the first reason stays */
static void
give_up(Translation *t, const char *why)
{
	if (t->why == NULL)
		t->why = why;
	t->at = t->end;
}

/* extend: the pattern has so many more of a part */
static void
extend(Translation *t, Extent part, double times)
{
	t->all.atoms += part.atoms * times;
	t->all.classes += part.classes * times;
	t->all.optional += part.optional * times;
}

/* atom: note what has been written, which matches one character */
static void
atom(Translation *t, bool is_class)
{
	t->last = (Extent) {1, is_class, 0};
	extend(t, t->last, 1);
	t->tokens++;
	t->empty = false;
	t->repeatable = true;
}

/* nothing: note what has been written, or is not, and matches no character */
static void
nothing(Translation *t)
{
	t->all.optional++;
	t->empty = false;
	t->repeatable = false;
}

/* literal: a character that stands for itself */
static void
literal(Translation *t, uint32 c)
{
	if (c < 0x80 && (isalnum((unsigned char) c) || c == '_'))
		appendStringInfoChar(&t->out, (char) c);
	else
		appendStringInfo(&t->out, "\\U%08X", c);
}

/* hex: the value of n hexadecimal digits, or -1 */
static int64
hex(const char *at, const char *end, int n)
{
	int64		value = 0;

	if (end - at < n)
		return -1;
	for (; n > 0; n--, at++)
	{
		if (!isxdigit((unsigned char) *at))
			return -1;
		value = value * 16 + (isdigit((unsigned char) *at) ? *at - '0' :
							  (*at | 0x20) - 'a' + 10);
	}
	return value;
}

/* braced: \u{…}, of which the brace is passed; the character, or -1 */
static int64
braced(Translation *t)
{
	const char *close = memchr(t->at, '}', t->end - t->at);
	int64		value = close == NULL || close == t->at || close - t->at > 6 ? -1 :
		hex(t->at, t->end, close - t->at);

	if (value >= 0)
		t->at = close + 1;
	return value;
}

/* unicode: what follows \u; two halves of a pair are one character */
static int64
unicode(Translation *t)
{
	int64		value;
	int64		low;

	if (t->at < t->end && *t->at == '{')
	{
		t->at++;
		return braced(t);
	}
	value = hex(t->at, t->end, 4);
	if (value < 0)
		return -1;
	t->at += 4;
	if (value < 0xD800 || value > 0xDFFF)
		return value;
	low = t->end - t->at >= 6 && t->at[0] == '\\' && t->at[1] == 'u' ?
		hex(t->at + 2, t->end, 4) : -1;
	if (value > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
		return -1;
	t->at += 6;
	return 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
}

/*
 * escaped_char: the character that an escape stands for, whose backslash is passed.
 * -1: there is none.
 */
static int64
escaped_char(Translation *t)
{
	static const char names[] = "tnvfr";
	static const char values[] = "\t\n\v\f\r";
	char		c;
	int64		value = -1;

	if (t->at == t->end)
		return -1;
	c = *t->at++;
	if (c != '\0' && strchr(names, c) != NULL)
		return values[strchr(names, c) - names];
	if (c == 'u')
		value = unicode(t);
	else if (c == 'x')
	{
		value = hex(t->at, t->end, 2);
		t->at += Min(2, t->end - t->at);
	}
	else if (c == 'c' && t->at < t->end && isalpha((unsigned char) *t->at))
		value = *t->at++ & 0x1F;
	else if (c != '\0' && strchr("^$\\.*+?()[]{}|/-", c) != NULL)
		value = (unsigned char) c;
	return value > CHAR_MAX_ ? -1 : value;
}

/* next_char: a character as it stands, of any length in bytes */
static uint32
next_char(Translation *t)
{
	pg_wchar	c[2];
	int			len = pg_mblen(t->at);

	pg_mb2wchar_with_len(t->at, c, len);
	t->at += len;
	return c[0];
}

/* class_member: one character or class in brackets; -1: it was a class */
static int64
class_member(Translation *t)
{
	int64		value;

	if (*t->at != '\\')
		return next_char(t);
	t->at++;
	if (t->at < t->end && class_of(*t->at) != NULL)
	{
		appendStringInfoString(&t->out, class_of(*t->at++));
		return -1;
	}
	if (t->at < t->end && *t->at == 'b')
	{
		t->at++;
		return '\b';
	}
	value = escaped_char(t);
	if (value <= 0)
	{
		give_up(t, "has an escape in brackets that is not known");
		return -1;
	}
	return value;
}

/* brackets: a class of characters, whose bracket is passed */
static void
brackets(Translation *t)
{
	bool		empty = true;

	appendStringInfoChar(&t->out, '[');
	if (t->at < t->end && *t->at == '^')
		appendStringInfoChar(&t->out, *t->at++);
	while (t->at < t->end && *t->at != ']')
	{
		int64		first = class_member(t);
		int64		last;

		empty = false;
		if (first < 0)
			continue;
		literal(t, first);
		if (t->end - t->at < 2 || t->at[0] != '-' || t->at[1] == ']')
			continue;
		t->at++;
		appendStringInfoChar(&t->out, '-');
		last = class_member(t);
		if (last < first)
			give_up(t, "has a range in brackets that is none");
		else
			literal(t, last);
	}
	if (t->at == t->end || empty)
	{
		give_up(t, empty ? "has empty brackets" : "has brackets that do not end");
		return;
	}
	t->at++;
	appendStringInfoChar(&t->out, ']');
	atom(t, true);
}

/* open_group: what stands behind an opening parenthesis */
static void
open_group(Translation *t)
{
	static const char *const looks[] = {"?=", "?!", "?<=", "?<!"};
	const char *close;
	bool		look = false;
	int			i;

	if (t->depth == DEPTH_MAX)
	{
		give_up(t, "has too many groups in groups");
		return;
	}
	for (i = 0; i < lengthof(looks) && !look; i++)
	{
		int			len = strlen(looks[i]);

		look = t->end - t->at >= len && memcmp(t->at, looks[i], len) == 0;
		if (look)
		{
			appendStringInfo(&t->out, "(%s", looks[i]);
			t->at += len;
		}
	}
	t->looks += look;
	t->looks_max = Max(t->looks_max, t->looks);
	t->before[t->depth] = t->all;
	t->group[t->depth++] = !look;
	if (look)
		nothing(t);
	t->empty = true;
	t->repeatable = false;
	if (look)
		return;
	appendStringInfoString(&t->out, "(?:");
	if (t->at == t->end || *t->at != '?')
		return;
	close = t->end - t->at > 1 && t->at[1] == '<' ?
		memchr(t->at, '>', t->end - t->at) : NULL;
	if (t->end - t->at > 1 && t->at[1] == ':')
		t->at += 2;
	else if (close != NULL)
		t->at = close + 1;
	else
		give_up(t, "has a group of a kind that is not known");
}

/* bounds: {m}, {m,} or {m,n}, whose brace is passed */
static void
bounds(Translation *t)
{
	const char *start = t->at;
	long		limit[2] = {0, 0};
	int			n = 0;

	for (; t->at < t->end && *t->at != '}'; t->at++)
	{
		if (*t->at == ',' && n == 0 && t->at > start)
			n = 1;
		else if (!isdigit((unsigned char) *t->at))
			break;
		else
			limit[n] = Min(limit[n] * 10 + (*t->at - '0'), REPEAT_MAX + 1);
	}
	if (t->at == t->end || *t->at != '}' || t->at == start)
		give_up(t, "has a brace that is no repetition");
	else if (limit[0] > REPEAT_MAX || limit[1] > REPEAT_MAX)
		give_up(t, "has a repetition of more than 255; minLength and maxLength have no such limit");
	else if (n == 1 && t->at[-1] != ',' && limit[1] < limit[0])
		give_up(t, "has a repetition whose bounds are in the wrong order");
	else
	{
		appendStringInfoChar(&t->out, '{');
		appendBinaryStringInfo(&t->out, start, t->at - start);
		appendStringInfoChar(&t->out, '}');
		extend(t, t->last, Max(Max(limit[0], limit[1]) - 1, 0));
		t->all.optional += limit[0] == 0;
		t->at++;
	}
}

/* quantifier: whether few or many are preferred says nothing about a match */
static void
quantifier(Translation *t, char c)
{
	if (!t->repeatable)
	{
		give_up(t, "has a repetition of nothing");
		return;
	}
	if (c == '{')
		bounds(t);
	else
	{
		appendStringInfoChar(&t->out, c);
		t->all.optional += c != '+';
	}
	if (t->at < t->end && *t->at == '?')
		t->at++;
	t->repeatable = false;
}

/* escape_outside: an escape that is not in brackets, whose backslash is passed */
static void
escape_outside(Translation *t)
{
	int64		value;
	char		c = t->at < t->end ? *t->at : '\0';

	if (c == 'b' || c == 'B')
	{
		t->at++;
		appendStringInfoString(&t->out, c == 'b' ? "\\y" : "\\Y");
		nothing(t);
		return;
	}
	atom(t, class_of(c) != NULL);
	if (class_of(c) != NULL)
	{
		t->at++;
		appendStringInfo(&t->out, "[%s]", class_of(c));
	}
	else if (c == 'k' || (c >= '1' && c <= '9'))
		give_up(t, "refers back to a group");
	else if (c == 'p' || c == 'P')
		give_up(t, "has a class by Unicode property");
	else if ((value = escaped_char(t)) <= 0)
		give_up(t, "has an escape that is not known");
	else
		literal(t, value);
}

/* close_group: a closing parenthesis, which is passed */
static void
close_group(Translation *t)
{
	if (t->depth == 0)
	{
		give_up(t, "has a parenthesis that is not open");
		return;
	}
	if (t->empty)
		nothing(t);
	appendStringInfoChar(&t->out, ')');
	t->repeatable = t->group[--t->depth];
	t->looks -= !t->repeatable;
	t->last.atoms = t->all.atoms - t->before[t->depth].atoms;
	t->last.classes = t->all.classes - t->before[t->depth].classes;
	t->last.optional = t->all.optional - t->before[t->depth].optional;
}

/* anchor_or_branch: ^, $ or |, which is passed */
static void
anchor_or_branch(Translation *t, char c)
{
	appendStringInfoChar(&t->out, c);
	if (c != '|' || t->empty)
		nothing(t);
	t->empty = c == '|';
	t->repeatable = false;
}

/* arcs: how many the automaton has, about */
static double
arcs(const Translation *t)
{
	return (t->all.atoms + t->all.classes * t->tokens) *
		(1 + t->all.optional);
}

/* translate: the whole pattern */
static void
translate(Translation *t)
{
	while (t->at < t->end)
	{
		char		c = *t->at;

		if (strchr("\\[(){}*+?.^$|]", c) == NULL)
		{
			literal(t, next_char(t));
			atom(t, false);
			continue;
		}
		t->at++;
		if (c == '\\')
			escape_outside(t);
		else if (c == '[')
			brackets(t);
		else if (c == '(')
			open_group(t);
		else if (c == ')')
			close_group(t);
		else if (c == '*' || c == '+' || c == '?' || c == '{')
			quantifier(t, c);
		else if (c == ']' || c == '}')
			give_up(t, "has a bracket or brace that is not open");
		else if (c == '.')
		{
			appendStringInfoString(&t->out, "[^\\u000A\\u000D\\u2028\\u2029]");
			atom(t, true);
		}
		else
			anchor_or_branch(t, c);
	}
	if (t->depth > 0)
		give_up(t, "has a group that does not end");
	else if (t->all.atoms > ATOMS_MAX || arcs(t) > ARCS_MAX)
		give_up(t, "is too large to be run in bounded time");
}

/* sn_pattern_translate: an expression, and how large its automaton will be */
void
sn_pattern_translate(const char *text, int len, SnTranslated *result)
{
	Translation t = {.at = text,.end = text + len};

	initStringInfo(&t.out);
	translate(&t);
	result->out = t.out;
	result->why = t.why;
	result->looks = t.looks_max;
	result->arcs = arcs(&t);
}
