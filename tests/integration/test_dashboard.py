"""The dashboard's login, CSRF protection and security headers; and the overview."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client, TestResponse

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, QueueUnavailable, StoreUnavailable
from tenxsom_flow_engine.jobs import Failure
from tenxsom_flow_engine.jobs.outcomes import Dead, Done
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import TICKET, VIDEO, a_claim, new
from tenxsom_flow_engine.text import ago, duration, rough_duration, usd, within
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.dashboard.filters import sentence
from tenxsom_flow_engine.web.dashboard.session import admin_token, token_file
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tenxsom_flow_engine.web.wsgi import Application
from tests.dashboard_client import TOKEN, Visitor
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def script() -> Script:
    """Scripted replacements for calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, script: Script) -> Iterator[Engine]:
    with open_scripted(load({"TENXSOM_HOME": str(tmp_path)}), clock, script) as engine:
        yield engine


def anonymous_client(engine: Engine, token: str = TOKEN) -> FlaskClient:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return dashboard_app(parts, queue_type="local", admin=token).test_client()


def session_cookie(answer: TestResponse) -> str:
    """Return the value of the session's cookie in a response to a login."""
    (found,) = (cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("flow="))
    return found.partition("=")[2].partition(";")[0]


@pytest.fixture
def visitor(engine: Engine) -> Visitor:
    return Visitor.let_in(anonymous_client(engine))


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/a", "/add", "/endpoints"])
def test_a_page_needs_the_token(engine: Engine, path: str) -> None:
    """Without a login every page redirects to the login, which then redirects to the requested page."""
    engine.store.add("local", new("a"))
    client = anonymous_client(engine)
    answer = client.get(path)
    assert answer.status_code == 303
    assert "Why the sea is salt" not in answer.text
    entered = Visitor(client).log_in(TOKEN, at=answer.headers["Location"])
    assert (entered.status_code, entered.headers["Location"]) == (303, path)
    assert client.get(path).status_code == 200


def test_a_wrong_token_opens_nothing(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong token is refused on the same page, and the attempt is logged without it."""
    caplog.set_level("INFO")
    client = anonymous_client(engine)
    answer = Visitor(client).log_in("a-wrong-token")
    assert answer.status_code == 403
    assert "not the admin token" in answer.text
    assert client.get("/").status_code == 303
    assert [record.__dict__["audit"] for record in caplog.records if "audit" in record.__dict__] == ["login refused"]
    assert "a-wrong-token" not in caplog.text


def test_strangers_cannot_keep_a_thread_busy_with_a_form(engine: Engine) -> None:
    """A long form is rejected without a login and accepted with one."""
    client = anonymous_client(engine)
    long = "n&" * 50_000
    answer = client.post("/login", data=long, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 413
    assert Visitor.let_in(client).post("/add", topics="a topic\n" * 5000, act="change").status_code == 200


@pytest.mark.parametrize("onward", ["//evil.example", "https://evil.example", "/\\evil.example", "\n/jobs", "jobs"])
def test_a_login_never_leads_to_another_site(engine: Engine, onward: str) -> None:
    """A login redirects only to pages of this site."""
    client = anonymous_client(engine)
    client.get("/login", query_string={"next": onward})
    entered = Visitor(client).log_in(TOKEN, onward=onward)
    assert entered.headers["Location"] == "/"


def test_processes_with_the_same_token_share_sessions(engine: Engine) -> None:
    """Every process with the same token accepts a session; a process with another token does not."""
    first, same, other = (anonymous_client(engine, token) for token in (TOKEN, TOKEN, "another-admin-token"))
    cookie = session_cookie(Visitor(first).log_in(TOKEN))
    for client in (same, other):
        client.set_cookie("flow", cookie)
    assert same.get("/").status_code == 200
    assert other.get("/").status_code == 303


def test_the_cookie_is_hidden_from_scripts_and_other_sites(engine: Engine) -> None:
    """The session's cookie is HttpOnly and SameSite=Strict, and Secure if the browser uses TLS."""
    for proxies, secure in (("", False), ("https", True), ("https, http", True)):
        client = anonymous_client(engine)
        client.environ_base["HTTP_X_FORWARDED_PROTO"] = proxies
        cookies = Visitor(client).log_in(TOKEN).headers.getlist("Set-Cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert ("HttpOnly" in cookie, "SameSite=Strict" in cookie, "Secure" in cookie) == (True, True, secure)


def test_strangers_get_nothing_that_depends_on_the_token(engine: Engine) -> None:
    """Without the token no client gets a cookie: its signature would tell whether a guess of the token is right."""
    client = anonymous_client(engine)
    for answer in (client.get("/login"), client.get("/"), Visitor(client).log_in("a-wrong-token")):
        assert "Set-Cookie" not in answer.headers


def test_the_names_of_the_cookies_depend_on_the_port(engine: Engine) -> None:
    """Two dashboards on one host do not overwrite each other's cookies, and no name depends on the token."""
    names = set()
    for token, host in ((TOKEN, "localhost:8090"), (TOKEN, "localhost"), ("another-admin-token", "[::1]:8090")):
        answer = anonymous_client(engine, token).post("/login", data={"token": token}, headers={"Host": host})
        names |= {cookie.partition("=")[0] for cookie in answer.headers.getlist("Set-Cookie")}
    assert names == {"flow_8090", "flow_8090_known", "flow", "flow_known"}


def test_a_session_ends_after_a_week(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session is valid for seven days, even if pages are requested all the time."""
    began = time.time()
    for days, status in ((6.9, 200), (7.1, 303)):
        monkeypatch.setattr(time, "time", lambda now=began + days * 86400: now)
        assert visitor.client.get("/").status_code == status


@pytest.mark.parametrize("path", ["/queue/pause", "/services/draft/pause", "/logout"])
@pytest.mark.parametrize("token", ["", "made-up"])
def test_a_change_needs_a_form_of_ours(visitor: Visitor, engine: Engine, path: str, token: str) -> None:
    """A change without the session's CSRF token is refused and has no effect."""
    assert visitor.client.post(path, data={"csrf": token}).status_code == 400
    assert not engine.queue.status().paused
    assert visitor.client.get("/").status_code == 200


def test_pages_loaded_in_parallel_share_the_csrf_token(engine: Engine) -> None:
    """The forms of two pages that were loaded in parallel after the login both work."""
    client = anonymous_client(engine)
    cookie = session_cookie(Visitor(client).log_in(TOKEN))
    pages = []
    for _ in range(2):
        client.set_cookie("flow", cookie)
        pages.append(client.get("/").text)
    for page in pages:
        assert Visitor(client).post("/queue/resume", page=page).status_code == 303


def test_a_refresh_in_another_tab_does_not_consume_a_message(visitor: Visitor) -> None:
    """The message about a change appears on the next page, even if a script refreshes another page first."""
    visitor.post("/queue/pause")
    assert "The queue is paused: waiting jobs" not in visitor.client.get("/", headers={"X-Live": "yes"}).text
    assert "The queue is paused: waiting jobs" in visitor.client.get("/").text


def test_the_audit_log_separates_the_address_from_the_forwarded_header(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """A line about a change has the address of the connection, and in another field the `X-Forwarded-For` header."""
    caplog.set_level("INFO")
    visitor.client.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.9"
    visitor.post("/queue/pause")
    (line,) = (record.__dict__ for record in caplog.records if "audit" in record.__dict__)
    assert (line["from"], line["forwarded_for"]) == ("127.0.0.1", "203.0.113.9")


def test_logging_out_ends_the_session(engine: Engine) -> None:
    """After a logout every process refuses the session, also with a copy of its cookie; other sessions continue."""
    client, other, copy = (anonymous_client(engine) for _ in range(3))
    cookie = session_cookie(Visitor(client).log_in(TOKEN))
    Visitor(other).log_in(TOKEN)
    copy.set_cookie("flow", cookie)
    assert copy.get("/").status_code == 200
    assert Visitor(client).post("/logout").headers["Location"] == "/login"
    assert client.get("/").status_code == 303
    assert copy.get("/").headers["Location"] == "/login?next=/"
    assert copy.post("/queue/pause").status_code == 303
    assert not engine.queue.status().paused
    assert other.get("/").status_code == 200


def test_a_page_needs_the_store_to_know_its_session(engine: Engine) -> None:
    """While the store is unavailable, nobody is logged in: pages are a 503, and the login form still opens."""

    def unavailable() -> OpenRuntime:
        raise StoreUnavailable("no answer")

    cookie = session_cookie(Visitor(anonymous_client(engine)).log_in(TOKEN))
    client = dashboard_app(WorkerRuntime(unavailable), queue_type="local", admin=TOKEN).test_client()
    assert client.get("/login").status_code == 200
    client.set_cookie("flow", cookie)
    page = client.get("/")
    assert (page.status_code, "no answer" in page.text, "Log out" in page.text) == (503, True, False)


def test_guesses_of_the_token_are_limited(engine: Engine) -> None:
    """After ten wrong tokens an address has to wait; other addresses, and browsers that were logged in, do not."""
    client, known = anonymous_client(engine), None
    known = client.application.test_client()
    Visitor(known).log_in(TOKEN)
    Visitor(known).post("/logout")
    statuses = [Visitor(client).log_in("a-wrong-token").status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    refused = Visitor(client).log_in(TOKEN)
    assert (refused.status_code, "Too many wrong tokens" in refused.text) == (429, True)
    assert 50 < int(refused.headers["Retry-After"]) <= 60
    assert Visitor(known).log_in(TOKEN).status_code == 303
    client.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.9"
    assert Visitor(client).log_in(TOKEN).status_code == 303


def test_right_logins_are_not_limited(engine: Engine) -> None:
    """Any number of logins with the right token is accepted."""
    client = anonymous_client(engine)
    for _ in range(30):
        assert client.post("/login", data={"token": TOKEN}).status_code == 303
        client = client.application.test_client()


def test_pages_load_only_our_files(visitor: Visitor, engine: Engine) -> None:
    """No page contains an inline script or style or loads one from another site, and the policy forbids both."""
    engine.store.add("local", new("a"))
    for path in ("/", "/jobs", "/jobs/a", "/add", "/endpoints", "/jobs/none"):
        answer = visitor.client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)
        for address in re.findall(r'\b(?:src|href|action)="([^"]*)"', answer.text):
            assert address.startswith(("/", "#")), address
        static = re.findall(r'"(/static/[^"]*)"', answer.text)
        assert static
        for address in static:
            with visitor.client.get(address) as file:
                assert (file.status_code, "max-age=31536000" in file.headers["Cache-Control"]) == (200, True)


def test_the_menu_marks_the_current_view(visitor: Visitor, engine: Engine) -> None:
    """The menu marks the current view; on a job's page it marks the list of jobs."""
    engine.store.add("local", new("a"))
    for path, marked in {
        "/": 'page">Overview',
        "/jobs": 'page">Jobs',
        "/jobs/a": 'true">Jobs',
        "/add": 'page">Add',
        "/endpoints": 'page">Events',
    }.items():
        assert re.findall(r'aria-current="(.*?)<', visitor.client.get(path).text)[0] == marked


def test_topics_are_escaped(visitor: Visitor, engine: Engine) -> None:
    """HTML in a topic is shown as text and not executed."""
    engine.store.add("local", new("a", topic="<script>alert(1)</script>", service="draft", due=9e9))
    assert "&lt;script&gt;alert(1)" in visitor.client.get("/").text
    assert "<script>alert" not in visitor.client.get("/").text + visitor.client.get("/jobs").text


def test_the_overview_without_jobs_says_how_to_add_one(visitor: Visitor) -> None:
    """Without jobs, the overview explains how to add the first one."""
    page = visitor.client.get("/").text
    assert "No jobs yet" in page
    assert "docs/cli.md" in page


def test_the_overview_shows_the_state(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """The overview shows the verdict, the counts, the jobs planned for today, the last error and the next jobs."""
    now = clock.now()
    engine.store.add("local", new("broken", service="draft"))
    lease = engine.store.claim(a_claim(slots={"draft": 9})).records[0].lease_token
    engine.store.settle("broken", lease, Dead(Failure("rejected", "the service said no")))
    engine.store.add("local", new("tomorrow", topic="How tides work", service="draft", due=now + 86400.0 * 2))
    engine.store.add("local", new("soon", topic="Why cats purr", service="draft", due=now + 5.0))
    page = visitor.client.get("/").text
    assert "No jobs yet" not in page
    assert re.search(r"Failed</span><span class=\"value\">1<", page)
    assert "the service said no" in page
    assert page.index("Why cats purr") < page.index("How tides work")
    planned = 2 if now % 86400 < 86395 else 1
    assert f"of {planned} planned" in page


def test_a_rehearsal_is_shown_when_it_was_used(engine: Engine, visitor: Visitor) -> None:
    """The overview shows configured services; one that only makes rehearsals is shown after its first use."""

    def shown() -> list[str]:
        return re.findall(r'aria-labelledby="service-(\w+)"', visitor.client.get("/").text)

    assert shown() == ["draft", "all"]
    engine.store.add("local", new("a", service="simulated"))
    record = engine.store.claim(a_claim(slots={"simulated": 9})).records[0]
    engine.store.intend(
        "a", record.lease_token, Intent(submission_id="a", service="simulated", lifetime=99.0, max_in_flight=9)
    )
    engine.store.accept("a", Receipt(submission_id="a", ticket=TICKET, lifetime=99.0))
    engine.store.settle("a", record.lease_token, Done(VIDEO))
    assert shown() == ["draft", "simulated", "all"]


def test_the_latest_videos_are_shown(visitor: Visitor, engine: Engine) -> None:
    """The overview shows the newest videos whose files still exist, each with its thumbnail."""
    for name in ("shown", "gone"):
        folder = engine.settings.work_dir / name
        folder.mkdir(parents=True)
        (folder / "thumbnail.jpg").write_bytes(b"a picture")
        engine.store.add("local", new(name, service="draft", topic=f"The video {name}"))
        record = engine.store.claim(a_claim(slots={"draft": 9})).records[0]
        engine.store.intend(
            name, record.lease_token, Intent(submission_id=name, service="draft", lifetime=99.0, max_in_flight=9)
        )
        engine.store.accept(name, Receipt(submission_id=name, ticket=TICKET, lifetime=99.0))
        engine.store.settle(
            name, record.lease_token, Done(msgspec.structs.replace(VIDEO, path=str(folder / "video.mp4")))
        )
    (engine.settings.work_dir / "gone" / "thumbnail.jpg").unlink()
    page = visitor.client.get("/").text
    assert "The video shown" in page
    assert "The video gone" not in page
    with visitor.client.get("/jobs/shown/thumbnail") as thumbnail:
        assert thumbnail.data == b"a picture"


def test_the_queue_is_paused_and_resumed(visitor: Visitor, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The button pauses the queue for all workers, then offers to resume it; each change is logged."""
    caplog.set_level("INFO")
    visitor.client.get("/")
    assert visitor.post("/queue/pause").status_code == 303
    assert engine.queue.status().paused
    page = visitor.client.get("/").text
    assert "Resume the queue" in page
    assert 'headline">The queue is paused' in page
    visitor.post("/queue/resume")
    assert not engine.queue.status().paused
    assert "Pause the queue" in visitor.client.get("/").text
    audited = [record.__dict__["audit"] for record in caplog.records if "audit" in record.__dict__]
    assert audited == ["queue paused", "queue resumed"]


def test_a_queue_that_cannot_be_paused(visitor: Visitor, script: Script) -> None:
    """If the queue cannot be paused, the page shows the reason and the next step."""

    def unavailable(real: Callable[[], None]) -> None:
        raise QueueUnavailable("pausing the queue failed", next_step="try again")

    script.instead["pause"] = unavailable
    visitor.post("/queue/pause")
    assert "pausing the queue failed (try again)" in visitor.client.get("/").text


def test_a_service_is_paused_and_resumed(visitor: Visitor, engine: Engine) -> None:
    """A service's button pauses and resumes it; an unknown service is refused."""
    visitor.post("/services/draft/pause")
    assert "draft was paused by an operator" in visitor.client.get("/").text
    visitor.post("/services/draft/resume")
    assert "draft was paused by an operator" not in visitor.client.get("/").text
    assert visitor.post("/services/unknown/pause").status_code == 400


def test_a_token_is_generated_once_and_private(tmp_path: Path) -> None:
    """Processes that start together without a token share a generated one, which only its owner can read."""
    settings = load({"TENXSOM_HOME": str(tmp_path / "home")})
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: admin_token(settings), range(32)))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 32
    assert stat.S_IMODE(token_file(settings).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["admin-token"]


def test_a_set_token_wins_and_is_never_shown(tmp_path: Path) -> None:
    """A token from the environment is used unchanged, creates no file, and is masked in the log."""
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_ADMIN_TOKEN": "x" * 16})
    assert admin_token(settings) == "x" * 16
    assert list(tmp_path.iterdir()) == []
    assert "x" * 16 in settings.secrets
    assert "x" * 16 not in repr(settings)


def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    """A short token, an empty token file and an unwritable home are errors with a next step."""
    with pytest.raises(ConfigurationError, match="at least 16 characters"):
        load({"TENXSOM_ADMIN_TOKEN": "secret"})
    (tmp_path / "admin-token").touch(mode=0o600)
    with pytest.raises(ConfigurationError, match="contains no token"):
        admin_token(load({"TENXSOM_HOME": str(tmp_path)}))
    with pytest.raises(ConfigurationError, match="cannot be stored"):
        admin_token(load({"TENXSOM_HOME": str(tmp_path / "admin-token")}))


def test_a_worker_without_a_token_works(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If no token can be stored, the worker still runs; the dashboard stays closed, and the log has the reason."""
    (tmp_path / "admin-token").touch(mode=0o600)
    worker = Client(Application(load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "cloud_tasks"})))
    assert worker.get("/health").status_code == 200
    assert worker.get("/").status_code == 303
    assert "the dashboard cannot be opened" in caplog.text


def test_a_dashboard_process_takes_no_deliveries(engine: Engine) -> None:
    """A dashboard process has the public routes of a worker, but no route for deliveries."""
    client = anonymous_client(engine)
    assert client.get("/health").get_json()["queue_type"] == "local"
    assert client.get("/ready").get_json()["status"] == "ready"
    assert client.get("/stats").status_code == client.get("/metrics").status_code == 200
    assert client.post("/process").status_code == 404


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"),
     (86400, "1 day"), (2 * 86400 + 4 * 3600 + 59, "2 days 4 h")],
)  # fmt: skip
def test_lengths_of_time(seconds: float | None, words: str) -> None:
    """A duration is written in its two largest units."""
    assert duration(seconds) == words


def test_words() -> None:
    """Relative times, amounts and sentences are written in one form."""
    assert [ago(at) for at in (2, 61, 7300, 200000)] == ["just now", "1 min ago", "2 h ago", "2 days ago"]
    assert [within(at) for at in (0, 30, 86400)] == ["now", "in 30 s", "in 1 day"]
    assert [usd(at) for at in (None, 0, 0.001, 1234.5)] == ["–", "$0.00", "$0.0010", "$1,234.50"]
    assert [rough_duration(at) for at in (0, 59, 2000, 90000)] == ["0 s", "59 s", "33 min", "1 day"]
    assert [sentence(text, ["ltx_studio"]) for text in ("ltx_studio rests", "all is well")] == [
        "ltx_studio rests", "All is well"
    ]  # fmt: skip


def test_an_unknown_address_is_a_page_in_a_browser(engine: Engine) -> None:
    """A browser gets a page for an unknown address, with the headers of every page; a program gets JSON."""
    client = anonymous_client(engine)
    page = client.get("/zzz", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "Back to overview" in page.text
    assert page.headers["Content-Security-Policy"] == client.get("/login").headers["Content-Security-Policy"]
    assert client.get("/zzz").get_json()["error"]["code"] == "not_found"
