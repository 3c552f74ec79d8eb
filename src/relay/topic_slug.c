/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * topic_slug.c
 *		The part of a topic's name that is a tenant's.
 *
 * Two tenants never have one slug, and no slug has a '.' or '_' in it: Kafka
 * takes these two for one character where names collide (topics "a.b" and "a_b"
 * exclude each other), and as a separator behind a slug they end it, so that
 * the prefix "acme." is one tenant's alone.
 *
 *		letters, digits		as they are
 *		'-'					as it is before a letter or digit
 *		any other byte		"--" and two hexadecimal digits
 *		too long			the beginning, "--h" and the SHA-256 of the tenant
 *
 * So "--" always begins one of the last two, and 'h' is no hexadecimal digit:
 * a slug has one tenant that it can be of.
 */
#include "relay/topic_slug.h"

#include <stdbool.h>
#include <string.h>

#include "base/sha256.h"

#define MARK		"--h"
#define DIGEST_LEN	(2 * SN_SHA256_LEN)
#define HEAD_MAX	(SN_TOPIC_SLUG_MAX - DIGEST_LEN - (sizeof(MARK) - 1))

static const char hex[] = "0123456789abcdef";

/* Is it a character that every slug may have anywhere? */
static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9');
}

/* Writes one byte of a tenant, which ends with NUL; how many it takes. */
static size_t
put_byte(char *out, const char *from)
{
	if (is_plain(from[0]) || (from[0] == '-' && is_plain(from[1])))
	{
		*out = from[0];
		return 1;
	}
	out[0] = out[1] = '-';
	out[2] = hex[(unsigned char) from[0] >> 4];
	out[3] = hex[(unsigned char) from[0] & 15];
	return 4;
}

/* The slug of a tenant that is too long, of which head bytes are there. */
static void
put_digest(const char *tenant, char *slug, size_t head)
{
	unsigned char digest[SN_SHA256_LEN];
	char	   *out = slug + head;
	int			i;

	memcpy(out, MARK, sizeof(MARK) - 1);
	out += sizeof(MARK) - 1;
	sn_sha256(tenant, strlen(tenant), digest);
	for (i = 0; i < SN_SHA256_LEN; i++)
	{
		*out++ = hex[digest[i] >> 4];
		*out++ = hex[digest[i] & 15];
	}
	*out = '\0';
}

/* The slug of a tenant. */
void
sn_topic_slug(const char *tenant, char slug[SN_TOPIC_SLUG_MAX + 1])
{
	char		part[4];
	size_t		used = 0;
	size_t		head = 0;
	const char *p;

	for (p = tenant; *p != '\0'; p++)
	{
		size_t		len = put_byte(part, p);

		if (used + len > SN_TOPIC_SLUG_MAX)
		{
			put_digest(tenant, slug, head);
			return;
		}
		memcpy(slug + used, part, len);
		used += len;
		/* a '-' at the end of the head would be part of the mark */
		if (used <= HEAD_MAX && slug[used - 1] != '-')
			head = used;
	}
	slug[used] = '\0';
}
