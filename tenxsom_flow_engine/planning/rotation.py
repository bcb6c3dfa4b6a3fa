"""Chooses the topic of a slot: from the built-in list by the slot's number, or from a user's list in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine.jobs import PLAYLIST_POSITION, VideoJob
from tenxsom_flow_engine.planning.slots import Slot
from tenxsom_flow_engine.topics import builtin_topics


def builtin_topic(slot: Slot, channel: str = "") -> str:
    """Return a slot's own built-in topic."""
    return next(builtin_topics_from(slot, channel))


def builtin_topics_from(slot: Slot, channel: str = "") -> Iterator[str]:
    """Give the built-in topics, beginning with a slot's own, which all runs and machines agree on.

    Consecutive slots of a channel have different topics until the whole list is used. Each channel starts at its own
    position, so that channels differ in the same slot.
    """
    topics = builtin_topics()
    offset = int.from_bytes(hashlib.sha256(channel.encode()).digest()[:8]) if channel else 0
    for following in range(len(topics)):
        yield topics[(slot.number + offset + following) % len(topics)]


@dataclass(frozen=True, slots=True)
class Use:
    """A playlist position that a slot has used, with the topic that was there."""

    digest: str
    place: int
    topic: str


def use_of(job: VideoJob) -> Use | None:
    """Return the playlist position that a job's topic came from; None if it did not come from a playlist."""
    options = job.options.get(PLAYLIST_POSITION, {})
    digest, place = options.get("list"), options.get("place")
    if isinstance(digest, str) and isinstance(place, int) and place >= 0:
        return Use(digest, place, job.topic)
    return None


class Playlist:
    """A user-supplied list of topics; each slot takes the entry after the one that the previous slot took."""

    def __init__(self, entries: Sequence[VideoJob]) -> None:
        self._entries = entries
        self._topics = [entry.topic for entry in entries]
        #: Identifies the list, to detect changes. It only covers the topics, because other fields do not matter here.
        self.digest = hashlib.sha256(json.dumps(self._topics).encode()).hexdigest()[:16]

    def assign(
        self,
        instants: Iterable[int],
        used: Mapping[int, Use],
        skipped: Callable[[VideoJob, int], bool] = lambda entry, instant: False,
    ) -> Iterator[tuple[int, VideoJob]]:
        """Yield the entry of each slot in order of time, with its position in the options.

        Entries that are `skipped` for an instant are left out; a slot for which all are skipped gets none.

        `used` are the slots that already took an entry of a list. If none of them used this list, it is new or was
        changed: then it starts after the last used topic, if the list contains that exactly once, or else at its start.
        """
        new = set(instants) - used.keys()
        place, seen = 0, False
        for instant in sorted(new | used.keys()):
            use = used.get(instant)
            if use is None:
                size = len(self._entries)
                places = range(place, place + size)
                free = next((at for at in places if not skipped(self._entries[at % size], instant)), None)
                if free is None:
                    return
                yield instant, self._entry(free % size)
                place, seen = free + 1, True
            elif use.digest == self.digest:
                place, seen = use.place + 1, True
            elif not seen:
                place = self._topics.index(use.topic) + 1 if self._topics.count(use.topic) == 1 else 0

    def _entry(self, place: int) -> VideoJob:
        entry = self._entries[place]
        options = {**entry.options, PLAYLIST_POSITION: {"list": self.digest, "place": place}}
        return msgspec.structs.replace(entry, options=options)
