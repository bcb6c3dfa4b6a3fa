"""Statistics of a ledger as plain values. Times are in seconds; None: unknown or infinite.

A tally holds counts and sums of all processes since the ledger was created: admissions `at_once` and `delayed`, those
`given_back`, `waited` seconds and their histogram `w<bucket>`; calls `answered` after `answering` seconds with their
histogram `r<bucket>`; `usual`, the mean response time of recent calls; and `refused`, the number of refusals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tenxsom_flow_engine.rate_limits.ledger import LedgerSnapshot, Scope, decide, in_force
from tenxsom_flow_engine.rate_limits.pace import BY_HAND, Gate
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Window
from tenxsom_flow_engine.store.histogram import percentile
from tenxsom_flow_engine.timings import Timings

LedgerCounters = Mapping[str, float]


def overview(snapshots: Mapping[str, LedgerSnapshot], limits: Limits, timings: Timings) -> dict[str, Any]:
    """Return the statistics of every service in `snapshots`, of `global`, and of all together."""
    services = {name: _service(name, snapshots, limits, timings) for name in snapshots if name != GLOBAL}
    total: dict[str, float] = {}
    for name in services:
        for key, value in snapshots[name].tally.items():
            total[key] = total.get(key, 0.0) + value
    everything = snapshots[GLOBAL]
    return {
        "services": services,
        GLOBAL: {
            "windows": [_window(w, everything, Gate()) for w in in_force(everything.gate, limits.get(GLOBAL)) or ()],
            "set_at_run_time": bool(everything.gate.limits),
        },
        "total": _counts(total, sum(snapshots[name].waiting for name in services)),
        "efficiency_metrics": efficiency(total),
    }


def efficiency(tally: LedgerCounters) -> dict[str, float | None]:
    """Return how well the limiter avoids refusals.

    `efficiency_score` is the percentage of answers that were not refusals (busy, misconfigured, out of credit):
    100 x answered / (answered + refused); 100 before the first answer. A refusal is a wasted call and closes the gate
    for all processes, so a limiter that holds back exactly the calls that would be refused scores 100.
    """
    answered, refused = tally.get("answered", 0.0), tally.get("refused", 0.0)
    admitted = _admitted(tally)
    return {
        "efficiency_score": round(100 * answered / (answered + refused), 2) if answered + refused else 100.0,
        "admitted_at_once_share": round(tally.get("at_once", 0.0) / admitted, 4) if admitted else None,
        "refused_share": round(refused / (answered + refused), 4) if answered + refused else None,
    }


def _service(name: str, snapshots: Mapping[str, LedgerSnapshot], limits: Limits, timings: Timings) -> dict[str, Any]:
    snapshot, overall = snapshots[name], snapshots[GLOBAL]
    gate = snapshot.gate
    windows = in_force(gate, limits.get(name)) or ()
    above = in_force(overall.gate, limits.get(GLOBAL)) or ()
    scopes = [
        Scope(name, windows, _nth(snapshot), gate.effective_pace),
        Scope(GLOBAL, above, _nth(overall)),
    ]
    closed = decide(name, gate, scopes, now=snapshot.now, timings=timings)
    return {
        "state": _state(gate, snapshot.now, full=closed is not None),
        "why": closed.why if closed else None,
        "opens_in": _seconds(closed.opens_at - snapshot.now if closed else 0.0),
        "pace": round(gate.effective_pace, 4),
        "windows": [_window(window, snapshot, gate) for window in windows],
        "set_at_run_time": bool(gate.limits),
        **_counts(snapshot.tally, snapshot.waiting),
    }


def _state(gate: Gate, now: float, *, full: bool) -> str:
    if gate.stopped:
        return "paused" if gate.stopped == BY_HAND else "stopped"
    if gate.reopens(now) is not None:
        return "closed"
    return "full" if full else "open"


def _counts(tally: LedgerCounters, waiting: int) -> dict[str, Any]:
    at_once, admitted = tally.get("at_once", 0.0), _admitted(tally)
    answered = tally.get("answered", 0.0)
    return {
        "requests": int(admitted) + waiting,
        "admitted_at_once": int(at_once),
        "delayed": int(tally.get("delayed", 0.0)),
        "waiting": waiting,
        "given_back": int(tally.get("given_back", 0.0)),
        "answered": int(answered),
        "refused_by_service": int(tally.get("refused", 0.0)),
        "wait": {
            "mean": _seconds(tally.get("waited", 0.0) / admitted if admitted else None),
            "p95": _seconds(percentile(_sizes(tally, "w"), 0.95, none=at_once)),
        },
        "response": {
            "mean": _seconds(tally.get("answering", 0.0) / answered if answered else None),
            "p95": _seconds(percentile(_sizes(tally, "r"), 0.95)),
        },
    }


def _window(window: Window, snapshot: LedgerSnapshot, gate: Gate) -> dict[str, Any]:
    frees = window.at(gate.effective_pace).frees(_nth(snapshot), earliest=snapshot.now)
    return {
        "window": str(window),
        "used": sum(1 for at in snapshot.recent if at + window.span > snapshot.now),
        "limit": window.limit,
        "limit_at_pace": window.at(gate.effective_pace).limit,
        "frees_in": _seconds(frees - snapshot.now),
    }


def _nth(snapshot: LedgerSnapshot) -> Any:
    return lambda nth: snapshot.recent[nth - 1] if nth <= len(snapshot.recent) else -math.inf


def _sizes(tally: LedgerCounters, kind: str) -> dict[int, float]:
    return {int(name[1:]): value for name, value in tally.items() if name[0] == kind and name[1:].isdigit()}


def _admitted(tally: LedgerCounters) -> float:
    return tally.get("at_once", 0.0) + tally.get("delayed", 0.0)


def _seconds(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 3)
