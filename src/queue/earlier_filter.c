/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * earlier_filter.c
 *		Filters that subscriptions had before, and have passed, are forgotten: a
 *		step of maintenance.
 *
 * It takes the lanes one by one, and none that somebody has.  A lane that is past
 * a round never comes back, so a claim beside it may know the forgotten streams
 * or not: it reads the same.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "queue/filter.h"
#include "store/store.h"

/*
 * pass_earlier: what a subscription has passed, in all lanes and retries, with
 * the lanes moved that have nothing left of its first earlier filter
 */
static SnPos
pass_earlier(SnSub *sub)
{
	SnPos		end = SN_ROUND_POS(sub->segments[0].until);
	SnPos		passed = SN_POS_MAX;
	int			lanes = sn_node()->lanes;
	Snapshot	snapshot;
	int			i;

	for (i = 0; i < lanes && passed >= end; i++)
	{
		CHECK_FOR_INTERRUPTS();
		passed = Min(passed, sn_pass_lane(sub, i, end));
	}
	if (passed < end)
		return passed;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	passed = Min(passed, sn_passed_by_retries(sub, snapshot));
	UnregisterSnapshot(snapshot);
	return passed;
}

/*
 * sn_earlier_filters_step: have subscriptions forget filters that they have
 * passed.  One of them at a time, for its locks.
 */
bool
sn_earlier_filters_step(void)
{
	ListCell   *lc;

	foreach(lc, sn_sub_ids())
	{
		SnSub	   *sub = sn_sub_by_id(lfirst_int(lc));
		SnPos		passed;

		if (sub == NULL || sub->is_relay || sub->nsegments < 2)
			continue;
		passed = pass_earlier(sub);
		if (SN_ROUND_POS(sub->segments[0].until) <= passed)
			return sn_sub_forget_filters(sub->sub_id, passed);
	}
	return false;
}
