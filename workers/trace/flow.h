/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * flow.h
 *	  The events of a flow, as sentinai.trace_tree() has them.
 */
#ifndef SENTINAI_FLOW_H
#define SENTINAI_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>

#include "text.h"

/* What a subscription did with an event; what is not known is NULL or 0. */
typedef struct FlowWork
{
	const char *worker_type;
	const char *status;
	const char *attempts;
	const char *worker_id;
	const char *error;
	long long	claimed;		/* microseconds since 1970 */
	long long	completed;
	long long	dead;
	long long	due;
} FlowWork;

typedef struct FlowEvent
{
	const char *id;
	const char *type;
	const char *tenant;
	const char *aggregate_type;
	const char *aggregate_id;	/* or NULL */
	const char *traceparent;	/* or NULL */
	const char *time;			/* ISO 8601, UTC */
	long long	occurred;		/* microseconds since 1970 */
	int			depth;
	int			parent;			/* place of its cause; -1: none in the flow */
	bool		last;			/* no other of its parent's comes behind it */
	FlowWork   *works;
	int			work_count;
} FlowEvent;

/* Each event stands before what it led to. */
typedef struct Flow
{
	FlowEvent  *events;
	int			count;
	FlowWork   *works;
	PGresult   *result;			/* holds the strings */
} Flow;

/* Ways to show one. */
typedef void (*FlowDraw) (Text *out, const Flow *flow);

extern bool flow_read(PGconn *conn, const char *correlation_id,
					  const char *tenant, const char *max_events, Flow *flow);
extern void flow_free(Flow *flow);
extern long long flow_work_end(const FlowWork *work);
extern long long flow_event_end(const FlowEvent *event);

extern void flow_draw_tree(Text *out, const Flow *flow);
extern void flow_draw_svg(Text *out, const Flow *flow);
extern void flow_draw_mermaid(Text *out, const Flow *flow);
extern void flow_draw_otlp(Text *out, const Flow *flow);

/* escape.c */
extern void text_addf(Text *out, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void text_add_plain(Text *out, const char *string);
extern void text_add_xml(Text *out, const char *string);
extern void text_add_mermaid(Text *out, const char *string);
extern void text_add_duration(Text *out, long long microseconds);

#endif							/* SENTINAI_FLOW_H */
