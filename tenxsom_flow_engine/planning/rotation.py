"""Which topic a slot gets: from the built-in list by the slot's own number, or from a person's list in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import cycle, islice

from tenxsom_flow_engine.planning.files import Entry
from tenxsom_flow_engine.planning.slots import Slot


@cache
def builtin_topics() -> tuple[str, ...]:
    """Return the built-in evergreen topics: more than 200 of them.

    Their number is prime, so no rate makes a day's slots a multiple of it, and the same hour of the next day has
    another topic.
    """
    return tuple(resources.files(__package__).joinpath("topics.txt").read_text("utf-8").split("\n")[:-1])


def builtin_topic(slot: Slot) -> str:
    """Return a slot's built-in topic: a function of the slot alone, so every run and machine agrees.

    Slots that follow each other have different topics until the whole list is used up.
    """
    topics = builtin_topics()
    return topics[slot.number % len(topics)]


def in_order(entries: Sequence[Entry], after: str | None) -> Iterator[Entry]:
    """Give a person's entries in their order, then again; begin behind the one with the topic `after`, if there."""
    topics = [entry.fields["topic"] for entry in entries]
    begin = topics.index(after) + 1 if after in topics else 0
    return islice(cycle(entries), begin, None)
