"""The schedules on Redis: one hash of records, and a hash of topics by position for each list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tenxsom_flow_engine.channels.schedules import (
    Schedule,
    Topic,
    decode_schedule,
    decode_topic,
    encode_schedule,
    encode_topic,
)
from tenxsom_flow_engine.store.redis.connection import Connection


class Schedules:
    """The schedules of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> Sequence[Schedule]:
        """Return the schedules by name."""
        with self._connection.mapped(), self._connection.decoding("schedules"):
            found = self._connection.client.hgetall(self._connection.key("schedules"))
            return [decode_schedule(found[name]) for name in sorted(found)]

    def get(self, name: str) -> Schedule | None:
        """Return a schedule, or None."""
        with self._connection.mapped(), self._connection.decoding("schedules"):
            found = self._connection.client.hget(self._connection.key("schedules"), name)
            return decode_schedule(found) if found else None

    def swap(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic]) -> bool:
        """Replace a schedule if it is still `before`, and append topics; return whether it was."""
        named = before or after
        if named is None:
            return True
        ended = before is not None and (after is None or after.key != before.key)
        return bool(
            self._connection.run(
                "swap_schedule",
                "",
                named.name,
                encode_schedule(before) if before else "",
                encode_schedule(after) if after else "",
                before.key if before and ended else "",
                after.key if after else "",
                (after.topics or 0) - len(topics) if after else 0,
                *map(encode_topic, topics),
                on_disk=True,
            )
        )

    def topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]:
        """Return topics of a list by position."""
        wanted = list(places)
        if not wanted:
            return {}
        name = f"topics:{schedule.key}"
        with self._connection.mapped(), self._connection.decoding(name):
            found = self._connection.client.hmget(self._connection.key(name), wanted)
            return {place: decode_topic(text) for place, text in zip(wanted, found, strict=True) if text is not None}
