/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_out.c
 *		Writing a jsonb from front to back.
 *
 * The server puts a jsonb together from a tree of values, sorts the members of
 * each object and copies everything twice.  What is redacted has its members
 * in their order already, and most of it is copied as it is.  The layout is
 * the one that utils/jsonb.h describes.  Until a container is closed its
 * entries hold lengths; then every 32nd becomes an offset.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/sqlstate.h"
#include "redact/redact_walk.h"

/* sn_out_begin: nothing is written; room for a guess of bytes */
void
sn_out_begin(SnOut *out, Size guess, Size max)
{
	out->max = Min(max, JENTRY_OFFLENMASK);
	out->room = Min(Max(guess, 64), out->max);
	out->data = palloc(out->room);
	out->len = VARHDRSZ;
}

/* sn_out_grow: have room for so many bytes more, if they are allowed */
void
sn_out_grow(SnOut *out, Size more)
{
	Size		need = out->len + more;

	if (need > out->max)
		ereport(ERROR,
				(errcode(ERRCODE_SN_TOO_LARGE),
				 errmsg("payload or metadata is too large once it is redacted"),
				 errdetail("Hashes and replacements can be longer than what they stand for.")));
	out->room = Min(Max(need, out->room * 2), out->max);
	out->data = repalloc_huge(out->data, out->room);
}

/* sn_out_pad: numbers and containers are aligned; how much that took */
Size
sn_out_pad(SnOut *out)
{
	Size		pad = INTALIGN(out->len) - out->len;

	sn_out_reserve(out, pad);
	memset(out->data + out->len, 0, pad);
	out->len += pad;
	return pad;
}

/* sn_out_scalar: a string, a number, a boolean or null, as it is */
JEntry
sn_out_scalar(SnOut *out, const JsonbValue *value)
{
	Size		pad;
	Size		size;

	switch (value->type)
	{
		case jbvString:
			return sn_out_bytes(out, value->val.string.val,
								value->val.string.len);
		case jbvNumeric:
			pad = sn_out_pad(out);
			size = VARSIZE_ANY(value->val.numeric);
			(void) sn_out_bytes(out, (char *) value->val.numeric, size);
			return JENTRY_ISNUMERIC | (JEntry) (pad + size);
		case jbvBool:
			return value->val.boolean ? JENTRY_ISBOOL_TRUE :
				JENTRY_ISBOOL_FALSE;
		default:
			return JENTRY_ISNULL;
	}
}

/* sn_out_copy: any value, as it is */
JEntry
sn_out_copy(SnOut *out, const JsonbValue *value)
{
	Size		pad;

	if (value->type != jbvBinary)
		return sn_out_scalar(out, value);
	pad = sn_out_pad(out);
	(void) sn_out_bytes(out, (char *) value->val.binary.data,
						value->val.binary.len);
	return JENTRY_ISCONTAINER | (JEntry) (pad + value->val.binary.len);
}

/* with_length: an entry of a value that begins there, which has its length */
static inline JEntry
with_length(JEntry entry, uint32 from)
{
	if (likely(!JBE_HAS_OFF(entry)))
		return entry;
	return (entry & JENTRY_TYPEMASK) | (JBE_OFFLENFLD(entry) - from);
}

/*
 * sn_out_block: the next n entries, which lie one behind the other, at once;
 * whether they are aligned is not looked at
 */
void
sn_out_block(SnOut *out, SnJsonPlaces *p, int n, Size head, int at)
{
	JEntry	   *entry = sn_out_entry(out, head, at);
	uint32		from = p->to;
	uint32		to = from;
	int			i;

	for (i = 0; i < n; i++)
	{
		entry[i] = with_length(p->entries[i], to);
		to += JBE_OFFLENFLD(entry[i]);
	}
	p->entries += n;
	p->left -= n;
	p->to = to;
	(void) sn_out_bytes(out, p->base + from, to - from);
}

/* is_aligned: whether a value begins at a multiple of four */
static inline bool
is_aligned(JEntry entry)
{
	return JBE_ISNUMERIC(entry) || JBE_ISCONTAINER(entry);
}

/* out_aligned: the next value, which is aligned here in another way than there */
static void
out_aligned(SnOut *out, SnJsonPlaces *p, Size head, int at)
{
	Size		before = out->len;
	uint32		start;

	(void) sn_json_next_item(p);
	start = INTALIGN(p->from);
	(void) sn_out_pad(out);
	(void) sn_out_bytes(out, p->base + start, p->to - start);
	*sn_out_entry(out, head, at) = (p->entry & JENTRY_TYPEMASK) |
		(JEntry) (out->len - before);
}

/*
 * sn_out_other: the same of values whose places are other multiples there than
 * here.  So the first that is aligned has another length.  Behind it they are
 * alike.
 */
void
sn_out_other(SnOut *out, SnJsonPlaces *p, int n, Size head, int at)
{
	int			k = 0;

	while (k < n && !is_aligned(p->entries[k]))
		k++;
	sn_out_block(out, p, k, head, at);
	if (k == n)
		return;
	out_aligned(out, p, head, at + k);
	sn_out_block(out, p, n - k - 1, head, at + k + 1);
}

/* sn_out_open: a container with room for so many entries; where it begins */
Size
sn_out_open(SnOut *out, int entries)
{
	Size		head = out->len;
	Size		size = sizeof(uint32) + (Size) entries * sizeof(JEntry);

	Assert(head == INTALIGN(head));
	sn_out_reserve(out, size);
	out->len += size;
	return head;
}

/*
 * sn_out_close: the container is complete.  size is what its header says; of
 * the room for entries only the first are there.
 */
void
sn_out_close(SnOut *out, Size head, uint32 flags, int size, int entries,
			 int room)
{
	JEntry	   *entry = sn_out_entry(out, head, 0);
	uint32		total = 0;
	int			i;
	int			k;

	if (entries < room)
	{
		char	   *data = (char *) (entry + room);

		memmove(entry + entries, data, out->data + out->len - data);
		out->len -= (Size) (room - entries) * sizeof(JEntry);
	}
	*((uint32 *) (out->data + head)) = flags | (uint32) size;
	for (i = 0; i < entries; i += JB_OFFSET_STRIDE)
	{
		for (k = Max(i - JB_OFFSET_STRIDE, 0) + 1; k < i; k++)
			total += JBE_OFFLENFLD(entry[k]);
		total += JBE_OFFLENFLD(entry[i]);
		entry[i] = (entry[i] & JENTRY_TYPEMASK) | total | JENTRY_HAS_OFF;
	}
}

/* sn_out_end: what was written */
Jsonb *
sn_out_end(SnOut *out)
{
	SET_VARSIZE(out->data, out->len);
	return (Jsonb *) out->data;
}

/* comes_before: whether a key of an object stands before a name */
static bool
comes_before(const SnJsonKey *key, const SnJsonKey *name)
{
	return sn_json_compare_keys(key, name) < 0;
}

/* put_keys: the keys of an object, with one more; how many */
static int
put_keys(SnOut *out, Size head, Jsonb *object, const SnJsonKey *name, bool add)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	bool		put = !add;
	int			n = 0;

	sn_json_walk(&walk, &object->root);
	while (sn_json_next(&walk, &key, &value))
	{
		JEntry		entry;

		if (!put && !comes_before(&key, name))
		{
			put = true;
			entry = sn_out_bytes(out, name->name, name->len);
			*sn_out_entry(out, head, n++) = entry;
		}
		if (sn_json_compare_keys(&key, name) == 0)
			continue;
		entry = sn_out_bytes(out, key.name, key.len);
		*sn_out_entry(out, head, n++) = entry;
	}
	if (!put)
	{
		JEntry		entry = sn_out_bytes(out, name->name, name->len);

		*sn_out_entry(out, head, n++) = entry;
	}
	return n;
}

/*
 * sn_json_put: an object with that value under a name, in place of what stood
 * there; without it when the value is NULL.
 */
Jsonb *
sn_json_put(Jsonb *object, const char *name, Jsonb *value)
{
	SnJsonKey	at = {name, (int) strlen(name)};
	int			room = 2 * (JB_ROOT_COUNT(object) + 1);
	bool		put = value == NULL;
	JsonbValue	added;
	JsonbValue	given;
	SnJsonWalk	walk;
	SnJsonKey	key;
	SnOut		out;
	Size		head;
	int			keys;
	int			n;

	sn_out_begin(&out, VARSIZE(object) + (put ? 0 : VARSIZE(value)) + 32,
				 MaxAllocSize);
	head = sn_out_open(&out, room);
	keys = n = put_keys(&out, head, object, &at, !put);
	if (!put)
		sn_json_root(value, &added);
	sn_json_walk(&walk, &object->root);
	while (sn_json_next(&walk, &key, &given))
	{
		if (!put && !comes_before(&key, &at))
		{
			JEntry		entry = sn_out_copy(&out, &added);

			put = true;
			*sn_out_entry(&out, head, n++) = entry;
		}
		if (sn_json_compare_keys(&key, &at) != 0)
		{
			JEntry		entry = sn_out_copy(&out, &given);

			*sn_out_entry(&out, head, n++) = entry;
		}
	}
	if (!put)
	{
		JEntry		entry = sn_out_copy(&out, &added);

		*sn_out_entry(&out, head, n++) = entry;
	}
	sn_out_close(&out, head, JB_FOBJECT, keys, n, room);
	return sn_out_end(&out);
}
