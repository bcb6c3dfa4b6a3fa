"""The title of a video, and plain text as the platforms accept it."""

from __future__ import annotations

import re
import unicodedata

from tenxsom_flow_engine.output.truncation import shorten

#: The limit of YouTube in characters; TikTok's is higher. Counted in UTF-16 code units, the most cautious way.
MAX_TITLE = 100
#: Replacements of the two characters that YouTube refuses in titles and descriptions.
_BRACKETS = str.maketrans("<>", "‹›")
_WORD = re.compile(r"[^\W\d_][\w'’.-]*")
#: What can precede the first word: opening punctuation, symbols such as emoji, and spaces. `@` and `#` begin a name.
_OPENING = frozenset({"Ps", "Pi", "Pf", "Pd", "So", "Sk", "Zs", "Mn", "Cf"})
_OPENING_MARKS = frozenset("\"'¿¡")


def title(topic: str) -> str:
    """Return the topic as a title: one line with a capital first letter, of at most `MAX_TITLE` characters."""
    return shorten(plain_text(capitalise(" ".join(topic.split()))), MAX_TITLE)


def plain_text(text: str) -> str:
    """Return a text as the platforms accept it: composed, without control characters and angle brackets.

    Line breaks of all kinds become newlines. Arrows and brackets are replaced by characters that look alike.
    """
    lines = unicodedata.normalize("NFC", text).splitlines()
    printable = "\n".join(
        "".join(" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in line)
        for line in lines
    )
    return re.sub("-+>", "→", printable).translate(_BRACKETS)


def capitalise(text: str) -> str:
    """Return a text with a capital first letter, unless its first word has a capital inside, such as `iPhone`."""
    start = next((at for at, character in enumerate(text) if not _opens(character)), len(text))
    word = _WORD.match(text, start)
    if word is None or any(map(str.isupper, word[0][1:])):
        return text
    # Title case differs from upper case for some letters: ǆ becomes ǅ, and Georgian letters stay.
    return text[:start] + text[start].title() + text[start + 1 :]


def _opens(character: str) -> bool:
    return character in _OPENING_MARKS or unicodedata.category(character) in _OPENING
