"""Decide which network addresses are public: a video's URL is untrusted and must not lead into a private network."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

#: IPv6 addresses that a translator maps to IPv4 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: The largest number of addresses of a name that are tried.
MAX_ADDRESSES = 4


class NotPublic(Exception):
    """A host name resolves to an address that is not public."""


def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a host name once and return its addresses, all of them public.

    The caller must connect to one of these, not to the name, which can resolve to another address the next time.
    Raises `NotPublic` if any address is not public, and `OSError` if the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("invalid host name") from error
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if not is_public(address):
            raise NotPublic(f"{host} resolves to {address}, which is not a public address")
    return addresses[:MAX_ADDRESSES]


def is_public(address: str) -> bool:
    """Return whether an address, and each IPv4 address embedded in it, belongs to the public internet."""
    ip = ipaddress.ip_address(address)
    return all(_belongs(part) for part in _parts(ip))


def _belongs(ip: IPv4Address | IPv6Address) -> bool:
    # The standard library counts the deprecated site-local addresses (fec0::/10) as global.
    inside = ip.is_multicast or ip.is_reserved or (isinstance(ip, IPv6Address) and ip.is_site_local)
    return ip.is_global and not inside


def _parts(ip: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return the addresses to check: only the embedded IPv4 address if the IPv6 address is a wrapper for it."""
    if isinstance(ip, IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFFFFFF)]
    inner = [ip.sixtofour, *(ip.teredo or ())]
    return [ip, *(part for part in inner if part is not None)]
