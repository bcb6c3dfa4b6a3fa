"""Children of the fork server: they start quickly, are killed with their own children, and are never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import fork_server


def exit_with_missing_modules() -> None:
    """Exit with the names of the preloaded modules that this process would have to import."""
    sys.exit(" ".join(name for name in fork_server.PRELOADED if name not in sys.modules) or 0)


def start_a_program_and_sleep() -> None:
    """Start a program, write its process id, and wait with it."""
    program = subprocess.Popen(["sleep", "1000"])
    sys.stderr.write(f"{program.pid}\n")
    sys.stderr.flush()
    program.wait()


def start_a_sleeper_and_die(log: str) -> None:
    """Start a child, and die without ending it."""
    child = fork_server.start(time.sleep, 1000, log=Path(log))
    sys.stderr.write(f"{child.pid}\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(log: Path) -> int:
    """Return the process id that a child has written."""
    while not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.005)
    return int(log.read_text().splitlines()[-1])


def wait_for_end_of(pid: int) -> None:
    """Wait until a process has ended, or is a zombie that no process has waited for yet."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z":
        time.sleep(0.005)


def test_a_child_has_everything_loaded(tmp_path: Path) -> None:
    """A child does not need to import the modules that workers use."""
    child = fork_server.start(exit_with_missing_modules, log=tmp_path / "log")
    assert child.wait(60) == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3), (None, 0), ("a sentence", 1)])
def test_the_exit_code(tmp_path: Path, code: object, expected: int) -> None:
    """The exit code is that of any Python program."""
    child = fork_server.start(sys.exit, code, log=tmp_path / "log")
    assert (child.wait(60), child.alive) == (expected, False)


def test_an_exception_is_logged(tmp_path: Path) -> None:
    """A child that raises ends with 1, and its traceback is in the log."""
    assert fork_server.start(divmod, 1, 0, log=tmp_path / "log").wait(60) == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_a_kill_ends_the_programs_of_the_child(tmp_path: Path) -> None:
    """A kill ends the programs of the child too, and the exit code names the signal."""
    child = fork_server.start(start_a_program_and_sleep, log=tmp_path / "log")
    program = wait_for(tmp_path / "log")
    assert child.alive
    child.kill()
    assert child.wait(60) == -signal.SIGKILL
    wait_for_end_of(program)


def test_a_child_that_was_just_started_can_be_killed(tmp_path: Path) -> None:
    """A kill takes effect even before the child has made its process group."""
    children = [fork_server.start(time.sleep, 1000, log=tmp_path / "log") for _ in range(20)]
    for child in children:
        child.kill()
    assert {child.wait(60) for child in children} == {-signal.SIGKILL}


def test_no_child_outlives_the_process_that_requested_it(tmp_path: Path) -> None:
    """When a test process is killed, its children end as well."""
    program = "import sys; from tests.integration import test_fork_server as t; t.start_a_sleeper_and_die(sys.argv[1])"
    log = tmp_path / "log"
    with log.open("w") as stderr:
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "sleeper")], cwd=fork_server.ROOT, stderr=stderr, check=False
        )
    wait_for_end_of(wait_for(log))
