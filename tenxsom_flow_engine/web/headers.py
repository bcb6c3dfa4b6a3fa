"""Security headers of every response."""

from __future__ import annotations

from collections.abc import Mapping

_COMMON = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}

#: For pages, which load only our own files: no inline script or style, and nothing from other sites.
PAGE: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    **_COMMON,
}
#: For all other responses, which load nothing.
DATA: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    **_COMMON,
}
