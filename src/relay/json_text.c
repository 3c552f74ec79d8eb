/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_text.c
 *		A jsonb value as text, byte for byte as the server writes it.
 *
 * The server's own function goes through an iterator and puts strings out one
 * character at a time, which was a tenth of what a relay does for an event.
 * This one walks the value where it lies and copies what needs no escape in
 * one piece.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "relay/json_text.h"

#define EACH	UINT64CONST(0x0101010101010101)	/* of eight bytes */

static void put_container(StringInfo out, JsonbContainer *container);

/* put_escape: a character that cannot stand in a string as it is */
static void
put_escape(StringInfo out, unsigned char c)
{
	static const char plain[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *found = strchr(plain, c);

	if (found != NULL && c != '\0')
	{
		appendStringInfoCharMacro(out, '\\');
		appendStringInfoCharMacro(out, letters[found - plain]);
	}
	else
		appendStringInfo(out, "\\u%04x", c);
}

/* has_less: whether one of eight bytes is less than n, which is at most 128 */
#define has_less(word, n) \
	(((word) - EACH * (n)) & ~(word) & EACH * 0x80)

/* are_plain_bytes: whether eight bytes can stand in a string as they are */
static inline bool
are_plain_bytes(const char *s)
{
	uint64		word;

	memcpy(&word, s, sizeof(word));
	return (has_less(word, ' ') | has_less(word ^ EACH * '"', 1) |
			has_less(word ^ EACH * '\\', 1)) == 0;
}

/* are_plain_sixteen: the same of sixteen, in one go where the machine can */
static inline bool
are_plain_sixteen(const char *s)
{
	typedef uint8 Sixteen __attribute__((vector_size(16)));
	Sixteen		c;
	uint64		special[2];

	memcpy(&c, s, sizeof(c));
	c = (Sixteen) ((c < ' ') | (c == '"') | (c == '\\'));
	memcpy(special, &c, sizeof(c));
	return (special[0] | special[1]) == 0;
}

/* put_string: a string in quotes */
static void
put_string(StringInfo out, const char *s, int len)
{
	int			start = 0;
	int			i;

	appendStringInfoCharMacro(out, '"');
	for (i = 0; i < len; i++)
	{
		unsigned char c;

		while (i + 16 <= len && are_plain_sixteen(s + i))
			i += 16;
		if (i + 8 <= len && are_plain_bytes(s + i))
			i += 8;
		if (i == len)
			break;
		c = (unsigned char) s[i];
		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, s + start, i - start);
		put_escape(out, c);
		start = i + 1;
	}
	appendBinaryStringInfo(out, s + start, len - start);
	appendStringInfoCharMacro(out, '"');
}

/* put_numeric: a number */
static void
put_numeric(StringInfo out, char *value)
{
	char	   *text;

	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   PointerGetDatum(value)));
	appendStringInfoString(out, text);
	pfree(text);
}

/*
 * put_child: an element, key or value of a container; all but strings is
 * aligned
 */
static void
put_child(StringInfo out, JsonbContainer *container, int index, char *base,
		  uint32 offset)
{
	JEntry		entry = container->children[index];
	char	   *value = base + INTALIGN(offset);

	if (JBE_ISSTRING(entry))
		put_string(out, base + offset, getJsonbLength(container, index));
	else if (JBE_ISNUMERIC(entry))
		put_numeric(out, value);
	else if (JBE_ISBOOL_TRUE(entry))
		appendBinaryStringInfo(out, "true", 4);
	else if (JBE_ISBOOL_FALSE(entry))
		appendBinaryStringInfo(out, "false", 5);
	else if (JBE_ISNULL(entry))
		appendBinaryStringInfo(out, "null", 4);
	else
		put_container(out, (JsonbContainer *) value);
}

/* put_elements: what is in an array */
static void
put_elements(StringInfo out, JsonbContainer *array)
{
	int			n = JsonContainerSize(array);
	char	   *base = (char *) &array->children[n];
	uint32		offset = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (i > 0)
			appendBinaryStringInfo(out, ", ", 2);
		put_child(out, array, i, base, offset);
		JBE_ADVANCE_OFFSET(offset, array->children[i]);
	}
}

/* put_pairs: what is in an object: first all keys, then all values */
static void
put_pairs(StringInfo out, JsonbContainer *object)
{
	int			n = JsonContainerSize(object);
	char	   *base = (char *) &object->children[2 * n];
	uint32		key = 0;
	uint32		value = getJsonbOffset(object, n);
	int			i;

	for (i = 0; i < n; i++)
	{
		if (i > 0)
			appendBinaryStringInfo(out, ", ", 2);
		put_child(out, object, i, base, key);
		appendBinaryStringInfo(out, ": ", 2);
		put_child(out, object, n + i, base, value);
		JBE_ADVANCE_OFFSET(key, object->children[i]);
		JBE_ADVANCE_OFFSET(value, object->children[n + i]);
	}
}

/* put_container: an array or an object */
static void
put_container(StringInfo out, JsonbContainer *container)
{
	bool		object = JsonContainerIsObject(container);

	check_stack_depth();
	appendStringInfoCharMacro(out, object ? '{' : '[');
	if (object)
		put_pairs(out, container);
	else
		put_elements(out, container);
	appendStringInfoCharMacro(out, object ? '}' : ']');
}

/* sn_json_text: append a value as text */
void
sn_json_text(StringInfo out, JsonbContainer *root)
{
	if (JsonContainerIsScalar(root))
		put_elements(out, root);	/* an array of one */
	else
		put_container(out, root);
}
