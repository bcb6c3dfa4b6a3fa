"""The emulator delivers like the service, observed through Google's client and at a real HTTP target."""

from __future__ import annotations

import datetime
import itertools
import random
import threading

import pytest
from google.cloud import tasks_v2

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tests.emulator_harness import LOCATION, QUEUE, Setting
from tests.http_target import Reply, ScriptedTarget
from tests.ports import free_port

TASK = f"{QUEUE}/tasks/t-1"


def at(cloud: Setting, ahead: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(cloud.clock.now() + ahead, datetime.UTC)


def starts(cloud: Setting) -> list[float]:
    """Return the start of each delivery, in seconds after the first."""
    times = sorted(delivery.at for delivery in cloud.server.deliveries)
    return [round(time - times[0], 3) for time in times]


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_posted_to_its_url_with_the_headers_of_the_service(cloud: Setting) -> None:
    """A delivery has the task's method, URL, body and headers, and identifies its sender."""
    cloud.queue()
    cloud.task("t-1", request={"url": f"{cloud.target.url}?a=b c", "headers": {"Content-Type": "application/json"}})
    cloud.server.wait_idle()
    [received] = cloud.target.received
    assert (received.method, received.path, received.body) == ("POST", "/process?a=b%20c", b"{}")
    assert received.headers == {
        "host": cloud.target.address.removeprefix("http://"),
        "user-agent": "Google-Cloud-Tasks",
        "content-type": "application/json",
        "content-length": "2",
        "x-cloudtasks-queuename": "videos",
        "x-cloudtasks-taskname": "t-1",
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
        "x-cloudtasks-tasketa": "1800000000.000000",
    }


def test_headers_that_belong_to_the_service_are_replaced(cloud: Setting) -> None:
    """A task's values for Host, User-Agent, lengths and Google's headers do not reach the target."""
    cloud.queue()
    own = {
        "Host": "elsewhere.test", "Content-Length": "99", "user-agent": "me", "X-Google-Auth": "1",
        "X-AppEngine-QueueName": "default", "X-CloudTasks-TaskRetryCount": "7", "X-Mine": "kept",
    }  # fmt: skip
    cloud.task("t-1", request={"headers": own, "http_method": tasks_v2.HttpMethod.PUT})
    cloud.server.wait_idle()
    [received] = cloud.target.received
    assert received.method == "PUT"
    assert received.headers["host"] == cloud.target.address.removeprefix("http://")
    assert (received.headers["content-length"], received.headers["user-agent"]) == ("2", "Google-Cloud-Tasks")
    assert (received.headers["x-cloudtasks-taskretrycount"], received.headers["x-mine"]) == ("0", "kept")
    assert not {"x-google-auth", "x-appengine-queuename"} & set(received.headers)


def test_retries_are_counted_as_recorded_of_the_service(cloud: Setting) -> None:
    """Every attempt counts as a retry; 5xx answers do not count as executions; the previous status is sent."""
    cloud.queue()
    cloud.target.answer(503, 404, 429, 500, Reply(302, {"Location": "/elsewhere"}), 200)
    cloud.task("t-1")
    cloud.play()
    assert cloud.headers("X-CloudTasks-TaskRetryCount") == ["0", "1", "2", "3", "4", "5"]
    assert cloud.headers("X-CloudTasks-TaskExecutionCount") == ["0", "0", "1", "2", "2", "3"]
    assert cloud.headers("X-CloudTasks-TaskPreviousResponse") == [None, "503", "404", "429", "500", "302"]
    assert cloud.headers("X-CloudTasks-TaskRetryReason") == [None, "", "", "", "", ""]
    assert {received.path for received in cloud.target.received} == {"/process"}
    assert [delivery.then for delivery in cloud.server.deliveries] == ["retried"] * 5 + ["done"]


# ── times ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_not_delivered_before_its_time(cloud: Setting) -> None:
    """A task scheduled in 30 days is delivered then, with its scheduled time."""
    cloud.queue()
    due = at(cloud, 30 * 86_400)
    cloud.task("t-1", schedule_time=due)
    cloud.clock.advance(30 * 86_400 - 0.001)
    cloud.server.wait_idle()
    assert not cloud.target.received
    cloud.clock.advance(0.001)
    cloud.server.wait_idle()
    assert cloud.headers("X-CloudTasks-TaskETA") == [f"{due.timestamp():.6f}"]


def test_retries_wait_as_the_documented_series_says(cloud: Setting) -> None:
    """10 s, 300 s and 3 doublings give 10, 20, 40, 80, 160, 240, 300, 300."""
    cloud.queue(retry_config={"min_backoff": {"seconds": 10}, "max_backoff": {"seconds": 300}, "max_doublings": 3})
    cloud.target.answer(*[500] * 8)
    cloud.task("t-1")
    cloud.play()
    assert [after - before for before, after in itertools.pairwise(starts(cloud))] == [
        10, 20, 40, 80, 160, 240, 300, 300
    ]  # fmt: skip


def test_a_tasks_own_retry_rule_wins(cloud: Setting) -> None:
    """Fields of a task's retry_config override the queue's; the other fields are the queue's."""
    cloud.queue(retry_config={"min_backoff": {"seconds": 10}, "max_attempts": 2})
    cloud.target.answer(*[500] * 9)
    cloud.task("t-1", retry_config={"max_attempts": 4, "max_doublings": 1})
    cloud.play()
    assert starts(cloud) == [0, 10, 30, 70]
    assert [delivery.then for delivery in cloud.server.deliveries][-1] == "given up"


def test_a_task_is_given_up_when_both_limits_are_used_up(cloud: Setting) -> None:
    """With both limits set, retries end when all attempts are made and the duration has passed."""
    cloud.queue(
        retry_config={"min_backoff": {"seconds": 10}, "max_doublings": 1, "max_attempts": 2,
                      "max_retry_duration": {"seconds": 65}}
    )  # fmt: skip
    cloud.target.answer(*[500] * 9)
    cloud.task("t-1")
    cloud.play()
    assert starts(cloud) == [0, 10, 30, 70]
    assert not list(cloud.client.list_tasks(parent=QUEUE))


def test_tasks_are_deleted_after_thirty_one_days(cloud: Setting) -> None:
    """A task that could not be delivered in 31 days is deleted."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    cloud.task("t-1")
    cloud.clock.advance(31 * 86_400 - 1)
    assert cloud.client.get_task(name=TASK)
    cloud.clock.advance(1)
    cloud.server.wait_empty()


def test_an_attempt_that_takes_too_long_is_made_again(cloud: Setting) -> None:
    """After its deadline an attempt counts as 504 and is retried, while the answer of the old one is ignored."""
    cloud.queue(retry_config={"min_backoff": {"seconds": 5}})
    release = threading.Event()
    cloud.target.answer(Reply(200, held=release), 200)
    cloud.task("t-1", dispatch_deadline={"seconds": 15})
    cloud.target.started.acquire()
    cloud.clock.advance(14.9)
    assert cloud.client.get_task(name=TASK).last_attempt.response_status.code == 0
    cloud.clock.advance(0.1)
    cloud.server.wait_idle()
    attempt = cloud.client.get_task(name=TASK)
    assert (attempt.last_attempt.response_status.code, attempt.dispatch_count, attempt.response_count) == (4, 1, 0)
    cloud.clock.advance(5)
    cloud.server.wait_empty()
    release.set()
    assert cloud.headers("X-CloudTasks-TaskPreviousResponse") == [None, "504"]
    assert cloud.headers("X-CloudTasks-TaskExecutionCount") == ["0", "0"]
    assert [(delivery.status, delivery.took) for delivery in cloud.server.deliveries] == [(504, 15), (200, 0)]


def test_an_unreachable_target_is_retried(cloud: Setting) -> None:
    """A refused connection is a failed attempt without an answer."""
    unused = f"http://127.0.0.1:{free_port()}/"
    cloud.queue(retry_config={"max_attempts": 2})
    cloud.task("t-1", request={"url": unused})
    cloud.play()
    assert [(delivery.status, delivery.then) for delivery in cloud.server.deliveries] == [
        (None, "retried"), (None, "given up")
    ]  # fmt: skip
    assert cloud.server.deliveries[0].reason == "Connection refused"


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_rate_of_a_queue_is_kept(cloud: Setting) -> None:
    """At 10/s with a burst of 2 the first two are dispatched at once and the others 0.1 s apart."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 10})
    for _ in range(12):
        cloud.task()
    cloud.play()
    assert starts(cloud) == pytest.approx([0, 0, *(number / 10 for number in range(1, 11))], abs=0.002)


def test_a_rate_below_one_in_a_second_works(cloud: Setting) -> None:
    """A queue can dispatch once in 10 s."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 0.1})
    for _ in range(3):
        cloud.task()
    cloud.play()
    assert starts(cloud) == pytest.approx([0, 10, 20], abs=0.02)


def test_limits_can_be_changed_while_a_queue_works(cloud: Setting) -> None:
    """An updated rate applies at once, also to tasks that already wait."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 0.1})
    for _ in range(3):
        cloud.task()
    cloud.server.wait_idle()
    cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, rate_limits={"max_dispatches_per_second": 1}))
    cloud.play()
    assert starts(cloud) == pytest.approx([0, 1, 2], abs=0.002)


def test_no_more_than_the_allowed_number_run_at_once(cloud: Setting) -> None:
    """Dispatching stops at the concurrency limit and continues as answers arrive."""
    cloud.queue(rate_limits={"max_concurrent_dispatches": 3})
    release = threading.Event()
    cloud.target.answer(*[Reply(200, held=release)] * 3)
    for _ in range(5):
        cloud.task()
    for _ in range(3):
        cloud.target.started.acquire()
    cloud.clock.advance(60)
    stats = cloud.server.beta_client().get_queue(request={"name": QUEUE, "read_mask": "stats"}).stats
    assert (stats.concurrent_dispatches_count, stats.tasks_count, len(cloud.target.received)) == (3, 5, 3)
    release.set()
    cloud.server.wait_empty()
    assert len(cloud.target.received) == 5


def test_an_overloaded_target_slows_its_queue_and_successes_speed_it_up(cloud: Setting) -> None:
    """429 and 503 halve the effective rate, at most once a second; a success doubles it again."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 16}, retry_config={"min_backoff": {"seconds": 2}})
    beta = cloud.server.beta_client()

    def rate() -> float:
        return beta.get_queue(request={"name": QUEUE, "read_mask": "stats"}).stats.effective_execution_rate

    cloud.target.answer(503, 503, 429)
    cloud.task("t-1")
    cloud.task("t-2")
    cloud.server.wait_idle()
    assert rate() == 8
    cloud.clock.advance(2)
    cloud.server.wait_idle()
    assert rate() == 8  # the 429 halved it, and the other success doubled it
    cloud.play()
    assert rate() == 16


def test_a_target_can_set_the_retry_delay(cloud: Setting) -> None:
    """The `Retry-After` of a 429 or 503 is the minimum wait of the task."""
    cloud.queue()
    cloud.target.answer(Reply(503, {"Retry-After": "120"}), Reply(429, {"Retry-After": "soon"}))
    cloud.task("t-1")
    cloud.play()
    assert starts(cloud) == [0, 120, 120.2]


# ── pause, purge, delete, run ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_queue_accepts_tasks_and_delivers_none(cloud: Setting) -> None:
    """Pausing and resuming can be repeated; tasks added during a pause are delivered after it."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    cloud.task("t-1")
    cloud.clock.advance(3600)
    assert cloud.server.next_at() is None
    for _ in range(3):
        cloud.client.resume_queue(name=QUEUE)
        cloud.server.wait_empty()
        assert cloud.client.pause_queue(name=QUEUE).state == tasks_v2.Queue.State.PAUSED
        cloud.task()
    assert len(cloud.target.received) == 3


def test_a_pause_lets_attempts_under_way_end(cloud: Setting) -> None:
    """The answer to a request sent before the pause is processed."""
    cloud.queue()
    release = threading.Event()
    cloud.target.answer(Reply(200, held=release))
    cloud.task("t-1")
    cloud.target.started.acquire()
    cloud.client.pause_queue(name=QUEUE)
    release.set()
    cloud.server.wait_empty()


def test_a_purge_removes_waiting_and_failing_tasks(cloud: Setting) -> None:
    """A purge removes all earlier tasks; a failed attempt under way is not retried."""
    cloud.queue()
    release = threading.Event()
    cloud.target.answer(Reply(500, held=release))
    cloud.task("t-1")
    cloud.target.started.acquire()
    cloud.task("t-2", schedule_time=at(cloud, 10))
    assert cloud.client.purge_queue(name=QUEUE).purge_time.timestamp() == cloud.clock.now()
    release.set()
    cloud.play()
    assert cloud.delivered() == ["t-1"]
    assert [delivery.then for delivery in cloud.server.deliveries] == ["ignored"]


def test_a_deleted_task_is_not_delivered(cloud: Setting) -> None:
    """A deleted due task of a paused queue is never delivered."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    cloud.task("t-1")
    cloud.client.delete_task(name=TASK)
    cloud.client.resume_queue(name=QUEUE)
    cloud.play()
    assert not cloud.target.received


def test_run_task_delivers_once_and_now(cloud: Setting) -> None:
    """A scheduled task of a paused queue that is run is delivered at once, and not again at its time."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    cloud.task("t-1", schedule_time=at(cloud, 100))
    cloud.client.run_task(name=TASK)
    cloud.server.wait_empty()
    cloud.client.resume_queue(name=QUEUE)
    cloud.clock.advance(100)
    cloud.play()
    assert cloud.delivered() == ["t-1"]


def test_a_failed_run_is_retried_after_the_backoff(cloud: Setting) -> None:
    """If a forced run fails, the task is due at the time of the call plus the retry delay."""
    cloud.queue(retry_config={"min_backoff": {"seconds": 7}})
    cloud.target.answer(500)
    cloud.task("t-1", schedule_time=at(cloud, 100))
    cloud.client.run_task(name=TASK)
    cloud.server.wait_idle()
    assert cloud.client.get_task(name=TASK).schedule_time == at(cloud, 7)


# ── injected faults, and real time ────────────────────────────────────────────────────────────────────────────────────


def test_a_task_can_be_delivered_twice_at_the_same_moment(cloud: Setting) -> None:
    """A duplicated delivery is the same request; the second answer is ignored."""
    cloud.queue()
    cloud.server.faults.deliver_twice()
    cloud.task("t-1")
    cloud.play()
    first, second = cloud.target.received
    assert first == second


def test_a_task_can_be_delivered_again_after_a_success(cloud: Setting) -> None:
    """If the answer of a delivery is lost, the task is delivered again after its backoff."""
    cloud.queue(retry_config={"min_backoff": {"seconds": 3}})
    cloud.server.faults.miss_answers()
    cloud.task("t-1")
    cloud.play()
    assert starts(cloud) == [0, 3]
    assert cloud.headers("X-CloudTasks-TaskPreviousResponse") == [None, None]


def test_deliveries_are_in_order_unless_shuffled(cloud: Setting) -> None:
    """Due tasks are delivered oldest first; with the fault in random order, each once."""
    cloud.queue(rate_limits={"max_concurrent_dispatches": 1})
    names: list[str | None] = [f"t-{number}" for number in range(10)]
    cloud.client.pause_queue(name=QUEUE)
    for name in names:
        cloud.task(str(name))
    cloud.client.resume_queue(name=QUEUE)
    cloud.server.wait_empty()
    assert cloud.delivered() == names
    cloud.server.faults.shuffle = random.Random(1)
    cloud.client.pause_queue(name=QUEUE)
    others: list[str | None] = [f"u-{number}" for number in range(10)]
    for name in others:
        cloud.task(str(name))
    cloud.client.resume_queue(name=QUEUE)
    cloud.server.wait_empty()
    assert cloud.delivered()[10:] != others
    assert sorted(map(str, cloud.delivered()[10:])) == others


def test_the_emulator_works_with_the_system_clock() -> None:
    """Without a manual clock schedules and retries happen in real time."""
    target = ScriptedTarget()
    target.answer(500)
    with CloudTasksServer() as server:
        client = server.client()
        client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=QUEUE))
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.1)
        client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request={"url": target.url}, schedule_time=soon))
        server.wait_empty()
        first, second = server.deliveries
    target.close()
    assert soon.timestamp() - 0.001 <= first.at < first.at + 0.1 <= second.at
