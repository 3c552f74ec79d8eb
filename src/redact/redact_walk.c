/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_walk.c
 *		One walk over a value that writes it anew as the rules say.
 *
 * What no rule can reach is copied as a whole.  A method that is for texts and
 * numbers goes down into an object or array, to all that is in it.  An item
 * that is removed leaves null behind, so that the others keep their numbers.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "redact/redact_walk.h"

/*
 * What becomes of a member, while its object is written: the number of a node
 * behind the last one says that it alone concerns the member, and nothing in it
 */
enum
{
	FATE_COPY, FATE_LOOK, FATE_REMOVE, FATE_NODE
};

static JEntry write_value(SnWalk *w, const JsonbValue *value, SnActive at,
						  SnEffect effect);

/* is_replaced: a rule concerns the value at hand as a whole */
static bool
is_replaced(SnEffect effect)
{
	return effect.method >= SN_METHOD_REPLACE;
}

/* write_constant: what a rule has in place of a value */
static JEntry
write_constant(SnWalk *w, const SnEffect *effect)
{
	JsonbValue	with;

	sn_json_root((Jsonb *) effect->with, &with);
	return sn_out_copy(&w->out, &with);
}

/* enter_member: the nodes and the effect of a member */
static SnActive
enter_member(SnWalk *w, SnActive at, const SnJsonKey *key,
			 const JsonbValue *value, SnEffect *effect, bool *named)
{
	SnActive	next = {w->nactive, 0};

	*named = false;
	if (at.n > 0)
		next = sn_match_member(w, at, key, sn_json_is_array(value), named);
	if (next.n > 0)
		*effect = sn_match_effect(w, next, *effect);
	return next;
}

/* leave_nodes: nodes of a value that is done with */
static void
leave_nodes(SnWalk *w, SnActive at)
{
	w->nactive = at.from;
}

/* find_fate: what becomes of a member with these nodes and this effect */
static JEntry
find_fate(const SnWalk *w, SnActive at, SnEffect effect)
{
	if (effect.method == SN_METHOD_REMOVE)
		return FATE_REMOVE;
	if (at.n == 0)
		return effect.method == SN_METHOD_NONE ? FATE_COPY : FATE_LOOK;
	if (at.n == 1 && w->set->nodes[w->active[at.from] / 2].is_last)
		return FATE_NODE + w->active[at.from] / 2;
	return FATE_LOOK;
}

/*
 * write_keys: the keys of an object that stay; how many.  What becomes of each
 * member is noted where its value's entry will be.
 */
static int
write_keys(SnWalk *w, JsonbContainer *object, Size head, SnActive at,
		   SnEffect inherited)
{
	SnPlace    *place = &w->places[w->depth];
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	int			kept = 0;
	int			i;

	sn_json_walk(&walk, object);
	for (i = 0; sn_json_next(&walk, &key, &value); i++)
	{
		SnEffect	effect = inherited;
		bool		named;
		SnActive	next = enter_member(w, at, &key, &value, &effect, &named);
		JEntry		fate = find_fate(w, next, effect);

		leave_nodes(w, next);
		if (fate == FATE_REMOVE)
		{
			*place = (SnPlace) {key.name, key.len};
			w->depth++;
			sn_trail_note(w, SN_METHOD_REMOVE, !named);
			w->depth--;
		}
		else
		{
			JEntry		entry = sn_out_bytes(&w->out, key.name, key.len);

			*sn_out_entry(&w->out, head, kept++) = entry;
		}
		*sn_out_entry(&w->out, head, walk.count + i) = fate;
	}
	return kept;
}

/* write_object: an object, or what is left of it */
static void
write_object(SnWalk *w, JsonbContainer *object, SnActive at,
			 SnEffect inherited)
{
	int			n = JsonContainerSize(object);
	Size		head = sn_out_open(&w->out, 2 * n);
	int			kept = write_keys(w, object, head, at, inherited);
	int			written = kept;
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;
	int			i;

	sn_json_walk(&walk, object);
	for (i = 0; sn_json_next(&walk, &key, &value); i++)
	{
		JEntry		fate = *sn_out_entry(&w->out, head, n + i);
		SnEffect	effect = inherited;
		SnActive	next = {w->nactive, 0};
		JEntry		entry;
		bool		named;

		if (fate == FATE_REMOVE)
			continue;
		if (fate == FATE_COPY)
			entry = sn_out_copy(&w->out, &value);
		else
		{
			if (fate >= FATE_NODE)
				effect = sn_effect_stronger(effect, w->set->nodes[fate - FATE_NODE].effect);
			else
				next = enter_member(w, at, &key, &value, &effect, &named);
			w->places[w->depth++] = (SnPlace) {key.name, key.len};
			entry = write_value(w, &value, next, effect);
			w->depth--;
			leave_nodes(w, next);
		}
		*sn_out_entry(&w->out, head, written++) = entry;
	}
	sn_out_close(&w->out, head, JB_FOBJECT, kept, written, 2 * n);
}

/* write_array: an array, with as many items as it had */
static void
write_array(SnWalk *w, JsonbContainer *array, SnActive at, SnEffect inherited)
{
	int			n = JsonContainerSize(array);
	Size		head = sn_out_open(&w->out, n);
	SnJsonWalk	walk;
	JsonbValue	value;
	int			i;

	sn_json_walk(&walk, array);
	for (i = 0; sn_json_next(&walk, NULL, &value); i++)
	{
		SnActive	next = {w->nactive, 0};
		SnEffect	effect;
		JEntry		entry;

		CHECK_FOR_INTERRUPTS();
		if (at.n > 0)
			next = sn_match_item(w, at, i, sn_json_is_array(&value));
		effect = sn_match_effect(w, next, inherited);
		w->places[w->depth++] = (SnPlace) {NULL, i};
		entry = write_value(w, &value, next, effect);
		w->depth--;
		leave_nodes(w, next);
		*sn_out_entry(&w->out, head, i) = entry;
	}
	sn_out_close(&w->out, head, JB_FARRAY, n, n, n);
}

/* write_container: an object or an array, going down into it */
static JEntry
write_container(SnWalk *w, const JsonbValue *value, SnActive at,
				SnEffect effect)
{
	Size		before = w->out.len;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	(void) sn_out_pad(&w->out);
	if (JsonContainerIsObject(value->val.binary.data))
		write_object(w, value->val.binary.data, at, effect);
	else
		write_array(w, value->val.binary.data, at, effect);
	return JENTRY_ISCONTAINER | (JEntry) (w->out.len - before);
}

/* write_value: a value that rules may concern, or something in it */
static JEntry
write_value(SnWalk *w, const JsonbValue *value, SnActive at, SnEffect effect)
{
	JEntry		entry;

	if (is_replaced(effect))
	{
		sn_trail_note(w, effect.method, false);
		return effect.method == SN_METHOD_REPLACE ?
			write_constant(w, &effect) : JENTRY_ISNULL;
	}
	if (value->type == jbvBinary)
	{
		if (at.n == 0 && effect.method == SN_METHOD_NONE)
			return sn_out_copy(&w->out, value);
		return write_container(w, value, at, effect);
	}
	if (effect.method == SN_METHOD_NONE)
		return sn_out_scalar(&w->out, value);
	if (sn_redact_scalar(w, effect, value, &entry))
		sn_trail_note(w, effect.method, false);
	return entry;
}

/* write_root: the whole value */
static void
write_root(SnWalk *w, Jsonb *json, int node)
{
	SnActive	at = sn_match_root(w, node);
	SnEffect	effect = sn_match_effect(w, at, (SnEffect) {SN_METHOD_NONE});

	if (is_replaced(effect))
	{
		sn_trail_note(w, effect.method, false);
		if (effect.method == SN_METHOD_REPLACE)
			(void) write_constant(w, &effect);
		else
			sn_out_close(&w->out, sn_out_open(&w->out, 0), JB_FOBJECT, 0, 0, 0);
	}
	else
		write_object(w, &json->root, at, effect);
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
	SnWalk		w;

	if (node == 0)
		return NULL;
	w.set = set;
	w.tenant_id = tenant_id;
	w.root = root;
	w.trail = trail;
	w.active = w.active_here;
	w.active_room = SN_ACTIVE_ROOM;
	w.nactive = 0;
	w.depth = 0;
	sn_out_begin(&w.out, VARSIZE(json) + VARSIZE(json) / 4 + 128, max);
	write_root(&w, json, node);
	if (w.active != w.active_here)
		pfree(w.active);
	if (trail->count > before)
		return sn_out_end(&w.out);
	pfree(w.out.data);
	return NULL;
}
