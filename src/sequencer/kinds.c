/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kinds.c
 *		Which streams want an event of a type and of an aggregate type.
 *
 * A filter that has both wants both.  As long as no filter has aggregate types,
 * a kind is a type, and the row's aggregate type is not looked at.  Else it is
 * a pair of what the filters have of either, and its streams are found out when
 * the first such event comes.  So an event has one number, and what it costs to
 * put it into slices depends on the streams that want it alone.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "sequencer/round.h"
#include "sequencer/streams.h"

#define KINDS_FIRST 64			/* that there is room for at first */

/* The kind of a pair: places of both in the filters; -1: in none */
typedef struct PairKind
{
	uint64		pair;
	int32		kind;
	char		status;			/* of simplehash */
} PairKind;

#define SH_PREFIX pairs
#define SH_ELEMENT_TYPE PairKind
#define SH_KEY_TYPE uint64
#define SH_KEY pair
#define SH_HASH_KEY(table, key) \
	hash_combine(murmurhash32((uint32) ((key) >> 32)), murmurhash32((uint32) (key)))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static pairs_hash *pairs;		/* with aggregate types: the kinds that are known */
static int	kind_room;			/* for so many of them */
static int *wanting;			/* streams that want the kind at hand */

/* sn_kinds_begin: the filters are others; in the memory of the streams */
void
sn_kinds_begin(void)
{
	sn_streams.nkinds = 0;
	sn_streams.kinds = sn_streams.types->places;
	if (sn_streams.aggregates->n == 0)
		return;
	kind_room = KINDS_FIRST;
	sn_streams.kinds = palloc(kind_room * sizeof(SnMatch));
	wanting = palloc(sn_streams.n * sizeof(int));
	pairs = pairs_create(CurrentMemoryContext, KINDS_FIRST, NULL);
}

/* sn_kind_columns: how many columns of a row say which streams want it */
int
sn_kind_columns(void)
{
	return sn_streams.aggregates->n > 0 ? Anum_log_aggregate_type :
		Anum_log_tenant_id;
}

/* streams_at: the streams of a place in the filters; NULL: none */
static const SnMatch *
streams_at(const SnMatches *matches, int32 place)
{
	return place < 0 ? NULL : &matches->places[place];
}

/* is_named_by: whether a stream, if it has this part of a filter, has the name */
static bool
is_named_by(const SnMatch *match, int stream, bool has_part)
{
	return !has_part || (match != NULL && sn_match_has(match, stream));
}

/*
 * add_kind: the streams that want a pair that comes for the first time; its
 * number.  A round may have as many kinds as events, so each takes what it needs.
 */
static int32
add_kind(const SnMatch *type, const SnMatch *aggregate)
{
	SnMatch    *kind;
	int			n = 0;
	int			i;

	if (sn_streams.nkinds == kind_room)
		sn_streams.kinds = repalloc(sn_streams.kinds,
									(kind_room *= 2) * sizeof(SnMatch));
	for (i = 1; i < sn_streams.n; i++)
	{
		const SnStream *stream = sn_streams.all[i];

		if (stream->of_kinds && is_named_by(type, i, stream->of_types) &&
			is_named_by(aggregate, i, stream->of_aggregates))
			wanting[n++] = i;
	}
	kind = &sn_streams.kinds[sn_streams.nkinds];
	memset(kind, 0, sizeof(SnMatch));
	kind->nstreams = n;
	if (n > 0)
		kind->streams = memcpy(MemoryContextAlloc(sn_streams.context,
												  n * sizeof(int)),
							   wanting, n * sizeof(int));
	return sn_streams.nkinds++;
}

/*
 * match_pair: the kind of an event, where filters have aggregate types.  Who has
 * none does not pay for its frame.
 */
static pg_noinline int32
match_pair(const Datum *values)
{
	int32		type = sn_matches_find(sn_streams.types,
									   values[Anum_log_event_type - 1]);
	int32		aggregate = sn_matches_find(sn_streams.aggregates,
											values[Anum_log_aggregate_type - 1]);
	PairKind   *known;
	bool		found;

	if (type < 0 && aggregate < 0)
		return -1;
	known = pairs_insert(pairs, (uint64) (uint32) type << 32 | (uint32) aggregate,
						 &found);
	if (!found)
		known->kind = add_kind(streams_at(sn_streams.types, type),
							   streams_at(sn_streams.aggregates, aggregate));
	return known->kind;
}

/*
 * sn_match_kind: which streams besides that of all events have an event's type,
 * and its aggregate type, in their filters: a number for sn_write_slices()
 */
int32
sn_match_kind(const Datum *values)
{
	if (sn_streams.aggregates->n > 0)
		return match_pair(values);
	return sn_matches_find(sn_streams.types, values[Anum_log_event_type - 1]);
}
