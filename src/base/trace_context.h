/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace_context.h
 *		Is a text what W3C Trace Context says, and what goes on of it?
 *
 * Pure C.
 */
#ifndef SN_TRACE_CONTEXT_H
#define SN_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of a traceparent of version 00, and where its span is in it. */
#define SN_TRACEPARENT_LEN 55
#define SN_TRACE_SPAN_AT 36

extern bool sn_is_traceparent(const char *text);
extern bool sn_trace_parse(const char *text, size_t len, char *parent);
extern bool sn_is_tracestate(const char *text);

#endif							/* SN_TRACE_CONTEXT_H */
