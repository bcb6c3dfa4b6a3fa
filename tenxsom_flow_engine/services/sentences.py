"""Split a script into sentences that can be shown or spoken.

Sentence ends are those of ICU, with corrections for list numbers, abbreviations, initials, dates, quotations, ellipses,
texts without capital letters, and languages that separate sentences by spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator


def sentences(text: str) -> list[str]:
    """Return the sentences of a script, complete and in order, without the marks of Markdown.

    A line break ends a sentence. Hashtags at the end of a line, links that stand alone, and lines without a letter or
    digit are left out.
    """
    return [sentence for line in _lines(text) for sentence in _split(line) if _has_words(sentence)]


# Markdown, hashtags and links.

_LINE_BREAK = re.compile(r"[\r\n\v\f\x85\u2028\u2029]+|<br\s*/?>")
_FENCE = re.compile(r"[`~]{3,}\S*")
#: Marks at the start of a line: quotations, headings, bullets, check boxes.
_LINE_MARKS = re.compile(r"(?:> ?)*(?:#{1,6} )?(?:[-–—*+•‣▪·→➤►▶▸] )?(?:\[[ xX]\] )?")
_BULLET = re.compile(r" [•‣▪·] ")
#: A heading with marks on both sides; the target of a reference, or a footnote.
_CLOSED_HEADING = re.compile(r"(#{1,6} .*?) #+")
_DEFINITION = re.compile(r"\[\^[^\]]+\]: .*|\[[^\]]+\]: <?https?://.*")
_TAG_OR_LINK = r"(?:[#＃]\w\S*|(?:https?://|www\.)\S+)"
#: Tags and links after the last sentence of a line, and two or more tags after an unfinished one.
_TRAILING_TAGS = re.compile(rf"(?<=[.!?…。！？।؟\"”’»)\]」』])(?: {_TAG_OR_LINK})+$|(?: [#＃]\w\S*){{2,}}$")
_INLINE_MARKS = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[\^[^\]]+\]"), ""),
    (re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"<((?:https?://|mailto:)[^>]*)>"), r"\1"),
    (re.compile(r"(`+)([^`]+)\1"), r"\2"),
    *[
        # The outermost marks first: ***a*** is bold and italic.
        (re.compile(rf"(?<![\w*~\\]){mark}(?=[^\s*_~])(.{{1,500}}?)(?<=[^\s\\]){mark}(?![\w*~])", re.ASCII), r"\1")
        for mark in (r"\*\*\*", "___", r"\*\*", "__", "~~", r"\*", "_")
    ],
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a plain or Markdown text without marks and trailing tags."""
    for line in _LINE_BREAK.split(text):
        line = " ".join(line.split())
        if _FENCE.fullmatch(line) or _DEFINITION.fullmatch(line):
            continue
        if heading := _CLOSED_HEADING.fullmatch(line):
            line = heading[1]
        line = _LINE_MARKS.sub("", line, count=1)
        for pattern, replacement in _INLINE_MARKS:
            line = pattern.sub(replacement, line)
        yield from _BULLET.split(_TRAILING_TAGS.sub("", line))


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, re.sub(_TAG_OR_LINK, "", text)))


# Sentence ends.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Abbreviations after which a sentence continues, in small letters, without spaces and without the last full stop.
_CONTINUING = _words(
    "dr mr mrs ms prof st mt ft gen sgt capt lt maj cmdr rev hon sen gov supt sr sra srta dra mme mlle hr hrn "
    "vs e.g i.e cf viz approx ca z.b d.h u.a i.d.r o.ä bzw ggf evtl bspw vgl ej ex т.е т.к напр"
)
#: Abbreviations after which it continues with a number.
_NUMBERED = _words("no nr nos fig figs vol ch sec art p pp núm № стр")
#: Abbreviations that can end a sentence, as can acronyms (U.S.) and initials: the next word decides.
_OPEN = _words("etc usw usf inc ltd co corp jr bros jan feb mar apr jun jul aug sep sept oct nov dec")
#: Words that begin a sentence much more often than a name.
_STARTERS = _words(
    "the a an it its he she they we you i this that these those there here his her their our your my in on at to for "
    "from with by as of but and so yet or if when while after before because since until then now what why how who "
    "where which no not some most many all every each both such der die das dann ein eine er sie es wir ihr ich und "
    "aber el la los las un una en pero le les il elle mais puis"
)
_LAST_WORD = re.compile(r"(?P<word>(?:\b[^\W\d_]\. ?)+[^\W\d_]|\b\w+)\.$")
_FIRST_WORD = re.compile(r"\W*(?P<word>[^\W_]+)(?!\.)\b")
#: A number or letter in front of a list item: 1. a) (2) IV.
_LIST_NUMBER = re.compile(r"[(\[]?(?:\d{1,3}|[^\W\d_]|[IVX]{1,4})[.)\]]{1,2}")
#: A German ordinal, as in "am 3. Mai".
_ORDINAL = re.compile(r"\b(?:am|vom|zum|bis|der|die|das|dem|den|des|im|beim|ab|seit) \d{1,3}\.$", re.IGNORECASE)
#: Japanese words that continue the sentence after a quotation.
_QUOTATION_GOES_ON = re.compile(r"と|って|など")
#: Ends that ICU does not know: an ellipsis, a French closing mark after a space, and a space between letters of Thai or
#: Lao (ๆ and ໆ repeat a word).
_MORE_ENDS = re.compile(
    r"(?<=…)[\"'”’»)\]]* +|(?<=[.!?…] [»]) +"
    r"|(?<=[\u0e01-\u0e45\u0e47-\u0e4e\u0e81-\u0ec4\u0ec8-\u0ecd]) +(?=[\u0e01-\u0e44\u0e81-\u0ec4])"
)


def _split(line: str) -> Iterator[str]:
    """Yield the sentences of a line."""
    # ICU finds no end before a small letter, so a text without capitals is read as one of capitals.
    read = line if any(map(str.isupper, line)) else "".join(c.upper() if len(c.upper()) == 1 else c for c in line)
    start = 0
    for end in _possible_ends(read):
        if _ends(read[start:end].rstrip(), read[end:]):
            yield line[start:end].strip()
            start = end
    yield line[start:].strip()


def _possible_ends(text: str) -> list[int]:
    from icu4py.breakers import SentenceBreaker  # loads within 30 ms, and most commands need no sentences

    ends, at = {match.end() for match in _MORE_ENDS.finditer(text)}, 0
    for piece in SentenceBreaker(text, "en"):
        at += len(piece)
        # In a text without spaces, ICU also takes the opening marks of the next sentence.
        ends.add(at - len(piece) + len(piece.rstrip("“‘「『（《【〈")))
    return sorted(ends - {len(text)})


def _ends(sentence: str, rest: str) -> bool:
    """Return whether the sentence is complete before the rest of its line."""
    opening = rest.lstrip("\"'“‘«„([ ")[:1]
    if opening.islower() or opening == "»" or not any(map(str.isalnum, rest)):
        return False  # "What?" he asked. A symbol at the end of a line belongs to the sentence before it.
    if sentence[-1:] in "」』":
        return _QUOTATION_GOES_ON.match(rest) is None
    if _LIST_NUMBER.fullmatch(sentence) or _ORDINAL.search(sentence[-20:]):
        return False
    last = _LAST_WORD.search(sentence[-40:])
    if last is None:
        return True
    word = last["word"].replace(" ", "").casefold()
    if word in _CONTINUING or (word in _NUMBERED and opening.isdigit()):
        return False
    if word in _OPEN or "." in word or (len(word) == 1 and word.isalpha()):
        first = _FIRST_WORD.match(rest)
        return first is not None and first["word"].casefold() in _STARTERS
    return True
