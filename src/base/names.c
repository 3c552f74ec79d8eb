/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * names.c
 *		Sets of names: sorted byte by byte, each once.  In a row they are a text[].
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/text.h"

static int
compare_elems(const void *a, const void *b)
{
	return sn_text_compare(DatumGetTextPP(*(const Datum *) a),
						   DatumGetTextPP(*(const Datum *) b));
}

/* sn_names_of: a set of names, of texts that may come twice and are sorted here */
void
sn_names_of(Datum *elems, int n, SnNames *names)
{
	int			i;

	qsort(elems, n, sizeof(Datum), compare_elems);
	names->names = palloc(Max(n, 1) * sizeof(text *));
	names->n = 0;
	for (i = 0; i < n; i++)
	{
		text	   *t = DatumGetTextPP(elems[i]);

		if (names->n == 0 || !sn_text_equal(names->names[names->n - 1], t))
			names->names[names->n++] = t;
	}
}

/* sn_names_read: a set of names from the text[] of a row; null means all */
void
sn_names_read(Datum datum, bool isnull, SnNames *names)
{
	ArrayType  *array;
	Datum	   *elems;
	int			i;

	names->n = -1;
	if (isnull)
		return;
	array = DatumGetArrayTypePCopy(datum);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &names->n);
	names->names = palloc(Max(names->n, 1) * sizeof(text *));
	for (i = 0; i < names->n; i++)
		names->names[i] = DatumGetTextPP(elems[i]);
}

/* sn_names_array: a set of names as text[]; null for all */
Datum
sn_names_array(const SnNames *names, bool *isnull)
{
	Datum	   *elems = palloc(Max(names->n, 1) * sizeof(Datum));
	int			i;

	*isnull = names->n < 0;
	if (*isnull)
		return (Datum) 0;
	for (i = 0; i < names->n; i++)
		elems[i] = PointerGetDatum(names->names[i]);
	return PointerGetDatum(construct_array(elems, names->n, TEXTOID, -1,
										   false, TYPALIGN_INT));
}

/* sn_names_string: a set of names as the action log has it; NULL for all */
char *
sn_names_string(const SnNames *names)
{
	bool		isnull;
	Datum		array = sn_names_array(names, &isnull);

	return isnull ? NULL : OidOutputFunctionCall(F_ARRAY_OUT, array);
}

/* sn_names_equal: whether two sets are the same */
bool
sn_names_equal(const SnNames *a, const SnNames *b)
{
	int			i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++)
		if (!sn_text_equal(a->names[i], b->names[i]))
			return false;
	return true;
}

/* sn_names_have: whether a set has a name */
bool
sn_names_have(const SnNames *names, const text *name)
{
	int			low = 0;
	int			high = names->n;

	if (names->n < 0)
		return true;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			cmp = sn_text_compare(name, names->names[middle]);

		if (cmp == 0)
			return true;
		if (cmp < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
