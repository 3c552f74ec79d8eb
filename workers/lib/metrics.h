/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * metrics.h
 *	  Histograms, and Prometheus' text format.
 */
#ifndef SENTINAI_METRICS_H
#define SENTINAI_METRICS_H

#include <stdatomic.h>

#include "text.h"

#define HISTOGRAM_BOUNDS 14

/* Times in buckets; threads may observe while another one reads. */
typedef struct Histogram
{
	atomic_llong counts[HISTOGRAM_BOUNDS + 1];	/* the last: longer than all */
	atomic_llong sum;			/* microseconds */
} Histogram;

extern void histogram_observe(Histogram *histogram, long long microseconds);
extern void metrics_add_head(Text *text, const char *name, const char *type,
							 const char *help);
extern void metrics_add_value(Text *text, const char *name, int worker,
							  long long value);
extern void metrics_add_gauge(Text *text, const char *name, const char *help,
							  long long value);
extern void metrics_add_label(Text *text, const char *before,
							  const char *label, const char *value);
extern void metrics_add_histogram(Text *text, const char *name,
								  const char *help, Histogram *histogram);

#endif							/* SENTINAI_METRICS_H */
