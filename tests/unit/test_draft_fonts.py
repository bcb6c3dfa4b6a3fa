"""Fonts: no character is shown as a box, and each is drawn in the most suitable font of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.draft.font_check import SCRIPTS, check_fonts
from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY, Face, Library
from tenxsom_flow_engine.services.draft.render.shaping import shape
from tests.made_fonts import layered_emoji, made_collection, made_font, variable_font

VENDORED = Library(folders=())
CJK = ("Made CJK JP", "Made CJK KR", "Made CJK SC", "Made CJK TC")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of fonts with some letters of Hebrew, Chinese characters in four forms, and an emoji."""
    (tmp_path / "Made-Bold.ttf").write_bytes(made_font(map(ord, "שלוםע")))
    (tmp_path / "Made.ttc").write_bytes(made_collection([ord(c) for c in "海の바"], CJK))
    (tmp_path / "Made-Emoji.ttf").write_bytes(layered_emoji(map(ord, "🌊✨15\u20e3"), (0, 0, 255)))
    return tmp_path


@pytest.fixture
def fonts(folder: Path) -> Library:
    return Library(folders=(folder,))


def test_the_vendored_faces_cover_four_alphabets() -> None:
    """The bundled fonts cover Latin, Cyrillic, Greek and Vietnamese."""
    assert all(Face(DISPLAY[1]).covers(char) for char in "AzßŐłÿЖяЇЂΩλάỆựơ0€“…—")
    assert all(run.face.path == DISPLAY[0] for run in VENDORED.runs("Why Почему Γιατί Vì sao đại dương"))


def test_every_bundled_font_is_used() -> None:
    """The package has no font files that no draft needs."""
    assert sorted(DISPLAY[0].parent.glob("*.ttf")) == sorted(DISPLAY)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("海が光る", "fonts-noto-cjk"),
        ("바다", "fonts-noto-cjk"),
        ("लहर", "fonts-noto-core"),
        ("ทะเล", "fonts-noto-core"),
        ("بحر", "fonts-noto-core"),
    ],
)
def test_a_script_no_font_covers_is_refused(text: str, package: str) -> None:
    """The refusal of a script that no font covers names a character and the package with a font."""
    for refusal in (VENDORED.runs, VENDORED.check):
        with pytest.raises(Rejected) as caught:
            refusal(f"sea {text}")
        assert text[0] in str(caught.value)
        assert f"U+{ord(text[0]):04X}" in str(caught.value)
        assert f"apt install {package}" in caught.value.next_step


@pytest.mark.parametrize("text", ["a\u1ab0", "50㎡", "㊗"])
def test_marks_and_units_no_font_covers_are_refused_too(text: str) -> None:
    """A mark or a unit that no font covers is refused like a letter: without it, the text would be wrong."""
    with pytest.raises(Rejected):
        VENDORED.check(text)


def test_characters_that_are_never_drawn_need_no_font() -> None:
    """Joiners, direction marks, zero-width spaces and variation selectors need no font."""
    text = "a\u200db\u200fc\u200bd\ufe0e \u00ad"
    VENDORED.check(text)
    assert VENDORED.drawable(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Ocean 🌊", "Ocean"),
        ("🐙 5 Octopus Facts", "5 Octopus Facts"),
        ("Families 👩‍👩‍👧 abroad 🇫🇷🇩🇪!", "Families abroad!"),
        ("Thumbs 👍🏽 up ❤️", "Thumbs up"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿 England", "England"),
        ("1️⃣ Save, 2️⃣ spend", "1 Save, 2 spend"),
    ],
)
def test_emoji_no_font_covers_are_removed_with_their_space(text: str, left: str) -> None:
    """An emoji that no font covers is removed together with its space; a keycap becomes its digit."""
    VENDORED.check(text)
    assert VENDORED.drawable(text) == left


def test_a_text_of_only_emoji_is_refused_if_none_can_be_drawn(fonts: Library) -> None:
    """A text of which nothing would be left is refused, with the package of a font with emoji."""
    with pytest.raises(Rejected) as caught:
        VENDORED.check("🌊 👩‍👩‍👧")
    assert caught.value.next_step.startswith("apt install fonts-noto-color-emoji")
    fonts.check("🌊 👩‍👩‍👧")
    assert fonts.drawable("🌊 👩‍👩‍👧") == "🌊"


def test_emoji_are_set_in_a_font_of_emoji(fonts: Library) -> None:
    """Emoji and keycaps are set in the machine's font of emoji; digits outside keycaps are not."""
    found = {run.text: run.face.path.name for run in fonts.runs("5 🌊✨5\ufe0f\u20e3")}
    assert found == {"5 ": DISPLAY[0].name, "🌊✨5\ufe0f\u20e3": "Made-Emoji.ttf"}


def test_a_fallback_is_used_for_its_run_only(fonts: Library) -> None:
    """A font of the machine is used only for characters that the bundled ones lack."""
    runs = fonts.runs("abc שלום")
    assert [run.text for run in runs] == ["abc ", "שלום"]
    assert [run.face.path.name for run in runs] == [DISPLAY[0].name, "Made-Bold.ttf"]


@pytest.mark.parametrize(("language", "index"), [("ja", 0), ("ko", 1), ("zh-Hans", 2), ("zh-Hant", 3), ("", 0)])
def test_the_face_of_a_collection_is_that_of_the_language(language: str, index: int, fonts: Library) -> None:
    """Chinese characters are set in the face whose name has the region of the language."""
    (run,) = fonts.runs("海", language)
    assert (run.face.path.name, run.face.index) == ("Made.ttc", index)


def test_upright_bold_fonts_are_preferred(tmp_path: Path) -> None:
    """Of the fonts that cover a character, the heaviest upright one without serifs is used."""
    for name in ("NotoSans-Regular", "NotoSans-BoldItalic", "NotoSerif-Black", "NotoSansMono-Bold", "NotoSans-Bold"):
        (tmp_path / f"{name}.ttf").write_bytes(made_font([ord("ש")]))
    (run,) = Library(folders=(tmp_path,)).runs("ש")
    assert run.face.path.stem == "NotoSans-Bold"


def test_a_variable_font_is_set_heavy(tmp_path: Path) -> None:
    """A variable font is set at weight 800."""
    (tmp_path / "Variable.ttf").write_bytes(variable_font([ord("ש")]))
    (run,) = Library(folders=(tmp_path,)).runs("ש")
    assert shape(run).right == pytest.approx(0.6 + 0.5 * (800 - 400) / (900 - 400), abs=0.01)


def test_a_font_installed_later_is_found(folder: Path, fonts: Library) -> None:
    """A process that has refused a text accepts it after a font for it was installed."""
    with pytest.raises(Rejected):
        fonts.check("ทะเล")
    (folder / "Thai.ttf").write_bytes(made_font(map(ord, "ทะเล")))
    os.utime(folder, (1, 1))  # file systems record times in steps
    fonts.check("ทะเล")


def test_doctor_lists_the_scripts_that_can_be_drawn(fonts: Library) -> None:
    """The machine's check lists the scripts with and without a font; a missing one is information, not a fault."""
    found = check_fonts(fonts)
    assert (found.code, found.fix) == ("", "")
    shown, refused = found.text.split("; not ")
    assert shown == "drafts can show Latin, Cyrillic, Greek, emoji, Hebrew"
    assert "Arabic" in refused
    assert refused.endswith("(apt install fonts-noto-cjk fonts-noto-core)")


def test_doctor_with_fonts_for_every_script() -> None:
    """On a machine with all fonts, all scripts are listed."""

    class EveryFont:
        def check(self, text: str) -> None:
            pass

    assert check_fonts(EveryFont()).text == f"drafts can show {', '.join(SCRIPTS)}"


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01\x00\x00", b"ttcf" + b"\xff" * 40, b"\x00\x01\x00\x00\x00\x09" + b"\x00" * 300]
)
@pytest.mark.parametrize("name", ["broken.ttf", "broken.ttc"])
def test_a_damaged_font_covers_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    """A damaged font file covers no characters."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Rejected):
        Library(folders=(tmp_path,)).check("ש")


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
    assert Face(path).covers("A") in (True, False)


def test_a_face_covers_the_characters_of_its_table(tmp_path: Path) -> None:
    """A face covers the characters that its table lists, and a cluster only with all its marks."""
    path = tmp_path / "made.ttf"
    path.write_bytes(made_font([0x41, 0x43, 0x5D0]))
    face = Face(path)
    assert [face.covers(text) for text in ("A", "B", "C", "\u05d0", "A\u0301")] == [True, False, True, True, False]
