"""Drafts: their text, their notes and their length, as a plan shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.draft.service import DraftService
from tenxsom_flow_engine.topics import builtin_script, builtin_topics

SERVICE = DraftService(Path("drafts"))
SENTENCES = "Tides rise. " * 8


def a_job(**changes: Any) -> VideoJob:
    fields: dict[str, Any] = {"job_id": "tides", "topic": "Tides", "created_at": 1.0}
    return VideoJob(**(fields | changes))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"script": " Tides rise. ", "prompt": "A wave."}, "Tides rise."),
        ({"prompt": " A wave. "}, "A wave."),
        ({"topic": "why the ocean glows at night"}, builtin_script("Why the ocean glows at night")),
        ({"topic": "Why the ocean glows at night", "prompt": "A wave."}, "A wave."),
        ({}, ""),
    ],
)
def test_the_text_of_a_draft(fields: dict[str, Any], text: str) -> None:
    """A draft shows its script, or else its prompt, or else the script of its built-in topic, or else nothing."""
    assert SERVICE.prompt(a_job(**fields)) == text
    assert SERVICE.order(a_job(**fields), "r")["prompt"] == text


@pytest.mark.parametrize(
    ("fields", "notes"),
    [
        ({"script": SENTENCES, "duration": 60}, ()),
        (
            {"script": SENTENCES, "duration": 6},
            ("the script needs about 9 s at a readable pace, but the draft lasts 6 s and shows 5 of 8 sentences",),
        ),
        (
            {"topic": "a long topic " * 20},
            ("the topic needs about 16 s at a readable pace, but the draft lasts 5 s",),
        ),
        ({"topic": "a long topic " * 20, "duration": 16}, ()),
    ],
)
def test_text_that_cannot_be_read_in_time_has_a_note(fields: dict[str, Any], notes: tuple[str, ...]) -> None:
    """A plan says how long the text of a draft takes to read, if the draft is shorter."""
    assert SERVICE.fit(a_job(**fields)).notes == notes


@pytest.mark.parametrize("topic", builtin_topics()[:5])
def test_a_draft_without_an_ordered_length_can_be_read(topic: str) -> None:
    """A draft without an ordered length is long enough for its script, and the plan has no note."""
    job = a_job(topic=topic)
    duration = SERVICE.default_duration(job)
    assert 15 <= duration <= 40
    assert SERVICE.fit(a_job(topic=topic, duration=duration)).notes == ()


def test_the_length_of_a_draft_has_limits() -> None:
    """A draft without an ordered length lasts 5 to 60 seconds."""
    assert SERVICE.default_duration(a_job()) == 5
    assert SERVICE.default_duration(a_job(script=SENTENCES * 20)) == 60
