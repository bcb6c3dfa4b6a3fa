"""Which network addresses are public: a video's address comes from outside, and must not lead into our own network."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

#: IPv6 addresses that stand for IPv4 ones behind a translator (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Addresses of one name that are tried at most.
MAX_ADDRESSES = 4


class NotPublic(Exception):
    """A name leads to an address that is not public."""


def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a name once and return its addresses, all of them public.

    Whoever connects must connect to one of these, not to the name: the next resolution may say something else. Raises
    `NotPublic` if any address is not public, and `OSError` if the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("that is no name of a server") from error
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if not is_public(address):
            raise NotPublic(f"{host} leads to {address}, which is no public address")
    return addresses[:MAX_ADDRESSES]


def is_public(address: str) -> bool:
    """Tell whether an address, and each IPv4 address that it carries inside, belongs to the public internet."""
    ip = ipaddress.ip_address(address)
    return all(_belongs(part) for part in _parts(ip))


def _belongs(ip: IPv4Address | IPv6Address) -> bool:
    # The site's own addresses of old (fec0::/10) count as global in the standard library.
    inside = ip.is_multicast or ip.is_reserved or (isinstance(ip, IPv6Address) and ip.is_site_local)
    return ip.is_global and not inside


def _parts(ip: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return what is to be judged: for an address that only wraps an IPv4 one, that one."""
    if isinstance(ip, IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFFFFFF)]
    inner = [ip.sixtofour, *(ip.teredo or ())]
    return [ip, *(part for part in inner if part is not None)]
