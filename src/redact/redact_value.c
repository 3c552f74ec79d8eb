/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_value.c
 *		What the methods make of a text, a number or a boolean.
 *
 * To redact what is redacted changes nothing: an agent may publish what it was
 * given, and the same person still has the same hash.
 */
#include "postgres.h"

#include "utils/numeric.h"

#include "redact/redact_secret.h"
#include "redact/redact_walk.h"

#define HASH_PREFIX		"hmac-sha256:"
#define HASH_HEX_LEN	64
#define HASH_LEN		(sizeof(HASH_PREFIX) - 1 + HASH_HEX_LEN)
#define MASKED_BOOLEAN	"****"

/* is_hash: whether a text has the form of what hashing makes */
static bool
is_hash(const char *s, Size len)
{
	return len == HASH_LEN &&
		memcmp(s, HASH_PREFIX, sizeof(HASH_PREFIX) - 1) == 0 &&
		strspn(s + sizeof(HASH_PREFIX) - 1, "0123456789abcdef") >= HASH_HEX_LEN;
}

/* write_hash: a keyed hash of a text, in hexadecimal */
static void
write_hash(SnOut *out, const text *tenant_id, const char *s, Size len)
{
	char		hex[HASH_HEX_LEN];

	if (is_hash(s, len))
	{
		(void) sn_out_bytes(out, s, len);
		return;
	}
	sn_redact_hash(tenant_id, s, len, hex);
	(void) sn_out_bytes(out, HASH_PREFIX, sizeof(HASH_PREFIX) - 1);
	(void) sn_out_bytes(out, hex, HASH_HEX_LEN);
}

/* is_continued: a byte of a character that is not its first */
static bool
is_continued(char c)
{
	return ((unsigned char) c & 0xc0) == 0x80;
}

/*
 * write_mask: a star for each character but the last ones.  Of a short text no
 * more than half of it stays.
 */
static void
write_mask(SnOut *out, int keep, const char *s, Size len)
{
	Size		n = 0;
	Size		stays;
	Size		from = len;
	Size		i;

	for (i = 0; i < len; i++)
		n += !is_continued(s[i]);
	stays = Min((Size) keep, n / 2);
	for (i = 0; i < stays; i++)
		do
			from--;
		while (from > 0 && is_continued(s[from]));
	sn_out_reserve(out, n - stays + (len - from));
	memset(out->data + out->len, '*', n - stays);
	out->len += n - stays;
	(void) sn_out_bytes(out, s + from, len - from);
}

/* write_without_secrets: a text in which secrets are replaced; whether it had any */
static bool
write_without_secrets(SnOut *out, unsigned int kinds, const char *s, Size len)
{
	SnSecretSpan span;
	Size		at = 0;
	bool		found = false;

	while (sn_secret_next(s, len, kinds, at, &span))
	{
		(void) sn_out_bytes(out, s + at, span.from - at);
		(void) sn_out_bytes(out, SN_REDACT_TEXT, strlen(SN_REDACT_TEXT));
		at = span.to;
		found = true;
	}
	(void) sn_out_bytes(out, s + at, len - at);
	return found;
}

/* sn_redact_string: write a text as a method makes it */
void
sn_redact_string(SnOut *out, const text *tenant_id, const SnEffect *effect,
				 const char *s, Size len, bool *changed)
{
	*changed = true;
	switch (effect->method)
	{
		case SN_METHOD_HASH:
			write_hash(out, tenant_id, s, len);
			break;
		case SN_METHOD_MASK:
			write_mask(out, effect->keep, s, len);
			break;
		default:
			*changed = write_without_secrets(out, effect->kinds, s, len);
	}
}

/* as_text: what is masked or hashed of a number or a boolean */
static const char *
as_text(const JsonbValue *value, SnMethod method)
{
	if (value->type == jbvNumeric)
		return numeric_normalize(value->val.numeric);
	if (method == SN_METHOD_MASK)
		return MASKED_BOOLEAN;
	return value->val.boolean ? "true" : "false";
}

/*
 * sn_redact_scalar: write a value as a method makes it.  False when the method
 * does not concern it: null says nothing, and secrets are looked for in texts.
 */
bool
sn_redact_scalar(SnWalk *w, const SnEffect *effect, const SnJsonPlaces *p,
				 JEntry *entry)
{
	SnOut	   *out = &w->out;
	Size		before = out->len;
	const char *s = p->base + p->from;
	Size		len = p->to - p->from;
	bool		changed;

	if (!JBE_ISSTRING(p->entry))
	{
		JsonbValue	value;

		sn_json_value_at(p, &value);
		if (value.type == jbvNull || effect->method == SN_METHOD_SECRETS)
		{
			*entry = sn_out_scalar(out, &value);
			return false;
		}
		s = as_text(&value, effect->method);
		len = strlen(s);
	}
	sn_redact_string(out, w->tenant_id, effect, s, len, &changed);
	*entry = JENTRY_ISSTRING | (JEntry) (out->len - before);
	return changed;
}
