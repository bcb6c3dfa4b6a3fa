"""Reading what HeyGen says of videos, agents and credits: pure functions over its JSON.

Sources: developers.heygen.com (reference of get-video and of video agents, docs of usage limits; October 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tenxsom_flow_engine.services.base import Credits, Failed, Progress, Ready
from tenxsom_flow_engine.services.http.responses import number, path_id

#: Seconds between two polls, up to so many seconds after the order; then the last. The second bound is ours.
PACE, SLOWEST = ((120.0, 10.0), (600.0, 30.0)), 60.0
#: Where the order's instant is not told.
USUAL_PACE = 30.0


def data_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an answer holds under `data`; nothing if there is no object."""
    return _inside(body, "data")


def poll_after(shown: Mapping[str, Any], now: float) -> float:
    """Return after how many seconds a generation is looked at again: the older it is, the later."""
    ordered_at = _instant(shown.get("created_at"))
    if ordered_at is None:
        return USUAL_PACE
    return next((pace for bound, pace in PACE if now - ordered_at < bound), SLOWEST)


def video_state(video: Mapping[str, Any], now: float) -> Progress | Ready | Failed:
    """Return how a video stands. A status that is not known counts as running."""
    url = video.get("video_url")
    match video.get("status"):
        case "completed" if isinstance(url, str) and url:
            return Ready(url, number(video.get("duration")))
        case "failed":
            return Failed(_why(video))
    return Progress(None, poll_after(video, now))


def agent_state(session: Mapping[str, Any], now: float) -> Progress | Failed:
    """Return how an agent stands that has not named its video."""
    if session.get("status") == "failed":
        return Failed(_why(session))
    told = number(session.get("progress"))
    return Progress(None if told is None else min(told / 100, 1.0), poll_after(session, now))


def waits_for_input(session: Mapping[str, Any]) -> bool:
    """Tell whether an agent has stopped to ask a person: it never goes on by itself."""
    return session.get("status") == "waiting_for_input"


def video_of(session: Mapping[str, Any]) -> str | None:
    """Return the id of the video that an agent makes, which it tells late."""
    return path_id(session.get("video_id"))


def credits_of(user: Mapping[str, Any]) -> Credits:
    """Return what is left, of the kind by which the account pays."""
    kind = user.get("billing_type")
    match kind:
        case "wallet":
            wallet = _inside(user, "wallet")
            note = "refills itself" if wallet.get("auto_reload") else ""
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
            note = "" if spent is None else f"USD {spent:.2f} spent" + ("" if cap is None else f" of at most {cap:.2f}")
            return Credits(_left({"remaining": usage.get("remaining_credits")}), note=note)
    return Credits(None, note=f"the billing type {kind!r} is not known" if kind else "")


def _why(shown: Mapping[str, Any]) -> str:
    """Say why a generation failed, in HeyGen's words."""
    said = [str(shown[name]) for name in ("failure_message", "failure_code") if shown.get(name)]
    if not said:
        return "it failed"
    return said[0] if len(said) == 1 else f"{said[0]} ({said[1]})"


def _left(credits: Any) -> float | None:
    return number(credits.get("remaining") if isinstance(credits, Mapping) else credits)


def _sum(*amounts: float | None) -> float | None:
    told = [amount for amount in amounts if amount is not None]
    return sum(told) if told else None


def _inside(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = body.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _instant(told: Any) -> float | None:
    """Read an instant: seconds since 1970, or a date and time, of UTC where it names no zone."""
    if isinstance(told, str):
        try:
            moment = datetime.fromisoformat(told)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return number(told)
