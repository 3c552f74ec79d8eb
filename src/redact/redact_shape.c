/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_shape.c
 *		Payloads of the same shape as the one before.
 *
 * Most events of a type have the same members, with values of the same kinds.
 * What becomes of their members is then the same, and so are the names that stay
 * and what the trail says of a member.  So that is kept from one payload to the
 * next.  What is in an object or array is looked at each time.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "redact/redact_walk.h"

#define SHAPE_MEMBERS	SN_NEXT_ROOM
#define SHAPE_NAMES		1024	/* bytes */
#define SHAPE_NOTES		1024

struct SnShape
{
	int			n;				/* members; 0: nothing is known */
	bool		concerned;		/* a rule concerns one of them */
	SnLook		look;
	int			staying;		/* names that stay; -1: not known */
	int			staying_size;	/* their bytes */
	int			notes_used;		/* bytes */
	int16		note_at[SHAPE_MEMBERS]; /* of a member in notes; -1: not known */
	JEntry		keys[SHAPE_MEMBERS];
	uint32		kinds[SHAPE_MEMBERS];	/* of values */
	SnRuleState *next[SHAPE_MEMBERS];
	JEntry		staying_keys[SHAPE_MEMBERS];
	char		names[SHAPE_NAMES];
	char		staying_names[SHAPE_NAMES];
	char		notes[SHAPE_NOTES]; /* entries of the trail, see redact_trail.c */
};

/* kind_of: of a value; rules tell arrays from objects, which its entry does not */
static inline uint32
kind_of(const SnJsonPlaces *p)
{
	JsonbContainer *child = sn_json_child(p);

	return (p->entry & JENTRY_TYPEMASK) |
		(child != NULL && JsonContainerIsArray(child));
}

/* is_of_shape: whether an object has those members, with values of those kinds */
static bool
is_of_shape(const SnShape *shape, JsonbContainer *object)
{
	int			n = JsonContainerSize(object);
	SnJsonPlaces p;
	int			i;

	if (shape->n != n ||
		memcmp(object->children, shape->keys, n * sizeof(JEntry)) != 0 ||
		memcmp(&object->children[2 * n], shape->names,
			   shape->look.values_at) != 0)
		return false;
	sn_json_places(&p, object, shape->look.values_at);
	for (i = 0; sn_json_next_item(&p); i++)
		if (kind_of(&p) != shape->kinds[i])
			return false;
	return true;
}

/*
 * sn_shape_look: what rules do to the members of a payload of the shape that is
 * known, as sn_look_at_members() says it.  False when its shape is another one.
 */
bool
sn_shape_look(SnWalk *w, JsonbContainer *object, bool *concerned, SnLook *look)
{
	SnShape    *shape = w->set->shape;

	if (w->root != SN_ROOT_PAYLOAD || shape == NULL || shape->n == 0 ||
		!is_of_shape(shape, object))
		return false;
	w->shape = shape;
	w->nnext = shape->n;
	memcpy(w->next, shape->next, shape->n * sizeof(SnRuleState *));
	*look = shape->look;
	*concerned = shape->concerned;
	return true;
}

/* keep_members: of the object that was looked at; false when it cannot be kept */
static bool
keep_members(SnShape *shape, const SnWalk *w, JsonbContainer *object,
			 const SnLook *look)
{
	int			n = JsonContainerSize(object);
	SnJsonPlaces p;
	int			i;

	sn_json_places(&p, object, look->values_at);
	for (i = 0; sn_json_next_item(&p); i++)
	{
		if (w->next[i] == &sn_look_again)
			return false;
		shape->kinds[i] = kind_of(&p);
	}
	memcpy(shape->keys, object->children, n * sizeof(JEntry));
	memcpy(shape->names, &object->children[2 * n], look->values_at);
	memcpy(shape->next, w->next, n * sizeof(SnRuleState *));
	return true;
}

/* sn_shape_keep: what sn_look_at_members() has found of a payload */
void
sn_shape_keep(SnWalk *w, JsonbContainer *object, bool concerned,
			  const SnLook *look)
{
	int			n = JsonContainerSize(object);
	SnShape    *shape = w->set->shape;

	if (w->root != SN_ROOT_PAYLOAD || n > SHAPE_MEMBERS ||
		look->values_at > SHAPE_NAMES)
		return;
	if (shape == NULL)
	{
		shape = w->set->shape = MemoryContextAlloc(w->set->context,
												   sizeof(SnShape));
		sn_rulesets_size += sizeof(SnShape);
	}
	shape->n = 0;
	if (!keep_members(shape, w, object, look))
		return;
	shape->n = n;
	shape->concerned = concerned;
	shape->look = *look;
	shape->staying = -1;
	shape->notes_used = 0;
	memset(shape->note_at, 0xff, n * sizeof(int16));
	w->shape = shape;
}

/* sn_shape_names: write the names that stay, if they are known */
bool
sn_shape_names(SnWalk *w, Size head, int *at)
{
	const SnShape *shape = w->shape;

	if (shape == NULL || w->depth > 0 || shape->staying < 0)
		return false;
	(void) sn_out_bytes(&w->out, shape->staying_names, shape->staying_size);
	memcpy(sn_out_entry(&w->out, head, 0), shape->staying_keys,
		   shape->staying * sizeof(JEntry));
	*at = shape->staying;
	return true;
}

/* sn_shape_keep_names: those were written from there on, and are so many */
void
sn_shape_keep_names(SnWalk *w, Size head, Size from, int n)
{
	SnShape    *shape = w->shape;

	if (shape == NULL || w->depth > 0)
		return;
	shape->staying = n;
	shape->staying_size = w->out.len - from;
	memcpy(shape->staying_names, w->out.data + from, shape->staying_size);
	memcpy(shape->staying_keys, sn_out_entry(&w->out, head, 0),
		   n * sizeof(JEntry));
}

/* sn_shape_has_note: whether it is known what the trail says of the value at hand */
bool
sn_shape_has_note(const SnWalk *w)
{
	return w->shape != NULL && w->depth == 1 &&
		w->shape->note_at[w->places[0].number] >= 0;
}

/* sn_shape_note: write that; how much it is, 0: it is not known */
int
sn_shape_note(const SnWalk *w, char *entry)
{
	const char *note;
	int			size;

	if (!sn_shape_has_note(w))
		return 0;
	note = w->shape->notes + w->shape->note_at[w->places[0].number];
	size = SN_TRAIL_ENTRY_SIZE(note);
	memcpy(entry, note, size);
	return size;
}

/* sn_shape_keep_note: what the trail says of the value at hand */
void
sn_shape_keep_note(SnWalk *w, const char *entry)
{
	SnShape    *shape = w->shape;
	int			size = SN_TRAIL_ENTRY_SIZE(entry);

	if (shape == NULL || w->depth != 1 ||
		size > SHAPE_NOTES - shape->notes_used)
		return;
	memcpy(shape->notes + shape->notes_used, entry, size);
	shape->note_at[w->places[0].number] = shape->notes_used;
	shape->notes_used += size;
}
