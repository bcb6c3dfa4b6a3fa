"""Looks at the worker's address as Cloud Tasks would: it must answer, and send strangers away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tenxsom_flow_engine.doctor.checks import Finding, ok, problem
from tenxsom_flow_engine.errors import Action, Forbidden
from tenxsom_flow_engine.settings import Settings

#: Seconds for a connection, and for an answer.
PROBE_TIMEOUTS = (5.0, 15.0)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def door(settings: Settings) -> Iterator[Finding]:
    """Knock at the address that Cloud Tasks is told."""
    url = settings.cloud_tasks.worker_url
    if not url:
        yield problem(
            "worker address", "no-worker-url", "Cloud Tasks is not told where the worker is",
            "set CLOUD_TASKS_WORKER_URL to its https address",
        )  # fmt: skip
        return
    if url.startswith("http://") and urlsplit(url).hostname not in _LOOPBACK:
        yield problem(
            "worker address", "not-encrypted", f"{url} is not encrypted, so anybody on the way can read the tokens",
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
        yield problem(
            "worker address", "no-answer", f"{url} does not answer: {type(error).__name__}",
            "see whether the worker runs, then DNS, firewall and certificate", (Action.START_PUSH_WORKER,),
        )  # fmt: skip
        return
    if health.status_code != 200 and not (guarded and health.status_code in (401, 403)):
        text = f"{url}/health answers {health.status_code}, so something else than the worker listens there"
        yield problem(
            "worker address", "not-the-worker", text, "see CLOUD_TASKS_WORKER_URL, and what the proxy passes on"
        )
        return
    if not guarded:
        text = f"{url}/process answers a stranger with {stranger.status_code} instead of 401"
        step = "unset TENXSOM_ALLOW_UNAUTHENTICATED where the worker runs, and see that no proxy answers for it"
        yield problem("worker address", "open-to-anybody", text, step)
        return
    # A worker that takes deliveries tells a request without a token that it lacks one; this one takes none.
    if told.get("code") == Forbidden.code:
        yield problem("worker address", Forbidden.code, told.get("message", ""), told.get("next_step", ""))
        return
    yield ok("worker address", f"{url} answers, and sends strangers away")


def _error(response: Any) -> dict[str, str]:
    try:
        found = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
