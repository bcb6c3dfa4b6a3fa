"""Captions in SRT and WebVTT."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.output.captions import plain_captions, webvtt
from tenxsom_flow_engine.text import srt


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("how tides work", "How tides work"),
        ("00:00:01,000 --> 00:00:02,000", "00:00:01,000 → 00:00:02,000"),
        ("one\u2028\u2028two", "One two"),
        ("{\\an8}How subtitles move", "{\u2060\\an8}How subtitles move"),
    ],
)
def test_plain_captions_show_the_title(topic: str, text: str) -> None:
    """Captions without a script are one cue with the title, which no player reads as times or as a command."""
    assert plain_captions(topic, 3725.5) == f"1\n00:00:00,000 --> 01:02:05,500\n{text}\n"


def test_cues_are_text_only() -> None:
    """Cues are numbered, and no player reads their text as a tag, a command or times."""
    cues = [(0.0, 1.2345, "Vec<String> & 1 < 2"), (1.2345, 3600.0, "{\\an8}up: a --> b</i>")]
    assert srt(cues) == (
        "1\n00:00:00,000 --> 00:00:01,234\nVec<\u2060String> & 1 < 2\n\n"
        "2\n00:00:01,234 --> 01:00:00,000\n{\u2060\\an8}up: a → b<\u2060/i>\n"
    )


def test_webvtt_shows_text_as_it_is_written() -> None:
    """Characters with a meaning in WebVTT are escaped, also in text that looks like the times of a cue."""
    srt = "1\n00:00:00,000 --> 00:00:01,000\n<i>Tom</i> & &lt;b&gt;\n00:00:01,000 --> 00:00:02,000\n{\\an8}up\n"
    assert webvtt(srt) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.000\n&lt;i&gt;Tom&lt;/i&gt; &amp; &amp;lt;b&amp;gt;\n"
        "00:00:01,000 --&gt; 00:00:02,000\n{\\an8}up\n"
    )


def test_webvtt_is_made_of_files_of_other_programs() -> None:
    """Byte order marks, all line endings, blank lines, positions, short times and a missing number are read."""
    srt = (
        "\ufeff1\r\n0:00:00,5 --> 00:01.250 X1:40 X2:600 Y1:20 Y2:50\r\nfirst\r\n\r\nstill first\r\n\r\n"
        "2\r\n00:00:02,000 --> 00:00:03,000\r\n1984\r\n\r\n00:00:04,000 --> 00:00:05,000\nlast"
    )
    assert webvtt(srt) == (
        "WEBVTT\n\n1\n00:00:00.500 --> 00:00:01.250\nfirst\nstill first\n\n"
        "2\n00:00:02.000 --> 00:00:03.000\n1984\n\n3\n00:00:04.000 --> 00:00:05.000\nlast\n"
    )


def test_no_captions_are_an_empty_file() -> None:
    """A file without cues is a valid WebVTT file without cues."""
    assert webvtt("") == webvtt("nothing here\n") == "WEBVTT\n"
