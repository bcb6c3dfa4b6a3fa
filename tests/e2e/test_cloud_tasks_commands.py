"""The commands on a Cloud Tasks queue, as real processes against a real server of its API."""

from __future__ import annotations

import json
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
    """A command creates the queue; it takes a job once, shows its state, and a move empties it."""
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


def test_more_concurrent_steps_than_a_worker_process_runs(cloud: Flow) -> None:
    """A higher concurrency than one worker process accepts prints a warning and the next step."""
    assert cloud.run("queue", "create").returncode == 0
    cloud.environment["TENXSOM_WORKER_CONCURRENCY"] = "5"
    assert "TENXSOM_WORKER_CONCURRENCY" not in cloud.run("queue", "limits", "--max-concurrent-dispatches", "5").stderr
    done = cloud.run("queue", "limits", "--max-concurrent-dispatches", "6")
    assert (done.returncode, "6 concurrent steps, set at run time" in done.stdout) == (0, True)
    assert "TENXSOM_WORKER_CONCURRENCY" in done.stderr


def test_a_pull_worker_refuses_cloud_tasks(cloud: Flow) -> None:
    """`worker.py` refuses Cloud Tasks and names the web worker; without the option it chooses another queue."""
    done = cloud.worker("--queue-type", "cloud_tasks")
    assert done.wait(60) == 2
    assert "cloud_tasks_worker.py" in cloud.log()
    assert cloud.worker("--burst").wait(60) == 0


def test_an_interrupted_batch_is_completed(cloud: Flow, server: CloudTasksServer) -> None:
    """The same command completes a batch that failed halfway, and adds nothing twice."""
    client = server.client()
    queue = client.queue_path("p-1", "us-central1", "tenxsom-video-generation")
    client.create_queue(parent=client.common_location_path("p-1", "us-central1"), queue=tasks_v2.Queue(name=queue))
    client.pause_queue(name=queue)
    (cloud.home / "topics.txt").write_text("".join(f"topic {number}\n" for number in range(120)))
    server.faults.refuse("CreateTask", grpc.StatusCode.PERMISSION_DENIED)
    failed = cloud.run("batch", "--topics-file", "topics.txt")
    assert failed.returncode == 1
    assert "roles/cloudtasks.enqueuer" in failed.stderr
    assert cloud.run("batch", "--topics-file", "topics.txt").returncode == 0
    assert len(list(client.list_tasks(parent=queue))) == 120


def test_missing_credentials_are_named(cloud: Flow) -> None:
    """Without credentials, a command for Cloud Tasks ends with one line that names them and the next step."""
    command = ("single", "--topic", "x", "--service", "draft", "--queue-type", "cloud_tasks")
    done = cloud.run(*command, CLOUD_TASKS_EMULATOR_HOST="")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "GOOGLE_APPLICATION_CREDENTIALS" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unreachable_queue_is_exit_code_5(cloud: Flow) -> None:
    """An unreachable queue ends a command with exit code 5; no other queue is used instead."""
    done = cloud.run("single", "--topic", "x", CLOUD_TASKS_EMULATOR_HOST="127.0.0.1:1")
    assert (done.returncode, done.stdout) == (5, "")
    assert "Cloud Tasks can be reached" in done.stderr


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1:1", 5), ("", 2)])
def test_status_answers_without_the_queue(cloud: Flow, host: str, code: int) -> None:
    """If Google cannot be reached, or there are no credentials, `status` prints the figures of the store and why."""
    cloud.run("queue", "create")
    cloud.run("single", "--topic", "Tides")
    done = cloud.run("status", CLOUD_TASKS_EMULATOR_HOST=host, TENXSOM_QUEUE_TYPE="cloud_tasks")
    assert done.returncode == code
    status = json.loads(done.stdout)
    assert (status["state"], status["jobs"]["queued"], status["workers_alive"]) == ("UNKNOWN", 1, 0)
    assert "queue-unknown" in [verdict["code"] for verdict in status["verdicts"]]
    assert ("be reached" if host else "credentials") in status["state_unknown_because"]


def test_adding_to_a_paused_queue_says_so(cloud: Flow) -> None:
    """A queue that was paused is mentioned when a job is added, with the command that resumes it."""
    cloud.run("queue", "create")
    cloud.run("queue", "pause")
    assert "resume it with: run_flow_enhanced.py queue resume" in cloud.run("single", "--topic", "Tides").stderr
