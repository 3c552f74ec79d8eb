/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event.h
 *	  The members of an event by their names, whatever it was made of.
 */
#ifndef SENTINAI_EVENT_H
#define SENTINAI_EVENT_H

#include "agent.h"
#include "text.h"

/* Members that are text, in the order of claim(); the trace comes last. */
typedef enum EventMember
{
	EVENT_TOKEN,
	EVENT_ID,
	EVENT_TYPE,
	EVENT_TENANT_ID,
	EVENT_AGGREGATE_TYPE,
	EVENT_AGGREGATE_ID,
	EVENT_SCHEMA_VERSION,
	EVENT_PAYLOAD,
	EVENT_METADATA,
	EVENT_CORRELATION_ID,
	EVENT_CAUSATION_ID,
	EVENT_OCCURRED_AT,
	EVENT_TRACEPARENT,
	EVENT_TRACESTATE,
	EVENT_MEMBERS
} EventMember;

extern void event_set(AgentEvent *event, EventMember member, const char *value);
extern void event_add(Text *text, const AgentEvent *event, EventMember member);
extern void event_add_attempt(Text *text, const AgentEvent *event);
extern bool event_same_key(const AgentEvent *event, const AgentEvent *other);

#endif							/* SENTINAI_EVENT_H */
