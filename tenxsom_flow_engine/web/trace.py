"""The trace of a request, as fields of its log lines, so that Cloud Logging shows both together.

The fields and the two headers: https://docs.cloud.google.com/logging/docs/agent/logging/configuration#special-fields,
https://www.w3.org/TR/trace-context/ and https://docs.cloud.google.com/trace/docs/trace-context#legacy-http-header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tenxsom_flow_engine.logs import SPAN, TRACE, TRACE_SAMPLED

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: Version, trace, span and flags; later versions can have more.
_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?")
#: Trace, and perhaps a decimal span and options.
_LEGACY = re.compile(r"(?P<trace>[0-9a-fA-F]{32})(/(?P<span>[0-9]{1,20}))?(;o=(?P<flags>[0-9]))?")


def trace_fields(request: WSGIEnvironment, project: str) -> dict[str, Any]:
    """Return the fields for the log lines of a request; none without a valid header. `project` can be empty."""
    if found := _W3C.fullmatch(request.get("HTTP_TRACEPARENT", "")):
        trace, span, sampled = found["trace"], found["span"], int(found["flags"], 16) & 1
    elif found := _LEGACY.fullmatch(request.get("HTTP_X_CLOUD_TRACE_CONTEXT", "")):
        trace, span = found["trace"].lower(), f"{int(found['span'] or 0):016x}"
        sampled = int(found["flags"] or 0) & 1
    else:
        return {}
    if not int(trace, 16) or len(span) > 16:
        return {}
    fields: dict[str, Any] = {TRACE: f"projects/{project}/traces/{trace}" if project else trace}
    if int(span, 16):
        fields[SPAN] = span
    return fields | {TRACE_SAMPLED: bool(sampled)}
