"""Addresses that name sentinels instead of a server: `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DATABASE`.

The sentinels know which server is the primary of NAME, and promote a replica when it fails. User and password are those
of the servers; `?sentinel_username=` and `?sentinel_password=` are those of the sentinels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

SCHEME = "redis+sentinel"
#: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
DEFAULT_PORT = 26379

#: Login, hosts and the rest. `urlsplit` of some Python versions refuses a list of hosts with an IPv6 address in it.
_ADDRESS = re.compile(r"redis\+sentinel://(?:([^/?#]*)@)?([^/?#@]*)(.*)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """The parts of an address."""

    #: Hosts and ports of the sentinels.
    sentinels: tuple[tuple[str, int], ...]
    #: The name under which the sentinels monitor the primary.
    name: str
    #: The address of any server of that name, without a host: login, database and options.
    server: str


def parse(url: str) -> SentinelAddress | None:
    """Return the parts of an address, or None for one that names a server. Raises `ValueError` if it is incomplete."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return None
    login, hosts, rest = match.groups()
    parts = urlsplit(f"//host{rest}")
    name, _, database = parts.path.lstrip("/").partition("/")
    sentinels = tuple(_host_and_port(host) for host in hosts.split(","))
    # An unescaped / ? or # in a password ends the hosts too early: the rest of the password would be in the path.
    if "@" in rest or not name or not (database or "0").isdecimal():
        raise ValueError
    server = f"redis://{login}@" if login is not None else "redis://"
    return SentinelAddress(sentinels, unquote(name), f"{server}/{database or 0}?{parts.query}")


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or DEFAULT_PORT
