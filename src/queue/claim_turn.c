/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * claim_turn.c
 *		How the tracks of the lanes take turns in a claim.
 *
 * When more is waiting than a batch holds, each track that may have
 * something gets an equal share of it first, and so do the lanes that have
 * nothing new, where retries may be due or a batch was lost; then what is left
 * is shared in the same way among those that have more.  Shares are counted
 * through all batches, so they are equal for small ones, too.  Where tenants have
 * weights the shares are as the weights of the tracks (sequencer/track_weights.c).
 * The common track has turns for each tenant that has something there.  Whose turn
 * it is in one of them: claim_lane.c.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"

#include "queue/claim_work.h"
#include "sequencer/track_weights.h"
#include "store/lane_hints.h"

/* go_through: take from lanes until the batch is full, or the share of it */
static void
go_through(SnClaim *claim, uint64 among, uint32 first, int track)
{
	int			lanes = sn_node()->lanes;
	int			i;

	for (i = 0; i < lanes && !sn_claim_full(claim); i++)
	{
		int			lane = (first + i) % lanes;

		CHECK_FOR_INTERRUPTS();
		if ((among & ~claim->visited & SN_LANE_BIT(lane)) != 0 &&
			sn_claim_from_lane(claim, lane, track))
			claim->visited |= SN_LANE_BIT(lane);
	}
}

#define SHARES_AT_ONCE	8		/* if there are more, about so many in a batch */

/* Those among whom a batch is shared */
typedef struct Shares
{
	int			n;
	int			track[SN_TRACKS + 1];	/* the first may be SN_SHARE_RETRIES */
	uint64		lanes[SN_TRACKS + 1];
	int			weight[SN_TRACKS + 1];
	int			apart;			/* those that are tracks of tenants set apart */
	int			turns;			/* in a round of turns: the sum of the weights */
	bool		due;			/* there are more retries than a batch had room for */
} Shares;

/*
 * find_shares: who may have something in the lanes.  Those lanes that seem to have
 * retries are first: where they have none, their share goes on to the tracks.
 * Beside a tenant that is set apart these are also lanes with new events: the
 * retries may be others'.
 */
static void
find_shares(SnClaim *claim, uint64 pending, Shares *shares)
{
	uint64		lanes[SN_TRACKS];
	uint64		others = pending;
	SnTracks	tracks = sn_hint_tracks(claim->hints, pending, lanes);
	int			track;

	foreach_track(track, tracks)
		others &= ~lanes[track];
	if ((tracks & ~SN_COMMON_BIT) != 0)
		others |= sn_hint_retries(claim->hints, pending);
	shares->n = shares->apart = 0;
	shares->due = sn_hint_retries(claim->hints, others) != 0;
	if (others != 0)
	{
		shares->track[shares->n] = SN_SHARE_RETRIES;
		shares->lanes[shares->n++] = others;
	}
	foreach_track(track, tracks)
	{
		shares->track[shares->n] = track;
		shares->lanes[shares->n++] = lanes[track];
		shares->apart += track != SN_TRACK_COMMON;
	}
}

/*
 * are_crowded: whether more is waiting than the batch holds, so that they have to
 * share it
 */
static bool
are_crowded(SnClaim *claim, const Shares *shares)
{
	return shares->n > 1 && claim->hints != NULL &&
		(pg_atomic_read_u64(&claim->hints->behind) > (uint64) claim->max ||
		 shares->due);
}

/*
 * weight_of_common: the turns of all tenants that may have something in the common
 * track: of the heaviest of them, and of the others.  Beside very many that are set
 * apart it has one of eight all the same, so that a fresh event there does not wait
 * for all of these.
 */
static int
weight_of_common(const Shares *shares, const uint8 *weights)
{
	int			tenants =
		pg_atomic_read_u32(&sn_database()->common_tenants);
	int			heaviest = weights == NULL ? 1 : weights[SN_TRACK_COMMON];
	int			otherwise = weights == NULL ? 1 : weights[SN_WEIGHT_OTHERWISE];

	return Max(heaviest + Max(tenants - 1, 0) * otherwise,
			   heaviest * ((shares->apart - 1) / (SHARES_AT_ONCE - 1) + 1));
}

/*
 * weigh_shares: how many turns each has in a round.  Retries, which are first, are
 * whoever's they are.  They get what the heaviest tenant at hand gets, and one of
 * eight at least.
 */
static void
weigh_shares(Shares *shares)
{
	uint8		given[SN_WEIGHTS];
	const uint8 *weights = sn_track_weights(given) ? given : NULL;
	int			heaviest = 1;
	int			i;

	shares->turns = 0;
	for (i = shares->n - 1; i >= 0; i--)
	{
		int			track = shares->track[i];
		int			weight = weights == NULL ||
			track == SN_SHARE_RETRIES ? 1 : weights[track];

		heaviest = Max(heaviest, weight);
		if (track == SN_TRACK_COMMON)
			weight = weight_of_common(shares, weights);
		else if (track == SN_SHARE_RETRIES)
			weight = Max(heaviest, shares->turns / (SHARES_AT_ONCE - 1));
		shares->weight[i] = weight;
		shares->turns += weight;
	}
}

/*
 * stride: from a turn to that of the next event.  It has no divisor in common with
 * the number of turns, so that each comes once in a round; and it is near to the
 * golden section, so that those of a share lie far apart.
 */
static int
stride(int turns)
{
	int			result = Max((int64) turns * 618 / 1000, 1);

	for (;; result++)
	{
		int			a = turns;
		int			b = result;

		while (b != 0)
		{
			int			rest = a % b;

			a = b;
			b = rest;
		}
		if (a == 1)
			return result;
	}
}

/* turn_at: where in a round of turns a turn is that has a number */
static int
turn_at(const Shares *shares, uint32 number, int step)
{
	return (uint64) number * step % shares->turns;
}

/* share_of: whose a place in a round of turns is */
static int
share_of(const Shares *shares, int turn)
{
	int			i;

	for (i = 0; turn >= shares->weight[i]; i++)
		turn -= shares->weight[i];
	return i;
}

/* step_of: how far apart turns are that follow one another */
static int
step_of(const Shares *shares)
{
	return shares->turns == shares->n ? 1 : stride(shares->turns);
}

/*
 * count_turns: how many of n turns, the first of which has a number, are each
 * share's.  Of as many as a round has, wherever they begin, each share has as many
 * as its weight is.
 */
static void
count_turns(const Shares *shares, uint32 first, int n, int *counts)
{
	int			step = step_of(shares);
	int			turn = turn_at(shares, first, step);
	int			i;

	for (i = 0; i < shares->n; i++)
		counts[i] = n / shares->turns * shares->weight[i];
	for (n %= shares->turns; n > 0; n--)
	{
		counts[share_of(shares, turn)]++;
		turn = (turn + step) % shares->turns;
	}
}

/*
 * turn_size: how many events a turn has, as a power of two.  Where there are many it
 * is several, so that a batch need not go from one to the next for each.
 */
static int
turn_size(const Shares *shares, int room)
{
	if (shares->n <= SHARES_AT_ONCE + 1)
		return 0;
	return pg_ceil_log2_32((room + SHARES_AT_ONCE - 1) / SHARES_AT_ONCE);
}

/*
 * count_events: how many of the events that a batch has room for, the first of
 * which has a number, are each share's.  A turn that a batch cuts off goes on in
 * the next one.
 */
static void
count_events(const Shares *shares, uint32 first, int room, int *counts)
{
	int			size = turn_size(shares, room);
	uint64		end = (uint64) first + room;
	uint32		turn = first >> size;
	int			turns = (int) ((end - 1) >> size) - (int) turn + 1;
	int			step = step_of(shares);
	int			i;

	count_turns(shares, turn, turns, counts);
	for (i = 0; i < shares->n; i++)
		counts[i] <<= size;
	counts[share_of(shares, turn_at(shares, turn, step))] -=
		first - (turn << size);
	counts[share_of(shares, turn_at(shares, turn + turns - 1, step))] -=
		((((end - 1) >> size) + 1) << size) - end;
}

/* go_on: more of a track from lanes that were cut */
static void
go_on(SnClaim *claim, int track)
{
	ListCell   *lc;

	foreach(lc, claim->cut)
		if (!sn_claim_full(claim))
			sn_claim_go_on(claim, lfirst(lc), track);
}

/* has_all: whether the batch has no room, or must not be filled */
static bool
has_all(const SnClaim *claim)
{
	return claim->entries.n >= claim->max || claim->solo || claim->enough ||
		claim->sated;
}

/*
 * deal: each gets its share of the room; who has less than that takes part no
 * longer.  Agents work off a batch from its begin, so another track is first in each.
 */
static void
deal(SnClaim *claim, Shares *shares, uint32 number, uint32 first)
{
	int			room = claim->max - claim->entries.n;
	int			retries = shares->track[0] == SN_SHARE_RETRIES;
	int			others = Max(shares->n - retries, 1);
	int			counts[SN_TRACKS + 1];
	bool		less[SN_TRACKS + 1] = {false};
	int			n = 0;
	int			i;

	count_events(shares, number, room, counts);
	for (i = 0; i < shares->n && !has_all(claim); i++)
	{
		int			share = i < retries ? i :
			retries + (i + number / room) % others;

		claim->limit = Min(claim->entries.n + counts[share], claim->max);
		if (counts[share] == 0)
			continue;
		go_on(claim, shares->track[share]);
		go_through(claim, shares->lanes[share], first, shares->track[share]);
		less[share] = claim->entries.n < claim->limit;
	}
	shares->turns = 0;
	for (i = 0; i < shares->n; i++)
	{
		if (less[i])
			continue;
		shares->track[n] = shares->track[i];
		shares->lanes[n] = shares->lanes[i];
		shares->weight[n] = shares->weight[i];
		shares->turns += shares->weight[n++];
	}
	shares->n = n;
}

/*
 * take_shares: each gets its share, and what others leave of theirs is shared by
 * those that have more.  Turns of one size have numbers of their own.  With common
 * ones claims of two sizes that alternate would give some tenants the small turns
 * alone.  Who gets what is left is by chance: numbers of their own would fall in
 * step with these.
 * Returns a track that has its turn with what is left then.
 */
static int
take_shares(SnClaim *claim, Shares *shares, uint32 first)
{
	int			room = claim->max - claim->entries.n;
	uint32		number =
		pg_atomic_fetch_add_u32(&claim->hints->next_share[turn_size(shares, room)],
								room);
	int			retries = shares->track[0] == SN_SHARE_RETRIES;
	int			next =
		shares->track[retries + number / room % (shares->n - retries)];

	claim->only = true;
	for (;;)
	{
		deal(claim, shares, number, first);
		if (shares->n == 0 || has_all(claim))
			break;
		number = hash_bytes_uint32(number);
	}
	claim->only = false;
	claim->limit = claim->max;
	return next;
}

/*
 * note_alone: a tenant that is set apart has all the turns, as others have
 * nothing.  The next one that is shared is theirs: by the numbers it would be
 * the tenant's, since the last one before was the others'.
 */
static void
note_alone(SnClaim *claim)
{
	if (claim->hints != NULL &&
		pg_atomic_read_u32(&claim->hints->next_share[0]) != 0)
		pg_atomic_write_u32(&claim->hints->next_share[0], 0);
}

/*
 * take_lost: take what has to be alone and found another batch begun.  That was
 * of the other tracks of its lane, too, so it comes before these.
 */
static void
take_lost(SnClaim *claim, uint64 pending, uint32 first)
{
	uint32		lost;

	if (claim->hints == NULL ||
		pg_atomic_read_u32(&claim->hints->lost_strip) == 0)
		return;
	lost = pg_atomic_exchange_u32(&claim->hints->lost_strip, 0);
	if (lost > 0)
		go_through(claim, pending & SN_LANE_BIT(SN_STRIP_LANE(lost - 1)),
				   first, SN_STRIP_TRACK(lost - 1));
}

/*
 * sn_claim_look_around: go through the lanes until the batch is full, beginning
 * with one of them.  Those that have nothing new may have a retry.
 */
void
sn_claim_look_around(SnClaim *claim, uint32 first)
{
	uint64		pending = sn_hint_pending(claim->hints, claim->now);
	int			track = SN_TRACK_COMMON;
	Shares		shares;
	ListCell   *lc;

	find_shares(claim, pending, &shares);
	claim->visited = 0;
	claim->only = false;
	claim->limit = claim->max;
	claim->sharing = are_crowded(claim, &shares);
	if (shares.n == 1 && shares.track[0] != SN_TRACK_COMMON)
		note_alone(claim);
	take_lost(claim, pending, first);
	if (sn_claim_full(claim))
		return;
	if (claim->sharing)
	{
		weigh_shares(&shares);
		track = take_shares(claim, &shares, first);
	}
	go_through(claim, pending, first, track);
	foreach(lc, claim->cut)
		if (!sn_claim_full(claim))
			sn_claim_go_on_any(claim, lfirst(lc));
	claim->cut = NIL;
}
