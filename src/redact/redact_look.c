/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_look.c
 *		What of a value the rules concern, before anything is written.
 *
 * The keys of an object have the same order as the names that a state knows, so
 * the two are gone through side by side.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "redact/redact_walk.h"

SnRuleState sn_look_removed = {.kept = true};
SnRuleState sn_look_again = {.kept = true};

/* is_array_at: whether an array is at hand */
static inline bool
is_array_at(const SnJsonPlaces *p)
{
	JsonbContainer *child = sn_json_child(p);

	return child != NULL && JsonContainerIsArray(child);
}

/*
 * next_step: the step of the member at hand.  place: of the names that come; it
 * does not go back.
 */
static inline SnStateStep *
next_step(SnRuleState *state, const SnJsonKey *key, int *place)
{
	int			i;

	for (i = *place; i < state->nnames; i++)
	{
		SnStateName *name = &state->names[i];
		int			order = name->key.len - key->len;

		if (order == 0 && key->len > 0)
			order = (unsigned char) *name->key.name - (unsigned char) *key->name;
		if (order == 0)
			order = memcmp(name->key.name, key->name, key->len);
		if (order < 0)
			continue;
		*place = i;
		return order == 0 ? &name->step : &state->other;
	}
	*place = i;
	return &state->other;
}

/* next_state: where the member at hand leads to */
static inline SnRuleState *
next_state(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p, int *place)
{
	SnJsonKey	key = p->key;
	bool		is_array = is_array_at(p);
	SnStateStep *step = unlikely(w->set->unicode) ?
		sn_state_name_step(w->set, state, &key) :
		next_step(state, &key, place);

	if (likely(step->to[is_array] != NULL))
		return step->to[is_array];
	return sn_state_follow_member(w->set, state, step, &key, is_array);
}

/* look_at_member: the same for one alone.  named: a rule has its name */
static SnRuleState *
look_at_member(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p,
			   bool *named)
{
	SnJsonKey	key = p->key;
	bool		is_array = is_array_at(p);
	SnStateStep *step = sn_state_name_step(w->set, state, &key);

	*named = step != &state->other;
	if (step->to[is_array] != NULL)
		return step->to[is_array];
	return sn_state_follow_member(w->set, state, step, &key, is_array);
}

/* sn_look_again_at: the same for a member whose state was not kept */
SnRuleState *
sn_look_again_at(SnWalk *w, SnPlace place, SnRuleState *state, bool *named)
{
	SnJsonPlaces p;

	sn_json_member(&p, place.in, place.number);
	return look_at_member(w, state, &p, named);
}

/* sn_look_at_item: where the item at hand leads to, which has that number */
SnRuleState *
sn_look_at_item(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p,
				int index)
{
	bool		is_array = is_array_at(p);
	SnStateStep *step = sn_state_item_step(state, index);

	if (likely(step->to[is_array] != NULL))
		return step->to[is_array];
	return sn_state_follow_item(w->set, state, step, index, is_array);
}

/* take_next: room for what becomes of n members */
static SnRuleState **
take_next(SnWalk *w, int n)
{
	int			first = w->nnext;

	if (n > w->next_room - w->nnext)
	{
		int			room = Max(w->next_room * 2, w->nnext + n);
		Size		size = room * sizeof(SnRuleState *);

		if (w->next == w->next_here)
			w->next = memcpy(MemoryContextAllocHuge(CurrentMemoryContext, size),
							 w->next_here, sizeof(w->next_here));
		else
			w->next = repalloc_huge(w->next, size);
		w->next_room = room;
	}
	w->nnext += n;
	return w->next + first;
}

/* sn_look_end: what was found of an object's members is not needed any more */
void
sn_look_end(SnWalk *w, const SnLook *look)
{
	w->nnext = look->first;
}

/* find_fate: what becomes of the member at hand, as sn_look_at_members() says it */
static inline SnRuleState *
find_fate(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p,
		  const SnEffect *inherited, int *place, SnLook *look)
{
	SnRuleState *next = next_state(w, state, p, place);
	SnRuleState *fate = next->kept ? next : &sn_look_again;
	SnEffect	both;
	const SnEffect *effect = sn_state_effect(next, inherited, &both);

	look->sure |= effect->method != SN_METHOD_NONE;
	if (sn_look_passes(next, effect, p))
		fate = NULL;
	else if (effect->method == SN_METHOD_REMOVE)
	{
		fate = &sn_look_removed;
		look->removed++;
	}
	sn_state_leave(next);
	return fate;
}

/*
 * sn_look_at_members: what becomes of the members of an object, as w->next says
 * from look->first on: NULL is that it stays, sn_look_removed that it goes;
 * otherwise it is the member's state, or sn_look_again where that was not kept.
 * False when all of them stay; otherwise sn_look_end() has to follow.
 */
bool
sn_look_at_members(SnWalk *w, JsonbContainer *object, SnRuleState *state,
				   const SnEffect *inherited, SnLook *look)
{
	SnRuleState **next = take_next(w, JsonContainerSize(object));
	bool		concerned = false;
	int			place = 0;
	SnJsonPlaces p;

	look->first = next - w->next;
	look->removed = 0;
	look->sure = false;
	look->values_at = sn_json_values_at(object);
	sn_json_places(&p, object, look->values_at);
	for (; sn_json_next_member(&p); next++)
	{
		*next = find_fate(w, state, &p, inherited, &place, look);
		concerned |= *next != NULL;
	}
	if (!concerned)
		sn_look_end(w, look);
	return concerned;
}

static bool finds(SnWalk *w, JsonbContainer *container, SnRuleState *state);

/* concerns: whether something is done to the value at hand, or in it */
static bool
concerns(SnWalk *w, SnRuleState *state, const SnJsonPlaces *p)
{
	bool		result = state->effect.method != SN_METHOD_NONE ||
		(JBE_ISCONTAINER(p->entry) && state->goes_on &&
		 finds(w, sn_json_child(p), state));

	sn_state_leave(state);
	return result;
}

/* finds: whether something is done in an object or array */
static bool
finds(SnWalk *w, JsonbContainer *container, SnRuleState *state)
{
	bool		found = false;
	int			place = 0;
	int			index = 0;
	SnJsonPlaces p;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	sn_json_places(&p, container, sn_json_values_at(container));
	if (JsonContainerIsObject(container))
		while (!found && sn_json_next_member(&p))
			found = concerns(w, next_state(w, state, &p, &place), &p);
	else
		for (; !found && sn_json_next_item(&p); index++)
			found = concerns(w, sn_look_at_item(w, state, &p, index), &p);
	return found;
}

/*
 * sn_look_finds: whether something is done in an object that was looked at: to its
 * members, or in them
 */
bool
sn_look_finds(SnWalk *w, JsonbContainer *object, SnRuleState *state,
			  const SnLook *look)
{
	bool		found = look->sure;
	int			n = JsonContainerSize(object);
	SnJsonPlaces p;
	bool		named;
	int			i;
	int			k;

	sn_json_places(&p, object, look->values_at);
	for (i = 0; !found && (k = sn_look_next(w, look, i, n)) < n; i = k + 1)
	{
		SnRuleState *next = w->next[look->first + k];

		sn_json_skip(&p, k - i);
		(void) sn_json_next_item(&p);
		if (next == &sn_look_again)
			next = sn_look_again_at(w, (SnPlace) {object, k}, state, &named);
		found = concerns(w, next, &p);
	}
	return found;
}
