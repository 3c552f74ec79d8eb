/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_walk.h
 *		The entries of a jsonb object or array where they lie, in their order.
 */
#ifndef SN_JSON_WALK_H
#define SN_JSON_WALK_H

#include "postgres.h"

#include "utils/jsonb.h"

/* A walk over the entries of a container */
typedef struct SnJsonWalk
{
	JsonbContainer *container;
	bool		is_object;
	int			count;			/* of pairs, or of items */
	int			next;
	char	   *base;			/* where offsets count from */
	uint32		key_offset;
	uint32		value_offset;
} SnJsonWalk;

/* A key, which is not terminated by a zero byte */
typedef struct SnJsonKey
{
	const char *name;
	int			len;
} SnJsonKey;

/* The members of an object, or the items of an array, where they lie */
typedef struct SnJsonPlaces
{
	const JEntry *keys;			/* of the members that come */
	const JEntry *entries;		/* likewise of their values, or of items */
	char	   *base;			/* where offsets count from */
	int			left;
	SnJsonKey	key;			/* of the one at hand */
	uint32		key_end;
	JEntry		entry;
	uint32		from;			/* its value */
	uint32		to;
} SnJsonPlaces;

/* sn_json_values_at: where the first value of a container is, from its base */
static inline uint32
sn_json_values_at(JsonbContainer *container)
{
	int			n = JsonContainerSize(container);

	return JsonContainerIsObject(container) && n > 0 ?
		getJsonbOffset(container, n) : 0;
}

/* sn_json_places: stand before the first one, of which that is known */
static inline void
sn_json_places(SnJsonPlaces *p, JsonbContainer *container, uint32 values_at)
{
	int			n = JsonContainerSize(container);

	p->keys = container->children;
	p->entries = container->children + (JsonContainerIsObject(container) ? n : 0);
	p->base = (char *) (p->entries + n);
	p->left = n;
	p->key_end = 0;
	p->to = values_at;
}

/* sn_json_next_item: the next item of an array, or false */
static inline bool
sn_json_next_item(SnJsonPlaces *p)
{
	if (p->left == 0)
		return false;
	p->left--;
	p->entry = *p->entries++;
	p->from = p->to;
	JBE_ADVANCE_OFFSET(p->to, p->entry);
	return true;
}

/* sn_json_skip: pass over the next n items, or values of members */
static inline void
sn_json_skip(SnJsonPlaces *p, int n)
{
	uint32		to = p->to;
	int			i;

	for (i = 0; i < n; i++)
		JBE_ADVANCE_OFFSET(to, p->entries[i]);
	p->entries += n;
	p->left -= n;
	p->to = to;
}

/* sn_json_next_member: the next member of an object, or false */
static inline bool
sn_json_next_member(SnJsonPlaces *p)
{
	uint32		from = p->key_end;

	if (!sn_json_next_item(p))
		return false;
	JBE_ADVANCE_OFFSET(p->key_end, *p->keys);
	p->keys++;
	p->key.name = p->base + from;
	p->key.len = p->key_end - from;
	return true;
}

/* sn_json_child: the object or array at hand, or NULL */
static inline JsonbContainer *
sn_json_child(const SnJsonPlaces *p)
{
	return JBE_ISCONTAINER(p->entry) ?
		(JsonbContainer *) (p->base + INTALIGN(p->from)) : NULL;
}

extern Jsonb *sn_json_empty(void);
extern void sn_json_value_at(const SnJsonPlaces *p, JsonbValue *value);
extern void sn_json_key(JsonbContainer *object, int i, SnJsonKey *key);
extern void sn_json_member(SnJsonPlaces *p, JsonbContainer *object, int i);
extern void sn_json_root(Jsonb *json, JsonbValue *value);
extern bool sn_json_is_object(const JsonbValue *value);
extern bool sn_json_is_array(const JsonbValue *value);
extern void sn_json_walk(SnJsonWalk *walk, JsonbContainer *container);
extern bool sn_json_next(SnJsonWalk *walk, SnJsonKey *key, JsonbValue *value);
extern int	sn_json_compare_keys(const SnJsonKey *a, const SnJsonKey *b);
extern int	sn_json_compare(const JsonbValue *a, const JsonbValue *b);

#endif							/* SN_JSON_WALK_H */
