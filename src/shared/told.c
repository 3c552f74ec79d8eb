/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * told.c
 *		Which relays the databases have: the launcher, which is connected to none,
 *		is told by their sequencers.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "shared/shmem.h"

/* find_told: what was told of a relay, or a free place for it; lock held */
static SnRelayTold *
find_told(Oid dboid, int relay_id)
{
	SnShared   *s = sn_shared();
	SnRelayTold *unused = NULL;
	int			i;

	Assert(LWLockHeldByMe(&s->lock));
	for (i = 0; i < SN_MAX_TOLD; i++)
	{
		SnRelayTold *told = &s->told[i];

		if (told->dboid == dboid && told->relay_id == relay_id)
			return told;
		if (told->dboid == InvalidOid && unused == NULL)
			unused = told;
	}
	return unused;
}

/* has_told: whether a relay is in a list */
static bool
has_told(const SnRelayTold *list, int n, int relay_id)
{
	int			i;

	for (i = 0; i < n; i++)
		if (list[i].relay_id == relay_id)
			return true;
	return false;
}

/* sn_told_set: these are the relays of this database; false: not all found room */
bool
sn_told_set(const SnRelayTold *list, int n)
{
	SnShared   *s = sn_shared();
	bool		result = true;
	int			i;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_TOLD; i++)
		if (s->told[i].dboid == MyDatabaseId &&
			!has_told(list, n, s->told[i].relay_id))
			s->told[i].dboid = InvalidOid;
	for (i = 0; i < n; i++)
	{
		SnRelayTold *told = find_told(MyDatabaseId, list[i].relay_id);
		uint32		full = 0;

		result &= told != NULL;
		if (told == NULL)
			break;
		if (told->dboid == MyDatabaseId)
			full = told->full;
		*told = list[i];
		told->full = full;
	}
	LWLockRelease(&s->lock);
	sn_wake_launcher();
	return result;
}

/* sn_told_forget: a database is gone, and its relays with it */
void
sn_told_forget(Oid dboid)
{
	SnShared   *s = sn_shared();
	int			i;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (i = 0; i < SN_MAX_TOLD; i++)
		if (s->told[i].dboid == dboid)
			s->told[i].dboid = InvalidOid;
	LWLockRelease(&s->lock);
}

/* sn_told_get: copies of the relays of a database; returns how many */
int
sn_told_get(Oid dboid, SnRelayTold list[SN_MAX_TOLD])
{
	SnShared   *s = sn_shared();
	int			n = 0;
	int			i;

	LWLockAcquire(&s->lock, LW_SHARED);
	for (i = 0; i < SN_MAX_TOLD; i++)
		if (s->told[i].dboid == dboid)
			list[n++] = s->told[i];
	LWLockRelease(&s->lock);
	return n;
}

/* sn_told_full: whether a process of a relay finds no free worker slot */
void
sn_told_full(Oid dboid, int relay_id, int index, bool full)
{
	SnShared   *s = sn_shared();
	uint32		bit = (uint32) 1 << index;
	SnRelayTold *told;

	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	told = find_told(dboid, relay_id);
	if (told != NULL && told->dboid == dboid)
		told->full = full ? told->full | bit : told->full & ~bit;
	LWLockRelease(&s->lock);
}
