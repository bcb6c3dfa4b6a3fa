"""Captions: SubRip files for videos whose service made none, and their conversion to WebVTT for browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenxsom_flow_engine.output.titles import title
from tenxsom_flow_engine.text import srt

_TIME = r"(?:(\d+):)?(\d\d?):(\d\d?)[,.](\d{1,3})"
#: The times of a cue, and perhaps its place on the screen, which WebVTT writes differently.
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s+[XY]\d:\d+)*\s*")


def plain_captions(topic: str, duration: float) -> str:
    """Return the content of an SRT file that shows the title during the whole video, `duration` in seconds."""
    return srt([(0.0, duration, title(topic))])


def webvtt(captions: str) -> str:
    """Convert captions from SRT to WebVTT.

    The text is shown as it is written, without a meaning of tags such as `<i>`: captions of topics can contain any
    characters, and SRT has no way to escape them.
    """
    return "\n".join(["WEBVTT\n", *(f"{number}\n{cue}\n" for number, cue in enumerate(_cues(captions), start=1))])


def _cues(captions: str) -> Iterator[str]:
    """Yield the time line and the text lines of each cue, without blank lines, which would end it."""
    cue: list[str] = []
    before = ""
    for line in captions.removeprefix("\ufeff").splitlines():
        # Text can look like times too; before those of a cue is its number, or nothing.
        numbered = before.strip().isdecimal()
        if (times := _TIMES.fullmatch(line)) and (numbered or not before.strip()):
            if numbered and cue:
                cue.pop()
            if cue:
                yield "\n".join(cue)
            cue = [f"{_stamp(*times.groups()[:4])} --> {_stamp(*times.groups()[4:])}"]
        elif cue and line.strip():
            cue.append(_escape(line))
        before = line
    if cue:
        yield "\n".join(cue)


def _stamp(hours: str | None, minutes: str, seconds: str, fraction: str) -> str:
    return f"{int(hours or 0):02}:{int(minutes):02}:{int(seconds):02}.{fraction:0<3}"


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
