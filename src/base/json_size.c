/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_size.c
 *		What a reader of a jsonb value will have to hold: its size as text, and
 *		how deep it is nested.
 *
 * The stored form tells neither.  A number of 16 bytes can be one of 147,000
 * digits, and readers that go down a value by recursion, as most do, run out
 * of stack on some thousands of brackets.  The value is walked where it lies
 * and no text is made.  The first walk takes each byte of a string for the
 * longest escape there is; strings are looked at only where that is too much.
 */
#include "postgres.h"

#include "access/detoast.h"

#include "base/json_number.h"
#include "base/json_size.h"

/*
 * No stored value of up to this size is deeper than allowed, as a level takes
 * at least 8 bytes of it, nor has more text than can be handed on, as a number
 * takes 16.
 */
#define SURELY_FITS	(SN_JSON_DEPTH_MAX * SN_JSON_LEVEL_SIZE)

/* A value while it is measured */
typedef struct Measure
{
	Size		size;			/* so far */
	Size		max;
	bool		exact;			/* look into strings */
} Measure;

/* json_string_size: how long a string is as text, or at most is */
static Size
json_string_size(const Measure *m, const char *s, Size len)
{
	Size		result = len + 2;
	Size		i;

	if (!m->exact)
		return len * SN_JSON_ESCAPE_MAX + 2;
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' ||
			c == '\r' || c == '\t')
			result++;
		else if (c < ' ')
			result += SN_JSON_ESCAPE_MAX - 1;
	}
	return result;
}

/* measure: add a container that has so many around it */
static SnJsonFit
measure(Measure *m, JsonbContainer *container, int around)
{
	bool		object = JsonContainerIsObject(container);
	int			n = JsonContainerSize(container) * (object ? 2 : 1);
	char	   *base = (char *) &container->children[n];
	uint32		offset = 0;
	int			i = 0;

	if (around >= SN_JSON_DEPTH_MAX)
		return SN_JSON_TOO_DEEP;
	m->size += n == 0 ? 2 : 2 * n;	/* brackets and what separates */
	if (object && n > 0 && !m->exact)
	{
		i = n / 2;				/* keys are strings: all of them at once */
		offset = getJsonbOffset(container, i);
		m->size += offset * SN_JSON_ESCAPE_MAX + 2 * i;
	}
	for (; i < n && m->size <= m->max; i++)
	{
		JEntry		entry = container->children[i];
		uint32		start = offset;
		char	   *value = base + INTALIGN(start);
		SnJsonFit	fit = SN_JSON_FITS;

		JBE_ADVANCE_OFFSET(offset, entry);
		if (JBE_ISSTRING(entry))
			m->size += json_string_size(m, base + start, offset - start);
		else if (JBE_ISNUMERIC(entry))
			m->size += sn_number_text_size((Numeric) value);
		else if (JBE_ISCONTAINER(entry))
			fit = measure(m, (JsonbContainer *) value, around + 1);
		else
			m->size += JBE_ISBOOL_FALSE(entry) ? 5 : 4;
		if (fit != SN_JSON_FITS)
			return fit;
	}
	return m->size <= m->max ? SN_JSON_FITS : SN_JSON_TOO_LARGE;
}

/*
 * sn_json_measure: whether a value is no more than so many bytes as text, and not
 * too deep.  size: how many they are, at most.
 */
SnJsonFit
sn_json_measure(Jsonb *json, Size max_text, Size *size)
{
	Measure		m = {.max = max_text};
	SnJsonFit	fit = measure(&m, &json->root, 0);

	if (fit == SN_JSON_TOO_LARGE)
	{
		m.size = 0;
		m.exact = true;
		fit = measure(&m, &json->root, 0);
	}
	*size = m.size;
	return fit;
}

/* sn_json_fit: the same for who does not ask how many */
SnJsonFit
sn_json_fit(Jsonb *json, Size max_text)
{
	Size		size;

	return sn_json_measure(json, max_text, &size);
}

/* sn_json_fit_stored: whether a stored value can be handed on at all */
SnJsonFit
sn_json_fit_stored(Datum value)
{
	Jsonb	   *json;
	SnJsonFit	fit;

	if (toast_raw_datum_size(value) <= SURELY_FITS)
		return SN_JSON_FITS;
	json = DatumGetJsonbP(value);
	fit = sn_json_fit(json, SN_JSON_TEXT_MAX);
	if ((Pointer) json != DatumGetPointer(value))
		pfree(json);
	return fit;
}
