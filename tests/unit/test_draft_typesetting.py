"""Typesetting: text stays inside the safe area, in one size, and each line is in the order of its directions."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY, Face, Library
from tenxsom_flow_engine.services.draft.render.scene import Scene, safe_area
from tenxsom_flow_engine.services.draft.render.script import Beat, Word
from tenxsom_flow_engine.services.draft.render.shaping import draw, paint
from tenxsom_flow_engine.services.draft.render.style import look
from tenxsom_flow_engine.services.draft.render.tokens import clean, pages, tokens
from tenxsom_flow_engine.services.draft.render.typesetting import (
    MAX_LINES,
    Area,
    Block,
    largest_size,
    measure,
    set_block,
)
from tests.made_fonts import layered_emoji, made_font, pictured_emoji

VENDORED = Library(folders=())
SIZES = st.sampled_from([(540, 960), (960, 540), (540, 540)])
SHOWN = [char for char in map(chr, range(0x21, 0x2000)) if Face(DISPLAY[0]).covers(char) and clean(char)]
MARKS = [char for char in SHOWN if unicodedata.category(char) == "Mn"]
# Cleaning normalises the text, which can leave a separate mark that the bundled faces lack.
TEXT_WE_SHOW = st.text(st.sampled_from([*SHOWN, *" W@i" * 40, *MARKS * 5]), min_size=1, max_size=200).filter(
    lambda text: bool(text.strip()) and text.strip()[0] not in MARKS and set(clean(text)) <= {*SHOWN, " "}
)
LINE = Area(0, 0, 4000, 100)
LETTERS = "אבגדהוזחטיךכלםמןנסעףפץצקרשת" + "ابتثجحخدذرزسشصضطظعغفقكلمنهويآأئىةء؟چگپیک" + "۰۱۲۳٢"


def set_at_best(text: str, area: Area, largest: float, library: Library = VENDORED, centred: bool = False) -> Block:
    measured = measure(tokens(clean(text)), library)
    return set_block(measured, area, largest_size(measured, area, largest), centred)


def drawn_bounds(block: Block, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the bounds of the pixels of the block's words, drawn on a canvas with a wide margin."""
    margin = 400
    runs = [(shape, x + margin) for word in block.words for shape, x in word.runs]
    found: list[tuple[int, int, int, int]] = []
    for y, line in groupby(
        zip([w.y for w in block.words for _ in w.runs], runs, strict=True), key=lambda pair: pair[0]
    ):
        drawn = draw([run for _, run in line], block.size, y + margin, size[0] + 2 * margin, size[1] + 2 * margin)
        if box := Image.fromarray(drawn).getbbox():
            found.append(box)
    if not found:
        return 0, 0, 0, 0
    left, top, *_ = (min(edge) - margin for edge in zip(*found, strict=True))
    *_, right, bottom = (max(edge) - margin for edge in zip(*found, strict=True))
    return left, top, right, bottom


def order(text: str, library: Library) -> list[str]:
    """Return a line's words from left to right. A word in several parts is listed with each of them."""
    found = tokens(clean(text))
    measured = measure(found, library)
    (line,) = measured.layouts[0].lines
    return [found[fragment.number].text for fragment in line]


@settings(max_examples=100, deadline=None)
@given(TEXT_WE_SHOW, SIZES, st.booleans())
def test_text_stays_inside_the_safe_area(text: str, size: tuple[int, int], centred: bool) -> None:
    """No text is set outside the safe area or on more lines than allowed."""
    area = safe_area(*size, centred)
    for page in pages(clean(text)):
        measured = measure(page, VENDORED)
        block = set_block(measured, area, largest_size(measured, area, 150), centred)
        left, top, right, bottom = drawn_bounds(block, size)
        if left == right:  # a space only
            continue
        assert left >= area.left
        assert top >= area.top
        assert right <= area.right
        assert bottom <= area.bottom
        assert area.left <= block.ink.left
        assert block.ink.right <= area.right
        assert len({word.line for word in block.words}) <= MAX_LINES


@settings(max_examples=50, deadline=None)
@given(TEXT_WE_SHOW | st.just("Ấy Ậm Ångström jumps"), SIZES)
def test_the_highlight_covers_all_of_its_word(text: str, size: tuple[int, int]) -> None:
    """The highlight of a word covers all marks above and below it."""
    for page in pages(clean(text)):
        measured = measure(page, VENDORED)
        block = set_block(measured, safe_area(*size), largest_size(measured, safe_area(*size), 150))
        for word in block.words:
            left, top, right, bottom = drawn_bounds(replace(block, words=(word,)), size)
            if left == right:
                continue
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
    block = set_at_best("Ocean", safe_area(1080, 1920), 290)
    assert block.size > 200
    assert len(block.words) == 1


def test_lines_are_balanced() -> None:
    """Lines have about equal length."""
    block = set_at_best("Why the ocean glows at night", safe_area(1080, 1920), 290)
    assert [word.line for word in block.words] == [0, 0, 1, 2, 3, 3]


def test_a_smaller_size_needs_fewer_lines() -> None:
    """At a given size, a text takes as few lines as fit."""
    measured = measure(tokens("Why the ocean glows at night"), VENDORED)
    assert [word.line for word in set_block(measured, safe_area(1080, 1920), 100).words] == [0, 0, 0, 1, 1, 1]


def test_a_hyphen_is_shown_only_where_a_line_ends() -> None:
    """The hyphen of a divided word is shown only at the end of a line."""
    text = "Donaudampfschifffahrtsgesellschaftskapitän"
    narrow = set_at_best(text, safe_area(540, 960), 150)
    flat = set_at_best(text, Area(0, 0, 4000, 60), 50)
    assert [word.line for word in narrow.words] == [0, 1, 2]
    assert [len(word.runs) for word in narrow.words] == [2, 2, 1]
    assert [len(word.runs) for word in flat.words] == [1, 1, 1]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Return a library with the bundled fonts and a generated one with Hebrew and Arabic letters."""
    folder = tmp_path_factory.mktemp("fonts")
    (folder / "Made-Bold.ttf").write_bytes(made_font(map(ord, LETTERS + "\u0650")))
    return Library(folders=(folder,))


@pytest.mark.parametrize(
    ("text", "from_left"),
    [
        ("שלום עולם abc def", "abc def עולם שלום"),
        ("abc שלום עולם def", "abc עולם שלום def"),
        ('למה ארה"ב ב-2026 השקיעה ב-AI בתל-אביב?', 'בתל-אביב? ב-AI השקיעה ב-2026 ארה"ב למה'),
        ("هل تعلم؟ أسرار (الجزء 2)!", "2)! (الجزء أسرار تعلم؟ هل"),
        ("ChatGPT يغير العالم: 5 حقائق!", "ChatGPT حقائق! 5 العالم: يغير حقائق!"),
        ("چرا نمی\u200cخواهم گوشیِ 5G بخرم؟ (بخش ۲)", "۲) (بخش بخرم؟ 5G گوشیِ نمی\u200cخواهم چرا"),
        ("כהן (iPhone Pro) חדש", "חדש Pro) (iPhone Pro) (iPhone כהן"),
        ("abc-אבג דהו 12:30 x", "abc-אבג 12:30 דהו abc-אבג x"),
        ("מחיר 10 20 שקל", "שקל 20 10 מחיר"),
    ],
)
def test_the_order_of_words_is_that_of_their_directions(text: str, from_left: str, right: Library) -> None:
    """Words, numbers and brackets of both directions stand where the bidirectional algorithm puts them."""
    assert " ".join(order(text, right)) == from_left


@pytest.mark.parametrize(
    ("word", "from_left"),
    [
        ("ב-2026", "2026 - ב"),
        ("ה-AI", "AI - ה"),
        ("آيفون-17", "17 - آيفون"),
        ("5G", "5G"),
        ('ארה"ב', 'ב " ארה'),
    ],
)
def test_the_parts_of_a_word_are_in_visual_order(word: str, from_left: str, right: Library) -> None:
    """Within a word of a right-to-left sentence, letters run from right to left and numbers from left to right."""
    (found,) = [t for t in tokens(clean(f"שלום {word}")) if t.text == word]
    shapes = sorted(set_block(measure([found], right), LINE, 50).words[0].runs, key=lambda run: run[1])
    assert len(shapes) == len(from_left.split(" "))
    assert [s.face.path in DISPLAY for s, _ in shapes] == [part.isascii() for part in from_left.split(" ")]


def test_a_divided_word_is_highlighted_in_its_widest_part(right: Library) -> None:
    """If other words stand between the parts of a word, its highlight covers one part and no other word."""
    found = tokens("abc-אבגדה והז")
    block = set_block(measure(found, right), LINE, 50)
    divided, other = block.words
    assert divided.box[0] >= other.box[2] - 0.3 * block.size
    assert min(x for _, x in divided.runs) < other.box[0]
    assert block.ink.left <= min(x for _, x in divided.runs)


def test_a_page_keeps_the_direction_of_its_text(right: Library) -> None:
    """A page that starts with a Latin word in a Hebrew text is set from right to left, at the right of the area."""
    page = [replace(token, from_right=True) for token in tokens("AI שלום")]
    area = Area(0, 0, 2000, 100)
    first, second = set_block(measure(page, right), area, 50).words
    assert second.box[0] < first.box[0]
    assert first.box[2] == pytest.approx(area.right)


def sizes(*screens: tuple[str, str]) -> list[float]:
    """Return the type sizes of screens, given as kind and text, in a video of one second for each."""
    beats = (
        Beat(kind, tuple(Word(token, at, at + 1.0) for token in tokens(text)), at, at + 1.0)
        for at, (kind, text) in enumerate(screens)
    )
    return [block.size for block in Scene(tuple(beats), look("s"), (1080, 1920), VENDORED).blocks]


def test_one_size_for_all_screens_and_a_larger_one_for_the_hook() -> None:
    """All screens after the hook have one size, and the hook's is larger, also if its words are longer."""
    hook, *others = sizes(
        ("hook", "STOP SCROLLING!!! this"), ("point", "Tiny plankton called dinoflagellates"), ("point", "They flash"),
        ("close", "Tell us"),
    )  # fmt: skip
    assert len(set(others)) == 1
    assert hook > others[0]


def test_all_screens_of_the_hook_have_one_size() -> None:
    """The screens of a long hook have one size."""
    assert len(set(sizes(("hook", "Rain"), ("hook", "falls on thunderous"), ("hook", "mountain ranges")))) == 1


def test_a_very_long_word_shrinks_only_its_own_screen() -> None:
    """A screen with a word that would need very small type is set smaller than the others."""
    hook, long, other = sizes(("hook", "Law"), ("point", "deinstitutionalization"), ("point", "Go on"))
    assert long < other < hook
    assert other >= 0.08 * 1080


@pytest.mark.parametrize("made", [layered_emoji, pictured_emoji])
def test_emoji_are_drawn_in_their_colours(made: object, tmp_path: Path) -> None:
    """An emoji has the colours of its font, whether that has coloured outlines or pictures."""
    assert callable(made)
    (tmp_path / "Made-Emoji.ttf").write_bytes(made([0x1F30A], (200, 30, 40)))
    (word,) = set_at_best("🌊", Area(0, 0, 100, 100), 50, Library(folders=(tmp_path,))).words
    ((shape, x),) = word.runs
    assert shape.coloured
    pixels = paint([(shape, x)], 50, word.y, 100, 100)
    middle = round(word.y - 0.35 * 50), round(x + 0.3 * 50)
    assert tuple(pixels[middle]) == pytest.approx((200, 30, 40, 255), abs=2)
    assert tuple(pixels[0, 0]) == (0, 0, 0, 0)
