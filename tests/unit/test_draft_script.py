"""Scripts of drafts, for any topic and duration."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.services.draft.render import phrases as lines
from tenxsom_flow_engine.services.draft.render.captions import srt
from tenxsom_flow_engine.services.draft.render.characters import is_silent
from tenxsom_flow_engine.services.draft.render.script import Beat, write
from tenxsom_flow_engine.services.draft.render.tokens import clean, pages

TOPICS = st.one_of(
    st.text(min_size=1, max_size=240),
    st.text(alphabet="abcdefghijkl mnop qrst uvwxyz,.'-", min_size=1, max_size=240),
    st.sampled_from(
        [
            "Why the ocean glows at night",
            "5 ways to make better coffee",
            "Donaudampfschifffahrtsgesellschaftskapitän",
            "海が夜に光る理由を知っていますか？",
            "ทำไมทะเลเรืองแสงในเวลากลางคืน",
            "لماذا يضيء المحيط في الليل",
            "👩‍👩‍👧 families 🇫🇷🇩🇪 abroad",
        ]
    ),
)
DURATIONS = st.integers(1, 60)


def squeezed(text: str) -> str:
    """Return the text without spaces and without characters that are never drawn."""
    return "".join(c for c in text if not c.isspace() and not is_silent(c))


@settings(max_examples=150, deadline=None)
@given(TOPICS, st.none() | st.text(max_size=300), DURATIONS, st.text(max_size=5), st.sampled_from([0.0, 0.55, 0.65]))
def test_beats_and_words_fill_the_clip_in_order(
    topic: str, prompt: str, duration: int, seed: str, pulse: float
) -> None:
    """Beats and their words follow each other without gaps or overlaps, from the start of the clip to its end."""
    beats = write(topic, prompt, duration, seed, pulse)
    if not clean(topic):
        assert beats == ()
        return
    assert beats[0].start == 0.0
    assert beats[-1].end == duration
    for before, after in pairwise(beats):
        assert before.end == after.start
    for beat in beats:
        assert beat.start < beat.end
        assert beat.start <= beat.words[0].start
        assert beat.words[-1].end <= beat.end + 1e-9
        for word, following in pairwise(beat.words):
            assert word.start < word.end == following.start


@settings(max_examples=150, deadline=None)
@given(TOPICS, DURATIONS)
def test_every_word_of_the_topic_is_shown_first(topic: str, duration: int) -> None:
    """The hook shows every word of the topic."""
    hook = [b for b in write(topic, None, duration, "seed") if b.kind == "hook"]
    shown = "".join(w.token.text for b in hook for w in b.words)
    assert squeezed(shown) == squeezed(clean(topic))


@settings(max_examples=150, deadline=None)
@given(TOPICS, st.none() | st.text(max_size=300), DURATIONS)
def test_no_line_after_the_hook_repeats(topic: str, prompt: str, duration: int) -> None:
    """No line is shown twice."""
    beats = write(topic, prompt, duration, "seed")
    hook = {b.text.casefold() for b in beats if b.kind == "hook"}
    rest = [b.text.casefold() for b in beats if b.kind != "hook"]
    assert len(rest) == len(set(rest))
    assert hook.isdisjoint(rest)


def kinds(beats: tuple[Beat, ...]) -> list[str]:
    return [b.kind for b in beats]


def test_one_second_is_the_hook_only() -> None:
    """A clip of one second shows the hook."""
    assert kinds(write("Why the ocean glows at night", None, 1, "s")) == ["hook"]


def test_five_seconds_have_hook_point_and_close() -> None:
    """A clip of five seconds has a hook, a point and a close."""
    assert kinds(write("Why the ocean glows at night", None, 5, "s")) == ["hook", "point", "close"]


@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_a_minute_keeps_moving(seed: str) -> None:
    """A clip of a minute changes its line at least every three and a half seconds."""
    beats = write("Tea", None, 60, seed)
    assert beats[-1].kind == "close"
    assert max(b.end - b.start for b in beats) < 3.5


def test_the_sentences_of_the_prompt_are_shown_in_order() -> None:
    """The prompt's sentences become the points, complete and in order; sentences that are too long are omitted."""
    prompt = "Night trains are back. They left Paris at dusk!\nWho kept them running? " + "A very long thought " * 20
    points = [b.text for b in write("Night trains", prompt, 9, "s") if b.kind == "point"]
    assert points[:3] == ["Night trains are back.", "They left Paris at dusk!", "Who kept them running?"]
    assert not any("A very long" in line for line in points)


def test_cuts_are_on_the_pulse() -> None:
    """Lines change on the beats of the music."""
    beats = write("Why the ocean glows at night", None, 20, "s", 0.6)
    assert all(abs(b.start / 0.6 - round(b.start / 0.6)) < 1e-6 for b in beats)


@pytest.mark.parametrize(
    ("topic", "form"),
    [
        ("Why the ocean glows", "why"),
        ("how to bake bread", "how"),
        ("5 ways to rest", "list"),
        ("Top 10 night trains", "list"),
        ("Is tea good for you", "question"),
        ("Tea or coffee?", "question"),
        ("Whyalla", "statement"),
        ("The history of tea", "statement"),
    ],
)
def test_forms(topic: str, form: str) -> None:
    """The form of a topic is determined by its first words and its punctuation."""
    assert lines.form(topic) == form


def test_keywords_are_the_significant_words() -> None:
    """Keywords are the significant words of a topic."""
    assert lines.keywords("Why the ocean glows at night") == ["ocean", "glows", "night"]


@given(st.text(max_size=80))
def test_lines_are_short_whatever_the_topic(topic: str) -> None:
    """No line for any topic takes more than two pages."""
    assert all(len(pages(line)) <= 2 for line in lines.points(topic, random.Random(1)))


def test_captions_are_the_beats() -> None:
    """The captions have the text of the beats, from the first second to the last."""
    beats = write("Tea time", None, 5, "s")
    cues = srt(beats).strip().split("\n\n")
    assert len(cues) == len(beats)
    assert cues[0].startswith("1\n00:00:00,000 --> 00:00:0")
    assert cues[0].endswith("\nTea time")
    assert cues[-1].splitlines()[1].endswith("--> 00:00:05,000")
