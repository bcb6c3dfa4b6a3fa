"""What an HTTP answer says, and what its errors mean: pure reading, without a network."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.errors import ServiceError

#: What may stand in a path as it is.
_PATH_ID = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=-]{1,512}")


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What a status means at a service, with the error code or type in the body where that decides."""

    #: 0: any refusal (4xx), since the code alone decides.
    status: int
    error: type[ServiceError]
    #: What happened; the service's own words are added.
    meaning: str
    next_step: str = ""
    #: Only with this code or type in the body.
    code: str = ""
    #: Only for paid calls (True), or only for the others (False).
    paid: bool | None = None

    def matches(self, status: int, code: str, paid: bool) -> bool:
        """Tell whether an answer is meant."""
        same = status == self.status or (self.status == 0 and 400 <= status < 500)
        return same and self.code in ("", code) and self.paid in (None, paid)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body` is its JSON, or None where it is none or did not come whole."""

    status: int
    body: Any = None
    #: Seconds for which the service asks to be left alone, if it does.
    retry_after: float | None = None
    #: What the service calls this call.
    request_id: str = ""

    @property
    def good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


def read_retry_after(headers: Mapping[str, str], body: Any, now: float | None = None) -> float | None:
    """Return the seconds that an answer asks to wait: `Retry-After` (seconds or a date), or `retryAfter` in the body.

    A date counts from the answer's own `Date` where it has one, since the server's clock need not be ours.
    """
    told = headers.get("Retry-After") or (body.get("retryAfter") if isinstance(body, Mapping) else None)
    if told is None or isinstance(told, bool):
        return None
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        until = _instant(str(told))
        if until is None:
            return None
        said = _instant(headers.get("Date", ""))
        seconds = until - (said if said is not None else time.time() if now is None else now)
    return max(seconds, 0.0) if seconds == seconds else None


def path_id(value: Any) -> str | None:
    """Return an id that a service gave if a path can hold it as it is, else None."""
    fine = isinstance(value, str) and _PATH_ID.fullmatch(value) and value.strip(".")
    return value if fine else None


def number(value: Any) -> float | None:
    """Return a number that is not negative, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def error_code(body: Any) -> str:
    """Return the code or type that an error answer names, such as in `{"error": {"type": …}}` or `{"code": …}`."""
    return str(next(_values(body, ("type", "code", "ErrCode")), ""))


def error_words(body: Any) -> str:
    """Return what an error answer says in words, or nothing."""
    if isinstance(body, Mapping) and isinstance(body.get("error"), str):
        return str(body["error"])
    return str(next(_values(body, ("message", "ErrMsg", "error", "detail")), ""))


def _values(body: Any, names: Iterable[str]) -> Iterator[Any]:
    """Yield fields of these names, those of the object under `error` first: some say `type` outside of it too."""
    if not isinstance(body, Mapping):
        return
    for place in (body.get("error"), body):
        if isinstance(place, Mapping):
            for name in names:
                if isinstance(place.get(name), str | int) and place[name] != "":
                    yield place[name]


def _instant(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # takes a while to import, and few answers hold a date

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
