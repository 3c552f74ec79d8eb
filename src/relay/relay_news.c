/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_news.c
 *		The relay's core: what it tells its host of lanes and events.
 */
#include <stdio.h>

#include "relay/relay_state.h"

/*
 * sn_relay_core_progress: where a lane is, if it moved since the last call, and
 * by how many events; otherwise *pos is left as it is.
 */
int
sn_relay_core_progress(SnRelayCore *core, int lane, int64_t *pos)
{
	SnWindowLane *l = &core->window.lanes[lane];
	int			passed = l->passed;

	if (passed == 0)
		return 0;
	*pos = l->pos;
	l->passed = 0;
	return passed;
}

/* sn_relay_core_news_in: lanes that the host has to see to */
uint64_t
sn_relay_core_news_in(SnRelayCore *core)
{
	const SnWindowEntry *entry;
	uint64_t	lanes = 0;
	SnHeld		held;
	int			lane;

	for (entry = core->window.news; entry != NULL; entry = entry->next_news)
		lanes |= UINT64_C(1) << entry->lane;
	for (lane = 0; lane < core->window.nlanes && core->topics.nheld > 0; lane++)
		if (sn_relay_core_held(core, lane, &held))
			lanes |= UINT64_C(1) << lane;
	return lanes;
}

/* fill_news: what there is to say of an event */
static void
fill_news(SnRelayCore *core, const SnWindowEntry *entry, SnNews *news)
{
	const char *error = entry->error != NULL ? entry->error : "";

	news->kind = entry->state == SN_ENTRY_REFUSED ? SN_NEWS_REFUSED :
		entry->state == SN_ENTRY_UNWANTED ? SN_NEWS_UNWANTED :
		entry->state == SN_ENTRY_HELD ? SN_NEWS_HELD : SN_NEWS_ARRIVED;
	news->lane = entry->lane;
	news->pos = entry->pos;
	news->parked = entry->parked;
	news->labelled = entry->labelled;
	snprintf(news->event_id, sizeof(news->event_id), "%s",
			 entry->event.event_id);
	news->topic = NULL;
	news->error = core->news_error;
	if (entry->topic != NULL)
	{
		snprintf(core->news_topic, sizeof(core->news_topic), "%s",
				 entry->topic->name);
		news->topic = core->news_topic;
		if (entry->state == SN_ENTRY_HELD && entry->topic->error != NULL)
			error = entry->topic->error;
	}
	snprintf(core->news_error, sizeof(core->news_error), "%s", error);
}

/*
 * sn_relay_core_news: the next event of some lanes that the host has to see to,
 * in the transaction that stores the positions; from this call on it counts as
 * done.
 */
bool
sn_relay_core_news(SnRelayCore *core, uint64_t lanes, SnNews *news)
{
	SnWindowEntry *entry = sn_window_news(&core->window, lanes);

	if (entry == NULL)
		return false;
	fill_news(core, entry, news);
	if (entry->state == SN_ENTRY_HELD)
	{
		entry->topic->parked = true;
		entry->topic->exhausted = false;
	}
	sn_core_leave_topic(entry);
	entry->state = SN_ENTRY_DONE;
	if (entry->parked)
		sn_window_drop(&core->window, entry);
	else
		sn_core_pass(core, entry);
	return true;
}
