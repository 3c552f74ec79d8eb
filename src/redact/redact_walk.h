/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_walk.h
 *		A walk over one value that is redacted, and what it writes.  Private to
 *		the files of redaction.
 */
#ifndef SN_REDACT_WALK_H
#define SN_REDACT_WALK_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "base/json_size.h"
#include "redact/redact_rules.h"

/* What is written: a jsonb, whose root begins behind the varlena header */
typedef struct SnOut
{
	char	   *data;
	Size		len;
	Size		room;
	Size		max;
} SnOut;

/* Where the walk is: the name of a member, or the number of an item */
typedef struct SnPlace
{
	const char *name;			/* NULL: an item */
	int			len;			/* of the name, or the number */
} SnPlace;

/*
 * Nodes of the rules that a value is at, in the walk's stack.  An entry is
 * twice the node's number, and one more when only its names count: an array
 * stands there in place of an object.
 */
typedef struct SnActive
{
	int			from;
	int			n;
} SnActive;

#define SN_ACTIVE_ROOM	64

typedef struct SnWalk
{
	SnRuleSet  *set;
	const text *tenant_id;
	SnPathRoot	root;
	SnTrail    *trail;
	SnOut		out;
	int		   *active;
	int			nactive;
	int			active_room;
	int			depth;
	SnPlace		places[SN_JSON_DEPTH_MAX + 1];
	int			active_here[SN_ACTIVE_ROOM];
} SnWalk;

/* redact_out.c */
extern void sn_out_begin(SnOut *out, Size guess, Size max);
extern void sn_out_reserve(SnOut *out, Size more);
extern JEntry sn_out_bytes(SnOut *out, const char *bytes, Size len);
extern JEntry sn_out_scalar(SnOut *out, const JsonbValue *value);
extern JEntry sn_out_copy(SnOut *out, const JsonbValue *value);
extern Size sn_out_pad(SnOut *out);
extern Size sn_out_open(SnOut *out, int entries);
extern void sn_out_close(SnOut *out, Size head, uint32 flags, int size,
						 int entries, int room);
extern Jsonb *sn_out_end(SnOut *out);
extern Jsonb *sn_json_put(Jsonb *object, const char *name, Jsonb *value);

/* an entry of the container that begins at head; offsets come at the end */
static inline JEntry *
sn_out_entry(SnOut *out, Size head, int i)
{
	return (JEntry *) (out->data + head + sizeof(uint32)) + i;
}

/* redact_match.c */
extern SnActive sn_match_root(SnWalk *w, int node);
extern SnActive sn_match_member(SnWalk *w, SnActive at, const SnJsonKey *key,
								bool is_array, bool *named);
extern SnActive sn_match_item(SnWalk *w, SnActive at, int index,
							  bool is_array);
extern SnEffect sn_match_effect(const SnWalk *w, SnActive at,
								SnEffect inherited);

/* redact_value.c */
extern bool sn_redact_scalar(SnWalk *w, SnEffect effect,
							 const JsonbValue *value, JEntry *entry);
extern void sn_redact_string(SnOut *out, const text *tenant_id,
							 SnEffect effect, const char *s, Size len,
							 bool *changed);

/* redact_key.c */
extern void sn_redact_hash(const text *tenant_id, const char *value, Size len,
						   char *hex);

/* redact_trail.c */
extern void sn_trail_note(SnWalk *w, SnMethod method, bool hide_last);
extern Jsonb *sn_trail_list(SnRuleSet *set, const SnTrail *trail);

#endif							/* SN_REDACT_WALK_H */
