/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * row.c
 *		Rows as they are stored: without the nulls at their end.
 *
 * A row may have fewer columns than its table, as one has from before ALTER
 * TABLE ADD COLUMN; the server reads null for those it lacks.  A row whose
 * nulls are all at the end needs no bitmap then.  With more than eight columns
 * that makes its header 24 bytes instead of 32, in the table and in the WAL.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/memutils.h"

#include "store/row.h"

/*
 * stored_columns: how many columns have to be stored.  For a missing one of a
 * column that was added with a default the server reads the default.
 */
static int
stored_columns(TupleDesc desc, const bool *nulls)
{
	int			n = desc->natts;

	while (n > 1 && nulls[n - 1] && !TupleDescAttr(desc, n - 1)->atthasmissing)
		n--;
	return n;
}

/* make_shorter: a descriptor of the first columns, where the list of them is */
static TupleDesc
make_shorter(TupleDesc desc, TupleDesc *shorter, int n)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(shorter));
	TupleDesc	result = CreateTemplateTupleDesc(n);
	int			i;

	for (i = 1; i <= n; i++)
		TupleDescCopyEntry(result, i, desc, i);
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * sn_row_form: the row of these values.  shorter: palloc'd, for each number of
 * columns up to that of the table the descriptor of so many; NULL at first.
 */
HeapTuple
sn_row_form(TupleDesc desc, TupleDesc *shorter, Datum *values, bool *nulls)
{
	int			n = stored_columns(desc, nulls);

	if (n == desc->natts)
		return heap_form_tuple(desc, values, nulls);
	if (shorter[n] == NULL)
		shorter[n] = make_shorter(desc, shorter, n);
	return heap_form_tuple(shorter[n], values, nulls);
}
