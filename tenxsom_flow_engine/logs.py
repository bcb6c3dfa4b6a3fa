"""Logging: one line for each event on standard error, as JSON unless standard error is a terminal.

`severity`, `message` and `time` are the fields that Google's logging agent reads; `job_id`, `step`, `service` and more
say which job the event concerns. Modules use the standard library's `logging`; `extra` and the values bound by `about`
become fields.
"""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Collection, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

import click

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.errors import FlowError

if TYPE_CHECKING:
    from structlog.typing import Processor

#: A line on its way through the processors.
LogEvent = MutableMapping[str, Any]

LEVELS = ("debug", "info", "warning", "error")

#: The maximum number of characters of a line on a terminal, and of a value in it.
TERMINAL_LINE, LONGEST_VALUE = 159, 24
_COLORS = {"ERROR": "red", "WARNING": "yellow", "DEBUG": "bright_black"}
#: Fields that Cloud Logging reads: the trace of a request, and the type of an event that Error Reporting shows.
TRACE, SPAN, TRACE_SAMPLED, TYPE = (
    *(f"logging.googleapis.com/{name}" for name in ("trace", "spanId", "trace_sampled")),
    "@type",
)
_DEFECT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
#: Fields that a terminal does not show.
_FOR_PROGRAMS = frozenset({"logger", "seq", "took_ms", TRACE, SPAN, TRACE_SAMPLED, TYPE})

#: Patterns of secrets in any text: a bearer token, a login in a URL, a signature in a query.
_SECRETS = re.compile(
    r"(?i)(?P<before>\bbearer\s+(?!token\b)|://[^\s/@:]*:(?=[^\s/@]+@)|[?&][\w.-]*(?:sig|signature|token|key|credential)[\w.-]*=)"
    r"(?P<secret>[^\s&\"'@]+)"
)
STARS = "***"
#: Characters with which text from outside could act on a terminal or change the order of what it shows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: The controls that text of several lines keeps.
_BREAKS = "\n\t"


def configure(level: str, secrets: Collection[str] = ()) -> None:
    """Send the log to standard error. Each entry point calls this once; `secrets` are texts to redact."""
    logging.basicConfig(level=level.upper(), handlers=[handler(sys.stderr, secrets)], force=True)
    # urllib3 logs whole URLs, and the URLs of finished videos contain signatures.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def about(**fields: Any) -> AbstractContextManager[None]:
    """Add fields to every line that this thread logs within a block."""
    from structlog.contextvars import bound_contextvars

    return bound_contextvars(**fields)


def handler(stream: TextIO, secrets: Collection[str] = ()) -> logging.Handler:
    """Return a handler that writes log lines to a stream: readable text on a terminal, else JSON."""
    # Imported here because most commands log nothing.
    import msgspec
    import structlog

    encoder = msgspec.json.Encoder(enc_hook=str)
    form: list[Processor] = [lambda logger, method, line: _without_controls(encoder.encode(line).decode())]
    if stream.isatty():
        form = [_for_people]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *form],
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(),
            _mark_defect,
            structlog.processors.format_exc_info,
            _standard_fields,
            Redactor(secrets),
        ],
    )
    written = _Lines(stream)
    written.setFormatter(formatter)
    return written


class _Lines(logging.StreamHandler[TextIO]):
    """Replaces the report of `logging` about an event that cannot be formatted: it is neither JSON nor redacted."""

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        """Log where the event came from, without its content."""
        kind = sys.exc_info()[0]
        if kind is None or issubclass(kind, OSError) or getattr(record, "unwritten", False):
            return  # the stream is closed, or this very line failed
        text = f"an event of {record.name}, line {record.lineno}, could not be written: {kind.__name__}"
        line = logging.makeLogRecord({"name": record.name, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text})
        line.unwritten = True
        self.emit(line)


class Redactor:
    """Masks secrets with stars: known ones, also percent-encoded as in a URL, and texts that look like one.

    Known secrets with fewer than `shortest` characters are not masked, because they would match in ordinary words.
    """

    def __init__(self, secrets: Collection[str] = (), *, shortest: int = 6) -> None:
        long_enough = [secret for secret in secrets if len(secret) >= shortest]
        forms = {re.escape(form) for secret in long_enough for form in (secret, quote(secret, safe=""))}
        # The longest first, because one can contain another.
        self._known = re.compile("|".join(sorted(forms, key=len, reverse=True))) if forms else None

    def __call__(self, logger: Any, method: str, event: LogEvent) -> LogEvent:
        """Redact a log line (a structlog processor)."""
        return {name: value if name.startswith("_") else self.value(value) for name, value in event.items()}

    def value(self, value: object) -> object:
        """Return a value with its secrets masked, converted to JSON types."""
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
        """Return a text with its secrets masked; characters that UTF-8 cannot encode, as in file names, are escaped."""
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        if self._known is not None:
            text = self._known.sub(STARS, text)
        return _SECRETS.sub(rf"\g<before>{STARS}", text)


def _mark_defect(logger: Any, method: str, event: LogEvent) -> LogEvent:
    """Let Error Reporting show an error with an unexpected exception, which is a defect of a program.

    The engine's own errors are for operators: a held job or a wrong key needs no change of the code.
    """
    record: logging.LogRecord = event["_record"]
    error = record.exc_info[1] if record.exc_info else None
    if record.levelno >= logging.ERROR and isinstance(error, Exception) and not isinstance(error, FlowError):
        event[TYPE] = _DEFECT
    return event


def _standard_fields(logger: Any, method: str, event: LogEvent) -> LogEvent:
    """Add the fields that every line has, in a fixed order."""
    record: logging.LogRecord = event["_record"]
    line = {"time": iso(record.created), "severity": record.levelname, "message": event.pop("event")}
    if record.levelno >= logging.WARNING:
        line["logger"] = record.name
    return {**line, **event}


def _without_controls(text: str, but: str = "") -> str:
    """Escape control characters, in the form of JSON, except those in `but`."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in but else f"\\u{ord(found[0]):04x}", text)


def _for_people(logger: Any, method: str, event: LogEvent) -> str:
    return readable(event, colored=True)


def readable(event: LogEvent, *, colored: bool = False) -> str:
    """Render an event for a terminal: lines of at most `TERMINAL_LINE` characters, with the fields that fit.

    A field is omitted if the message contains its value, or if only programs need it.
    """
    severity, exception = str(event.pop("severity", "")), str(event.pop("exception", ""))
    head = f"{str(event.pop('time', ''))[:19]}Z {severity:7} "
    message, room = str(event.pop("message", "")), TERMINAL_LINE - len(head)
    body = _without_controls(message, but=_BREAKS)
    for name, value in event.items():
        text = " ".join(_without_controls(str(value), but=_BREAKS).split())
        # The end of a long value distinguishes it: it can be a path.
        field = f"  {name}={text if len(text) <= LONGEST_VALUE else '…' + text[1 - LONGEST_VALUE :]}"
        if name not in _FOR_PROGRAMS and str(value) not in message and len(body) + len(field) <= room:
            body += field
    lines = textwrap.wrap(body, room, break_on_hyphens=False) or [""]
    start = click.style(head, fg=_COLORS[severity]) if colored and severity in _COLORS else head
    trace = "\n" + _without_controls(exception, but=_BREAKS) if exception else ""
    return start + ("\n" + " " * len(head)).join(lines) + trace
