"""Run every command of every page in order; commands that cannot run here are listed with the reason."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tests.e2e.conftest import ROOT, WAIT_SECONDS, Flow
from tests.e2e.test_paid_jobs import TICKET, hold, retried_after_wrong_ticket
from tests.prefork_python import WarmPython
from tests.redis_server import RedisServer, older_binary

MIGRATION = "docs/migrating-from-redis.md"
API = "docs/api.md"
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), ROOT / "benchmarks/README.md", *sorted(ROOT.glob("docs/**/*.md")))
]
#: Prefixes of commands that do not run here, with the reason.
ELSEWHERE = {
    "make ": "the targets make environments or measure for minutes; `.ci/run` calls them",
    "gunicorn -c gunicorn.conf.py": "tests/e2e/test_cloud_tasks_worker.py runs it",
    "gunicorn -c python:": "tests/e2e/test_wheel.py reads its settings",
    "python3 run_flow_enhanced.py dashboard": "tests/e2e/test_dashboard_process.py, on a free port",
    "pipx install": "needs the network; tests/e2e/test_wheel.py installs the wheel",
    "python3 run_flow_enhanced.py webhook test": "needs a receiver; test_endpoint_commands.py runs it",
    "python3 run_flow_enhanced.py alert test": "the same",
    "python3 run_flow_enhanced.py emulator": "test_three_commands_run_the_whole_path_on_a_laptop, with free ports",
    "TENXSOM_ENV_FILE=emulator.env": "the same",
    "systemd-run": "needs the systemd of a user session",
    "loginctl": "the same",
    "systemctl": "needs root, and the units installed",
    "journalctl": "needs the journal of units",
    "apt install": "needs root and the network",
    "useradd": "needs root",
    "git clone": "needs root and the network",
    "python3 -m venv .venv": "needs the network",
    "install -m": "needs root; tests/integration/test_deploy.py checks the files",
    "cp ": "needs root; tests/integration/test_deploy.py checks the files",
    "cd /opt/tenxsom-flow-engine && git pull": "needs the network",
    "redis-cli CONFIG SET": "changes a server that other tests use",
    "deploy/google-cloud.sh --project PROJECT --worker-url https://flow.example.org --apply": "needs Google",
    "sudo -u tenxsom .venv/bin/python run_flow_enhanced.py queue update": (
        "needs the queue that the script creates; tests/e2e/test_cloud_tasks_commands.py runs it"
    ),
}
#: The command that exits with 1 on a machine that is not set up.
CAN_EXIT_WITH_1 = "python3 run_flow_enhanced.py doctor"


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield the shell and Python blocks and the headings of a page in order: (kind, code, "") or ("", "", heading)."""
    text = (ROOT / page).read_text("utf-8")
    text = re.sub(r"^```\n(?:[\d*]+ ){5} *", "```bash\n", text, flags=re.MULTILINE)  # a crontab line
    yield from re.findall(r"^```(bash|python)\n(.*?)^```$|^(##+ [^\n]+)$", text, re.MULTILINE | re.DOTALL)


def statements(kind: str, block: str) -> Iterator[str]:
    """Yield the commands of a block, each with its continuation lines; a Python block is one command."""
    if kind == "python":
        yield f"python3 -c {shlex.quote(block)}"
        return
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        try:
            words = shlex.split("\n".join(lines), comments=True)
        except ValueError:  # a quotation continues in the next line
            continue
        if not line.endswith("\\"):
            if words:
                yield "\n".join(lines)
            lines = []
    assert not lines


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with WarmPython(tmp_path_factory.mktemp("python")) as warm:
        yield warm.program


@pytest.fixture(scope="module")
def google() -> Iterator[str]:
    with CloudTasksServer() as server:
        yield server.target


class Reader:
    """A user with a fresh home and a clone in it, who types the commands of a page."""

    def __init__(self, flow: Flow, python: Path, redis_url: str, google: str) -> None:
        self.flow = flow
        self.folder = flow.home / "tenxsom-flow-engine"
        self.replacements = {
            r"/opt/tenxsom-flow-engine": str(self.folder),
            r"/var/lib/tenxsom-flow-engine|/backup": str(flow.home),
            r"redis://[\w.:]+/0": redis_url,
            r"…": "x",
        }
        programs = flow.home / "bin"
        (self.folder / ".venv/bin").mkdir(parents=True)
        programs.mkdir()
        for path in [*ROOT.glob("*.py"), ROOT / "deploy"]:
            (self.folder / path.name).symlink_to(path)
        for path in (programs / "python3", self.folder / ".venv/bin/python"):
            path.symlink_to(python)
        (self.folder / ".venv/bin/activate").touch()  # the program is on PATH already
        (self.folder / "topics.txt").write_text("Why we dream\nHow tides work\n")
        (self.folder / "key.json").write_text('{"client_email": "caller@p-1.iam.gserviceaccount.com"}')
        (flow.home / "admin-token").write_text("as-a-worker-makes-it\n")
        client = older_binary().replace("redis-server", "redis-cli")
        for name, does in {
            "redis-cli": f'"{client}" -u {redis_url} "$@"',
            "sudo": 'shift 2; exec "$@"',
            "tenxsom-flow": 'exec python3 tenxsom-flow "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{does}\n")
            (programs / name).chmod(0o755)
        flow.environment |= {
            "HOME": str(flow.home), "PATH": f"{programs}:{flow.environment['PATH']}",
            "CLOUD_TASKS_EMULATOR_HOST": google, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_QUEUE": secrets.token_hex(6), "TENXSOM_LEASE_SECONDS": "",
        }  # fmt: skip

    def run_page(self, page: str, *, in_one_terminal: bool = False) -> dict[str, str]:
        """Run a page's commands and return their outputs; exports end with their section unless `in_one_terminal`."""
        script = ["set -Eeuo pipefail", "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR", "("]
        commands: list[str] = []
        for kind, block, heading in blocks(page):
            if heading and not in_one_terminal:
                script += [":", ")", "("]
            for statement in statements(kind, block):
                if not statement.startswith(tuple(ELSEWHERE)):
                    script.append(f"{{ {self._localized(statement)}\n}} > '{self.flow.home}/{len(commands)}.out'")
                    commands.append(statement)
        done = subprocess.run(
            ["bash"], input="\n".join([*script, ":", ")"]), env=self.flow.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=10 * WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}: {done.stderr[-3000:]}"
        return {statement: (self.flow.home / f"{n}.out").read_text() for n, statement in enumerate(commands)}

    def _localized(self, statement: str) -> str:
        """Replace the page's paths and addresses, `JOB` by a held or retried job, and `ID` by a ticket."""
        for shown, here in self.replacements.items():
            statement = re.sub(shown, here, statement)
        if "resolve JOB" in statement:
            job_id = secrets.token_hex(6)
            with closing(self.flow.store()) as store:
                (retried_after_wrong_ticket if "--withdraw" in statement else hold)(self.flow, store, job_id)
            statement = statement.replace("JOB", job_id).replace("--ticket ID", f"--ticket {TICKET}")
        for asks in ("--resubmit", "run-now tides"):  # on a terminal, the command asks
            statement = statement.replace(asks, f"{asks} --yes")
        # On a separate line, because the statement can end with a comment.
        return f"{{ {statement}\n}} || test $? = 1" if statement.startswith(CAN_EXIT_WITH_1) else statement


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty database that no other test uses."""
    url = redis_server.url.removesuffix("/0") + "/9"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.config_set("repl-diskless-sync-delay", 0)  # `redis-cli --rdb` starts without a delay
    return url


@pytest.fixture
def reader(flow: Flow, python: Path, redis_url: str, google: str) -> Reader:
    return Reader(flow, python, redis_url, google)


def test_the_readme_works(reader: Reader) -> None:
    """The commands of the README make a video, plan a day, use other queues, and run its Python."""
    outputs = {statement.partition("  ")[0]: text for statement, text in reader.run_page("README.md").items()}
    video = outputs['python3 run_flow_enhanced.py single "AI Innovation" --wait'].strip()
    assert Path(video).stat().st_size > 0
    planned = outputs["python3 run_flow_enhanced.py schedule --daily-count 96 --videos-per-hour 4"]
    assert len(planned.splitlines()) == 96
    assert json.loads(outputs["python3 run_flow_enhanced.py status"])["queue_type"] == "local"
    assert "a response\n100.0\n" in outputs.values()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("README.md", MIGRATION, API)])
def test_the_commands_of_a_page_work(reader: Reader, page: str) -> None:
    """The commands of a page run without an error."""
    reader.run_page(page)


def test_a_plain_list_is_migrated_there_and_back(reader: Reader, redis_url: str) -> None:
    """The guide imports legacy entries, shows the rejected ones, and moves jobs to Cloud Tasks and back."""
    name, good = "tenxsom_flow_engine:job_queue", '{"params": {"topic": "It\'s tidal", "duration": 5.0}}'
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.lpush(name, '{"topic": "Tides", "duration": 5}', good, '{"duration": 5}')
        outputs = reader.run_page(MIGRATION, in_one_terminal=True)
        assert [json.loads(entry)["topic"] for entry in client.lrange(name, 0, -1)] == ["Why cats purr"]
        assert client.keys("*flow_trial*") == []
    answers = {statement.partition("#")[0].strip(): text for statement, text in outputs.items()}
    would_be_made = answers["REDIS_QUEUE_KEY=flow_trial python3 run_flow_enhanced.py jobs"]
    assert re.findall("Tides|It's tidal", would_be_made) == ["Tides", "It's tidal"]
    assert answers['redis-cli LRANGE "{flow_trial}:rejected" 0 -1'] == '{"duration": 5}\n'
    status = "python3 run_flow_enhanced.py status"
    assert json.loads(answers[f"{status} --queue-type cloud_tasks"])["approximate_task_count"] == 1
    assert "cloud_tasks" in answers["python3 run_flow_enhanced.py show cats"]
    assert json.loads(answers[f"{status} --queue-type redis"])["jobs"]["scheduled"] == 1
    at_the_end = json.loads(answers[status])
    assert (at_the_end["jobs"]["succeeded"], at_the_end["jobs"]["scheduled"]) == (6, 0)
    assert at_the_end["entries_set_aside"] == 0


def test_the_api_makes_a_video(reader: Reader, flow: Flow) -> None:
    """The commands and the program of the page lead from a key to a finished video."""
    flow.environment |= {"TENXSOM_SIMULATED": "latency=0"}
    flow._start([str(ROOT / "run_flow_enhanced.py"), "dashboard", "--port", "0"], {})
    listening = flow.until(lambda: re.search(r"Listening at: http://([\d.:]+)", flow.log()), "the address")
    flow.worker()
    reader.replacements |= {r"127\.0\.0\.1:8090": listening[1]}
    outputs = reader.run_page(API, in_one_terminal=True)
    assert (reader.folder / "video.mp4").stat().st_size > 10_000
    assert json.loads((reader.folder / "added.json").read_text())["added"] == 1
    by_python = next(text for statement, text in outputs.items() if statement.startswith("python3 -c"))
    assert re.fullmatch(r"succeeded /api/v1/jobs/why-we-dream-\w+/video\n", by_python)
    cancelled = next(text for statement, text in outputs.items() if "cancel-cats" in statement)
    assert (json.loads(cancelled)["status"], json.loads(cancelled)["topic"]) == (
        "cancelled",
        "Why big cats do not purr",
    )


def test_every_exception_is_still_needed() -> None:
    """Each prefix in `ELSEWHERE` matches a command of a page."""
    shown = [statement for page in PAGES for kind, block, _ in blocks(page) for statement in statements(kind, block)]
    assert [begin for begin in ELSEWHERE if not any(statement.startswith(begin) for statement in shown)] == []
