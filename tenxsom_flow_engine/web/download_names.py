"""The names of downloaded files: the topic, as every file system accepts it."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from tenxsom_flow_engine.output.titles import title
from tenxsom_flow_engine.output.truncation import shorten, utf8_length

#: The maximum length in bytes of UTF-8. File systems allow 255, and browsers append something while they download.
MAX_NAME = 200
#: Characters with a special meaning in some file system or shell.
_UNFIT = re.compile(r'[\\/:*?"<>|]')
#: The only characters without a glyph that change how others look: some scripts and emoji need them.
_JOINERS = "\u200c\u200d"
#: Names of devices on Windows, also with an extension.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


def attachment(topic: str, suffix: str, job_id: str) -> str:
    """Return the value of `Content-Disposition` for the download of a file named after a topic.

    A name outside ASCII is sent as `filename*`, and approximately as `filename` for old clients (RFC 6266, 4.3).
    """
    name = file_name(topic, suffix, job_id)
    # Some browsers decode a `%` in `filename`.
    if name.isascii() and "%" not in name:
        return f'attachment; filename="{name}"'
    approximate = unicodedata.normalize("NFKD", name.removesuffix(suffix)).encode("ascii", "ignore").decode()
    plain = _stem(approximate.replace("%", " "), job_id) + suffix
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def file_name(topic: str, suffix: str, job_id: str) -> str:
    """Return a topic as a file name of at most `MAX_NAME` bytes, or the job's id if no character of the topic fits."""
    return shorten(_stem(title(_UNFIT.sub(" ", topic)), job_id), MAX_NAME - len(suffix), utf8_length) + suffix


def _stem(text: str, job_id: str) -> str:
    seen = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    # A dot at the start hides a file; Windows removes dots and spaces at the end.
    stem = " ".join(_UNFIT.sub(" ", seen).split()).strip(" ." + _JOINERS) or job_id
    return f"_{stem}" if _DEVICE.match(stem) else stem
