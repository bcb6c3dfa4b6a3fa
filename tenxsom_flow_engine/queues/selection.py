"""Which queue backend a process uses, and which store keeps its records.

A flag wins over the environment. If neither decides, the home does: it remembers the queue backend of its first job or
worker, so that a server which starts or stops later does not change where jobs go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.errors import ConfigurationError, StoreError
from tenxsom_flow_engine.files import make_private_folder, write_whole
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.queues.stores import StoreSummary, summarize_store
from tenxsom_flow_engine.settings import CloudTasksSettings, Settings
from tenxsom_flow_engine.text import plural

_log = logging.getLogger(__name__)

#: The one queue backend that pushes.
CLOUD_TASKS = "cloud_tasks"
#: The names of the queue backends, as used on the command line.
QUEUE_TYPES = (CLOUD_TASKS, "redis", "local")
#: The URL schemes of Redis servers.
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
#: The file in the home with the name of the queue backend of its first job or worker.
MEMORY = "queue"
#: Seconds for which the numbers of jobs in other stores are reused: a dashboard asks every few seconds.
OTHERS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """Which queue backend was chosen, and why."""

    queue_type: str
    reason: str
    #: Whether `auto` chose it although no variable names it, so that the home must remember it with its first job.
    by_home: bool = False
    #: Whether the home had neither jobs nor a memory.
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class StoreChoice:
    """Which type of store keeps a queue's records, and its URL, which can contain a password."""

    scheme: str
    url: str


@dataclass(frozen=True, slots=True)
class OtherStore:
    """A store of this home that the chosen queue does not use, with the number of its unfinished jobs."""

    queue_type: str
    place: str
    unfinished: int


def choose_queue(settings: Settings, flag: str | None, *, pulled: bool = False) -> QueueChoice:
    """Choose the queue backend: a flag wins over the environment, and `auto` takes the first that is configured.

    If none is, the home decides (see `_choose_by_home`). A Redis server that was chosen is never skipped: if it is
    down, opening its store fails. With `pulled`, the choice is for a pull worker, so `auto` skips backends that push.
    """
    requested, source = (flag, "requested") if flag else (settings.queue_type, "set in the environment")
    if requested != AUTO:
        if requested not in QUEUE_TYPES:
            raise ConfigurationError(
                f"unknown queue type {requested!r}", next_step=f"use one of: {AUTO}, {', '.join(QUEUE_TYPES)}"
            )
        return QueueChoice(requested, source)
    if pulled:
        skipped = "workers do not pull from Cloud Tasks"
    else:
        from tenxsom_flow_engine.queues.cloud_tasks.access import lacking

        missing = lacking(settings.cloud_tasks)
        if not missing:
            return QueueChoice(CLOUD_TASKS, f"auto: {_known(settings.cloud_tasks)} of Cloud Tasks are configured")
        skipped = f"Cloud Tasks lacks {', '.join(missing)}"
    if settings.redis.named:
        return QueueChoice("redis", f"auto: {skipped}, and a Redis server is set in the environment")
    if str(settings.store or "").startswith("sqlite://"):
        return QueueChoice("local", f"auto: {skipped}, no Redis server is set, and TENXSOM_STORE names a file")
    return _choose_by_home(settings, f"auto: {skipped}, no Redis server is set")


def _known(google: CloudTasksSettings) -> str:
    """Say where credentials and project come from, if they are not set for this engine."""
    named = ("", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT")
    origins = {"credentials": google.credentials_origin, "project": google.project_origin}
    parts = [what if origin in named else f"{what} (from {origin})" for what, origin in origins.items()]
    return f"{', '.join(parts)} and worker"


def _choose_by_home(settings: Settings, before: str) -> QueueChoice:
    """Choose between the embedded queue and a Redis server on this machine that no variable names.

    The memory of the home wins. Without one, the embedded queue is used if it has unfinished jobs. Otherwise a server
    that is running is used if it has no jobs: they can be those of another home, so a person has to name it then. A
    home of release 0.2 that has made videos without its embedded store has its jobs on the server. A store that cannot
    be read now is chosen, so that opening it reports the error. Raises `ConfigurationError`.
    """
    if remembered := _remembered(settings.home):
        return QueueChoice(remembered, f"{before}, and this home has used it since its first job", by_home=True)
    from tenxsom_flow_engine.store.redis.probe import is_redis_listening

    def chosen(queue_type: str, reason: str, summary: StoreSummary | None) -> QueueChoice:
        return QueueChoice(queue_type, f"{before}{reason}", by_home=True, fresh=not (summary and summary.jobs))

    try:
        embedded = _summary(settings, "local")
    except (ConfigurationError, StoreError):
        return chosen("local", ", and the embedded store of this home cannot be read", None)
    if not is_redis_listening(settings.redis.address):
        return chosen("local", " or running, so the embedded queue is used", embedded)
    if embedded and embedded.unfinished:
        return chosen("local", ", and the embedded queue of this home has jobs", embedded)
    try:
        server = _summary(settings, "redis")
    except (ConfigurationError, StoreError):
        return chosen("redis", ", but one is running on this machine", None)
    if server and server.jobs and not (embedded and embedded.jobs) and _has_videos(settings):
        return chosen("redis", ", but the one on this machine has the jobs of this home's videos", server)
    if server and server.jobs:
        raise ConfigurationError(
            f"the Redis server {server.place} already has {plural(server.jobs, 'job')}, and nothing says that they "
            f"belong to the home {settings.home}",
            next_step="set TENXSOM_QUEUE_TYPE=redis to use the server with its jobs, or TENXSOM_QUEUE_TYPE=local for "
            "the embedded queue; or name another server with REDIS_URL",
        )
    if embedded and embedded.jobs:
        return chosen("local", ", and the embedded queue of this home has jobs", embedded)
    return chosen("redis", ", but one is running on this machine", server)


def _has_videos(settings: Settings) -> bool:
    try:
        return isinstance(settings.output_dir, Path) and any(settings.output_dir.iterdir())
    except OSError:
        return False


def _remembered(home: Path) -> str:
    """Return the queue backend that a home remembers; empty if it remembers none."""
    path = home / MEMORY
    try:
        name = path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}", next_step="fix it, or set TENXSOM_QUEUE_TYPE"
        ) from error
    if name not in QUEUE_TYPES:
        raise ConfigurationError(
            f"{path} does not contain a queue type", next_step=f"write one of: {', '.join(QUEUE_TYPES)}"
        )
    return name


def remember(settings: Settings, queue_type: str) -> None:
    """Let the home remember a queue backend, unless it remembers one. Raises `ConfigurationError`."""
    path = settings.home / MEMORY
    if path.is_file():
        return
    try:
        make_private_folder(settings.home)
        write_whole(path, f"{queue_type}\n".encode(), durable=True)
    except OSError as error:
        raise ConfigurationError(
            f"the queue of this home cannot be saved in {path}: {error.strerror}",
            next_step=f"make the folder writable, or set TENXSOM_QUEUE_TYPE={queue_type}",
        ) from error


def remember_other(settings: Settings, before: str, after: str) -> None:
    """Let the home remember another queue backend, if it remembers `before`: its jobs have moved.

    Raises `ConfigurationError`.
    """
    if _remembered(settings.home) == before:
        (settings.home / MEMORY).unlink()
        remember(settings, after)


def choose_store(settings: Settings, queue_type: str) -> StoreChoice:
    """Choose the store that keeps a queue's records. Raises `ConfigurationError`."""
    named = str(settings.store or "")
    if queue_type == "redis" and named:
        raise ConfigurationError(
            "the redis queue keeps its records on the Redis server, so TENXSOM_STORE does not apply",
            next_step="unset TENXSOM_STORE",
        )
    if queue_type == "redis" or (queue_type == CLOUD_TASKS and not named and settings.redis.named):
        return StoreChoice("redis", str(settings.redis.address))
    if not named:
        return StoreChoice("sqlite", f"sqlite://{settings.home / 'jobs.sqlite3'}")
    scheme, separator, _ = named.partition("://")
    if separator and scheme == "sqlite":
        return StoreChoice("sqlite", named)
    if separator and scheme in REDIS_SCHEMES and queue_type == CLOUD_TASKS:
        return StoreChoice("redis", named)
    alternative = " or redis://HOST" if queue_type == CLOUD_TASKS else ""
    shown = f"{scheme}://…" if separator else named  # the URL of a server can contain a password
    raise ConfigurationError(
        f"TENXSOM_STORE {shown!r} is not a valid store for the {queue_type} queue",
        next_step=f"write sqlite:///ABSOLUTE/PATH{alternative}",
    )


def fallback_queue(settings: Settings) -> str:
    """Return the pull queue that takes jobs while Cloud Tasks cannot be reached; empty if none is set.

    Raises `ConfigurationError` if the two do not share a store.
    """
    name = settings.fallback
    if name and choose_store(settings, CLOUD_TASKS) != choose_store(settings, name):
        raise ConfigurationError(
            f"TENXSOM_FALLBACK={name} requires that Cloud Tasks and the {name} queue keep their records in one store",
            next_step="set REDIS_URL, or REDIS_HOST, for redis; set neither for local",
        )
    return name


class HomeQueue:
    """The queue backend of a process within its home: what the home remembers, and the stores that are not used."""

    def __init__(self, settings: Settings, choice: QueueChoice) -> None:
        self.choice = choice
        self._settings = settings
        self._others: tuple[OtherStore, ...] = ()
        self._read_at = float("-inf")

    def remember(self) -> None:
        """Let the home remember the choice, if it made it."""
        if not self.choice.by_home:
            return
        try:
            remember(self._settings, self.choice.queue_type)
        except ConfigurationError as error:
            _log.warning("%s", error)

    def other_stores(self) -> tuple[OtherStore, ...]:
        """Return the other stores of this home with unfinished jobs, as read within the last minute.

        They are its embedded store and its Redis server; a server that no variable names counts only if the home made
        the choice. A store that cannot be read is left out: there might be none.
        """
        if time.monotonic() - self._read_at > OTHERS_SECONDS:
            self._others = tuple(self._read_others())
            self._read_at = time.monotonic()
        return self._others

    def _read_others(self) -> Iterator[OtherStore]:
        settings = self._settings
        used = _store_of(settings, self.choice.queue_type)
        for queue_type in ("local", "redis") if settings.redis.named or self.choice.by_home else ("local",):
            if _store_of(settings, queue_type) == used:
                continue
            with suppress(ConfigurationError, StoreError):
                summary = _summary(settings, queue_type)
                if summary and summary.unfinished:
                    yield OtherStore(queue_type, summary.place, summary.unfinished)


def _store_of(settings: Settings, queue_type: str) -> StoreChoice | None:
    try:
        return choose_store(settings, queue_type)
    except ConfigurationError:  # TENXSOM_STORE excludes it
        return None


def _summary(settings: Settings, queue_type: str) -> StoreSummary | None:
    """Return a summary of a queue's store; None if there is none. Raises `ConfigurationError`, `StoreError`."""
    store = _store_of(settings, queue_type)
    return summarize_store(store.scheme, store.url, settings.redis.key, SystemClock()) if store else None
