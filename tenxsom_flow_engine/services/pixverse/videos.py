"""Parse UseAPI's JSON about videos and accounts: pure functions.

Source: useapi.net/docs/api-pixverse-v2 (2026-04-05 to 2026-06-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.jobs import Ticket
from tenxsom_flow_engine.services.base import Failed, Progress, Ready
from tenxsom_flow_engine.services.http.responses import number, path_id

#: Seconds between two polls, as UseAPI recommends.
POLL_PACE = 15.0

_CREDITS = ("credit_daily", "credit_monthly", "credit_package", "credit_monthly_gift")
#: Status names by number, for answers without a name. `video_status_final` is ignored: in the documentation's table it
#: is set for queued videos too.
_NAMES: Mapping[float, str] = {1: "COMPLETED", 5: "QUEUED", 7: "MODERATED", 8: "FAILED", 10: "GENERATING"}
#: As in `user:123-pixverse:me@example.org-video:456`.
_ACCOUNT = re.compile(r"-pixverse:(.+)-video:")


def ticket_of(body: Mapping[str, Any]) -> Ticket | None:
    """Return the ticket of the video in an answer, or None if the answer contains no id."""
    video_id = path_id(body.get("video_id") or body.get("id"))
    if video_id is None:
        return None
    account = _ACCOUNT.search(video_id)
    return Ticket(video_id, account=account[1] if account else "", credits=number(body.get("cost_credits")))


def state_of(video: Mapping[str, Any]) -> Progress | Ready | Failed:
    """Return the state of a generation. An unknown status counts as running."""
    name = str(video.get("video_status_name") or _NAMES.get(number(video.get("video_status")) or 0, "")).upper()
    match name:
        case "COMPLETED":
            url, width = video.get("url"), number(video.get("output_width"))
            # The URL can be present before the video exists.
            if isinstance(url, str) and url and width:
                return Ready(url, number(video.get("duration")))
        case "MODERATED":
            # PixVerse returns the credits of these videos.
            return Failed("PixVerse's moderation rejected the result", next_step="change the prompt", refunded=True)
        case "FAILED":
            return Failed("the generation failed")
    return Progress(None, POLL_PACE)


def carries(item: Mapping[str, Any], reference: str) -> bool:
    """Return whether a video or a running task was ordered with this `replyRef`."""
    inner = item.get("response")
    return reference in (item.get("replyRef"), inner.get("replyRef") if isinstance(inner, Mapping) else None)


def objects(body: Any, *names: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list: the body itself, or its first field of these names that is a list."""
    if isinstance(body, Mapping):
        body = next((body[name] for name in names if isinstance(body.get(name), list)), [])
    yield from (item for item in body if isinstance(item, Mapping))


@dataclass(frozen=True, slots=True)
class Account:
    """A PixVerse account linked to UseAPI."""

    email: str
    #: Whether it has a free slot.
    free: bool
    #: The number of its generations under way; None if it is not reported.
    running: int | None = None


def accounts_of(scheduler: Mapping[str, Any]) -> list[Account]:
    """Return the scheduler's accounts. An account without a number of free slots counts as free."""
    found = objects(scheduler, "available")
    return [
        Account(item["email"], item.get("available") not in (0, False), _count(item.get("executing")))
        for item in found
        if item.get("email")
    ]


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def credits_of(features: Mapping[str, Any]) -> float | None:
    """Return the balance of an account: the sum of its kinds of credits, or None if none is reported."""
    known = [amount for name in _CREDITS if (amount := number(features.get(name))) is not None]
    return sum(known) if known else None
