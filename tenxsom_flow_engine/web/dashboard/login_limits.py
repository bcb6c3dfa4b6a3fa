"""Limits of wrong logins: the admin token cannot be guessed, and guesses cannot lock out the operator.

A browser that has logged in before has separate limits. All others are limited by their address, and together; so an
attacker with many addresses can keep only new browsers out.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of attempts at once, and after that one every so many seconds."""

    burst: int
    seconds: float


#: For a browser or an address, and for all addresses together.
EACH, TOGETHER = Rate(10, 60.0), Rate(100, 10.0)
#: Maximum number of browsers and addresses that are remembered; the least recent are forgotten.
REMEMBERED = 1024
_TOGETHER = "*"


class LoginLimits:
    """The wrong logins of one process. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        #: For each key the instant when its attempts are all available again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def attempt(self, keys: tuple[str, ...]) -> float:
        """Count an attempt under all these keys and return 0; or, counting nothing, the seconds until the next one."""
        with self._lock:
            now = self._now()
            times = {key: max(self._full_at.get(key, now), now) + _rate(key).seconds for key in keys}
            wait = max(full_at - now - _rate(key).seconds * _rate(key).burst for key, full_at in times.items())
            if wait > 0:
                return wait
            for key, full_at in times.items():
                self._full_at[key] = full_at
                self._full_at.move_to_end(key)
            while len(self._full_at) > REMEMBERED:
                self._full_at.popitem(last=False)
            return 0.0

    def undo(self, keys: tuple[str, ...]) -> None:
        """Forget the latest attempt under these keys, because its token was right."""
        with self._lock:
            for key in keys:
                if key in self._full_at:
                    self._full_at[key] -= _rate(key).seconds


def keys_of(browser: str | None, address: str, forwarded: str) -> tuple[str, ...]:
    """Return the keys of an attempt: the browser, if it is known, else its address and the key of all addresses.

    `forwarded` is the `X-Forwarded-For` header. Its last entry is the proxy's statement, if there is a proxy.
    """
    if browser:
        return (f"browser {browser}",)
    return (f"address {_network(address)} {_network(forwarded.rpartition(',')[2].strip()[:50])}", _TOGETHER)


def _rate(key: str) -> Rate:
    return TOGETHER if key == _TOGETHER else EACH


def _network(address: str) -> str:
    """Return an address, or the 64-bit network of an IPv6 address: its owner has all of its addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(parsed) >> 64 << 64)) if isinstance(parsed, IPv6Address) else address
