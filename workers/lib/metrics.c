/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * metrics.c
 *	  Histograms, and Prometheus' text format.
 */
#include <stdio.h>

#include "metrics.h"

/* Upper bounds of the buckets, in microseconds and as Prometheus says them. */
static const struct
{
	long long	microseconds;
	const char *seconds;
}			bounds[HISTOGRAM_BOUNDS] = {
	{500, "0.0005"}, {1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"},
	{10000, "0.01"}, {25000, "0.025"}, {50000, "0.05"}, {100000, "0.1"},
	{250000, "0.25"}, {500000, "0.5"}, {1000000, "1"}, {5000000, "5"},
	{30000000, "30"}, {300000000, "300"}
};

/* Counts one time. */
void
histogram_observe(Histogram *histogram, long long microseconds)
{
	int			i = 0;

	while (i < HISTOGRAM_BOUNDS && microseconds > bounds[i].microseconds)
		i++;
	atomic_fetch_add(&histogram->counts[i], 1);
	atomic_fetch_add(&histogram->sum, microseconds);
}

/* Appends what a metric is. */
void
metrics_add_head(Text *text, const char *name, const char *type,
				 const char *help)
{
	text_add(text, "# HELP ");
	text_add(text, name);
	text_add(text, " ");
	text_add(text, help);
	text_add(text, "\n# TYPE ");
	text_add(text, name);
	text_add(text, " ");
	text_add(text, type);
	text_add(text, "\n");
}

/* Appends a value, of a worker thread or (worker 0) of the process. */
void
metrics_add_value(Text *text, const char *name, int worker, long long value)
{
	char		line[64];

	text_add(text, name);
	if (worker > 0)
	{
		snprintf(line, sizeof(line), "{worker=\"%d\"}", worker);
		text_add(text, line);
	}
	snprintf(line, sizeof(line), " %lld\n", value);
	text_add(text, line);
}

/* Appends a value of the process, and what it is. */
void
metrics_add_gauge(Text *text, const char *name, const char *help,
				  long long value)
{
	metrics_add_head(text, name, "gauge", help);
	metrics_add_value(text, name, 0, value);
}

/* Appends a label, behind what comes before it. */
void
metrics_add_label(Text *text, const char *before, const char *label,
				  const char *value)
{
	text_add(text, before);
	text_add(text, label);
	text_add(text, "=\"");
	for (; *value != '\0'; value++)
	{
		if (*value == '\\' || *value == '"')
			text_add(text, "\\");
		if (*value == '\n')
			text_add(text, "\\n");
		else
			text_add_bytes(text, value, 1);
	}
	text_add(text, "\"");
}

/* Appends a histogram.  Its count is that of its buckets, whatever goes on. */
void
metrics_add_histogram(Text *text, const char *name, const char *help,
					  Histogram *histogram)
{
	long long	sum = atomic_load(&histogram->sum);
	long long	count = 0;
	char		line[64];
	int			i;

	metrics_add_head(text, name, "histogram", help);
	for (i = 0; i <= HISTOGRAM_BOUNDS; i++)
	{
		count += atomic_load(&histogram->counts[i]);
		text_add(text, name);
		snprintf(line, sizeof(line), "_bucket{le=\"%s\"} %lld\n",
				 i < HISTOGRAM_BOUNDS ? bounds[i].seconds : "+Inf", count);
		text_add(text, line);
	}
	text_add(text, name);
	snprintf(line, sizeof(line), "_sum %lld.%06lld\n", sum / 1000000,
			 sum % 1000000);
	text_add(text, line);
	text_add(text, name);
	snprintf(line, sizeof(line), "_count %lld\n", count);
	text_add(text, line);
}
