/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace_context.h
 *		Is a text what W3C Trace Context says?
 *
 * Pure C.
 */
#ifndef SN_TRACE_CONTEXT_H
#define SN_TRACE_CONTEXT_H

#include <stdbool.h>

extern bool sn_is_traceparent(const char *text);
extern bool sn_is_tracestate(const char *text);

#endif							/* SN_TRACE_CONTEXT_H */
