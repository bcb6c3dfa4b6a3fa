"""The meaning of LTX's errors. Source: docs.ltx.io and the OpenAPI description of 2026-08-13."""

from __future__ import annotations

from dataclasses import replace

from tenxsom_flow_engine.errors import Busy, Misconfigured, OutOfCredit, Rejected, Transient
from tenxsom_flow_engine.services.http.responses import ErrorRow

_TOP_UP = "buy credits at console.ltx.io"
#: The meaning of each documented error type, with the status of its HTTP answer.
ROWS = (
    ErrorRow(400, Rejected, "LTX does not accept these values", "change the job's values", "invalid_request_error"),
    ErrorRow(401, Misconfigured, "LTX rejects the key", "set LTX_API_KEY to one from console.ltx.io",
             "authentication_error"),
    ErrorRow(402, OutOfCredit, "the LTX account has no money left", _TOP_UP, "insufficient_funds_error"),
    ErrorRow(404, Misconfigured, "LTX has no such path", "check LTX_BASE_URL", "not_found_error"),
    ErrorRow(413, Rejected, "the order is too large for LTX", "shorten the prompt", "request_too_large"),
    ErrorRow(422, Rejected, "LTX does not allow the prompt", "change the prompt", "content_filtered_error"),
    ErrorRow(429, Busy, "LTX accepts no more requests for now", code="rate_limit_error"),
    ErrorRow(429, Busy, "all slots of the LTX account are taken", code="concurrency_limit_error"),
    ErrorRow(500, Transient, "LTX has an internal error", code="api_error"),
    ErrorRow(503, Transient, "LTX is down", code="service_unavailable"),
    ErrorRow(504, Transient, "LTX timed out internally"),
    ErrorRow(529, Busy, "LTX is overloaded", code="overloaded_error"),
)  # fmt: skip
#: The type of a refusal decides, whatever its status; an answer without a known type is classified by its status.
ERRORS = (
    *(replace(row, status=0) for row in ROWS if row.code and not issubclass(row.error, Transient)),
    *(replace(row, code="") for row in ROWS),
)
