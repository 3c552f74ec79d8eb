/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * match.h
 *		Which streams want an event of a type, or of a tenant.
 */
#ifndef SN_MATCH_H
#define SN_MATCH_H

#include "postgres.h"

/* The streams whose filters have a name */
typedef struct SnMatch
{
	uint32		hash;
	char	   *name;			/* NULL: free place */
	int			len;
	int			nstreams;
	int		   *streams;		/* their places in an array, ascending */
} SnMatch;

/* The names that filters have: event types, or tenants */
typedef struct SnMatches
{
	int			n;
	uint32		mask;
	int			nstreams;		/* there are */
	SnMatch    *places;			/* open addressing, a power of two */
} SnMatches;

extern SnMatches *sn_matches_make(int nnames, int nstreams);
extern void sn_matches_add(SnMatches *matches, const text *name, int stream);
extern int32 sn_matches_find(const SnMatches *matches, Datum name);
extern bool sn_match_has(const SnMatch *match, int stream);

#endif							/* SN_MATCH_H */
