"""Tokens and pages of texts in all languages: where lines and pages can break."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.services.draft.render.characters import han_language
from tenxsom_flow_engine.services.draft.render.tokens import LONGEST_PIECE, clean, clusters, pages, plain, tokens


def visible(text: str) -> str:
    """Return the text without the characters that only permit a break or set a direction."""
    return re.sub(r"[\s\u00ad\u200b-\u200f\u061c\U000e0020-\U000e007f\ufe00-\ufe0f]", "", text)


def split(text: str) -> list[str]:
    return [token.text for token in tokens(clean(text))]


def screens(text: str) -> list[str]:
    return [plain(page) for page in pages(clean(text))]


@given(st.text(max_size=120) | st.text("aé \u00ad\u200b海\u0e01.", max_size=60))
def test_tokens_lose_nothing(text: str) -> None:
    """Splitting a text into tokens and pages loses no visible character."""
    cleaned = clean(text)
    assert visible("".join(t.text for t in tokens(cleaned))) == visible(cleaned)
    assert visible("".join(t.text for page in pages(cleaned) for t in page)) == visible(cleaned)
    assert "".join(clusters(cleaned)) == cleaned


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("台南湯姆熊文具店隨機殺人案：1996年九歲女童遭割喉的殘忍命案", ["1996年", "文具店", "殺人案："]),
        ("日本のAIスタートアップ10選：ChatGPTの次は何？", ["日本の", "10選：", "ChatGPTの", "次は何？"]),
        ("看看他《论语》怎么写（第2部分）", ["《论语》", "（第2部分）"]),
        ("なぜ海は夜に光るのか？深海の秘密", ["光るのか？", "深海の"]),
        ("3.5%の人が「2026年」に", ["3.5%", "人が", "「2026年」"]),
        ("老子说：“道可道，非常道。”", ["“道可道，", "非常道。”"]),
        ("iPhone17が9,980円", ["iPhone17が", "9,980円"]),
    ],
)
def test_chinese_and_japanese_break_between_words(text: str, whole: list[str]) -> None:
    """Numbers, Latin words and words of the dictionary stay whole; brackets and punctuation stay with their side."""
    found = split(text)
    assert set(whole) <= set(found)
    assert "".join(found) == text
    assert not any(token[0] in "、。，：？！）》」”" or token[-1] in "（《「“" for token in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ทำไมทะเลเรืองแสงในเวลากลางคืน", ["ทำไม", "ทะเล", "เรือง", "แสง", "ใน", "เวลา", "กลาง", "คืน"]),
        ("ພາສາລາວເປັນພາສາ", ["ພາສາ", "ລາວ", "ເປັນ", "ພາສາ"]),
        ("ភាសាខ្មែរគឺជាភាសា", ["ភាសាខ្មែរ", "គឺជា", "ភាសា"]),
        ("မြန်မာဘာသာစကားသည်", ["မြန်မာဘာသာ", "စကား", "သည်"]),
    ],
)
def test_scripts_without_spaces_break_between_words(text: str, words: list[str]) -> None:
    """Thai, Lao, Khmer and Burmese break between the words of the dictionary, and are written without a space there."""
    assert split(text) == words
    assert screens(text) == [text]


def test_a_zero_width_space_permits_a_break_and_is_not_drawn() -> None:
    """The author's zero-width spaces separate tokens, also in Latin, and are in no token."""
    assert split("ក\u200bខ foo\u200bbar") == ["ក", "ខ", "foo", "bar"]
    assert screens("foo\u200bbar") == ["foobar"]


def test_a_space_remains_a_space() -> None:
    """A Thai text keeps its own spaces."""
    assert screens("เวลา 2026 ๆ ฯลฯ") == ["เวลา 2026 ๆ ฯลฯ"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("なぜ海は夜に光るのか？深海の秘密を解き明かす", ["なぜ海は夜に光るのか？", "深海の秘密を解き明かす"]),
        (
            "孔子说：“学而时习之，不亦说乎？”老子说：“道可道，非常道。”这就是智慧。",
            ["孔子说：“学而时习之，不亦说乎？”", "老子说：“道可道，非常道。”", "这就是智慧。"],
        ),
        ("日本のAIスタートアップ10選：ChatGPTの次は何？", ["日本のAIスタートアップ10選：", "ChatGPTの次は何？"]),
        ("Stop! Look. Listen!", ["Stop! Look. Listen!"]),
        (
            "Is tea good for you every day? Yes, if you like it.",
            ["Is tea good for you every day?", "Yes, if you like it."],
        ),
    ],
)
def test_pages_break_at_the_ends_of_sentences(text: str, expected: list[str]) -> None:
    """Sentences that do not fit on one page together get their own pages; others share one."""
    assert screens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Sunlight looks white, but it carries every colour of the rainbow.",
            ["Sunlight looks white,", "but it carries every colour of the rainbow."],
        ),
        (
            "Kittens purr within days of birth, often while they drink their mother’s milk.",
            ["Kittens purr within days of birth,", "often while they drink", "their mother’s milk."],
        ),
        (
            "Under bare desert sand, Mr. Fox waits for one good rain",
            ["Under bare desert sand,", "Mr. Fox waits for one good rain"],
        ),
    ],
)
def test_pages_break_after_the_punctuation_of_a_sentence(text: str, expected: list[str]) -> None:
    """A sentence that needs more pages is cut after its punctuation, even if the pages are then less equal."""
    assert screens(text) == expected


def test_a_long_text_without_punctuation_fills_its_pages_equally() -> None:
    """The search for good breaks does not make fewer and fuller pages."""
    sizes = [len(page) for page in screens("this or that word " * 16)]
    assert len(sizes) == 8
    assert max(sizes) <= 40


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Donaudampfschifffahrtsgesellschaftskapitän", ["Donaudampfschiff", "fahrtsgesell", "schaftskapitän"]),
        ("Rechtsschutzversicherung", ["Rechtsschutz", "versicherung"]),
        ("Geschwindigkeitsbegrenzung", ["Geschwindig", "keitsbegrenzung"]),
    ],
)
def test_a_very_long_word_gets_the_hyphens_of_german(text: str, parts: list[str]) -> None:
    """A word too long even for small type is divided at a boundary of its parts, on one page."""
    (page,) = pages(text)
    assert [t.text for t in page] == parts
    assert [t.after for t in page] == ["-"] * (len(parts) - 1) + [" "]
    assert plain(page) == text


@pytest.mark.parametrize("text", ["dinoflagellates", "well-known", "deinstitutionalization", "Ηλεκτροεγκεφαλογράφημα"])
def test_other_long_words_are_not_divided(text: str) -> None:
    """A word that fits in small type stays whole."""
    assert split(text) == [text]


def test_a_long_address_breaks_where_unicode_permits() -> None:
    """An address breaks after its slashes and hyphens, without a hyphen added."""
    found = tokens("https://example.com/save-money/now")
    assert [t.text for t in found] == ["https://", "example.com/", "save-money/now"]
    assert {t.after for t in found[:-1]} == {""}


def test_soft_hyphens_divide_a_long_word() -> None:
    """The author's soft hyphens show where a long word can be divided; the hyphen is not part of the text."""
    found = tokens(clean("Donau\u00addampf\u00adschifffahrts\u00adgesellschaft co\u00adop"))
    assert [(t.text, t.after) for t in found] == [
        ("Donaudampf", "-"), ("schifffahrts", "-"), ("gesellschaft", " "), ("coop", " "),
    ]  # fmt: skip


@given(st.text("海abcé\u0915\u094d", min_size=1, max_size=200))
def test_no_token_is_longer_than_small_type_permits(text: str) -> None:
    """Any text is cut into tokens that fit, and never inside a character."""
    found = [clusters(token) for token in split(text)]
    assert all(len(chars) <= LONGEST_PIECE + 1 for chars in found)
    assert [c for chars in found for c in chars] == clusters(clean(text).replace(" ", ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ocean — a glow 🌊", ["The", "ocean —", "a", "glow 🌊"]),
        ("🐙 5 Octopus Facts", ["🐙 5", "Octopus", "Facts"]),
        ("C'est « bon » ?", ["C’est", "« bon » ?"]),
    ],
)
def test_symbols_stay_with_their_word(text: str, expected: list[str]) -> None:
    """Separate dashes, quotation marks and emoji stay with a word, so that they are not highlighted alone."""
    assert split(text) == expected


def test_one_direction_for_all_pages_of_a_text() -> None:
    """The first letter with a direction decides for the whole text, also on a page that starts with another script."""
    arabic = pages(clean("هل تعلم أن ChatGPT يغير العالم كل يوم؟ ChatGPT is the first word of this page"))
    assert len(arabic) > 1
    assert {t.from_right for page in arabic for t in page} == {True}
    assert {t.from_right for t in tokens("5 facts about שלום")} == {False}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" a\x00b\ud800 \n c\u202e ", "ab c"),
        ("don't l'été", "don’t l’été"),
        ("ג'ירפה", "ג'ירפה"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("a\u200bb\u200fc", "a\u200bb\u200fc"),
    ],
)
def test_clean_keeps_what_shapes_and_breaks_text(text: str, cleaned: str) -> None:
    """Control characters are removed; joiners, zero-width spaces and direction marks remain."""
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("海が光る", "ja"),
        ("바다 海", "ko"),
        ("关门复盘：海边的画为什么贵", "zh-Hans"),
        ("台南湯姆熊文具店隨機殺人案", "zh-Hant"),
        ("人山人海", "zh-Hant"),
        ("Why the ocean glows", ""),
    ],
)
def test_the_language_of_chinese_characters(text: str, language: str) -> None:
    """Kana mean Japanese, Hangul Korean, and characters of only one Chinese encoding decide between the two."""
    assert han_language(text) == language
