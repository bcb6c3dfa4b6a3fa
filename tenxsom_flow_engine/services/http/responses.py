"""Parse HTTP answers and classify their errors: pure functions without a network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.services.base import URL_SAFE_ID

#: The longest wait in seconds that an answer can ask for: a job asks at least once a day.
MAX_RETRY_AFTER = 86400.0


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """The meaning of a status at a service, if needed with the error code or type in the body."""

    #: 0: any refusal (4xx), because the code alone decides.
    status: int
    error: type[ServiceError]
    #: The cause; the service's own message is appended.
    meaning: str
    next_step: str = ""
    #: If set, the row applies only with this code or type in the body.
    code: str = ""
    #: If set, the row applies only to paid calls (True) or only to other calls (False).
    paid: bool | None = None

    def matches(self, status: int, code: str, paid: bool) -> bool:
        """Return whether the row applies to an answer."""
        same = status == self.status or (self.status == 0 and 400 <= status < 500)
        return same and self.code in ("", code) and self.paid in (None, paid)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body` is its decoded JSON, or None if it is invalid or incomplete."""

    status: int
    body: Any = None
    #: Seconds that the service asks to wait, if any.
    retry_after: float | None = None
    #: The service's id of this request.
    request_id: str = ""

    @property
    def good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


def read_retry_after(headers: Mapping[str, str], body: Any, now: float | None = None) -> float | None:
    """Return the seconds that an answer asks to wait: `Retry-After` (seconds or a date), or `retryAfter` in the body.

    A date is compared with the answer's own `Date` if present, because the server's clock can differ from ours.
    """
    value = headers.get("Retry-After") or (body.get("retryAfter") if isinstance(body, Mapping) else None)
    if value is None or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        until = _instant(str(value))
        if until is None:
            return None
        sent_at = _instant(headers.get("Date", ""))
        seconds = until - (sent_at if sent_at is not None else time.time() if now is None else now)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if seconds == seconds else None


def path_id(value: Any) -> str | None:
    """Return a service's id if it is valid in a URL path without encoding, else None."""
    return value if isinstance(value, str) and URL_SAFE_ID.fullmatch(value) else None


def number(value: Any) -> float | None:
    """Return a value that is a non-negative number below 10¹², else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def error_code(body: Any) -> str:
    """Return the code or type of an error answer, such as in `{"error": {"type": …}}` or `{"code": …}`."""
    return str(next(_values(body, ("type", "code", "ErrCode")), ""))


def error_words(body: Any) -> str:
    """Return the message of an error answer, or an empty string."""
    if isinstance(body, Mapping) and isinstance(body.get("error"), str):
        return str(body["error"])
    return str(next(_values(body, ("message", "ErrMsg", "error", "detail")), ""))


def _values(body: Any, names: Iterable[str]) -> Iterator[Any]:
    """Yield the fields of these names, those under `error` first: some answers have a `type` outside of it too."""
    if not isinstance(body, Mapping):
        return
    for place in (body.get("error"), body):
        if isinstance(place, Mapping):
            for name in names:
                if isinstance(place.get(name), str | int) and place[name] != "":
                    yield place[name]


def _instant(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # slow to import, and few answers contain a date

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
