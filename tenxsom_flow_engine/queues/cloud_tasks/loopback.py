"""Addresses of this machine's loopback interface. A proxy that the environment names cannot reach them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(address: str) -> bool:
    """Return whether a URL, or a `host:port`, has a loopback address or the name `localhost`."""
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name, or no valid address
        return False


def proxies(url: str) -> Mapping[str, str]:
    """Return the argument `proxies` of requests: no proxy for a loopback URL, the environment's for any other."""
    return {"http": "", "https": ""} if is_loopback(url) else {}
