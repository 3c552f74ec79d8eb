/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_format.c
 *		The keyword format of JSON Schema, as an assertion.
 *
 * Each function takes a text that is not terminated and says whether it has
 * the form that the standard named beside it gives.  Each reads its text once.
 */
#include <string.h>

#include "registry/schema_format.h"

/* A text that is read from the front */
typedef struct Reader
{
	const char *at;
	const char *end;
} Reader;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
	return is_digit(c) || (unsigned char) ((c | 0x20) - 'a') < 6;
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool
at_end(const Reader *r)
{
	return r->at == r->end;
}

/* take: pass a character of a set */
static bool
take(Reader *r, const char *set)
{
	if (at_end(r) || !is_one_of(*r->at, set))
		return false;
	r->at++;
	return true;
}

/* number: exactly n digits, between two bounds */
static bool
number(Reader *r, int n, int min, int max, int *result)
{
	int			value = 0;

	while (n-- > 0)
	{
		if (at_end(r) || !is_digit(*r->at))
			return false;
		value = value * 10 + (*r->at++ - '0');
	}
	if (result != NULL)
		*result = value;
	return value >= min && value <= max;
}

/* digits: how many are passed */
static int
digits(Reader *r)
{
	const char *start = r->at;

	while (!at_end(r) && is_digit(*r->at))
		r->at++;
	return (int) (r->at - start);
}

/* full_date: RFC 3339, section 5.6, with the days that months have */
static bool
full_date(Reader *r)
{
	static const char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			year;
	int			month;
	int			day;
	bool		leap;

	if (!number(r, 4, 0, 9999, &year) || !take(r, "-") ||
		!number(r, 2, 1, 12, &month) || !take(r, "-") ||
		!number(r, 2, 1, 31, &day))
		return false;
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return day <= days[month - 1] && (month != 2 || day < 29 || leap);
}

/* full_time: likewise; a leap second is the last one of a day in UTC */
static bool
full_time(Reader *r)
{
	int			hour;
	int			minute;
	int			second;
	int			offset_hour = 0;
	int			offset_minute = 0;
	int			sign = 0;
	int			utc;

	if (!number(r, 2, 0, 23, &hour) || !take(r, ":") ||
		!number(r, 2, 0, 59, &minute) || !take(r, ":") ||
		!number(r, 2, 0, 60, &second))
		return false;
	if (take(r, ".") && digits(r) == 0)
		return false;
	if (!take(r, "Zz"))
	{
		sign = take(r, "+") ? -1 : 1;
		if (sign == 1 && !take(r, "-"))
			return false;
		if (!number(r, 2, 0, 23, &offset_hour) || !take(r, ":") ||
			!number(r, 2, 0, 59, &offset_minute))
			return false;
	}
	utc = hour * 60 + minute + sign * (offset_hour * 60 + offset_minute);
	return second < 60 || (utc + 2 * 1440) % 1440 == 1439;
}

static bool
is_date(const char *text, size_t len)
{
	Reader		r = {text, text + len};

	return full_date(&r) && at_end(&r);
}

static bool
is_time(const char *text, size_t len)
{
	Reader		r = {text, text + len};

	return full_time(&r) && at_end(&r);
}

static bool
is_date_time(const char *text, size_t len)
{
	Reader		r = {text, text + len};

	return full_date(&r) && take(&r, "Tt") && full_time(&r) && at_end(&r);
}

/*
 * units: numbers with letters, in the order of the letters, without a gap
 * between the first and the last of them.  How many there are, or -1.
 */
static int
units(Reader *r, const char *letters)
{
	int			n = 0;
	const char *unit = NULL;

	while (!at_end(r) && is_digit(*r->at))
	{
		const char *found;

		digits(r);
		if (at_end(r) || !is_one_of(*r->at, letters))
			return -1;
		found = strchr(letters, *r->at++);
		if (unit != NULL && found != unit + 1)
			return -1;
		unit = found;
		n++;
	}
	return n;
}

/* is_duration: RFC 3339, appendix A */
static bool
is_duration(const char *text, size_t len)
{
	Reader		r = {text, text + len};
	Reader		weeks;
	int			n;

	if (!take(&r, "P"))
		return false;
	weeks = r;
	if (digits(&weeks) > 0 && take(&weeks, "W"))
		return at_end(&weeks);
	n = units(&r, "YMD");
	if (n < 0)
		return false;
	if (!take(&r, "T"))
		return n > 0 && at_end(&r);
	return units(&r, "HMS") > 0 && at_end(&r);
}

/* is_uuid: RFC 9562, section 4 */
static bool
is_uuid(const char *text, size_t len)
{
	static const char groups[] = {8, 13, 18, 23, 36};
	size_t		at = 0;
	size_t		i;

	if (len != 36)
		return false;
	for (i = 0; i < sizeof(groups); i++, at++)
	{
		for (; at < (size_t) groups[i]; at++)
			if (!is_hex(text[at]))
				return false;
		if (at < len && text[at] != '-')
			return false;
	}
	return true;
}

/* dotted: RFC 2673, section 3.2: four numbers without leading zeros */
static bool
dotted(Reader *r)
{
	int			i;

	for (i = 0; i < 4; i++)
	{
		const char *start;
		int			value = 0;

		if (i > 0 && !take(r, "."))
			return false;
		for (start = r->at; !at_end(r) && is_digit(*r->at) && r->at - start < 3; r->at++)
			value = value * 10 + (*r->at - '0');
		if (r->at == start || value > 255 || (*start == '0' && r->at - start > 1))
			return false;
	}
	return true;
}

static bool
is_ipv4(const char *text, size_t len)
{
	Reader		r = {text, text + len};

	return dotted(&r) && at_end(&r);
}

/* group: up to four hexadecimal digits */
static bool
group(Reader *r)
{
	const char *start = r->at;

	while (!at_end(r) && is_hex(*r->at) && r->at - start < 4)
		r->at++;
	return r->at > start;
}

/* is_ipv6: RFC 4291, section 2.2 */
static bool
is_ipv6(const char *text, size_t len)
{
	Reader		r = {text, text + len};
	int			groups = 0;
	bool		gap = false;

	if (len >= 2 && text[0] == ':' && text[1] == ':')
	{
		gap = true;
		r.at += 2;
	}
	while (!at_end(&r))
	{
		Reader		v4 = r;

		if (groups <= 6 && dotted(&v4) && at_end(&v4))
		{
			groups += 2;
			r = v4;
			break;
		}
		if (!group(&r) || ++groups > 8)
			return false;
		if (at_end(&r))
			break;
		if (!take(&r, ":") || at_end(&r))
			return false;
		if (*r.at == ':')
		{
			if (gap)
				return false;
			gap = true;
			r.at++;
		}
	}
	return gap ? groups < 8 : groups == 8;
}

/* is_host: RFC 1123, section 2.1: labels of letters, digits and hyphens */
static bool
is_host(const char *text, size_t len)
{
	size_t		label = 0;
	size_t		i;

	if (len == 0 || len > 253)
		return false;
	for (i = 0; i < len; i++)
	{
		if (text[i] == '.')
		{
			if (label == 0 || text[i - 1] == '-')
				return false;
			label = 0;
		}
		else if (++label > 63 || !(is_letter(text[i]) || is_digit(text[i]) ||
								   (text[i] == '-' && label > 1)))
			return false;
	}
	return label > 0 && text[len - 1] != '-';
}

#define ATOM_SPECIAL "!#$%&'*+-/=?^_`{|}~"

/* local_part: RFC 5321, section 4.1.2: a dotted or a quoted string */
static bool
local_part(const char *text, size_t len)
{
	size_t		i;

	if (len == 0 || len > 64)
		return false;
	if (text[0] == '"')
	{
		for (i = 1; i < len && text[i] != '"'; i++)
			if ((unsigned char) text[i] < ' ' || (unsigned char) text[i] > '~' ||
				(text[i] == '\\' && ++i == len))
				return false;
		return i == len - 1;
	}
	for (i = 0; i < len; i++)
		if (text[i] == '.' ? i == 0 || i == len - 1 || text[i - 1] == '.' :
			!is_letter(text[i]) && !is_digit(text[i]) &&
			!is_one_of(text[i], ATOM_SPECIAL))
			return false;
	return true;
}

/* is_email: RFC 5321, section 4.1.2 */
static bool
is_email(const char *text, size_t len)
{
	const char *at = NULL;
	const char *host;
	size_t		host_len;
	size_t		i;

	for (i = 0; i < len; i++)
		if (text[i] == '@')
			at = text + i;
	if (at == NULL || !local_part(text, at - text))
		return false;
	host = at + 1;
	host_len = len - (host - text);
	if (host_len < 2 || host[0] != '[' || host[host_len - 1] != ']')
		return is_host(host, host_len);
	if (host_len > 7 && memcmp(host, "[IPv6:", 6) == 0)
		return is_ipv6(host + 6, host_len - 7);
	return is_ipv4(host + 1, host_len - 2);
}

/* escaped: a percent sign and two hexadecimal digits */
static bool
escaped(Reader *r)
{
	if (r->end - r->at < 3 || *r->at != '%' || !is_hex(r->at[1]) ||
		!is_hex(r->at[2]))
		return false;
	r->at += 3;
	return true;
}

#define URI_UNRESERVED	"-._~"
#define URI_SUB_DELIMS	"!$&'()*+,;="

/* chars: all characters that a part of a URI may have, with more of a set */
static void
chars(Reader *r, const char *more)
{
	while (!at_end(r))
	{
		if (is_letter(*r->at) || is_digit(*r->at) ||
			is_one_of(*r->at, URI_UNRESERVED) ||
			is_one_of(*r->at, URI_SUB_DELIMS) || is_one_of(*r->at, more))
			r->at++;
		else if (!escaped(r))
			return;
	}
}

/* authority: RFC 3986, section 3.2: user, host and port */
static bool
authority(Reader *r)
{
	Reader		user = *r;

	chars(&user, ":");
	if (take(&user, "@"))
		*r = user;
	if (take(r, "["))
	{
		const char *start = r->at;
		bool		future;

		while (!at_end(r) && *r->at != ']')
			r->at++;
		future = r->at - start > 3 && is_one_of(*start, "vV") && is_hex(start[1]);
		if (at_end(r) || !(future || is_ipv6(start, r->at - start)))
			return false;
		r->at++;
	}
	else
		chars(r, "");
	if (take(r, ":"))
		digits(r);
	return at_end(r) || is_one_of(*r->at, "/?#");
}

/* is_uri: RFC 3986, section 3: with a scheme */
static bool
is_uri(const char *text, size_t len)
{
	Reader		r = {text, text + len};

	if (len == 0 || !is_letter(*r.at))
		return false;
	while (!at_end(&r) && (is_letter(*r.at) || is_digit(*r.at) ||
						   is_one_of(*r.at, "+-.")))
		r.at++;
	if (!take(&r, ":"))
		return false;
	if (r.end - r.at >= 2 && r.at[0] == '/' && r.at[1] == '/')
	{
		r.at += 2;
		if (!authority(&r))
			return false;
	}
	chars(&r, ":@/");
	if (take(&r, "?"))
		chars(&r, ":@/?");
	if (take(&r, "#"))
		chars(&r, ":@/?");
	return at_end(&r);
}

static const SnFormat formats[] = {
	{"date-time", is_date_time},
	{"date", is_date},
	{"time", is_time},
	{"duration", is_duration},
	{"uuid", is_uuid},
	{"email", is_email},
	{"hostname", is_host},
	{"uri", is_uri},
	{"ipv4", is_ipv4},
	{"ipv6", is_ipv6},
};

/* sn_format_find: the format of a name, or NULL */
const SnFormat *
sn_format_find(const char *name, size_t len)
{
	size_t		i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strlen(formats[i].name) == len && memcmp(formats[i].name, name, len) == 0)
			return &formats[i];
	return NULL;
}
