/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_walk.c
 *		The entries of a jsonb object or array where they lie, in their order.
 *
 * The server's iterator allocates for every container and looks offsets up
 * from the front.  A check of every event can afford neither.  The layout is
 * the one that utils/jsonb.h describes: keys of an object come first, in the
 * order of their lengths and then of their bytes, and their values after them.
 */
#include "postgres.h"

#include "base/json_number.h"
#include "registry/json_walk.h"

/* sn_json_root: the value that a whole jsonb holds, without a copy */
void
sn_json_root(Jsonb *json, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(json))
	{
		JsonbExtractScalar(&json->root, value);
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = &json->root;
	value->val.binary.len = VARSIZE(json) - VARHDRSZ;
}

/* sn_json_empty: '{}' */
Jsonb *
sn_json_empty(void)
{
	static uint32 empty[2];

	SET_VARSIZE(empty, sizeof(empty));
	empty[1] = JB_FOBJECT;
	return (Jsonb *) empty;
}

bool
sn_json_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data);
}

bool
sn_json_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsArray(value->val.binary.data);
}

/* sn_json_walk: stand before the first entry of a container */
void
sn_json_walk(SnJsonWalk *walk, JsonbContainer *container)
{
	bool		is_object = JsonContainerIsObject(container);

	walk->is_object = is_object;
	walk->container = container;
	walk->count = JsonContainerSize(container);
	walk->next = 0;
	walk->base = (char *) &container->children[is_object ? 2 * walk->count : walk->count];
	walk->key_offset = 0;
	walk->value_offset = is_object && walk->count > 0 ?
		getJsonbOffset(container, walk->count) : 0;
}

/* fill: the value of an entry between two offsets */
static void
fill(JEntry entry, char *base, uint32 offset, uint32 end, JsonbValue *value)
{
	if (JBE_ISSTRING(entry))
	{
		value->type = jbvString;
		value->val.string.val = base + offset;
		value->val.string.len = end - offset;
	}
	else if (JBE_ISNUMERIC(entry))
	{
		value->type = jbvNumeric;
		value->val.numeric = (Numeric) (base + INTALIGN(offset));
	}
	else if (JBE_ISCONTAINER(entry))
	{
		value->type = jbvBinary;
		value->val.binary.data = (JsonbContainer *) (base + INTALIGN(offset));
		value->val.binary.len = end - INTALIGN(offset);
	}
	else if (JBE_ISNULL(entry))
		value->type = jbvNull;
	else
	{
		value->type = jbvBool;
		value->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
}

/* sn_json_value_at: the value at hand */
void
sn_json_value_at(const SnJsonPlaces *p, JsonbValue *value)
{
	fill(p->entry, p->base, p->from, p->to, value);
}

/* sn_json_key: the name of one member of an object */
void
sn_json_key(JsonbContainer *object, int i, SnJsonKey *key)
{
	key->name = (char *) &object->children[2 * JsonContainerSize(object)] +
		getJsonbOffset(object, i);
	key->len = getJsonbLength(object, i);
}

/* sn_json_member: stand at one member alone, which the others do not follow */
void
sn_json_member(SnJsonPlaces *p, JsonbContainer *object, int i)
{
	int			n = JsonContainerSize(object);

	p->keys = p->entries = NULL;
	p->left = 0;
	p->base = (char *) &object->children[2 * n];
	sn_json_key(object, i, &p->key);
	p->entry = object->children[n + i];
	p->from = getJsonbOffset(object, n + i);
	p->to = p->from + getJsonbLength(object, n + i);
}

/*
 * sn_json_next: the next entry, or false.  key may be NULL for an array.
 */
bool
sn_json_next(SnJsonWalk *walk, SnJsonKey *key, JsonbValue *value)
{
	int			i = walk->next;
	JEntry	   *children = walk->container->children;
	uint32		end;

	if (i == walk->count)
		return false;
	walk->next++;
	if (walk->is_object)
	{
		end = walk->key_offset;
		JBE_ADVANCE_OFFSET(end, children[i]);
		if (key != NULL)
		{
			key->name = walk->base + walk->key_offset;
			key->len = end - walk->key_offset;
		}
		walk->key_offset = end;
		i += walk->count;
	}
	end = walk->value_offset;
	JBE_ADVANCE_OFFSET(end, children[i]);
	fill(children[i], walk->base, walk->value_offset, end, value);
	walk->value_offset = end;
	return true;
}

/* sn_json_compare_keys: the order that keys of an object have */
int
sn_json_compare_keys(const SnJsonKey *a, const SnJsonKey *b)
{
	if (a->len != b->len)
		return a->len > b->len ? 1 : -1;
	return memcmp(a->name, b->name, a->len);
}

/* rank: values of different types are in the order of these */
static int
rank(const JsonbValue *value)
{
	if (sn_json_is_object(value))
		return jbvObject;
	return value->type == jbvBinary ? jbvArray : (int) value->type;
}

/*
 * sn_json_compare: an order of all values in which equal is what JSON Schema
 * calls equal: 1 and 1.0 are, and so are objects with the same members.
 */
int
sn_json_compare(const JsonbValue *a, const JsonbValue *b)
{
	int			difference = rank(a) - rank(b);
	SnJsonKey	x;
	SnJsonKey	y;

	if (difference != 0)
		return difference;
	switch (a->type)
	{
		case jbvString:
			x = (SnJsonKey) {a->val.string.val, a->val.string.len};
			y = (SnJsonKey) {b->val.string.val, b->val.string.len};
			return sn_json_compare_keys(&x, &y);
		case jbvNumeric:
			return sn_number_compare(a->val.numeric, b->val.numeric);
		case jbvBool:
			return (int) a->val.boolean - (int) b->val.boolean;
		case jbvBinary:
			return compareJsonbContainers(a->val.binary.data,
										  b->val.binary.data);
		default:
			return 0;
	}
}
