/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_entry.c
 *		What becomes of an event of the window, and of a lane with it.
 */
#include <stdio.h>
#include <string.h>

#include "relay/relay_state.h"

/* sn_core_note_error: count an error and keep what it says */
void
sn_core_note_error(SnRelayCore *core, const char *error)
{
	core->stats.errors++;
	snprintf(core->last_error, sizeof(core->last_error), "%s",
			 error ? error : "unknown error");
}

/* sn_core_leave_topic: an event is no longer one that its topic waits for */
void
sn_core_leave_topic(SnWindowEntry *entry)
{
	if (entry->topic == NULL)
		return;
	entry->topic->entries--;
	entry->topic->nparked -= entry->parked;
	entry->topic = NULL;
}

/* sn_core_pass: an event of a lane is done; move the lane as far as that goes */
void
sn_core_pass(SnRelayCore *core, SnWindowEntry *entry)
{
	SnWindowLane *lane = &core->window.lanes[entry->lane];

	while (sn_window_pass(&core->window, lane))
		continue;
}

/* sn_core_done: the broker has an event; who parked it is told */
void
sn_core_done(SnRelayCore *core, SnWindowEntry *entry)
{
	entry->state = SN_ENTRY_DONE;
	if (entry->parked)
		sn_window_tell(&core->window, entry);
	else
	{
		sn_core_leave_topic(entry);
		sn_core_pass(core, entry);
	}
}

/* sn_core_refuse: this event can never be sent */
void
sn_core_refuse(SnRelayCore *core, SnWindowEntry *entry, const char *error)
{
	entry->state = SN_ENTRY_REFUSED;
	entry->error = strdup(error ? error : "refused by the broker");
	core->stats.refused++;
	sn_core_note_error(core, error);
	sn_window_tell(&core->window, entry);
}
