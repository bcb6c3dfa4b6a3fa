"""Split text into tokens (the units that are set, timed and highlighted) and tokens into pages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LONGEST_WORD = 16
PAGE_CHARS = 36
PAGE_WORDS = 9
_PAIRS = frozenset(("ch", "ck", "gh", "ph", "qu", "sc", "sh", "st", "th", "wh"))
_CHUNK = 4  # clusters per token in a script without spaces
_JOINERS = "\u200c\u200d"
# Small kana, repeat and length marks.
_NOT_AT_START = frozenset("ぁぃぅぇぉっゃゅょァィゥェォッャュョ々ゝー")
# Vowels of the Latin, Cyrillic and Greek alphabets.
_VOWELS = frozenset("aeiouyáéíóúàèìòùâêîôûäëïöüåæøãõőаеёиоуыэюяіїєαεηιουωάέήίόύώ")
# Thai and Lao vowels that are written before their consonant, and the joiner.
_HOLDS_NEXT = frozenset("\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4\u200d")


@dataclass(frozen=True, slots=True)
class Token:
    """A displayed word. `after` is its separator from the next token: a space, nothing, or a break hyphen.

    "-" marks a part of a longer word: a hyphen is shown at the end of a line, nothing otherwise.
    """

    text: str
    after: str = " "


def clean(text: str) -> str:
    """Return the text in Unicode NFC on one line, without control and format characters (except joiners) or surrogates.

    An apostrophe between letters becomes a typographic one.
    """
    kept = [
        " " if c.isspace() else c
        for c in unicodedata.normalize("NFC", text)
        if c.isspace() or c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs")
    ]
    return re.sub(r"(?<=\w)'(?=\w)", "\u2019", " ".join("".join(kept).split()))


def is_mark(char: str) -> bool:
    """Return whether the character belongs to the one before it: combining mark, joiner or skin tone."""
    return (
        unicodedata.category(char)[0] == "M"
        or char in _JOINERS + "\u0e33\u0eb3"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


def clusters(text: str) -> list[str]:
    """Split into user-perceived characters, whose concatenation is the text."""
    out: list[str] = []
    for char in text:
        flags = out and len(out[-1]) == 1 and _is_flag(char) and _is_flag(out[-1])
        if out and (is_mark(char) or out[-1][-1] in _HOLDS_NEXT or flags):
            out[-1] += char
        else:
            out.append(char)
    return out


def tokens(text: str) -> list[Token]:
    """Split cleaned text into tokens, in order and without loss of characters.

    A separate dash, emoji or other symbol is kept with the word before it, so that it is not highlighted alone.
    """
    words: list[str] = []
    for word in text.split():
        if words and not any(c.isalnum() for c in word) and len(words[-1]) + len(word) < LONGEST_WORD:
            words[-1] += " " + word
        else:
            words.append(word)
    return [token for word in words for token in _split(word)]


def pages(text: str) -> list[list[Token]]:
    """Split into pages of a few lines each, about equally full, preferably after punctuation."""
    run = tokens(text)
    if not run:
        return []
    sizes = [_size(t) for t in run]
    count = max(-(-sum(sizes) // PAGE_CHARS), -(-len(run) // PAGE_WORDS), 1)
    cuts = _cuts(run, sizes, count)
    return [run[a:b] for a, b in pairwise(cuts)]


def plain(run: Sequence[Token]) -> str:
    """Return the tokens as a line of plain text."""
    return "".join(t.text + ("" if t.after == "-" else t.after) for t in run).strip()


def wide(char: str) -> bool:
    """Return whether the character is as wide as it is high: Chinese, Japanese, Korean."""
    return unicodedata.east_asian_width(char) in "WF"


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _size(token: Token) -> int:
    return sum(1 + wide(c[0]) for c in clusters(token.text)) + len(token.after)


def _split(word: str) -> list[Token]:
    chars = clusters(word)
    spaceless = sum(wide(c[0]) and c[0].isalpha() and not _hangul(c[0]) for c in chars)
    if spaceless * 2 > len(chars) and len(chars) > _CHUNK:
        return _close(_chunks(chars), "")
    if len(chars) > LONGEST_WORD:
        return _close(_syllables(chars), "-" if all(map(_hyphenates, word)) else "")
    return [Token(word)]


def _hyphenates(char: str) -> bool:
    """Return whether words with the character can be hyphenated: Latin, Greek, Cyrillic, any mark."""
    return (char.isalpha() and (char < "\u0530" or "\u1e00" <= char < "\u2000")) or is_mark(char)


def _hangul(char: str) -> bool:
    return "\uac00" <= char <= "\ud7a3"


def _close(pieces: list[str], after: str) -> list[Token]:
    return [*(Token(p, after) for p in pieces[:-1]), Token(pieces[-1])]


def _chunks(chars: list[str]) -> list[str]:
    out: list[str] = []
    for char in chars:
        if not out or (len(clusters(out[-1])) >= _CHUNK and not _clings(char[0])):
            out.append(char)
        else:
            out[-1] += char
    return out


def _clings(char: str) -> bool:
    """Return whether a line must not start with the character: closing punctuation, small kana, length marks."""
    return char in _NOT_AT_START or unicodedata.category(char) in ("Po", "Pe", "Pf", "Pd")


def _syllables(chars: list[str]) -> list[str]:
    count = -(-len(chars) // (LONGEST_WORD - 4))
    cuts = [0]
    for i in range(1, count):
        ideal = round(i * len(chars) / count)
        near = sorted(range(ideal - 2, ideal + 3), key=lambda at: (not _opens(chars, at), abs(at - ideal)))
        cuts.append(near[0])
    return ["".join(chars[a:b]) for a, b in pairwise([*cuts, len(chars)])]


def _opens(chars: list[str], at: int) -> bool:
    """Return whether a syllable can start here: a consonant, not the second one of a digraph, before a vowel."""
    if (chars[at - 1] + chars[at]).lower() in _PAIRS:
        return False
    return chars[at].lower() not in _VOWELS and chars[min(at + 1, len(chars) - 1)].lower() in _VOWELS


def _cuts(run: Sequence[Token], sizes: Sequence[int], count: int) -> list[int]:
    ideal = sum(sizes) / count
    best: list[dict[int, tuple[float, list[int]]]] = [{0: (0.0, [0])}]
    for _ in range(count):
        row: dict[int, tuple[float, list[int]]] = {}
        for start, (cost, path) in best[-1].items():
            filled = 0
            for end in range(start + 1, len(run) + 1):
                filled += sizes[end - 1]
                if filled > 2 * ideal and end > start + 1:
                    break
                total = (
                    cost + 1.5 * ((filled - ideal) / ideal) ** 2 + (_roughness(run[end - 1]) if end < len(run) else 0)
                )
                if end not in row or total < row[end][0]:
                    row[end] = (total, [*path, end])
        best.append(row)
    return next(row[len(run)][1] for row in reversed(best) if len(run) in row)


def _roughness(last: Token) -> float:
    """Return the penalty for a page that ends with the token: none after punctuation, highest inside a word."""
    if last.after != " ":
        return 1.5
    if unicodedata.category(last.text[-1]) in ("Po", "Pd"):
        return 0.0
    return 0.12 + 0.15 * (len(last.text) <= 3)
