"""Choose the font face for each character: the bundled fonts first, then the fonts of the machine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from PIL import ImageFont, features

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.draft.render.coverage import covered
from tenxsom_flow_engine.services.draft.render.tokens import clusters

_VENDORED = Path(__file__).parent / "fonts"
DISPLAY = (_VENDORED / "Geologica-Black.ttf", _VENDORED / "InterTight-Black.ttf")
TEXT = _VENDORED / "InterTight-SemiBold.ttf"
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

# Characters that control shaping and need no glyph.
_SILENT = frozenset("\u200c\u200d\ufe0e\ufe0f")
_PACKAGES = (
    (("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"), "fonts-noto-cjk"),
    (("EGYPTIAN", "CUNEIFORM", "ANATOLIAN", "MUSICAL", "LINEAR", "TANGUT", "NUSHU"), "fonts-noto-extra"),
)
_SHAPED = re.compile(r"[\u0590-\u08ff\u0900-\u109f\u1780-\u17ff\u1a00-\u1aaf\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True)
class Face:
    """One font file."""

    path: Path

    @cached_property
    def coverage(self) -> frozenset[str]:
        """The characters that the file covers."""
        return covered(self.path)

    def covers(self, cluster: str) -> bool:
        """Return whether the face covers the whole cluster, including marks."""
        return all(c in self.coverage for c in cluster if c not in _SILENT)

    def at(self, size: float) -> ImageFont.FreeTypeFont:
        """Return the face at `size` pixels to the em."""
        return _font(self.path, size)


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a text that is set in one face."""

    text: str
    face: Face


@dataclass
class Library:
    """Finds a face for every character. `folders` are searched only for characters that the bundled faces lack."""

    folders: Sequence[Path] = SYSTEM_FOLDERS
    _chosen: dict[str, Face | None] = field(default_factory=dict)

    def runs(self, text: str) -> list[Run]:
        """Split text into runs by face. Emoji and pictographs that no font covers are omitted.

        Raises `Rejected` with the names of all other characters or marks that no font covers.
        """
        pieces = [(cluster, self._face(cluster)) for cluster in clusters(text)]
        # At the end, an omitted pictograph is removed together with the space before it.
        while pieces and (pieces[-1][0] == " " or (pieces[-1][1] is None and _pictograph(pieces[-1][0]))):
            pieces.pop()
        missing = {c for c, face in pieces if face is None and not _pictograph(c)}
        if missing:
            raise _no_font(missing)
        if _SHAPED.search(text) and not features.check("raqm"):
            raise Rejected(
                "draft",
                "the script of the topic needs text shaping",
                next_step="apt install libfribidi0, or rewrite the topic",
            )
        runs: list[Run] = []
        for cluster, face in pieces:
            if face and runs and runs[-1].face is face:
                runs[-1] = Run(runs[-1].text + cluster, face)
            elif face:
                runs.append(Run(cluster, face))
        return runs

    def _face(self, cluster: str) -> Face | None:
        if cluster not in self._chosen:
            faces = (*_vendored(), *(self._system if not _vendored_covers(cluster) else ()))
            self._chosen[cluster] = next((face for face in faces if face.covers(cluster)), None)
        return self._chosen[cluster]

    @cached_property
    def _system(self) -> list[Face]:
        files = (file for folder in self.folders for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)
        return [Face(file) for file in sorted(files, key=_rank)]


_SUFFIXES = frozenset((".ttf", ".otf", ".ttc", ".otc"))


@cache
def library() -> Library:
    """Return the shared library of the machine's fonts."""
    return Library()


@cache
def _vendored() -> tuple[Face, ...]:
    return tuple(map(Face, DISPLAY))


def _vendored_covers(cluster: str) -> bool:
    return any(face.covers(cluster) for face in _vendored())


@cache
def _font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _rank(file: Path) -> tuple[int, int, str]:
    """Return the sort key of a file by the words in its name: upright sans first, then by weight."""
    name = file.stem.lower()
    odd = sum(word in name for word in ("italic", "oblique", "mono", "condensed", "serif", "light", "thin", "naskh"))
    weights = ("black", "extrabold", "bold", "semibold", "medium")
    weight = next((n for n, word in enumerate(weights) if word in name), len(weights))
    return (odd * 2 + ("noto" not in name) + ("sans" not in name), weight, str(file))


def _pictograph(cluster: str) -> bool:
    return unicodedata.category(cluster[0]) in ("So", "Sk") or cluster[0] in _SILENT or cluster[-1] in "\ufe0f\u20e3"


def _no_font(missing: Iterable[str]) -> Rejected:
    shown = sorted(missing)
    names = {unicodedata.name(c, "?").split()[0].split("-")[0] for cluster in shown for c in cluster}
    packages = {next((p for starts, p in _PACKAGES if name in starts), "fonts-noto-core") for name in names}
    listed = " ".join(f"{c} (U+{ord(c[-1]):04X})" for c in shown[:8]) + (" …" if len(shown) > 8 else "")
    return Rejected(
        "draft",
        f"no font on this machine covers: {listed}",
        next_step=f"apt install {' '.join(sorted(packages))}, or rewrite the topic",
    )
