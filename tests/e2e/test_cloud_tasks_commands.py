"""The commands on a Cloud Tasks queue, as real processes against a real server of its API."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.cloud import tasks_v2

from tenxsom_flow_engine.emulator.server import CloudTasksServer

from .conftest import Flow


@pytest.fixture
def server() -> Iterator[CloudTasksServer]:
    with CloudTasksServer() as server:
        yield server


@pytest.fixture
def cloud(flow: Flow, server: CloudTasksServer) -> Flow:
    flow.environment |= {
        "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUDSDK_CONFIG": str(flow.home),
    }  # fmt: skip
    return flow


def test_from_nothing_to_a_moved_job(cloud: Flow) -> None:
    """The queue is made by command, takes a job once, tells its state, and gives its jobs to another queue."""
    refused = cloud.run("single", "--topic", "Tides", "--job-id", "tides")
    assert refused.returncode == 1
    assert "run_flow_enhanced.py queue create" in refused.stderr
    assert "--job-id tides" in refused.stderr
    assert cloud.run("queue", "create", "--queue-type", "redis").returncode == 2
    assert cloud.run("queue", "create", "--queue-type", "cloud_tasks").returncode == 0
    added = cloud.run("single", "--topic", "Tides", "--job-id", "tides")
    assert (added.returncode, added.stdout) == (0, "tides\n"), added.stderr
    assert "worker.py" not in added.stderr
    status = cloud.json("status")
    assert (status["queue_type"], status["state"], status["approximate_task_count"]) == ("cloud_tasks", "RUNNING", 1)
    assert status["selected_because"].startswith("auto:")
    moved = cloud.run("queue", "move", "--from", "cloud_tasks", "--to", "local")
    assert (moved.returncode, "moved 1 job" in moved.stderr) == (0, True), moved.stderr


def test_more_at_once_than_a_worker_takes(cloud: Flow) -> None:
    """Who lets the queue hand out more at once than a worker process takes is told so, and what to do."""
    assert cloud.run("queue", "create").returncode == 0
    cloud.environment["TENXSOM_WORKER_CONCURRENCY"] = "5"
    assert "TENXSOM_WORKER_CONCURRENCY" not in cloud.run("queue", "limits", "--max-concurrent-dispatches", "5").stderr
    told = cloud.run("queue", "limits", "--max-concurrent-dispatches", "6")
    assert (told.returncode, "6 steps at once, set by hand" in told.stdout) == (0, True)
    assert "TENXSOM_WORKER_CONCURRENCY" in told.stderr


def test_a_worker_that_pulls_says_where_it_does_not_belong(cloud: Flow) -> None:
    """`worker.py` told to serve Cloud Tasks names the worker that does; left alone it serves a queue that it can."""
    told = cloud.worker("--queue-type", "cloud_tasks")
    assert told.wait(60) == 2
    assert "cloud_tasks_worker.py" in cloud.log()
    assert cloud.worker("--burst").wait(60) == 0


def test_a_batch_goes_on_where_it_broke_off(cloud: Flow, server: CloudTasksServer) -> None:
    """A batch that is cut off is completed by the same command, which the first one says; nothing is added twice."""
    client = server.client()
    queue = client.queue_path("p-1", "us-central1", "tenxsom-video-generation")
    client.create_queue(parent=client.common_location_path("p-1", "us-central1"), queue=tasks_v2.Queue(name=queue))
    client.pause_queue(name=queue)
    (cloud.home / "topics.txt").write_text("".join(f"topic {number}\n" for number in range(120)))
    server.faults.refuse("CreateTask", grpc.StatusCode.PERMISSION_DENIED)
    cut_off = cloud.run("batch", "--topics-file", "topics.txt")
    assert cut_off.returncode == 1
    assert "roles/cloudtasks.enqueuer" in cut_off.stderr
    assert cloud.run("batch", "--topics-file", "topics.txt").returncode == 0
    assert len(list(client.list_tasks(parent=queue))) == 120


def test_what_is_missing_ends_with_its_name(cloud: Flow) -> None:
    """A command told to use Cloud Tasks that cannot ends with one line: what is missing, and what to do."""
    done = cloud.run("single", "--topic", "x", "--queue-type", "cloud_tasks", CLOUD_TASKS_EMULATOR_HOST="")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "GOOGLE_APPLICATION_CREDENTIALS" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_google_away_is_exit_code_5(cloud: Flow) -> None:
    """A queue that cannot be reached ends a command with code 5, and never silently with another queue."""
    done = cloud.run("status", CLOUD_TASKS_EMULATOR_HOST="127.0.0.1:1")
    assert (done.returncode, done.stdout) == (5, "")
    assert "Cloud Tasks can be reached" in done.stderr
