"""Commands on a terminal, in a pipe, and with closed or full streams."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from .conftest import ROOT, WAIT_SECONDS, Flow

PROGRAM = [sys.executable, str(ROOT / "run_flow_enhanced.py")]


class Terminal:
    """A command that runs on a pseudo-terminal."""

    def __init__(self, flow: Flow, *arguments: str, **environment: str) -> None:
        self.flow = flow
        self.output = ""
        pid, self._main = pty.fork()
        if pid == 0:
            os.execvpe(PROGRAM[0], [*PROGRAM, *arguments], flow.environment | {"COLUMNS": "80"} | environment)
        self._pid = pid

    def type(self, text: str) -> None:
        """Type text; `\\x03` is Ctrl-C."""
        os.write(self._main, text.encode())

    def until(self, text: str) -> None:
        """Read until the output contains a text."""
        while text not in self.output:
            assert self._read(), f"the command ended without {text!r}: {self.output}"

    def answer(self, text: str) -> int:
        """Type an answer until the command takes it, and return the exit code."""
        more, ends = True, time.monotonic() + WAIT_SECONDS
        while more:
            assert time.monotonic() < ends, f"the command takes no answer: {self.output}"
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

    def close(self) -> Callable[[], int]:
        """Close the terminal; return a function that waits for the command and returns its exit code."""
        os.close(self._main)
        return lambda: os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._main], [], [], WAIT_SECONDS)[0]:
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"no more output after: {self.output}")
        try:
            data = os.read(self._main, 65536)
        except OSError:
            return False  # Linux raises EIO when the other end is closed
        self.output += data.decode("utf-8", "replace")
        return bool(data)


@contextlib.contextmanager
def many_topics(flow: Flow, number: int) -> Iterator[str]:
    path = flow.home / "many.txt"
    path.write_text("".join(f"topic number {n}\n" for n in range(number)))
    yield str(path)


def test_a_batch_that_is_interrupted_can_be_completed(flow: Flow) -> None:
    """Ctrl-C ends a batch after the current chunk and reports the progress; the same command adds the rest."""
    with many_topics(flow, 30_000) as topics:
        process = subprocess.Popen(
            [*PROGRAM, "batch", "--topics-file", topics],
            env=flow.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with contextlib.closing(flow.store()) as store:
            flow.until(lambda: store.status_counts().unfinished, "the first chunk")
            process.send_signal(signal.SIGINT)
            out, messages = process.communicate(timeout=60)
            added = store.status_counts().unfinished
        assert process.returncode == 130, messages
        assert 0 < added < 30_000
        assert messages.splitlines()[-1] == (
            f"interrupted after {added:,} of 30,000 jobs; run the same command again to add the rest"
        )
        assert len(out.split()) == added
        rest = flow.run("batch", "--topics-file", topics)
        assert f"added {30_000 - added:,} jobs" in rest.stderr


def test_an_interrupted_progress_bar_restores_the_cursor(flow: Flow) -> None:
    """After Ctrl-C the terminal's cursor is visible again."""
    with many_topics(flow, 30_000) as topics:
        terminal = Terminal(flow, "batch", "--topics-file", topics, TERM="xterm")
        terminal.until("adding jobs")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert terminal.output.rfind("\x1b[?25h") > terminal.output.rfind("\x1b[?25l") >= 0
    assert "Traceback" not in terminal.output
    assert re.search(r"interrupted after [\d,]+ of 30,000 jobs", terminal.output)


@pytest.mark.parametrize(
    ("typed", "code", "output"),
    [("n\n", 1, "nothing was changed"), ("\x04", 1, "nothing was changed"), ("\x03", 130, "interrupted")],
)
@pytest.mark.parametrize("command", [("cancel", "--scheduled"), ("queue", "purge")])
def test_a_terminal_asks_for_confirmation(
    flow: Flow, command: tuple[str, ...], typed: str, code: int, output: str
) -> None:
    """On a terminal a bulk command asks first; "no", end of input and Ctrl-C change nothing."""
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "3")
    terminal = Terminal(flow, *command)
    terminal.until("? [y/N]: ")
    assert re.search(r"cancel 3 (waiting )?jobs\? \[y/N\]", terminal.output)
    assert terminal.answer(typed) == code
    assert terminal.output.splitlines()[-1] == output
    assert flow.json("status")["jobs"]["scheduled"] == 3


def test_reading_standard_input_can_be_interrupted(flow: Flow) -> None:
    """Ctrl-C while topics are typed ends the command and adds nothing."""
    terminal = Terminal(flow, "batch", "--topics-file", "-")
    flow.until((flow.home / "jobs.sqlite3").is_file, "the start")
    terminal.type("Tides\n")
    terminal.until("Tides")
    assert terminal.answer("\x03") == 130
    assert terminal.output.splitlines()[-1] == "interrupted"
    assert flow.json("status")["approximate_task_count"] == 0


def test_following_on_a_terminal_keeps_messages_on_separate_lines(flow: Flow) -> None:
    """Messages are on separate lines, no status is repeated, and Ctrl-C prints the next step."""
    terminal = Terminal(flow, "single", "--topic", "x", "--job-id", "x", "--service", "simulated", "--wait",
                        TENXSOM_SIMULATED="latency=600")  # fmt: skip
    terminal.until(" rendering")
    terminal.type("\x03")
    assert terminal.end() == 130
    shown = [line.rpartition("\r\x1b[K")[2] for line in terminal.output.replace("\r\n", "\n").split("\n")]
    assert "no worker is running, so this command makes the video" in shown
    assert "rendering rendering" not in terminal.output
    assert shown[-2] == "job x stays in the queue; no worker is running; start one with: python3 worker.py"


def test_a_wide_plan_fits_a_narrow_terminal(flow: Flow) -> None:
    """At 80 columns no line of a plan is wider than 80."""
    terminal = Terminal(flow, "schedule", "--date", "2099-06-01", "--channel", "a-channel-of-mine", "--dry-run")
    assert terminal.end() == 0
    assert max(map(len, terminal.output.splitlines())) == 80
    assert "…" in terminal.output


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["jobs", "queue purge", "batch --topics-file -", "single --topic x --wait"])
def test_commands_work_with_closed_streams(flow: Flow, command: str, redirection: str) -> None:
    """A command that was started without a standard stream still works."""
    flow.environment["TENXSOM_SIMULATED"] = "latency=0"
    script = f"{shlex.join(PROGRAM)} {command.replace('--wait', '--service simulated --wait')} {redirection}"
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


@pytest.mark.parametrize("command", ["jobs --json", "status", "single --topic x --service draft", "completion bash"])
def test_a_full_disk_for_the_output_is_one_error_line(flow: Flow, command: str) -> None:
    """Unwritable output gives one error line and exit code 1; without standard error, only the exit code."""
    for where, reported in ((">/dev/full", 1), (">/dev/full 2>/dev/full", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{shlex.join(PROGRAM)} {command} {where}"],
            env=flow.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("added", "no worker"))]
        assert lines == ["error: the output cannot be written: No space left on device"] * reported


def test_a_reader_that_closes_early_is_success(flow: Flow) -> None:
    """`batch … | head -1` exits with 0 and without an error message, and adds all jobs."""
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


def test_a_terminal_shows_a_few_of_many_ids(flow: Flow) -> None:
    """After a day was planned, a terminal shows ten ids and how to list the others; a pipe gets all of them."""
    day = ("schedule", "--date", "2099-06-01", "--daily-count", "24", "--videos-per-hour", "1", "--channel")
    terminal = Terminal(flow, *day, "one")
    assert terminal.end() == 0
    assert len(re.findall(r"^one-[0-9TZ]+\r?$", terminal.output, re.MULTILINE)) == 10
    assert "and 14 more; list them with: run_flow_enhanced.py jobs --sort due" in terminal.output
    assert len(flow.run(*day, "two").stdout.splitlines()) == 24


def test_the_state_is_lines_on_a_terminal_and_json_in_a_pipe(flow: Flow) -> None:
    """`status` prints labelled lines on a terminal, each within its width; a pipe and `--json` get one object."""
    flow.run("single", "How tides work, " + "and why " * 12, "--job-id", "tides", "--delay", "2h")
    for columns in ("40", "80", "200"):
        terminal = Terminal(flow, "status", COLUMNS=columns, NO_COLOR="1")
        assert terminal.end() == 0
        lines = terminal.output.splitlines()
        assert "\x1b" not in terminal.output
        assert max(len(line) for line in lines if " " in line[10:]) <= int(columns)
        labels = [line[:10].strip() for line in lines if line[0] != " "]
        assert labels[1:6] == ["jobs", "next due", "today", "workers", "draft"]
        assert labels[-3:] == ["spent", "queue", "store"]
    assert "1 scheduled" in terminal.output
    assert "(tides)" in terminal.output
    shown = Terminal(flow, "status", "--json")
    assert shown.end() == 0
    assert json.loads(shown.output)["jobs"] == flow.json("status")["jobs"]


def test_the_state_in_a_locale_without_unicode(flow: Flow) -> None:
    """In a locale without Unicode, characters that it lacks are escaped."""
    flow.run("single", "Gezeiten für Anfänger", "--job-id", "tides", "--delay", "2h")
    terminal = Terminal(flow, "status", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert terminal.end() == 0
    assert "Gezeiten f\\xfcr Anf\\xe4nger" in " ".join(terminal.output.split())


def test_watching_the_state(flow: Flow) -> None:
    """`status --watch` redraws the state until Ctrl-C, and leaves the last one on the terminal."""
    terminal = Terminal(flow, "status", "--watch", "--interval", "1s")
    terminal.until("none; add one with")
    flow.run("single", "Tides", "--delay", "1h")
    terminal.until("1 scheduled")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.output
    assert terminal.output.count("\x1b[2J") == 1
    assert terminal.output.count("\x1b[H") >= 2
    assert terminal.output.splitlines()[-1].endswith("interrupted")


@pytest.mark.parametrize("words", [("--watch",), ("--watch", "--json"), ("--interval", "2s")])
def test_watching_needs_a_terminal(flow: Flow, words: tuple[str, ...]) -> None:
    """`--watch` without a terminal, or with JSON, and `--interval` without it are usage errors."""
    refused = flow.run("status", *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--watch" in refused.stderr


def test_a_reason_that_does_not_fit_gets_its_own_line(flow: Flow) -> None:
    """On a terminal too narrow for the column, the reason of a failure is below its job."""
    flow.run("single", "Tides", "--job-id", "tides", "--service", "simulated")
    flow.worker("--burst", TENXSOM_SIMULATED="rejected=1").wait()
    reason = "simulated: the prompt was refused (simulated)"
    for columns, below in (("80", True), ("200", False)):
        terminal = Terminal(flow, "jobs", COLUMNS=columns)
        assert terminal.end() == 0
        assert (f"    {reason}" in terminal.output.splitlines()) == below
        assert reason in terminal.output


def test_a_desktop_opens_the_video(flow: Flow) -> None:
    """On the terminal of a desktop `open` prints the path and opens it; elsewhere, or with `--path`, it only prints."""
    flow.environment["TENXSOM_SIMULATED"] = "latency=0"
    path = flow.run("single", "Tides", "--job-id", "tides", "--service", "simulated", "--wait").stdout.strip()
    programs, opened = flow.home / "bin", flow.home / "opened"
    programs.mkdir()
    (programs / "xdg-open").write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    (programs / "xdg-open").chmod(0o755)
    desktop = {"PATH": f"{programs}:{os.environ['PATH']}", "DISPLAY": ":9", "WAYLAND_DISPLAY": ""}
    for words, environment in (
        (("open", "tides"), {**desktop, "DISPLAY": ""}),
        (("open", "tides", "--path"), desktop),
    ):
        terminal = Terminal(flow, *words, **environment)
        assert terminal.end() == 0
        assert terminal.output.splitlines() == [path]
    assert flow.run("open", "tides", **desktop).stdout == f"{path}\n"
    assert not opened.exists()
    terminal = Terminal(flow, "open", "tid", **desktop)
    assert terminal.end() == 0
    assert path in terminal.output.splitlines()
    flow.until(opened.exists, "the player")
    assert opened.read_text() == f"{path}\n"
