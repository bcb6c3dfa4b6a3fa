"""The settings of channels as people write them, and what the jobs of each channel do."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tenxsom_flow_engine.channels.settings import DEFAULTS, Channel, check_name
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import FINAL, Status, VideoJob
from tenxsom_flow_engine.planning.entries import read_whole
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Removes a setting.
NONE = "none"
#: Unfinished jobs that are read to find channels without settings.
MOST_JOBS = 5000
_WAITING = (Status.SCHEDULED, Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel: its settings and its jobs by status, as far as they are counted."""

    name: str
    settings: Channel
    by_status: Mapping[Status, int]
    in_flight: int

    @property
    def waiting(self) -> int:
        """The jobs that have bought nothing yet."""
        return sum(self.by_status.get(status, 0) for status in _WAITING)


def read_limits(text: str) -> str:
    """Return windows as they are stored; `none` gives an empty text. Raises `InvalidInput`."""
    windows = parse_windows(text)
    return " ".join(map(str, windows))


def read_slots(text: str) -> int | None:
    """Return a number of slots; None for `none`. Raises `InvalidInput`."""
    return None if text.strip().casefold() == NONE else read_whole("slots", text)


def merged_defaults(present: Mapping[str, str | int], given: Mapping[str, str]) -> dict[str, str | int]:
    """Return the defaults with changes; `none` removes one. Raises `InvalidInput`."""
    merged = {**present, **{key: _read_default(key, value) for key, value in given.items()}}
    return {key: value for key, value in merged.items() if value != NONE}


def checked(engine: Engine, name: str, settings: Channel) -> Channel:
    """Return the settings of a channel if its jobs can be made with them. Raises `InvalidInput`."""
    check_name(name)
    parse_windows(settings.limits or NONE)
    if settings.defaults:
        # A sample job: it raises for a wrong value, an unknown service, or one that cannot do this.
        job = VideoJob(job_id="sample", topic="sample", channel=name, created_at=0.0, **settings.defaults)  # type: ignore[arg-type]
        engine.prepare(job)
    return settings


def pause(store: JobStore, name: str, why: str = "") -> None:
    """Buy no more videos for a channel. Raises `InvalidInput`."""
    store.set_channel(check_name(name), lambda present: msgspec.structs.replace(present, paused=True, why=why))


def resume(store: JobStore, name: str) -> None:
    """Continue a paused channel. Raises `InvalidInput`."""
    store.set_channel(check_name(name), lambda present: msgspec.structs.replace(present, paused=False, why=""))


def read_file(data: bytes) -> Mapping[str, Channel]:
    """Return the channels of a file in TOML. Raises `InvalidInput` with the channel and the key."""
    try:
        tables = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput("channels.toml", f"is not TOML: {error}") from error
    return {check_name(name): _read_channel(name, table) for name, table in tables.items()}


def _read_channel(name: str, table: Any) -> Channel:
    if not isinstance(table, dict):
        raise InvalidInput(name, "is not a table", next_step=f"write its settings below [{name}]")
    known = {field.name for field in msgspec.structs.fields(Channel)}
    if unknown := sorted(table.keys() - known):
        raise InvalidInput(f"{name}.{unknown[0]}", "is not a setting", next_step=f"use {', '.join(sorted(known))}")
    try:
        settings = msgspec.convert(table, Channel)
        limits = read_limits(settings.limits) if settings.limits else ""
        return msgspec.structs.replace(settings, limits=limits)
    except (msgspec.ValidationError, InvalidInput) as error:
        raise InvalidInput(name, re.sub(r" - at `\$\.?", " at `", str(error))) from error


def _read_default(key: str, value: str) -> str | int:
    assert key in DEFAULTS
    return read_whole(key, value) if key == "duration" and value != NONE else value


def state_of(store: JobStore, name: str) -> ChannelState:
    """Return a channel and its jobs by status."""
    counts = {status: store.count_matching(JobFilter(channel=name, statuses=(status,))).jobs for status in Status}
    return ChannelState(name, store.channel(name), counts, store.channel_in_flight(name))


def channel_states(store: JobStore) -> Sequence[ChannelState]:
    """Return the channels that have settings, or jobs among the latest unfinished ones."""
    unfinished = tuple(status for status in Status if status not in FINAL)
    names = set(store.channels())
    seen = 0
    for page in store.pages(JobFilter(statuses=unfinished), limit=500):
        names.update(record.job.channel for record in page.records if record.job.channel)
        seen += len(page.records)
        if seen >= MOST_JOBS:
            break
    return [state_of(store, name) for name in sorted(names)]


def describe(state: ChannelState) -> dict[str, Any]:
    """Return a channel as JSON values."""
    settings = state.settings
    return {
        "channel": state.name,
        "weight": settings.weight,
        "limits": settings.limits or None,
        "slots": settings.slots,
        "defaults": settings.defaults,
        "paused": settings.paused,
        "why": settings.why or None,
        "waiting": state.waiting,
        "in_flight": state.in_flight,
        "jobs": {status.value: count for status, count in state.by_status.items() if count},
    }
