/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * shmem.c
 *		The shared struct and its slots.
 *
 * The struct is small enough for the slack that the server leaves in its
 * shared memory, so the functions work alike whether or not the library is in
 * shared_preload_libraries; preloaded, its size is asked for properly.
 *
 * Locks: SnShared.lock guards who owns which slot.  It is held for a scan of
 * an array at most, and never while anything that can raise an error runs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/syscache.h"

#include "base/sentinai.h"
#include "base/steady.h"
#include "shared/shmem.h"

static SnShared *shared = NULL;
static SnDatabase *my_database = NULL;
static bool preloaded = false;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
init_database_slot(SnDatabase *db)
{
	int			i;

	db->dboid = InvalidOid;
	db->sequencer_pid = 0;
	db->sequencer_procno = -1;
	db->vacate_until = 0;
	db->created = false;
	db->calls = 0;
	memset(&db->mark, 0, sizeof(SnMark));
	db->audit_asked = db->audit_decided = 0;
	pg_atomic_init_u64(&db->commits_before, 0);
	pg_atomic_init_u32(&db->clock_ready, 0);
	pg_atomic_init_u64(&db->commits, 0);
	pg_atomic_init_u64(&db->sequenced, 0);
	pg_atomic_init_u64(&db->asked, 0);
	pg_atomic_init_u64(&db->tracks, 0);
	pg_atomic_init_u64(&db->tracks_used, 0);
	pg_atomic_init_u64(&db->apart_round, 0);
	pg_atomic_init_u32(&db->weights_known, SN_WEIGHTS_UNKNOWN);
	db->weight_changes = 0;
	pg_atomic_init_u32(&db->common_tenants, 0);
	pg_atomic_init_u32(&db->relays_changed, 0);
	for (i = 0; i < SN_JOURNALS; i++)
		pg_atomic_init_u32(&db->journal_half[i], 0);
	pg_atomic_init_u64(&db->rounds, 0);
	pg_atomic_init_u64(&db->round_events, 0);
	ConditionVariableInit(&db->sequenced_cv);
}

/*
 * sub_slots: for how many subscriptions there are slots.  Unasked-for memory is what the
 * tables of locks grow into, so there are few where it was not asked for.
 */
static int
sub_slots(void)
{
	return preloaded ? SN_MAX_SUBS : SN_FEW_SUBS;
}

/* shared_size: of the struct with its slots */
static Size
shared_size(void)
{
	return offsetof(SnShared, subs) + sub_slots() * sizeof(SnSubSlot);
}

static void
init_shared(SnShared *s)
{
	int			i;
	int			lane;
	int			track;
	int			size;

	memset(s, 0, shared_size());
	s->nsubs = sub_slots();
	s->tranche_id = LWLockNewTrancheId();
	LWLockInitialize(&s->lock, s->tranche_id);
	LWLockInitialize(&s->buckets.lock, s->tranche_id);
	s->buckets.area = DSM_HANDLE_INVALID;
	pg_atomic_init_u64(&s->clock, 0);
	s->time_offset = sn_steady_offset();
	s->started_at = s->time_offset + sn_steady_us();
	s->launcher_procno = -1;
	for (i = 0; i < SN_MAX_DATABASES; i++)
		init_database_slot(&s->databases[i]);
	for (i = 0; i < s->nsubs; i++)
	{
		/* nobody knows what was waiting: look at every lane and track once */
		pg_atomic_init_u64(&s->subs[i].pending, PG_UINT64_MAX);
		for (track = 0; track < SN_TRACKS; track++)
		{
			pg_atomic_init_u64(&s->subs[i].tracks[track], PG_UINT64_MAX);
			pg_atomic_init_u64(&s->subs[i].busy[track], PG_UINT64_MAX);
		}
		pg_atomic_init_u64(&s->subs[i].behind_common, 0);
		pg_atomic_init_u64(&s->subs[i].behind, 0);
		pg_atomic_init_u64(&s->subs[i].behind_on_common, 0);
		pg_atomic_init_u64(&s->subs[i].due, 0);
		pg_atomic_init_u64(&s->subs[i].new_first, 0);
		for (size = 0; size < SN_TURN_SIZES; size++)
			pg_atomic_init_u32(&s->subs[i].next_share[size], 0);
		pg_atomic_init_u32(&s->subs[i].lost_strip, 0);
		pg_atomic_init_u64(&s->subs[i].after_batch, 0);
		pg_atomic_init_u64(&s->subs[i].deferred, 0);
		pg_atomic_init_u64(&s->subs[i].blocked, 0);
		pg_atomic_init_u64(&s->subs[i].next_check, SN_NEVER);
		pg_atomic_init_u32(&s->subs[i].next_lane, 0);
		pg_atomic_init_u64(&s->subs[i].claimed_at, 0);
		pg_atomic_init_u32(&s->subs[i].waiters, 0);
		pg_atomic_init_u64(&s->subs[i].unsure, 0);
		for (lane = 0; lane < SN_MAX_LANES; lane++)
		{
			pg_atomic_init_u64(&s->subs[i].stamps[lane], 0);
			pg_atomic_init_u64(&s->subs[i].holders[lane], 0);
		}
		ConditionVariableInit(&s->subs[i].cv);
	}
	for (i = 0; i < SN_MAX_RELAYS; i++)
	{
		s->relays[i].procno = -1;
		pg_atomic_init_u64(&s->relays[i].pending, 0);
		pg_atomic_init_u32(&s->relays[i].look, 0);
	}
}

/* sn_shared: the shared struct, made by whoever comes first */
SnShared *
sn_shared(void)
{
	bool		found;

	if (shared != NULL)
		return shared;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("sentinai", shared_size(), &found);
	if (!found)
		init_shared(shared);
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(shared->tranche_id, "sentinai");
	return shared;
}

static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(shared_size()));
}

static void
startup_shmem(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	shared = NULL;				/* a crash restart makes it anew */
	(void) sn_shared();
}

/* sn_shmem_init: ask for the struct's space; for preloading only */
void
sn_shmem_init(void)
{
	preloaded = true;
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* sn_preloaded: whether the library is in shared_preload_libraries */
bool
sn_preloaded(void)
{
	return preloaded;
}

/* sn_shared_copy: a part of the shared struct, all of it as of one moment */
void
sn_shared_copy(void *to, const void *from, Size size)
{
	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	memcpy(to, from, size);
	LWLockRelease(&sn_shared()->lock);
}

/* take_database: the slot of this database, a free one if it has none; or NULL */
static SnDatabase *
take_database(void)
{
	SnShared   *s = sn_shared();
	SnDatabase *result = NULL;
	int			i;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_DATABASES; i++)
	{
		SnDatabase *db = &s->databases[i];

		if (db->dboid == MyDatabaseId)
		{
			result = db;
			break;
		}
		if (db->dboid == InvalidOid && result == NULL)
			result = db;
	}
	if (result != NULL)
		result->dboid = MyDatabaseId;
	LWLockRelease(&s->lock);
	return result;
}

/*
 * free_dropped: give up the slots of databases that were dropped.  The launcher does
 * so, where there is one; nobody is left in such a database.
 */
static void
free_dropped(void)
{
	Oid			oids[SN_MAX_DATABASES];
	int			i;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	for (i = 0; i < SN_MAX_DATABASES; i++)
		oids[i] = sn_shared()->databases[i].dboid;
	LWLockRelease(&sn_shared()->lock);
	for (i = 0; i < SN_MAX_DATABASES; i++)
		if (OidIsValid(oids[i]) &&
			!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(oids[i])))
			sn_database_free(oids[i]);
}

/*
 * sn_database: the slot of this database, taken at first use.  More databases
 * than slots is an error the caller can act on.
 */
SnDatabase *
sn_database(void)
{
	if (my_database != NULL && my_database->dboid == MyDatabaseId)
		return my_database;

	my_database = take_database();
	if (my_database == NULL && IsTransactionState())
	{
		free_dropped();
		my_database = take_database();
	}
	if (my_database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use sentinai"),
				 errdetail("A server can hold at most %d of them.",
						   SN_MAX_DATABASES),
				 errhint("Drop the extension from a database that no longer uses it and restart the server.")));
	return my_database;
}

/* sn_database_of: the slot of a database, or NULL if it has none */
SnDatabase *
sn_database_of(Oid dboid)
{
	SnShared   *s = sn_shared();
	SnDatabase *result = NULL;
	int			i;

	LWLockAcquire(&s->lock, LW_SHARED);
	for (i = 0; i < SN_MAX_DATABASES && result == NULL; i++)
		if (s->databases[i].dboid == dboid)
			result = &s->databases[i];
	LWLockRelease(&s->lock);
	return result;
}

/* sn_databases_full: whether no slot is left for another database */
bool
sn_databases_full(void)
{
	return sn_database_of(InvalidOid) == NULL;
}

/* sn_database_find: the slot of this database, or NULL if it took none yet */
SnDatabase *
sn_database_find(void)
{
	return sn_database_of(MyDatabaseId);
}

/* free_sub_slot: give up the hints of a subscription; lock held */
static void
free_sub_slot(SnSubSlot *slot)
{
	Assert(LWLockHeldByMeInMode(&sn_shared()->lock, LW_EXCLUSIVE));
	slot->sub_id = 0;
	slot->dboid = InvalidOid;
	ConditionVariableBroadcast(&slot->cv);
}

/*
 * sn_sub_slot_after: the next slot of a database behind one; NULL: the first.
 * Who only sets bits and wakes needs no lock: a slot that changes hands just now
 * gets a bit for nothing, or is a new one, which has all its bits set.
 */
SnSubSlot *
sn_sub_slot_after(const SnSubSlot *slot, Oid dboid)
{
	SnShared   *s = sn_shared();
	int			i = slot == NULL ? 0 : slot - s->subs + 1;

	for (; i < s->nsubs; i++)
		if (s->subs[i].sub_id != 0 && s->subs[i].dboid == dboid)
			return &s->subs[i];
	return NULL;
}

/* free_sub_slots: give up the hints of all subscriptions; lock held */
static void
free_sub_slots(Oid dboid)
{
	SnSubSlot  *slot = NULL;

	while ((slot = sn_sub_slot_after(slot, dboid)) != NULL)
		free_sub_slot(slot);
}

/* free_failures: what failed in a database fails no more; lock held */
static void
free_failures(Oid dboid)
{
	SnShared   *s = sn_shared();
	int			i;

	Assert(LWLockHeldByMeInMode(&s->lock, LW_EXCLUSIVE));
	for (i = 0; i < SN_MAX_FAILURES; i++)
		if (s->failures[i].dboid == dboid)
			s->failures[i].dboid = InvalidOid;
}

/* free_told: a database has no relays any more; lock held */
static void
free_told(Oid dboid)
{
	SnShared   *s = sn_shared();
	int			i;

	for (i = 0; i < SN_MAX_TOLD; i++)
		if (s->told[i].dboid == dboid)
			s->told[i].dboid = InvalidOid;
}

/* sn_weights_reset: what claims know of the tracks' weights holds no more; lock held */
void
sn_weights_reset(SnDatabase *db)
{
	Assert(LWLockHeldByMeInMode(&sn_shared()->lock, LW_EXCLUSIVE));
	db->weight_changes++;
	pg_atomic_write_u32(&db->weights_known, SN_WEIGHTS_UNKNOWN);
}

/*
 * forget_contents: nothing that is known of the tables in a database holds any
 * more; lock held
 */
static void
forget_contents(SnDatabase *db)
{
	Assert(LWLockHeldByMeInMode(&sn_shared()->lock, LW_EXCLUSIVE));
	memset(&db->mark, 0, sizeof(SnMark));
	db->audit_asked = db->audit_decided = 0;
	pg_atomic_write_u64(&db->tracks_used, 0);
	pg_atomic_write_u64(&db->apart_round, 0);
	sn_weights_reset(db);
	pg_atomic_write_u32(&db->relays_changed, 1);
	free_told(db->dboid);
	pg_atomic_write_u32(&db->clock_ready, 0);
}

/* free_database: give up a slot, so that the next to use it starts anew; lock held */
static void
free_database(SnDatabase *db)
{
	int			i;

	free_sub_slots(db->dboid);
	free_failures(db->dboid);
	db->dboid = InvalidOid;
	db->vacate_until = 0;
	db->created = false;
	forget_contents(db);
	for (i = 0; i < SN_JOURNALS; i++)
		pg_atomic_write_u32(&db->journal_half[i], 0);
}

/*
 * sn_database_created: CREATE EXTENSION was committed here.  Nothing that a
 * former life of the extension left in shared memory holds any more.  Raises
 * no error: when there is no slot, the first use says so.
 */
void
sn_database_created(void)
{
	SnShared   *s = sn_shared();
	SnDatabase *db = NULL;
	int			i;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_DATABASES; i++)
	{
		if (s->databases[i].dboid == MyDatabaseId)
		{
			db = &s->databases[i];
			break;
		}
		if (s->databases[i].dboid == InvalidOid && db == NULL)
			db = &s->databases[i];
	}
	if (db != NULL)
	{
		db->dboid = MyDatabaseId;
		db->created = true;
		db->calls++;
		forget_contents(db);
		pg_atomic_write_u64(&db->commits_before,
							pg_atomic_read_u64(&db->commits));
		free_sub_slots(MyDatabaseId);
		free_failures(MyDatabaseId);
	}
	LWLockRelease(&s->lock);
	sn_wake_launcher();
}

/*
 * sn_database_leave: this database was found without the extension.  False
 * when it was created in the meantime, and has to be looked for again.
 */
bool
sn_database_leave(void)
{
	SnShared   *s = sn_shared();
	SnDatabase *db = sn_database_find();
	bool		leave = true;

	if (db == NULL)
		return true;
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	if (db->created)
		leave = db->created = false;
	else
		free_database(db);
	LWLockRelease(&s->lock);
	return leave;
}

/* sn_database_free: give up the slot of a database that is gone */
void
sn_database_free(Oid dboid)
{
	SnDatabase *db = sn_database_of(dboid);

	if (db == NULL)
		return;
	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	if (db->sequencer_pid == 0)
		free_database(db);
	LWLockRelease(&sn_shared()->lock);
}

/* find_sub_slot: the slot of a subscription, and a free one; lock held */
static SnSubSlot *
find_sub_slot(int sub_id, SnSubSlot **free_slot)
{
	SnShared   *s = sn_shared();
	int			i;

	Assert(LWLockHeldByMe(&s->lock));
	for (i = 0; i < s->nsubs; i++)
	{
		SnSubSlot  *slot = &s->subs[i];

		if (slot->sub_id == sub_id && slot->dboid == MyDatabaseId)
			return slot;
		if (slot->sub_id == 0 && free_slot != NULL && *free_slot == NULL)
			*free_slot = slot;
	}
	return NULL;
}

/* sn_sub_slot_find: the hints of a subscription, or NULL if it has none */
SnSubSlot *
sn_sub_slot_find(int sub_id)
{
	SnSubSlot  *slot;

	LWLockAcquire(&sn_shared()->lock, LW_SHARED);
	slot = find_sub_slot(sub_id, NULL);
	LWLockRelease(&sn_shared()->lock);
	return slot;
}

/* sn_sub_look_everywhere: every lane may have work, in every track */
void
sn_sub_look_everywhere(SnSubSlot *slot)
{
	int			track;

	for (track = 0; track < SN_TRACKS; track++)
	{
		pg_atomic_write_u64(&slot->busy[track], PG_UINT64_MAX);
		pg_atomic_write_u64(&slot->tracks[track], PG_UINT64_MAX);
	}
	pg_atomic_write_u64(&slot->pending, PG_UINT64_MAX);
}

/*
 * sn_sub_slot: the hints of a subscription, made at first use.  NULL when all
 * slots are taken: then the caller has to look at every lane, and waits by
 * polling.
 */
SnSubSlot *
sn_sub_slot(int sub_id)
{
	SnSubSlot  *free_slot = NULL;
	SnSubSlot  *slot = sn_sub_slot_find(sub_id);
	int			lane;
	int			size;

	if (slot != NULL)
		return slot;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot = find_sub_slot(sub_id, &free_slot);
	if (slot == NULL && free_slot != NULL)
	{
		slot = free_slot;
		sn_sub_look_everywhere(slot);
		pg_atomic_write_u64(&slot->behind, 0);
		pg_atomic_write_u64(&slot->behind_on_common, 0);
		pg_atomic_write_u64(&slot->due, 0);
		pg_atomic_write_u64(&slot->new_first, 0);
		for (size = 0; size < SN_TURN_SIZES; size++)
			pg_atomic_write_u32(&slot->next_share[size], 0);
		pg_atomic_write_u32(&slot->lost_strip, 0);
		pg_atomic_write_u64(&slot->after_batch, 0);
		pg_atomic_write_u64(&slot->deferred, 0);
		pg_atomic_write_u64(&slot->next_check, SN_NEVER);
		pg_atomic_write_u64(&slot->blocked, 0);
		pg_atomic_write_u32(&slot->next_lane, 0);
		pg_atomic_write_u64(&slot->claimed_at, 0);
		pg_atomic_write_u64(&slot->unsure, 0);
		for (lane = 0; lane < SN_MAX_LANES; lane++)
		{
			pg_atomic_write_u64(&slot->stamps[lane], 0);
			pg_atomic_write_u64(&slot->holders[lane], 0);
		}
		memset(slot->samples, 0, sizeof(slot->samples));
		slot->dboid = MyDatabaseId;
		slot->sub_id = sub_id;
	}
	LWLockRelease(&sn_shared()->lock);
	return slot;
}

/*
 * sn_sub_slots_beside: whether there are hints of other subscriptions than
 * these in this database; give them up if so wanted.
 */
bool
sn_sub_slots_beside(const List *sub_ids, bool give_up)
{
	SnShared   *s = sn_shared();
	SnSubSlot  *slot = NULL;
	bool		found = false;

	LWLockAcquire(&s->lock, give_up ? LW_EXCLUSIVE : LW_SHARED);
	while ((slot = sn_sub_slot_after(slot, MyDatabaseId)) != NULL)
	{
		if (list_member_int(sub_ids, slot->sub_id))
			continue;
		found = true;
		if (give_up)
			free_sub_slot(slot);
	}
	LWLockRelease(&s->lock);
	return found;
}

/* sn_sub_slot_free: give up the hints of a subscription that is gone */
void
sn_sub_slot_free(int sub_id)
{
	SnSubSlot  *slot;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot = find_sub_slot(sub_id, NULL);
	if (slot != NULL)
		free_sub_slot(slot);
	LWLockRelease(&sn_shared()->lock);
}

/* sn_sub_slots_full: whether there are hints for no more subscriptions */
bool
sn_sub_slots_full(void)
{
	SnShared   *s = sn_shared();
	bool		full = true;
	int			i;

	LWLockAcquire(&s->lock, LW_SHARED);
	for (i = 0; i < s->nsubs && full; i++)
		full = s->subs[i].sub_id != 0;
	LWLockRelease(&s->lock);
	return full;
}

/*
 * sn_set_latch_of: wake a process whose slot may by now belong to another,
 * who is then woken for nothing.
 */
void
sn_set_latch_of(int procno, int pid)
{
	PGPROC	   *proc;

	if (procno < 0 || procno >= ProcGlobal->allProcCount)
		return;
	proc = &ProcGlobal->allProcs[procno];
	if (proc->pid == pid)
		SetLatch(&proc->procLatch);
}

/* sn_my_procno: by which others set the latch of this process */
int
sn_my_procno(void)
{
	return MyProc - &ProcGlobal->allProcs[0];
}

/* sn_wake_launcher: have it look at what has changed */
void
sn_wake_launcher(void)
{
	SnShared   *s = sn_shared();

	sn_set_latch_of(s->launcher_procno, s->launcher_pid);
}

/* sn_wake_workers: have the workers of a database look at what has changed */
void
sn_wake_workers(Oid dboid)
{
	SnShared   *s = sn_shared();
	SnDatabase *db = sn_database_of(dboid);
	int			i;

	if (db != NULL)
		sn_set_latch_of(db->sequencer_procno, db->sequencer_pid);
	for (i = 0; i < SN_MAX_RELAYS; i++)
		if (s->relays[i].pid != 0 && s->relays[i].dboid == dboid)
			sn_set_latch_of(s->relays[i].procno, s->relays[i].pid);
}

/*
 * sn_wake_relays: have the relays of this database look at lanes that have got
 * events, or at their switch.  Raises no error.  A relay that comes just now
 * and is not seen here looks at everything under a snapshot taken later.
 */
void
sn_wake_relays(uint64 lanes, bool look)
{
	SnShared   *s = sn_shared();
	int			i;

	for (i = 0; i < SN_MAX_RELAYS; i++)
	{
		SnRelaySlot *slot = &s->relays[i];

		if (slot->pid == 0 || slot->dboid != MyDatabaseId)
			continue;
		(void) pg_atomic_fetch_or_u64(&slot->pending, lanes);
		if (look)
			pg_atomic_write_u32(&slot->look, 1);
		sn_set_latch_of(slot->procno, slot->pid);
	}
}
