"""Topics in JSON: documents of any shape, and lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry, UnknownFields
from tenxsom_flow_engine.planning.files import read_topics
from tenxsom_flow_engine.planning.json_lists import MAX_DOCUMENT
from tenxsom_flow_engine.planning.lines import MAX_LINE


def read(content: str, name: str = "topics.json", **how: Any) -> list[Entry | BadLine | Comment]:
    return list(read_topics(io.BufferedReader(io.BytesIO(content.encode())), name, **how))


TIDES, DREAMS = {"topic": "How tides work", "duration": 8}, {"topic": "Why we dream"}


@pytest.mark.parametrize("name", ["topics.json", "topics.jsonl", "topics.txt", "-"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "document",
    [[TIDES, "Why we dream"], [TIDES, DREAMS], {"topics": [TIDES, "Why we dream"]}, {"Videos": [TIDES, DREAMS]}],
    ids=["texts and objects", "objects", "an object with a list", "an object with a list of another name"],
)
def test_a_document_is_read(document: Any, indent: int | None, name: str) -> None:
    """A list, or an object with one list, is read on one line and pretty-printed, with any name."""
    entries = read(json.dumps(document, indent=indent), name)
    assert [entry.fields for entry in entries if isinstance(entry, Entry)] == [TIDES, DREAMS]


def test_entries_of_a_document_have_their_lines() -> None:
    """An entry has the number of the line on which it begins; an invalid one names its reason."""
    content = '\n{\n  "topics": [\n    "Tides",\n    {"topic": "Dreams",\n     "duration": "long"},\n    5\n  ]\n}\n'
    assert read(content) == [
        Entry(4, {"topic": "Tides"}),
        BadLine(5, "duration: must be a whole number, not 'long'"),
        BadLine(7, "has item 3 of the list, which is neither a text nor an object"),
    ]


def test_one_object_is_one_entry() -> None:
    """A pretty-printed object with a topic is one entry; a line with an object is one as well."""
    assert read(json.dumps(TIDES, indent=2)) == [Entry(1, TIDES)]
    assert read(json.dumps(TIDES) + "\n") == [Entry(1, TIDES)]


def test_missing_values() -> None:
    """`null` and NaN mean that the field is missing; whole floats are whole numbers; keys can have other spellings."""
    content = (
        '{"topic": "Tides", "prompt": null, "duration": 8.0, "style": "NaN"}\n'
        '{"Topic": "Dreams", "duration": NaN, "options": null, "Aspect Ratio": "09:16"}\n{"topic": null}\n'
    )
    assert read(content) == [
        Entry(1, {"topic": "Tides", "duration": 8}),
        Entry(2, {"topic": "Dreams", "aspect_ratio": "9:16"}),
        BadLine(3, "has no topic"),
    ]


def test_topics_can_look_like_missing_values_and_comments() -> None:
    """In JSON a topic is data."""
    topics = ["None", "null", "# 1 of 5", "#MeToo", "topic"]
    assert read(json.dumps(topics)) == [Entry(1, {"topic": topic}) for topic in topics]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[\n "Tides",\n "Dreams"\n "Salt"\n]', r"^topics\.json line 4: is not JSON: Expecting ',' delimiter"),
        ('[\n "Tides",\n', r"^topics\.json line 3: is not JSON"),
        ('["Tides\', "Dreams"]\n' * 50, r"^topics\.json line 1: is not JSON"),
        ("{'topic': 'Tides'}\n{'topic': 'Dreams'}\n", r"^topics\.json line 1: is not JSON"),
        ("How tides work\nWhy we dream\n", r"^topics\.json line 1: is not JSON"),
        ('{\n "topic": "Tides"\n}\n{\n "topic": "Dreams"\n}\n', r"^topics\.json line 4: is not JSON: Extra data"),
        ("[" * 100_000, r"^topics\.json: is not readable JSON"),
        ('"Tides"', "is neither a JSON list nor an object"),
        ('{"topics": ["Tides"], "more": ["Dreams"]}', "contains more than a list of topics: 'topics', 'more'"),
        (json.dumps([1, 2.5, None, ["Tides"]], indent=1), r"^topics\.json: is a list of 4 items that are neither"),
        ('{"topics": ["Tides"], "channel": "fun"}', "contains more than a list of topics: 'topics', 'channel'"),
    ],
)
def test_a_broken_document_is_one_error(content: str, reason: str) -> None:
    """A document that is not valid is refused with one message, never with one per line."""
    with pytest.raises(InvalidInput, match=reason):
        read(content)


def test_other_fields_of_a_document_can_be_ignored() -> None:
    """With `ignore_unknown`, only the list of an object is read, and unknown fields of its entries are left out."""
    content = '{"version": {"topics": [1]}, "topics": [{"topic": "Tides", "notes": "x"}]}'
    assert read(content, ignore_unknown=True) == [Entry(1, {"topic": "Tides"}, None, ("notes",))]


@pytest.mark.parametrize("indent", [None, 1])
def test_unknown_fields_of_a_document_are_one_error(indent: int | None) -> None:
    """Exports have the same fields in all objects, so a document is refused once, with their names."""
    records = [{"id": number, "fields": {"topic": "Tides"}, "lenght": 8} for number in range(50)]
    for document in (records, {"records": records}):
        with pytest.raises(UnknownFields) as refused:
            read(json.dumps(document, indent=indent))
        assert str(refused.value).startswith(
            "topics.json: has the unknown fields 'id', 'fields', 'lenght'; known are topic, prompt,"
        )
    assert read(json.dumps([{"id": 1, "topic": "Tides"}]), ignore_unknown=True) == [
        Entry(1, {"topic": "Tides"}, None, ("id",))
    ]


def test_unknown_fields_are_named() -> None:
    """An unknown field is named with the nearest known one, and marked so that front ends can offer to ignore it."""
    (bad,) = read('{"topic": "x", "promt": "y"}\n')
    assert isinstance(bad, BadLine)
    assert bad.reason.startswith("has an unknown field 'promt' (did you mean prompt?); known are topic,")
    assert bad.unknown_field
    assert read('{"topic": "x", "Topic": "y"}\n') == [BadLine(1, "has the field topic twice")]


def test_only_the_first_line_is_invalid() -> None:
    """If the second line is an entry, the file has lines, and the first one is an invalid line."""
    bad, good = read('{"topic": "Tides"\n{"topic": "Dreams"}\n')
    assert isinstance(bad, BadLine)
    assert bad.line == 1
    assert good == Entry(2, {"topic": "Dreams"})


def test_a_long_document_on_one_line() -> None:
    """A document can be longer than a line of a list; its size is limited."""
    topics = [f"Topic number {number}" for number in range(5000)]
    content = json.dumps(topics)
    assert len(content) > MAX_LINE
    assert [entry.fields["topic"] for entry in read(content, "-") if isinstance(entry, Entry)] == topics
    with pytest.raises(InvalidInput, match=f"longer than {MAX_DOCUMENT:,} characters"):
        read('["x",' + " " * MAX_DOCUMENT)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["topic", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(values, st.sampled_from([None, 1]), st.sampled_from(["a.json", "a.jsonl"]))
def test_any_json_gives_entries_bad_lines_or_one_error(value: Any, indent: int | None, name: str) -> None:
    """Any JSON value gives entries and invalid lines, as many as its list has items, or `InvalidInput`."""
    try:
        entries = read(json.dumps(value, indent=indent), name)
    except InvalidInput:
        return
    if isinstance(value, list):
        assert len(entries) == len(value)
