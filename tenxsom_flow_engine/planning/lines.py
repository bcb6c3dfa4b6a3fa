"""Decodes text to numbered lines. The encoding is checked, and the length of lines is limited."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from tenxsom_flow_engine.errors import InvalidInput

#: Maximum number of characters in a line: far more than a job's fields can hold.
MAX_LINE = 64 * 1024
#: Bytes that are examined to find the encoding.
_HEAD = 8192

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF8 = frozenset({"utf-8", "utf-8-sig"})
#: A byte that is not part of UTF-8, as Python decodes it; and a character outside ASCII that was decoded.
_STRAY = re.compile("[\udc80-\udcff]")
_DECODED = re.compile("[^\0-\x7f\udc80-\udcff]")
#: Words without ASCII letters, as in Cyrillic, but hardly ever in western European languages.
_FOREIGN_WORD = re.compile(rb"[\x80-\xff]{4}")


class NotUtf8(InvalidInput):
    """A file is in another encoding than UTF-8. `code_page` is a likely one, and the message shows a line in it."""

    def __init__(self, name: str, line: int, text: bytes) -> None:
        self.code_page = "windows-1251" if _FOREIGN_WORD.search(text) else "windows-1252"
        shown = " ".join(text.decode(self.code_page, "replace").split())[:60]
        super().__init__(
            name, f"is not in UTF-8 but in a code page such as {self.code_page}, in which line {line} is {shown!r}"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line end. If it is too long (`cut`), `text` is only its beginning."""

    number: int
    text: str
    cut: bool = False


class Lines(Iterator[Line]):
    """The lines of a binary stream. Close them before the stream, which they leave open.

    The encoding is UTF-8, or another that a byte order mark or the zeros of UTF-16 show; `encoding` replaces UTF-8.
    Raises `InvalidInput` if the stream is not text in that encoding.
    """

    def __init__(self, stream: io.BufferedReader, name: str, encoding: str | None = None) -> None:
        head = stream.peek(_HEAD)[:_HEAD]
        found = next((known for mark, known in _BYTE_ORDER_MARKS if head.startswith(mark)), None) or _utf16(head)
        if found is None and b"\0" in head:
            raise InvalidInput(name, "is not a text file", next_step="save it as UTF-8 text, a spreadsheet as CSV")
        self._encoding = found or (check_encoding(encoding) if encoding else "utf-8")
        self._name = name
        #: In UTF-8, single damaged characters become unpaired surrogates, which `VideoJob` rejects with their position.
        self._is_utf8 = self._encoding not in _UTF8 or found is not None
        errors = "surrogateescape" if self._encoding in _UTF8 else "strict"
        self._text = io.TextIOWrapper(stream, encoding=self._encoding, errors=errors)
        self._lines = numbered(self._text)
        self._last = 0

    def __next__(self) -> Line:
        try:
            line = next(self._lines)
        except UnicodeError as error:
            raise self._undecodable(error) from error
        self._check(line.text, line.number)
        self._last = line.number
        return line

    def rest(self, most: int) -> str:
        """Return what follows the last line, or the beginning of a long one: at most `most` characters."""
        try:
            text = self._text.read(most)
        except UnicodeError as error:
            raise self._undecodable(error) from error
        self._check(text, self._last + 1)
        return text

    def close(self) -> None:
        """Detach from the stream, which the caller closes."""
        self._text.detach()

    def _undecodable(self, error: UnicodeError) -> InvalidInput:
        return InvalidInput(self._name, f"is not valid {self._encoding} after line {self._last}: {error}")

    def _check(self, text: str, first: int) -> None:
        """Raise `NotUtf8` for text in another encoding; `first` is the number of its first line."""
        if self._is_utf8 or text.isascii():
            return
        strays = _STRAY.findall(text)
        if len(strays) < len(_DECODED.findall(text)):
            self._is_utf8 = True
        elif strays:
            before, _, _ = text.partition(strays[0])
            line = text[before.rfind("\n") + 1 :].partition("\n")[0]
            raise NotUtf8(self._name, first + before.count("\n"), line.encode("utf-8", "surrogateescape"))


def numbered(text: TextIO) -> Iterator[Line]:
    """Number the lines of a text from 1. A line is read only up to `MAX_LINE`; its rest is skipped in small pieces."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        ended = line.endswith("\n")
        cut = not ended and len(line) > MAX_LINE
        yield Line(number, line[: -1 if ended else None], cut)
        while cut and not ended and (rest := text.readline(MAX_LINE)):
            ended = rest.endswith("\n")


def check_encoding(name: str) -> str:
    """Return the normal name of a text encoding. Raises `InvalidInput`."""
    try:
        "a".encode(name)  # also refuses codecs that are not for text
        return codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        raise InvalidInput("encoding", f"{name[:40]!r} is unknown; use a name such as windows-1252") from None


def _utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text without a byte order mark; None if it is not such text."""
    even = head[: len(head) // 2 * 2]
    zeros = even[0::2].count(0), even[1::2].count(0)
    if (len(head) % 2 and len(head) < _HEAD) or not any(zeros):
        return None
    encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(even)
    return encoding if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else None
