"""The host names by which a browser can reach this server: a protection against DNS rebinding.

A hostile page can point its own domain at our address, and then read our public routes from a browser in our network.
Its requests carry its domain in the `Host` header. So a public domain must be a known one; addresses and private names
need no list, because they cannot be registered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.settings import Settings

#: Domains that cannot be registered (RFC 6761, RFC 6762, RFC 8375; `internal` is reserved by ICANN).
_PRIVATE = (".localhost", ".local", ".internal", ".home.arpa", ".test")


class UnknownHost(FlowError):
    """A request is for a domain that is not known to be ours."""

    code = "unknown_host"


def check_host(host: str | None, known: Iterable[str]) -> None:
    """Raise `UnknownHost` if a `Host` header names a public domain that is not one of the `known`.

    Requests without the header do not come from a browser.
    """
    if not host:
        return
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if name in known or _is_address(name) or name.endswith(_PRIVATE) or re.fullmatch("[a-z0-9_-]+", name):
        return
    raise UnknownHost(
        f"this server does not know the host name {host[:200]}",
        next_step="if it is yours, add it to TENXSOM_ALLOWED_HOSTS, separated by commas, and restart the server",
    )


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the domains that the settings name: the allowed ones, and that of the worker's URL."""
    worker = urlsplit(settings.cloud_tasks.worker_url).hostname
    return frozenset((*settings.web.allowed_hosts, *([worker] if worker else [])))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
