"""Hashtags for the significant words of a topic, in any script.

A hashtag has letters, their marks, digits and `_`, and at least one letter. Joiners inside words, as in Persian and
Sinhala, are removed: no platform documents that it accepts them. Apostrophes are removed too: `Don't` is `#dont`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

#: The maximum length of a hashtag's word, in characters; no one searches for longer ones.
MAX_WORD = 30
_SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about after an and are as at be before but by can could did do does for from had has have he her his how i "
        "if in into is it its just me my no not of off on or our out over she should so than that the their them then "
        "there they this to under until up vs was we were what when where which who why will with would you your",
    )
)
#: Joiners, soft hyphens, marks that choose a glyph, and the quotes inside Hebrew abbreviations.
_INSIDE = re.compile('[\u00ad\u200c\u200d\u2060\ufe00-\ufe0f]|(?<=\\w)["״׳](?=\\w)')
_APOSTROPHES = re.compile(r"['’]")
#: A French or Italian article before an apostrophe: `l'histoire`.
_ARTICLE = re.compile(r"\b[ld]['’](?=\w{3})", re.IGNORECASE)
_KATAKANA = "ァ-ヺー-ヿ"


def hashtags(topic: str, most: int = 5) -> list[str]:
    """Return hashtags for the first `most` significant words of a topic, without duplicates, in lower case.

    `#shorts` is not among them: it marks a kind of video, not a topic.
    """
    text = _INSIDE.sub("", unicodedata.normalize("NFC", html.unescape(topic)))
    found: dict[str, str] = {}
    for written in _words(_ARTICLE.sub("", text)):
        word = _lower(_APOSTROPHES.sub("", written))
        small = not _SMALL_WORDS.isdisjoint({word, _lower(_APOSTROPHES.split(written)[0])})
        if not small and word != "shorts" and _fits(written, word):
            found.setdefault(word.casefold(), f"#{word}")
    return list(found.values())[:most]


def _words(text: str) -> Iterator[str]:
    """Split a text into words of letters, marks, digits, `_` and apostrophes."""
    allowed = (c if c in "_'’" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    for run in "".join(allowed).split():
        run = run.strip("'’")
        # Letters without case: perhaps a language that is written without spaces.
        words = _segments(run) if any(unicodedata.category(c) == "Lo" for c in run) else [run]
        for word in words:
            # A mark belongs to a letter before it.
            yield word.lstrip("".join(c for c in word if unicodedata.category(c)[0] == "M"))


def _segments(run: str) -> Iterable[str]:
    """Split words that are written without spaces; katakana stays whole, because it is mostly one foreign word."""
    # Loads a library of 40 MB, which few topics need.
    from icu4py.breakers import WordBreaker

    for part in re.findall(f"[{_KATAKANA}]+|[^{_KATAKANA}]+", run):
        yield from [part] if re.match(f"[{_KATAKANA}]", part) else WordBreaker(part, "root")


def _lower(word: str) -> str:
    # The lower case of İ is an i with a combining dot, outside of Turkish.
    return unicodedata.normalize("NFC", word.replace("İ", "i").lower())


def _fits(written: str, word: str) -> bool:
    """Return whether a word is long enough to mean something, and short enough to be found.

    In alphabets, words of two letters are function words in most languages, unless they are in capitals, such as `AI`.
    """
    kinds = [unicodedata.category(character)[0] for character in word]
    first = next((character for character in word if unicodedata.category(character)[0] == "L"), "")
    if not first or len(word) > MAX_WORD:
        return False
    alphabet = first != first.upper() or unicodedata.bidirectional(first) in ("R", "AL") or "ぁ" <= first <= "ゟ"
    least = 3 if alphabet and not written.isupper() and "N" not in kinds else 2
    return kinds.count("L") + kinds.count("N") >= least
