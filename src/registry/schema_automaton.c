/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_automaton.c
 *		A regular expression as a table: one look-up for each character.
 *
 * The server's engine makes its states anew in every run, and wants the text as
 * wide characters: some thousand instructions for a text of ten.  Most patterns
 * of schemas have few states.  These are made once here, from the automaton
 * with which the engine itself decides whether there is a match (its search
 * automaton, see shortest() in rege_dfa.c), and its classes of characters, the
 * colors.  What is too large, or looks around, stays with the engine.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regguts.h"
#include "utils/memutils.h"

#include "registry/schema_automaton.h"

#define STATES_MAX	64
#define COLORS_MAX	64
#define ARCS_MAX	2000		/* of the engine's automaton */
#define ASCII		128
#define BYTES_BETWEEN_INTERRUPTS 65536

/* The first two states have no way out. */
#define NEVER		0			/* matches, whatever comes */
#define MATCHED		1
#define START		2

struct SnAutomaton
{
	int			ncolors;
	struct colormap *colors;	/* of the engine's, for what is not ASCII */
	uint8		ascii[ASCII];	/* color of a character */
	bool		at_end[STATES_MAX]; /* whether a text that ends here matches */
	uint8		next[FLEXIBLE_ARRAY_MEMBER];	/* by state and color */
};

/* An automaton while it is made: a state is a set of the engine's states */
typedef struct Making
{
	const struct guts *guts;
	int			words;			/* of a set */
	int			nstates;
	uint64	   *sets;
	uint8		next[STATES_MAX * COLORS_MAX];
	bool		at_end[STATES_MAX];
} Making;

/* has_state: whether a set has one of the engine's states */
static inline bool
has_state(const uint64 *set, int state)
{
	return (set[state / 64] >> state % 64 & 1) != 0;
}

static inline void
put_state(uint64 *set, int state)
{
	set[state / 64] |= UINT64CONST(1) << state % 64;
}

/* next_set: all states that a color leads to; false when there are none */
static bool
next_set(const Making *m, const uint64 *from, color co, uint64 *to)
{
	const struct cnfa *cnfa = &m->guts->search;
	bool		pseudo = (m->guts->cmap.cd[co].flags & PSEUDO) != 0;
	bool		any = false;
	int			i;

	memset(to, 0, m->words * sizeof(uint64));
	for (i = 0; i < cnfa->nstates; i++)
	{
		const struct carc *arc;

		if (!has_state(from, i))
			continue;
		for (arc = cnfa->states[i]; arc->co != COLORLESS; arc++)
			if (arc->co == co || (arc->co == RAINBOW && !pseudo))
			{
				put_state(to, arc->to);
				any = true;
			}
	}
	return any;
}

/* state_of: the state that a set is, a new one perhaps; -1: there are too many */
static int
state_of(Making *m, const uint64 *set)
{
	int			i;

	if (has_state(set, m->guts->search.post))
		return MATCHED;
	for (i = START; i < m->nstates; i++)
		if (memcmp(&m->sets[i * m->words], set, m->words * sizeof(uint64)) == 0)
			return i;
	if (m->nstates == STATES_MAX)
		return -1;
	memcpy(&m->sets[m->nstates * m->words], set, m->words * sizeof(uint64));
	return m->nstates++;
}

/* follow_state: where a state leads to; false: to too many others */
static bool
follow_state(Making *m, int state, uint64 *to)
{
	const uint64 *from = &m->sets[state * m->words];
	const struct cnfa *cnfa = &m->guts->search;
	int			co;

	for (co = 0; co < cnfa->ncolors; co++)
	{
		int			number = next_set(m, from, co, to) ? state_of(m, to) : NEVER;

		if (number < 0)
			return false;
		m->next[state * cnfa->ncolors + co] = number;
	}
	m->at_end[state] = next_set(m, from, cnfa->eos[1], to) &&
		has_state(to, cnfa->post);
	return true;
}

/* make_states: all there are, from the one before the first character on */
static bool
make_states(Making *m)
{
	const struct cnfa *cnfa = &m->guts->search;
	uint64	   *from = palloc0(m->words * sizeof(uint64));
	uint64	   *to = palloc0(m->words * sizeof(uint64));
	int			i;

	put_state(from, cnfa->pre);
	if (!next_set(m, from, cnfa->bos[1], to) || state_of(m, to) != START)
		return false;
	for (i = START; i < m->nstates; i++)
		if (!follow_state(m, i, from))
			return false;
	return true;
}

/* is_small: whether it is worth a try */
static bool
is_small(const struct cnfa *cnfa)
{
	int			arcs = 0;
	int			i;

	if (cnfa->nstates == 0 || (cnfa->flags & (HASLACONS | MATCHALL)) != 0 ||
		cnfa->ncolors > COLORS_MAX)
		return false;
	for (i = 0; i < cnfa->nstates && arcs <= ARCS_MAX; i++)
	{
		const struct carc *arc;

		for (arc = cnfa->states[i]; arc->co != COLORLESS; arc++)
			arcs++;
	}
	return arcs <= ARCS_MAX;
}

/* write_table: the table of what was made */
static SnAutomaton *
write_table(const Making *m, MemoryContext cxt)
{
	int			ncolors = m->guts->search.ncolors;
	Size		size = m->nstates * ncolors;
	SnAutomaton *a = MemoryContextAlloc(cxt, offsetof(SnAutomaton, next) + size);
	int			c;

	a->ncolors = ncolors;
	a->colors = unconstify(struct colormap *, &m->guts->cmap);
	for (c = 0; c < ASCII; c++)
		a->ascii[c] = GETCOLOR(a->colors, c);
	memcpy(a->at_end, m->at_end, sizeof(a->at_end));
	memcpy(a->next, m->next, size);
	return a;
}

/*
 * sn_automaton_make: the table of a compiled expression, which has to stay, or
 * NULL when it would be too large.
 */
SnAutomaton *
sn_automaton_make(const regex_t *regex, MemoryContext cxt)
{
	const struct guts *guts = (const struct guts *) regex->re_guts;
	MemoryContext work;
	MemoryContext old;
	SnAutomaton *result = NULL;
	Making	   *m;

	if (!is_small(&guts->search))
		return NULL;
	work = AllocSetContextCreate(CurrentMemoryContext, "sentinai automaton",
								 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	m = palloc0(sizeof(Making));
	m->guts = guts;
	m->words = (guts->search.nstates + 63) / 64;
	m->nstates = START;
	m->sets = palloc0(STATES_MAX * m->words * sizeof(uint64));
	m->at_end[MATCHED] = true;
	if (make_states(m))
		result = write_table(m, cxt);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return result;
}

/* run: go on from a state over some bytes, which are whole characters */
static int
run(const SnAutomaton *a, int state, const unsigned char *at,
	const unsigned char *end)
{
	while (at < end && state > MATCHED)
	{
		int			co;

		if (*at < ASCII)
			co = a->ascii[*at++];
		else
		{
			co = GETCOLOR(a->colors, utf8_to_unicode(at));
			at += pg_utf_mblen(at);
		}
		state = a->next[state * a->ncolors + co];
	}
	return state;
}

/* sn_automaton_matches: whether a part of a text, in UTF-8, matches */
bool
sn_automaton_matches(const SnAutomaton *automaton, const char *text, int len)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	int			state = START;

	while (end - at > BYTES_BETWEEN_INTERRUPTS && state > MATCHED)
	{
		const unsigned char *stop = at + BYTES_BETWEEN_INTERRUPTS;

		while ((*stop & 0xC0) == 0x80)
			stop--;
		CHECK_FOR_INTERRUPTS();
		state = run(automaton, state, at, stop);
		at = stop;
	}
	return automaton->at_end[run(automaton, state, at, end)];
}
