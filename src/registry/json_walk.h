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

extern void sn_json_root(Jsonb *json, JsonbValue *value);
extern bool sn_json_is_object(const JsonbValue *value);
extern bool sn_json_is_array(const JsonbValue *value);
extern void sn_json_walk(SnJsonWalk *walk, JsonbContainer *container);
extern bool sn_json_next(SnJsonWalk *walk, SnJsonKey *key, JsonbValue *value);
extern int	sn_json_compare_keys(const SnJsonKey *a, const SnJsonKey *b);
extern int	sn_json_compare(const JsonbValue *a, const JsonbValue *b);

#endif							/* SN_JSON_WALK_H */
