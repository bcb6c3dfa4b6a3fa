"""Every command that a page shows is run as it stands there, in the order of the page, or said here why not."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tests.e2e.conftest import ROOT, WAIT_SECONDS, Flow
from tests.e2e.test_paid_jobs import hold
from tests.prefork_python import WarmPython
from tests.redis_server import RedisServer, older_binary

MIGRATION = "docs/migrating-from-redis.md"
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), ROOT / "benchmarks/README.md", *sorted(ROOT.glob("docs/**/*.md")))
]
#: Commands that are not run here, by what they begin with, and why.
ELSEWHERE = {
    "make ": "the targets make environments or measure for minutes; `.ci/run` calls them",
    "gunicorn -c gunicorn.conf.py": "tests/e2e/test_cloud_tasks_worker.py runs it",
    "gunicorn -c python:": "tests/e2e/test_wheel.py reads its settings",
    "python3 run_flow_enhanced.py dashboard": "tests/e2e/test_dashboard_process.py, on a free port",
    "pipx install": "needs the network; tests/e2e/test_wheel.py installs the wheel",
    "python3 run_flow_enhanced.py emulator": "test_three_commands_run_the_whole_path_on_a_laptop, with free ports",
    "TENXSOM_ENV_FILE=emulator.env": "the same",
    "systemd-run": "needs the systemd of somebody who is logged in",
    "loginctl": "the same",
    "systemctl": "needs root, and the units installed",
    "journalctl": "needs the journal of units",
    "apt install": "needs root and the network",
    "useradd": "needs root",
    "git clone": "needs root and the network",
    "python3 -m venv .venv": "needs the network",
    "install -m": "needs root; tests/integration/test_deploy.py looks at the files",
    "cp ": "needs root; tests/integration/test_deploy.py looks at the files",
    "cd /opt/tenxsom-flow-engine && git pull": "needs the network",
    "redis-cli CONFIG SET": "changes a server that other tests use",
    "deploy/google-cloud.sh --project PROJECT --worker-url https://flow.example.org --apply": "needs Google",
    "gcloud": "needs Google",
}
#: Commands whose exit code 1 tells of a machine that is not set up.
MAY_FIND_FAULTS = "python3 run_flow_enhanced.py doctor"


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Give the shell and Python of a page in order: kind, code and no heading; or a heading alone."""
    text = (ROOT / page).read_text("utf-8")
    text = re.sub(r"^```\n(?:[\d*]+ ){5} *", "```bash\n", text, flags=re.MULTILINE)  # a line of cron, without its time
    yield from re.findall(r"^```(bash|python)\n(.*?)^```$|^(##+ [^\n]+)$", text, re.MULTILINE | re.DOTALL)


def statements(kind: str, block: str) -> Iterator[str]:
    """Give the commands of a block, which may go over several lines; a block of Python is one."""
    if kind == "python":
        yield f"python3 -c {shlex.quote(block)}"
        return
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        try:
            words = shlex.split("\n".join(lines), comments=True)
        except ValueError:  # a quotation goes on in the next line
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
    """Somebody with a fresh home and a clone in it, who types what a page shows."""

    def __init__(self, flow: Flow, python: Path, redis_url: str, google: str) -> None:
        self.flow = flow
        self.folder = flow.home / "tenxsom-flow-engine"
        self.stand_ins = {
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

    def types(self, page: str, *, in_one_terminal: bool = False) -> dict[str, str]:
        """Run a page's commands and return what each printed; exports end with their section, unless told otherwise."""
        script = ["set -Eeuo pipefail", "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR", "("]
        typed: list[str] = []
        for kind, block, heading in blocks(page):
            if heading and not in_one_terminal:
                script += [":", ")", "("]
            for statement in statements(kind, block):
                if not statement.startswith(tuple(ELSEWHERE)):
                    script.append(f"{{ {self._as_here(statement)}\n}} > '{self.flow.home}/{len(typed)}.out'")
                    typed.append(statement)
        done = subprocess.run(
            ["bash"], input="\n".join([*script, ":", ")"]), env=self.flow.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=10 * WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}: {done.stderr[-3000:]}"
        return {statement: (self.flow.home / f"{n}.out").read_text() for n, statement in enumerate(typed)}

    def _as_here(self, statement: str) -> str:
        """Put places of this machine in a command for those of the page, and a job that fits for `JOB`."""
        for shown, here in self.stand_ins.items():
            statement = re.sub(shown, here, statement)
        if "resolve JOB" in statement:
            job_id = secrets.token_hex(6)
            hold(self.flow, self.flow.store(), job_id)
            statement = statement.replace("JOB", job_id)
        # On a line of its own, since a comment may end the statement's.
        return f"{{ {statement}\n}} || test $? = 1" if statement.startswith(MAY_FIND_FAULTS) else statement


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A database that no other test uses, and that is empty."""
    url = redis_server.url.removesuffix("/0") + "/9"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.config_set("repl-diskless-sync-delay", 0)  # a copy need not wait for others who want one
    return url


@pytest.fixture
def reader(flow: Flow, python: Path, redis_url: str, google: str) -> Reader:
    return Reader(flow, python, redis_url, google)


def test_the_readme_works(reader: Reader) -> None:
    """Whoever types what the README shows gets what it says: a video, a plan, a queue elsewhere, answers in Python."""
    said = {statement.partition("  ")[0]: text for statement, text in reader.types("README.md").items()}
    video = said['python3 run_flow_enhanced.py single --topic "AI Innovation" --wait'].strip()
    assert Path(video).stat().st_size > 0
    planned = said["python3 run_flow_enhanced.py schedule --daily-count 96 --videos-per-hour 4"]
    assert len(planned.splitlines()) == 96
    assert json.loads(said["python3 run_flow_enhanced.py status"])["queue_type"] == "local"
    assert "a response\n100.0\n" in said.values()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("README.md", MIGRATION)])
def test_the_commands_of_a_page_work(reader: Reader, page: str) -> None:
    """Whoever types what a page shows meets no error."""
    reader.types(page)


def test_a_plain_list_is_migrated_there_and_back(reader: Reader, redis_url: str) -> None:
    """The guide takes over what old producers pushed, shows what it cannot, moves jobs to Google's queue and back."""
    name, good = "tenxsom_flow_engine:job_queue", '{"params": {"topic": "It\'s tidal", "duration": 5.0}}'
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.lpush(name, '{"topic": "Tides", "duration": 5}', good, '{"duration": 5}')
        said = reader.types(MIGRATION, in_one_terminal=True)
        assert [json.loads(entry)["topic"] for entry in client.lrange(name, 0, -1)] == ["Why cats purr"]
        assert client.keys("*flow_trial*") == []
    answers = {statement.partition("#")[0].strip(): text for statement, text in said.items()}
    would_be_made = answers["REDIS_QUEUE_KEY=flow_trial python3 run_flow_enhanced.py jobs"]
    assert re.findall("Tides|It's tidal", would_be_made) == ["It's tidal", "Tides"]
    assert answers['redis-cli LRANGE "{flow_trial}:rejected" 0 -1'] == '{"duration": 5}\n'
    status = "python3 run_flow_enhanced.py status"
    assert json.loads(answers[f"{status} --queue-type cloud_tasks"])["approximate_task_count"] == 1
    assert "cloud_tasks" in answers["python3 run_flow_enhanced.py show cats"]
    assert json.loads(answers[f"{status} --queue-type redis"])["jobs"]["scheduled"] == 1
    at_the_end = json.loads(answers[status])
    assert (at_the_end["jobs"]["succeeded"], at_the_end["jobs"]["scheduled"]) == (6, 0)
    assert at_the_end["entries_set_aside"] == 0


def test_nothing_is_left_out_in_vain() -> None:
    """Each command that is not run here is one that a page shows."""
    shown = [statement for page in PAGES for kind, block, _ in blocks(page) for statement in statements(kind, block)]
    assert [begin for begin in ELSEWHERE if not any(statement.startswith(begin) for statement in shown)] == []
