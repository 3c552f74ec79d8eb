/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * example_scalar.c
 *		Numbers and strings of an example: some that are likely to fit, each of
 *		which is checked.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "registry/example_make.h"

/* For patterns that look around: mostly they ask for some of each kind */
#define MIXTURE "Aa1-Bb2_Cc3"

/* What all rules together say of a number */
typedef struct Bounds
{
	Numeric		low;			/* each may be NULL */
	Numeric		high;
	Numeric		step;
} Bounds;

static Numeric
calculate(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

static Numeric
whole_number(int n)
{
	return DatumGetNumeric(DirectFunctionCall1(int4_numeric, Int32GetDatum(n)));
}

/* further: the one of two bounds, either of which may be NULL, that allows less */
static Numeric
further(PGFunction function, Numeric a, Numeric b)
{
	return a == NULL ? b : b == NULL ? a : calculate(function, a, b);
}

static Bounds
take_bounds(const SnRules *rules)
{
	Bounds		bounds = {0};
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		const SnNumberRule *rule = rules->nodes[i]->number;

		if (rule == NULL)
			continue;
		bounds.low = further(numeric_larger, bounds.low, rule->minimum);
		bounds.low = further(numeric_larger, bounds.low, rule->exclusive_minimum);
		bounds.high = further(numeric_smaller, bounds.high, rule->maximum);
		bounds.high = further(numeric_smaller, bounds.high, rule->exclusive_maximum);
		bounds.step = bounds.step == NULL || rule->multiple_of == NULL ?
			further(numeric_larger, bounds.step, rule->multiple_of) :
			calculate(numeric_lcm, bounds.step, rule->multiple_of);
	}
	return bounds;
}

/* on_grid: the multiple of step that is next to a number, above or below */
static Numeric
on_grid(Numeric number, Numeric step, PGFunction round_to)
{
	Numeric		times = calculate(numeric_div, number, step);

	times = DatumGetNumeric(DirectFunctionCall1(round_to, NumericGetDatum(times)));
	return calculate(numeric_mul, times, step);
}

/* give_number: a number, if it fits */
static bool
give_number(SnMaking *making, const SnRules *asked, Numeric number,
			StringInfo out)
{
	char	   *text;

	if (numeric_is_nan(number) || numeric_is_inf(number))
		return false;
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   DirectFunctionCall1(numeric_trim_scale,
																   NumericGetDatum(number))));
	if (strlen(text) > SN_EXAMPLE_TEXT_MAX ||
		!sn_example_fits(making, asked, text))
		return false;
	appendStringInfoString(out, text);
	return true;
}

/* sn_example_number: a number that fits */
bool
sn_example_number(SnMaking *making, const SnRules *asked, const SnRules *rules,
				  bool whole, StringInfo out)
{
	Bounds		bounds = take_bounds(rules);
	Numeric		one = whole_number(1);
	Numeric		step = bounds.step == NULL ? one :
		whole ? calculate(numeric_lcm, bounds.step, one) : bounds.step;
	Numeric		salt = calculate(numeric_mul, step, whole_number(making->salt));
	Numeric		from = bounds.low != NULL ? bounds.low : one;
	Numeric		up = calculate(numeric_add, on_grid(from, step, numeric_ceil), salt);
	Numeric		tries[6];
	int			n = 0;
	int			i;

	tries[n++] = up;
	tries[n++] = calculate(numeric_add, up, step);
	if (bounds.high != NULL)
	{
		Numeric		down = calculate(numeric_sub,
									 on_grid(bounds.high, step, numeric_floor),
									 salt);

		tries[n++] = down;
		tries[n++] = calculate(numeric_sub, down, step);
		if (bounds.low != NULL && !whole)
			tries[n++] = calculate(numeric_div,
								   calculate(numeric_add, bounds.low, bounds.high),
								   whole_number(2));
	}
	tries[n++] = whole_number(0);
	for (i = 0; i < n; i++)
		if (give_number(making, asked, tries[i], out))
			return true;
	return false;
}

/* give_string: a string, if it fits */
static bool
give_string(SnMaking *making, const SnRules *asked, const char *text,
			StringInfo out)
{
	int			start = out->len;

	escape_json(out, text);
	if (sn_example_fits(making, asked, out->data + start))
		return true;
	out->len = start;
	out->data[start] = '\0';
	return false;
}

/* of_format: a string of a format; salt makes another one */
static char *
of_format(const char *name, int salt)
{
	if (strcmp(name, "date-time") == 0)
		return psprintf("2026-01-31T12:%02d:00Z", salt % 60);
	if (strcmp(name, "date") == 0)
		return psprintf("2026-01-%02d", 1 + (salt + 30) % 31);
	if (strcmp(name, "time") == 0)
		return psprintf("12:%02d:00Z", salt % 60);
	if (strcmp(name, "duration") == 0)
		return psprintf("PT%dH", 1 + salt);
	if (strcmp(name, "uuid") == 0)
		return psprintf("019b76da-a800-7000-8000-%012d", 1 + salt);
	if (strcmp(name, "email") == 0)
		return salt == 0 ? pstrdup("name@example.com") :
			psprintf("name%d@example.com", salt);
	if (strcmp(name, "hostname") == 0)
		return salt == 0 ? pstrdup("example.com") :
			psprintf("host%d.example.com", salt);
	if (strcmp(name, "ipv4") == 0)
		return psprintf("192.0.2.%d", 1 + salt % 254);
	if (strcmp(name, "ipv6") == 0)
		return psprintf("2001:db8::%x", 1 + salt);
	return salt == 0 ? pstrdup("https://example.com/") :
		psprintf("https://example.com/%d", salt);
}

/* give_of_pattern: a string that one pattern matches, if it fits all rules */
static bool
give_of_pattern(SnMaking *making, const SnRules *asked, const SnNode *node,
				int64 least, StringInfo out)
{
	int			extra[] = {2, 0, 1, 4, Min(least, SN_EXAMPLE_TEXT_MAX)};
	StringInfoData text;
	JsonbValue	pattern;
	int			i;

	if (node->string == NULL || node->string->pattern == NULL ||
		getKeyJsonValueFromContainer(node->source, "pattern", 7, &pattern) == NULL)
		return false;
	initStringInfo(&text);
	for (i = 0; i < lengthof(extra); i++)
	{
		resetStringInfo(&text);
		if (sn_example_of_pattern(pattern.val.string.val, pattern.val.string.len,
								  extra[i], making->salt, &text) &&
			give_string(making, asked, text.data, out))
			return true;
	}
	pfree(text.data);
	return sn_pattern_looks_around(node->string->pattern) &&
		give_string(making, asked, MIXTURE, out);
}

/* plain_string: a word of a length that is asked for */
static char *
plain_string(int salt, int64 least, int64 most)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "text");
	if (salt > 0)
		appendStringInfo(&text, " %d", salt);
	while (text.len < Min(least, SN_EXAMPLE_TEXT_MAX))
		appendStringInfoChar(&text, 'x');
	if (most < text.len)
	{
		/* what differs stands at the end */
		memmove(text.data, text.data + text.len - most, most);
		text.data[most] = '\0';
	}
	return text.data;
}

/* sn_example_string: a string that fits */
bool
sn_example_string(SnMaking *making, const SnRules *asked, const SnRules *rules,
				  StringInfo out)
{
	int64		least = 0;
	int64		most = PG_INT32_MAX;
	int			i;

	for (i = 0; i < rules->n; i++)
	{
		const SnStringRule *rule = rules->nodes[i]->string;

		if (rule == NULL)
			continue;
		least = Max(least, rule->min_length);
		if (rule->max_length >= 0)
			most = Min(most, rule->max_length);
		if (rule->format != NULL &&
			give_string(making, asked, of_format(rule->format->name, making->salt),
						out))
			return true;
	}
	for (i = 0; i < rules->n; i++)
		if (give_of_pattern(making, asked, rules->nodes[i], least, out))
			return true;
	return give_string(making, asked, plain_string(making->salt, least, most),
					   out);
}
