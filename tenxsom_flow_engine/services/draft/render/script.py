"""Write the script of a topic: beats (hook, points, close) with a time for each word."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

from tenxsom_flow_engine.services.draft.render import phrases as lines
from tenxsom_flow_engine.services.draft.render.tokens import Token, clean, clusters, pages, plain, wide

_SLOWEST = 1.4  # beats are stretched up to this factor of their reading time before another line is added
# After a full stop of the Latin, Arabic, Indian, Chinese or Japanese script; at a newline; at a bullet.
_SENTENCES = re.compile(
    r"(?<=[.!?\u2026\u061f\u0964])[\"'\u2019\u201d)]*\s+|(?<=[\u3002\uff01\uff1f])|[\r\n]+|\s+[\u2022\u00b7*]\s+"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A token and the time from `start` to `end` in seconds during which it is highlighted."""

    token: Token
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A screen of text, from `start` to `end` in seconds; `kind` is hook, point or close."""

    kind: str
    words: tuple[Word, ...]
    start: float
    end: float

    @property
    def text(self) -> str:
        """The beat as a line of prose."""
        return plain([w.token for w in self.words])


def write(topic: str, prompt: str | None, duration: float, seed: str, pulse: float = 0.0) -> tuple[Beat, ...]:
    """Return beats that fill `duration` seconds without a gap, and begin with every word of the topic.

    The points are the prompt's sentences, followed by stock lines if these are too few. No two beats after the hook
    have the same text. Cuts are on multiples of `pulse` seconds (a beat of the music) if the beats are long enough.
    Returns no beats for a topic without visible characters.
    """
    rng = random.Random(f"script:{seed}")
    screens = [("hook", page) for page in pages(clean(topic))]
    if not screens:
        return ()
    room = duration - _reading([page for _, page in screens])
    used = {plain(page).casefold() for _, page in screens}
    points = list(_take(_candidates(clean(topic), prompt, rng), used, room))
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
    """Yield candidate points as pages: the prompt's sentences except the topic itself, then stock lines."""
    sentences = map(clean, _SENTENCES.split(prompt or ""))
    new = (s for s in sentences if s.casefold().rstrip(".!?") != topic.casefold().rstrip(".!?"))
    for sentence in chain(new, lines.points(topic, rng)):
        yield pages(clean(sentence))


def _take(points: Iterable[list[list[Token]]], used: set[str], room: float) -> Iterator[list[list[Token]]]:
    """Yield complete points without a text in `used`, until reading them slowly fills `room` seconds."""
    for point in points:
        screens = [plain(page).casefold() for page in point]
        new = len(set(screens)) == len(screens) and used.isdisjoint(screens)
        if point and new and room >= _reading(point) * 0.6:
            used.update(screens)
            room -= _reading(point) * _SLOWEST
            yield point


def _reading(screens: Sequence[Sequence[Token]]) -> float:
    """Return the seconds that a viewer needs to read the pages."""
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
