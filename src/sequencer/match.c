/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * match.c
 *		Which streams want an event of a type, or of a tenant.
 *
 * A table of the names in all filters, asked once for each event of a round.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"

#include "base/compat.h"
#include "sequencer/match.h"

/* sn_matches_make: room for so many names of so many streams */
SnMatches *
sn_matches_make(int nnames, int nstreams)
{
	SnMatches  *matches = palloc0(sizeof(SnMatches));

	matches->nstreams = nstreams;
	matches->mask = pg_nextpower2_32(Max(nnames, 4) * 2) - 1;
	matches->places = palloc0(sizeof(SnMatch) * (matches->mask + 1));
	return matches;
}

/* match_place: where a name is in the table, or goes */
static SnMatch *
match_place(const SnMatches *matches, const char *name, int len, uint32 hash)
{
	uint32		i = hash & matches->mask;

	while (matches->places[i].name != NULL &&
		   (matches->places[i].hash != hash ||
			matches->places[i].len != len ||
			memcmp(matches->places[i].name, name, len) != 0))
		i = (i + 1) & matches->mask;
	return &matches->places[i];
}

/* sn_matches_add: a stream, none of them before it, has a name in its filter */
void
sn_matches_add(SnMatches *matches, const text *name, int stream)
{
	int			len = VARSIZE_ANY_EXHDR(name);
	uint32		hash = hash_bytes((const unsigned char *) VARDATA_ANY(name),
								  len);
	SnMatch    *match = match_place(matches, VARDATA_ANY(name), len, hash);

	if (match->name == NULL)
	{
		match->hash = hash;
		match->name = memcpy(palloc(len + 1), VARDATA_ANY(name), len);
		match->len = len;
		match->streams = palloc(sizeof(int) * matches->nstreams);
		matches->n++;
	}
	Assert(match->nstreams == 0 ||
		   match->streams[match->nstreams - 1] <= stream);
	if (match->nstreams == 0 || match->streams[match->nstreams - 1] != stream)
		match->streams[match->nstreams++] = stream;
}

/* sn_matches_find: the place of a name, or -1 */
int32
sn_matches_find(const SnMatches *matches, Datum name)
{
	text	   *t;
	SnMatch    *match;
	int			len;

	if (matches->n == 0)
		return -1;
	t = DatumGetTextPP(name);
	len = VARSIZE_ANY_EXHDR(t);
	match = match_place(matches, VARDATA_ANY(t), len,
					   hash_bytes((unsigned char *) VARDATA_ANY(t), len));
	if ((Pointer) t != DatumGetPointer(name))
		pfree(t);
	return match->name == NULL ? -1 : match - matches->places;
}

/* sn_match_has: whether a stream is among those of a name */
bool
sn_match_has(const SnMatch *match, int stream)
{
	int			low = 0;
	int			high = match->nstreams;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (match->streams[middle] == stream)
			return true;
		if (match->streams[middle] < stream)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}
