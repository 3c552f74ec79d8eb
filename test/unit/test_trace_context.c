/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_trace_context.c
 *		What W3C Trace Context takes for a traceparent and a tracestate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/trace_context.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

#define REST "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"

static void
test_traceparent(void **state)
{
	static const char *const bad[] = {
		"", "00", TRACE "x",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736+00f067aa0ba902b7-01"
	};
	size_t		i;

	(void) state;
	assert_true(sn_is_traceparent(TRACE));
	assert_false(sn_is_traceparent(NULL));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sn_is_traceparent(bad[i]))
			fail_msg("\"%s\" was taken", bad[i]);
}

/* What goes on of one that came. */
static void
test_parse(void **state)
{
	static const char *const forms[][2] = {
		{TRACE, TRACE},
		{"00" REST "ff", "00" REST "03"},
		{"00" REST "5a", "00" REST "02"},
		{"cc" REST "09-what comes", "00" REST "01"},
		{"01" REST "00", "00" REST "00"},
		{"cc" REST "01.what comes", NULL},
		{"ff" REST "01-what comes", NULL},
		{"00" REST "01-", NULL},
		{"00" REST "0", NULL},
		{"", NULL}
	};
	char		parent[SN_TRACEPARENT_LEN + 1];
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		bool		taken = sn_trace_parse(forms[i][0], strlen(forms[i][0]),
										   parent);

		if (taken != (forms[i][1] != NULL))
			fail_msg("\"%s\" was %staken", forms[i][0], taken ? "" : "not ");
		if (taken)
			assert_string_equal(parent, forms[i][1]);
	}
	/* the text need not end in a NUL */
	assert_true(sn_trace_parse(TRACE "x", strlen(TRACE), parent));
}

/* Forms of members. */
static void
test_tracestate(void **state)
{
	static const char *const good[] = {
		"k=v", "congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
		"a=1,,b=2", " a=1\t,\tb=2 ", "fw529a3039@dt=FfEAA", "0a_-*/@z=!",
		"a= v v", "a=~", "k=v,"
	};
	static const char *const bad[] = {
		"", " ", ",", "k", "k=", "=v", "k=v=w", "K=v", "_k=v", "k k=v",
		"k =v", "k=v w\t x", "k=\x01", "k=v\n", "k=caf\xc3\xa9", "a=1,a=2",
		"a=1,b=2,a=1", "a=1;b=2", "k=v\r\nevil: header"
	};
	size_t		i;

	(void) state;
	assert_false(sn_is_tracestate(NULL));
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!sn_is_tracestate(good[i]))
			fail_msg("\"%s\" was not taken", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sn_is_tracestate(bad[i]))
			fail_msg("\"%s\" was taken", bad[i]);
}

/* Lengths and numbers at their bounds. */
static void
test_bounds(void **state)
{
	char		text[700];
	int			i;

	(void) state;
	memset(text, 'a', sizeof(text));
	strcpy(text + 256, "=v");
	assert_true(sn_is_tracestate(text));
	memset(text, 'a', sizeof(text));
	strcpy(text + 257, "=v");
	assert_false(sn_is_tracestate(text));
	memset(text, 'a', sizeof(text));
	text[1] = '=';
	text[2 + 256] = '\0';
	assert_true(sn_is_tracestate(text));
	memset(text, 'a', sizeof(text));
	text[1] = '=';
	text[2 + 257] = '\0';
	assert_false(sn_is_tracestate(text));

	memset(text, ' ', sizeof(text));
	memcpy(text, "k=v,", 4);
	text[512] = '\0';
	assert_true(sn_is_tracestate(text));
	text[512] = ' ';
	text[513] = '\0';
	assert_false(sn_is_tracestate(text));

	text[0] = '\0';
	for (i = 0; i < 32; i++)
		sprintf(text + strlen(text), "k%d=v,", i);
	assert_true(sn_is_tracestate(text));
	strcat(text, "k=v");
	assert_false(sn_is_tracestate(text));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_traceparent),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_tracestate),
		cmocka_unit_test(test_bounds)
	};

	return cmocka_run_group_tests_name("trace_context", tests, NULL, NULL);
}
