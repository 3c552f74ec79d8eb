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

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "sentinai.h"
#include "shmem.h"

static SnShared *shared = NULL;
static SnDatabase *my_database = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
init_database_slot(SnDatabase *db)
{
	db->dboid = InvalidOid;
	db->sequencer_pid = 0;
	db->sequencer_procno = -1;
	db->vacate_until = 0;
	pg_atomic_init_u32(&db->clock_ready, 0);
	pg_atomic_init_u64(&db->commits, 0);
	pg_atomic_init_u64(&db->sequenced, 0);
	pg_atomic_init_u32(&db->half_round, 0);
	pg_atomic_init_u32(&db->half_lane, 0);
	pg_atomic_init_u64(&db->rounds, 0);
	pg_atomic_init_u64(&db->round_events, 0);
	ConditionVariableInit(&db->sequenced_cv);
}

static void
init_shared(SnShared *s)
{
	int			i;

	memset(s, 0, sizeof(SnShared));
	s->tranche_id = LWLockNewTrancheId();
	LWLockInitialize(&s->lock, s->tranche_id);
	pg_atomic_init_u64(&s->clock, 0);
	s->launcher_procno = -1;
	for (i = 0; i < SN_MAX_DATABASES; i++)
		init_database_slot(&s->databases[i]);
	for (i = 0; i < SN_MAX_SUBS; i++)
	{
		pg_atomic_init_u64(&s->subs[i].pending, PG_UINT64_MAX);
		pg_atomic_init_u64(&s->subs[i].more, 0);
		pg_atomic_init_u64(&s->subs[i].deferred, 0);
		pg_atomic_init_u64(&s->subs[i].next_check, SN_NEVER);
		pg_atomic_init_u32(&s->subs[i].next_lane, 0);
		pg_atomic_init_u32(&s->subs[i].waiters, 0);
		ConditionVariableInit(&s->subs[i].cv);
	}
	for (i = 0; i < SN_MAX_RELAYS; i++)
		s->relays[i].procno = -1;
}

/* sn_shared: the shared struct, made by whoever comes first */
SnShared *
sn_shared(void)
{
	bool		found;

	if (shared != NULL)
		return shared;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("sentinai", sizeof(SnShared), &found);
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
	RequestAddinShmemSpace(MAXALIGN(sizeof(SnShared)));
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
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/*
 * sn_database: the slot of this database, taken at first use.  More databases
 * than slots is an error the caller can act on.
 */
SnDatabase *
sn_database(void)
{
	SnShared   *s = sn_shared();
	SnDatabase *free_slot = NULL;
	int			i;

	if (my_database != NULL && my_database->dboid == MyDatabaseId)
		return my_database;

	my_database = NULL;
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_DATABASES; i++)
	{
		SnDatabase *db = &s->databases[i];

		if (db->dboid == MyDatabaseId)
		{
			my_database = db;
			break;
		}
		if (db->dboid == InvalidOid && free_slot == NULL)
			free_slot = db;
	}
	if (my_database == NULL && free_slot != NULL)
	{
		free_slot->dboid = MyDatabaseId;
		my_database = free_slot;
	}
	LWLockRelease(&s->lock);

	if (my_database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use sentinai"),
				 errdetail("A server can hold at most %d of them.",
						   SN_MAX_DATABASES),
				 errhint("Drop the extension from a database that no longer uses it and restart the server.")));
	return my_database;
}

/* sn_database_find: the slot of this database, or NULL if it took none yet */
SnDatabase *
sn_database_find(void)
{
	SnShared   *s = sn_shared();
	SnDatabase *result = NULL;
	int			i;

	LWLockAcquire(&s->lock, LW_SHARED);
	for (i = 0; i < SN_MAX_DATABASES && result == NULL; i++)
		if (s->databases[i].dboid == MyDatabaseId)
			result = &s->databases[i];
	LWLockRelease(&s->lock);
	return result;
}

/* find_sub_slot: the slot of a subscription, and a free one; lock held */
static SnSubSlot *
find_sub_slot(int sub_id, SnSubSlot **free_slot)
{
	SnShared   *s = sn_shared();
	int			i;

	for (i = 0; i < SN_MAX_SUBS; i++)
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

	if (slot != NULL)
		return slot;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot = find_sub_slot(sub_id, &free_slot);
	if (slot == NULL && free_slot != NULL)
	{
		slot = free_slot;
		pg_atomic_write_u64(&slot->pending, PG_UINT64_MAX);
		pg_atomic_write_u64(&slot->more, 0);
		pg_atomic_write_u64(&slot->deferred, 0);
		pg_atomic_write_u64(&slot->next_check, SN_NEVER);
		pg_atomic_write_u32(&slot->next_lane, 0);
		pg_atomic_write_u32(&slot->waiters, 0);
		slot->dboid = MyDatabaseId;
		slot->sub_id = sub_id;
	}
	LWLockRelease(&sn_shared()->lock);
	return slot;
}

/* sn_sub_slot_free: give up the hints of a subscription that is gone */
void
sn_sub_slot_free(int sub_id)
{
	SnSubSlot  *slot;

	LWLockAcquire(&sn_shared()->lock, LW_EXCLUSIVE);
	slot = find_sub_slot(sub_id, NULL);
	if (slot != NULL)
	{
		slot->sub_id = 0;
		slot->dboid = InvalidOid;
		ConditionVariableBroadcast(&slot->cv);
	}
	LWLockRelease(&sn_shared()->lock);
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
