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

/* Where the walk is: at a member, or an item, of that number */
typedef struct SnPlace
{
	JsonbContainer *in;
	int			number;
} SnPlace;

/* Members of objects that a walk knows about without taking memory for it */
#define SN_NEXT_ROOM	64

typedef struct SnShape SnShape;

typedef struct SnWalk
{
	SnRuleSet  *set;
	const text *tenant_id;
	SnPathRoot	root;
	SnTrail    *trail;
	SnOut		out;
	SnRuleState **next;			/* of members of the objects that it is in */
	int			nnext;
	int			next_room;
	SnShape    *shape;			/* what is known of such a payload, or NULL */
	int			depth;
	SnPlace		places[SN_JSON_DEPTH_MAX + 1];
	SnRuleState *next_here[SN_NEXT_ROOM];
} SnWalk;

/* redact_out.c */
extern void sn_out_begin(SnOut *out, Size guess, Size max);
extern void sn_out_grow(SnOut *out, Size more);
extern JEntry sn_out_scalar(SnOut *out, const JsonbValue *value);
extern JEntry sn_out_copy(SnOut *out, const JsonbValue *value);
extern Size sn_out_pad(SnOut *out);
extern Size sn_out_open(SnOut *out, int entries);
extern void sn_out_block(SnOut *out, SnJsonPlaces *p, int n, Size head,
						 int at);
extern void sn_out_other(SnOut *out, SnJsonPlaces *p, int n, Size head,
						 int at);
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

/* sn_out_reserve: have room for so many bytes more */
static inline void
sn_out_reserve(SnOut *out, Size more)
{
	if (unlikely(more > out->room - out->len))
		sn_out_grow(out, more);
}

/* sn_out_bytes: a string, or names of members */
static inline JEntry
sn_out_bytes(SnOut *out, const char *bytes, Size len)
{
	sn_out_reserve(out, len);
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
	return JENTRY_ISSTRING | (JEntry) len;
}

/* sn_out_run: the next n values as they are */
static inline void
sn_out_run(SnOut *out, SnJsonPlaces *p, int n, Size head, int at)
{
	if ((out->len & 3) == (p->to & 3))
		sn_out_block(out, p, n, head, at);
	else
		sn_out_other(out, p, n, head, at);
}

/* redact_match.c */
extern SnRuleState sn_state_nowhere;

extern SnRuleState *sn_state_begin(SnRuleSet *set, SnPathRoot root);
extern SnRuleState *sn_state_follow_member(SnRuleSet *set,
										   const SnRuleState *state,
										   SnStateStep *step,
										   const SnJsonKey *key, bool is_array);
extern SnRuleState *sn_state_follow_item(SnRuleSet *set,
										 const SnRuleState *state,
										 SnStateStep *step, int index,
										 bool is_array);
extern SnStateStep *sn_state_name_step(const SnRuleSet *set,
									   SnRuleState *state, SnJsonKey *key);
extern SnStateStep *sn_state_item_step(SnRuleState *state, int index);

/* What was found of an object's members */
typedef struct SnLook
{
	int			first;			/* in w->next */
	int			removed;
	bool		sure;			/* to one of them something is done, not only in it */
	uint32		values_at;		/* where the first value is */
} SnLook;

/* redact_look.c: what becomes of members, in sn_look_at_members() */
extern SnRuleState sn_look_removed;
extern SnRuleState sn_look_again;

extern bool sn_look_at_members(SnWalk *w, JsonbContainer *object,
							   SnRuleState *state, const SnEffect *inherited,
							   SnLook *look);
extern void sn_look_end(SnWalk *w, const SnLook *look);
extern SnRuleState *sn_look_again_at(SnWalk *w, SnPlace place,
									 SnRuleState *state, bool *named);
extern SnRuleState *sn_look_at_item(SnWalk *w, SnRuleState *state,
									const SnJsonPlaces *p, int index);
extern bool sn_look_finds(SnWalk *w, JsonbContainer *object,
						  SnRuleState *state, const SnLook *look);

/* sn_look_next: the first of n members from there on that does not stay, or n */
static inline int
sn_look_next(const SnWalk *w, const SnLook *look, int i, int n)
{
	SnRuleState *const *next = w->next + look->first;

	while (i < n && next[i] == NULL)
		i++;
	return i;
}

/* redact_shape.c */
extern bool sn_shape_look(SnWalk *w, JsonbContainer *object, bool *concerned,
						  SnLook *look);
extern void sn_shape_keep(SnWalk *w, JsonbContainer *object, bool concerned,
						  const SnLook *look);
extern bool sn_shape_names(SnWalk *w, Size head, int *at);
extern void sn_shape_keep_names(SnWalk *w, Size head, Size from, int n);
extern bool sn_shape_has_note(const SnWalk *w);
extern int	sn_shape_note(const SnWalk *w, char *entry);
extern void sn_shape_keep_note(SnWalk *w, const char *entry);

/* sn_look_passes: whether a value stays as it is, with all that is in it */
static inline bool
sn_look_passes(const SnRuleState *state, const SnEffect *effect,
			   const SnJsonPlaces *p)
{
	return effect->method == SN_METHOD_NONE &&
		!(JBE_ISCONTAINER(p->entry) && state->goes_on);
}

/* sn_state_leave: the walk is done with the value of a state */
static inline void
sn_state_leave(SnRuleState *state)
{
	if (unlikely(!state->kept))
		pfree(state);
}

/*
 * sn_state_effect: what is done to a value, of which the values around it say
 * something, too
 */
static inline const SnEffect *
sn_state_effect(const SnRuleState *state, const SnEffect *inherited,
				SnEffect *both)
{
	if (state->effect.method == SN_METHOD_NONE)
		return inherited;
	if (inherited->method == SN_METHOD_NONE)
		return &state->effect;
	*both = sn_effect_stronger(*inherited, state->effect);
	return both;
}

/* redact_value.c */
extern bool sn_redact_scalar(SnWalk *w, const SnEffect *effect,
							 const SnJsonPlaces *p, JEntry *entry);
extern void sn_redact_string(SnOut *out, const text *tenant_id,
							 const SnEffect *effect, const char *s, Size len,
							 bool *changed);

/* redact_key.c */
extern void sn_redact_hash(const text *tenant_id, const char *value, Size len,
						   char *hex);

/* redact_trail.c */
extern void sn_trail_note(SnWalk *w, SnMethod method, bool hide_last);
extern Jsonb *sn_trail_put(SnRuleSet *set, const SnTrail *trail,
						   Jsonb *metadata);

#endif							/* SN_REDACT_WALK_H */
