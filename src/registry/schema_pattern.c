/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_pattern.c
 *		The regular expressions of JSON Schema, run in time that is bounded by
 *		the length of the text.
 *
 * They are translated to the server's advanced expressions (schema_translate.c)
 * and run by its engine: an automaton, which never goes back, so that (a+)+$
 * costs as much as a+$.  A look ahead or behind is a run of its own at every
 * place, and one in another is that at every place of each run of the other.  So
 * looks are for short texts only: the compiler of schemas asks for a maxLength
 * beside them.  What a run may cost is known before it begins.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/memutils.h"

#include "base/sqlstate.h"
#include "registry/schema_automaton.h"
#include "registry/schema_pattern.h"
#include "registry/schema_translate.h"

#define SIZE_OF_ANY	100			/* of what every automaton has */
#define STEPS_PER_LOOKUP 4		/* characters for a step, by a table */
#define SIZE_STEP	64			/* of an automaton that costs as much as a character */

struct SnPattern
{
	regex_t		regex;
	SnAutomaton *automaton;		/* NULL: the engine has to run it */
	int			looks;			/* ahead or behind, one in the other; 0: none */
	double		size;			/* of the automaton, in arcs */
	MemoryContextCallback release;
};

/* release: what a compiled expression has outside its memory context */
static void
release(void *pattern)
{
	pg_regfree(&((SnPattern *) pattern)->regex);
}

/*
 * sn_pattern_compile: a pattern that lives as long as cxt, or NULL and why it
 * cannot be.
 */
SnPattern *
sn_pattern_compile(const char *text, int len, MemoryContext cxt,
				   const char **why)
{
	SnTranslated t;
	SnPattern  *pattern;
	pg_wchar   *wide;
	int			nwide;
	int			result;
	MemoryContext old;

	sn_pattern_translate(text, len, &t);
	*why = t.why;
	if (t.why != NULL)
		return NULL;
	wide = palloc((t.out.len + 1) * sizeof(pg_wchar));
	nwide = pg_mb2wchar_with_len(t.out.data, wide, t.out.len);
	pattern = MemoryContextAllocZero(cxt, sizeof(SnPattern));
	old = MemoryContextSwitchTo(cxt);
	result = pg_regcomp(&pattern->regex, wide, nwide,
						REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);
	MemoryContextSwitchTo(old);
	pfree(wide);
	pfree(t.out.data);
	if (result != REG_OKAY)
	{
		CHECK_FOR_INTERRUPTS();
		*why = result == REG_ETOOBIG || result == REG_ESPACE ?
			"is too large to be run in bounded time" : "is not one";
		return NULL;
	}
	pattern->looks = t.looks;
	pattern->size = t.arcs;
	pattern->release.func = release;
	pattern->release.arg = pattern;
	MemoryContextRegisterResetCallback(cxt, &pattern->release);
	pattern->automaton = sn_automaton_make(&pattern->regex, cxt);
	return pattern;
}

/* sn_pattern_size: what it takes of memory, in characters that it matches */
double
sn_pattern_size(const SnPattern *pattern)
{
	return pattern->size + SIZE_OF_ANY;
}

/* sn_pattern_looks_around: whether it has to be run on short texts only */
bool
sn_pattern_looks_around(const SnPattern *pattern)
{
	return pattern->looks > 0;
}

/* sn_pattern_cost: what a run on a text of so many bytes may cost, in steps */
double
sn_pattern_cost(const SnPattern *pattern, int len)
{
	double		once = (double) len + 16;
	double		cost = once;
	int			i;

	if (pattern->automaton != NULL)
		return once / STEPS_PER_LOOKUP;
	for (i = 0; i < pattern->looks; i++)
		cost *= once;
	return cost * (1 + pattern->size / SIZE_STEP);
}

/* run_engine: whether a part of the text matches, as the server says */
static bool
run_engine(const SnPattern *pattern, const char *text, int len)
{
	pg_wchar	place[256];
	pg_wchar   *wide = len < lengthof(place) ? place :
		palloc((Size) (len + 1) * sizeof(pg_wchar));
	int			nwide = pg_mb2wchar_with_len(text, wide, len);
	int			result = pg_regexec(unconstify(regex_t *, &pattern->regex),
									wide, nwide, 0, NULL, 0, NULL, 0);

	if (wide != place)
		pfree(wide);
	CHECK_FOR_INTERRUPTS();
	if (result != REG_OKAY && result != REG_NOMATCH)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("a pattern of the schema could not be run"),
				 errhint("Ask for less with one pattern.")));
	return result == REG_OKAY;
}

/* sn_pattern_matches: whether a part of the text matches */
bool
sn_pattern_matches(const SnPattern *pattern, const char *text, int len)
{
	bool		result;

	if (pattern->automaton == NULL)
		return run_engine(pattern, text, len);
	result = sn_automaton_matches(pattern->automaton, text, len);
	Assert(result == run_engine(pattern, text, len));
	return result;
}
