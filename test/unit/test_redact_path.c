/*-------------------------------------------------------------------------
 *
 * test_redact_path.c
 *	  Paths of redaction: what is one, what it means, and the form it is kept in.
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

#include <cmocka.h>

#include "redact/redact_path.h"

#define RANDOM_PATHS 200000

/* The form that a path is kept in, or what is wrong with it. */
static const char *
form_of(const char *text, size_t len)
{
	static char out[SN_PATH_TEXT_MAX + 1];
	SnPath		path;
	const char *why;

	if (!sn_path_parse(text, len, &path, &why))
	{
		assert_non_null(why);
		snprintf(out, sizeof(out), "! %s", why);
		return out;
	}
	assert_null(why);
	out[sn_path_format(&path, out)] = '\0';
	return out;
}

static void
keeps(const char *text, const char *form)
{
	assert_string_equal(form_of(text, strlen(text)), form);
}

static void
refuses(const char *text)
{
	const char *form = form_of(text, strlen(text));

	if (form[0] != '!')
		fail_msg("%s is taken as %s", text, form);
}

/* Every kind of step, and the spellings that are the same. */
static void
test_forms(void **state)
{
	(void) state;
	keeps("$", "$");
	keeps("$metadata", "$metadata");
	keeps("$error", "$error");
	keeps("$.customer.cards[*].number", "$.customer.cards[*].number");
	keeps("$..iban", "$..iban");
	keeps("$..*", "$..*");
	keeps("$.*", "$.*");
	keeps("$.a[0][12]", "$.a[0][12]");
	keeps("$[\"a\"]", "$.a");
	keeps("$['a']", "$.a");
	keeps("$.\"a\"", "$.a");
	keeps("$..\"a b\"", "$..\"a b\"");
	keeps("$['a b'].c", "$.\"a b\".c");
	keeps("$['it\\'s']", "$.\"it's\"");
	keeps("$[\"\"]", "$.\"\"");
	keeps("$.\"a\\\"b\\\\c\\/d\"", "$.\"a\\\"b\\\\c/d\"");
	keeps("$.\"\\u0061\\n\"", "$.\"a\\u000a\"");
	keeps("$.\"\\u00fc\"", "$.\xc3\xbc");
	keeps("$.\"\\ud83d\\ude00\"", "$.\xf0\x9f\x98\x80");
	keeps("$.first-name", "$.first-name");
	keeps("$metadata.user[*]", "$metadata.user[*]");
}

/* What is none. */
static void
test_refused(void **state)
{
	static const char *const wrong[] = {
		"", "a", ".a", "$$", "$a", "$metadatax", "$meta", "$.", "$..", "$...a",
		"$.a.", "$.a b", "$ .a", "$.a[", "$.a[]", "$.a[-1]", "$.a[01]",
		"$.a[1000000]", "$.a[99999999999999999999]", "$.a[1", "$.a[*", "$.a[b]",
		"$.a[1:2]", "$.a[?(@.b)]", "$.a[0,1]", "$..[0]", "$..[*]", "$[0]",
		"$[*].a", "$metadata[0]", "$.\"a", "$['a]", "$.\"\\x\"", "$.\"\\u12\"",
		"$.\"\\u0000\"", "$.\"\\ud800\"", "$.\"\\ude00\"", "$.\"\\ud83d\\u0041\"",
		"$.a()", "$.a?", "$error.a", "$error[0]", "$.a\n", "$.\"a\"b"
	};

	(void) state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refuses(wrong[i]);
	assert_string_equal(form_of("$.\"a\0b\"", 7), "! has a zero byte");
}

/* As long and as deep as can be, and one more. */
static void
test_bounds(void **state)
{
	char		text[SN_PATH_MAX + 2] = "$";

	(void) state;
	for (int i = 0; i < SN_PATH_STEPS_MAX; i++)
		strcat(text, ".a");
	keeps(text, text);
	strcat(text, ".a");
	refuses(text);
	memset(text, 'x', sizeof(text));
	memcpy(text, "$.", 2);
	assert_memory_equal(form_of(text, SN_PATH_MAX), text, SN_PATH_MAX);
	assert_int_equal(form_of(text, SN_PATH_MAX + 1)[0], '!');
	/* each byte takes six in the form that is kept */
	memset(text, '\x01', sizeof(text));
	memcpy(text, "$.\"", 3);
	text[SN_PATH_MAX - 1] = '"';
	assert_int_equal(strlen(form_of(text, SN_PATH_MAX)),
					 4 + 6 * (SN_PATH_MAX - 4));
}

/* Whatever is taken is kept in a form that means the same. */
static void
test_random(void **state)
{
	static const char letters[] = "$$$....[[]]**\"\"''\\\\uab09metadata-_ \xc3\xbc\x01";
	char		text[40];
	char		first[SN_PATH_TEXT_MAX + 1];
	int			taken = 0;

	(void) state;
	srandom(7);
	for (int i = 0; i < RANDOM_PATHS; i++)
	{
		size_t		len = (size_t) random() % sizeof(text);
		char	   *exact = malloc(len + 1);

		for (size_t k = 0; k < len; k++)
			text[k] = letters[(size_t) random() % (sizeof(letters) - 1)];
		if (len > 2)
			memcpy(text, random() % 2 ? "$.a" : "$.\"", 3 < len ? 3 : len);
		memcpy(exact, text, len);	/* so that reading behind it is seen */
		strcpy(first, form_of(exact, len));
		free(exact);
		if (first[0] == '!' || strlen(first) > SN_PATH_MAX)
			continue;
		taken++;
		assert_string_equal(form_of(first, strlen(first)), first);
	}
	assert_true(taken > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
