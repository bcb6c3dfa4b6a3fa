"""The settings of channels as a gate: pauses, shares of quotas, and slots. A process reads each once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.errors import SlotsBusy
from tenxsom_flow_engine.rate_limits.base import Share
from tenxsom_flow_engine.rate_limits.windows import Windows, parse_windows
from tenxsom_flow_engine.timings import Timings

#: Seconds for which settings count without another read of the store.
MEMORY_SECONDS = 1.0
#: Channels whose settings are kept.
MOST = 10_000


class ChannelStore(Protocol):
    """The settings of channels, implemented by `store.base.JobStore`."""

    def now(self) -> float:
        """Return the present instant."""

    def channel(self, name: str) -> Channel:
        """Return the settings of a channel."""

    def channel_in_flight(self, channel: str) -> int:
        """Count the generations of a channel that are in flight now."""


class ChannelGate:
    """What one process knows about the channels. Thread-safe."""

    def __init__(self, store: ChannelStore, timings: Timings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._timings = timings
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Channel]] = {}

    def settings(self, name: str) -> Channel:
        """Return the settings of a channel; jobs without a channel have the defaults."""
        if not name:
            return _DEFAULTS
        now, known = self._monotonic(), self._known.get(name)
        if known is not None and now - known[0] < MEMORY_SECONDS:
            return known[1]
        channel = self._store.channel(name)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = (now, channel)
        return channel

    def refusal(self, name: str) -> str:
        """Return why no job of a channel may be bought now, or an empty text."""
        channel = self.settings(name)
        if not channel.paused:
            return ""
        return f"channel {name} is paused: {channel.why}" if channel.why else f"channel {name} is paused"

    def full(self, name: str) -> SlotsBusy | None:
        """Return the refusal of a channel whose slots are all taken, or None: then the store decides."""
        slots = self.settings(name).slots
        busy = slots is not None and self._store.channel_in_flight(name) >= slots
        return SlotsBusy(f"channel {name}", slots or 0) if busy else None

    def share(self, name: str) -> Share:
        """Return the share of a channel in the quotas."""
        channel = self.settings(name)
        return Share(name, channel.weight, _windows(channel.limits))

    def ask_again_at(self, job_id: str) -> float:
        """Return when a job of a paused channel should be tried again. The instants of many jobs are spread out."""
        return self._store.now() + self._timings.spread_hint(job_id)


_DEFAULTS = Channel()


@lru_cache(MOST)
def _windows(limits: str) -> Windows:
    return parse_windows(limits) if limits else ()
