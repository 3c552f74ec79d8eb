/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * names.h
 *		Sets of names: of event types, of tenants.
 */
#ifndef SN_NAMES_H
#define SN_NAMES_H

#include "postgres.h"

/* A sorted set of names; n < 0: all there are */
typedef struct SnNames
{
	int			n;
	text	  **names;
} SnNames;

extern void sn_names_of(Datum *elems, int n, SnNames *names);
extern void sn_names_read(Datum datum, bool isnull, SnNames *names);
extern Datum sn_names_array(const SnNames *names, bool *isnull);
extern char *sn_names_string(const SnNames *names);
extern bool sn_names_equal(const SnNames *a, const SnNames *b);
extern bool sn_names_have(const SnNames *names, const text *name);

#endif							/* SN_NAMES_H */
