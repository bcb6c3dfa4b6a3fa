"""Scripts of drafts, for any topic and duration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.services.draft.render.characters import is_silent, is_wide
from tenxsom_flow_engine.services.draft.render.script import READING_SPEED, SHORTEST, Beat, outline, write
from tenxsom_flow_engine.services.draft.render.tokens import clean, clusters
from tenxsom_flow_engine.services.sentences import sentences

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
SCRIPTS = st.one_of(
    st.just(""),
    st.text(max_size=300),
    st.text(alphabet="abcd efgh ABC,.!?…。\n1*#", max_size=400),
    st.just("1. Stir a dark sea. 2. It flashes blue! Why?\n\n“Plankton,” says **Dr. Lee**. 海が光る。なぜ？"),
)
DURATIONS = st.integers(1, 60)


def squeezed(text: str) -> str:
    """Return the text without spaces and without characters that are never drawn."""
    return "".join(c for c in text if not c.isspace() and not is_silent(c))


@settings(max_examples=150, deadline=None)
@given(TOPICS, SCRIPTS, DURATIONS, st.sampled_from([0.0, 0.55, 0.65]))
def test_beats_and_words_fill_the_clip_in_order(topic: str, script: str, duration: int, pulse: float) -> None:
    """Beats and their words follow each other without gaps or overlaps, from the start of the clip to its end."""
    beats = write(topic, script, duration, pulse)
    if all(is_silent(character) for character in clean(topic).replace(" ", "")):
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
@given(TOPICS, SCRIPTS, DURATIONS, st.sampled_from([0.0, 0.55, 0.65]))
def test_every_screen_is_long_enough(topic: str, script: str, duration: int, pulse: float) -> None:
    """No screen is shorter than the shortest one, and each that belongs to a script can be read."""
    for beat in write(topic, script, duration, pulse):
        length = beat.end - beat.start
        assert length >= SHORTEST - 1e-9
        if beat.kind == "point":
            assert sum(1 + is_wide(c[0]) for c in clusters(beat.text)) <= length * READING_SPEED + 1e-6


@settings(max_examples=150, deadline=None)
@given(TOPICS, SCRIPTS, DURATIONS)
def test_the_topic_is_shown_whole_then_whole_sentences(topic: str, script: str, duration: int) -> None:
    """A clip shows every word of the topic, then the first sentences of the script, each whole, and nothing else."""
    beats = write(topic, script, duration)
    if not beats:
        return
    plan = outline(topic, script, duration)
    once = shown(beats[: len(plan.topic) + sum(map(len, plan.points))])
    said = [squeezed(clean(sentence)) for sentence in sentences(script)]
    assert once.startswith(squeezed(clean(topic)))
    rest = once.removeprefix(squeezed(clean(topic)))
    heads = ["".join(said[first:last]) for first in (0, 1) for last in range(first, len(said) + 1)]
    assert rest in (*heads, "")
    assert shown(beats) == once * (len(beats) // max(1, len(plan.topic) + sum(map(len, plan.points))))


def shown(beats: Sequence[Beat]) -> str:
    return squeezed("".join(w.token.text for b in beats for w in b.words))


def texts(beats: Sequence[Beat], kind: str) -> str:
    return " ".join(b.text for b in beats if b.kind == kind)


def test_a_script_that_fits_is_shown_complete() -> None:
    """A script of nine sentences is shown complete within 30 seconds."""
    script = (
        "Sunlight looks white but holds every colour. Air molecules scatter short waves far more than long ones. Blue "
        "light is scattered about ten times as much as red. So blue reaches your eyes from every direction. Violet "
        "scatters even more, but the sun sends less of it. Your eyes are also less sensitive to violet. At sunset the "
        "light crosses more air. Most of the blue is gone before it reaches you. That is why evenings turn red."
    )
    beats = write("Why the sky is blue", script, 30, 0.6)
    assert texts(beats, "hook") == "Why the sky is blue"
    assert texts(beats, "point") == script


def test_a_script_that_does_not_fit_is_cut_between_sentences() -> None:
    """Sentences are shown from the start of the script, up to the first one that does not fit."""
    script = "Night trains are back. " + "A very long thought " * 20 + "ends. Who kept them running?"
    assert texts(write("Trains", script, 9), "point") == "Night trains are back."
    plan = outline("Trains", script, 9)
    assert (len(plan.points), plan.sentences) == (1, 3)
    assert 25 < plan.seconds < 35


def test_sentences_can_repeat() -> None:
    """A refrain is shown each time; a first sentence that repeats the topic is not."""
    assert texts(write("Look closer", "Look closer. It moves. Look closer. It moves.", 8), "point") == (
        "It moves. Look closer. It moves."
    )


@pytest.mark.parametrize(("duration", "showings"), [(1, 1), (5, 1), (10, 2), (60, 12)])
def test_a_topic_alone_is_shown_again(duration: int, showings: int) -> None:
    """A topic without a script is shown about every five seconds, and nothing else."""
    beats = write("Why the ocean glows at night", "", duration, 0.6)
    assert [b.text for b in beats] == ["Why the ocean glows at night"] * showings
    assert {b.kind for b in beats} == {"hook"}


def test_a_topic_that_is_too_long_is_shown_on_few_screens() -> None:
    """A topic that cannot be read in time is shown whole, on screens that stay as long as the shortest one."""
    topic = "a few more words " * 17
    beats = write(topic, "", 5)
    assert shown(beats) == squeezed(topic)
    assert len(beats) == 5
    assert outline(topic, "", 5).seconds > 15


def test_wide_characters_take_twice_the_time() -> None:
    """A Chinese character takes twice the time of a Latin letter."""
    assert outline("x", "学而时习之不亦说乎学而时习之不亦说乎。", 60).seconds == pytest.approx(
        outline("x", "xx" * 18 + "xx", 60).seconds, abs=0.5
    )


def test_cuts_are_on_the_pulse() -> None:
    """Lines change on the beats of the music."""
    beats = write("Why the ocean glows at night", "It is full of light. The light is alive.", 20, 0.6)
    assert len(beats) > 2
    assert all(abs(b.start / 0.6 - round(b.start / 0.6)) < 1e-6 for b in beats)
