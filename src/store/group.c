/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * group.c
 *		Entering many rows at one place of a B-tree at once.
 *
 * The server enters one row at a time: a descent, a lock and a record of WAL
 * with a header of more than forty bytes for each.  The ids of a call are
 * consecutive, so all of its entries in the primary key belong at one place of
 * one leaf.  This finds the place once, and adds what fits there under one
 * lock and with one record.
 *
 * Only the simplest case is done here, and it is proved under the leaf's lock:
 * the entries ascend, none of them is there, all of them lie before the next
 * entry of the page or its high key, and the page has room for them.  Whatever
 * else there is (a page that is full, a split that is not finished, a key that
 * is present) changes nothing and is left to the server's own insertion, one
 * entry at a time.  So pages are never split, cleaned or deduplicated here.
 *
 * Generic WAL records what has changed on the page, byte by byte.  Hints that
 * entries are dead are not logged, and so a standby may have fewer of them: it
 * keeps those it has, or gets those of the primary.  See has_hints().
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/nbtree.h"
#include "access/rmgr.h"
#include "access/xlog.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"

#include "base/compat.h"
#include "store/group.h"

#define GROUP_MIN 4				/* entries: for fewer it does not pay */

/* Where a group goes */
typedef struct Place
{
	Relation	index;
	bool		unique;
	BTScanInsert key;
	Page		page;
	OffsetNumber offset;
} Place;

/* sn_group_suits: whether an index is on one column, in plain order */
bool
sn_group_suits(Relation index)
{
	return index->rd_rel->relam == BTREE_AM_OID &&
		IndexRelationGetNumberOfAttributes(index) == 1 &&
		index->rd_index->indkey.values[0] > 0 &&
		index->rd_indoption[0] == 0;
}

/* key_of: the key of an entry */
static Datum
key_of(Relation index, IndexTuple item)
{
	bool		isnull;

	return index_getattr(item, 1, RelationGetDescr(index), &isnull);
}

/*
 * aim: have the place's key stand for an entry.  Entries of a unique index are
 * told apart by their keys alone, so that one that is present compares as
 * equal, whatever row it is of.
 */
static void
aim(Place *place, IndexTuple item)
{
	place->key->scankeys[0].sk_argument = key_of(place->index, item);
	place->key->scantid = place->unique ? NULL : &item->t_tid;
}

/* lies_before: whether an entry belongs before one of the page, and is not it */
static bool
lies_before(Place *place, IndexTuple item, OffsetNumber offset)
{
	aim(place, item);
	return _bt_compare(place->index, place->key, place->page, offset) < 0;
}

/* ascends: whether an entry belongs behind another */
static bool
ascends(const Place *place, IndexTuple before, IndexTuple item)
{
	int32		order =
		DatumGetInt32(FunctionCall2Coll(index_getprocinfo(place->index, 1,
														  BTORDER_PROC),
										place->index->rd_indcollation[0],
										key_of(place->index, before),
										key_of(place->index, item)));

	return order < 0 ||
		(order == 0 && !place->unique &&
		 ItemPointerCompare(&before->t_tid, &item->t_tid) < 0);
}

/* count_fitting: how many of the entries can go to the place */
static int
count_fitting(Place *place, IndexTuple *items, int n)
{
	BTPageOpaque opaque = BTPageGetOpaque(place->page);
	Size		size = IndexTupleSize(items[0]);
	int			room = PageGetExactFreeSpace(place->page) /
		(MAXALIGN(size) + sizeof(ItemIdData));
	OffsetNumber next = place->offset;
	int			fit = 1;

	/* what the entries have to lie before, if there is anything */
	if (next > PageGetMaxOffsetNumber(place->page))
		next = P_RIGHTMOST(opaque) ? InvalidOffsetNumber : P_HIKEY;
	n = Min(n, room);
	while (fit < n && IndexTupleSize(items[fit]) == size &&
		   ascends(place, items[fit - 1], items[fit]))
		fit++;
	n = Min(n, fit);
	while (n > 0 && next != InvalidOffsetNumber &&
		   !lies_before(place, items[n - 1], next))
		n--;
	return n < GROUP_MIN ? 0 : n;
}

/*
 * has_hints: whether a page has what the replayed one may lack.  That is no
 * harm, but wal_consistency_checking overlooks it in records of B-trees only,
 * and would stop recovery for good.
 */
static bool
has_hints(Page page)
{
	BTPageOpaque opaque = BTPageGetOpaque(page);

	return wal_consistency_checking[RM_GENERIC_ID] &&
		(P_HAS_GARBAGE(opaque) || opaque->btpo_cycleid != 0);
}

/* add_entries: put the entries there */
static void
add_entries(const Place *place, Buffer leaf, IndexTuple *items, int n)
{
	GenericXLogState *state = GenericXLogStart(place->index);
	Page		page = GenericXLogRegisterBuffer(state, leaf, 0);
	Size		size = MAXALIGN(IndexTupleSize(items[0]));
	int			i;

	for (i = 0; i < n; i++)
		if (PageAddItem(page, (Item) items[i], size, place->offset + i,
						false, false) == InvalidOffsetNumber)
			elog(ERROR, "no room for an entry in index \"%s\"",
				 RelationGetRelationName(place->index));
	GenericXLogFinish(state);
}

/*
 * sn_group_enter: enter rows, in the order given, into an index that suits.
 * Returns how many of the first have been entered; 0 when the server has to
 * do it.
 */
int
sn_group_enter(Relation index, Relation heap, IndexTuple *items, int n)
{
	Place		place = {index, index->rd_index->indisunique};
	BTInsertStateData search = {items[0]};
	BTStack		stack;
	int			entered = 0;

	if (n < GROUP_MIN)
		return 0;
	place.key = _bt_mkscankey(index, items[0]);
	if (place.key->heapkeyspace && !place.key->anynullkeys)
	{
		aim(&place, items[0]);
		stack = sn_bt_search(index, heap, place.key, &search.buf);
		place.page = BufferGetPage(search.buf);
		if (!P_INCOMPLETE_SPLIT(BTPageGetOpaque(place.page)) &&
			!has_hints(place.page))
		{
			search.itemsz = MAXALIGN(IndexTupleSize(items[0]));
			search.itup_key = place.key;
			place.offset = _bt_binsrch_insert(index, &search);
			entered = search.postingoff == 0 ?
				count_fitting(&place, items, n) : 0;
		}
		if (entered > 0)
		{
			CheckForSerializableConflictIn(index, NULL,
										   BufferGetBlockNumber(search.buf));
			add_entries(&place, search.buf, items, entered);
		}
		_bt_relbuf(index, search.buf);
		_bt_freestack(stack);
	}
	pfree(place.key);
	return entered;
}
