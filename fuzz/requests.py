"""Mutated HTTP requests to the web worker."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlencode

from fuzz.deliveries import delivery
from fuzz.json_values import NUMBERS, TEXTS, damage, mutate
from fuzz.subject import Subject
from fuzz.web_worker import ADMIN, KEY, WebWorker
from tests.dashboard_client import Visitor

#: The last request on each connection: the server answers it unless it had to close the connection.
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
#: Seconds without an answer after which a client leaves. Whether the server was slow changes no result.
PATIENCE = 0.02
#: Seconds after which the server counts as hanging.
STUCK = 60.0
#: Statuses that are right for bad input although they are 5xx: an unknown transfer coding (RFC 9112, section 6.1).
FINE = frozenset({501})
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [A-Za-z]")

OPEN_PATHS = (
    "/health",
    "/ready",
    "/stats",
    "/metrics",
    "/login",
    "/static/style.css",
    "/static/live.js",
    "/static/icon.svg",
)
PAGES = (
    "/",
    "/jobs",
    "/add",
    "/bulk",
    "/jobs/job-1",
    "/jobs/job-1/retry",
    "/jobs/job-1/captions.vtt",
    "/jobs/job-1/video.mp4",
)
ACTIONS = (
    "/jobs/job-1/retry", "/jobs/job-1/cancel", "/jobs/job-1/resubmit", "/jobs/job-1/give-up", "/jobs/job-1/ticket",
    "/services/simulated/pause", "/services/simulated/resume", "/services/nosuch/pause", "/queue/pause",
    "/queue/resume", "/bulk", "/add", "/logout",
)  # fmt: skip
ODD_PATHS = (
    "*", "//", "///etc/passwd", "/../../etc/passwd", "/static/../../settings.py", "/static/%2e%2e/%2e%2e/app.py",
    "/.git/config", "/jobs/%00", "/jobs/%ff%fe", "/jobs/..%2f..%2fetc", "/jobs/" + "a" * 5000, "/health/", "/HEALTH",
    "/process/", "http://evil.test/", "http://", "http://[::1", "https://localhost:99999/health", "localhost:80",
    "/?" + "a=1&" * 3000, "/%", "/%zz", "/\x7f", "/é", "", "/jobs?status=" + "x" * 3000, "/health#fragment", "/;/",
    "/\\", "/jobs/<script>", "/process?alt=json", "/socket.io/",
)  # fmt: skip
FIELDS = (
    "status",
    "service",
    "channel",
    "text",
    "after",
    "from",
    "to",
    "act",
    "topic",
    "page",
    "next",
    "queue",
    "days",
    "all",
    "id",
)
METHODS = (
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "G T",
    "",
    "A" * 300,
    "\x00",
)
VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/1.10",
    "HTTP/9.9",
    "http/1.1",
    "HTTP/",
    "",
    "HTTP/1.1 x",
    "FTP/1.1",
)
TYPES = (
    "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "multipart/form-data",
    "application/json; charset=utf-16", "application/json; charset=nosuch", "text/plain", "", "/", ";", "a" * 3000,
    "multipart/form-data; boundary=" + "b" * 300, "application/x-www-form-urlencoded; charset=utf-7",
)  # fmt: skip
ODD_HEADERS = (
    ("Host", "evil.test"), ("Host", ""), ("Host", "a:b:c"), ("Host", "[::1"), ("Host", "x" * 3000),
    ("Host", "localhost, localhost"), ("Accept", "text/html"), ("Accept", "text/html;q=nan, */*;q=-1"),
    ("Accept", "," * 2000), ("Accept-Encoding", "gzip;q=x"), ("Accept-Language", "\xff\xfe"), ("Range", "bytes=0-"),
    ("Range", "bytes=-1,5-2,99999999999999999999-"), ("Range", "bites=1"), ("Range", "bytes=" + "0-1," * 1000),
    ("If-Range", "\xff"), ("If-None-Match", '"' * 500), ("If-Modified-Since", "yesterday"),
    ("If-Modified-Since", "Mon, 99 Foo 99999 99:99:99 GMT"), ("Expect", "100-continue"), ("Expect", "200-ok"),
    ("Upgrade", "websocket"), ("Upgrade", "h2c"), ("Connection", "keep-alive, Upgrade, HTTP2-Settings"),
    ("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"),
    ("Transfer-Encoding", "identity"), ("Transfer-Encoding", "\x0bchunked"), ("Transfer-Encoding", "chunked, chunked"),
    ("Content-Length", "0"), ("Content-Length", "-1"), ("Content-Length", "+5"), ("Content-Length", "0x10"),
    ("Content-Length", "5, 5"), ("Content-Length", "1e3"), ("Content-Length", "9" * 30),
    ("Content-Length", "9" * 5000), ("Content-Length", "\u00b2"), ("Content-Encoding", "gzip"),
    ("X-Forwarded-For", "1.2.3.4, " * 500), ("X-Forwarded-For", "\x9b31m"), ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "e.test"), ("X-Forwarded-Prefix", "/evil"), ("Forwarded", "for=_x;proto=gopher"),
    ("SCRIPT_NAME", "/health"), ("Script-Name", "/x"), ("PATH_INFO", "/process"), ("REMOTE_USER", "admin"),
    ("X-CloudTasks-TaskName", "t"), ("X-CloudTasks-TaskRetryCount", "\u00b3"),
    ("X-CloudTasks-TaskRetryCount", "9" * 6000), ("X-CloudTasks-TaskExecutionCount", "-1"), ("X-Live", "1"),
    ("X-HTTP-Method-Override", "X"), ("Cookie", "flow=" + "x" * 4000), ("Cookie", ";;;=;=a;\xff"),
    ("Cookie", "flow=.eJwx.x.y"), ("Authorization", "Basic Og=="), ("Authorization", "Bearer"),
    ("Authorization", "Bearer a.b.c"), ("Authorization", "\xff" * 50), ("Origin", "null"),
    ("Referer", "javascript:alert(1)"), ("User-Agent", "\x1b[2J"), ("Date", "x"), ("X" * 3000, "1"), ("a b", "1"),
    ("", "1"), ("X-A:", ""), ("X-B", "a\r\n folded"), ("X-C", "a\nX-D: b"), ("X-E", "\0"), ("X-F", "a" * 70_000),
    ("\u00e9", "1"), ("TE", "trailers"),
)  # fmt: skip


@dataclass
class Parts:
    """A request before it is written."""

    method: str
    path: str
    version: str = "HTTP/1.1"
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Host", "localhost")])
    body: bytes = b""
    chunked: bool = False
    #: A `Content-Length` that is not that of the body.
    length: int | None = None

    def raw(self) -> bytes:
        """Return the bytes of the request."""
        headers, body = list(self.headers), self.body
        if self.chunked:
            half = len(body) // 2
            pieces = [piece for piece in (body[:half], body[half:]) if piece]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            headers.append(("Transfer-Encoding", "chunked"))
        elif body or self.method == "POST" or self.length is not None:
            headers.append(("Content-Length", str(len(body) if self.length is None else self.length)))
        head = "".join(
            [f"{self.method} {self.path} {self.version}\r\n", *(f"{n}: {v}\r\n" for n, v in headers), "\r\n"]
        )
        return head.encode("utf-8", "replace") + body


@dataclass(frozen=True)
class Sent:
    """A request to send, and whether it carries a genuine token or session."""

    raw: bytes
    proven: bool


class Requests(Subject):
    """Requests: no 5xx, no traceback, no secret in an answer; and only a genuine token or session adds a job."""

    name = "requests"
    count, few = 27_000, 200

    def __enter__(self) -> Self:
        self._worker = WebWorker(serve=True)
        self._worker.__enter__()
        visitor = Visitor.let_in(self._worker.app.test_client(), ADMIN)
        cookie = visitor.client.get_cookie("flow")
        found = re.search(r'name="csrf" value="([^"]*)"', visitor.client.get("/").text)
        assert cookie
        assert found
        self._session, self._csrf = f"flow={cookie.value}", found[1]
        authorization = {"Authorization": f"Bearer {self._worker.token}"}
        for number in (1, 2, 3):
            body = delivery(f"job-{number}", random.Random(number))
            done = visitor.client.post("/process", data=body, content_type="application/json", headers=authorization)
            assert done.status_code == 200, done.text
        self._worker.log.take()
        self._secrets = [secret.encode() for secret in (ADMIN, KEY, self._worker.token, cookie.value)]
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.__exit__(*exception)

    def make(self, draw: random.Random) -> Sent:
        requests, proven = [], False
        for _ in range(draw.choice((1, 1, 1, 1, 1, 1, 2, 3))):
            parts, genuine = draw.choice(
                (self._open, self._page, self._action, self._login, self._process, self._process)
            )(draw)
            proven |= genuine
            for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
                draw.choice(MUTATIONS)(parts, draw)
            requests.append(parts.raw())
        raw = b"".join(requests)
        return Sent(damage(raw, draw) if draw.random() < 0.08 else raw, proven)

    def accepts(self, made: Any) -> bool:
        jobs = self._worker.jobs
        answer = self._exchange(made.raw + LAST)
        if not answer:
            assert self._exchange(LAST).startswith(b"HTTP/1.1 200"), "the server does not answer any more"
        self._worker.settle()
        log = self._worker.log.take()
        statuses = [int(status) for status in _STATUS.findall(answer)]
        failed = [status for status in statuses if status >= 500 and status not in FINE]
        assert not failed, f"responses {statuses}:\n{log}\n{answer[:2000]!r}"
        assert "Traceback" not in log, log
        # A job with a forged ticket fails, which is logged as an error: a person must act on it.
        errors = [line for line in log.splitlines() if line.startswith("ERROR") and ": failed: ticket:" not in line]
        assert not errors, log
        leaked = [secret for secret in self._secrets if secret in answer or secret.decode() in log]
        assert not leaked, f"the answer or the log has a secret: {leaked[0]!r}"
        assert made.proven or self._worker.jobs == jobs, "a request without a token or session added a job"
        return bool(statuses) and all(status < 400 for status in statuses)

    def _exchange(self, raw: bytes) -> bytes:
        """Send requests on a new connection, and return all that the server answers."""
        answer = b""
        # The server can refuse a request, and close the connection, before it has received all of it.
        with suppress(ConnectionError), socket.create_connection(self._worker.address, timeout=STUCK) as client:
            client.sendall(raw)
            client.settimeout(PATIENCE)
            try:
                while received := client.recv(1 << 20):
                    answer += received
            except TimeoutError:  # the server waits for the rest of a request, or is slow
                client.shutdown(socket.SHUT_WR)
                client.settimeout(STUCK)
                while received := client.recv(1 << 20):
                    answer += received
        return answer

    def _open(self, draw: random.Random) -> tuple[Parts, bool]:
        return Parts("GET", draw.choice(OPEN_PATHS)), False

    def _page(self, draw: random.Random) -> tuple[Parts, bool]:
        parts = Parts("GET", draw.choice(PAGES))
        return parts, self._sign(parts, draw)

    def _action(self, draw: random.Random) -> tuple[Parts, bool]:
        """Return a form of the dashboard, sometimes with a genuine session and CSRF token."""
        parts = Parts("POST", draw.choice(ACTIONS if draw.random() < 0.9 else ACTIONS[:-1]))
        genuine = parts.path != "/logout" and self._sign(parts, draw)
        fields = {"csrf": self._csrf if genuine or draw.random() < 0.2 else draw.choice(TEXTS)}
        for name in draw.sample(
            (*FIELDS, "topics", "duration", "service", "planned_at", "salt", "digest", "ticket", "count"), 5
        ):
            fields[name] = str(
                draw.choice((*TEXTS[:-8], *NUMBERS, "add", "plan", "1", "5", "job-1", "How tides work", "simulated"))
            )
        parts.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        parts.body = urlencode(fields, errors="replace").encode()
        return parts, genuine

    def _login(self, draw: random.Random) -> tuple[Parts, bool]:
        token = draw.choice((*TEXTS, ADMIN[:-1], ADMIN.upper()))
        body = urlencode(
            {"token": token, "next": draw.choice((*TEXTS, "//evil.test", "/\\evil.test", "/jobs"))}, errors="replace"
        )
        parts = Parts("POST", "/login", body=body.encode())
        parts.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        return parts, False

    def _process(self, draw: random.Random) -> tuple[Parts, bool]:
        genuine = draw.random() < 0.4
        token = (
            self._worker.token
            if genuine
            else draw.choice(("a.b.c", self._worker.token[:-4], self._worker.token[:-9] + "AAAAAAAAA"))
        )
        parts = Parts("POST", "/process")
        parts.headers += [("Content-Type", "application/json"), ("Authorization", f"Bearer {token}")]
        body = delivery(f"job-{draw.randrange(10**9)}", draw)
        parts.body = draw.choice((mutate, mutate, damage, lambda body, draw: body))(body, draw)
        return parts, genuine

    def _sign(self, parts: Parts, draw: random.Random) -> bool:
        """Add a cookie, a genuine one or not; return whether it is genuine."""
        genuine = draw.random() < 0.5
        forged = self._session[:-3] + "abc"
        parts.headers.append(
            ("Cookie", self._session if genuine else draw.choice((forged, "flow=x", self._session.upper())))
        )
        return genuine


def _change_method(parts: Parts, draw: random.Random) -> None:
    parts.method = draw.choice(METHODS)


def _change_path(parts: Parts, draw: random.Random) -> None:
    parts.path = draw.choice(
        (*ODD_PATHS, parts.path + "/", parts.path.upper(), "/" + parts.path, parts.path.replace("/", "%2f"))
    )


def _add_query(parts: Parts, draw: random.Random) -> None:
    names = draw.choices(FIELDS, k=draw.randint(1, 4))
    pairs = "&".join(f"{name}={quote(str(draw.choice((*TEXTS, *NUMBERS))), errors='replace')}" for name in names)
    parts.path += "?" + draw.choice((pairs, "&" * 200, "=", "%ff=%ff", "a[]=1", pairs[:60_000]))


def _change_version(parts: Parts, draw: random.Random) -> None:
    parts.version = draw.choice(VERSIONS)


def _add_headers(parts: Parts, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        parts.headers.insert(draw.randint(0, len(parts.headers)), draw.choice(ODD_HEADERS))


def _many_headers(parts: Parts, draw: random.Random) -> None:
    parts.headers += [(f"X-{number}", "1") for number in range(draw.choice((50, 500, 3000)))]


def _change_header(parts: Parts, draw: random.Random) -> None:
    number = draw.randrange(len(parts.headers))
    name, value = parts.headers[number]
    value = draw.choice((value * 2, value.lower(), "", draw.choice(TEXTS), value[: len(value) // 2]))
    parts.headers[number] = (draw.choice((name, name.upper(), name.replace("-", "_"), f" {name}", f"{name} ")), value)


def _remove_header(parts: Parts, draw: random.Random) -> None:
    if len(parts.headers) > 1:
        del parts.headers[draw.randrange(len(parts.headers))]


def _change_type(parts: Parts, draw: random.Random) -> None:
    parts.headers = [(name, value) for name, value in parts.headers if name != "Content-Type"]
    parts.headers.append(("Content-Type", draw.choice(TYPES)))


def _change_body(parts: Parts, draw: random.Random) -> None:
    body = parts.body or b"a=1"
    long = b"a" * draw.choice((20_000, 300_000))
    multipart = b'--b\r\nContent-Disposition: form-data; name="topics"; filename="\xff"\r\n\r\n' + body + b"\r\n--b--"
    encoded = gzip.compress(body, mtime=0)
    changes = (
        damage(body, draw),
        b"",
        long,
        multipart,
        encoded,
        body * 3,
        json.dumps("\ud800").encode(),
        b"csrf=" * 2000,
    )
    parts.body = draw.choice(changes)


def _change_length(parts: Parts, draw: random.Random) -> None:
    parts.length = draw.choice((0, 1, max(0, len(parts.body) - 1), len(parts.body) + 7, 2_000_000))


def _chunk(parts: Parts, draw: random.Random) -> None:
    parts.chunked = True


MUTATIONS: tuple[Callable[[Parts, random.Random], None], ...] = (
    _change_method, _change_path, _change_path, _add_query, _add_query, _change_version, _add_headers, _add_headers,
    _add_headers, _add_headers, _change_header, _remove_header, _change_type, _change_body, _change_body, _chunk,
    _many_headers, _change_length,
)  # fmt: skip
