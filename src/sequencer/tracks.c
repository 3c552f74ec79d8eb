/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tracks.c
 *		Which track of its lanes a tenant's events go to.
 *
 * All tenants share the common track, until one has much waiting: more than
 * sentinai.crowded_at events in a round, or since all subscriptions that somebody
 * works for had almost caught up with this track.  So who publishes no more than is
 * handed out stays there, however much of others waits on their tracks.  From that
 * round on its events go to another track, which few others share.  A claim takes
 * turns between tracks, so those of other tenants need not wait for what it has left
 * behind.
 *
 * Order is kept by two rules.  An event of another track than the common one is
 * handed out when the lane has passed all of the common one's from earlier
 * rounds (lane_track.c): so what a tenant published before it was set apart comes
 * first.  And a tenant comes back to the common track when all subscriptions
 * have passed what it has on the other, or else stand in line (upkeep), never from
 * one of the others to the next.  In a round, a tenant's events are all on one
 * track.
 *
 * Who is where is in table track_tenant (track_rows.c), written with the round.  What
 * is kept here is made from it; the counts are guesses, and may be lost.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "sequencer/round.h"
#include "sequencer/track_rows.h"
#include "sequencer/tracks.h"
#include "shared/shmem.h"
#include "store/xact_end.h"

#define TENANTS_FIRST	64		/* that there is room for at first */
#define TENANTS_MAX		65536	/* that are counted */
#define APART_MAX		1000	/* that have another track */

typedef struct Tenant
{
	uint32		hash;
	int			len;
	char	   *name;
	int			track;
	bool		matched;		/* match is known */
	int32		match;			/* in the filters, see sn_match_tenant() */
	int64		here;			/* events in this round */
	int64		waiting;		/* since the time of epoch */
	uint64		epoch;			/* of its track, see epoch_of() */
	uint64		counted;		/* empty_epoch when it was among common_tenants */
	int64		last_round;		/* that had an event of it, while it is apart */
} Tenant;

static MemoryContext context = NULL;	/* of all below */
static Oid	tenants_of = InvalidOid;	/* table they were read from; invalid: there is
										 * none before an update */
static uint64 known_changes;	/* SnDatabase.tracks at that time */
static Tenant *tenants = NULL;
static int	ntenants = 0;
static int	room = 0;			/* for so many, from TENANTS_FIRST to TENANTS_MAX */
static int32 *places = NULL;	/* open addressing: number of a tenant, or -1 */
static int32 *seen = NULL;		/* tenants with events in this round */
static int	nseen = 0;
static int	napart = 0;			/* tenants on other tracks than the common one */
static int	on_track[SN_TRACKS];	/* how many of them */
static SnTracks used = SN_COMMON_BIT;	/* tracks that were ever used */
static int32 latest = -1;		/* tenant of the event before */
static bool counting = false;	/* tenants of events are looked up */
static bool crowded = true;		/* somebody is behind, or may be */
static int64 latest_round = 0;	/* that this process has taken; 0: none */
static uint64 epoch = 1;		/* ends when nobody is */
static bool crowded_common = true;	/* somebody is behind in the common track */
static uint64 common_epoch = 1; /* ends when nobody is there */
static bool common_empty = false;	/* next to nothing is there */
static uint64 empty_epoch = 1;	/* ends when it is so */
static int	common_tenants = 0; /* with events in the common track since then */
static TimestampTz others_at = 0;	/* when the common track last got events
									 * beside the others */

#define OTHERS_STAY USECS_PER_SEC	/* so long somebody may come again */
#define NEXT_TO_NOTHING 64		/* events, that may be with claims by now */

#define PLACES	(4 * room)

/* sn_tracks_forget: others may have changed it, or what is here was undone */
void
sn_tracks_forget(void)
{
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	tenants_of = InvalidOid;
	tenants = NULL;
	places = seen = NULL;
	ntenants = room = nseen = napart = common_tenants = 0;
	latest = -1;
	latest_round = 0;
}

/* tenant_place: where a tenant is in the table, or goes */
static int32 *
tenant_place(const char *name, int len, uint32 hash)
{
	uint32		i = hash % PLACES;

	while (places[i] >= 0 &&
		   (tenants[places[i]].hash != hash || tenants[places[i]].len != len ||
			memcmp(tenants[places[i]].name, name, len) != 0))
		i = (i + 1) % PLACES;
	return &places[i];
}

/*
 * widen_table: for so many tenants.  Where there are no workers each session that
 * claims has a table, so that is as small as its tenants are few.
 */
static void
widen_table(int wanted)
{
	int32	   *old = places;
	int			i;

	tenants = repalloc(tenants, wanted * sizeof(Tenant));
	seen = repalloc(seen, wanted * sizeof(int32));
	places = MemoryContextAlloc(context, 4 * wanted * sizeof(int32));
	pfree(old);
	room = wanted;
	memset(places, -1, PLACES * sizeof(int32));
	for (i = 0; i < ntenants; i++)
		*tenant_place(tenants[i].name, tenants[i].len, tenants[i].hash) = i;
}

/* counted_tenant: the number of a tenant, -1 when there are too many */
static int32
counted_tenant(const char *name, int len)
{
	uint32		hash = hash_bytes((const unsigned char *) name, len);
	int32	   *place = tenant_place(name, len, hash);
	Tenant	   *tenant;

	if (*place >= 0 || ntenants == TENANTS_MAX)
		return *place;
	if (ntenants == room)
	{
		widen_table(2 * room);
		place = tenant_place(name, len, hash);
	}
	tenant = &tenants[ntenants];
	memset(tenant, 0, sizeof(Tenant));
	tenant->hash = hash;
	tenant->len = len;
	tenant->name = memcpy(MemoryContextAlloc(context, len + 1), name, len);
	return *place = ntenants++;
}

/*
 * sn_apart_until: a position of which a session that has any snapshot knows that
 * all tenants it shows set apart were so before it; SN_POS_MAX: not known
 */
SnPos
sn_apart_until(void)
{
	SnDatabase *db = sn_database();

	if (!sn_preloaded() || pg_atomic_read_u64(&db->tracks_used) == 0)
		return SN_POS_MAX;
	return SN_ROUND_POS(pg_atomic_read_u64(&db->apart_round));
}

/* note_apart: a tenant is set apart from a round on, for those who see that */
static void
note_apart(int64 round_no)
{
	SnDatabase *db = sn_database();

	if ((uint64) round_no > pg_atomic_read_u64(&db->apart_round))
		pg_atomic_write_u64(&db->apart_round, round_no);
}

/* make_table: an empty table of tenants */
static void
make_table(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "sentinai tracks",
									ALLOCSET_DEFAULT_SIZES);
	room = TENANTS_FIRST;
	tenants = MemoryContextAlloc(context, room * sizeof(Tenant));
	places = MemoryContextAlloc(context, PLACES * sizeof(int32));
	seen = MemoryContextAlloc(context, room * sizeof(int32));
	memset(places, -1, PLACES * sizeof(int32));
}

/* read_tenants: who is on which track */
static void
read_tenants(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_TRACK_TENANT, snapshot);
	TupleTableSlot *slot;

	while ((slot = sn_table_next(scan)) != NULL)
	{
		text	   *name;
		int32		who;

		slot_getallattrs(slot);
		name = DatumGetTextPP(slot->tts_values[Anum_on_tenant_id - 1]);
		who = counted_tenant(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		if (who < 0)
			elog(ERROR, "too many tenants have a track of their own");
		tenants[who].track =
			DatumGetInt32(slot->tts_values[Anum_on_track - 1]) % SN_TRACKS;
		on_track[tenants[who].track]++;
		napart++;
		note_apart(DatumGetInt64(slot->tts_values[Anum_on_since_round - 1]));
	}
	sn_table_end(scan);
}

/* reread_tenants: who is on which track now; who came back begins anew */
static void
reread_tenants(Snapshot snapshot)
{
	int			i;

	for (i = 0; i < ntenants; i++)
		if (tenants[i].track != SN_TRACK_COMMON)
			tenants[i].track = -1;
	memset(on_track, 0, sizeof(on_track));
	napart = 0;
	read_tenants(snapshot);
	for (i = 0; i < ntenants; i++)
	{
		if (tenants[i].track >= 0)
			continue;
		tenants[i].track = SN_TRACK_COMMON;
		tenants[i].waiting = 0;
	}
}

/* waits_on_common: how much a tenant may have in the common track */
static int64
waits_on_common(const Tenant *tenant)
{
	return tenant->track == SN_TRACK_COMMON && tenant->epoch == common_epoch ?
		tenant->waiting : 0;
}

/*
 * forget_small: make place in the table.  Kept are those that are set apart, and who
 * has published more than twice as much as others on the common track: half of them
 * at most.  Who floods would never be set apart beside very many others if he was
 * forgotten with them.
 */
static void
forget_small(void)
{
	MemoryContext old_context = context;
	Tenant	   *old = tenants;
	int			n = ntenants;
	int64		sum = 0;
	int			i;

	for (i = 0; i < n; i++)
		sum += waits_on_common(&old[i]);
	ntenants = nseen = 0;
	make_table();
	MemoryContextSetParent(old_context, context);
	for (i = 0; i < n; i++)
	{
		Tenant	   *kept;

		if (old[i].track == SN_TRACK_COMMON &&
			waits_on_common(&old[i]) * n <= 2 * sum)
			continue;
		kept = &tenants[counted_tenant(old[i].name, old[i].len)];
		kept->track = old[i].track;
		kept->waiting = old[i].waiting;
		kept->epoch = old[i].epoch;
		kept->counted = old[i].counted;
		kept->last_round = old[i].last_round;
	}
	MemoryContextDelete(old_context);
}

/*
 * sn_tracks_load: begin a round.  of_filters: filters have tenants, so those of
 * events have to be known.
 */
void
sn_tracks_load(Snapshot snapshot, bool of_filters)
{
	uint64		changes = pg_atomic_read_u64(&sn_database()->tracks);
	Oid			table = sn_present(SN_TRACK_TENANT) ?
		sn_rel(SN_TRACK_TENANT) : InvalidOid;

	if (context == NULL || tenants_of != table)
	{
		sn_tracks_forget();
		make_table();
		memset(on_track, 0, sizeof(on_track));
		known_changes = changes - 1;
	}
	else if (ntenants > TENANTS_MAX / 2)
		forget_small();
	if (known_changes != changes)
	{
		if (OidIsValid(table))
			reread_tenants(snapshot);
		tenants_of = table;
		known_changes = changes;
		used = sn_tracks_used(snapshot);
		pg_atomic_write_u64(&sn_database()->tracks_used, used);
	}
	counting = of_filters || napart > 0 || sn_crowded_at > 0;
	while (nseen > 0)
		tenants[seen[--nseen]].here = 0;
	latest = -1;
	if (!crowded)
		epoch++;
	if (!crowded_common)
		common_epoch++;
	if (common_empty)
	{
		empty_epoch++;
		common_tenants = 0;
	}
}

/* sn_tracks_rematch: the filters have changed */
void
sn_tracks_rematch(void)
{
	int			i;

	for (i = 0; i < ntenants; i++)
		tenants[i].matched = false;
}

/* is_latest: whether a tenant is that of the event before */
static bool
is_latest(const char *name, int len)
{
	return latest >= 0 && tenants[latest].len == len &&
		memcmp(tenants[latest].name, name, len) == 0;
}

/*
 * sn_tracks_note: an event of a tenant is in the round.  Returns a number for
 * sn_tracks_match() and sn_tracks_of().  Of a tenant too many only its match in
 * the filters is known; it is on the common track.
 */
int32
sn_tracks_note(Datum tenant_id)
{
	text	   *t;

	if (!counting)
		return -1;
	t = DatumGetTextPP(tenant_id);
	if (!is_latest(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)))
	{
		Tenant	   *tenant;

		latest = counted_tenant(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
		if (latest < 0)
			return -2 - sn_match_tenant(PointerGetDatum(t));
		tenant = &tenants[latest];
		if (!tenant->matched)
			tenant->match = sn_match_tenant(PointerGetDatum(t));
		tenant->matched = true;
	}
	if (tenants[latest].here++ == 0)
		seen[nseen++] = latest;
	return latest;
}

/* sn_tracks_match: the tenant's place in the filters, or -1 */
int32
sn_tracks_match(int32 who)
{
	return who >= 0 ? tenants[who].match : -2 - who;
}

/* sn_tracks_of: the track of a tenant */
int
sn_tracks_of(int32 who)
{
	return who >= 0 ? tenants[who].track : SN_TRACK_COMMON;
}

/* any_agents: whether any subscription reads tracks side by side */
static bool
any_agents(Snapshot snapshot)
{
	SnTableScan *scan = sn_table_read(SN_SUBSCRIPTION, snapshot);
	TupleTableSlot *slot;
	bool		found = false;

	while (!found && (slot = sn_table_next(scan)) != NULL)
	{
		slot_getallattrs(slot);
		found = !slot->tts_isnull[Anum_sub_tracks_from - 1];
	}
	sn_table_end(scan);
	return found;
}

/* epoch_of: since when the events of a tenant count as waiting */
static uint64
epoch_of(const Tenant *tenant)
{
	return tenant->track == SN_TRACK_COMMON ? common_epoch : epoch;
}

/*
 * quietest_track: one that no tenant has, or else that whose tenants have the least
 * waiting; never the common one
 */
static int
quietest_track(void)
{
	int64		waiting[SN_TRACKS] = {0};
	int			result = SN_TRACK_COMMON + 1;
	int			i;

	for (i = 0; i < ntenants; i++)
		if (tenants[i].track != SN_TRACK_COMMON && tenants[i].epoch == epoch)
			waiting[tenants[i].track] += tenants[i].waiting;
	for (i = result; i <= sn_max_tracks; i++)
	{
		if (on_track[i] == 0)
			return i;
		if (waiting[i] < waiting[result] ||
			(waiting[i] == waiting[result] && on_track[i] < on_track[result]))
			result = i;
	}
	return result;
}

/* use_track: a track that nobody had may have events from this round on */
static void
use_track(int track, int64 round_no)
{
	sn_track_use(track, round_no);
	used |= SN_TRACK_BIT(track);
	pg_atomic_write_u64(&sn_database()->tracks_used, used);
}

/* set_apart: from this round on a tenant's events go to another track */
static void
set_apart(Tenant *tenant, int64 round_no)
{
	int			track = quietest_track();

	if (on_track[track] == 0)
		use_track(track, round_no);
	note_apart(round_no);
	sn_track_give(cstring_to_text_with_len(tenant->name, tenant->len), track,
				  round_no);
	sn_note_weights_changed();
	tenant->track = track;
	tenant->epoch = epoch_of(tenant);
	tenant->counted = 0;
	common_tenants--;
	on_track[track]++;
	napart++;
}

/* count_in_common: a tenant has events in the round; if in the common track, it counts */
static void
count_in_common(Tenant *tenant)
{
	if (tenant->track != SN_TRACK_COMMON || tenant->counted == empty_epoch)
		return;
	tenant->counted = empty_epoch;
	common_tenants++;
}

/*
 * sn_tracks_decide: all events of the round were noted: set those tenants apart
 * that have too much waiting
 */
void
sn_tracks_decide(Snapshot snapshot, int64 round_no)
{
	int			asked = -1;		/* whether it is of use to anybody */
	int			i;

	for (i = 0; i < nseen && sn_crowded_at > 0 && OidIsValid(tenants_of); i++)
	{
		Tenant	   *tenant = &tenants[seen[i]];

		if (tenant->epoch != epoch_of(tenant))
			tenant->waiting = 0;
		tenant->epoch = epoch_of(tenant);
		tenant->waiting += tenant->here;
		count_in_common(tenant);
		if (tenant->track != SN_TRACK_COMMON ||
			tenant->waiting < sn_crowded_at || napart >= APART_MAX)
			continue;
		if (asked < 0)
			asked = any_agents(snapshot);
		if (asked)
			set_apart(tenant, round_no);
	}
	common_tenants = Min(common_tenants, TENANTS_MAX);	/* some were counted again */
	pg_atomic_write_u32(&sn_database()->common_tenants, common_tenants);
	for (i = 0; i < nseen && napart > 0; i++)
		if (tenants[seen[i]].track == SN_TRACK_COMMON)
		{
			others_at = GetCurrentTimestamp();
			break;
		}
}

/*
 * sn_tracks_sequenced: the round is written; its last number, and that of the one
 * before.  If others have taken that everybody may have had events in it.
 */
void
sn_tracks_sequenced(int64 before, int64 round_no)
{
	int			i;

	for (i = 0; i < ntenants && before != latest_round; i++)
		tenants[i].last_round = round_no;
	for (i = 0; i < nseen; i++)
		tenants[seen[i]].last_round = round_no;
	latest_round = round_no;
}

/*
 * sn_tracks_beside: whether tenants have published lately beside those that were
 * set apart.  Agents that are busy with these do not wait for anybody, but the
 * next event of the others is wanted all the same.
 */
bool
sn_tracks_beside(void)
{
	return napart > 0 && GetCurrentTimestamp() - others_at < OTHERS_STAY;
}

/* sn_tracks_shared: whether tenants share a track, but for the common one */
bool
sn_tracks_shared(void)
{
	int			track;

	for (track = SN_TRACK_COMMON + 1; track < SN_TRACKS; track++)
		if (on_track[track] > 1)
			return true;
	return false;
}

/*
 * sn_tracks_last_round: the last round that may have had an event of a tenant that is
 * apart, where the newest one is known; PG_INT64_MAX: this process does not know
 */
int64
sn_tracks_last_round(const text *tenant_id, int64 newest)
{
	const char *name = VARDATA_ANY(tenant_id);
	int			len = VARSIZE_ANY_EXHDR(tenant_id);
	int32		who;

	if (context == NULL || latest_round == 0 || latest_round != newest)
		return PG_INT64_MAX;
	who = *tenant_place(name, len,
						hash_bytes((const unsigned char *) name, len));
	return who < 0 ? PG_INT64_MAX : tenants[who].last_round;
}

/*
 * sn_tracks_behind: how far the subscription is behind that is farthest, of those
 * that somebody works for: in all tracks, and in the common one.  Raises no error.
 */
void
sn_tracks_behind(uint64 events, uint64 on_common)
{
	crowded = events >= (uint64) sn_crowded_at / 2;
	crowded_common = on_common >= (uint64) sn_crowded_at / 2;
	common_empty = on_common < NEXT_TO_NOTHING;
}
