/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_walk.c
 *		One walk over a value that writes it anew as the rules say.
 *
 * What no rule concerns is copied as it is, as much as possible at once.  A
 * method that is for texts and numbers goes down into an object or array, to all
 * that is in it.  An item that is removed leaves null behind, so that the others
 * keep their numbers.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "redact/redact_walk.h"

static JEntry write_value(SnWalk *w, const SnJsonPlaces *p,
						  SnRuleState *state, const SnEffect *effect);

/* What is written of a container */
typedef struct Part
{
	Size		head;			/* where it begins */
	int			at;				/* the next entry */
	SnJsonPlaces p;				/* what comes */
} Part;

/* is_replaced: a rule concerns the value at hand as a whole */
static bool
is_replaced(const SnEffect *effect)
{
	return effect->method >= SN_METHOD_REPLACE;
}

/* write_stays: the next n values stay as they are */
static inline void
write_stays(SnWalk *w, Part *part, int n)
{
	if (n > 0)
		sn_out_run(&w->out, &part->p, n, part->head, part->at);
	part->at += n;
}

/* write_names: of an object's members those that stay */
static void
write_names(SnWalk *w, JsonbContainer *object, const SnLook *look, Part *part)
{
	SnRuleState **next = w->next + look->first;
	Size		from = w->out.len;
	int			n = JsonContainerSize(object);
	SnJsonPlaces keys;
	int			i;
	int			k;

	if (sn_shape_names(w, part->head, &part->at))
		return;
	sn_json_places(&keys, object, 0);
	keys.entries = keys.keys;
	for (i = 0; i < n; i = k + 1)
	{
		for (k = i; k < n && next[k] != &sn_look_removed;)
			k++;
		sn_out_block(&w->out, &keys, k - i, part->head, part->at);
		part->at += k - i;
		if (k < n)
			(void) sn_json_next_item(&keys);
	}
	sn_shape_keep_names(w, part->head, from, part->at);
}

/* note_removed: a member is gone */
static void
note_removed(SnWalk *w, SnPlace place, SnRuleState *state)
{
	bool		named = true;

	w->places[w->depth++] = place;
	if (!sn_shape_has_note(w))
		sn_state_leave(sn_look_again_at(w, place, state, &named));
	sn_trail_note(w, SN_METHOD_REMOVE, !named);
	w->depth--;
}

/* write_entry: the next value, which rules concern */
static void
write_entry(SnWalk *w, Part *part, SnPlace place, SnRuleState *state,
			const SnEffect *inherited)
{
	SnEffect	both;
	JEntry		entry;

	w->places[w->depth++] = place;
	entry = write_value(w, &part->p, state,
						sn_state_effect(state, inherited, &both));
	w->depth--;
	*sn_out_entry(&w->out, part->head, part->at++) = entry;
	sn_state_leave(state);
}

/* write_members: the values of an object's members */
static void
write_members(SnWalk *w, JsonbContainer *object, const SnLook *look,
			  Part *part, SnRuleState *state, const SnEffect *inherited)
{
	int			n = JsonContainerSize(object);
	int			i;
	int			k;

	sn_json_places(&part->p, object, look->values_at);
	for (i = 0; (k = sn_look_next(w, look, i, n)) < n; i = k + 1)
	{
		SnRuleState *next = w->next[look->first + k];
		SnPlace		place = {object, k};
		bool		named;

		write_stays(w, part, k - i);
		(void) sn_json_next_item(&part->p);
		if (next == &sn_look_removed)
			note_removed(w, place, state);
		else
		{
			if (next == &sn_look_again)
				next = sn_look_again_at(w, place, state, &named);
			write_entry(w, part, place, next, inherited);
		}
	}
	write_stays(w, part, n - i);
}

/* write_object: what is left of an object that was looked at */
static void
write_object(SnWalk *w, JsonbContainer *object, const SnLook *look,
			 SnRuleState *state, const SnEffect *inherited)
{
	int			n = JsonContainerSize(object) - look->removed;
	Part		part = {.head = sn_out_open(&w->out, 2 * n)};

	write_names(w, object, look, &part);
	write_members(w, object, look, &part, state, inherited);
	sn_out_close(&w->out, part.head, JB_FOBJECT, n, 2 * n, 2 * n);
}

/*
 * next_item: pass over the items that stay.  False when no more come; otherwise
 * one is at hand that rules concern, as next says.
 */
static bool
next_item(SnWalk *w, SnJsonPlaces *p, int n, SnRuleState *state,
		  const SnEffect *inherited, SnRuleState **next)
{
	while (sn_json_next_item(p))
	{
		SnEffect	both;

		CHECK_FOR_INTERRUPTS();
		*next = sn_look_at_item(w, state, p, n - p->left - 1);
		if (!sn_look_passes(*next, sn_state_effect(*next, inherited, &both), p))
			return true;
		sn_state_leave(*next);
	}
	return false;
}

/* write_array: an array, with as many items as it had; false: it stays as it is */
static bool
write_array(SnWalk *w, JsonbContainer *array, SnRuleState *state,
			const SnEffect *inherited)
{
	int			n = JsonContainerSize(array);
	Part		part = {0};
	SnRuleState *next;
	SnJsonPlaces p;

	sn_json_places(&p, array, 0);
	part.p = p;
	if (!next_item(w, &p, n, state, inherited, &next))
		return false;
	part.head = sn_out_open(&w->out, n);
	do
	{
		int			i = n - p.left - 1;

		write_stays(w, &part, i - part.at);
		(void) sn_json_next_item(&part.p);
		write_entry(w, &part, (SnPlace) {array, i}, next, inherited);
	}
	while (next_item(w, &p, n, state, inherited, &next));
	write_stays(w, &part, n - part.at);
	sn_out_close(&w->out, part.head, JB_FARRAY, n, n, n);
	return true;
}

/* write_container: an object or an array, going down into it */
static pg_noinline JEntry
write_container(SnWalk *w, const SnJsonPlaces *p, SnRuleState *state,
				const SnEffect *effect)
{
	JsonbContainer *container = sn_json_child(p);
	Size		before = w->out.len;
	bool		written;
	SnLook		look;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	(void) sn_out_pad(&w->out);
	if (JsonContainerIsArray(container))
		written = write_array(w, container, state, effect);
	else
	{
		written = sn_look_at_members(w, container, state, effect, &look);
		if (written)
		{
			write_object(w, container, &look, state, effect);
			sn_look_end(w, &look);
		}
	}
	if (!written)
		(void) sn_out_bytes(&w->out, (char *) container,
							p->to - INTALIGN(p->from));
	return JENTRY_ISCONTAINER | (JEntry) (w->out.len - before);
}

/* write_value: a value that rules may concern, or something in it */
static JEntry
write_value(SnWalk *w, const SnJsonPlaces *p, SnRuleState *state,
			const SnEffect *effect)
{
	JEntry		entry;

	if (is_replaced(effect))
	{
		sn_trail_note(w, effect->method, false);
		return effect->method == SN_METHOD_REPLACE ?
			sn_out_copy(&w->out, effect->with) : JENTRY_ISNULL;
	}
	if (JBE_ISCONTAINER(p->entry))
		return write_container(w, p, state, effect);
	if (sn_redact_scalar(w, effect, p, &entry))
		sn_trail_note(w, effect->method, false);
	return entry;
}

/* write_root: the whole value, as one rule makes it */
static void
write_root(SnWalk *w, const SnEffect *effect)
{
	sn_trail_note(w, effect->method, false);
	if (effect->method == SN_METHOD_REPLACE)
		(void) sn_out_copy(&w->out, effect->with);
	else
		sn_out_close(&w->out, sn_out_open(&w->out, 0), JB_FOBJECT, 0, 0, 0);
}

/* look_at_root: what becomes of the members of the whole value */
static bool
look_at_root(SnWalk *w, JsonbContainer *object, SnRuleState *state,
			 SnLook *look)
{
	bool		concerned;

	if (!sn_shape_look(w, object, &concerned, look))
	{
		concerned = sn_look_at_members(w, object, state, &state->effect, look);
		sn_shape_keep(w, object, concerned, look);
	}
	return concerned;
}

/* walk_root: the whole value; false when nothing was written */
static bool
walk_root(SnWalk *w, Jsonb *json, SnRuleState *state, Size max)
{
	const SnEffect *effect = &state->effect;
	Size		guess = VARSIZE(json) + 128;
	bool		written = is_replaced(effect);
	SnLook		look;

	if (written)
	{
		sn_out_begin(&w->out, guess, max);
		write_root(w, effect);
	}
	else if (look_at_root(w, &json->root, state, &look))
	{
		written = sn_look_finds(w, &json->root, state, &look);
		if (written)
		{
			sn_out_begin(&w->out, guess, max);
			write_object(w, &json->root, &look, state, effect);
		}
		sn_look_end(w, &look);
	}
	return written;
}

/* begin_walk: over a value that rules may concern */
static void
begin_walk(SnWalk *w, SnRuleSet *set, SnPathRoot root, const text *tenant_id,
		   SnTrail *trail)
{
	w->set = set;
	w->tenant_id = tenant_id;
	w->root = root;
	w->trail = trail;
	w->next = w->next_here;
	w->next_room = SN_NEXT_ROOM;
	w->nnext = 0;
	w->shape = NULL;
	w->depth = 0;
}

/*
 * sn_redact_walk: an object that some rule is about, redacted; NULL when it
 * stays as it is.  What was done is added to the trail.
 */
Jsonb *
sn_redact_walk(SnRuleSet *set, SnPathRoot root, Jsonb *json,
			   const text *tenant_id, Size max, SnTrail *trail)
{
	int			before = trail->count;
	SnRuleState *state;
	SnWalk		w;
	bool		written;

	begin_walk(&w, set, root, tenant_id, trail);
	state = sn_state_begin(set, root);
	written = walk_root(&w, json, state, max);
	sn_state_leave(state);
	if (w.next != w.next_here)
		pfree(w.next);
	if (trail->count > before)
		return sn_out_end(&w.out);
	if (written)
		pfree(w.out.data);
	return NULL;
}
