"""What a process says of itself: one line for each event on standard error, JSON unless a person sits there.

The names are those that Google's logging agent knows (`severity`, `message`, `time`), beside them what the event is
about: `job_id`, `step`, `service` and more. Modules write with the standard library's `logging`; what stands in `extra`
becomes fields, and so does what is bound for a block by `about`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from tenxsom_flow_engine.clock import iso

if TYPE_CHECKING:
    from structlog.typing import Processor

#: A line on its way through the processors.
LogEvent = MutableMapping[str, Any]

LEVELS = ("debug", "info", "warning", "error")

#: What looks like a secret wherever it stands: a bearer token, a login in an address, a signature in a query.
_SECRETS = re.compile(
    r"(?i)(?P<before>\bbearer\s+|://[^\s/@:]*:(?=[^\s/@]+@)|[?&][\w.-]*(?:sig|signature|token|key|credential)[\w.-]*=)"
    r"(?P<secret>[^\s&\"'@]+)"
)
STARS = "***"


def configure(level: str, secrets: Collection[str] = ()) -> None:
    """Send the log to standard error. Called by the process's door; `secrets` are texts that may stand nowhere."""
    logging.basicConfig(level=level.upper(), handlers=[handler(sys.stderr, secrets)], force=True)
    # It tells whole addresses, and those of finished videos carry signatures.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def about(**fields: Any) -> AbstractContextManager[None]:
    """Bind fields to every line that this thread logs within a block."""
    from structlog.contextvars import bound_contextvars

    return bound_contextvars(**fields)


def handler(stream: TextIO, secrets: Collection[str] = ()) -> logging.Handler:
    """Return a handler that writes the log's lines to a stream, in the form that suits who reads it."""
    # Commands that log nothing need not load them.
    import msgspec
    import structlog

    encoder = msgspec.json.Encoder(enc_hook=str)
    form: list[Processor] = [lambda logger, method, line: encoder.encode(line).decode()]
    if stream.isatty():
        # No traceback with the values of variables, which may be secrets.
        plain = structlog.dev.plain_traceback
        form = [
            _for_people,
            structlog.dev.ConsoleRenderer(event_key="message", timestamp_key="time", exception_formatter=plain),
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *form],
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.format_exc_info,
            _told,
            Redactor(secrets),
        ],
    )
    written = _Lines(stream)
    written.setFormatter(formatter)
    return written


class _Lines(logging.StreamHandler[TextIO]):
    """Also writes a line for an event that cannot be written: what `logging` says then is no JSON and hides nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        """Say where the event was, and nothing of what it holds."""
        kind = sys.exc_info()[0]
        if kind is None or issubclass(kind, OSError) or getattr(record, "unwritten", False):
            return  # nobody reads any more, or this line is the one that fails
        told = f"an event of {record.name}, line {record.lineno}, could not be written: {kind.__name__}"
        line = logging.makeLogRecord({"name": record.name, "levelno": logging.ERROR, "levelname": "ERROR", "msg": told})
        line.unwritten = True
        self.emit(line)


class Redactor:
    """Replaces secrets with stars: known ones, also as they are written in an address, and what looks like one.

    Known secrets with fewer than `shortest` characters are left alone: in a log they would be found in every word.
    """

    def __init__(self, secrets: Collection[str] = (), *, shortest: int = 6) -> None:
        long_enough = [secret for secret in secrets if len(secret) >= shortest]
        forms = {re.escape(form) for secret in long_enough for form in (secret, quote(secret, safe=""))}
        # The longest first, since one may hold another.
        self._known = re.compile("|".join(sorted(forms, key=len, reverse=True))) if forms else None

    def __call__(self, logger: Any, method: str, event: LogEvent) -> LogEvent:
        """Return a log line without secrets (a processor of structlog)."""
        return {name: value if name.startswith("_") else self.value(value) for name, value in event.items()}

    def value(self, value: object) -> object:
        """Return a value without secrets, converted to what JSON can hold."""
        match value:
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {self.text(str(name)): self.value(one) for name, one in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(one) for one in value]
            case _:
                return self.text(str(value))

    def text(self, text: str) -> str:
        """Return a text without secrets; what UTF-8 cannot encode, as in names of files, is escaped."""
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        if self._known is not None:
            text = self._known.sub(STARS, text)
        return _SECRETS.sub(rf"\g<before>{STARS}", text)


def _told(logger: Any, method: str, event: LogEvent) -> LogEvent:
    """Name and order what every line has."""
    record: logging.LogRecord = event["_record"]
    line = {"time": iso(record.created), "severity": record.levelname, "message": event.pop("event")}
    if record.levelno >= logging.WARNING:
        line["logger"] = record.name
    return {**line, **event}


def _for_people(logger: Any, method: str, event: LogEvent) -> LogEvent:
    event["level"] = event.pop("severity").lower()
    return event
