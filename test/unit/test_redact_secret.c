/*-------------------------------------------------------------------------
 *
 * test_redact_secret.c
 *	  What in a text is taken for a secret, and how long that takes.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "redact/redact_secret.h"

#define RANDOM_TEXTS	200000
#define LONG_TEXT		(8 * 1024 * 1024)
#define LONG_SECONDS	20		/* a square of the length would take days */

/* A text with # in place of each secret. */
static const char *
without_secrets(const char *text, size_t len, unsigned int kinds)
{
	static char out[4096];
	SnSecretSpan span;
	size_t		at = 0;
	size_t		n = 0;

	while (sn_secret_next(text, len, kinds, at, &span))
	{
		assert_true(span.from >= at && span.to > span.from && span.to <= len);
		memcpy(out + n, text + at, span.from - at);
		n += span.from - at;
		out[n++] = '#';
		at = span.to;
	}
	memcpy(out + n, text + at, len - at);
	out[n + len - at] = '\0';
	return out;
}

static void
becomes(const char *text, const char *expected)
{
	assert_string_equal(without_secrets(text, strlen(text), SN_SECRET_ALL),
						expected);
}

static void
stays(const char *text)
{
	becomes(text, text);
}

static void
test_cards(void **state)
{
	(void) state;
	becomes("4111111111111111", "#");
	becomes("pay 4111 1111 1111 1111, now", "pay #, now");
	becomes("4111-1111-1111-1111.", "#.");
	becomes("4111\xc2\xa0" "1111\xc2\xa0" "1111\xc2\xa0" "1111", "#");
	becomes("3782 822463 10005", "#");
	becomes("6011000990139424 and 5555555555554444", "# and #");
	becomes("2223003122003222", "#");
	becomes("4222222222222", "#");
	becomes("4111 1111 1111 1111 12/27", "# 12/27");
	becomes("2024 4111 1111 1111 1111 999", "2024 # 999");
	becomes("\xc3\xbc" "4111111111111111\xc3\xbc", "\xc3\xbc#\xc3\xbc");
	becomes("4111  1111  1111  1111", "#");
	/* fields of a line, and amounts */
	becomes("4111111111111111,12/27,123", "#,12/27,123");
	becomes("4111111111111111,5555555555554444", "#,#");
	becomes("12,4111111111111111,5", "12,#,5");
	becomes("4111111111111111.00", "#.00");
	becomes("4111 1111 1111 1111.5", "#.5");
	becomes("4111111111111111.5555555555554444", "#.#");
	becomes("7.4111 1111 1111 1111", "7.#");	/* fractions have no groups */
	becomes(".4111111111111111", ".#");
	stays("0.4111111111111111");
	stays("-123456789012.4111111111111111");
	stays("0.4111111111111111 123");
	stays("4111111111111112");	/* the check digit */
	stays("41111111111111110000000");	/* too long */
	stays("411111111111");		/* too short */
	stays("0000000000000000");
	stays("1111111111111117");	/* no card begins with 1 */
	stays("a4111111111111111");
	stays("4111111111111111f");
	stays("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1");
	stays("4111   1111 1111 1111");
}

static void
test_tokens(void **state)
{
	(void) state;
	becomes("Authorization: Bearer abcdef0123456789", "Authorization: Bearer #");
	becomes("BEARER   a.b~c+d/e=f1==", "BEARER   #");
	becomes("bearer=\"abcdefgh1\"", "bearer=\"#\"");
	becomes("Bearer\r\n abcdefgh1", "Bearer\r\n #");
	becomes("Bearer\xC2\xA0" "abcdefgh1", "Bearer\xC2\xA0#");
	becomes("?auth=Bearer%20abcdefgh1&x=1", "?auth=Bearer%20#&x=1");
	becomes("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_9 y", "x # y");
	becomes("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.", "#");
	becomes("eyJhbGciOiJIUzI1NiJ9.QR1Owv2ug2WyPBnbQrRARTeEk9kDO2w8.i.j.k", "#");
	stays("a bearer of bad news");
	stays("the bearer authentication");
	stays("forbearer abcdef0123456789");
	stays("bearer");
	stays("Bearer ");
	stays("Bearer abc1");
	stays("eyJhbGciOiJIUzI1NiJ9");
	stays("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi");
	stays("keyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc");
}

static void
test_keys(void **state)
{
	(void) state;
	becomes("a -----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY----- b",
			"a # b");
	becomes("-----BEGIN RSA PRIVATE KEY-----\\nMII\\n-----END RSA PRIVATE KEY-----",
			"#");
	becomes("-----BEGIN PGP PRIVATE KEY BLOCK-----x-----END PGP PRIVATE KEY BLOCK-----",
			"#");
	becomes("x-----BEGIN EC PRIVATE KEY-----MHc", "x#");	/* cut off */
	becomes("-----BEGIN PRIVATE KEY-----a-----END PRIVATE KEY----------BEGIN PRIVATE KEY-----b",
			"##");
	stays("-----BEGIN PUBLIC KEY-----\nMII=\n-----END PUBLIC KEY-----");
	stays("-----BEGIN CERTIFICATE-----");
	stays("-----BEGIN ");
}

/* Only what is asked for is looked for. */
static void
test_kinds(void **state)
{
	const char *text = "4111111111111111 Bearer abcdefgh1 -----BEGIN PRIVATE KEY-----";

	(void) state;
	assert_string_equal(without_secrets(text, strlen(text), SN_SECRET_CARD_NUMBER),
						"# Bearer abcdefgh1 -----BEGIN PRIVATE KEY-----");
	assert_string_equal(without_secrets(text, strlen(text), SN_SECRET_BEARER_TOKEN),
						"4111111111111111 Bearer # -----BEGIN PRIVATE KEY-----");
	assert_string_equal(without_secrets(text, strlen(text), SN_SECRET_PRIVATE_KEY),
						"4111111111111111 Bearer abcdefgh1 #");
	assert_string_equal(without_secrets(text, strlen(text), 0), text);
}

/* Random texts of what secrets are made of: nothing behind the end is read. */
static void
test_random(void **state)
{
	static const char *const pieces[] = {
		"4111", "1111 ", "-----", "BEGIN ", "END ", "PRIVATE KEY", "Bearer", " ", ",",
		"eyJ", "abcdefghij", ".", "0", "9", "\xc2\xa0", "\xc2", "b", "e"
	};
	char		text[256];

	(void) state;
	srandom(11);
	for (int i = 0; i < RANDOM_TEXTS; i++)
	{
		size_t		len = 0;
		char	   *exact;

		while (len < 200 && random() % 12 != 0)
			len += (size_t) sprintf(text + len, "%s",
									pieces[(size_t) random() % (sizeof(pieces) / sizeof(pieces[0]))]);
		exact = malloc(len + 1);
		memcpy(exact, text, len);
		(void) without_secrets(exact, len, SN_SECRET_ALL);
		free(exact);
	}
}

/* A piece, again and again: the time grows with the length. */
static void
test_long(void **state)
{
	static const char *const pieces[] = {
		"411 ", "411  ", "4111-", "4111,", "4111111111111.", "4111111111111111,",
		"5", "-", "-----BEGIN ", "-----BEGIN PRIVATE KEY",
		"Bearer ", "bearer a ", "eyJ.", "eyJaaaaaaaaaa.", "eyJaaaaaaaaaa.eyJ.", "b"
	};
	char	   *text = malloc(LONG_TEXT);

	(void) state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
	{
		size_t		n = strlen(pieces[i]);
		SnSecretSpan span;
		size_t		at = 0;
		clock_t		began = clock();

		for (size_t k = 0; k < LONG_TEXT; k++)
			text[k] = pieces[i][k % n];
		while (sn_secret_next(text, LONG_TEXT, SN_SECRET_ALL, at, &span))
			at = span.to;
		if ((clock() - began) / CLOCKS_PER_SEC > LONG_SECONDS)
			fail_msg("\"%s\" takes too long", pieces[i]);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cards),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
