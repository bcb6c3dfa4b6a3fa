"""Security headers of every response."""

from __future__ import annotations

from collections.abc import Mapping

_COMMON = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def page_headers(media: str = "") -> Mapping[str, str]:
    """Return the headers of pages, which load only our own files: no inline script or style, nothing from other sites.

    Pictures and videos can also come from the origin `media`: the bucket to which their addresses redirect.
    """
    more = f" {media}" if media else ""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{more}; media-src 'self'{more}; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {"Content-Security-Policy": policy, **_COMMON}


PAGE: Mapping[str, str] = page_headers()
#: For all other responses, which load nothing.
DATA: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    **_COMMON,
}
