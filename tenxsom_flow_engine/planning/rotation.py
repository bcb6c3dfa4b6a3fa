"""Which topic a slot gets: from the built-in list by the slot's own number, or from a person's list in its order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from tenxsom_flow_engine.jobs import PLAYLIST_POSITION, VideoJob
from tenxsom_flow_engine.planning.slots import Slot


@cache
def builtin_topics() -> tuple[str, ...]:
    """Return the built-in evergreen topics: more than 200 of them.

    Their number is prime, so no rate makes a day's slots a multiple of it, and the same hour of the next day has
    another topic.
    """
    return tuple(resources.files(__package__).joinpath("topics.txt").read_text("utf-8").split("\n")[:-1])


def builtin_topic(slot: Slot, channel: str = "") -> str:
    """Return a slot's built-in topic: a function of slot and channel alone, so every run and machine agrees.

    Slots of a channel that follow each other have different topics until the whole list is used up. Each channel
    begins at a place of its own, so that channels differ in the same slot.
    """
    topics = builtin_topics()
    offset = int.from_bytes(hashlib.sha256(channel.encode()).digest()[:8]) if channel else 0
    return topics[(slot.number + offset) % len(topics)]


@dataclass(frozen=True, slots=True)
class Use:
    """A place of a person's list that a slot has used, with the topic that stood there."""

    digest: str
    place: int
    topic: str


def use_of(job: VideoJob) -> Use | None:
    """Return which place of a list a job's topic came from; None if it came from none."""
    options = job.options.get(PLAYLIST_POSITION, {})
    digest, place = options.get("list"), options.get("place")
    if isinstance(digest, str) and isinstance(place, int) and place >= 0:
        return Use(digest, place, job.topic)
    return None


class Playlist:
    """A person's list, of which each slot uses the entry behind the one that the slot before it has used."""

    def __init__(self, entries: Sequence[VideoJob]) -> None:
        self._entries = entries
        self._topics = [entry.topic for entry in entries]
        #: Tells a list that was changed. Other fields than the topic do not matter: the order is the same.
        self.digest = hashlib.sha256(json.dumps(self._topics).encode()).hexdigest()[:16]

    def assign(self, instants: Iterable[int], used: Mapping[int, Use]) -> Iterator[tuple[int, VideoJob]]:
        """Give each slot, in order of time, its entry, which carries its place.

        `used` are the slots that have used a list before. If none has used this one, the list was changed (or is the
        first): then it begins behind the topic that was used last, if that stands in it once, else at its start.
        """
        new = set(instants) - used.keys()
        place, seen = 0, False
        for instant in sorted(new | used.keys()):
            use = used.get(instant)
            if use is None:
                yield instant, self._entry(place % len(self._entries))
                place, seen = place + 1, True
            elif use.digest == self.digest:
                place, seen = use.place + 1, True
            elif not seen:
                place = self._topics.index(use.topic) + 1 if self._topics.count(use.topic) == 1 else 0

    def _entry(self, place: int) -> VideoJob:
        entry = self._entries[place]
        options = {**entry.options, PLAYLIST_POSITION: {"list": self.digest, "place": place}}
        return msgspec.structs.replace(entry, options=options)
