/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_automaton.h
 *		A regular expression as a table: one look-up for each character.
 */
#ifndef SN_SCHEMA_AUTOMATON_H
#define SN_SCHEMA_AUTOMATON_H

#include "postgres.h"

#include "regex/regex.h"

typedef struct SnAutomaton SnAutomaton;

extern SnAutomaton *sn_automaton_make(const regex_t *regex, MemoryContext cxt);
extern bool sn_automaton_matches(const SnAutomaton *automaton,
								 const char *text, int len);

#endif							/* SN_SCHEMA_AUTOMATON_H */
