/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_window.c
 *		The events that the relay's core has, in the order they came.
 *
 * Each event holds a copy of its data until it leaves the window, so that it
 * can be sent again without asking the host.
 */
#include "relay/relay_window.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_SPARE		64		/* bytes, for the next event to fit as well */
#define ROOM_KEPT		2048	/* bytes that stay with a place of the window */

/* sn_window_open: false when there is no memory */
bool
sn_window_open(SnWindow *window, int lanes, int max_events, int max_parked)
{
	int			i;

	window->nentries = max_events + max_parked;
	window->max_events = max_events;
	window->nlanes = lanes;
	window->news_end = &window->news;
	window->entries = calloc(window->nentries, sizeof(SnWindowEntry));
	window->lanes = calloc(lanes, sizeof(SnWindowLane));
	if (window->entries == NULL || window->lanes == NULL)
		return false;
	for (i = window->nentries - 1; i >= 0; i--)
	{
		window->entries[i].next = window->unused;
		window->unused = &window->entries[i];
	}
	return true;
}

/* sn_window_close: free everything */
void
sn_window_close(SnWindow *window)
{
	int			i;

	for (i = 0; window->entries != NULL && i < window->nentries; i++)
	{
		free(window->entries[i].data);
		free(window->entries[i].error);
	}
	free(window->entries);
	free(window->lanes);
}

/* copy_string: append a string to the event's data */
static const char *
copy_string(char **at, const char *s)
{
	char	   *start = *at;
	size_t		len;

	if (s == NULL)
		return NULL;
	len = strlen(s) + 1;
	memcpy(start, s, len);
	*at += len;
	return start;
}

static size_t
kept_string_size(const char *s)
{
	return s == NULL ? 0 : strlen(s) + 1;
}

/*
 * make_room: memory for an event's strings.  That of the event before it in
 * the place is used again: most events of a database are of like size.
 */
static char *
make_room(SnWindowEntry *entry, size_t size)
{
	if (size <= entry->room)
		return entry->data;
	size += ROOM_SPARE;
	free(entry->data);
	entry->data = malloc(size);
	entry->room = entry->data == NULL ? 0 : size;
	return entry->data;
}

/* copy_block: an event whose strings are one piece of memory */
static bool
copy_block(SnWindowEntry *entry, const SnRecordEvent *e)
{
	SnRecordEvent *copy = &entry->event;
	const char **strings[] = {
		&copy->event_id, &copy->event_type, &copy->tenant_id,
		&copy->aggregate_type, &copy->aggregate_id, &copy->correlation_id,
		&copy->causation_id, &copy->traceparent, &copy->tracestate,
		&copy->outbox_id, &copy->refused_id, &copy->refused_topic,
		&copy->refused_error, &copy->metadata, &copy->payload
	};
	char	   *data = make_room(entry, e->block_len);
	size_t		i;

	if (data == NULL)
		return false;
	memcpy(data, e->block, e->block_len);
	entry->bytes = e->block_len + sizeof(SnWindowEntry);
	*copy = *e;
	copy->block = data;
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (*strings[i] != NULL)
			*strings[i] = data + (*strings[i] - e->block);
	return true;
}

/* copy_event: an event that owns its strings */
static bool
copy_event(SnWindowEntry *entry, const SnRecordEvent *e)
{
	size_t		size = kept_string_size(e->event_id) +
	kept_string_size(e->event_type) +
	kept_string_size(e->tenant_id) + kept_string_size(e->aggregate_type) +
	kept_string_size(e->aggregate_id) + kept_string_size(e->correlation_id) +
	kept_string_size(e->causation_id) + kept_string_size(e->traceparent) +
	kept_string_size(e->tracestate) + kept_string_size(e->outbox_id) +
	kept_string_size(e->refused_id) + kept_string_size(e->refused_topic) +
	kept_string_size(e->refused_error) + e->metadata_len +
	e->payload_len + 1;
	char	   *at = make_room(entry, size);

	if (at == NULL)
		return false;
	entry->bytes = size + sizeof(SnWindowEntry);
	entry->event = *e;
	entry->event.event_id = copy_string(&at, e->event_id);
	entry->event.event_type = copy_string(&at, e->event_type);
	entry->event.tenant_id = copy_string(&at, e->tenant_id);
	entry->event.aggregate_type = copy_string(&at, e->aggregate_type);
	entry->event.aggregate_id = copy_string(&at, e->aggregate_id);
	entry->event.correlation_id = copy_string(&at, e->correlation_id);
	entry->event.causation_id = copy_string(&at, e->causation_id);
	entry->event.traceparent = copy_string(&at, e->traceparent);
	entry->event.tracestate = copy_string(&at, e->tracestate);
	entry->event.outbox_id = copy_string(&at, e->outbox_id);
	entry->event.refused_id = copy_string(&at, e->refused_id);
	entry->event.refused_topic = copy_string(&at, e->refused_topic);
	entry->event.refused_error = copy_string(&at, e->refused_error);
	if (e->metadata != NULL)
	{
		entry->event.metadata = memcpy(at, e->metadata, e->metadata_len);
		at += e->metadata_len;
	}
	if (e->payload == NULL)
		return true;
	memcpy(at, e->payload, e->payload_len);
	at[e->payload_len] = '\0';
	entry->event.payload = at;
	return true;
}

/* link_last: an entry becomes the last in the order of push */
static void
link_last(SnWindow *window, SnWindowEntry *entry)
{
	entry->next = NULL;
	entry->prev = window->tail;
	if (window->tail != NULL)
		window->tail->next = entry;
	else
		window->head = entry;
	window->tail = entry;
	if (window->cursor == NULL)
		window->cursor = entry;
}

/* link_in_lane: it becomes the last of its lane */
static void
link_in_lane(SnWindow *window, SnWindowEntry *entry)
{
	SnWindowLane *lane = &window->lanes[entry->lane];

	entry->next_in_lane = NULL;
	if (lane->last != NULL)
		lane->last->next_in_lane = entry;
	else
		lane->first = entry;
	lane->last = entry;
}

/* sn_window_push: a copy of an event; NULL: no room, or no memory */
SnWindowEntry *
sn_window_push(SnWindow *window, int lane, int64_t pos, bool parked,
			   const SnRecordEvent *event)
{
	SnWindowEntry *entry = window->unused;

	if (entry == NULL || (!parked && window->used >= window->max_events))
		return NULL;
	if (event->block != NULL ? !copy_block(entry, event) :
		!copy_event(entry, event))
		return NULL;
	window->unused = entry->next;
	entry->state = SN_ENTRY_READY;
	entry->lane = lane;
	entry->pos = pos;
	entry->parked = parked;
	entry->labelled = false;
	entry->topic = NULL;
	entry->event.opaque = entry - window->entries;
	link_last(window, entry);
	if (parked)
	{
		window->nparked++;
		window->parked_bytes += entry->bytes;
	}
	else
	{
		window->used++;
		window->bytes += entry->bytes;
		link_in_lane(window, entry);
	}
	return entry;
}

/* sn_window_drop: forget an event; small memory stays with the place */
void
sn_window_drop(SnWindow *window, SnWindowEntry *entry)
{
	if (window->cursor == entry)
		window->cursor = entry->next;
	if (entry->prev != NULL)
		entry->prev->next = entry->next;
	else
		window->head = entry->next;
	if (entry->next != NULL)
		entry->next->prev = entry->prev;
	else
		window->tail = entry->prev;
	if (entry->parked)
	{
		window->nparked--;
		window->parked_bytes -= entry->bytes;
	}
	else
	{
		window->used--;
		window->bytes -= entry->bytes;
	}
	if (entry->room > ROOM_KEPT)
	{
		free(entry->data);
		entry->data = NULL;
		entry->room = 0;
	}
	free(entry->error);
	entry->error = NULL;
	entry->state = SN_ENTRY_DONE;
	entry->next = window->unused;
	window->unused = entry;
}

/*
 * sn_window_pass: move a lane behind its first event, if that is done.  The
 * caller is through with the event.
 */
bool
sn_window_pass(SnWindow *window, SnWindowLane *lane)
{
	SnWindowEntry *entry = lane->first;

	if (entry == NULL || entry->state != SN_ENTRY_DONE)
		return false;
	lane->pos = entry->pos + 1;
	lane->passed++;
	lane->first = entry->next_in_lane;
	if (lane->first == NULL)
		lane->last = NULL;
	sn_window_drop(window, entry);
	return true;
}

/* sn_window_tell: the host has to hear of an event */
void
sn_window_tell(SnWindow *window, SnWindowEntry *entry)
{
	entry->next_news = NULL;
	*window->news_end = entry;
	window->news_end = &entry->next_news;
}

/* sn_window_news: the next event of some lanes that the host has to hear of */
SnWindowEntry *
sn_window_news(SnWindow *window, uint64_t lanes)
{
	SnWindowEntry **at = &window->news;
	SnWindowEntry *entry;

	while (*at != NULL && (lanes >> (*at)->lane & 1) == 0)
		at = &(*at)->next_news;
	entry = *at;
	if (entry == NULL)
		return NULL;
	*at = entry->next_news;
	if (*at == NULL)
		window->news_end = at;
	return entry;
}
