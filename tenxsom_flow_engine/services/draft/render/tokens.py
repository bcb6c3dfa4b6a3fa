"""Split text into tokens (the units that are set, timed and highlighted) and tokens into pages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from icu4py.breakers import CharacterBreaker, LineBreaker, WordBreaker

from tenxsom_flow_engine.services.draft.render.characters import (
    CONTROLS,
    JOINERS,
    TAGS,
    is_silent,
    is_spaceless,
    is_wide,
)
from tenxsom_flow_engine.services.draft.render.direction import reads_from_right

#: Clusters of a word above which it is split where it permits a break, and above which it is hyphenated.
LONGEST_WORD, LONGEST_PIECE = 16, 22
PAGE_CHARS = 36
PAGE_WORDS = 9
_LONGEST_PHRASE = 12  # columns, of which a Chinese character takes two
_CHUNK = 4  # clusters up to which single characters are joined
# UAX #14, with breaks between words where a dictionary knows them: in Thai, Lao, Burmese, Khmer by default, in Chinese
# and Japanese only with this option. It leaves the other scripts unchanged, so it suits every language.
_LOCALE = "ja-u-lw-phrase"
_KEPT = re.compile(f"[{CONTROLS}{JOINERS}{TAGS}\u0600-\u0605\u06dd]")
_APOSTROPHE = re.compile("(?<=[A-Za-z\u00c0-\u052f\u1e00-\u1fff])'(?=[A-Za-z\u00c0-\u052f\u1e00-\u1fff])")
_SENTENCE_END = re.compile("(?:[!?\u2026\u061f\u06d4\u0964\u0965\u3002\uff01\uff1f]|\\w{4}\\.)[^\\w\\s]*$")


@dataclass(frozen=True, slots=True)
class Token:
    """A displayed word. `after` is its separator from the next token: a space, nothing, or a break hyphen.

    "-" marks a part of a word with a soft hyphen: a hyphen is shown at the end of a line, nothing otherwise.
    `from_right`: whether the sentence is read from right to left.
    """

    text: str
    after: str = " "
    from_right: bool = False


def clean(text: str) -> str:
    """Return the text in Unicode NFC on one line, without surrogates, control characters and most format characters.

    Joiners, direction marks, soft hyphens and zero-width spaces remain. An apostrophe between letters becomes a
    typographic one.
    """
    kept = [
        " " if c.isspace() else c
        for c in unicodedata.normalize("NFC", text)
        if c.isspace() or _KEPT.match(c) or unicodedata.category(c) not in ("Cc", "Cf", "Cs")
    ]
    return _APOSTROPHE.sub("\u2019", " ".join("".join(kept).split()))


def clusters(text: str) -> list[str]:
    """Split into user-perceived characters (UAX #29), whose concatenation is the text."""
    return list(CharacterBreaker(text, "en")) if text else []


def tokens(text: str) -> list[Token]:
    """Split cleaned text into tokens, in order and without loss of visible characters.

    A separate dash, emoji or other symbol is kept with the word before it, so that it is not highlighted alone; at the
    start of the text, and if it opens a quotation, with the word after it.
    """
    words: list[list[str]] = []
    for word in _words(text):
        before = "".join(words[-1]) if words else ""
        if before and not _is_word(before) and (len(words) == 1 or _opens(before[-1])):
            words[-1] = [before + " " + word[0], *word[1:]]
        elif before and not _is_word("".join(word)) and not _opens(word[0][0]) and len(before) < LONGEST_WORD:
            words[-1][-1] += " " + "".join(word)
        else:
            words.append(word)
    from_right = reads_from_right(text)
    return [replace(token, from_right=from_right) for word in words for token in _split(word)]


def pages(text: str) -> list[list[Token]]:
    """Split into pages of a few lines each.

    Whole sentences share a page if they fit; a longer one gets its own pages, about equally full, preferably cut after
    punctuation.
    """
    return [page for part in _parts(tokens(text)) for page in _balanced(part)]


def plain(run: Sequence[Token]) -> str:
    """Return the tokens as a line of plain text, with a hyphen if it ends inside a word."""
    return "".join(t.text + ("" if t.after == "-" and t is not run[-1] else t.after) for t in run).strip()


def _words(text: str) -> Iterator[list[str]]:
    """Yield each word between spaces, as the pieces between its possible line breaks."""
    word: list[str] = []
    for piece in LineBreaker(text, _LOCALE) if text else ():
        # A space permits no break before some characters, for example the question mark in French.
        *whole, last = piece.split(" ")
        for part in whole:
            if word or part:
                yield [*word, part] if part else word
            word = []
        if last:
            word.append(last)
    if word:
        yield word


def _is_word(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _opens(char: str) -> bool:
    return unicodedata.category(char) in ("Ps", "Pi")


def _split(word: Sequence[str]) -> list[Token]:
    whole = "".join(word)
    if is_spaceless(whole):
        pieces = _joined_singles(part for piece in word for part in _divided(piece))
    elif "\u200b" in whole or len(clusters(whole)) > LONGEST_WORD:
        pieces = _filled(word)
    else:
        pieces = [whole]
    found = [Token(_visible(cut), "-" if cut.endswith("\u00ad") else "") for p in pieces for cut in _hyphenated(p)]
    found = [token for token in found if not all(map(is_silent, token.text))]
    return [*found[:-1], replace(found[-1], after=" ")] if found else []


def _visible(text: str) -> str:
    """Return a token's text without the breaks that it permitted."""
    return text.replace("\u00ad", "").replace("\u200b", "")


def _divided(piece: str) -> list[str]:
    """Divide a long Chinese or Japanese phrase between its words, where a line break is possible."""
    if sum(1 + is_wide(c) for c in piece) <= _LONGEST_PHRASE:
        return [piece]
    breaks = set(accumulate(map(len, LineBreaker(piece, "ja"))))
    parts = [""]
    for word in WordBreaker(piece, "ja"):
        parts[-1] += word
        if sum(map(len, parts)) in breaks:
            parts.append("")
    return [part for part in parts if part]


def _joined_singles(pieces: Iterable[str]) -> list[str]:
    """Join neighbours of one character each, which would be highlighted for too short a time."""
    out: list[str] = []
    for single, group in groupby(_ordinals(pieces), key=lambda piece: _letters(piece) <= 1):
        run = list(group)
        alone = single and len(run) == 1
        start = len(out)
        for piece in run:
            if single and len(out) > start - alone and out and _joins(out[-1], piece):
                out[-1] += piece
            else:
                out.append(piece)
    return out


def _ordinals(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces, with the prefix of an ordinal number in one piece with its number."""
    held = ""
    for piece in pieces:
        if piece.endswith("\u7b2c"):
            held += piece
        else:
            yield held + piece
            held = ""
    if held:
        yield held


def _joins(before: str, piece: str) -> bool:
    return _letters(before) < _CHUNK and not _ends_phrase(before) and not _opens(piece[0])


def _letters(piece: str) -> int:
    return sum(cluster[0].isalnum() for cluster in clusters(piece))


def _ends_phrase(piece: str) -> bool:
    return unicodedata.category(piece[-1])[0] == "P" or piece[-1] in CONTROLS


def _filled(pieces: Iterable[str]) -> list[str]:
    """Join the pieces of a long word up to its longest part; a zero-width space always separates."""
    out: list[str] = []
    for piece in pieces:
        if out and not out[-1].endswith("\u200b") and len(clusters(out[-1] + piece)) <= LONGEST_WORD:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def _hyphenated(piece: str) -> list[str]:
    """Cut a piece that is too long even for small type into parts of about equal length.

    A Latin word of this length is a German compound in practice, so it gets the hyphens of German, as soft hyphens.
    """
    chars = clusters(piece)
    if len(chars) <= LONGEST_PIECE:
        return [piece]
    count = -(-len(chars) // LONGEST_WORD)
    ideal = [n * len(chars) / count for n in range(1, count)]
    if not piece.isalpha() or not "A" <= max(piece) < "\u0250":
        return ["".join(chars[round(a) : round(b)]) for a, b in pairwise((0.0, *ideal, len(chars)))]
    from pyphen import Pyphen  # reads a dictionary

    positions = Pyphen(lang="de_DE").positions(piece) or [len(piece)]
    at = sorted({min(positions, key=lambda position: abs(position - middle)) for middle in ideal} - {len(piece)})
    parts = [piece[a:b] for a, b in pairwise((0, *at, len(piece)))]
    return [*(part + "\u00ad" for part in parts[:-1]), parts[-1]]


def _size(token: Token) -> int:
    return sum(1 + is_wide(c[0]) for c in clusters(token.text)) + len(token.after)


def _pages_needed(run: Sequence[Token]) -> int:
    return max(-(-sum(map(_size, run)) // PAGE_CHARS), -(-len(run) // PAGE_WORDS))


def _parts(run: Iterable[Token]) -> list[list[Token]]:
    """Split into sentences, and join neighbours that fit on a page together."""
    parts: list[list[Token]] = []
    for sentence in _sentences(run):
        if parts and _pages_needed(parts[-1] + sentence) == 1:
            parts[-1] += sentence
        else:
            parts.append(sentence)
    return parts


def _sentences(run: Iterable[Token]) -> Iterator[list[Token]]:
    sentence: list[Token] = []
    for token in run:
        sentence.append(token)
        if _SENTENCE_END.search(token.text):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _balanced(run: list[Token]) -> list[list[Token]]:
    cuts = _cuts(run, [_size(t) for t in run], _pages_needed(run))
    return [run[a:b] for a, b in pairwise(cuts)]


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
    return min(row[len(run)] for row in best if len(run) in row)[1]


def _roughness(last: Token) -> float:
    """Return the penalty for a page that ends with the token: negative after punctuation, highest inside a word.

    It is 0 after most words, so that it does not change the number of pages.
    """
    abbreviated = last.text.endswith(".") and not _SENTENCE_END.search(last.text)  # perhaps: Mr.
    if unicodedata.category(last.text[-1]) in ("Po", "Pd", "Pe", "Pf") and not abbreviated:
        return -0.3
    if last.after != " ":
        return 0.1 if is_spaceless(last.text[-1]) else 6.0
    return 0.2 * (len(last.text) <= 3 and not is_spaceless(last.text))
