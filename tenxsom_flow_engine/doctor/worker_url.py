"""Looks at the worker's address as Cloud Tasks would: it must answer, and send strangers away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tenxsom_flow_engine.doctor.checks import Finding, ok, problem
from tenxsom_flow_engine.settings import Settings

#: Seconds for a connection, and for an answer.
PROBE_TIMEOUTS = (5.0, 15.0)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def door(settings: Settings) -> Iterator[Finding]:
    """Knock at the address that Cloud Tasks is told."""
    url = settings.cloud_tasks.worker_url
    if not url:
        yield problem(
            "worker address", "Cloud Tasks is not told where the worker is",
            "set CLOUD_TASKS_WORKER_URL to its https address",
        )  # fmt: skip
        return
    if url.startswith("http://") and urlsplit(url).hostname not in _LOOPBACK:
        yield problem(
            "worker address", f"{url} is not encrypted, so anybody on the way can read the tokens",
            "put TLS before the worker, as deploy/Caddyfile does, and set CLOUD_TASKS_WORKER_URL to https://…",
        )  # fmt: skip
    yield from _knock(url)


def _knock(url: str) -> Iterator[Finding]:
    import requests

    try:
        # What follows a redirect would not be what Cloud Tasks reaches. A body is read only where it matters, since
        # that of something else than the worker may have no end.
        with requests.get(f"{url}/health", timeout=PROBE_TIMEOUTS, allow_redirects=False, stream=True) as health:
            pass
        with requests.post(
            f"{url}/process", json={}, timeout=PROBE_TIMEOUTS, allow_redirects=False, stream=True
        ) as stranger:
            guarded = stranger.status_code in (401, 403)
            told = _error(stranger) if guarded else {}
    except requests.RequestException as error:
        step = "start the worker (python3 cloud_tasks_worker.py), and see DNS, firewall and certificate"
        yield problem("worker address", f"{url} does not answer: {type(error).__name__}", step)
        return
    if health.status_code != 200 and not (guarded and health.status_code in (401, 403)):
        text = f"{url}/health answers {health.status_code}, so something else than the worker listens there"
        yield problem("worker address", text, "see CLOUD_TASKS_WORKER_URL, and what the proxy passes on")
        return
    if not guarded:
        text = f"{url}/process answers a stranger with {stranger.status_code} instead of 401"
        step = "unset TENXSOM_ALLOW_UNAUTHENTICATED where the worker runs, and see that no proxy answers for it"
        yield problem("worker address", text, step)
        return
    if "TENXSOM_ALLOW_UNAUTHENTICATED" in told.get("next_step", ""):  # it takes from nobody
        yield problem("worker address", told["message"], told["next_step"])
        return
    yield ok("worker address", f"{url} answers, and sends strangers away")


def _error(response: Any) -> dict[str, str]:
    try:
        found = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
