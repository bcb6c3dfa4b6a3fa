"""Divide a topic and its script into beats (screens of text), with a time for each word.

The topic is shown whole, then as many whole sentences as the video has time for. Nothing is added to them: if there is
more time, everything is shown longer, and then again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise

from tenxsom_flow_engine.services.draft.render.characters import is_wide
from tenxsom_flow_engine.services.draft.render.tokens import Token, clean, clusters, pages, plain
from tenxsom_flow_engine.services.sentences import sentences

#: Characters that a viewer reads in a second; a wide one, such as a Chinese character, counts as two. Netflix's Timed
#: Text Style Guides allow 20 in English for adults and 17 for children, and 9 in Chinese.
READING_SPEED = 17.0
#: The shortest time of a screen in seconds. The same guides allow 5/6.
SHORTEST = 0.9
#: Seconds for which the last screen is shown longer, because a player then starts the video again.
_LAST_LONGER = 0.5
#: Everything is shown about once in this many seconds, or in this many times its reading time if that is longer.
_LOOP_SECONDS, _LOOP_FACTOR = 5.0, 3.0

Page = Sequence[Token]


@dataclass(frozen=True, slots=True)
class Word:
    """A token and the time from `start` to `end` in seconds during which it is highlighted."""

    token: Token
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A screen of text, from `start` to `end` in seconds; `kind` is hook (the topic) or point (the script)."""

    kind: str
    words: tuple[Word, ...]
    start: float
    end: float

    @property
    def text(self) -> str:
        """The beat as a line of prose."""
        return plain([w.token for w in self.words])


@dataclass(frozen=True, slots=True)
class Outline:
    """The screens of a video: those of the topic, and those of each sentence that is shown."""

    topic: Sequence[Page]
    points: Sequence[Sequence[Page]]
    #: The number of sentences in the script.
    sentences: int
    #: Seconds in which the topic and the whole script can be read.
    seconds: float


def outline(topic: str, script: str, duration: float) -> Outline:
    """Choose the screens of a video. A topic without visible characters has none."""
    hook, points, spent = _screens(topic, script)
    shown = sum(seconds <= duration for seconds in spent[1:])
    # A topic that is too long to be read is shown all the same, on as many screens as can be seen.
    most = max(1, int(duration / SHORTEST))
    if len(hook) > most:
        hook = [list(chain(*hook[len(hook) * n // most : len(hook) * (n + 1) // most])) for n in range(most)]
    return Outline(hook, points[:shown], len(points), spent[-1])


def write(topic: str, script: str, duration: float, pulse: float = 0.0) -> tuple[Beat, ...]:
    """Return beats that fill `duration` seconds without a gap.

    Cuts are on multiples of `pulse` seconds (a beat of the music) if that leaves time to read each screen. Returns no
    beats for a topic without visible characters.
    """
    plan = outline(topic, script, duration)
    if not plan.topic:
        return ()
    screens = [("hook", page) for page in plan.topic] + [("point", page) for point in plan.points for page in point]
    lengths = [_seconds(page) for _, page in screens]
    times = max(1, round(duration / max(_LOOP_SECONDS, sum(lengths) * _LOOP_FACTOR)))
    screens, lengths = screens * times, _shortened(lengths * times, duration)
    lengths[-1] += min(_LAST_LONGER, max(0.0, duration - sum(lengths)))
    cuts = _cuts(lengths, duration, pulse)
    return tuple(_beat(kind, page, *span) for (kind, page), span in zip(screens, pairwise(cuts), strict=True))


@lru_cache(maxsize=16)  # a plan asks for the same job with several durations
def _screens(topic: str, script: str) -> tuple[Sequence[Page], Sequence[Sequence[Page]], Sequence[float]]:
    """Return the screens of the topic and of each sentence, and the seconds to read the topic and so many sentences.

    A first sentence that repeats the topic is left out.
    """
    said = [clean(sentence) for sentence in sentences(script)]
    if said and _bare(said[0]) == _bare(clean(topic)):
        del said[0]
    hook, points = pages(clean(topic)), [screens for sentence in said if (screens := pages(sentence))]
    spent = list(accumulate((_reading(screens) for screens in points), initial=_reading(hook) + _LAST_LONGER))
    return hook, points, spent


def _bare(sentence: str) -> str:
    return sentence.casefold().rstrip(".!?。！？… ")


def _reading(screens: Sequence[Page]) -> float:
    """Return the seconds in which a viewer can read the screens."""
    return sum(map(_seconds, screens))


def _seconds(page: Page) -> float:
    return max(SHORTEST, sum(1 + is_wide(cluster[0]) for cluster in clusters(plain(page))) / READING_SPEED)


def _shortened(lengths: list[float], duration: float) -> list[float]:
    """Return the lengths; if they exceed the duration, shortened to it, and none to less than the shortest one."""
    spare, used = duration - SHORTEST * len(lengths), sum(lengths) - SHORTEST * len(lengths)
    if spare >= used:
        return lengths
    return [SHORTEST + max(0.0, spare) * (length - SHORTEST) / used for length in lengths]


def _cuts(lengths: Sequence[float], duration: float, pulse: float) -> list[float]:
    """Return the times between screens: in proportion to their lengths, moved to the pulse if all stay long enough."""
    scale = duration / sum(lengths)
    exact = [*(n * scale for n in accumulate(lengths[:-1], initial=0.0)), float(duration)]
    for unit in (pulse, pulse / 2) if pulse else ():
        cuts = [0.0]
        for ideal, length in zip(exact[1:-1], lengths, strict=False):
            cuts.append(max(round(ideal / unit), math.ceil((cuts[-1] + length) / unit - 1e-9)) * unit)
        if duration - cuts[-1] >= lengths[-1]:
            return [*cuts, float(duration)]
    return exact


def _weight(token: Token) -> float:
    return 0.6 + sum(0.14 + 0.16 * is_wide(c[0]) for c in clusters(token.text))


def _beat(kind: str, page: Page, start: float, end: float) -> Beat:
    lead, tail = min(0.12, (end - start) * 0.06), min(0.3, (end - start) * 0.12)
    weights = [_weight(t) for t in page]
    rate = (end - start - lead - tail) / sum(weights)
    at = list(accumulate(weights, lambda t, w: t + w * rate, initial=start + lead))
    words = tuple(Word(token, a, b) for token, (a, b) in zip(page, pairwise(at), strict=True))
    return Beat(kind, words, start, end)
