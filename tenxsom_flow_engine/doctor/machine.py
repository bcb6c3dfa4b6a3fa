"""Looks at this machine: Python, libraries, disk, fonts."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Protocol

from tenxsom_flow_engine.doctor.checks import Finding, ok, problem, warning
from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.settings import Settings

#: The oldest Python that is tested.
OLDEST = (3, 11)
#: What `requirements.txt` names.
LIBRARIES = (
    "av", "click", "cryptography", "flask", "fonttools", "google-auth", "google-cloud-tasks", "grpcio", "gunicorn",
    "msgspec", "numpy", "pillow", "platformdirs", "prometheus-client", "python-dotenv", "redis", "requests",
    "structlog", "tzdata",
)  # fmt: skip
#: Bytes that are free at least, before nothing works and before it is time to think of it.
LEAST_SPACE, LITTLE_SPACE = 200 * 10**6, 2 * 10**9
#: Writing that drafts are made in, by the people who would miss it.
SCRIPTS = {"Chinese and Japanese": "世界", "Arabic": "سلام", "Hindi": "नमस्ते"}


def python(oldest: tuple[int, int] = OLDEST) -> Iterator[Finding]:
    """Check the interpreter and its SQLite."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < oldest:
        step = f"use Python {oldest[0]}.{oldest[1]} or newer"
        yield problem("python", "python-too-old", f"Python {version} is too old", step)
    else:
        yield ok("python", f"Python {version}, SQLite {sqlite3.sqlite_version}")


def libraries() -> Iterator[Finding]:
    """See that every library is there."""
    missing = []
    for name in LIBRARIES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        step = f"{sys.executable} -m pip install -r requirements.txt -c constraints.txt"
        yield problem("libraries", "libraries-missing", f"not installed: {', '.join(missing)}", step)
    else:
        yield ok("libraries", f"all {len(LIBRARIES)} are installed")


def output(settings: Settings) -> Iterator[Finding]:
    """See that videos can be written, and for how long."""
    OutputFolder(settings.output_dir).check()
    yield ok("output", f"videos go to {settings.output_dir}")


def disk(settings: Settings) -> Iterator[Finding]:
    """See how much space is left for videos and records."""
    for name, folder in {"videos": settings.output_dir, "records": settings.home}.items():
        there = _existing(folder)
        free = shutil.disk_usage(there).free
        text = f"{free / 1e9:.1f} GB free for {name} ({there})"
        if free < LEAST_SPACE:
            yield problem("disk", "disk-full", text, f"free some space, or move them: see {_VARIABLE[name]}")
        elif free < LITTLE_SPACE:
            yield warning("disk", "disk-low", text, f"think of more space, or move them: see {_VARIABLE[name]}")
        else:
            yield ok("disk", text)


class Fonts(Protocol):
    """Knows which characters can be shown: what this needs of `services.draft.render.fonts.Library`."""

    def runs(self, text: str) -> object:
        """Split a text by the fonts that show it. Raises `Rejected` for characters that none shows."""


def fonts(installed: Fonts | None = None) -> Iterator[Finding]:
    """Check in which scripts drafts can be made with the installed fonts, by default those of this machine."""
    from tenxsom_flow_engine.services.draft.render.fonts import library

    installed = installed or library()
    for people, sample in SCRIPTS.items():
        try:
            installed.runs(sample)
        except Rejected as error:
            text = f"no drafts with {people} letters: {error.message}"
            yield warning("fonts", "fonts-missing", text, error.next_step)
            return
    yield ok("fonts", f"drafts can show {', '.join(SCRIPTS)}")


_VARIABLE = {"videos": "TENXSOM_OUTPUT_DIR", "records": "TENXSOM_HOME"}


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
