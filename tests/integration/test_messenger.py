"""Workers deliver messages in the background: webhooks, the command for finished videos, and alerts."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, signing
from tenxsom_flow_engine.events.endpoints import ON_VIDEO
from tenxsom_flow_engine.events.incidents import OVER_AFTER, Finding
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.notifiers.alert import AlertNotifier
from tenxsom_flow_engine.notifiers.base import Answer, Notifier
from tenxsom_flow_engine.notifiers.command import CommandNotifier
from tenxsom_flow_engine.notifiers.delivery import CHECK_AGAIN, deliver
from tenxsom_flow_engine.notifiers.incidents import update_incidents
from tenxsom_flow_engine.notifiers.messenger import COMMAND_KEPT, Messenger
from tenxsom_flow_engine.notifiers.webhook import WebhookNotifier
from tenxsom_flow_engine.operations import endpoints
from tenxsom_flow_engine.report.query import findings
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, new
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance
from tenxsom_flow_engine.workers.pull import PullWorker
from tests.contract.store_suite.shared import finished
from tests.http_target import Reply, ScriptedTarget

#: A library of Apprise imports a deprecated module of Python 3.11 and 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
#: Seconds after which something counts as stuck.
STUCK = 60.0
WEBHOOKS: Mapping[str, Notifier] = {EndpointKind.WEBHOOK: WebhookNotifier(allow_private=True)}
NO_WORKER = Finding(code="no-worker", level="problem", subject="", text="no worker is alive", see="docs#no-worker")


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock)) as store:
        yield store


@pytest.fixture
def receivers() -> Iterator[Callable[[], ScriptedTarget]]:
    made: list[ScriptedTarget] = []

    def make() -> ScriptedTarget:
        made.append(ScriptedTarget())
        return made[-1]

    yield make
    for one in made:
        one.close()


def add_webhook(store: JobStore, url: str, endpoint_id: str = "we_1") -> Endpoint:
    endpoint = Endpoint(id=endpoint_id, kind=EndpointKind.WEBHOOK, url=url, secret=signing.new_secret())
    assert store.swap_endpoint(None, endpoint)
    return endpoint


def running(store: JobStore, owner: str, notifiers: Mapping[str, Notifier] = WEBHOOKS) -> Messenger:
    messenger = Messenger(store, notifiers, lambda: owner, Timings(endpoint_check=0.05))
    threading.Thread(target=messenger.run, daemon=True).start()
    return messenger


def an_engine(folder: Path, clock: ManualClock, **variables: str) -> Engine:
    environment = {"TENXSOM_HOME": str(folder), "TENXSOM_QUEUE_TYPE": "local", **variables}
    return open_engine(load(environment), clock=clock, services={})


def until(condition: Callable[[], Any]) -> None:
    for _ in range(int(STUCK / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen")


def test_a_slow_endpoint_delays_no_other(
    store: SQLiteStore, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """While one receiver does not answer, another gets its messages."""
    slow, fast, answers = receivers(), receivers(), threading.Event()
    add_webhook(store, slow.url, "we_slow")
    add_webhook(store, fast.url, "we_fast")
    slow.answer(*[Reply(held=answers)] * 8)
    messenger = running(store, "one")
    for number in range(3):
        finished(store, f"job-{number}", Status.CANCELLED)
        assert fast.started.acquire(timeout=STUCK)
    assert slow.started.acquire(timeout=STUCK)
    answers.set()
    messenger.end()


def test_one_process_delivers_and_another_continues(
    store: SQLiteStore, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """Of two processes one sends a message, once; after its end the other one sends."""
    receiver = receivers()
    add_webhook(store, receiver.url)
    messengers = {name: running(store, name) for name in ("one", "two")}
    finished(store, "a", Status.CANCELLED)
    assert receiver.started.acquire(timeout=STUCK)
    until(lambda: store.delivery_counts("we_1") == {DeliveryState.DELIVERED: 1})
    owner = store.lock_owner("messages:we_1")
    assert owner is not None
    messengers[owner].end()
    messengers[owner].release()
    finished(store, "b", Status.CANCELLED)
    assert receiver.started.acquire(timeout=STUCK)
    until(lambda: store.delivery_counts("we_1") == {DeliveryState.DELIVERED: 2})
    assert len(receiver.received) == 2
    for one in messengers.values():
        one.end()


def test_a_worker_that_ends_delivers_the_last_messages(
    tmp_path: Path, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """A burst run, as cron starts it, ends after the messages about its jobs were sent."""
    receiver = receivers()
    with an_engine(tmp_path, clock, TENXSOM_ALLOW_PRIVATE_WEBHOOKS="1") as engine:
        endpoint = endpoints.add_webhook(engine, receiver.url, "job.*")
        finished(engine.store, "a", Status.CANCELLED)
        PullWorker(engine, concurrency=1, burst=True, findings=findings).run()
    (request,) = receiver.received
    assert Webhook(endpoint.secret).verify(request.body, dict(request.headers))["data"]["job_id"] == "a"


def test_links_lead_to_the_web_worker(tmp_path: Path, clock: ManualClock) -> None:
    """With the address of the web worker, the link to a video is a whole address."""
    with an_engine(tmp_path, clock, CLOUD_TASKS_WORKER_URL="https://flow.example.org/") as engine:
        endpoint = endpoints.add_webhook(engine, "https://example.org/")
        finished(engine.store, "a", Status.SUCCEEDED)
        body = json.loads(engine.store.deliveries(endpoint.id, 1)[0].message.body)
    address, _, signature = body["data"]["video"]["href"].partition("?")
    assert (address, bool(signature)) == ("https://flow.example.org/api/v1/jobs/a/video", True)


def test_a_test_message_is_sent_at_once(
    tmp_path: Path, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """A test reports the answer of the receiver; it is signed like every message."""
    receiver = receivers()
    with an_engine(tmp_path, clock, TENXSOM_ALLOW_PRIVATE_WEBHOOKS="1") as engine:
        endpoint = endpoints.add_webhook(engine, receiver.url)
        receiver.answer(204, 500)
        answers = [endpoints.send_test(engine, endpoint.id, EndpointKind.WEBHOOK) for _ in range(2)]
    assert [(one.ok, one.text) for one in answers] == [(True, "HTTP 204"), (False, "HTTP 500")]
    first = receiver.received[0]
    assert Webhook(endpoint.secret).verify(first.body, dict(first.headers))["type"] == "test.sent"


SAVES_ITS_INPUT = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


def test_a_command_gets_each_finished_video(tmp_path: Path, clock: ManualClock) -> None:
    """A worker with TENXSOM_ON_VIDEO runs the command for each finished video, from its start on."""
    jobs = tmp_path / "jobs"
    command = f'{sys.executable} -c "{SAVES_ITS_INPUT}" {jobs}'
    with an_engine(tmp_path, clock, TENXSOM_ON_VIDEO=command) as engine:
        finished(engine.store, "before", Status.SUCCEEDED)
        maintenance = WorkerMaintenance(engine, concurrency=1)
        maintenance.start()
        finished(engine.store, "failed", Status.FAILED)
        record = finished(engine.store, "made", Status.SUCCEEDED)
        until(lambda: engine.store.delivery_counts(ON_VIDEO) == {DeliveryState.DELIVERED: 1})
        maintenance.end()
    (job,) = map(json.loads, jobs.read_text().splitlines())
    assert record.result is not None
    assert (job["job_id"], job["status"], job["video"]["path"]) == ("made", "succeeded", record.result.path)


def test_a_command_that_fails_is_repeated(store: SQLiteStore, clock: ManualClock, tmp_path: Path) -> None:
    """An exit code other than 0 is a failure, with its last line of errors; the next attempt gets the same input."""
    seen = tmp_path / "seen"
    script = (
        "import sys, pathlib; seen = pathlib.Path(sys.argv[1]); first = not seen.exists();"
        " seen.open('a').write(sys.stdin.read() + chr(10)); sys.exit('no\\nspace left' if first else 0)"
    )
    notifier = CommandNotifier((sys.executable, "-c", script, str(seen)))
    endpoint = Endpoint(id=ON_VIDEO, kind=EndpointKind.COMMAND)
    assert store.swap_endpoint(None, endpoint)
    finished(store, "a", Status.SUCCEEDED)
    health = deliver(store, endpoint, notifier)
    assert health is not None
    assert health.attempts[0].answer == "exit code 1: space left"
    clock.advance(10)
    deliver(store, endpoint, notifier)
    first, second = seen.read_text().splitlines()
    assert first == second
    assert store.delivery_counts(ON_VIDEO) == {DeliveryState.DELIVERED: 1}


def test_the_run_time_of_a_command_is_bounded(store: SQLiteStore, tmp_path: Path) -> None:
    """A command that does not end is killed with its children, and a program that does not exist is reported."""
    endpoint = Endpoint(id=ON_VIDEO, kind=EndpointKind.COMMAND)
    assert store.swap_endpoint(None, endpoint)
    finished(store, "a", Status.SUCCEEDED)
    message = store.deliveries(ON_VIDEO, 1)[0].message
    # The child keeps the pipe of errors open, so that only its end lets the attempt end.
    hanging = CommandNotifier(("sh", "-c", "sleep 1000 & sleep 1000"), Timings(on_video=0.2))
    assert hanging.send(endpoint, message) == Answer(False, "did not end within 0.2 s")
    answer = CommandNotifier(("no-such-program-here",)).send(endpoint, message)
    assert (answer.ok, answer.down) == (False, True)
    assert "No such file" in answer.text


def test_a_command_that_no_worker_has_is_forgotten(store: SQLiteStore, clock: ManualClock) -> None:
    """Three days after the last worker with a command, its messages end; until then another one gets them."""
    command: Mapping[str, Notifier] = {EndpointKind.COMMAND: CommandNotifier(("true",))}
    Messenger(store, command, lambda: "one").register()
    finished(store, "a", Status.SUCCEEDED)
    clock.advance(COMMAND_KEPT - 10)
    Messenger(store, WEBHOOKS, lambda: "two").check()
    assert store.next_delivery(ON_VIDEO) is not None
    clock.advance(20)
    Messenger(store, WEBHOOKS, lambda: "three").check()
    assert store.endpoint(ON_VIDEO) is None


def see(store: JobStore, clock: ManualClock, seconds: float, *found: Finding) -> None:
    """Compare the verdicts with the incidents every 30 seconds for some time."""
    for _ in range(int(seconds / 30)):
        update_incidents(store, found)
        clock.advance(30)


def test_an_incident_is_reported_once(
    store: SQLiteStore, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """An alert gets one message when a verdict has lasted, and one when it is over; a short one is not reported."""
    receiver = receivers()
    url = receiver.address.replace("http://", "json://") + "/SECRET"
    alert = Endpoint(id="al_1", kind=EndpointKind.ALERT, url=url, after=600.0)
    add_webhook(store, receiver.url)
    assert store.swap_endpoint(None, alert)
    notifier = AlertNotifier()

    def sent() -> list[str]:
        while deliver(store, alert, notifier) is not None:
            pass
        found = [json.loads(one.body) for one in receiver.received]
        receiver.received.clear()
        return [f"{one['type']}: {one['title']}: {one['message']}" for one in found]

    see(store, clock, 300, NO_WORKER)
    see(store, clock, 300)
    clock.advance(600)
    assert sent() == [], "it lasted for less than ten minutes"
    see(store, clock, 300, NO_WORKER)
    see(store, clock, OVER_AFTER / 2)
    see(store, clock, 1200, NO_WORKER)
    (raised,) = sent()
    assert raised.startswith("failure: Tenxsom Flow: no-worker: no worker is alive; since 2027-01-15T08:")
    assert sent() == []
    see(store, clock, 300)
    (cleared,) = sent()
    assert cleared == "success: Tenxsom Flow: no-worker is over: Over after 25 min: no worker is alive"
    types = [one.message.type for one in reversed(store.deliveries("we_1", 100))]
    assert types == ["verdict.raised", "verdict.cleared"] * 2, "a webhook gets each incident, and no flood"


def test_an_alert_that_waited_is_soon_sent_again(
    store: SQLiteStore, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """The checks whether a verdict has lasted use up no attempt, so the first failure is followed by a quick one."""
    receiver = receivers()
    url = receiver.address.replace("http://", "json://")
    alert = Endpoint(id="al_1", kind=EndpointKind.ALERT, url=url, after=600.0)
    assert store.swap_endpoint(None, alert)
    see(store, clock, 600, NO_WORKER)
    clock.advance(1)
    for _ in range(3):
        assert deliver(store, alert, AlertNotifier()) is not None
        clock.advance(CHECK_AGAIN)
    assert receiver.received == []
    see(store, clock, 30, NO_WORKER)
    receiver.answer(500)
    deliver(store, alert, AlertNotifier())
    assert len(receiver.received) == 1
    clock.advance(6)
    deliver(store, alert, AlertNotifier())
    assert [len(receiver.received), store.delivery_counts("al_1")] == [2, {DeliveryState.DELIVERED: 1}]


def test_an_alert_shows_no_secret(
    store: SQLiteStore, clock: ManualClock, receivers: Callable[[], ScriptedTarget], caplog: pytest.LogCaptureFixture
) -> None:
    """No log and no stored answer contains the address of an alert, also if the service refuses the message."""
    receiver = receivers()
    receiver.answer(500)
    caplog.set_level(0)
    alert = Endpoint(
        id="al_1", kind=EndpointKind.ALERT, url=receiver.address.replace("http://", "json://me:SECRET@") + "/SECRET"
    )
    assert store.swap_endpoint(None, alert)
    update_incidents(store, [NO_WORKER])
    health = deliver(store, alert, AlertNotifier())
    assert health is not None
    assert health.attempts[0].answer == "the notification service did not accept it"
    # Entry points silence urllib3, which logs whole addresses (`logs.configure`).
    logged = "".join(one.getMessage() for one in caplog.records if not one.name.startswith("urllib3"))
    assert "SECRET" not in logged + alert.shown_url + health.text


def test_a_worker_makes_incidents_of_verdicts(
    tmp_path: Path, clock: ManualClock, receivers: Callable[[], ScriptedTarget]
) -> None:
    """The maintenance of a worker compares the report's verdicts with the incidents, if an endpoint wants them."""
    with an_engine(tmp_path, clock, TENXSOM_ALLOW_PRIVATE_WEBHOOKS="1") as engine:
        engine.store.add(QUEUE, new("a"))
        finished(engine.store, "held", Status.HELD)
        maintenance = WorkerMaintenance(engine, concurrency=1, findings=findings)
        maintenance.do_chores(0.0)
        assert engine.store.memos("incident") == {}, "no endpoint, no report"
        endpoint = endpoints.add_webhook(engine, receivers().url, "verdict.*")
        maintenance.do_chores(100.0)
        codes = {json.loads(one.message.body)["data"]["code"] for one in engine.store.deliveries(endpoint.id, 100)}
        assert "held" in codes
        maintenance.end()
