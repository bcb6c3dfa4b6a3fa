"""The text of drafts, compared with Chromium's rendering of the same text in the same fonts."""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from fontTools import subset
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from tenxsom_flow_engine.services.draft.render.characters import han_language
from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY, Face, Library
from tenxsom_flow_engine.services.draft.render.shaping import draw
from tenxsom_flow_engine.services.draft.render.tokens import Token, clean, tokens
from tenxsom_flow_engine.services.draft.render.typesetting import Area, measure, set_block

#: Debian's DejaVu has Latin, Hebrew and Arabic letters; tests/browser/chromium.sh installs it.
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
#: Debian's Noto has the other scripts; the same script installs it.
NOTO = (
    Path("/usr/share/fonts/truetype/noto/NotoSansDevanagari-Bold.ttf"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"),
)
SIZE, HEIGHT, WIDTH = 120, 320, 4000
#: Shows the words of a line, and returns the left edges of the parts of each.
SHOW = """async words => {
    const line = document.querySelector("p");
    line.replaceChildren(...words.flatMap(word => {
        const span = document.createElement("span");
        span.textContent = word;
        return [span, " "];
    }));
    await document.fonts.ready;
    return Array.from(line.children, span => Array.from(span.getClientRects(), box => box.left));
}"""
#: Makes all words but one transparent, which changes no shape and no order.
ISOLATE = """number => Array.from(document.querySelector("p").children).forEach((span, index) => {
    span.style.color = index === number ? "black" : "transparent";
})"""

TEXTS = [
    "Why the ocean glows at night",
    "Vì sao đại dương ấy phát sáng: Ậm, e\u0323\u0302",
    "ພາສາລາວ ເປັນພາສາ ນ້ຳ",
    "למה ארה\"ב ב-2026 השקיעה ב-AI בתל-אביב?",
    "צה\"ל, ד\"ר כהן וג'ירפה",
    "מה קורה בגוף כשישנים?",
    "هل تعلم؟ أسرار الفضاء (الجزء 2)!",
    "ChatGPT يغير العالم: 5 حقائق!",
    "أفضل 10 هواتف في 2026م: آيفون-17 و\"جالاكسي\" (S26)!",
    "چرا نمی\u200cخواهم گوشیِ 5G بخرم؟ (بخش ۲)",
    "كلمة (iPhone 17 Pro) جديدة، 12:30 و50%",
    "The word שלום (hello) and סבא 12:30 here",
    "abc-אבג דהו 12:30 x",
    "מחיר: 1,250.50$ ל-3 ימים [חדש]",
]  # fmt: skip

NOTO_TEXTS = [
    "गायत्री मंत्र का अर्थ और महत्व क्षत्रिय",
    "தமிழ் மொழியின் வரலாறு",
    "বাংলা ভাষার ইতিহাস",
    "മലയാളം ഭാഷ",
    "සිංහල ශ්‍රී ලංකා",
    "ประวัติศาสตร์ของกรุงเทพมหานคร น้ำ ป่า ปู่",
    "ភាសាខ្មែរជាភាសាផ្លូវការ",
    "မြန်မာနိုင်ငံသည်",
    "اردو زبان سلام علیکم",
    "日本のAIスタートアップ10選：ChatGPTの次は何？",
    "关门复盘：海边的画为什么贵",
    "台南湯姆熊文具店隨機殺人案：1996年九歲女童",
    "骨直海角 한국인들이 매운 음식을 좋아하는 이유 5가지",
    "TIFU by telling my boss that I had already finished the report that I had not even started and then having to "
    "present it to the whole company including the CEO who flew in from another country to hear it",
]


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Library:
    assert DEJAVU.exists(), "the font DejaVu is not installed; make test-browser installs it"
    folder = tmp_path_factory.mktemp("fonts")
    (folder / DEJAVU.name).symlink_to(DEJAVU)
    return Library(folders=(folder,))


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    """Open a page for one line of text."""
    page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    yield page
    page.close()


def load(page: Page, files: Sequence[bytes], language: str = "") -> None:
    """Prepare a page to show a line in these fonts, in the order of preference."""
    faces = (
        f"@font-face {{ font-family: F{n}; src: url(data:font/ttf;base64,{base64.b64encode(file).decode()}) }}"
        for n, file in enumerate(files)
    )
    families = ", ".join(f"F{n}" for n in range(len(files)))
    page.set_content(f"""<style>{"".join(faces)}
        body {{ margin: 0 }}
        p {{ margin: 0; font: {SIZE}px/{HEIGHT}px {families}; white-space: nowrap }}
        </style><p dir="auto" lang="{language}"></p>""")


def part_of(face: Face, text: str) -> bytes:
    """Return a font file with the face's glyphs for a text. Browsers cannot load one face of a collection."""
    font, file = TTFont(face.path, fontNumber=face.index), io.BytesIO()
    subsetter = subset.Subsetter(subset.Options(layout_features=["*"], notdef_outline=True))
    # Some marks are shaped as the characters of which they are composed.
    subsetter.populate(text=text + unicodedata.normalize("NFKD", text))
    subsetter.subset(font)
    font.save(file)
    return file.getvalue()


def shown(page: Page, number: int) -> NDArray[np.uint8]:
    """Return the picture of one word in the page, white on black."""
    page.evaluate(ISOLATE, number)
    return 255 - np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))


def order(pieces: list[tuple[float, int]]) -> list[int]:
    """Return the numbers of words from left to right, given the left edges of their parts."""
    return [number for number, _ in groupby(number for _, number in sorted(pieces))]


def ink(picture: NDArray[np.uint8]) -> Image.Image:
    """Return the part of a picture with ink, at a fixed size."""
    image = Image.fromarray(picture)
    return image.crop(image.getbbox()).resize((512, 128), Image.Resampling.BOX)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the difference of two pictures relative to their ink, 0 to 1.

    Hinting and rounding make up to 0.05, a mirrored bracket makes 0.09 and a part in a wrong place 0.3.
    """
    first, second = (np.asarray(ink(picture), np.float64) for picture in (one, other))
    return float(np.abs(first - second).sum() / (first.sum() + second.sum()))


@pytest.mark.parametrize("text", TEXTS)
def test_a_line_of_a_draft_is_that_of_a_browser(page: Page, fonts: Library, text: str) -> None:
    """Words stand in the browser's order, and each word looks like the browser's: parts, brackets and shapes."""
    load(page, [path.read_bytes() for path in (*DISPLAY, DEJAVU)])
    compare(page, tokens(clean(text)), fonts)


@pytest.mark.parametrize("text", NOTO_TEXTS, ids=lambda text: text[:10])
def test_other_scripts_look_like_a_browser_shows_them(page: Page, text: str) -> None:
    """Each word has the browser's shapes, and Chinese characters have the forms of the text's language."""
    assert all(path.exists() for path in NOTO), "the Noto fonts are not installed; make test-browser installs them"
    library, found, language = Library(), tokens(clean(text)), han_language(text)
    faces = {run.face for token in found for run in library.runs(token.text, language)}
    # The bundled faces first, as in drafts.
    load(page, [part_of(face, text) for face in sorted(faces, key=lambda face: face.path not in DISPLAY)], language)
    lines = [found[at : at + 8] for at in range(0, len(found), 8)]
    for line in lines:
        compare(page, line, library, language)


def compare(page: Page, found: Sequence[Token], library: Library, language: str = "") -> None:
    """Check that words in one line stand and look as the page shows them."""
    edges = page.evaluate(SHOW, [token.text for token in found])
    block = set_block(measure(found, library, language), Area(0, 0, WIDTH, HEIGHT), SIZE)
    ours = [(x, number) for number, word in enumerate(block.words) for _, x in word.runs]
    placed = order(ours)
    assert placed == order([(left, number) for number, lefts in enumerate(edges) for left in lefts])
    for number, word in enumerate(block.words):
        if placed.count(number) > 1:
            continue  # divided by other words, between which the spaces differ
        drawn = draw(word.runs, block.size, word.y, WIDTH, HEIGHT)
        assert difference(drawn, shown(page, number)) < 0.07, found[number].text
