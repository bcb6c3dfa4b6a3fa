"""The interface of a subject: its inputs, and how each is tried."""

from __future__ import annotations

import random
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


class Subject(ABC):
    """A kind of input. Entered as a context before the first input, and left after the last.

    To add one, write a module in this package with a subclass, and list it in `fuzz.__main__.SUBJECTS`.
    """

    #: Its name, the number of inputs of a whole run, and that of the run in `make test`.
    name: ClassVar[str]
    count: ClassVar[int]
    few: ClassVar[int] = 30

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027 most subjects keep nothing open
        """Close what the inputs needed."""

    @abstractmethod
    def make(self, draw: random.Random) -> Any:
        """Make one input; the same random numbers make the same input."""

    @abstractmethod
    def accepts(self, made: Any) -> bool:
        """Give an input to the engine; return whether it is accepted, or refused with an error of the tree.

        Any exception that is raised here is an unexpected answer.
        """


@dataclass
class Result:
    """The answers to a subject's inputs: their numbers, and the longest time of one in seconds."""

    name: str
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    #: The traceback of each unexpected answer, by the number of the input.
    unexpected: dict[int, str] = field(default_factory=dict)


def try_inputs(subject: Subject, seed: int, numbers: Iterable[int]) -> Result:
    """Try the inputs with these numbers. An input depends on the seed and its number only, so it can be repeated."""
    result = Result(subject.name)
    with subject:
        for number in numbers:
            made = subject.make(random.Random(f"{seed} {subject.name} {number}"))
            began = time.monotonic()
            try:
                accepted = subject.accepts(made)
            except Exception:
                result.unexpected[number] = traceback.format_exc()
            else:
                result.accepted += accepted
                result.refused += not accepted
            result.slowest = max(result.slowest, time.monotonic() - began)
    return result


def try_new(kind: type[Subject], seed: int, numbers: Iterable[int]) -> Result:
    """Try inputs of a kind, in any process."""
    return try_inputs(kind(), seed, numbers)
