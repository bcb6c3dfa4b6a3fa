"""Parse HeyGen's JSON about videos, agents and credits: pure functions.

Sources: developers.heygen.com (reference of get-video and of video agents, docs of usage limits; October 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tenxsom_flow_engine.services.base import Credits, Failed, Progress, Ready
from tenxsom_flow_engine.services.http.responses import number, path_id
from tenxsom_flow_engine.text import usd

#: Pairs (age of the order, seconds between two polls until that age), and the pace after the last age, our choice.
PACE, SLOWEST = ((120.0, 10.0), (600.0, 30.0)), 60.0
#: Seconds between two polls if the age is unknown.
USUAL_PACE = 30.0


def data_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object under `data` of an answer, or an empty one."""
    return _inside(body, "data")


def poll_after(generation: Mapping[str, Any], now: float) -> float:
    """Return the seconds until the next poll of a generation, which increase with its age."""
    ordered_at = _instant(generation.get("created_at"))
    if ordered_at is None:
        return USUAL_PACE
    return next((pace for bound, pace in PACE if now - ordered_at < bound), SLOWEST)


def video_state(video: Mapping[str, Any], now: float) -> Progress | Ready | Failed:
    """Return the state of a video. An unknown status counts as running."""
    url = video.get("video_url")
    match video.get("status"):
        case "completed" if isinstance(url, str) and url:
            return Ready(url, number(video.get("duration")))
        case "failed":
            return Failed(_failure(video))
    return Progress(None, poll_after(video, now))


def agent_state(session: Mapping[str, Any], now: float) -> Progress | Failed:
    """Return the state of an agent that has not returned a video yet."""
    if session.get("status") == "failed":
        return Failed(_failure(session))
    percent = number(session.get("progress"))
    return Progress(None if percent is None else min(percent / 100, 1.0), poll_after(session, now))


def waits_for_input(session: Mapping[str, Any]) -> bool:
    """Return whether an agent has stopped with a question; it does not continue without an answer."""
    return session.get("status") == "waiting_for_input"


def video_of(session: Mapping[str, Any]) -> str | None:
    """Return the id of an agent's video, or None as long as the session has none."""
    return path_id(session.get("video_id"))


def credits_of(user: Mapping[str, Any]) -> Credits:
    """Return the remaining balance, by the billing type of the account."""
    kind = user.get("billing_type")
    match kind:
        case "wallet":
            wallet = _inside(user, "wallet")
            note = "refills automatically" if wallet.get("auto_reload") else ""
            return Credits(number(wallet.get("remaining_balance")), str(wallet.get("currency") or "USD").upper(), note)
        case "subscription":
            plan = _inside(user, "subscription")
            kinds = _inside(plan, "credits")
            premium = _inside(kinds, "premium_credits")
            resets = f"until {premium['resets_at']}" if premium.get("resets_at") else ""
            note = ", ".join(filter(None, (str(plan.get("plan") or ""), resets)))
            return Credits(_sum(_left(premium), _left(kinds.get("add_on_credits"))), note=note)
        case "usage_based":
            usage = _inside(user, "usage_based")
            spent, cap = number(usage.get("spending_current_usd")), number(usage.get("spending_cap_usd"))
            note = "" if spent is None else f"{usd(spent)} spent" + ("" if cap is None else f" of at most {usd(cap)}")
            return Credits(_left({"remaining": usage.get("remaining_credits")}), note=note)
    return Credits(None, note=f"unknown billing type {kind!r}" if kind else "")


def _failure(generation: Mapping[str, Any]) -> str:
    """Return HeyGen's reason for a failed generation."""
    words = [str(generation[name]) for name in ("failure_message", "failure_code") if generation.get(name)]
    if not words:
        return "it failed"
    return words[0] if len(words) == 1 else f"{words[0]} ({words[1]})"


def _left(credits: Any) -> float | None:
    return number(credits.get("remaining") if isinstance(credits, Mapping) else credits)


def _sum(*amounts: float | None) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _inside(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = body.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _instant(value: Any) -> float | None:
    """Parse an instant: seconds since 1970, or a date and time, in UTC if it has no zone."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return number(value)
