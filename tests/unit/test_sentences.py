"""Sentences of scripts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.services.sentences import sentences

#: Texts with the sentences written as lines.
ENDS = {
    "list numbers": "1. Track every dollar. / 2. Cook at home. / A) Rice. / IV. Soup.",
    "titles and abbreviations": "Dr. Smith met Mrs. Lee vs. St. John, e.g. Paris or i.e. Rome. / They left.",
    "initials": "J. R. R. Tolkien wrote it. / Samuel L. Jackson did not.",
    "acronyms": "The U.S. Army came at 5 p.m. / The end. / He lives in the U.S. / It is big.",
    "numbers": "Save 3.5% of $1,000. / Go to No. 5 Main Square. / It was 1999. / Then came 2000.",
    "marks together": "Wait... what?! / Yes!! / Well… / The truth is out.",
    "quotations": '"Save 3.5% of $1,000." / "What?" he asked. / He said “Yes.” / Then he left. / (It works.) / So?',
    "links": "Visit https://example.com/save-money now! / What is node.js? / It runs.",
    "German": "Das ist z. B. Brot. / Am 3. Mai kam er usw. / Dann ging er. / „Hallo.“ / So war es.",
    "French": "Elle dit : « Oui. » / Puis elle part.",
    "Spanish": "¿Qué es? / ¡El mar! / Por ej. Madrid.",
    "Russian": "Он пришёл, т. е. Иван. / Она ушла.",
    "Korean": "안녕하세요. / 오늘은 바다입니다.",
    "Hindi": "यह पहला वाक्य है। / यह दूसरा है।",
    "Arabic": "كيف حالك؟ / بخير.",
    "Urdu": "یہ پہلا ہے۔ / یہ دوسرا ہے۔",
    "Thai": "สวัสดีครับ / วันนี้เราจะพูดถึงทะเล / ทำไมมันเรืองแสง AI 10 อันดับ",
    "no capitals": "this is a tip. / cook at home, e.g. soup. / is it ok? / yes!",
}
#: The same for languages without spaces, where sentences follow each other directly.
DENSE_ENDS = {
    "Chinese": "孔子说：“学而时习之，不亦说乎？” / 老子说：“道可道，非常道。” / 这就是智慧。 / 等等……他来了。",
    "Chinese quotations": "“好！” / “不好！” / （真的？） / 是。",
    "Japanese": "なぜ光るのか？ / 深海の秘密。 / 「行こう。」と彼は言った。 / 「なに？」 / 「海だ！」",
}


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
def test_sentences_end_where_a_reader_sees_it(text: str) -> None:
    """A text is split at the ends of its sentences and nowhere else."""
    assert sentences(text.replace(" / ", " ")) == text.split(" / ")


@pytest.mark.parametrize("text", DENSE_ENDS.values(), ids=DENSE_ENDS)
def test_sentences_end_without_spaces(text: str) -> None:
    """A closing quotation mark or bracket stays with its sentence, an opening one with the next."""
    assert sentences(text.replace(" / ", "")) == text.split(" / ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nSome text", ["Title", "Some text"]),
        ("- one\n* two\n• three · four\n– [x] five\n→ six", ["one", "two", "three", "four", "five", "six"]),
        ("> quoted\n```python\nx = 1\n```\n---\n***", ["quoted", "x = 1"]),
        ("**Dr. Smith** says *yes*, __no__ and ~~maybe~~.", ["Dr. Smith says yes, no and maybe."]),
        ("这是**重点**内容。", ["这是重点内容。"]),
        (r"Write \*args\* and **a\*b**, not C:\dir", [r"Write *args* and a*b, not C:\dir"]),
        ("## Tides ##\nUse C #", ["Tides", "Use C #"]),
        (
            "See [the map][1].[^2]\n[1]: https://example.com\n[^2]: A note.\n[Scene 1]: a ship",
            ["See the map.", "[Scene 1]: a ship"],
        ),
        ("2 * 3 * 4, 2*3*4, snake_case_name and f***", ["2 * 3 * 4, 2*3*4, snake_case_name and f***"]),
        ("![a wave](w.png) See [the source](https://example.com/a) or `code`.", ["See the source or code."]),
        ("First line\r\nsecond line<br>third line", ["First line", "second line", "third line"]),
    ],
)
def test_markdown_marks_are_removed(text: str, expected: list[str]) -> None:
    """The marks of Markdown are removed; the same characters with another meaning stay."""
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "🔥🔥🔥\nTrack every dollar.\n👇👇👇\nCook at home.\n#money #savings",
            ["Track every dollar.", "Cook at home."],
        ),
        ("Cook at home. #food https://example.com/a", ["Cook at home."]),
        ("“Cook at home.” #food", ["“Cook at home.”"]),
        ("Cook at home #food #rice", ["Cook at home"]),
        ("We love #python. And you? 🔥", ["We love #python.", "And you? 🔥"]),
        ("https://example.com/a\nwww.example.com\n＃海 ＃光", []),
        ("...\n→\n?!\n\n \t", []),
    ],
)
def test_lines_with_nothing_to_show_are_left_out(text: str, expected: list[str]) -> None:
    """Tags at the end of a line, links alone and lines without words are left out; tags within a sentence stay."""
    assert sentences(text) == expected


@given(st.text(alphabet="abAB .!?…。？「」“”\"'()1,", max_size=200))
def test_nothing_is_lost_or_reordered(text: str) -> None:
    """The sentences are the text without its blanks, apart from parts without letters and digits."""
    letters = re.sub(r"[^\w]", "", text)
    assert re.sub(r"[^\w]", "", "".join(sentences(text))) == letters


@given(st.text(max_size=300))
def test_any_text_can_be_split(text: str) -> None:
    """Each sentence is on one line and has a letter or a digit."""
    for sentence in sentences(text):
        assert sentence == sentence.strip()
        assert len(sentence.splitlines()) == 1
        assert any(map(str.isalnum, sentence))


@pytest.mark.parametrize("unit", ["*a", "a. ", "#a ", " ", "[a](", "“A.” ", "_", "…  A", "![", "> ", "`"])
def test_a_long_text_of_marks_takes_no_long_time(unit: str) -> None:
    """The longest script of nothing but marks is split without a search of quadratic time."""
    sentences(unit * (10_000 // len(unit)))
