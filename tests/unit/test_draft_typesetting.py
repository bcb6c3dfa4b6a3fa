"""Typesetting and fonts: text stays inside the safe area, and no character is shown as a box."""

from __future__ import annotations

import io
import math
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.draft.render.coverage import covered
from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY, TEXT, Library
from tenxsom_flow_engine.services.draft.render.scene import safe_area
from tenxsom_flow_engine.services.draft.render.tokens import clean, pages, tokens
from tenxsom_flow_engine.services.draft.render.typesetting import MAX_LINES, Area, Block, set_block

VENDORED = Library(folders=())
SIZES = st.sampled_from([(540, 960), (960, 540), (540, 540)])
COVERED = covered(DISPLAY[0])
SHOWN = [char for char in map(chr, range(0x21, 0x2000)) if char in COVERED and clean(char)]
MARKS = [char for char in SHOWN if unicodedata.category(char) == "Mn"]
# Cleaning normalises the text, which can leave a separate mark that the bundled faces lack.
TEXT_WE_SHOW = st.text(st.sampled_from([*SHOWN, *" W@i" * 40, *MARKS * 5]), min_size=1, max_size=200).filter(
    lambda text: bool(text.strip()) and text.strip()[0] not in MARKS and set(clean(text)) <= {*COVERED, " "}
)


def drawn_bounds(block: Block, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the bounds of the pixels of the block's words, drawn on a canvas with a wide margin."""
    margin = 400
    image = Image.new("L", (size[0] + 2 * margin, size[1] + 2 * margin))
    draw = ImageDraw.Draw(image)
    for word in block.words:
        pen = word.x + margin
        for run in word.runs:
            draw.text((pen, word.y + margin), run.text, fill=255, font=run.face.at(block.size), anchor="ls")
            pen += run.face.at(block.size).getlength(run.text)
    left, top, right, bottom = image.getbbox() or (margin, margin, margin, margin)
    return left - margin, top - margin, right - margin, bottom - margin


@settings(max_examples=120, deadline=None)
@given(TEXT_WE_SHOW, SIZES, st.booleans())
def test_text_stays_inside_the_safe_area(text: str, size: tuple[int, int], centred: bool) -> None:
    """No text is set outside the safe area or on more lines than allowed."""
    area = safe_area(*size, centred)
    for page in pages(clean(text)):
        block = set_block(page, area, 150, VENDORED, centred)
        left, top, right, bottom = drawn_bounds(block, size)
        assert left >= area.left
        assert top >= area.top
        assert right <= area.right
        assert bottom <= area.bottom
        assert area.left <= block.ink.left
        assert block.ink.right <= area.right
        assert len({word.line for word in block.words}) <= MAX_LINES


@settings(max_examples=60, deadline=None)
@given(TEXT_WE_SHOW | st.just("Ấy Ậm Ångström jumps"), SIZES)
def test_the_highlight_covers_all_of_its_word(text: str, size: tuple[int, int]) -> None:
    """The highlight of a word covers all marks above and below it."""
    for page in pages(clean(text)):
        block = set_block(page, safe_area(*size), 150, VENDORED)
        for word in block.words:
            if not word.runs:
                continue
            left, top, right, bottom = drawn_bounds(replace(block, words=(word,)), size)
            assert left >= math.floor(word.box[0])
            assert top >= math.floor(word.box[1])
            assert right <= math.ceil(word.box[2])
            assert bottom <= math.ceil(word.box[3])


@pytest.mark.parametrize("size", [(1080, 1920), (1920, 1080), (1080, 1080)])
def test_the_safe_area_leaves_the_players_margins(size: tuple[int, int]) -> None:
    """Text stays clear of players' buttons at the right and the bottom of a video."""
    area = safe_area(*size)
    assert area.right <= size[0] * 0.88 + 1
    assert area.bottom <= size[1] * 0.80 + 1


def test_short_topics_are_set_large() -> None:
    """A short topic is set large, on one line."""
    block = set_block(tokens("Ocean"), safe_area(1080, 1920), 290, VENDORED)
    assert block.size > 200
    assert len(block.words) == 1


def test_lines_are_balanced() -> None:
    """Lines have about equal length."""
    block = set_block(tokens("Why the ocean glows at night"), safe_area(1080, 1920), 290, VENDORED)
    assert [word.line for word in block.words] == [0, 0, 1, 2, 3, 3]


def test_a_hyphen_is_shown_only_where_a_line_ends() -> None:
    """The hyphen of a broken word is shown only at the end of a line."""
    pieces = tokens("Donaudampfschifffahrtsgesellschaft")
    narrow = set_block(pieces, safe_area(540, 960), 150, VENDORED)
    assert ["".join(r.text for r in w.runs)[-1] == "-" for w in narrow.words] == [True] * (len(pieces) - 1) + [False]
    flat = set_block(pieces, Area(0, 0, 4000, 60), 50, VENDORED)
    assert not any("-" in r.text for w in flat.words for r in w.runs)


def test_right_to_left_words_are_placed_right_to_left(hebrew: Library) -> None:
    """In a right-to-left text, words run from right to left, and left-to-right words keep their order."""
    block = set_block(tokens("שלום עולם abc def"), Area(0, 0, 2000, 100), 60, hebrew)
    first, second, latin, more = (word.x for word in block.words)
    assert latin < more < second < first


def test_left_to_right_text_keeps_a_right_to_left_pair_in_order(hebrew: Library) -> None:
    """In a left-to-right text, right-to-left words keep their order."""
    block = set_block(tokens("abc שלום עולם def"), Area(0, 0, 2000, 100), 60, hebrew)
    before, first, second, after = (word.x for word in block.words)
    assert before < second < first < after


@pytest.fixture
def hebrew(tmp_path: Path) -> Library:
    """Return a library whose system folder contains one generated font with the letters of two Hebrew words."""
    (tmp_path / "Made-Bold.ttf").write_bytes(made_font([ord(c) for c in "שלוםע"]))
    return Library(folders=(tmp_path,))


def test_the_vendored_faces_cover_four_alphabets() -> None:
    """The bundled fonts cover Latin, Cyrillic, Greek and Vietnamese."""
    for path in (*DISPLAY[1:], TEXT):
        coverage = covered(path)
        assert all(char in coverage for char in "AzßŐłÿЖяЇЂΩλάỆựơ0€“…—")
    assert all(run.face.path == DISPLAY[0] for run in VENDORED.runs("Why Почему Γιατί Vì sao đại dương"))


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("海が光る", "fonts-noto-cjk"),
        ("लहर", "fonts-noto-core"),
        ("ทะเล", "fonts-noto-core"),
        ("بحر", "fonts-noto-core"),
    ],
)
def test_a_script_no_font_covers_is_refused(text: str, package: str) -> None:
    """The refusal of a script that no font covers names a character and the package with a font."""
    with pytest.raises(Rejected) as caught:
        VENDORED.runs(f"sea {text}")
    assert text[0] in str(caught.value)
    assert f"U+{ord(text[0]):04X}" in str(caught.value)
    assert package in caught.value.next_step


def test_a_mark_no_font_covers_is_refused_too() -> None:
    """A mark that no font covers is refused like a letter."""
    with pytest.raises(Rejected):
        VENDORED.runs("a\u1ab0")


def test_an_emoji_no_font_covers_is_left_out_with_its_space() -> None:
    """An emoji that no font covers is omitted, with the space before it."""
    assert [run.text for run in VENDORED.runs("Ocean 🌊")] == ["Ocean"]
    assert VENDORED.runs("👩‍👩‍👧") == []


def test_a_fallback_is_used_for_its_run_only(hebrew: Library) -> None:
    """A font of the machine is used only for characters that the bundled ones lack."""
    runs = hebrew.runs("abc שלום")
    assert [run.text for run in runs] == ["abc ", "שלום"]
    assert [run.face.path.name for run in runs] == [DISPLAY[0].name, "Made-Bold.ttf"]


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01\x00\x00", b"ttcf" + b"\xff" * 40, b"\x00\x01\x00\x00\x00\x09" + b"\x00" * 300]
)
def test_a_damaged_font_covers_nothing(tmp_path: Path, content: bytes) -> None:
    """A damaged font file covers no characters."""
    path = tmp_path / "broken.ttf"
    path.write_bytes(content)
    assert "a" not in covered(path)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_a_font_with_any_bytes_changed_is_read_without_a_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    """A damaged font file does not raise an exception."""
    data = bytearray(made_font([0x41, 0x42, 0x5D0]))
    at %= len(data)
    data[at : at + len(junk)] = junk
    path = tmp_path_factory.mktemp("font") / "f.ttf"
    path.write_bytes(data)
    _ = "A" in covered(path)


def test_coverage_is_that_of_the_table(tmp_path: Path) -> None:
    """A font covers the characters that its table lists."""
    path = tmp_path / "made.ttf"
    path.write_bytes(made_font([0x41, 0x43, 0x5D0]))
    coverage = covered(path)
    assert [char in coverage for char in "ABC\u05d0\u05d1"] == [True, False, True, True, False]


def made_font(codes: list[int]) -> bytes:
    """Return a TrueType font in which each code has the same square glyph."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (600, 700), (600, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap(dict.fromkeys(codes, "square"))
    builder.setupGlyf({".notdef": square, "square": square})
    builder.setupHorizontalMetrics({".notdef": (650, 0), "square": (650, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Square", "styleName": "Bold"})
    builder.setupOS2()
    builder.setupPost()
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()
