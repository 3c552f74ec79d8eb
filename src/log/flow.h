/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * flow.h
 *		What an event inherits: correlation, causation, trace context.
 */
#ifndef SN_FLOW_H
#define SN_FLOW_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "log/event.h"
#include "redact/redact.h"

/* Whether a setting says something about what this transaction publishes */
extern bool sn_flow_on;

/* What metadata says of a trace, and what can go on of it */
typedef struct SnTrace
{
	char		parent[56];		/* traceparent, or "": none */
	char	   *state;			/* tracestate that goes with it, or NULL */
} SnTrace;

extern void sn_flow_define(void);
extern Jsonb *sn_flow_metadata(Jsonb *metadata, int *span_at);
extern int	sn_flow_span_at(Jsonb *metadata);
extern void sn_flow_inherit(SnEvent *event);
extern void sn_flow_of(SnEvent *event, Jsonb *cause_metadata);
extern void sn_flow_redact(SnEvent *event);

/*
 * sn_flow_apply: an event that was checked gets what it was not given.  Rules
 * are for that, too, so its metadata is redacted here.
 */
static inline void
sn_flow_apply(SnEvent *event)
{
	if (sn_flow_on)
		sn_flow_inherit(event);
	if (sn_flow_on || JB_ROOT_COUNT(event->metadata) > 0)
		event->metadata = sn_flow_metadata(event->metadata, &event->span_at);
	if (sn_redact_asks())
		sn_flow_redact(event);
}

#endif							/* SN_FLOW_H */
