"""`doctor` on installations that are each broken in one way: it names the problem and the step that fixes it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import redis
import requests
from click.testing import CliRunner
from grpc import StatusCode

from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.doctor import machine
from tenxsom_flow_engine.doctor.checks import Finding, run_check
from tenxsom_flow_engine.doctor.run import examine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.errors import Misconfigured
from tenxsom_flow_engine.services.http.fake_server import Reply as Answer
from tenxsom_flow_engine.services.pixverse.fake import TOKEN, FakeUseApi
from tenxsom_flow_engine.services.registry import MachineCheck, MachineState
from tenxsom_flow_engine.settings import load
from tests.certificate_site import Site
from tests.http_target import ScriptedTarget
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
QUEUE = "projects/p-1/locations/us-central1/queues/tenxsom-video-generation"

Environment = dict[str, str]


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    home = tmp_path / "home"
    return {"TENXSOM_HOME": str(home), "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "REDIS_PORT": "1"}


@pytest.fixture
def worker() -> Iterator[ScriptedTarget]:
    target = ScriptedTarget()
    yield target
    target.close()


@pytest.fixture
def cloud(env: Environment, worker: ScriptedTarget) -> Iterator[CloudTasksServer]:
    """A project with a queue and a worker; the environment is that of its producer."""
    with CloudTasksServer() as server:
        env |= {
            "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_WORKER_URL": worker.address, "CLOUD_TASKS_SERVICE_ACCOUNT": "flow@p-1.test",
            "TENXSOM_QUEUE_TYPE": "cloud_tasks",
        }  # fmt: skip
        with open_engine(load(env)) as engine:
            engine.queue.create()  # type: ignore[attr-defined]
        yield server


@pytest.fixture
def useapi(env: Environment) -> Iterator[FakeUseApi]:
    with FakeUseApi() as server:
        env |= {"USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": server.url}
        yield server


def wrong(env: Environment) -> list[Finding]:
    """Return the findings that are problems."""
    return [finding for finding in examine(env) if finding.state == "problem"]


def the_problem(env: Environment, about: str, *words: str) -> None:
    """Check that there is exactly one problem, and that its text and fix contain the words."""
    found = wrong(env)
    assert [finding.about for finding in found] == [about], found
    text = f"{found[0].text} → {advise(found[0].fix, found[0].actions, found[0].subject)}"
    assert all(word in text for word in words), text
    assert found[0].fix or found[0].actions


def the_warning(env: Environment, about: str, *words: str) -> None:
    """Check that there is no problem and one warning about a part, and that it contains the words."""
    assert not wrong(env)
    found = [finding for finding in examine(env) if finding.state == "warning" and finding.about == about]
    assert len(found) == 1, found
    text = f"{found[0].text} → {advise(found[0].fix, found[0].actions, found[0].subject)}"
    assert all(word in text for word in words), text


def test_a_fresh_installation_has_no_problem(env: Environment) -> None:
    """Without any server, key or account, there is no problem; each warning has a next step."""
    found = list(examine(env))
    assert not [finding for finding in found if finding.state == "problem"]
    examined = {"python", "libraries", "settings", "disk", "output", "privacy", "fonts", "store", "clock", "queue"}
    assert examined <= {finding.about for finding in found}
    # The free disk space depends on the machine.
    assert examined - {"disk"} <= {finding.about for finding in found if finding.state == "ok"}
    assert all(finding.fix or finding.actions for finding in found if finding.state != "ok")
    assert all((finding.code == "ok") is (finding.state == "ok") for finding in found)


@pytest.mark.parametrize(("home", "store", "open_to_others"), [
    (0o700, 0o600, ""), (0o700, 0o644, ""), (0o755, 0o600, "home"), (0o750, 0o640, "home jobs.sqlite3"),
])  # fmt: skip
def test_records_that_others_can_read(env: Environment, home: int, store: int, open_to_others: str) -> None:
    """A home or store that other users can reach and read is a warning, with the command that closes it."""
    folder = Path(env["TENXSOM_HOME"])
    with open_engine(load(env), "local"):
        pass
    folder.chmod(home)
    (folder / "jobs.sqlite3").chmod(store)
    found = [finding for finding in examine(env) if finding.about == "privacy" and finding.state == "warning"]
    assert [finding.fix.split("/")[-1] for finding in found] == open_to_others.split()
    assert all(finding.fix.startswith("chmod ") for finding in found)


def test_an_invalid_variable(env: Environment) -> None:
    """A variable with an invalid value is named."""
    the_problem(env | {"CLOUD_TASKS_MAX_DISPATCHES": "fast"}, "settings", "CLOUD_TASKS_MAX_DISPATCHES", "fast")


def test_a_wrong_setting_does_not_stop_the_other_checks(env: Environment) -> None:
    """Each invalid variable is a problem, nothing says that all are valid, and the other parts are checked."""
    found = list(examine(env | {"TENXSOM_SIMULATED": "help", "CLOUD_TASKS_MAX_DISPATCHES": "fast"}))
    first, second = [finding.text for finding in found if finding.state == "problem"]
    assert "CLOUD_TASKS_MAX_DISPATCHES" in first
    assert "TENXSOM_SIMULATED" in second
    assert {"disk", "output", "store", "queue", "workers"} <= {finding.about for finding in found}
    assert ("settings", "ok") not in {(finding.about, finding.state) for finding in found}


@pytest.mark.parametrize("variable", ["REDIS_PORT", "TENXSOM_QUEUE_TYPE"])
def test_another_store_than_the_intended_one_is_not_checked(env: Environment, variable: str) -> None:
    """If the setting of the queue or its server is wrong, the doctor says that it did not check the store."""
    found = list(examine(env | {variable: "wrong"}))
    assert [(one.about, one.state) for one in found if one.about in ("settings", "store", "queue")] == [
        ("store", "warning"), ("settings", "problem")
    ]  # fmt: skip
    assert {"disk", "output"} <= {finding.about for finding in found}
    assert not Path(env["TENXSOM_HOME"], "jobs.sqlite3").exists()


def test_a_service_whose_host_does_not_exist(env: Environment) -> None:
    """A configured service whose host does not resolve is a problem, with the variable that names the host."""
    service = {"LTX_API_KEY": "a-key-of-ltx", "LTX_BASE_URL": "https://api.ltx.invalid"}
    the_problem(env | service, "network", "api.ltx.invalid", "LTX_BASE_URL")


def test_a_queue_type_that_does_not_exist(env: Environment) -> None:
    """An unknown queue type is named, with the known types."""
    the_problem(env | {"TENXSOM_QUEUE_TYPE": "rabbit"}, "settings", "rabbit", "redis, local")


def test_a_library_that_is_missing(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not installed is named, with the command that installs it."""
    right = metadata.version

    def version(name: str) -> str:
        if name == "gunicorn":
            raise metadata.PackageNotFoundError(name)
        return right(name)

    monkeypatch.setattr(metadata, "version", version)
    the_problem(env, "libraries", "gunicorn", "pip install --require-hashes -r requirements.lock")


def test_an_old_python() -> None:
    """An unsupported version of Python is a problem, with the version to install."""
    (found,) = machine.python(oldest=(4, 0))
    assert (found.state, "too old" in found.text, found.fix) == ("problem", True, "use Python 4.0 or newer")


def test_a_folder_that_cannot_be_written(env: Environment, tmp_path: Path) -> None:
    """If videos cannot be written, the folder is named."""
    (tmp_path / "videos").write_text("a file in its place")
    the_problem(env | {"TENXSOM_OUTPUT_DIR": str(tmp_path / "videos")}, "output", str(tmp_path / "videos"))


@pytest.mark.parametrize(("free", "state"), [(10**8, "problem"), (10**9, "warning")])
def test_a_disk_that_fills_up(env: Environment, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    """Low disk space is a warning, very low a problem, with the variable that moves the folder."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - free, free))
    found = [finding for finding in examine(env) if finding.about == "disk"]
    assert {finding.state for finding in found} == {state}
    assert "TENXSOM_OUTPUT_DIR" in found[0].fix


@pytest.mark.parametrize(
    ("state", "finding"),
    [
        (MachineState("a font"), Finding("fonts", "ok", "a font")),
        (
            MachineState("no font", "no-font", "install it"),
            Finding("fonts", "warning", "no font", "install it", "no-font"),
        ),
    ],
    ids=["ok", "warning"],
)
def test_a_check_of_a_service_is_a_finding(state: MachineState, finding: Finding) -> None:
    """What a service lacks on this machine is a warning with its code and the step that fixes it."""
    assert list(machine.of_service(MachineCheck("fonts", lambda: state))) == [finding]


def test_a_redis_server_that_does_not_answer(env: Environment) -> None:
    """A configured server that does not answer is a problem."""
    the_problem(
        env | {"REDIS_URL": "redis://:secret-word@127.0.0.1:1/0"}, "store", "Redis", "redis-cli -h 127.0.0.1 -p 1 ping"
    )


def test_a_redis_server_that_would_lose_jobs(env: Environment, tmp_path: Path) -> None:
    """A server that evicts keys is a problem, and one without an append-only file a warning, each with the command."""
    server = RedisServer(tmp_path, "--maxmemory-policy", "allkeys-lru")
    env["REDIS_URL"] = server.url
    with redis.Redis(port=server.port) as client:
        the_problem(env, "store", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "no")
        the_warning(env, "store", "no append-only file", "CONFIG SET appendonly yes")
    server.kill()


def test_a_store_that_is_no_store(env: Environment, tmp_path: Path) -> None:
    """A file of another program in place of the store is named."""
    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    the_problem(env | {"TENXSOM_STORE": f"sqlite://{path}"}, "store", "other.sqlite3", "another program")


def test_a_clock_that_is_wrong(env: Environment) -> None:
    """A store whose clock is ahead of this machine's is a problem, with the difference."""
    open_engine(load(env)).close()
    with sqlite3.connect(Path(env["TENXSOM_HOME"]) / "jobs.sqlite3") as db:
        db.execute("UPDATE clock SET last = ?", (time.time() + 5000,))
    db.close()
    the_problem(env, "clock", "ahead", "timedatectl")


def test_a_queue_that_does_not_exist(env: Environment, cloud: CloudTasksServer, worker: ScriptedTarget) -> None:
    """A queue that does not exist at Google is a problem, with the command that creates it."""
    cloud.client().delete_queue(name=QUEUE)
    worker.answer(200, 401)
    the_problem(env, "queue", "queue create")


def test_a_role_that_is_missing(env: Environment, cloud: CloudTasksServer, worker: ScriptedTarget) -> None:
    """An account without permission to read the queue is a problem, with the role to grant."""
    cloud.faults.refuse("GetQueue", StatusCode.PERMISSION_DENIED, times=20)
    worker.answer(200, 401)
    the_problem(env, "queue", "roles/cloudtasks")


def test_credentials_that_are_missing(env: Environment, worker: ScriptedTarget, tmp_path: Path) -> None:
    """Missing credentials for Cloud Tasks are a problem, with the command that creates them."""
    worker.answer(200, 401)
    google = {"GOOGLE_CLOUD_PROJECT": "p-1", "CLOUD_TASKS_WORKER_URL": worker.address}
    env |= {"TENXSOM_ALLOW_UNAUTHENTICATED": "true"}  # else Google's certificates would be fetched
    named = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "none.json"), "TENXSOM_QUEUE_TYPE": "cloud_tasks"}
    the_problem(env | google | named, "queue", "none.json", "gcloud auth")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((200, 200), ("returns 200 without a token", "TENXSOM_ALLOW_UNAUTHENTICATED")),
        ((404, 404), ("returns 404", "CLOUD_TASKS_WORKER_URL")),
    ],
)
def test_a_worker_without_authentication_or_another_server(
    env: Environment, cloud: CloudTasksServer, worker: ScriptedTarget, answers: tuple[int, int], words: tuple[str, ...]
) -> None:
    """A worker that accepts requests without a token, or another server at its address, is a problem."""
    worker.answer(*answers)
    the_problem(env, "worker address", *words)


@pytest.mark.parametrize("answers", [(200, 401), (403, 403)])
def test_a_worker_that_is_guarded(
    env: Environment, cloud: CloudTasksServer, worker: ScriptedTarget, answers: tuple[int, int]
) -> None:
    """An address that rejects requests without a token is fine, whether the worker or a proxy rejects them."""
    worker.answer(*answers)
    assert not wrong(env)
    assert [(request.method, request.path) for request in worker.received] == [("GET", "/health"), ("POST", "/process")]


def test_an_answer_without_an_end(env: Environment, cloud: CloudTasksServer) -> None:
    """An endless response at the worker's address does not block the check, which reports a missing authentication."""
    over = threading.Event()

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            over.wait(60.0)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        the_problem(env | {"CLOUD_TASKS_WORKER_URL": address}, "worker address", "returns 200 without a token")
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("server_ahead", "state", "words"),
    [
        (0, "ok", "this machine's clock agrees"),
        (
            40,
            "problem",
            "behind the clock of the tokens' signer, so a worker here rejects all deliveries",
        ),
        (-40, "warning", "ahead of the clock of the tokens' signer"),
    ],
)
def test_a_clock_that_tokens_do_not_agree_with(
    env: Environment, cloud: CloudTasksServer, server_ahead: float, state: str, words: str
) -> None:
    """The clock must agree with that of the tokens' signer to the 10 s that the check of tokens accepts."""
    with closing(Site()) as site:
        site.date = formatdate(time.time() + server_ahead, usegmt=True) if server_ahead else ""
        env |= {"TENXSOM_TOKEN_CERTS_URL": site.url}
        found = [finding for finding in examine(env) if finding.about == "tokens"]
    assert [finding.state for finding in found] == [state]
    assert words in found[0].text
    assert ("timedatectl" in found[0].fix) is (state != "ok")


def test_certificates_that_cannot_be_fetched(env: Environment, cloud: CloudTasksServer) -> None:
    """Certificates out of reach are a warning, since only workers need them; without authentication nobody does."""
    env |= {"TENXSOM_TOKEN_CERTS_URL": "http://127.0.0.1:1/certs"}
    found = [finding for finding in examine(env) if finding.about == "tokens"]
    assert [(finding.state, "127.0.0.1:1" in finding.text) for finding in found] == [("warning", True)]
    env |= {"TENXSOM_ALLOW_UNAUTHENTICATED": "true"}
    assert [finding for finding in examine(env) if finding.about == "tokens"] == []


def test_a_worker_that_does_not_answer(env: Environment, cloud: CloudTasksServer) -> None:
    """An address where no server answers is a problem."""
    the_problem(env | {"CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9"}, "worker address", "does not answer")


def test_a_worker_without_encryption(
    env: Environment, cloud: CloudTasksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain HTTP address is a problem, because tokens could be read in transit."""

    def unreachable(*_: object, **__: object) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", unreachable)
    found = wrong(env | {"CLOUD_TASKS_WORKER_URL": "http://worker.test"})
    assert "not encrypted" in found[0].text
    assert "https" in found[0].fix


def test_a_key_that_is_wrong(env: Environment, useapi: FakeUseApi) -> None:
    """A key that the service refuses is a problem of that service; the key is not shown."""
    the_problem(env | {"USEAPI_TOKEN": "user:9-secret-word"}, "pixverse", "USEAPI_TOKEN")
    (found,) = wrong(env | {"USEAPI_TOKEN": "user:9-secret-word"})
    assert not found.text.startswith("pixverse")  # the name of the part is shown before it
    assert "secret-word" not in str(list(examine(env | {"USEAPI_TOKEN": "user:9-secret-word"})))


def test_an_account_that_is_empty(env: Environment, useapi: FakeUseApi) -> None:
    """An account without credit is a problem; otherwise the finding has the remaining credit."""
    assert any(f.state == "ok" and "1,000 credits left" in f.text for f in examine(env))
    useapi.balance = 0.0
    the_problem(env, "pixverse", "no credit left")


def test_a_service_without_a_balance(env: Environment) -> None:
    """For a service that does not report its balance, the finding says where to find it, not that the key is valid."""
    (found,) = [finding for finding in examine(env | {"LTX_API_KEY": "wrong"}) if finding.about == "ltx_studio"]
    assert found.text == "configured; it does not report its remaining credit (see console.ltx.io)"


def test_a_service_that_is_down(env: Environment, useapi: FakeUseApi) -> None:
    """A service that is temporarily down is a warning, because the operator cannot fix it."""
    useapi.faults["scheduler"].extend([Answer(503, {})] * 20)
    the_warning(env, "pixverse", "503")


def test_a_service_that_has_stopped(env: Environment, useapi: FakeUseApi) -> None:
    """A stopped service is a problem, with the service's message."""
    with open_engine(load(env)) as engine:
        engine.limiter.refused("pixverse", Misconfigured("pixverse", "the plan has ended"))
    the_problem(env, "services", "the plan has ended", "docs/operations.md#service-stopped")


def test_a_check_that_crashes_is_a_finding() -> None:
    """A bug in one check becomes a finding without secrets, and the other checks still run."""

    def fail() -> MachineState:
        raise RuntimeError("secret-word")

    broken = MachineCheck("fonts", fail)

    (found,) = run_check("fonts", lambda: machine.of_service(broken))
    assert (found.about, found.state) == ("fonts", "problem")
    assert "secret-word" not in str(found)


def test_the_command(env: Environment, tmp_path: Path) -> None:
    """`doctor` prints its findings, as data with `--json`, and exits with 1 if there is a problem."""

    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        clean = dict.fromkeys(("TENXSOM_QUEUE_TYPE",), "")
        done = CliRunner().invoke(
            cli,
            ["doctor", *arguments],
            env=clean | env | variables,
            standalone_mode=False,
            prog_name="run_flow_enhanced.py",
        )
        return int(done.return_value or 0), done.stdout

    code, text = run()
    assert (code, "→ start one with: python3 worker.py" in text) == (0, True)
    (workers,) = [one for one in json.loads(run("--json")[1])["findings"] if one["about"] == "workers"]
    assert (workers["code"], workers["actions"]) == ("no-worker", ["start_worker"])
    assert workers["fix"] == "start one with: python3 worker.py"
    code, text = run("--json", TENXSOM_QUEUE_TYPE="rabbit")
    output = json.loads(text)
    assert (code, output["problems"], output["findings"][-1]["about"]) == (1, 1, "settings")


def test_every_library_is_checked() -> None:
    """`doctor` checks exactly the packages of `requirements.txt`."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert {line.partition(">=")[0] for line in lines if line and line[0] != "#"} == set(machine.LIBRARIES)
