"""Choose the font face for each character: the bundled fonts first, then the fonts of the machine."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import uharfbuzz as hb

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.draft.render.characters import is_emoji, is_silent, is_symbol
from tenxsom_flow_engine.services.draft.render.formats import NAME
from tenxsom_flow_engine.services.draft.render.tokens import clusters

_VENDORED = Path(__file__).parent / "fonts"
DISPLAY = (_VENDORED / "Geologica-Black.ttf", _VENDORED / "InterTight-Black.ttf")
SYSTEM_FOLDERS = tuple(
    Path(folder)
    for folder in (
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        "/usr/share/texmf/fonts/opentype",
        "/System/Library/Fonts",
        "/Library/Fonts",
        "C:/Windows/Fonts",
    )
)

_SINGLE, _COLLECTIONS = frozenset((".ttf", ".otf")), frozenset((".ttc", ".otc"))
_HEAVY = 800.0  # weight of variable fonts, if they have it
_WEIGHTS = ("black", "extrabold", "bold", "semibold", "medium")
_ODD = ("italic", "oblique", "mono", "condensed", "serif", "light", "thin", "naskh", "emoji")
#: The region in the name of a font with Chinese characters, by the language of the text.
_REGIONS = {"ja": "jp", "ko": "kr", "zh-Hans": "sc", "zh-Hant": "tc"}
_REGION = re.compile(r"(?:\b|cjk|sans|serif)(jp|kr|sc|tc|hk)\b")
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")


@dataclass(frozen=True)
class Face:
    """One face of a font file: the only one, or that at `index` in a collection."""

    path: Path
    index: int = 0

    @cached_property
    def font(self) -> hb.Font | None:
        """The loaded face, heavy if it is variable; None if the file is damaged or has no glyphs that can be scaled."""
        try:
            face = hb.Face(hb.Blob.from_file_path(self.path), self.index)
            drawable = {"glyf", "CFF ", "CFF2"} & set(face.table_tags) or face.has_color_png
        except (hb.HarfBuzzError, OSError, UnicodeDecodeError):  # the last for a damaged tag
            return None
        if not drawable:
            return None
        font = hb.Font(face)
        heaviest = next((axis.max_value for axis in face.axis_infos if axis.tag == "wght"), None)
        if heaviest is not None:
            font.set_variations({"wght": min(_HEAVY, heaviest)})
        return font

    @cached_property
    def coloured(self) -> bool:
        """Whether its glyphs have their own colours."""
        face = self.font and self.font.face
        return bool(face and (face.has_color_png or face.has_color_paint or face.has_color_layers))

    def covers(self, cluster: str) -> bool:
        """Return whether the face covers the whole cluster, including marks."""
        font = self.font
        return font is not None and all(is_silent(c) or font.get_nominal_glyph(ord(c)) is not None for c in cluster)


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a text that is set in one face."""

    text: str
    face: Face


@dataclass
class Library:
    """Finds a face for every character. `folders` are searched only for characters that the bundled faces lack."""

    folders: Sequence[Path] = SYSTEM_FOLDERS
    _chosen: dict[tuple[str, str], Face | None] = field(default_factory=dict)
    _state: tuple[float, ...] = ()

    def runs(self, text: str, language: str = "") -> list[Run]:
        """Split text into runs by face, preferably one for a language that `han_language` returned.

        Raises `Rejected` with the names of all characters or marks that no font covers.
        """
        pieces = [(c, self._face(c, language)) for c in clusters(text) if not _silent(c)]
        runs: list[Run] = []
        for cluster, face in pieces:
            if face is None:
                raise _no_font({cluster for cluster, face in pieces if face is None})
            if runs and runs[-1].face is face:
                runs[-1] = Run(runs[-1].text + cluster, face)
            else:
                runs.append(Run(cluster, face))
        return runs

    def drawable(self, text: str) -> str:
        """Return the text without the emoji and symbols that no font covers, and without the space that they leave.

        A keycap becomes its digit.
        """
        kept: list[str] = []
        for cluster in clusters(text):
            if not is_symbol(cluster) or self._face(cluster) is not None:
                kept.append(cluster)
            elif cluster[0].isascii():
                kept.append(cluster[0])
            elif kept and kept[-1] == " ":
                kept.pop()
        return "".join(kept).strip()

    def check(self, text: str) -> None:
        """Raise `Rejected` if the text cannot be drawn: with the characters and the package of a font with them."""
        try:
            self._check(text)
        except Rejected:
            if self._unchanged():
                raise
            # A font was installed since.
            self.__dict__.pop("_system", None)
            self._chosen.clear()
            self._check(text)

    def _check(self, text: str) -> None:
        needed = {c for c in clusters(text) if not is_symbol(c) and not _silent(c)}
        if missing := {c for c in needed if self._face(c) is None}:
            raise _no_font(missing)
        if text and not self.drawable(text):
            raise _no_font(clusters(text))

    def _face(self, cluster: str, language: str = "") -> Face | None:
        key = (cluster, language)
        if key not in self._chosen:
            self._chosen[key] = next(
                (face for face in self._candidates(cluster, language) if face.covers(cluster)), None
            )
        return self._chosen[key]

    def _candidates(self, cluster: str, language: str) -> Iterator[Face]:
        """Yield the faces in the order of preference."""
        if is_emoji(cluster):
            yield from (face for face in self._system if "emoji" in face.path.stem.lower())
        yield from _vendored()
        if region := _REGIONS.get(language):
            yield from (face for face in self._system if _region(face) == region)
        yield from self._system

    def _unchanged(self) -> bool:
        return self._state == tuple(_modified(self.folders))

    @cached_property
    def _system(self) -> list[Face]:
        self._state = tuple(_modified(self.folders))
        files = [file for folder in self.folders for file in folder.rglob("*")]
        faces = [Face(file) for file in files if file.suffix.lower() in _SINGLE]
        faces += (face for file in files if file.suffix.lower() in _COLLECTIONS for face in _collected(file))
        return sorted(faces, key=_rank)


@cache
def library() -> Library:
    """Return the library of the machine's fonts, shared by all callers."""
    return Library()


def _modified(folders: Iterable[Path]) -> Iterator[float]:
    """Yield the times at which a file was last added to or removed from each folder and the folders in it."""
    for folder in folders:
        for path, _, _ in os.walk(folder):
            with suppress(FileNotFoundError):  # removed in between
                yield os.stat(path).st_mtime


@cache
def _vendored() -> tuple[Face, ...]:
    return tuple(map(Face, DISPLAY))


def _collected(file: Path) -> list[Face]:
    try:
        return [Face(file, index) for index in range(hb.Face(hb.Blob.from_file_path(file)).count)]
    except (hb.HarfBuzzError, OSError):
        return []


@cache
def _name(face: Face) -> str:
    """Return the words that describe a face, in lower case: the name of its file; in a collection, its own too."""
    name = face.path.stem
    if face.path.suffix.lower() in _COLLECTIONS and face.font:
        name += " " + (face.font.face.get_name(hb.OTNameIdPredefined.FONT_FAMILY) or "")
    return name.lower()


def _region(face: Face) -> str:
    found = _REGION.search(_name(face))
    return found[1] if found else ""


def _rank(face: Face) -> tuple[int, int, str, int]:
    """Return the sort key of a face by the words in its name: upright sans first, then by weight."""
    name = _name(face)
    odd = sum(word in name for word in _ODD)
    weight = next((n for n, word in enumerate(_WEIGHTS) if word in name), len(_WEIGHTS))
    return (odd * 2 + ("noto" not in name) + ("sans" not in name), weight, str(face.path), face.index)


def _silent(cluster: str) -> bool:
    return all(map(is_silent, cluster))


def _no_font(missing: Iterable[str]) -> Rejected:
    shown = sorted(missing)
    listed = " ".join(f"{c} (U+{ord(c[-1]):04X})" for c in shown[:8]) + (" …" if len(shown) > 8 else "")
    return Rejected(
        NAME,
        f"no font on this machine covers: {listed}",
        next_step=f"apt install {' '.join(sorted(set(map(package, shown))))}, or rewrite the text",
    )


def package(cluster: str) -> str:
    """Return the Debian package with a font for the cluster."""
    if is_symbol(cluster):
        return "fonts-noto-color-emoji"
    names = {unicodedata.name(c, "?").split()[0].split("-")[0] for c in cluster}
    return "fonts-noto-cjk" if names & set(_CJK) else "fonts-noto-core"
