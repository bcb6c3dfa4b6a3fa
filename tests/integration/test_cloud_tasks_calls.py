"""The emulator answers calls like the service: defaults, names, limits, refusals."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import field_mask_pb2
from grpc import StatusCode

from tenxsom_flow_engine.emulator.limits import MAX_TASK_SIZE
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.emulator_harness import LOCATION, QUEUE, Setting

DAY = 86_400.0
TASK = f"{QUEUE}/tasks/t-1"
PAUSED, RUNNING = tasks_v2.Queue.State.PAUSED, tasks_v2.Queue.State.RUNNING
NO_ENTITY = "^404 Requested entity was not found.$"
NO_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
#: Far enough ahead that nothing is delivered.
LATER = datetime.timedelta(days=1)


def soon(cloud: Setting, ahead: datetime.timedelta = LATER) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(cloud.clock.now(), datetime.UTC) + ahead


# ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_queue_has_the_defaults_of_the_service(cloud: Setting) -> None:
    """A queue without settings gets the documented limits and retry settings, and runs."""
    queue = cloud.queue()
    rates, retries = queue.rate_limits, queue.retry_config
    assert (rates.max_dispatches_per_second, rates.max_concurrent_dispatches, rates.max_burst_size) == (500, 1000, 100)
    assert (retries.max_attempts, retries.max_doublings) == (100, 16)
    assert (retries.min_backoff.total_seconds(), retries.max_backoff.total_seconds()) == (0.1, 3600)
    assert queue.state == RUNNING
    assert cloud.client.get_queue(name=QUEUE) == queue


def test_callers_cannot_set_the_burst_or_the_state(cloud: Setting) -> None:
    """Output-only fields from a caller are ignored, even invalid values."""
    queue = cloud.queue(rate_limits={"max_dispatches_per_second": 10, "max_burst_size": -7}, state=PAUSED)
    assert (queue.rate_limits.max_burst_size, queue.state) == (2, RUNNING)
    updated = cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, state=PAUSED))
    assert updated.state == RUNNING


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limits": {"max_dispatches_per_second": -1}},
        {"rate_limits": {"max_dispatches_per_second": 500.5}},
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"rate_limits": {"max_concurrent_dispatches": -1}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"max_doublings": -1}},
        {"retry_config": {"min_backoff": {"seconds": 20}, "max_backoff": {"seconds": 10}}},
    ],
)
def test_limits_out_of_bounds_are_refused(cloud: Setting, settings: dict[str, Any]) -> None:
    """Rates above 500/s, concurrency above 5000 and retries that contradict themselves are invalid arguments."""
    with pytest.raises(exceptions.InvalidArgument):
        cloud.queue(**settings)
    cloud.queue()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, **settings))
    assert cloud.client.get_queue(name=QUEUE).rate_limits.max_dispatches_per_second == 500


def test_the_widest_limits_are_accepted(cloud: Setting) -> None:
    """500/s, 5000 concurrent dispatches and unlimited attempts are allowed."""
    rates = {"max_dispatches_per_second": 500, "max_concurrent_dispatches": 5000}
    queue = cloud.queue(rate_limits=rates, retry_config={"max_attempts": -1})
    assert (queue.rate_limits.max_concurrent_dispatches, queue.retry_config.max_attempts) == (5000, -1)


def test_an_update_creates_a_queue_that_is_missing(cloud: Setting) -> None:
    """`update_queue` creates a missing queue."""
    cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, rate_limits={"max_dispatches_per_second": 7}))
    assert cloud.client.get_queue(name=QUEUE).rate_limits.max_dispatches_per_second == 7


def test_an_update_changes_what_its_mask_names(cloud: Setting) -> None:
    """With a mask only its fields change; without one all do; an unknown field is refused."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 7, "max_concurrent_dispatches": 3})
    wish = tasks_v2.Queue(name=QUEUE, rate_limits={"max_dispatches_per_second": 20})

    def update(*paths: str) -> tuple[float, int, int]:
        mask = field_mask_pb2.FieldMask(paths=paths)
        limits = cloud.client.update_queue(queue=wish, update_mask=mask).rate_limits
        return limits.max_dispatches_per_second, limits.max_concurrent_dispatches, limits.max_burst_size

    assert update("rate_limits.max_dispatches_per_second") == (20, 3, 4)
    assert update("retry_config", "state") == (20, 3, 4)
    assert update() == (20, 1000, 4)
    with pytest.raises(exceptions.InvalidArgument):
        update("rate_limits.speed")


def test_a_queue_is_created_once_and_by_the_rules(cloud: Setting) -> None:
    """A second creation, a name outside the parent and a malformed id are refused."""
    cloud.queue()
    with pytest.raises(exceptions.AlreadyExists):
        cloud.queue()
    for name in (f"{LOCATION}/queues/under_score", f"{LOCATION}/queues/{'x' * 101}", "videos", QUEUE + "/tasks/t"):
        with pytest.raises(exceptions.InvalidArgument):
            cloud.client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name))
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.create_queue(
            parent="projects/other/locations/us-central1", queue=tasks_v2.Queue(name=f"{LOCATION}/queues/b")
        )


def test_a_missing_queue_is_not_found_by_any_call(cloud: Setting) -> None:
    """Every call for a queue that was never created returns NOT_FOUND."""
    client = cloud.client
    for call in (client.get_queue, client.pause_queue, client.resume_queue, client.purge_queue):
        with pytest.raises(exceptions.NotFound, match=NO_QUEUE):
            call(name=QUEUE)
    with pytest.raises(exceptions.NotFound, match=NO_QUEUE):
        cloud.task()
    with pytest.raises(exceptions.NotFound, match=NO_ENTITY):
        client.delete_queue(name=QUEUE)


def test_refusals_have_the_texts_of_the_service(cloud: Setting) -> None:
    """Callers that read the texts get those that were recorded from the service."""
    cloud.queue()
    client, other = cloud.client, QUEUE + "-other"
    cloud.task("t-1", schedule_time=soon(cloud))
    cloud.task("t-2", schedule_time=soon(cloud))
    client.delete_task(name=f"{QUEUE}/tasks/t-2")
    request = {"url": cloud.target.url}
    bad_queue, bad_task = f"{LOCATION}/queues/a_b", f"{QUEUE}/tasks/not a valid id"
    calls: dict[str, Callable[[], object]] = {
        "Queue already exists": cloud.queue,
        'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".': (
            lambda: client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=bad_queue))
        ),
        "Requested entity already exists": lambda: cloud.task("t-1"),
        "existed too recently": lambda: cloud.task("t-2"),
        'Task ID "not a valid id" can contain only letters ([A-Za-z])': lambda: client.get_task(name=bad_task),
        "Task name must be formatted": lambda: client.get_task(name="t-1"),
        f"The queue name from request ('{QUEUE}') must be the same as the queue name in the named task ('{other}').": (
            lambda: client.create_task(parent=QUEUE, task=tasks_v2.Task(name=f"{other}/tasks/t", http_request=request))
        ),
        "Requested entity was not found.": lambda: client.get_task(name=f"{QUEUE}/tasks/t-9"),
        "The task no longer exists, though a task with this name existed recently.": (
            lambda: client.get_task(name=f"{QUEUE}/tasks/t-2")
        ),
    }
    for text, call in calls.items():
        with pytest.raises(exceptions.GoogleAPICallError, match=re.escape(text)):
            call()


def test_a_deleted_queue_cannot_be_created_again_for_three_days(cloud: Setting) -> None:
    """After a deletion, creating or updating the name returns FAILED_PRECONDITION for three days."""
    cloud.queue()
    cloud.client.delete_queue(name=QUEUE)
    with pytest.raises(exceptions.NotFound):
        cloud.client.get_queue(name=QUEUE)
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.queue()
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE))
    cloud.clock.advance(3 * DAY)
    cloud.queue()


def test_queues_are_listed_in_pages_by_location(cloud: Setting) -> None:
    """Lists contain the queues of their location only, for any page size."""
    names = [f"{LOCATION}/queues/q-{number}" for number in range(5)]
    for name in [*names, "projects/project-1/locations/europe-west1/queues/q-9"]:
        cloud.client.create_queue(parent=name.rpartition("/queues")[0], queue=tasks_v2.Queue(name=name))
    listed = cloud.client.list_queues(request={"parent": LOCATION, "page_size": 2})
    assert [queue.name for queue in listed] == names


def test_policies_are_kept(cloud: Setting) -> None:
    """An IAM policy that is set on a queue can be read again; every requested permission is granted."""
    cloud.queue()
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role="roles/cloudtasks.enqueuer", members=["user:a@b"])])
    cloud.client.set_iam_policy(request=iam_policy_pb2.SetIamPolicyRequest(resource=QUEUE, policy=policy))
    assert cloud.client.get_iam_policy(resource=QUEUE) == policy
    asked = cloud.client.test_iam_permissions(resource=QUEUE, permissions=["cloudtasks.tasks.create"])
    assert list(asked.permissions) == ["cloudtasks.tasks.create"]


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_shown_with_what_the_service_fills_in(cloud: Setting) -> None:
    """Unset times become now, the method POST, the deadline 10 min; only the full view shows the body."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    task = cloud.task("t-1", dispatch_count=9)
    assert task.name == TASK
    assert task.schedule_time.timestamp() == task.create_time.timestamp() == cloud.clock.now()
    assert task.dispatch_deadline.total_seconds() == 600
    assert task.http_request.http_method == tasks_v2.HttpMethod.POST
    assert (task.http_request.body, task.view, task.dispatch_count) == (b"", tasks_v2.Task.View.BASIC, 0)
    full = cloud.client.get_task(request={"name": TASK, "response_view": tasks_v2.Task.View.FULL})
    assert (full.http_request.body, full.view) == (b"{}", tasks_v2.Task.View.FULL)


def test_a_schedule_in_the_past_is_now(cloud: Setting) -> None:
    """A task scheduled for yesterday is due at once."""
    cloud.queue()
    task = cloud.task(schedule_time=soon(cloud, -LATER))
    assert task.schedule_time.timestamp() == cloud.clock.now()
    cloud.server.wait_empty()


def test_tasks_without_a_name_get_one_each(cloud: Setting) -> None:
    """Tasks without a name get different names."""
    cloud.queue()
    names = {cloud.task(schedule_time=soon(cloud)).name for _ in range(20)}
    assert len(names) == 20
    assert {task.name for task in cloud.client.list_tasks(request={"parent": QUEUE, "page_size": 7})} == names


def _finish(cloud: Setting) -> None:
    cloud.server.wait_empty()


def _delete(cloud: Setting) -> None:
    cloud.client.delete_task(name=TASK)


def _purge(cloud: Setting) -> None:
    cloud.client.purge_queue(name=QUEUE)


@pytest.mark.parametrize(("end", "ahead"), [(_finish, 0), (_delete, 1), (_purge, 1)])
def test_a_name_stays_in_use_for_an_hour_after_its_task_ended(
    cloud: Setting, end: Callable[[Setting], None], ahead: int
) -> None:
    """A name in use, or of a task that ended less than an hour ago, returns ALREADY_EXISTS."""
    cloud.queue()
    fields: dict[str, Any] = {"schedule_time": soon(cloud)} if ahead else {}
    cloud.task("t-1", **fields)
    if ahead:
        with pytest.raises(exceptions.AlreadyExists):
            cloud.task("t-1")
    end(cloud)
    for call in (cloud.client.get_task, cloud.client.run_task, cloud.client.delete_task):
        with pytest.raises(exceptions.NotFound):
            call(name=TASK)
    cloud.clock.advance(3599)
    with pytest.raises(exceptions.AlreadyExists):
        cloud.task("t-1")
    cloud.clock.advance(1)
    cloud.task("t-1")


def test_names_can_stay_in_use_for_longer() -> None:
    """A test can set the day that the service takes at worst."""
    with CloudTasksServer(clock := ManualClock(), tombstone_ttl=DAY) as server:
        client = server.client()
        client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=QUEUE))
        task = tasks_v2.Task(
            name=TASK, http_request={"url": "http://worker.test/"}, schedule_time={"seconds": 1_800_000_009}
        )
        client.create_task(parent=QUEUE, task=task)
        client.delete_task(name=TASK)
        clock.advance(DAY - 1)
        with pytest.raises(exceptions.AlreadyExists):
            client.create_task(parent=QUEUE, task=task)


@pytest.mark.parametrize(
    "name", [f"{LOCATION}/queues/other/tasks/t", f"{QUEUE}/tasks/a.b", f"{QUEUE}/tasks/{'x' * 501}", "t"]
)
def test_task_names_follow_the_rules(cloud: Setting, name: str) -> None:
    """A task's name must be in its queue, and its id of 1 to 500 letters, digits, hyphens and underscores."""
    cloud.queue()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.create_task(
            parent=QUEUE, task=tasks_v2.Task(name=name, http_request={"url": "http://worker.test/process"})
        )
    cloud.task("x" * 500, schedule_time=soon(cloud))


@pytest.mark.parametrize(
    "request_fields",
    [
        {"url": ""},
        {"url": "ftp://worker.test/"},
        {"url": "https://"},
        {"url": "http://worker.test:99999/"},
        {"url": "https://worker.test/" + "x" * 2064},
        {"url": "https://worker.test/" + "ä" * 350},  # six characters each after encoding
        {"http_method": tasks_v2.HttpMethod.GET},
        {"headers": {"X-Large": "x" * 80 * 1024}},
        {"headers": {"X-Split": "a\r\nB: c"}},
        {"oidc_token": {"audience": "https://worker.test"}},
    ],
)
def test_requests_that_cannot_be_sent_are_refused(cloud: Setting, request_fields: dict[str, Any]) -> None:
    """URLs, headers and bodies beyond the documented limits are invalid arguments when the task is created."""
    cloud.queue()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.task(request=request_fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"dispatch_deadline": {"seconds": 14}},
        {"dispatch_deadline": {"seconds": 1801}},
        {"dispatch_deadline": {"seconds": 0}},
        {"schedule_time": {"seconds": 1_800_000_000 + 720 * 3600 + 1}},
        {"retry_config": {"max_attempts": -2}},
    ],
)
def test_times_out_of_bounds_are_refused(cloud: Setting, fields: dict[str, Any]) -> None:
    """Deadlines outside 15 s to 30 min, schedules beyond 720 h and bad retry rules are invalid arguments."""
    cloud.queue()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.task(**fields)


def test_times_at_their_bounds_are_accepted(cloud: Setting) -> None:
    """15 s, 30 min and 720 h are allowed."""
    cloud.queue()
    for seconds in (15, 1800):
        task = cloud.task(dispatch_deadline={"seconds": seconds}, schedule_time={"seconds": 1_800_000_000 + 720 * 3600})
        assert task.dispatch_deadline.total_seconds() == seconds


def test_a_task_may_have_exactly_the_recorded_size(cloud: Setting) -> None:
    """A stored task of 1,048,569 bytes is accepted, one byte more is refused."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    full = tasks_v2.Task.View.FULL
    small = cloud.client.create_task(
        request={
            "parent": QUEUE,
            "task": {"name": f"{QUEUE}/tasks/a", "http_request": {"url": "http://w/", "body": b"x" * 1_000_000}},
            "response_view": full,
        }
    )
    stored = tasks_v2.Task.pb(small)
    stored.ClearField("view")  # it is not stored
    largest = 1_000_000 + MAX_TASK_SIZE - stored.ByteSize()
    cloud.task("b", request={"url": "http://w/", "body": b"x" * largest})
    with pytest.raises(exceptions.InvalidArgument, match="Task size too large"):
        cloud.task("c", request={"url": "http://w/", "body": b"x" * (largest + 1)})


def test_unsupported_features_are_refused(cloud: Setting) -> None:
    """Unsupported features (App Engine, OAuth, queue-level targets, filters) return UNIMPLEMENTED, not ignored."""
    cloud.queue()
    for refused in (
        lambda: cloud.client.create_task(parent=QUEUE, task=tasks_v2.Task(app_engine_http_request={"body": b"x"})),
        lambda: cloud.task(request={"oauth_token": {"service_account_email": "a@b"}}),
        lambda: cloud.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, http_target={"http_method": 1})),
        lambda: cloud.client.list_queues(request={"parent": LOCATION, "filter": "state: PAUSED"}),
    ):
        with pytest.raises(exceptions.MethodNotImplemented):
            refused()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.create_task(parent=QUEUE, task=tasks_v2.Task())


def test_unknown_projects_and_accounts_are_refused() -> None:
    """An unknown project returns PERMISSION_DENIED; a token for an unknown service account returns NOT_FOUND."""
    with CloudTasksServer(ManualClock(), projects={"mine"}, service_accounts={"worker@mine"}) as server:
        client = server.client()
        parent = "projects/mine/locations/l"
        client.create_queue(parent=parent, queue=tasks_v2.Queue(name=f"{parent}/queues/q"))
        with pytest.raises(exceptions.PermissionDenied):
            client.get_queue(name=QUEUE)
        request = {"url": "http://w/", "oidc_token": {"service_account_email": "typo@mine"}}
        with pytest.raises(exceptions.NotFound, match="service account"):
            client.create_task(parent=f"{parent}/queues/q", task=tasks_v2.Task(http_request=request))


# ── batches and statistics ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_creates_what_it_can_and_names_what_failed(cloud: Setting) -> None:
    """A batch is an operation with the created tasks, and the failures by index; its id makes it repeatable."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    cloud.task("t-1")
    good = {"parent": QUEUE, "task": {"name": f"{QUEUE}/tasks/t-2", "http_request": {"url": cloud.target.url}}}
    taken = {"parent": QUEUE, "task": {"name": TASK, "http_request": {"url": cloud.target.url}}}
    request = {"parent": QUEUE, "requests": [taken, good], "request_id": "batch-1"}
    for _ in range(2):
        operation: Any = cloud.client.batch_create_tasks(request=request)
        assert [task.name for task in operation.result().tasks] == [f"{QUEUE}/tasks/t-2"]
        failed = operation.metadata.failed_requests
        assert {index: status.code for index, status in failed.items()} == {0: StatusCode.ALREADY_EXISTS.value[0]}
    known = cloud.client.get_operation(request={"name": operation.operation.name})
    assert known.done
    operation = cloud.client.batch_create_tasks(request=request | {"request_id": "batch-2"})
    with pytest.raises(exceptions.Aborted):
        operation.result()
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.batch_create_tasks(request={"parent": QUEUE, "requests": [good] * 101})


def test_a_batch_deletes_many(cloud: Setting) -> None:
    """A batch of names deletes these tasks and reports the missing ones."""
    cloud.queue()
    cloud.client.pause_queue(name=QUEUE)
    names = [cloud.task(f"t-{number}").name for number in range(3)]
    operation: Any = cloud.client.batch_delete_tasks(
        request={"parent": QUEUE, "names": [*names, f"{QUEUE}/tasks/gone"]}
    )
    operation.result()
    assert list(operation.metadata.failed_requests) == [3]
    assert not list(cloud.client.list_tasks(parent=QUEUE))
    with pytest.raises(exceptions.InvalidArgument):
        cloud.client.batch_delete_tasks(request={"parent": QUEUE, "names": names * 334})


def test_statistics_are_returned_if_the_mask_names_them(cloud: Setting) -> None:
    """v2beta3 reports waiting and running tasks, the next due time, and the executions of the last minute."""
    cloud.queue(rate_limits={"max_dispatches_per_second": 20})
    beta = cloud.server.beta_client()
    cloud.task()
    cloud.server.wait_empty()
    due = soon(cloud, datetime.timedelta(seconds=100))
    cloud.task(schedule_time=due)
    cloud.task(schedule_time=soon(cloud))
    stats = beta.get_queue(request={"name": QUEUE, "read_mask": "stats"}).stats
    assert (stats.tasks_count, stats.executed_last_minute_count, stats.concurrent_dispatches_count) == (2, 1, 0)
    assert (stats.effective_execution_rate, stats.oldest_estimated_arrival_time.timestamp()) == (20, due.timestamp())
    cloud.clock.advance(60)
    both = beta.get_queue(request={"name": QUEUE, "read_mask": "stats,state"})
    assert (both.stats.executed_last_minute_count, both.state.name, both.name) == (0, "RUNNING", "")
    plain = beta.get_queue(name=QUEUE)
    assert "stats" not in plain
    assert (plain.rate_limits.max_dispatches_per_second, plain.tombstone_ttl.total_seconds()) == (20, 3600)
    assert plain.task_ttl == datetime.timedelta(days=31)


# ── injected faults ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_call_has_no_effect(cloud: Setting) -> None:
    """Calls can be made to fail a number of times with any code, without an effect."""
    cloud.queue()
    cloud.server.faults.refuse("CreateTask", StatusCode.UNAVAILABLE, times=2)
    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable):
            cloud.task("t-1", schedule_time=soon(cloud))
    cloud.task("t-1", schedule_time=soon(cloud))


def test_a_call_with_a_lost_answer_took_effect(cloud: Setting) -> None:
    """A create can time out after it took effect: repeating it with the same name finds the task."""
    cloud.queue()
    cloud.server.faults.lose_answer("CreateTask")
    with pytest.raises(exceptions.DeadlineExceeded):
        cloud.task("t-1", schedule_time=soon(cloud))
    with pytest.raises(exceptions.AlreadyExists):
        cloud.task("t-1", schedule_time=soon(cloud))
