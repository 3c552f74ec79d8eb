/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact.c
 *		Redaction of what is published and of what is said about it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/compat.h"
#include "base/json_size.h"
#include "redact/redact.h"
#include "redact/redact_walk.h"

#define ERROR_MAX	(64 * 1024) /* bytes of an error text that are looked at */

/* What was done to the payload of the event at hand */
static SnRuleSet *current = NULL;
static int	payload_count = 0;
static int	payload_used = 0;
static SnTrail trail;

/* begin_event: the rules of an event, of which nothing is redacted yet */
static bool
begin_event(const text *tenant_id, const text *event_type)
{
	trail.count = trail.used = payload_count = payload_used = 0;
	current = NULL;				/* in case there is an error */
	current = sn_ruleset_of(tenant_id, event_type);
	return current != NULL;
}

/*
 * sn_redact_payload: the payload of an event as it is to be stored; the same
 * when no rule concerns it.
 */
Jsonb *
sn_redact_payload(const text *tenant_id, const text *event_type,
				  Jsonb *payload, Size max)
{
	Jsonb	   *result = NULL;

	if (!begin_event(tenant_id, event_type))
		return payload;
	if (current->payload != 0)
		result = sn_redact_walk(current, SN_ROOT_PAYLOAD, payload, tenant_id,
								max, &trail);
	payload_count = trail.count;
	payload_used = trail.used;
	return result == NULL ? payload : result;
}

/*
 * sn_redact_surely_fits: whether the payload that was redacted last is neither too
 * deep nor more than so many bytes as text, as it can be told without reading it:
 * its numbers are those that it had or come from rules.  text_before: how much
 * text it was, at most.
 */
bool
sn_redact_surely_fits(const Jsonb *payload, Size text_before, Size max_text)
{
	return VARSIZE(payload) <= SN_JSON_DEPTH_MAX * SN_JSON_LEVEL_SIZE &&
		text_before + VARSIZE(payload) * SN_JSON_ESCAPE_MAX +
		(Size) payload_count * SN_REPLACEMENT_MAX <= max_text;
}

/*
 * sn_redact_metadata: the same for metadata, with the list of what was redacted
 * in both.  It is for the event whose payload was redacted last, and can be
 * asked again with other metadata.
 */
Jsonb *
sn_redact_metadata(const text *tenant_id, Jsonb *metadata, Size max)
{
	Jsonb	   *result = NULL;

	if (current == NULL)
		return metadata;
	trail.count = payload_count;
	trail.used = payload_used;
	if (current->metadata != 0)
		result = sn_redact_walk(current, SN_ROOT_METADATA, metadata,
								tenant_id, max, &trail);
	if (trail.count == 0)
		return metadata;
	if (result != NULL)
		metadata = result;
	return sn_trail_put(current, &trail, metadata);
}

/* constant_text: what "$error" is replaced with, which is a string */
static text *
constant_text(const SnEffect *effect)
{
	if (effect->method == SN_METHOD_REMOVE)
		return cstring_to_text(SN_REDACT_TEXT);
	return cstring_to_text_with_len(effect->with->val.string.val,
									effect->with->val.string.len);
}

/* redact_text: a text as a method makes it */
static text *
redact_text(const text *tenant_id, const SnEffect *effect, const text *given)
{
	int			len = VARSIZE_ANY_EXHDR(given);
	SnOut		out;
	bool		changed;

	if (len > ERROR_MAX)
		len = pg_mbcliplen(VARDATA_ANY(given), len, ERROR_MAX);
	sn_out_begin(&out, len + 64, MaxAllocSize);
	sn_redact_string(&out, tenant_id, effect, VARDATA_ANY(given), len,
					 &changed);
	return (text *) sn_out_end(&out);
}

/*
 * sn_redact_error: a text about an event, as it is to be stored.  Secrets that
 * a rule looks for anywhere in the event are looked for here, too.
 */
text *
sn_redact_error(const text *tenant_id, const text *event_type, text *error)
{
	SnEffect	effect;

	if (!begin_event(tenant_id, event_type))
		return error;
	effect = current->text;
	if (effect.method >= SN_METHOD_REPLACE)
		return constant_text(&effect);
	if (effect.method == SN_METHOD_NONE)
	{
		if (current->text_kinds == 0)
			return error;
		effect.method = SN_METHOD_SECRETS;
	}
	effect.kinds = current->text_kinds;
	return redact_text(tenant_id, &effect, error);
}

/*
 * sn_redact_note: what a person says about an event, of which secrets are not
 * stored.  It is evidence, so no other rule is for it.  note may be NULL.
 */
text *
sn_redact_note(const text *tenant_id, const text *event_type, text *note)
{
	SnEffect	effect = {SN_METHOD_SECRETS};

	if (sn_no_redactions || note == NULL ||
		!begin_event(tenant_id, event_type) || current->text_kinds == 0)
		return note;
	effect.kinds = current->text_kinds;
	return redact_text(tenant_id, &effect, note);
}

/* same_bytes: whether two values have the same bytes */
static bool
same_bytes(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * redact_stored: an event that may be redacted already, in which case it and the
 * list of what was done stay as they are.
 */
static void
redact_stored(const text *tenant_id, const text *event_type, Datum *payload,
			  Datum *metadata)
{
	Jsonb	   *old_payload = DatumGetJsonbP(*payload);
	Jsonb	   *old_metadata = DatumGetJsonbP(*metadata);
	Jsonb	   *bare = sn_json_put(old_metadata, SN_REDACTED_NAME, NULL);
	Jsonb	   *new_payload = sn_redact_payload(tenant_id, event_type,
												old_payload, MaxAllocSize);
	Jsonb	   *new_metadata = sn_redact_metadata(tenant_id, bare,
												  MaxAllocSize);

	if (same_bytes(new_payload, old_payload) &&
		same_bytes(sn_json_put(new_metadata, SN_REDACTED_NAME, NULL), bare))
		return;
	*payload = JsonbPGetDatum(new_payload);
	*metadata = JsonbPGetDatum(new_metadata);
}

/*
 * sn_redact_copy: an event that may have been stored before its rules, where it
 * is copied to.  What nobody can read, as it is too deep or too large, is left
 * out.
 */
void
sn_redact_copy(const text *tenant_id, const text *event_type, Datum *payload,
			   Datum *metadata)
{
	Datum		empty;

	if (!begin_event(tenant_id, event_type))
		return;
	if (sn_json_fit_stored(*payload) == SN_JSON_FITS &&
		sn_json_fit_stored(*metadata) == SN_JSON_FITS)
	{
		redact_stored(tenant_id, event_type, payload, metadata);
		return;
	}
	empty = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	if (current->payload != 0)
		*payload = empty;
	if (current->metadata != 0)
		*metadata = empty;
}
