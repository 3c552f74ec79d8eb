/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_secret.c
 *		What in a text looks like a secret: tokens, private keys, card numbers.
 *
 * Each kind has a scanner written by hand.  A text is gone through once, and
 * what a scanner looks ahead is bounded or is left behind when it fails: the
 * time grows with the length of the text, and no faster.
 *
 * Pure C; the text is any bytes.
 */
#include "redact/redact_secret.h"

#include <string.h>

#define BEARER_GAP_MAX		8	/* bytes between the word and the token */
#define BEARER_MIN			8	/* of a token that has a digit */
#define BEARER_WORD_MIN		16	/* of one that has none */
#define JWT_PART_MIN		10	/* of the first two parts */
#define PEM_LABEL_MAX		64
#define PEM_DASHES			5
#define CARD_MIN			13	/* digits */
#define CARD_MAX			19
#define CARD_GROUP_MIN		3

const char *const sn_secret_kinds[SN_SECRET_KINDS] = {
	"bearer_token", "private_key", "card_number"
};

/* A text that is searched */
typedef struct Text
{
	const char *s;
	size_t		len;
} Text;

static bool
is_decimal(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alphabetic(char c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

/* is_word: what goes on with a word or a number */
static bool
is_word(char c)
{
	return is_decimal(c) || is_alphabetic(c) || c == '_';
}

/* is_url_base64: base64url, as in a JSON Web Token */
static bool
is_url_base64(char c)
{
	return is_word(c) || c == '-';
}

/* is_token: what a bearer token is made of, RFC 6750 */
static bool
is_token(char c)
{
	return is_url_base64(c) || (c != '\0' && strchr(".~+/=", c) != NULL);
}

/* begins_word: whether no word goes on at a place */
static bool
begins_word(const Text *t, size_t at)
{
	return at == 0 || !is_word(t->s[at - 1]);
}

/* stands: whether that word in lower case is at a place, in any case */
static bool
stands(const Text *t, size_t at, const char *word)
{
	size_t		i;

	for (i = 0; word[i] != '\0'; i++)
		if (at + i >= t->len || (t->s[at + i] | 0x20) != word[i])
			return false;
	return true;
}

/* gap_at: how many bytes of what may stand between the word and the token */
static size_t
gap_at(const Text *t, size_t at)
{
	static const char *const gaps[] = {"\xC2\xA0", "%20"};
	int			i;

	if (at < t->len && t->s[at] != '\0' &&
		strchr(" \t\r\n:=\"'", t->s[at]) != NULL)
		return 1;
	for (i = 0; i < 2; i++)
		if (at + strlen(gaps[i]) <= t->len &&
			memcmp(t->s + at, gaps[i], strlen(gaps[i])) == 0)
			return strlen(gaps[i]);
	return 0;
}

/* is_bearer: "Bearer" and a token, of which only the token is the secret */
static bool
is_bearer(const Text *t, size_t at, SnSecretSpan *span)
{
	size_t		p = at + strlen("bearer");
	size_t		first = p;
	size_t		gap;
	bool		digit = false;

	if (!begins_word(t, at) || !stands(t, at, "bearer"))
		return false;
	while (p - first < BEARER_GAP_MAX && (gap = gap_at(t, p)) > 0)
		p += gap;
	if (p == first)
		return false;
	span->from = p;
	for (; p < t->len && is_token(t->s[p]); p++)
		digit |= is_decimal(t->s[p]);
	span->to = p;
	return p - span->from >= (digit ? BEARER_MIN : BEARER_WORD_MIN);
}

/* is_jwt: a JSON Web Token, which begins with {" in base64 */
static bool
is_jwt(const Text *t, size_t at, SnSecretSpan *span)
{
	size_t		p = at;
	int			part;

	if (at + 3 > t->len || memcmp(t->s + at, "eyJ", 3) != 0 ||
		(at > 0 && is_url_base64(t->s[at - 1])))
		return false;
	for (part = 0; part < 5; part++)
	{
		size_t		first = p;

		while (p < t->len && is_url_base64(t->s[p]))
			p++;
		if (part < 2 && (p - first < JWT_PART_MIN || p == t->len ||
						 t->s[p] != '.'))
			return false;
		if (part == 4 || p == t->len || t->s[p] != '.')
			break;
		p++;
	}
	span->from = at;
	span->to = p;
	return true;
}

/* is_private_key: a private key as PEM, or what there is of it */
static bool
is_private_key(const Text *t, size_t at, SnSecretSpan *span)
{
	static const char begin[] = "-----BEGIN ";
	static const char end[] = "-----END ";
	size_t		label = at + sizeof(begin) - 1;
	size_t		p;
	const char *found;

	if (label > t->len || memcmp(t->s + at, begin, sizeof(begin) - 1) != 0)
		return false;
	for (p = label; p < t->len && p - label < PEM_LABEL_MAX; p++)
		if (t->s[p] == '-')
			break;
	if (memmem(t->s + label, p - label, "PRIVATE KEY", 11) == NULL)
		return false;
	span->from = at;
	span->to = t->len;
	found = memmem(t->s + p, t->len - p, end, sizeof(end) - 1);
	if (found == NULL)
		return true;
	label = (size_t) (found - t->s) + sizeof(end) - 1;
	for (p = label; p < t->len && p - label < PEM_LABEL_MAX; p++)
		if (t->s[p] == '-')
			break;
	for (label = p; p < t->len && p - label < PEM_DASHES && t->s[p] == '-';)
		p++;
	span->to = p;
	return true;
}

/* passes_luhn: the check digit of a card number, and how one may begin */
static bool
passes_luhn(const char *digits, int n)
{
	int			sum = 0;
	int			begins = 0;
	int			i;

	for (i = 0; i < 4; i++)
		begins = begins * 10 + (digits[i] - '0');
	if (begins < 3000 ? begins < 2221 || begins > 2720 : begins > 6999)
		return false;
	for (i = 0; i < n; i++)
	{
		int			digit = digits[n - 1 - i] - '0';

		if (i % 2 == 1)
			digit = digit > 4 ? 2 * digit - 9 : 2 * digit;
		sum += digit;
	}
	return sum % 10 == 0;
}

/*
 * is_fraction: whether a place is behind the point of a decimal number, which
 * has fewer digits before it than a card.  A comma is none: it separates the
 * fields of a line far more often.
 */
static bool
is_fraction(const Text *t, size_t at)
{
	size_t		before;

	if (at < 2 || t->s[at - 1] != '.')
		return false;
	for (before = 0; before < CARD_MIN && before < at - 1; before++)
		if (!is_decimal(t->s[at - 2 - before]))
			break;
	return before > 0 && before < CARD_MIN;
}

/* gap: the length of what may stand between groups of digits, or 0 */
static size_t
gap(const Text *t, size_t at)
{
	if (at + 1 < t->len && (memcmp(t->s + at, "\xc2\xa0", 2) == 0 ||
							memcmp(t->s + at, "  ", 2) == 0))
		return 2;				/* a space that does not break the line, or two */
	if (at < t->len && (t->s[at] == ' ' || t->s[at] == '-'))
		return 1;
	return 0;
}

/*
 * is_card: a card number, in groups of digits or without; the longest.  What
 * follows a point or a comma is not its matter: 4111111111111111.00 is one.
 */
static bool
is_card(const Text *t, size_t at, SnSecretSpan *span)
{
	char		digits[CARD_MAX];
	size_t		p = at;
	int			n = 0;
	bool		found = false;

	if (!begins_word(t, at))
		return false;
	for (;;)
	{
		size_t		first = p;

		for (; p < t->len && is_decimal(t->s[p]); p++)
		{
			if (n == CARD_MAX)
				return found;
			digits[n++] = t->s[p];
		}
		if (p - first < CARD_GROUP_MIN)
			return found;
		if (first == at && n >= CARD_MIN && is_fraction(t, at))
			return false;		/* fractions have no groups */
		if (n >= CARD_MIN && (p == t->len || !is_word(t->s[p])) &&
			passes_luhn(digits, n))
		{
			span->from = at;
			span->to = p;
			found = true;
		}
		if (gap(t, p) == 0)
			return found;
		p += gap(t, p);
	}
}

/*
 * sn_secret_next: the first secret of these kinds at or behind a place, or false.
 * Secrets do not overlap when each search begins where the one before ended.
 */
bool
sn_secret_next(const char *text, size_t len, unsigned int kinds, size_t at,
			   SnSecretSpan *span)
{
	Text		t = {text, len};

	for (; at < len; at++)
		switch (text[at])
		{
			case '-':
				if ((kinds & SN_SECRET_PRIVATE_KEY) != 0 &&
					is_private_key(&t, at, span))
					return true;
				break;
			case 'b':
			case 'B':
				if ((kinds & SN_SECRET_BEARER_TOKEN) != 0 &&
					is_bearer(&t, at, span))
					return true;
				break;
			case 'e':
				if ((kinds & SN_SECRET_BEARER_TOKEN) != 0 &&
					is_jwt(&t, at, span))
					return true;
				break;
			case '0':
			case '1':
			case '2':
			case '3':
			case '4':
			case '5':
			case '6':
			case '7':
			case '8':
			case '9':
				if ((kinds & SN_SECRET_CARD_NUMBER) != 0 &&
					is_card(&t, at, span))
					return true;
				while (at + 1 < len && is_decimal(text[at + 1]))
					at++;
				break;
		}
	return false;
}
