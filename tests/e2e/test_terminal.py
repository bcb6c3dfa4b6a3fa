"""The commands at a terminal, in a pipe, and with streams that are closed or full."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from .conftest import ROOT, WAIT_SECONDS, Flow

PROGRAM = [sys.executable, str(ROOT / "run_flow_enhanced.py")]


class Terminal:
    """A command that runs at a terminal of its own."""

    def __init__(self, flow: Flow, *arguments: str, **environment: str) -> None:
        self.flow = flow
        self.said = ""
        pid, self._main = pty.fork()
        if pid == 0:
            os.execvpe(PROGRAM[0], [*PROGRAM, *arguments], flow.environment | {"COLUMNS": "80"} | environment)
        self._pid = pid

    def type(self, text: str) -> None:
        """Type at the terminal; `\\x03` is Ctrl-C."""
        os.write(self._main, text.encode())

    def until(self, text: str) -> None:
        """Read on until something is said."""
        while text not in self.said:
            assert self._read(), f"it ended without {text!r}: {self.said}"

    def answer(self, text: str) -> int:
        """Type an answer, again where it came before the command listened, and return the exit code."""
        more, ends = True, time.monotonic() + WAIT_SECONDS
        while more:
            assert time.monotonic() < ends, f"it takes no answer: {self.said}"
            self.type(text)
            while more and select.select([self._main], [], [], 1.0)[0]:
                more = self._read()
        return self.end()

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self._main)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._main], [], [], WAIT_SECONDS)[0]:
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"nothing more was said after: {self.said}")
        try:
            data = os.read(self._main, 65536)
        except OSError:
            return False  # what Linux says when the last one has closed the terminal
        self.said += data.decode("utf-8", "replace")
        return bool(data)


@contextlib.contextmanager
def many_topics(flow: Flow, number: int) -> Iterator[str]:
    path = flow.home / "many.txt"
    path.write_text("".join(f"topic number {n}\n" for n in range(number)))
    yield str(path)


def test_a_batch_that_is_interrupted_can_be_completed(flow: Flow) -> None:
    """Ctrl-C ends it after the chunk in hand and says how far it came; the same command adds the rest."""
    with many_topics(flow, 30_000) as topics:
        process = subprocess.Popen(
            [*PROGRAM, "batch", "--topics-file", topics],
            env=flow.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with contextlib.closing(flow.store()) as store:
            flow.until(lambda: store.status_counts().unfinished, "the first chunk")
            process.send_signal(signal.SIGINT)
            out, talk = process.communicate(timeout=60)
            added = store.status_counts().unfinished
        assert process.returncode == 130, talk
        assert 0 < added < 30_000
        assert talk.splitlines()[-1] == (
            f"interrupted after {added:,} of 30,000 jobs; run the same command again to add the rest"
        )
        assert len(out.split()) == added
        rest = flow.run("batch", "--topics-file", topics)
        assert f"added {30_000 - added:,} jobs" in rest.stderr


def test_an_interrupted_progress_bar_gives_the_cursor_back(flow: Flow) -> None:
    """On a terminal Ctrl-C leaves it as it was."""
    with many_topics(flow, 30_000) as topics:
        terminal = Terminal(flow, "batch", "--topics-file", topics, TERM="xterm")
        terminal.until("adding jobs")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert terminal.said.rfind("\x1b[?25h") > terminal.said.rfind("\x1b[?25l") >= 0
    assert "Traceback" not in terminal.said
    assert re.search(r"interrupted after [\d,]+ of 30,000 jobs", terminal.said)


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [("n\n", 1, "nothing was changed"), ("\x04", 1, "nothing was changed"), ("\x03", 130, "interrupted")],
)
@pytest.mark.parametrize("command", [("cancel", "--scheduled"), ("queue", "purge")])
def test_a_person_is_asked_on_a_terminal(
    flow: Flow, command: tuple[str, ...], typed: str, code: int, said: str
) -> None:
    """On a terminal the number is shown and asked for; a no, an end of input and Ctrl-C change nothing."""
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "3")
    terminal = Terminal(flow, *command)
    terminal.until("? [y/N]: ")
    assert re.search(r"cancel 3 (waiting )?jobs\? \[y/N\]", terminal.said)
    assert terminal.answer(typed) == code
    assert terminal.said.splitlines()[-1] == said
    assert flow.json("status")["jobs"]["scheduled"] == 3


def test_reading_standard_input_can_be_interrupted(flow: Flow) -> None:
    """Ctrl-C while topics are typed ends the command, and nothing is added."""
    terminal = Terminal(flow, "batch", "--topics-file", "-")
    flow.until((flow.home / "jobs.sqlite3").is_file, "the start")
    terminal.type("Tides\n")
    terminal.until("Tides")
    assert terminal.answer("\x03") == 130
    assert terminal.said.splitlines()[-1] == "interrupted"
    assert flow.json("status")["approximate_task_count"] == 0


def test_following_on_a_terminal_keeps_its_lines_apart(flow: Flow) -> None:
    """Talk stands on lines of its own, no status is said twice, and Ctrl-C says how to go on."""
    terminal = Terminal(flow, "single", "--topic", "x", "--job-id", "x", "--service", "simulated", "--wait",
                        TENXSOM_SIMULATED="latency=600")  # fmt: skip
    terminal.until(" rendering")
    terminal.type("\x03")
    assert terminal.end() == 130
    shown = [line.rpartition("\r\x1b[K")[2] for line in terminal.said.replace("\r\n", "\n").split("\n")]
    assert "no worker is running, so this command makes the video itself" in shown
    assert "rendering rendering" not in terminal.said
    assert shown[-2] == "job x stays in the queue; no worker is running: continue with: python3 worker.py"


def test_a_wide_plan_fits_a_narrow_terminal(flow: Flow) -> None:
    """At 80 columns no line of a plan is wider."""
    terminal = Terminal(flow, "schedule", "--date", "2099-06-01", "--channel", "a-channel-of-mine", "--dry-run")
    assert terminal.end() == 0
    assert max(map(len, terminal.said.splitlines())) == 80
    assert "…" in terminal.said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["jobs", "queue purge", "batch --topics-file -", "single --topic x --wait"])
def test_closed_streams_are_no_faults(flow: Flow, command: str, closed: str) -> None:
    """A command that was started without a standard stream does its work without it."""
    flow.environment["TENXSOM_SIMULATED"] = "latency=0"
    script = f"{shlex.join(PROGRAM)} {command.replace('--wait', '--service simulated --wait')} {closed}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=flow.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == (2 if command.startswith("batch") else 0)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("command", ["jobs --json", "status", "single --topic x", "completion bash"])
def test_a_full_disk_behind_the_output_is_one_line(flow: Flow, command: str) -> None:
    """Output that cannot be written is said, with exit code 1; where that cannot be said either, the code says it."""
    for where, said in ((">/dev/full", 1), (">/dev/full 2>/dev/full", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{shlex.join(PROGRAM)} {command} {where}"],
            env=flow.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("added", "no worker"))]
        assert lines == ["error: the output cannot be written: No space left on device"] * said


def test_a_reader_that_has_enough_is_no_failure(flow: Flow) -> None:
    """`batch … | head -1` ends with 0 and without noise, and all is added."""
    with many_topics(flow, 10_000) as topics:
        batch = shlex.join([*PROGRAM, "batch", "--topics-file", str(topics)])
        done = subprocess.run(
            ["bash", "-c", f"{batch} | head -1; echo ${{PIPESTATUS[0]}}"],
            env=flow.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.splitlines()[1:] == ["0"]
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert flow.json("status")["approximate_task_count"] == 10_000
