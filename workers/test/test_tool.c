/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_tool.c
 *	  What the tool agent lets through: addresses, URLs, headers, secrets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"
#include "http_call.h"
#include "secret.h"

static void
test_public(void **state)
{
	static const char *const fine[] = {
		"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255",
		"172.32.0.0", "169.253.1.1", "192.167.1.1", "223.255.255.255",
		"2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8", NULL
	};
	static const char *const refused[] = {
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1",
		"127.0.0.1", "127.255.1.2", "169.254.169.254", "172.16.0.1",
		"172.31.255.255", "192.0.0.1", "192.168.1.1", "198.18.0.1",
		"224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1",
		"fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
		"::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
		"2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "4000::1",
		"localhost", "127.1", "0x7f.0.0.1", "2130706433", "", NULL
	};
	int			i;

	(void) state;
	for (i = 0; fine[i] != NULL; i++)
		if (!address_text_is_allowed(fine[i], ""))
			fail_msg("%s is refused", fine[i]);
	for (i = 0; refused[i] != NULL; i++)
		if (address_text_is_allowed(refused[i], ""))
			fail_msg("%s is allowed", refused[i]);
}

static void
test_networks(void **state)
{
	const char *networks = "10.1.0.0/16,127.0.0.1/32,fd00::/8,192.168.1.128/25";
	struct sockaddr_un path = {.sun_family = AF_UNIX};

	(void) state;
	assert_true(address_text_is_allowed("10.1.2.3", networks));
	assert_true(address_text_is_allowed("127.0.0.1", networks));
	assert_true(address_text_is_allowed("::ffff:127.0.0.1", networks));
	assert_true(address_text_is_allowed("fdff::1", networks));
	assert_true(address_text_is_allowed("192.168.1.128", networks));
	assert_false(address_text_is_allowed("192.168.1.127", networks));
	assert_false(address_text_is_allowed("10.2.0.1", networks));
	assert_false(address_text_is_allowed("127.0.0.2", networks));
	assert_false(address_text_is_allowed("fe80::1", networks));
	/* what is no network allows nothing */
	assert_false(address_text_is_allowed("10.0.0.1", "10.0.0.0"));
	assert_false(address_text_is_allowed("10.0.0.1", "10.0.0.0/"));
	assert_false(address_text_is_allowed("10.0.0.1", "10.0.0.0/33,::/0"));
	assert_false(address_text_is_allowed("10.0.0.1", "x/0,,/0"));
	assert_false(address_is_allowed((struct sockaddr *) &path, "0.0.0.0/0"));
}

/* start(): does a call of this URL begin, when this host was allowed? */
static bool
starts(const char *url, const char *host, const char *port)
{
	CURLM	   *multi = curl_multi_init();
	HttpCall	call = {
		.method = "GET", .url = url, .host = host, .port = port,
		.networks = "", .timeout = 1000
	};
	bool		started = http_call_start(&call, multi);

	assert_true(started || call.error != NULL);
	http_call_free(&call, multi);
	curl_multi_cleanup(multi);
	return started;
}

static void
test_urls(void **state)
{
	(void) state;
	assert_true(starts("https://example.com/x?y=z", "example.com", "443"));
	assert_true(starts("http://example.com:8080", "example.com", "8080"));
	assert_true(starts("http://[2606:4700::1]/", "[2606:4700::1]", "80"));
	assert_false(starts("https://example.com/", "example.org", "443"));
	assert_false(starts("https://example.com/", "example.com", "80"));
	assert_false(starts("https://example.com@evil.com/", "example.com", "443"));
	assert_false(starts("https://u:p@example.com/", "example.com", "443"));
	assert_false(starts("https://evil.com\\@example.com/", "example.com", "443"));
	assert_false(starts("http://0x7f.1/", "0x7f.1", "80"));
	assert_false(starts("http://2130706433/", "2130706433", "80"));
	assert_false(starts("http://127.1/", "127.1", "80"));
	assert_false(starts("example.com", "example.com", "443"));
	assert_false(starts("", "", ""));
}

static void
test_headers(void **state)
{
	HttpCall	call = {0};

	(void) state;
	assert_true(http_call_add_header(&call, "X-A", "b c"));
	assert_true(http_call_add_header(&call, "X-Empty", ""));
	assert_false(http_call_add_header(&call, "X-B", "c\r\nX-C: d"));
	assert_false(http_call_add_header(&call, "X-B\n", "c"));
	assert_string_equal(call.headers->data, "X-A: b c");
	assert_string_equal(call.headers->next->data, "X-Empty;");
	assert_null(call.headers->next->next);
	http_call_free(&call, NULL);
}

/* write_file(): a file of this mode in the folder of a tenant */
static void
write_file(const char *directory, const char *name, mode_t mode,
		   const char *text, size_t length)
{
	char		path[300];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%%2A/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void
test_secrets(void **state)
{
	char		directory[] = "/tmp/test_tool.XXXXXX";
	char		path[300];
	char		large[SECRET_MAX + 1];
	const char *error;
	char	   *secret;

	(void) state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/%%2A", directory);
	assert_int_equal(mkdir(path, 0700), 0);
	memset(large, 'x', sizeof(large));
	write_file(directory, "good", 0600, "Bearer abc\n", 11);
	write_file(directory, "open", 0604, "abc\n", 4);
	write_file(directory, "lines", 0600, "a\nb\n", 4);
	write_file(directory, "zero", 0600, "a\0b", 3);
	write_file(directory, "empty", 0600, "\n", 1);
	write_file(directory, "large", 0600, large, sizeof(large));

	secret = secret_read(directory, "*", "good", &error);
	assert_non_null(secret);
	assert_string_equal(secret, "Bearer abc");
	secret_free(secret);
	assert_null(secret_read(directory, "*", "open", &error));
	assert_null(secret_read(directory, "*", "lines", &error));
	assert_null(secret_read(directory, "*", "zero", &error));
	assert_null(secret_read(directory, "*", "empty", &error));
	assert_null(secret_read(directory, "*", "large", &error));
	assert_null(secret_read(directory, "*", "none", &error));
	assert_null(secret_read(directory, "*", "", &error));
	assert_null(secret_read(directory, "*", "../%2A/good", &error));
	assert_null(secret_read(directory, "%2A", "good", &error));
	assert_null(secret_read(directory, "x/../*", "good", &error));
	assert_null(secret_read(NULL, "*", "good", &error));
	assert_non_null(error);
	snprintf(path, sizeof(path), "rm -r %s", directory);
	assert_int_equal(system(path), 0);
}

static void
test_hide(void **state)
{
	char		text[] = "Bearer abcd, abcd, abc, abcdabcd";

	(void) state;
	secret_hide(text, strlen(text), "Bearer abcd");
	assert_string_equal(text, "***********, ****, abc, ********");
	secret_hide(text, strlen(text), "abc");
	assert_string_equal(text, "***********, ****, abc, ********");
	secret_hide(NULL, 0, "abcd");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public), cmocka_unit_test(test_networks),
		cmocka_unit_test(test_urls), cmocka_unit_test(test_headers),
		cmocka_unit_test(test_secrets), cmocka_unit_test(test_hide)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
