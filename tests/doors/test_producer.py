"""Batches, schedules and the jobs at hand, typed as a person types them."""

from __future__ import annotations

import itertools
import os
import pty
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT, Flow


def write(flow: Flow, name: str, text: str) -> str:
    path = flow.home / name
    path.write_text(text, "utf-8")
    return str(path)


def test_a_batch_is_added_once(flow: Flow) -> None:
    """A file's topics become jobs; the same file again adds nothing, and `--again` adds a repeat; all is said."""
    topics = write(flow, "topics.txt", "How tides work\n# a comment\n\nWhy we dream\nWhy we dream\n")
    first = flow.run("batch", "--topics-file", topics, "--duration", "8")
    assert first.returncode == 0
    assert "added 3 jobs to the local queue" in first.stderr
    ids = first.stdout.split()
    assert len(set(ids)) == 3
    again = flow.run("batch", "--topics-file", topics, "--duration", "8")
    assert (again.returncode, again.stdout) == (0, "")
    assert "added 0 jobs" in again.stderr
    assert "3 were added before" in again.stderr
    repeat = flow.run("batch", "--topics-file", topics, "--duration", "8", "--again")
    assert "added 3 jobs" in repeat.stderr
    assert flow.json("show", ids[0], "--json")["duration"] == 8
    assert flow.json("status")["approximate_task_count"] == 6


def test_a_bad_line_stops_the_batch(flow: Flow) -> None:
    """Every bad line is told by number and nothing is added, or with `--keep-going` the rest is (exit code 3)."""
    topics = write(flow, "topics.jsonl", '{"topic": "fine"}\n{"topic": ""}\n{"topic": "x", "duration": 99}\n')
    done = flow.run("batch", "--topics-file", topics)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].endswith("topics.jsonl line 2: topic: is empty (say in a few words what the video is about)")
    assert lines[1].endswith("topics.jsonl line 3: duration: drafts are 1 to 60 seconds long, not 99")
    assert lines[2].startswith("error: nothing was added, since 2 lines are bad")
    assert flow.json("status")["approximate_task_count"] == 0
    kept = flow.run("batch", "--topics-file", topics, "--keep-going")
    assert kept.returncode == 3
    assert "added 1 jobs" in kept.stderr


def test_a_batch_from_a_pipe(flow: Flow) -> None:
    """`-` reads standard input, and the starts are staggered."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_flow_enhanced.py"), "batch", "--topics-file", "-", "--delay", "1h",
         "--stagger", "15m", "--dry-run", "--json"],
        input=b"a\nb\nc\n", env=flow.environment, capture_output=True, check=True,
    )  # fmt: skip
    import json
    from datetime import datetime

    jobs = json.loads(done.stdout)["jobs"]
    starts = [datetime.fromisoformat(job["start"]).timestamp() for job in jobs]
    assert [job["topic"] for job in jobs] == ["a", "b", "c"]
    assert [job["service"] for job in jobs] == ["draft"] * 3
    assert [job["cost_usd"] for job in jobs] == [0.0] * 3
    assert [round(later - earlier) for earlier, later in itertools.pairwise(starts)] == [900, 900]
    assert flow.json("status")["approximate_task_count"] == 0


def test_files_that_hold_nothing_or_are_not_there(flow: Flow) -> None:
    """An empty file, a folder, a binary and a missing file are one clear line each."""
    (flow.home / "binary").write_bytes(b"\x7fELF\0\0\0")
    for path, reason in (
        (write(flow, "empty.txt", "\n# nothing\n"), "holds no topics; write one a line"),
        (str(flow.home), "Is a directory"),
        (str(flow.home / "binary"), "is not a text file; save it as UTF-8 text"),
        (str(flow.home / "none.txt"), "No such file or directory"),
    ):
        done = flow.run("batch", "--topics-file", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_hundred_thousand_lines(flow: Flow) -> None:
    """A very long file is added whole, and a second time not at all."""
    topics = write(flow, "many.txt", "".join(f"topic number {n}\n" for n in range(100_000)))
    assert "added 100,000 jobs" in flow.run("batch", "--topics-file", topics).stderr
    assert "100,000 were added before" in flow.run("batch", "--topics-file", topics).stderr


def test_a_day_is_scheduled_once(flow: Flow) -> None:
    """A second run adds only slots that are new, and says so."""
    day = ("schedule", "--date", "2099-06-01", "--channel", "fun")
    plan = flow.json(*day, "--dry-run", "--json")["slots"]
    assert len(plan) == 96
    assert plan[0]["job_id"] == "fun-20990601T000000Z"
    assert len({slot["topic"] for slot in plan}) == 96
    assert flow.json("status")["approximate_task_count"] == 0
    first = flow.run(*day, "--daily-count", "40")
    assert "added 40 jobs" in first.stderr
    second = flow.run(*day)
    assert "added 56 jobs" in second.stderr
    assert "40 were added before" in second.stderr
    assert second.stdout.split() == [slot["job_id"] for slot in plan[40:]]
    assert flow.json("status")["jobs"]["scheduled"] == 96
    assert {slot["state"] for slot in flow.json(*day, "--dry-run", "--json")["slots"]} == {"known"}
    assert [slot["topic"] for slot in flow.json(*day, "--dry-run", "--json")["slots"]] == [s["topic"] for s in plan]


def test_the_next_day_hours_are_planned_from_now(flow: Flow) -> None:
    """Without a date the plan is the next 24 hours, all of it ahead."""
    slots = flow.json("schedule", "--daily-count", "96", "--videos-per-hour", "4", "--json")["slots"]
    assert len(slots) == 96
    assert flow.json("status")["jobs"]["scheduled"] >= 95


def test_what_does_not_fit_is_refused(flow: Flow) -> None:
    """97 at 4 an hour: exit code 2, and what would fit."""
    done = flow.run("schedule", "--daily-count", "97", "--videos-per-hour", "4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: daily-count: 97 videos do not fit: 4 an hour are 96 in 24 hours; "
        "ask for --daily-count 96 or --videos-per-hour 5\n"
    )


def test_changed_clocks_and_past_slots_are_said(flow: Flow) -> None:
    """A day of 23 hours has room for 92, one of 25 for 100, and slots that are past are left out."""
    berlin = ("--timezone", "Europe/Berlin", "--dry-run")
    spring = flow.run("schedule", "--date", "2099-03-29", *berlin)
    assert spring.stderr.splitlines()[:2] == [
        "the clocks change: this day has 23 hours",
        "so it has room for 92 of 96 videos",
    ]
    autumn = flow.run("schedule", "--date", "2099-10-25", "--daily-count", "100", *berlin)
    assert autumn.stderr.splitlines()[0] == "the clocks change: this day has 25 hours"
    past = flow.run("schedule", "--date", "2020-01-01", "--dry-run")
    assert past.returncode == 0
    assert past.stderr.splitlines()[0] == "96 slots are past already and are left out"


def test_own_topics_go_on_where_they_stopped(flow: Flow) -> None:
    """A list of topics is used in order over several plans, then again."""
    topics = write(flow, "topics.txt", "".join(f"topic {n}\n" for n in range(5)))
    for start, count, expected in (("08:00", 3, [0, 1, 2]), ("08:00", 5, [0, 1, 2, 3, 4]), ("10:00", 2, [0, 1])):
        slots = flow.json("schedule", "--date", "2099-06-01", "--start", start, "--daily-count", str(count),
                          "--topics-file", topics, "--json")["slots"]  # fmt: skip
        assert [slot["topic"] for slot in slots] == [f"topic {n}" for n in expected]


def test_a_schedule_refuses_lines_with_a_time(flow: Flow) -> None:
    """Times and channels are the schedule's own."""
    topics = write(flow, "topics.csv", "topic,at\nTides,2099-01-01T00:00Z\n")
    done = flow.run("schedule", "--date", "2099-06-01", "--topics-file", topics)
    assert done.returncode == 2
    assert "line 2: names a time or a channel" in done.stderr


def test_acting_on_all_of_a_kind_asks_first(flow: Flow) -> None:
    """Without `--yes` nothing happens where nobody can answer; with it all scheduled jobs of the channel are taken."""
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "3", "--channel", "fun")
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "2", "--channel", "work")
    refused = flow.run("cancel", "--scheduled", "--channel", "fun")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "this would cancel 3 jobs; say --yes if that is meant" in refused.stderr
    assert flow.json("status")["jobs"]["scheduled"] == 5
    done = flow.run("cancel", "--scheduled", "--channel", "fun", "--yes")
    assert done.returncode == 0
    assert "3 of 3 jobs done" in done.stderr
    assert flow.json("status")["jobs"] | {"scheduled": 2, "cancelled": 3} == flow.json("status")["jobs"]
    for nonsense in (("cancel",), ("cancel", "x", "--scheduled"), ("cancel", "x", "--channel", "fun")):
        assert flow.run(*nonsense).returncode == 2


def test_a_person_is_asked_on_a_terminal(flow: Flow) -> None:
    """On a terminal the number is shown and asked for; no means no."""
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "3")
    main, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_flow_enhanced.py"), "cancel", "--scheduled"],
        env=flow.environment, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(main, b"n\n")
    _, talk = process.communicate(timeout=60)
    os.close(main)
    os.close(child)
    assert process.returncode == 130
    assert "cancel 3 jobs? [y/N]" in talk
    assert flow.json("status")["jobs"]["scheduled"] == 3


def test_some_refused_is_partly_done(flow: Flow) -> None:
    """Of several jobs those that can be acted on are; the exit code says that not all were."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides")
    done = flow.run("cancel", "tides", "nobody")
    assert done.returncode == 3
    assert "job tides is cancelled" in done.stderr
    assert "no job has the id 'nobody'" in done.stderr
    assert "1 of 2 jobs done" in done.stderr


def test_failed_jobs_are_retried_all_at_once(flow: Flow) -> None:
    """`retry --failed` puts all failed jobs in again."""
    for n in range(3):
        flow.run("single", "--topic", "x", "--job-id", f"j{n}", "--service", "simulated")
    flow.worker("--burst", TENXSOM_SIMULATED="rejected=1").wait()
    assert flow.json("status")["jobs"]["failed"] == 3
    done = flow.run("retry", "--failed", "--yes")
    assert "3 of 3 jobs done" in done.stderr
    flow.worker("--burst", TENXSOM_SIMULATED="latency=0").wait()
    assert flow.json("status")["jobs"]["succeeded"] == 3
    path = flow.run("open", "j0").stdout.strip()
    assert Path(path).is_file()
    shown = flow.run("show", "j0").stdout
    assert "thumbnail.jpg" in shown
    assert "retried by hand" in shown
    Path(path).unlink()
    assert "is gone" in flow.run("open", "j0").stderr


def test_the_queue_is_steered(flow: Flow) -> None:
    """Pause, resume, purge and limits work from the command line, and the limits win over the environment."""
    flow.run("single", "--topic", "x", "--job-id", "x", "--service", "simulated")
    flow.run("queue", "pause")
    assert flow.json("status")["state"] == "PAUSED"
    assert flow.worker("--burst", TENXSOM_SIMULATED="latency=0").wait() == 0
    assert flow.json("show", "x", "--json")["status"] == "queued"
    flow.run("queue", "resume")
    assert flow.json("queue", "show", "--json")["state"] == "RUNNING"
    limits = flow.json("queue", "limits", "--max-dispatches-per-second", "20", "--json")
    assert limits["max_dispatches_per_second"] == 20
    assert flow.json("status")["rate_limits"]["set_at_run_time"] == ["max_dispatches_per_second"]
    assert "20 steps in a second, set by hand" in flow.run("queue", "limits").stdout
    assert "must be 1 to 5000, not 0" in flow.run("queue", "limits", "--max-concurrent-dispatches", "0").stderr
    assert flow.run("queue", "purge").returncode == 2
    assert "1 jobs are cancelled" in flow.run("queue", "purge", "--yes").stderr
    assert flow.json("show", "x", "--json")["status"] == "cancelled"


def test_a_shell_completes_commands_and_jobs(flow: Flow) -> None:
    """The completion script of bash knows commands, options and the ids of jobs."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides-1")
    bin_dir = flow.home / "bin"
    bin_dir.mkdir()
    program = bin_dir / "run_flow_enhanced.py"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{ROOT / 'run_flow_enhanced.py'}' \"$@\"\n")
    program.chmod(0o755)
    script = """
        source <(run_flow_enhanced.py completion bash)
        complete_words() {
            COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $FUNCTION $1; echo "${COMPREPLY[@]}"
        }
        FUNCTION=$(complete -p run_flow_enhanced.py | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        complete_words run_flow_enhanced.py sche
        complete_words run_flow_enhanced.py schedule --daily
        complete_words run_flow_enhanced.py show ti
    """
    environment = flow.environment | {"PATH": f"{bin_dir}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["schedule", "--daily-count", "tides-1"]
