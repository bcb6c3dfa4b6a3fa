"""Probe the worker URL the way Cloud Tasks would: it must answer and reject unauthenticated requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenxsom_flow_engine.doctor.checks import Finding, ok, problem
from tenxsom_flow_engine.errors import Action, Forbidden
from tenxsom_flow_engine.queues.cloud_tasks.loopback import is_loopback, proxies
from tenxsom_flow_engine.settings import Settings

#: Timeouts in seconds: to connect, and to read the response.
PROBE_TIMEOUTS = (5.0, 15.0)


def check_worker_url(settings: Settings) -> Iterator[Finding]:
    """Check the worker URL: set, encrypted, reachable, and closed to requests without a token."""
    url = settings.cloud_tasks.worker_url
    if not url:
        yield problem(
            "worker address", "no-worker-url", "the worker's address for Cloud Tasks is not set",
            "set CLOUD_TASKS_WORKER_URL to its https address",
        )  # fmt: skip
        return
    if url.startswith("http://") and not is_loopback(url):
        yield problem(
            "worker address", "not-encrypted", f"{url} is not encrypted, so tokens can be read in transit",
            "put a TLS proxy in front of the worker, as deploy/Caddyfile does, and set CLOUD_TASKS_WORKER_URL to "
            "https://…",
        )  # fmt: skip
    yield from _probe(url)


def _probe(url: str) -> Iterator[Finding]:
    import requests

    try:
        # Redirects are not followed: Cloud Tasks does not follow them either. A body is read only where it matters,
        # because a server other than the worker might send an endless one.
        options: dict[str, Any] = {"allow_redirects": False, "stream": True, "proxies": dict(proxies(url))}
        with requests.get(f"{url}/health", timeout=PROBE_TIMEOUTS, **options) as health:
            pass
        with requests.post(f"{url}/process", json={}, timeout=PROBE_TIMEOUTS, **options) as unauthenticated:
            guarded = unauthenticated.status_code in (401, 403)
            refusal = _error(unauthenticated) if guarded else {}
    except requests.RequestException as error:
        yield problem(
            "worker address", "no-answer", f"{url} does not answer: {type(error).__name__}",
            "check that the worker runs, then DNS, firewall and certificate", (Action.START_PUSH_WORKER,),
        )  # fmt: skip
        return
    if health.status_code != 200 and not (guarded and health.status_code in (401, 403)):
        text = f"{url}/health returns {health.status_code}, so the server at this address is not the worker"
        yield problem(
            "worker address", "not-the-worker", text, "check CLOUD_TASKS_WORKER_URL and the routes of the proxy"
        )
        return
    if not guarded:
        text = f"{url}/process returns {unauthenticated.status_code} without a token, instead of 401"
        step = "unset TENXSOM_ALLOW_UNAUTHENTICATED for the worker, and check that no proxy answers in its place"
        yield problem("worker address", "open-to-anybody", text, step)
        return
    # A worker that accepts deliveries answers that the token is missing. `Forbidden` means that it accepts none.
    if refusal.get("code") == Forbidden.code:
        yield problem("worker address", Forbidden.code, refusal.get("message", ""), refusal.get("next_step", ""))
        return
    yield ok("worker address", f"{url} answers, and rejects requests without a token")


def _error(response: Any) -> dict[str, str]:
    try:
        found = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
