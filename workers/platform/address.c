/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * address.c
 *	  Which addresses a webhook may be at.
 *
 * A name may lead anywhere, and somewhere else a moment later.  So what is
 * judged is the address that a connection is made to.  Public is what IANA's
 * registries of special addresses do not name; of IPv6 only what is given out
 * to networks (2000::/3).  An IPv4 address in an IPv6 one is judged as itself.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

/* Longest text of a network, as "ffff:…:255.255.255.255/128". */
#define MAX_NETWORK 64

/* An address as bytes: 4 or 16. */
typedef struct Bytes
{
	uint8_t		data[16];
	int			length;
} Bytes;

static const char special[] =
	"0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,"
	"172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,"
	"198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4,"
	/* Teredo and the like, documentation, and 6to4, which leads to any IPv4 */
	"2001::/23,2001:db8::/32,2002::/16,3fff::/20";

/* The bytes of an address; false for what is no IP. */
static bool
take_bytes(const struct sockaddr *address, Bytes *bytes)
{
	static const uint8_t mapped[12] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
	};

	if (address->sa_family == AF_INET)
	{
		bytes->length = 4;
		memcpy(bytes->data, &((const struct sockaddr_in *) (const void *)
							  address)->sin_addr, 4);
		return true;
	}
	if (address->sa_family != AF_INET6)
		return false;
	bytes->length = 16;
	memcpy(bytes->data, &((const struct sockaddr_in6 *) (const void *)
						  address)->sin6_addr, 16);
	if (memcmp(bytes->data, mapped, sizeof(mapped)) == 0)
	{
		memmove(bytes->data, bytes->data + 12, 4);
		bytes->length = 4;
	}
	return true;
}

/* Are the first bits of two addresses equal? */
static bool
has_prefix(const uint8_t *a, const uint8_t *b, int bits)
{
	int			whole = bits / 8;
	int			rest = bits % 8;

	return memcmp(a, b, (size_t) whole) == 0 &&
		(rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

/* Is the address in this network, as "10.0.0.0/8"?  No when it is none. */
static bool
is_in_network(const Bytes *bytes, const char *network, size_t length)
{
	char		text[MAX_NETWORK];
	char	   *slash;
	char	   *end;
	uint8_t		base[16];
	long		bits;

	if (length >= sizeof(text))
		return false;
	memcpy(text, network, length);
	text[length] = '\0';
	slash = strchr(text, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	bits = strtol(slash + 1, &end, 10);
	if (end == slash + 1 || *end != '\0' || bits < 0 || bits > 8 * bytes->length)
		return false;
	return inet_pton(bytes->length == 4 ? AF_INET : AF_INET6, text, base) == 1 &&
		has_prefix(bytes->data, base, (int) bits);
}

/* Is it in one of these networks, which are separated by commas? */
static bool
is_in_list(const Bytes *bytes, const char *networks)
{
	while (*networks != '\0')
	{
		size_t		length = strcspn(networks, ",");

		if (is_in_network(bytes, networks, length))
			return true;
		networks += length + (networks[length] == ',');
	}
	return false;
}

/* May anybody on the internet have this address? */
static bool
is_public(const struct sockaddr *address)
{
	Bytes		bytes;

	if (!take_bytes(address, &bytes) || is_in_list(&bytes, special))
		return false;
	return bytes.length == 4 || is_in_list(&bytes, "2000::/3");
}

/* Is it in one of the networks that are listed? */
static bool
is_among(const struct sockaddr *address, const char *networks)
{
	Bytes		bytes;

	return take_bytes(address, &bytes) && is_in_list(&bytes, networks);
}

/* May a webhook be there, with these networks beside the public ones? */
bool
address_is_allowed(const struct sockaddr *address, const char *networks)
{
	return is_public(address) || is_among(address, networks);
}

/* The same for an address as text. */
bool
address_text_is_allowed(const char *text, const char *networks)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return address_is_allowed((struct sockaddr *) &v4, networks);
	return inet_pton(AF_INET6, text, &v6.sin6_addr) == 1 &&
		address_is_allowed((struct sockaddr *) &v6, networks);
}
