#!/usr/bin/env python3
"""What OpenTelemetry's own propagator takes out of the headers of records.

A line of JSON for each record on standard input, an object of its headers; for
each a line: trace, span, flags and tracestate of the plain headers, then the
same of CloudEvents' twins. "-" where there is no trace.
"""
# SPDX-License-Identifier: PostgreSQL
import json
import sys

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import (
    TraceContextTextMapPropagator,
)


def extracted(headers):
    """The span that a consumer's spans become children of."""
    context = TraceContextTextMapPropagator().extract(headers)
    span = trace.get_current_span(context).get_span_context()
    if not span.is_valid or not span.is_remote:
        return "-"
    return " ".join(
        (
            trace.format_trace_id(span.trace_id),
            trace.format_span_id(span.span_id),
            f"{int(span.trace_flags):02x}",
            span.trace_state.to_header() or "none",
        )
    )


for line in sys.stdin:
    headers = json.loads(line)
    twins = {
        name[3:]: value
        for name, value in headers.items()
        if name in ("ce_traceparent", "ce_tracestate")
    }
    print(extracted(headers), "|", extracted(twins))
