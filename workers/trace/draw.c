/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * draw.c
 *	  A flow as a tree for terminals, as Mermaid and as SVG.
 */
#include <stdlib.h>
#include <string.h>

#include "flow.h"

/* Deeper levels are told by a number, so that lines stay readable. */
#define MAX_INDENT 24

#define ROW 22					/* pixels */
#define LABELS 460
#define CHART 640

/* Adds how a subscription fared. */
static void
add_work(Text *out, const FlowEvent *event, const FlowWork *work,
		 void (*add) (Text *, const char *))
{
	add(out, work->worker_type);
	text_add(out, " ");
	add(out, work->status == NULL ? "not known" : work->status);
	if (flow_work_end(work) != 0)
	{
		text_add(out, " after ");
		text_add_duration(out, flow_work_end(work) - event->occurred);
	}
	if (work->attempts != NULL && strcmp(work->attempts, "1") != 0)
		text_addf(out, " attempts %s", work->attempts);
	if (work->worker_id != NULL)
	{
		text_add(out, " by ");
		add(out, work->worker_id);
	}
	if (work->error != NULL)
	{
		text_add(out, " ");
		add(out, work->error);
	}
}

/* Adds the name of an event. */
static void
add_event(Text *out, const FlowEvent *event, void (*add) (Text *, const char *))
{
	add(out, event->type);
	text_add(out, " ");
	add(out, event->tenant);
	if (event->aggregate_id != NULL)
	{
		text_add(out, " ");
		add(out, event->aggregate_type);
		text_add(out, " ");
		add(out, event->aggregate_id);
	}
}

/* Adds the lines of the tree that go past an event. */
static void
add_lines(Text *out, const Flow *flow, const FlowEvent *event, bool itself)
{
	const char *pieces[MAX_INDENT + 1];
	int			count = 0;
	const FlowEvent *at = event;

	if (event->depth > MAX_INDENT)
	{
		text_addf(out, "%*s(%d) ", MAX_INDENT * 3 - 8, "", event->depth);
		return;
	}
	while (at->parent >= 0)
	{
		if (at == event && itself)
			pieces[count++] = at->last ? "\xe2\x94\x94\xe2\x94\x80 " :
				"\xe2\x94\x9c\xe2\x94\x80 ";
		else
			pieces[count++] = at->last ? "   " : "\xe2\x94\x82  ";
		at = &flow->events[at->parent];
	}
	while (count > 0)
		text_add(out, pieces[--count]);
}

/* Has an event led to others? */
static bool
has_children(const Flow *flow, int place)
{
	return place + 1 < flow->count && flow->events[place + 1].parent == place;
}

/* A tree of lines. */
void
flow_draw_tree(Text *out, const Flow *flow)
{
	int			i;
	int			w;

	for (i = 0; i < flow->count; i++)
	{
		const FlowEvent *event = &flow->events[i];

		add_lines(out, flow, event, true);
		add_event(out, event, text_add_plain);
		if (event->parent < 0)
			text_addf(out, "  %s", event->time);
		else
		{
			text_add(out, "  +");
			text_add_duration(out, event->occurred -
							  flow->events[event->parent].occurred);
		}
		text_add(out, "\n");
		for (w = 0; w < event->work_count; w++)
		{
			add_lines(out, flow, event, false);
			text_add(out, has_children(flow, i) ? "\xe2\x94\x82    " : "     ");
			add_work(out, event, &event->works[w], text_add_plain);
			text_add(out, "\n");
		}
	}
}

/* A flow chart; nodes are numbered, so that no name is part of the language. */
void
flow_draw_mermaid(Text *out, const Flow *flow)
{
	int			i;
	int			w;

	text_add(out, "flowchart TD\n");
	for (i = 0; i < flow->count; i++)
	{
		const FlowEvent *event = &flow->events[i];

		text_addf(out, "    e%d[\"", i);
		add_event(out, event, text_add_mermaid);
		for (w = 0; w < event->work_count; w++)
		{
			text_add(out, "<br/>");
			add_work(out, event, &event->works[w], text_add_mermaid);
		}
		text_add(out, "\"]\n");
		if (event->parent >= 0)
		{
			text_addf(out, "    e%d -->|\"+", event->parent);
			text_add_duration(out, event->occurred -
							  flow->events[event->parent].occurred);
			text_addf(out, "\"| e%d\n", i);
		}
	}
}

/* Place of a time in the chart. */
static double
x_of(long long time, long long start, long long end)
{
	return end <= start ? 0 :
		(double) (time - start) * CHART / (double) (end - start);
}

/* One row of the chart: label and bar. */
static void
add_row(Text *out, int row, int indent, long long from, long long to,
		const long long *bounds, const char *color)
{
	double		x = x_of(from, bounds[0], bounds[1]);
	double		width = x_of(to, bounds[0], bounds[1]) - x;

	text_addf(out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"12\""
			  " rx=\"2\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">",
			  LABELS + x, row * ROW + 6, width < 3 ? 3 : width, color,
			  8 + (indent > MAX_INDENT ? MAX_INDENT : indent) * 12,
			  row * ROW + 16);
}

/* A row for each event, and one for each subscription that it had. */
void
flow_draw_svg(Text *out, const Flow *flow)
{
	long long	bounds[2] = {0, 0};
	int			rows = 0;
	int			row = 0;
	int			i;
	int			w;

	for (i = 0; i < flow->count; i++)
	{
		const FlowEvent *event = &flow->events[i];

		if (i == 0 || event->occurred < bounds[0])
			bounds[0] = event->occurred;
		if (i == 0 || flow_event_end(event) > bounds[1])
			bounds[1] = flow_event_end(event);
		rows += 1 + event->work_count;
	}
	text_addf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\""
			  " height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
			  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
			  LABELS + CHART + 16, (rows + 1) * ROW);
	for (i = 0; i < flow->count; i++)
	{
		const FlowEvent *event = &flow->events[i];

		add_row(out, row++, event->depth, event->occurred,
				flow_event_end(event), bounds, "#4472c4");
		add_event(out, event, text_add_xml);
		text_add(out, "</text>\n");
		for (w = 0; w < event->work_count; w++)
		{
			const FlowWork *work = &event->works[w];
			long long	from = work->claimed != 0 ? work->claimed :
				event->occurred;
			long long	to = flow_work_end(work);

			add_row(out, row++, event->depth + 1, from, to > from ? to : from,
					bounds, work->dead != 0 ? "#c00000" :
					work->completed != 0 ? "#70ad47" : "#a5a5a5");
			add_work(out, event, work, text_add_xml);
			text_add(out, "</text>\n");
		}
	}
	text_addf(out, "<text x=\"%d\" y=\"%d\">0</text><text x=\"%d\" y=\"%d\""
			  " text-anchor=\"end\">", LABELS, rows * ROW + 16,
			  LABELS + CHART, rows * ROW + 16);
	text_add_duration(out, bounds[1] - bounds[0]);
	text_add(out, "</text>\n</svg>\n");
}
