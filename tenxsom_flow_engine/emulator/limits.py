"""The service's limits for tasks: sizes, times and URLs. The numbers are documented or were recorded from it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from google.cloud import tasks_v2
from grpc import StatusCode

from tenxsom_flow_engine.emulator import retries
from tenxsom_flow_engine.emulator.protobuf import Refused, instant, invalid, seconds

#: Maximum bytes of a stored task: name, URL, headers, body and times together.
MAX_TASK_SIZE = 1_048_569
MAX_HEADERS_SIZE = 80 * 1024
#: In characters, after encoding.
MAX_URL_LENGTH = 2083
#: In seconds.
MAX_SCHEDULE_AHEAD = 30 * 86_400
MIN_DEADLINE, DEFAULT_DEADLINE, MAX_DEADLINE = 15, 600, 1800

_METHODS = tasks_v2.HttpMethod
_WITH_BODY = (_METHODS.POST, _METHODS.PUT, _METHODS.PATCH)
# Characters that need no encoding in a URL.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


def encoded(url: str) -> str:
    """Return a URL with characters that are not allowed in URLs percent-encoded."""
    return quote(url, safe=_SAFE)


def check_task(task: Any, now: float) -> None:
    """Refuse a task with invalid fields. Its name and its stored size are checked elsewhere."""
    if task.HasField("app_engine_http_request"):
        raise Refused(StatusCode.UNIMPLEMENTED, "App Engine tasks are not served here; use an http_request.")
    if not task.HasField("http_request"):
        raise invalid("The task must have an http_request.")
    _check_request(task.http_request)
    if task.HasField("schedule_time") and instant(task.schedule_time) > now + MAX_SCHEDULE_AHEAD:
        raise invalid("Task.schedule_time must be at most 720 hours in the future.")
    if task.HasField("dispatch_deadline") and not MIN_DEADLINE <= seconds(task.dispatch_deadline) <= MAX_DEADLINE:
        raise invalid("Task.dispatch_deadline must be between 15 seconds and 30 minutes.")
    if task.HasField("retry_config"):
        retries.check(task.retry_config)


def check_size(stored: Any) -> None:
    """Refuse a task whose stored form is too large."""
    if stored.ByteSize() > MAX_TASK_SIZE:
        raise invalid("Task size too large.")


def _check_request(request: Any) -> None:
    if not request.url.startswith(("http://", "https://")):
        raise invalid('HttpRequest.url must start with "http://" or "https://".')
    try:
        parts = urlsplit(request.url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise invalid("HttpRequest.url must name a host.")
    if len(encoded(request.url)) > MAX_URL_LENGTH:
        raise invalid(f"HttpRequest.url must be at most {MAX_URL_LENGTH} characters long once encoded.")
    if request.body and request.http_method not in (0, *_WITH_BODY):
        raise invalid("HttpRequest.body is only allowed with POST, PUT and PATCH.")
    if sum(len(name) + len(value) for name, value in request.headers.items()) >= MAX_HEADERS_SIZE:
        raise invalid("HttpRequest.headers must be smaller than 80 KB.")
    for name, value in request.headers.items():
        if not name or any(character in name + value for character in "\r\n\0") or not (name + value).isascii():
            raise invalid(f'HttpRequest.headers has a field that cannot be sent: "{name}".')
    if request.HasField("oauth_token"):
        # Only Google can issue them, and they are for *.googleapis.com only.
        raise Refused(StatusCode.UNIMPLEMENTED, "OAuth tokens are not made here; use an oidc_token.")
    if request.HasField("oidc_token") and "@" not in request.oidc_token.service_account_email:
        raise invalid("HttpRequest.oidc_token must name a service_account_email.")
