"""The files of `deploy/` are well formed, and the files that they name exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tenxsom_flow_engine.env.file import read_env_file
from tests.unit.test_env_file import ACCEPTED

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
HOME = "/opt/tenxsom-flow-engine"
#: Reads files of variables for user sessions, with systemd's parser of environment files.
SYSTEMD_READER = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")


def test_each_unit_runs_an_existing_program() -> None:
    """A unit runs a program of the virtual environment on a file of the project."""
    commands = [
        line.partition("=")[2]
        for unit in UNITS.glob("*.service")
        for line in unit.read_text("utf-8").splitlines()
        if line.startswith("ExecStart=")
    ]
    assert len(commands) == 4
    for command in commands:
        program, *arguments = command.split()
        assert program.startswith(f"{HOME}/.venv/bin/"), command
        named = [argument for argument in arguments if argument.endswith(".py")]
        named += [f"{module}.py" for argument in arguments if argument.endswith(":app") for module in [argument[:-4]]]
        assert named, command
        assert all((ROOT / name).is_file() for name in named), command


def test_the_units_are_valid(tmp_path: Path) -> None:
    """The units have valid sections, and `systemd-analyze`, if installed, accepts them."""
    for unit in UNITS.rglob("*.*"):
        if unit.is_file():
            sections = re.findall(r"^\[(\w+)\]$", unit.read_text("utf-8"), re.MULTILINE)
            assert set(sections) <= {"Unit", "Service", "Timer", "Install"}, unit
            assert len(sections) == len(set(sections)) > 0, unit
    if shutil.which("systemd-analyze") is None:
        return
    units = shutil.copytree(UNITS, tmp_path / "units")
    for unit in units.rglob("*.service"):
        text = unit.read_text("utf-8")
        # These paths exist only on an installed machine.
        unit.write_text(re.sub(rf"{HOME}/\.venv/bin/\w+", "/bin/true", text).replace(HOME, "/"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units.glob("*.*r"))], capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_limit_their_resources() -> None:
    """No unit writes core dumps or can fill the machine's memory, and a killed child does not stop its worker."""
    common = (UNITS / "tenxsom-flow-.service.d" / "common.conf").read_text("utf-8").splitlines()
    assert {"LimitCORE=0", "MemoryMax=80%", "OOMPolicy=continue", "TasksMax=2048", "StateDirectoryMode=0700"} <= {
        *common
    }


def test_workers_are_always_started_again() -> None:
    """A worker is restarted forever, with a pause: systemd would give up after five quick exits otherwise."""
    for name in ("worker", "web", "dashboard"):
        unit = (UNITS / f"tenxsom-flow-{name}.service").read_text("utf-8").splitlines()
        assert {"Restart=always", "RestartSec=2", "StartLimitIntervalSec=0"} <= set(unit)
    for page in ("README.md", "docs/tutorial.md"):
        (command,) = re.findall(r"^systemd-run (?:.*\\\n)*.*$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
        assert all(f"-p {one}" in command for one in ("Restart=always", "RestartSec=2", "StartLimitIntervalSec=0"))


def test_the_image_has_every_entry_point() -> None:
    """The Dockerfile copies every entry point, and names only existing files."""
    copied = set(re.findall(r"^COPY (.+) \./$", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    files = {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in files)
    assert {path.name for path in ROOT.glob("*.py")} <= files


def test_the_image_installs_checked_packages_only() -> None:
    """The image installs from the lock file with its hashes, and its base can be set to a fixed digest."""
    text = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    assert re.findall(r"pip install .*", text) == ["pip install --no-cache-dir --require-hashes -r requirements.lock"]
    assert re.findall(r"^(?:ARG|FROM) .*", text, re.MULTILINE) == ["ARG BASE=python:3.12-slim", "FROM ${BASE}"]


def test_the_project_script_prints_its_commands() -> None:
    """Without --apply the script prints the commands, with every required role, and runs nothing."""
    script = ROOT / "deploy" / "google-cloud.sh"
    done = subprocess.run(
        ["bash", str(script), "--project", "p1", "--worker-url", "https://flow.example.org"],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    bindings = [line for line in done.stdout.splitlines() if "add-iam-policy-binding" in line]
    on_the_queue = [line for line in bindings if line.startswith("gcloud tasks queues add-iam-policy-binding tenxsom-")]
    roles = {role for line in on_the_queue for role in re.findall(r"--role (\S+)", line)}
    assert roles == {f"roles/cloudtasks.{role}" for role in ("enqueuer", "queueAdmin", "viewer")}
    assert "gcloud projects add-iam-policy-binding" not in done.stdout
    assert "roles/iam.serviceAccountUser" in done.stdout
    assert "CLOUD_TASKS_WORKER_URL=https://flow.example.org" in done.stdout


def test_the_project_script_requires_a_project() -> None:
    """A missing --project is a usage error."""
    done = subprocess.run(["bash", str(ROOT / "deploy" / "google-cloud.sh"), "--apply"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.skipif(not SYSTEMD_READER.is_file(), reason="systemd is not installed")
@pytest.mark.parametrize(
    ("text", "values"),
    # This reader shares its parser with that of units, but also expands variables and leaves out empty ones.
    [(text, values) for text, values in ACCEPTED if "$" not in text and all(values.values())],
    ids=lambda value: repr(value)[:30],
)
def test_systemd_reads_the_environment_file_alike(tmp_path: Path, text: str, values: dict[str, str]) -> None:
    """The lines of an environment file that the engine accepts have the same meaning to systemd."""
    (tmp_path / "environment.d").mkdir()
    (tmp_path / "environment.d" / "flow.conf").write_bytes(text.encode())
    done = subprocess.run([SYSTEMD_READER], stdout=subprocess.PIPE, env={"XDG_CONFIG_HOME": str(tmp_path)}, check=True)
    printed = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    for name, value in values.items():
        quoted = re.fullmatch('"(.*)"', printed[name])
        text = quoted[1] if quoted else printed[name]
        assert re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], text) == value


def test_the_example_of_an_environment_file_is_accepted() -> None:
    """The example file is valid."""
    path = ROOT / "deploy" / "tenxsom-flow-engine.env.example"
    assert read_env_file(path)["TENXSOM_QUEUE_TYPE"] == "redis"
