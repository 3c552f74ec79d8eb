/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_topic_slug.c
 *	  Tenants in names of topics: no two of them have one slug.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"
#include "relay/topic_slug.h"

static char slug[SN_TOPIC_SLUG_MAX + 1];

/* The digest as hexadecimal digits. */
static const char *
digest_of(const char *text, size_t len)
{
	static char out[2 * SN_SHA256_LEN + 1];
	unsigned char digest[SN_SHA256_LEN];
	int			i;

	sn_sha256(text, len, digest);
	for (i = 0; i < SN_SHA256_LEN; i++)
		sprintf(out + 2 * i, "%02x", digest[i]);
	return out;
}

/* Vectors of NIST, and lengths around the end of a block. */
static void
test_sha256(void **state)
{
	static char many[1000000];

	(void) state;
	assert_string_equal(digest_of("", 0),
						"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_string_equal(digest_of("abc", 3),
						"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
						"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(many, 'a', sizeof(many));
	assert_string_equal(digest_of(many, sizeof(many)),
						"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	assert_string_equal(digest_of(many, 55),
						"9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
	assert_string_equal(digest_of(many, 64),
						"ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

/* What tenants are mostly called stays as it is; the rest is escaped. */
static void
test_slugs(void **state)
{
	static const char *const pairs[][2] = {
		{"acme", "acme"}, {"Acme-EU-2", "Acme-EU-2"},
		{"01a22575-05a8-7da7-a599-66ddf05350f0", "01a22575-05a8-7da7-a599-66ddf05350f0"},
		{"a.b", "a--2eb"}, {"a_b", "a--5fb"}, {"a b", "a--20b"},
		{"a-", "a--2d"}, {"-a", "-a"}, {"a--b", "a--2d-b"}, {"a-.b", "a--2d--2eb"},
		{"a--2eb", "a--2d-2eb"}, {"..", "--2e--2e"}, {"\xc3\xa9", "--c3--a9"},
		{"", ""}
	};
	size_t		i;

	(void) state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		sn_topic_slug(pairs[i][0], slug);
		assert_string_equal(slug, pairs[i][1]);
	}
}

/* The tenant that a slug is of; what a slug is made by, the other way round. */
static void
read_slug(const char *from, char *out)
{
	while (*from != '\0')
	{
		if (from[0] == '-' && from[1] == '-')
		{
			char		digits[3] = {from[2], from[3], '\0'};

			*out++ = (char) strtol(digits, NULL, 16);
			from += 4;
		}
		else
			*out++ = *from++;
	}
	*out = '\0';
}

/* Every slug leads back to its tenant, whatever the tenant is made of. */
static void
test_back(void **state)
{
	static const char set[] = "-ab2dhe._-";
	unsigned	seed = 1;
	int			n;

	(void) state;
	for (n = 0; n < 200000; n++)
	{
		char		tenant[16];
		char		back[SN_TOPIC_SLUG_MAX + 1];
		int			len = n % 13;
		int			i;

		for (i = 0; i < len; i++)
		{
			seed = seed * 1103515245 + 12345;
			tenant[i] = set[(seed >> 16) % (sizeof(set) - 1)];
		}
		tenant[len] = '\0';
		sn_topic_slug(tenant, slug);
		assert_null(strpbrk(slug, "._"));
		assert_null(strstr(slug, "--h"));
		read_slug(slug, back);
		assert_string_equal(back, tenant);
	}
}

/* Long tenants have their digest, and room is left in the name. */
static void
test_long(void **state)
{
	char		tenant[257];
	char		other[SN_TOPIC_SLUG_MAX + 1];
	size_t		len;

	(void) state;
	for (len = 1; len < sizeof(tenant); len++)
	{
		memset(tenant, len % 2 ? '.' : 'x', len);
		memset(tenant, 'a', len / 2);
		tenant[len] = '\0';
		sn_topic_slug(tenant, slug);
		assert_true(strlen(slug) <= SN_TOPIC_SLUG_MAX);
		tenant[len - 1] = 'y';
		sn_topic_slug(tenant, other);
		assert_string_not_equal(slug, other);
	}
	memset(tenant, 'x', 256);
	tenant[256] = '\0';
	memset(tenant, '-', 40);
	sn_topic_slug(tenant, slug);
	assert_non_null(strstr(slug, "--h"));
	assert_string_equal(strstr(slug, "--h") + 3, digest_of(tenant, 256));
	memset(tenant, 'x', SN_TOPIC_SLUG_MAX);
	tenant[SN_TOPIC_SLUG_MAX] = '\0';
	sn_topic_slug(tenant, slug);
	assert_string_equal(slug, tenant);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_slugs),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests_name("topic_slug", tests, NULL, NULL);
}
