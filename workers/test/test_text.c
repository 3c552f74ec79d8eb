/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_text.c
 *	  JSON writing and UTF-8 cleaning.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent.h"
#include "text.h"

static void
test_growth(void **state)
{
	Text		text = {0};
	int			i;

	(void) state;
	for (i = 0; i < 10000; i++)
		text_add_bytes(&text, "abc", 3);
	assert_false(text.failed);
	assert_int_equal(text.length, 30000);
	assert_int_equal(strlen(text.data), 30000);
	assert_memory_equal(text.data + 29997, "abc", 4);
	text_free(&text);
}

static void
test_json_string(void **state)
{
	Text		text = {0};

	(void) state;
	text_add_json_string(&text, "a\"b\\c\nd\x01" "e\xc3\xa4");
	assert_string_equal(text.data,
						"\"a\\\"b\\\\c\\u000ad\\u0001e\xc3\xa4\"");
	text_free(&text);
}

/* Payloads go through untouched: numbers no C type can hold stay exact. */
static void
test_event(void **state)
{
	const AgentEvent event = {
		.token = "t", .event_id = "i", .event_type = "\"q\"",
		.tenant_id = "n", .payload = "{\"n\": 12345678901234567890.10}",
		.occurred_at = "o", .attempt = 2
	};
	size_t		length;
	char	   *json = agent_event_json(&event, &length);

	(void) state;
	assert_non_null(json);
	assert_int_equal(strlen(json), length);
	assert_string_equal(json,
						"{\"token\":\"t\",\"event_id\":\"i\","
						"\"event_type\":\"\\\"q\\\"\",\"tenant_id\":\"n\","
						"\"aggregate_type\":null,\"aggregate_id\":null,"
						"\"schema_version\":null,"
						"\"payload\":{\"n\": 12345678901234567890.10},"
						"\"metadata\":null,\"correlation_id\":null,"
						"\"causation_id\":null,\"occurred_at\":\"o\","
						"\"attempt\":2}\n");
	free(json);
}

static void
test_clean(void **state)
{
	static const struct
	{
		const char *in;
		const char *out;
	}			cases[] = {
		{"plain", "plain"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"a\tb\x1b[0m", "a b?[0m"},
		{"\xff\xfe", "??"},
		{"cut\xe2\x82", "cut??"},
		{"\xc0\xaf", "??"},			/* overlong */
		{"\xe0\x80\x80", "???"},
		{"\xed\xa0\x80", "???"},	/* surrogate */
		{"\xf4\x90\x80\x80", "????"},	/* above the last character */
	};
	char		buffer[100];
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		text_clean(buffer, sizeof(buffer), cases[i].in, strlen(cases[i].in));
		assert_string_equal(buffer, cases[i].out);
	}
	/* never half a character, never past the end */
	text_clean(buffer, 4, "ab\xc3\xa4", 4);
	assert_string_equal(buffer, "ab");
	text_clean(buffer, 5, "ab\xc3\xa4", 4);
	assert_string_equal(buffer, "ab\xc3\xa4");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_json_string),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_clean),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
