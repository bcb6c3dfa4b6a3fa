"""Titles and descriptions, within the limits of the platforms."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icu4py.breakers import CharacterBreaker

from tenxsom_flow_engine.output.metadata import MAX_DESCRIPTION, description, metadata_of
from tenxsom_flow_engine.output.titles import MAX_TITLE, title
from tenxsom_flow_engine.output.truncation import shorten, utf8_length, utf16_length
from tenxsom_flow_engine.store.base import new_record
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.samples import VIDEO, a_job

ANECDOTE = (
    "TIFU by telling my boss that I had already finished the report that I had not even started and then having to "
    "present it to the whole company including the CEO who flew in from another country just to hear it"
)
#: Texts with many of the characters that are hard to cut.
TEXTS = st.text(
    st.sampled_from("aé e\u0301日本のก็เกี่ยวสำ👨\u200d👩\U0001f1e9\U0001f1ea\u0600கி-<>.\n\u2028\x07한한"), max_size=300
)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("how tides work", "How tides work"),
        ("  how \t tides\u2028work ", "How tides work"),
        ("5 octopus facts", "5 octopus facts"),
        ("ßetter", "Ssetter"),
        ("ǆungla", "ǅungla"),
        ("ლამაზი საქართველო", "ლამაზი საქართველო"),
        ("élan vital", "Élan vital"),
        ("e\u0301lan vital", "Élan vital"),
        ("iPhone tips", "iPhone tips"),
        ("eBay or not", "eBay or not"),
        ("macOS tricks", "macOS tricks"),
        ("e-Bike repairs", "e-Bike repairs"),
        ("¿qué es el café?", "¿Qué es el café?"),
        ("“quoted” words", "“Quoted” words"),
        ("'tis the season", "'Tis the season"),
        ("(almost) free energy", "(Almost) free energy"),
        ("🔥 top 5 AI tools", "🔥 Top 5 AI tools"),
        ("❤️ stories", "❤️ Stories"),
        ("@openai explains", "@openai explains"),
        ("#fyp explained", "#fyp explained"),
        ("{\\an8}how subtitles move", "{\\an8}how subtitles move"),
        ("מה קורה בגוף כשישנים?", "מה קורה בגוף כשישנים?"),
    ],
)
def test_a_title_is_one_line_with_a_capital(topic: str, expected: str) -> None:
    """The first letter of a topic is in title case, unless its word is a name with a capital inside."""
    assert title(topic) == expected


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("Why x<y matters in Rust: Vec<String> or Vec<&str>?", "Why x‹y matters in Rust: Vec‹String› or Vec‹&str›?"),
        ("I <3 AI & you", "I ‹3 AI & you"),
        ("From A --> B: how arrows changed maths", "From A → B: how arrows changed maths"),
        ("<i>Italic</i> titles", "‹i›Italic‹/i› titles"),
        ("Tom & Jerry &amp; the &lt;b&gt; tag", "Tom & Jerry &amp; the &lt;b&gt; tag"),
    ],
)
def test_angle_brackets_are_replaced(topic: str, expected: str) -> None:
    """YouTube refuses angle brackets: similar characters replace them, in titles and descriptions."""
    assert title(topic) == expected
    assert description(topic, []) == expected


@pytest.mark.parametrize(
    ("topic", "end"),
    [
        (ANECDOTE, " and then…"),
        ("word, " * 40, " word…"),
        ("state-of-the-" * 20, "…"),
        ("ประวัติศาสตร์ของกรุงเทพมหานคร" * 8, "…"),
        ("日本のスタートアップ" * 20, "…"),
        ("👩‍👩‍👧" * 40, "👩‍👩‍👧…"),
        ("e" + "\u0301" * 400, "…"),
    ],
)
def test_a_long_title_is_cut_after_a_word(topic: str, end: str) -> None:
    """A title has at most 100 characters, more than half of them in use, and ends after a word with an ellipsis."""
    short = title(topic)
    assert MAX_TITLE / 2 < utf16_length(short) <= MAX_TITLE
    assert short.endswith(end)


def test_a_word_without_spaces_is_cut_at_its_language() -> None:
    """Thai text is cut between two words, although no space is there."""
    word = "กรุงเทพมหานคร"
    assert shorten(word * 9, 100) == word * 7 + "…"


@given(TEXTS)
def test_titles_and_descriptions_are_always_accepted(topic: str) -> None:
    """No text makes a title or a description that is too long, cut inside a grapheme, or has a forbidden character."""
    short = title(topic)
    for text in (short, description(topic, ["#tag"])):
        assert not {"<", ">"} & set(text)
        assert all(unicodedata.category(letter) not in ("Cc", "Zl", "Zp") for letter in text.replace("\n", ""))
    assert "\n" not in short
    assert utf16_length(short) <= MAX_TITLE


@given(TEXTS, st.integers(4, 60), st.sampled_from([utf8_length, utf16_length]))
def test_a_text_is_never_cut_inside_a_grapheme(text: str, limit: int, length: object) -> None:
    """The beginning that is kept consists of whole graphemes, unless the first alone is longer than the limit."""
    assert callable(length)
    short = shorten(text, limit, length)
    assert length(short) <= limit
    if short != text:
        graphemes = list(CharacterBreaker(text, "root"))
        kept = short.removesuffix("…")
        beginnings = {"".join(graphemes[:count]) for count in range(len(graphemes) + 1)}
        assert kept in beginnings or length(graphemes[0]) + length("…") > limit


def test_a_description_keeps_its_hashtags() -> None:
    """A text of 10,000 characters is cut after a word, so that it and the hashtags fit into 5,000 bytes."""
    text = description("Größe und Maß\n" * 700, ["#größe", "#maß"])
    assert MAX_DESCRIPTION - 20 < utf8_length(text) <= MAX_DESCRIPTION
    assert text.endswith(("Größe…\n\n#größe #maß", "und…\n\n#größe #maß", "Maß…\n\n#größe #maß"))
    assert description("One.\r\nTwo.\x0bThree.", []) == "One.\nTwo.\nThree."


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        ({"script": "The sea rises.", "prompt": "a calm sea"}, "The sea rises.\n\n#"),
        ({"prompt": "a calm sea"}, "a calm sea\n\n#"),
        ({"topic": "Why the ocean glows at night"}, "Stir a dark sea"),
        ({}, "Why the sea is salty here\n\n#"),
    ],
)
def test_a_description_is_what_the_video_says(fields: dict[str, str], begins: str) -> None:
    """The description is the script, the prompt, the script of a built-in topic, or else the topic."""
    job = a_job(**{"topic": "Why the sea is salty here", **fields})
    record = new_record("local", NewJob(job, None), 1.0)
    assert metadata_of(record, VIDEO)["description"].startswith(begins)
