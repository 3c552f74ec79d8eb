/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_trail.c
 *		What was redacted in an event: the list in its metadata.
 *
 * The list has pointers and methods, and never a value.  The name of a member
 * that was removed because of a wildcard is not in it either: a name can be
 * what had to go.  Most events of a type have the same list as the one before,
 * which is then not put together again.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "redact/redact.h"
#include "redact/redact_walk.h"

/* put_bytes: some bytes of a pointer, if they have room; its length or -1 */
static int
put_bytes(char *out, int n, const char *bytes, int len)
{
	if (n < 0 || n + len > SN_TRAIL_POINTER_MAX)
		return -1;
	memcpy(out + n, bytes, len);
	return n + len;
}

/* put_token: the name of a member, as RFC 6901 writes it */
static int
put_token(char *out, int n, const SnJsonKey *key)
{
	int			i;

	if (memchr(key->name, '~', key->len) == NULL &&
		memchr(key->name, '/', key->len) == NULL)
		return put_bytes(out, n, key->name, key->len);
	for (i = 0; i < key->len && n >= 0; i++)
		if (key->name[i] == '~')
			n = put_bytes(out, n, "~0", 2);
		else if (key->name[i] == '/')
			n = put_bytes(out, n, "~1", 2);
		else
			n = put_bytes(out, n, &key->name[i], 1);
	return n;
}

/* put_place: one more part of a pointer, which ends before what is too long */
static int
put_place(char *out, int n, const SnPlace *place, bool hide)
{
	char		number[16];
	SnJsonKey	key;
	int			more = put_bytes(out, n, "/", 1);

	if (hide)
		more = put_bytes(out, more, "*", 1);
	else if (JsonContainerIsObject(place->in))
	{
		sn_json_key(place->in, place->number, &key);
		more = put_token(out, more, &key);
	}
	else
		more = put_bytes(out, more, number,
				   snprintf(number, sizeof(number), "%d", place->number));
	return more;
}

/* make_note: what the trail says of the value at hand; how much it is */
static pg_noinline int
make_note(SnWalk *w, char *entry, SnMethod method, bool hide_last)
{
	static const char metadata[] = "$metadata";
	char	   *pointer = entry + 3;
	int			n = 0;
	int			i;

	if (w->root == SN_ROOT_METADATA)
		n = put_bytes(pointer, 0, metadata, sizeof(metadata) - 1);
	for (i = 0; i < w->depth; i++)
	{
		int			more = put_place(pointer, n, &w->places[i],
									 hide_last && i == w->depth - 1);

		if (more < 0)
			break;
		n = more;
	}
	entry[0] = (char) method;
	entry[1] = (char) (n & 0xff);
	entry[2] = (char) (n >> 8);
	sn_shape_keep_note(w, entry);
	return 3 + n;
}

/* sn_trail_note: the value at hand was redacted; hide_last: not its name */
void
sn_trail_note(SnWalk *w, SnMethod method, bool hide_last)
{
	SnTrail    *trail = w->trail;
	char	   *entry = trail->bytes + trail->used;
	int			size;

	if (++trail->count > SN_TRAIL_MAX)
		return;
	size = sn_shape_note(w, entry);
	if (size == 0)
		size = make_note(w, entry, method, hide_last);
	trail->used += size;
}

/* push_text: a key, or an item */
static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *s,
		  int len)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) s;
	value.val.string.len = len;
	(void) pushJsonbValue(state, token, &value);
}

/* push_method: the pointers of one method, when there are any */
static void
push_method(JsonbParseState **state, const SnTrail *trail, int method)
{
	const char *name = sn_redact_methods[method];
	bool		begun = false;
	int			at;
	int			len;

	for (at = 0; at < trail->used; at += 3 + len)
	{
		const unsigned char *entry = (const unsigned char *) trail->bytes + at;

		len = entry[1] | entry[2] << 8;
		if (entry[0] != method)
			continue;
		if (!begun)
		{
			push_text(state, WJB_KEY, name, strlen(name));
			(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			begun = true;
		}
		push_text(state, WJB_ELEM, (const char *) entry + 3, len);
	}
	if (begun)
		(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* make_list: {"method": ["pointer", ...], ..., "more": how many are not listed} */
static Jsonb *
make_list(const SnTrail *trail)
{
	JsonbParseState *state = NULL;
	int			method;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (method = SN_METHOD_SECRETS; method < SN_METHODS; method++)
		push_method(&state, trail, method);
	if (trail->count > SN_TRAIL_MAX)
	{
		JsonbValue	more = {.type = jbvNumeric};

		more.val.numeric = int64_to_numeric(trail->count - SN_TRAIL_MAX);
		push_text(&state, WJB_KEY, "more", 4);
		(void) pushJsonbValue(&state, WJB_VALUE, &more);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* keep_json: a copy that the set of rules owns, in place of one before */
static void
keep_json(SnRuleSet *set, Jsonb **place, const Jsonb *json)
{
	if (*place != NULL)
		pfree(*place);
	*place = NULL;
	*place = memcpy(MemoryContextAlloc(set->context, VARSIZE(json)), json,
					VARSIZE(json));
}

/* note_list: the list of an event, which the next ones may have, too */
static void
note_list(SnRuleSet *set, const SnTrail *trail)
{
	Jsonb	   *list = make_list(trail);
	Jsonb	   *alone = sn_json_put(sn_json_empty(), SN_REDACTED_NAME, list);

	set->last_count = 0;		/* none, in case there is no memory */
	if (set->last != NULL)
		pfree(set->last);
	set->last = NULL;
	set->last = memcpy(MemoryContextAlloc(set->context, trail->used),
					   trail->bytes, trail->used);
	keep_json(set, &set->last_list, list);
	keep_json(set, &set->last_alone, alone);
	set->last_used = trail->used;
	set->last_count = trail->count;
	pfree(list);
	pfree(alone);
}

/* sn_trail_put: metadata of its own, with the list of what was redacted */
Jsonb *
sn_trail_put(SnRuleSet *set, const SnTrail *trail, Jsonb *metadata)
{
	if (set->last_count != trail->count || set->last_used != trail->used ||
		memcmp(set->last, trail->bytes, trail->used) != 0)
		note_list(set, trail);
	if (JB_ROOT_COUNT(metadata) > 0)
		return sn_json_put(metadata, SN_REDACTED_NAME, set->last_list);
	return memcpy(palloc(VARSIZE(set->last_alone)), set->last_alone,
				  VARSIZE(set->last_alone));
}
