"""Write the beats as SubRip captions."""

from __future__ import annotations

from collections.abc import Iterable

from tenxsom_flow_engine.services.draft.render.script import Beat


def srt(beats: Iterable[Beat]) -> str:
    """Return the text of an .srt file with one cue per beat."""
    return "\n".join(f"{n}\n{_stamp(b.start)} --> {_stamp(b.end)}\n{b.text}\n" for n, b in enumerate(beats, 1))


def _stamp(seconds: float) -> str:
    millis = round(seconds * 1000)
    minutes, millis = divmod(millis, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{millis // 1000:02},{millis % 1000:03}"
