"""Checks of this machine: Python, libraries, disk, and what the services use."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from tenxsom_flow_engine.composition import make_home
from tenxsom_flow_engine.doctor.checks import Finding, ok, problem, warning
from tenxsom_flow_engine.env import fields_of
from tenxsom_flow_engine.output.opening import open_output
from tenxsom_flow_engine.report.verdicts import LEAST_SPACE, LITTLE_SPACE
from tenxsom_flow_engine.services.registry import MachineCheck
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.text import plural

#: The oldest supported version of Python.
OLDEST = (3, 11)
#: The packages in `requirements.txt`.
LIBRARIES = (
    "av", "certifi", "click", "cryptography", "flask", "fpdf2", "google-auth", "google-cloud-tasks", "grpcio",
    "gunicorn", "icu4py", "msgspec", "numpy", "obstore", "pillow", "platformdirs", "prometheus-client", "pyphen",
    "redis", "requests", "structlog", "tzdata", "uharfbuzz", "urllib3", "waitress",
)  # fmt: skip


def python(oldest: tuple[int, int] = OLDEST) -> Iterator[Finding]:
    """Check the interpreter and its SQLite."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < oldest:
        step = f"use Python {oldest[0]}.{oldest[1]} or newer"
        yield problem("python", "python-too-old", f"Python {version} is too old", step)
    else:
        yield ok("python", f"Python {version}, SQLite {sqlite3.sqlite_version}")


def libraries() -> Iterator[Finding]:
    """Check that every library is installed."""
    missing = []
    for name in LIBRARIES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        step = f"{sys.executable} -m pip install --require-hashes -r requirements.lock"
        yield problem("libraries", "libraries-missing", f"not installed: {', '.join(missing)}", step)
    else:
        yield ok("libraries", f"all {len(LIBRARIES)} are installed")


def output(settings: Settings) -> Iterator[Finding]:
    """Check that videos can be published, and that links to them can be signed if they are in a bucket."""
    make_home(settings)  # else the check would create it with the permissions of the output folder
    output = open_output(settings.output_dir, settings.work_dir, settings.bucket_keys)
    output.check()
    yield ok("output", f"videos go to {output.place}")
    if output.check_links():
        yield ok("output", f"links to {output.place} can be signed")
    if waiting := output.waiting():
        text = f"{plural(waiting, 'video')} in {settings.work_dir} wait until the bucket can be used"
        yield warning("output", "spooled", text, "start a worker on this machine; it publishes them")


def privacy(settings: Settings) -> Iterator[Finding]:
    """Check that other users of this machine cannot read the records, which earlier releases let them do."""
    named = str(settings.store or "")
    store = Path(named.removeprefix("sqlite://")) if named.startswith("sqlite://") else settings.home / "jobs.sqlite3"
    loose = {settings.home: "700"} if _open_to_others(settings.home) else {}
    if _open_to_others(store) and _open_to_others(store.parent):
        loose[store] = "600"
    for path, mode in loose.items():
        yield warning("privacy", "readable-by-others", f"other users can read {path}", f"chmod {mode} {path}")
    if not loose:
        yield ok("privacy", "no other user can read the records")


def _open_to_others(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def disk(settings: Settings) -> Iterator[Finding]:
    """Check the free space for videos and records."""
    videos = {"videos": settings.output_dir} if isinstance(settings.output_dir, Path) else {}
    for name, folder in {**videos, "records": settings.home}.items():
        existing = _existing(folder)
        free = shutil.disk_usage(existing).free
        text = f"{free / 1e9:.1f} GB free for {name} ({existing})"
        if free < LEAST_SPACE:
            yield problem("disk", "disk-full", text, f"free some space, or move the {name}: set {_VARIABLE[name]}")
        elif free < LITTLE_SPACE:
            yield warning("disk", "disk-low", text, f"add space soon, or move the {name}: set {_VARIABLE[name]}")
        else:
            yield ok("disk", text)


def network(settings: Settings) -> Iterator[Finding]:
    """Check that the host of each configured service has an address."""
    for name, config in settings.services.items():
        host = urlsplit(getattr(config, "base_url", "")).hostname
        if not host:
            continue
        variable = next(one.variable.name for one in fields_of(type(config)) if one.field == "base_url")
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not a host name"
            step = f"check the network and DNS of this machine, or correct {variable}"
            yield problem("network", "host-unknown", f"the host {host} of {name} does not resolve: {reason}", step)
        else:
            yield ok("network", f"the host {host} of {name} resolves")


def of_service(check: MachineCheck) -> Iterator[Finding]:
    """Run a service's check of this machine."""
    state = check.run()
    if state.code:
        yield warning(check.about, state.code, state.text, state.fix)
    else:
        yield ok(check.about, state.text)


_VARIABLE = {"videos": "TENXSOM_OUTPUT_DIR", "records": "TENXSOM_HOME"}


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
