/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace_context.c
 *		Is a text what W3C Trace Context says, and what goes on of it?
 *
 * https://www.w3.org/TR/trace-context-2/ .  What does not conform is not
 * passed on: who receives it has to throw it away, and it may hold anything.
 */
#include "base/trace_context.h"

#include <stddef.h>
#include <string.h>

/* Longest tracestate that has to be passed on. */
#define MAX_TRACESTATE 512

/* Flags of a traceparent; more are not known. */
#define SAMPLED 1
#define RANDOM 2

#define MAX_MEMBERS 32
#define MAX_KEY 256
#define MAX_VALUE 256

/* A key in the text. */
typedef struct Key
{
	const char *start;
	size_t		len;
} Key;

static bool take_member(const char **at, Key *key);
static size_t key_len(const char *text);
static size_t value_len(const char *text);
static bool is_repeated(const Key *keys, int nkeys);

/* Is it a traceparent: version, trace, parent, flags? */
bool
sn_is_traceparent(const char *text)
{
	static const char form[] =
		"hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
	size_t		i;

	if (text == NULL || strlen(text) != strlen(form))
		return false;
	for (i = 0; i < strlen(form); i++)
	{
		if (form[i] == '-' ? text[i] != '-' :
			strchr("0123456789abcdef", text[i]) == NULL)
			return false;
	}
	return strncmp(text, "ff", 2) != 0 &&
		strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
}

/*
 * Makes a traceparent that goes on of one that came, SN_TRACEPARENT_LEN bytes
 * and a NUL; false if that is malformed.  One of a later version is read as
 * far as this one goes and goes on as this one, and of the flags only those
 * that have a meaning go on: so says W3C.
 */
bool
sn_trace_parse(const char *text, size_t len, char *parent)
{
	static const char hex[] = "0123456789abcdef";
	char	   *flags = &parent[SN_TRACEPARENT_LEN - 1];

	if (len < SN_TRACEPARENT_LEN)
		return false;
	memcpy(parent, text, SN_TRACEPARENT_LEN);
	parent[SN_TRACEPARENT_LEN] = '\0';
	if (!sn_is_traceparent(parent) ||
		(len > SN_TRACEPARENT_LEN && (strncmp(parent, "00", 2) == 0 ||
									  text[SN_TRACEPARENT_LEN] != '-')))
		return false;
	memcpy(parent, "00", 2);
	flags[-1] = '0';
	flags[0] = hex[(strchr(hex, flags[0]) - hex) & (SAMPLED | RANDOM)];
	return true;
}

/*
 * Is it a tracestate: at most 32 members key=value, separated by commas, no key
 * twice?  Members may be empty and have blanks around them.
 */
bool
sn_is_tracestate(const char *text)
{
	Key			keys[MAX_MEMBERS];
	int			nkeys = 0;

	if (text == NULL || strlen(text) > MAX_TRACESTATE)
		return false;
	for (;;)
	{
		text += strspn(text, " \t");
		if (*text != ',' && *text != '\0')
		{
			if (nkeys == MAX_MEMBERS || !take_member(&text, &keys[nkeys]) ||
				is_repeated(keys, ++nkeys))
				return false;
			text += strspn(text, " \t");
		}
		if (*text == '\0')
			return nkeys > 0;
		if (*text++ != ',')
			return false;
	}
}

/* Goes over key=value; the value ends before the blanks behind it. */
static bool
take_member(const char **at, Key *key)
{
	const char *text = *at;
	size_t		len;

	key->start = text;
	key->len = key_len(text);
	text += key->len;
	if (key->len == 0 || key->len > MAX_KEY || *text != '=')
		return false;
	len = value_len(++text);
	while (len > 0 && text[len - 1] == ' ')
		len--;
	*at = text + len;
	return len > 0 && len <= MAX_VALUE;
}

/* Length of the key that a text begins with; 0 if none does. */
static size_t
key_len(const char *text)
{
	static const char begins[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	static const char goes_on[] = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@";

	return strspn(text, begins) == 0 ? 0 : strspn(text, goes_on);
}

/* Length of printable ASCII but for ',' and '='. */
static size_t
value_len(const char *text)
{
	size_t		len = 0;

	while (text[len] >= ' ' && text[len] <= '~' && text[len] != ',' &&
		   text[len] != '=')
		len++;
	return len;
}

/* Is the last key one of those before it? */
static bool
is_repeated(const Key *keys, int nkeys)
{
	const Key  *last = &keys[nkeys - 1];
	int			i;

	for (i = 0; i < nkeys - 1; i++)
		if (keys[i].len == last->len &&
			memcmp(keys[i].start, last->start, last->len) == 0)
			return true;
	return false;
}
