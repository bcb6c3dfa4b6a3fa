"""The script: a topic becomes beats (hook, points, close) whose words have times."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

from tenxsom_flow_engine.services.draft.render import phrases as lines
from tenxsom_flow_engine.services.draft.render.tokens import Token, clean, clusters, pages, plain, wide

_SLOWEST = 1.4  # a beat may be held this much longer than it takes to read before another line is wanted
# After a full stop of Latin, Arabic, Indian, Chinese or Japanese writing; at a new line; at a bullet.
_SENTENCES = re.compile(
    r"(?<=[.!?\u2026\u061f\u0964])[\"'\u2019\u201d)]*\s+|(?<=[\u3002\uff01\uff1f])|[\r\n]+|\s+[\u2022\u00b7*]\s+"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A token and the seconds from `start` to `end` in which it is the active one."""

    token: Token
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Beat:
    """One screen of type, `start` to `end` in seconds; `kind` is hook, point or close."""

    kind: str
    words: tuple[Word, ...]
    start: float
    end: float

    @property
    def text(self) -> str:
        """The beat as a line of prose."""
        return plain([w.token for w in self.words])


def write(topic: str, prompt: str | None, duration: float, seed: str, pulse: float = 0.0) -> tuple[Beat, ...]:
    """Return beats that fill `duration` seconds without a gap, and show every word of the topic first.

    The prompt's sentences are the points; without one, or when they are too few, lines of the bank are. No two
    beats after the hook say the same. Cuts fall on multiples of `pulse` seconds (the music's) where there is room.
    A topic of nothing visible gives no beats.
    """
    rng = random.Random(f"script:{seed}")
    screens = [("hook", page) for page in pages(clean(topic))]
    if not screens:
        return ()
    room = duration - _reading([page for _, page in screens])
    said = {plain(page).casefold() for _, page in screens}
    points = list(_take(_candidates(clean(topic), prompt, rng), said, room))
    if len(points) > 1:
        ending = pages(clean(lines.close(rng)))
        while len(points) > 1 and sum(map(_reading, points)) + _reading(ending) > room * 1.15:
            points.pop()
        screens += [("point", page) for point in points for page in point] + [("close", page) for page in ending]
    else:
        screens += [("point", page) for point in points for page in point]
    times = _cuts([_reading([page]) for _, page in screens], duration, pulse)
    return tuple(_beat(kind, page, *span) for (kind, page), span in zip(screens, pairwise(times), strict=True))


def _candidates(topic: str, prompt: str | None, rng: random.Random) -> Iterator[list[list[Token]]]:
    """Yield what may be said, each as its pages: the prompt's sentences but the topic's own, then the bank's lines."""
    told = map(clean, _SENTENCES.split(prompt or ""))
    new = (s for s in told if s.casefold().rstrip(".!?") != topic.casefold().rstrip(".!?"))
    for sentence in chain(new, lines.points(topic, rng)):
        yield pages(clean(sentence))


def _take(points: Iterable[list[list[Token]]], said: set[str], room: float) -> Iterator[list[list[Token]]]:
    """Yield points, whole or not at all, that say nothing said, until reading them slowly fills `room` seconds."""
    for point in points:
        screens = [plain(page).casefold() for page in point]
        new = len(set(screens)) == len(screens) and said.isdisjoint(screens)
        if point and new and room >= _reading(point) * 0.6:
            said.update(screens)
            room -= _reading(point) * _SLOWEST
            yield point


def _reading(screens: Sequence[Sequence[Token]]) -> float:
    """Return the seconds a viewer needs for the pages."""
    return sum(max(0.9, 0.45 + sum(_weight(t) for t in page) * 0.18) for page in screens)


def _weight(token: Token) -> float:
    return 0.6 + sum(0.14 + 0.16 * wide(c[0]) for c in clusters(token.text))


def _cuts(lengths: Sequence[float], duration: float, pulse: float) -> list[float]:
    scale = duration / sum(lengths)
    exact = [0.0, *accumulate(n * scale for n in lengths)][:-1]
    if pulse and min(lengths) * scale > pulse * 1.5:
        exact = [round(t / pulse) * pulse for t in exact]
    return [*exact, float(duration)]


def _beat(kind: str, page: Sequence[Token], start: float, end: float) -> Beat:
    lead, tail = min(0.12, (end - start) * 0.06), min(0.3, (end - start) * 0.12)
    weights = [_weight(t) for t in page]
    rate = (end - start - lead - tail) / sum(weights)
    at = list(accumulate(weights, lambda t, w: t + w * rate, initial=start + lead))
    words = tuple(Word(token, a, b) for token, (a, b) in zip(page, pairwise(at), strict=True))
    return Beat(kind, words, start, end)
