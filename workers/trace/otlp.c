/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * otlp.c
 *	  A flow as the JSON of OpenTelemetry's protocol, as a collector takes it.
 *
 * An event is a span whose id is the second half of the event's id; that is
 * also what the traceparent of an event has that inherited its trace, so spans
 * of other programs that continued it find their parent.  A subscription that
 * is done with an event is a span below.  An event without a trace is in one
 * that is named by the first of its tree.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "flow.h"

#define TRACE_LEN 32
#define SPAN_LEN 16
#define TRACE_AT 3				/* in a traceparent */
#define SPAN_AT 36
#define HEX "0123456789abcdef"

#define STATUS_ERROR 2
#define KIND_PRODUCER 4
#define KIND_CONSUMER 5

/* The hex digits of an id, from the digit `from` on. */
static void
take_digits(const char *id, int from, int count, char *digits)
{
	int			seen = 0;
	int			n = 0;

	for (; *id != '\0' && n < count; id++)
		if (*id != '-' && seen++ >= from)
			digits[n++] = *id;
	digits[n] = '\0';
}

/*
 * Has an event a traceparent?  What publish() stores is one, but rows of other
 * origin may have any text, and what we write must stay JSON.
 */
static bool
has_trace(const FlowEvent *event)
{
	const char *text = event->traceparent;

	return text != NULL && strlen(text) == 55 &&
		strspn(text + TRACE_AT, HEX) == TRACE_LEN &&
		strspn(text + SPAN_AT, HEX) == SPAN_LEN;
}

/* The trace of an event. */
static void
trace_of(const Flow *flow, const FlowEvent *event, char *trace)
{
	if (has_trace(event))
	{
		snprintf(trace, TRACE_LEN + 1, "%.32s", event->traceparent + TRACE_AT);
		return;
	}
	while (event->parent >= 0 && !has_trace(&flow->events[event->parent]))
		event = &flow->events[event->parent];
	take_digits(event->id, 0, TRACE_LEN, trace);
}

/* The span of an event. */
static void
span_of(const FlowEvent *event, char *span)
{
	take_digits(event->id, SPAN_LEN, SPAN_LEN, span);
}

/* The span of what a subscription did: a hash of both names (FNV-1a). */
static void
work_span(const FlowEvent *event, const FlowWork *work, char *span)
{
	const char *names[] = {event->id, work->worker_type};
	uint64_t	hash = UINT64_C(14695981039346656037);
	int			i;

	for (i = 0; i < 2; i++)
	{
		const char *p;

		for (p = names[i]; *p != '\0'; p++)
			hash = (hash ^ (unsigned char) *p) * UINT64_C(1099511628211);
	}
	snprintf(span, SPAN_LEN + 1, "%016llx", (unsigned long long) (hash | 1));
}

/* Adds an attribute; NULL adds nothing. */
static void
add_attribute(Text *out, const char *key, const char *value, const char *comma)
{
	if (value == NULL)
		return;
	text_addf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", comma, key);
	text_add_json_string(out, value);
	text_add(out, "}}");
}

/* Adds what every span begins with; the name is still to come. */
static void
begin_span(Text *out, const char *trace, const char *span, const char *parent,
		   int kind, long long from, long long to)
{
	text_addf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\"", trace, span);
	if (*parent != '\0')
		text_addf(out, ",\"parentSpanId\":\"%s\"", parent);
	text_addf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%lld000\","
			  "\"endTimeUnixNano\":\"%lld000\",\"name\":", kind, from, to);
}

/* Adds a name made of a word and what others have chosen. */
static void
add_name(Text *out, const char *word, const char *name)
{
	Text		whole = {0};

	text_add(&whole, word);
	text_add(&whole, name);
	if (whole.failed)
		out->failed = true;
	else
		text_add_json_string(out, whole.data);
	text_free(&whole);
}

/*
 * The span above that of an event.  Its traceparent names it, unless that is
 * the event's own; then its cause's does.  A cause in another trace is a link.
 */
static void
add_event_span(Text *out, const Flow *flow, const FlowEvent *event,
			   const char *trace, const char *span)
{
	char		parent[SPAN_LEN + 1] = "";
	char		link_trace[TRACE_LEN + 1] = "";
	char		link_span[SPAN_LEN + 1] = "";

	if (event->parent >= 0)
	{
		const FlowEvent *cause = &flow->events[event->parent];

		trace_of(flow, cause, link_trace);
		span_of(cause, link_span);
		if (strcmp(link_trace, trace) == 0)
		{
			strcpy(parent, link_span);
			*link_trace = '\0';
		}
	}
	if (has_trace(event) &&
		strncmp(event->traceparent + SPAN_AT, span, SPAN_LEN) != 0)
		snprintf(parent, sizeof(parent), "%.16s", event->traceparent + SPAN_AT);
	begin_span(out, trace, span, parent, KIND_PRODUCER, event->occurred,
			   event->occurred);
	add_name(out, "publish ", event->type);
	text_add(out, ",\"attributes\":[");
	add_attribute(out, "sentinai.event_id", event->id, "");
	add_attribute(out, "sentinai.tenant_id", event->tenant, ",");
	add_attribute(out, "sentinai.aggregate_type", event->aggregate_type, ",");
	add_attribute(out, "sentinai.aggregate_id", event->aggregate_id, ",");
	text_add(out, "]");
	if (*link_trace != '\0')
		text_addf(out, ",\"links\":[{\"traceId\":\"%s\",\"spanId\":\"%s\"}]",
				  link_trace, link_span);
	text_add(out, "}");
}

/* The span of a subscription that is done with an event. */
static void
add_work_span(Text *out, const FlowEvent *event, const FlowWork *work,
			  const char *trace, const char *event_span)
{
	long long	from = work->claimed != 0 ? work->claimed : event->occurred;
	char		span[SPAN_LEN + 1];

	work_span(event, work, span);
	text_add(out, ",");
	begin_span(out, trace, span, event_span, KIND_CONSUMER, from,
			   flow_work_end(work));
	add_name(out, "process ", work->worker_type);
	text_add(out, ",\"attributes\":[");
	add_attribute(out, "sentinai.status",
				  work->status == NULL ? "unknown" : work->status, "");
	add_attribute(out, "sentinai.attempts", work->attempts, ",");
	add_attribute(out, "sentinai.worker_id", work->worker_id, ",");
	text_add(out, "]");
	if (work->dead != 0 && work->completed == 0)
	{
		text_addf(out, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
		text_add_json_string(out, work->error == NULL ? "" : work->error);
		text_add(out, "}");
	}
	text_add(out, "}");
}

/* One ExportTraceServiceRequest. */
void
flow_draw_otlp(Text *out, const Flow *flow)
{
	int			i;
	int			w;

	text_add(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	add_attribute(out, "service.name", "sentinai", "");
	text_add(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"sentinai-trace\","
			 "\"version\":\"" SENTINAI_VERSION "\"},\"spans\":[");
	for (i = 0; i < flow->count; i++)
	{
		const FlowEvent *event = &flow->events[i];
		char		trace[TRACE_LEN + 1];
		char		span[SPAN_LEN + 1];

		trace_of(flow, event, trace);
		span_of(event, span);
		if (i > 0)
			text_add(out, ",");
		add_event_span(out, flow, event, trace, span);
		for (w = 0; w < event->work_count; w++)
			if (flow_work_end(&event->works[w]) != 0)
				add_work_span(out, event, &event->works[w], trace, span);
	}
	text_add(out, "]}]}]}\n");
}
