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
	SnRun		run;			/* what is not written yet */
} Part;

/* is_replaced: a rule concerns the value at hand as a whole */
static bool
is_replaced(const SnEffect *effect)
{
	return effect->method >= SN_METHOD_REPLACE;
}

/* stays: the value at hand is written with those before it */
static inline void
stays(Part *part, const SnJsonPlaces *p)
{
	if (part->run.n++ == 0)
	{
		part->run.base = p->base;
		part->run.from = p->from;
		part->run.entries = p->entries - 1;
	}
	part->run.to = p->to;
}

/* write_stays: values that were passed over */
static inline void
write_stays(SnWalk *w, Part *part)
{
	if (part->run.n > 0)
		sn_out_run(&w->out, &part->run, part->head, part->at);
	part->at += part->run.n;
	part->run.n = 0;
}

/* write_names: of an object's members those that stay */
static void
write_names(SnWalk *w, JsonbContainer *object, const SnLook *look, Part *part)
{
	SnRuleState **next = w->next + look->first;
	Size		from = w->out.len;
	SnRun		run = {NULL};
	SnJsonPlaces p;
	bool		more;

	if (sn_shape_names(w, part->head, &part->at))
		return;
	sn_json_places(&p, object, look->values_at);
	do
	{
		more = sn_json_next_member(&p);
		if (more && *next++ != &sn_look_removed)
		{
			if (run.n++ == 0)
			{
				run.base = p.base;
				run.from = p.key_end - p.key.len;
				run.entries = p.keys - 1;
			}
			run.to = p.key_end;
		}
		else if (run.n > 0)
		{
			sn_out_block(&w->out, &run, part->head, part->at);
			part->at += run.n;
			run.n = 0;
		}
	}
	while (more);
	sn_shape_keep_names(w, part->head, from, part->at);
}

/* note_removed: the member at hand is gone */
static void
note_removed(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p)
{
	bool		named = true;

	w->places[w->depth++] = (SnPlace) {p->key.name, p->key.len};
	if (!sn_shape_has_note(w))
		sn_state_leave(sn_look_at_member(w, state, p, &named));
	sn_trail_note(w, SN_METHOD_REMOVE, !named);
	w->depth--;
}

/* write_entry: the value at hand, which rules concern */
static void
write_entry(SnWalk *w, Part *part, const SnJsonPlaces *p, SnPlace place,
			SnRuleState *state, const SnEffect *inherited)
{
	SnEffect	both;
	JEntry		entry;

	write_stays(w, part);
	w->places[w->depth++] = place;
	entry = write_value(w, p, state, sn_state_effect(state, inherited, &both));
	w->depth--;
	*sn_out_entry(&w->out, part->head, part->at++) = entry;
	sn_state_leave(state);
}

/* write_members: the values of an object's members */
static void
write_members(SnWalk *w, JsonbContainer *object, const SnLook *look,
			  Part *part, SnRuleState *state, const SnEffect *inherited)
{
	SnJsonPlaces p;
	int			i;

	sn_json_places(&p, object, look->values_at);
	for (i = look->first; sn_json_next_member(&p); i++)
	{
		SnRuleState *next = w->next[i];
		bool		named;

		if (w->depth == 0)
			w->member = i;
		if (next == NULL)
			stays(part, &p);
		else if (next == &sn_look_removed)
		{
			write_stays(w, part);
			note_removed(w, state, &p);
		}
		else
		{
			if (next == &sn_look_again)
				next = sn_look_at_member(w, state, &p, &named);
			write_entry(w, part, &p, (SnPlace) {p.key.name, p.key.len}, next,
						inherited);
		}
	}
	write_stays(w, part);
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

/* write_array: an array, with as many items as it had */
static void
write_array(SnWalk *w, JsonbContainer *array, SnRuleState *state,
			const SnEffect *inherited)
{
	int			n = JsonContainerSize(array);
	Part		part = {.head = sn_out_open(&w->out, n)};
	SnJsonPlaces p;
	int			i;

	sn_json_places(&p, array, 0);
	for (i = 0; sn_json_next_item(&p); i++)
	{
		SnRuleState *next = sn_look_at_item(w, state, &p, i);
		SnEffect	both;

		CHECK_FOR_INTERRUPTS();
		if (sn_look_passes(next, sn_state_effect(next, inherited, &both), &p))
		{
			stays(&part, &p);
			sn_state_leave(next);
		}
		else
			write_entry(w, &part, &p, (SnPlace) {NULL, i}, next, inherited);
	}
	write_stays(w, &part);
	sn_out_close(&w->out, part.head, JB_FARRAY, n, n, n);
}

/* write_container: an object or an array, going down into it */
static JEntry
write_container(SnWalk *w, const SnJsonPlaces *p, SnRuleState *state,
				const SnEffect *effect)
{
	JsonbContainer *container = sn_json_child(p);
	Size		before = w->out.len;
	SnLook		look;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	(void) sn_out_pad(&w->out);
	if (JsonContainerIsArray(container))
		write_array(w, container, state, effect);
	else if (sn_look_at_members(w, container, state, effect, &look))
	{
		write_object(w, container, &look, state, effect);
		sn_look_end(w, &look);
	}
	else
		(void) sn_out_bytes(&w->out, (char *) container,
							p->to - INTALIGN(p->from));
	return JENTRY_ISCONTAINER | (JEntry) (w->out.len - before);
}

/* write_value: a value that rules may concern, or something in it */
static JEntry
write_value(SnWalk *w, const SnJsonPlaces *p, SnRuleState *state,
			const SnEffect *effect)
{
	JsonbValue	value;
	JEntry		entry;

	if (is_replaced(effect))
	{
		sn_trail_note(w, effect->method, false);
		return effect->method == SN_METHOD_REPLACE ?
			sn_out_copy(&w->out, effect->with) : JENTRY_ISNULL;
	}
	if (JBE_ISCONTAINER(p->entry))
		return write_container(w, p, state, effect);
	sn_json_value_at(p, &value);
	if (sn_redact_scalar(w, effect, &value, &entry))
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
	Size		guess = VARSIZE(json) + VARSIZE(json) / 4 + 128;
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
 * sn_redact_walk: an object, redacted; NULL when it stays as it is.  What was
 * done is added to the trail.
 */
Jsonb *
sn_redact_walk(SnRuleSet *set, SnPathRoot root, Jsonb *json,
			   const text *tenant_id, Size max, SnTrail *trail)
{
	int			node = root == SN_ROOT_METADATA ? set->metadata : set->payload;
	int			before = trail->count;
	SnRuleState *state;
	SnWalk		w;
	bool		written;

	if (node == 0)
		return NULL;
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
