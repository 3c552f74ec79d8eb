/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event.c
 *	  The members of an event by their names, whatever it was made of.
 *
 * A row of claim() and a record of Kafka are filled into an event here, and
 * here it becomes JSON.  The strings belong to whoever filled them in.
 */
#include <stdio.h>
#include <string.h>

#include "event.h"

static const struct
{
	const char *name;
	size_t		offset;
	bool		is_json;
}			members[EVENT_MEMBERS] = {
	[EVENT_TOKEN] = {"token", offsetof(AgentEvent, token), false},
	[EVENT_ID] = {"event_id", offsetof(AgentEvent, event_id), false},
	[EVENT_TYPE] = {"event_type", offsetof(AgentEvent, event_type), false},
	[EVENT_TENANT_ID] = {"tenant_id", offsetof(AgentEvent, tenant_id), false},
	[EVENT_AGGREGATE_TYPE] = {"aggregate_type",
	offsetof(AgentEvent, aggregate_type), false},
	[EVENT_AGGREGATE_ID] = {"aggregate_id",
	offsetof(AgentEvent, aggregate_id), false},
	[EVENT_SCHEMA_VERSION] = {"schema_version",
	offsetof(AgentEvent, schema_version), true},
	[EVENT_PAYLOAD] = {"payload", offsetof(AgentEvent, payload), true},
	[EVENT_METADATA] = {"metadata", offsetof(AgentEvent, metadata), true},
	[EVENT_CORRELATION_ID] = {"correlation_id",
	offsetof(AgentEvent, correlation_id), false},
	[EVENT_CAUSATION_ID] = {"causation_id",
	offsetof(AgentEvent, causation_id), false},
	[EVENT_OCCURRED_AT] = {"occurred_at",
	offsetof(AgentEvent, occurred_at), false},
	[EVENT_TRACEPARENT] = {"traceparent",
	offsetof(AgentEvent, traceparent), false},
	[EVENT_TRACESTATE] = {"tracestate",
	offsetof(AgentEvent, tracestate), false}
};

/* Where a member is in an event. */
static const char **
place_of_member(AgentEvent *event, EventMember member)
{
	return (const char **) ((char *) event + members[member].offset);
}

/* Gives an event a member; NULL: it has none.  In the order of the members. */
void
event_set(AgentEvent *event, EventMember member, const char *value)
{
	/* W3C: without the one the other says nothing */
	if (member == EVENT_TRACESTATE && event->traceparent == NULL)
		value = NULL;
	*place_of_member(event, member) = value;
}

/* Appends a member of an event as one of a JSON object. */
void
event_add(Text *text, const AgentEvent *event, EventMember member)
{
	text_add_json_member(text, members[member].name,
						 *place_of_member((AgentEvent *) event, member),
						 members[member].is_json);
}

/* Appends which attempt this is. */
void
event_add_attempt(Text *text, const AgentEvent *event)
{
	char		attempt[16];

	snprintf(attempt, sizeof(attempt), "%d", event->attempt);
	text_add_json_member(text, "attempt", attempt, true);
}

/* The event as one line of JSON, with the columns of claim(). */
char *
agent_event_json(const AgentEvent *event, size_t *length)
{
	Text		text = {0};
	int			i;

	text_add(&text, "{");
	for (i = 0; i < EVENT_TRACEPARENT; i++)
		event_add(&text, event, (EventMember) i);
	event_add_attempt(&text, event);
	text_add(&text, "}\n");
	if (text.failed)
	{
		text_free(&text);
		return NULL;
	}
	*length = text.length;
	return text.data;
}

/* Are two strings, or two NULLs, equal? */
static bool
is_same(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

/* Have two events one key, whose events keep their order? */
bool
event_same_key(const AgentEvent *event, const AgentEvent *other)
{
	return is_same(event->aggregate_id, other->aggregate_id) &&
		is_same(event->tenant_id, other->tenant_id);
}
