/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tenant_order.c
 *		The order in which a call writes its events: by tenant.
 *
 * Events of one tenant with consecutive ids make a run (event_run.h), which pays for
 * the indexes once.  A batch that names its tenants in turn would have no run
 * at all.  So a call's events are written tenant by tenant: the tenants in the
 * order of their first events, and the events of each in the order given.
 * Nothing promises an order between events of different tenants, since those
 * have different keys.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"

#include "log/tenant_order.h"

/* A tenant of the call */
typedef struct TenantGroup
{
	int			first;			/* event */
	int			count;
	int			next;			/* place in the order */
} TenantGroup;

/* find_group: the number of an event's tenant, by a table of size a power of 2 */
static int
find_group(const SnEvent *events, int event, TenantGroup *groups, int *ngroups,
		   int *table, int size)
{
	const text *tenant_id = events[event].tenant_id;
	uint32		slot = hash_bytes((const unsigned char *) VARDATA_ANY(tenant_id),
								  VARSIZE_ANY_EXHDR(tenant_id));

	for (;; slot++)
	{
		int			group = table[slot & (size - 1)] - 1;

		if (group < 0)
			break;
		if (sn_same_tenant(&events[groups[group].first], &events[event]))
			return group;
	}
	groups[*ngroups].first = event;
	groups[*ngroups].count = 0;
	table[slot & (size - 1)] = ++*ngroups;
	return *ngroups - 1;
}

/*
 * sn_order_by_tenant: which event comes at each place, or NULL when the events
 * are in order as they are.
 */
const int *
sn_order_by_tenant(const SnEvent *events, int n)
{
	int			size = pg_nextpower2_32(2 * n);
	int		   *table = palloc0(size * sizeof(int));
	TenantGroup	   *groups = palloc(n * sizeof(TenantGroup));
	int		   *group_of = palloc(n * sizeof(int));
	int		   *order = palloc(n * sizeof(int));
	bool		in_order = true;
	int			ngroups = 0;
	int			place = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		group_of[i] = i > 0 && sn_same_tenant(&events[i - 1], &events[i]) ?
			group_of[i - 1] :
			find_group(events, i, groups, &ngroups, table, size);
		groups[group_of[i]].count++;
		in_order &= group_of[i] == ngroups - 1;
	}
	for (i = 0; i < ngroups; i++)
	{
		groups[i].next = place;
		place += groups[i].count;
	}
	for (i = 0; i < n; i++)
		order[groups[group_of[i]].next++] = i;
	pfree(table);
	pfree(groups);
	pfree(group_of);
	if (!in_order)
		return order;
	pfree(order);
	return NULL;
}
