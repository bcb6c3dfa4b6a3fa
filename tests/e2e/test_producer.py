"""`batch`, `schedule`, `retry`, `cancel`, `queue` and `completion` as a user types them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.services.registry import service_specs

from .conftest import ROOT, Flow


def write(flow: Flow, name: str, text: str) -> str:
    path = flow.home / name
    path.write_text(text, "utf-8")
    return str(path)


def test_a_batch_is_added_once(flow: Flow) -> None:
    """A file's topics become jobs; the same file again adds nothing, and `--again` adds them once more."""
    topics = write(flow, "topics.txt", "How tides work\n# a comment\n\nWhy we dream\nWhy we dream\n")
    first = flow.run("batch", "--topics-file", topics, "--duration", "8")
    assert first.returncode == 0
    assert "added 3 jobs to the local queue" in first.stderr
    ids = first.stdout.split()
    assert len(set(ids)) == 3
    again = flow.run("batch", "--topics-file", topics, "--duration", "8")
    assert (again.returncode, again.stdout) == (0, "")
    assert "added 0 jobs" in again.stderr
    assert "3 already existed" in again.stderr
    repeat = flow.run("batch", "--topics-file", topics, "--duration", "8", "--again")
    assert "added 3 jobs" in repeat.stderr
    assert flow.json("show", ids[0], "--json")["duration"] == 8
    assert flow.json("status")["approximate_task_count"] == 6


def test_an_invalid_line_stops_the_batch(flow: Flow) -> None:
    """Each invalid line is listed and nothing is added; with `--keep-going` the others are (exit code 3)."""
    topics = write(flow, "topics.jsonl", '{"topic": "fine"}\n{"topic": ""}\n{"topic": "x", "duration": 99}\n')
    done = flow.run("batch", "--topics-file", topics)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].endswith("topics.jsonl line 2: topic: is empty (describe the video in a few words)")
    assert lines[1].endswith("topics.jsonl line 3: duration: drafts are 1 to 60 seconds long, not 99")
    assert lines[2].startswith("error: nothing was added: 2 invalid lines; fix them, or skip them with --keep-going")
    assert flow.json("status")["approximate_task_count"] == 0
    kept = flow.run("batch", "--topics-file", topics, "--keep-going")
    assert kept.returncode == 3
    assert "added 1 job to" in kept.stderr


def test_a_batch_from_a_pipe(flow: Flow) -> None:
    """`-` reads standard input, and `--stagger` spaces the starts."""
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


def test_ids_from_a_file_are_stable(flow: Flow) -> None:
    """Every machine and version derives the same ids from a file, so that nothing is bought again."""
    topics = write(
        flow, "topics.jsonl", '{"topic": "d"}\n{"topic": " d ", "prompt": ""}\n{"topic": "d", "duration": 8}\n'
    )
    done = flow.run("batch", "--topics-file", topics)
    assert done.stdout.split() == ["d-383564468322611b", "d-8efa09247bfcf58d", "d-47a013f17b472251"]


def test_a_dry_run_shows_new_and_existing_jobs(flow: Flow) -> None:
    """A dry run marks new and existing jobs, and sums the price of the new ones."""
    flow.run("batch", "--topics-file", write(flow, "topics.txt", "a\nb\n"))
    topics = write(flow, "topics.txt", "a\nb\nc\n")
    done = flow.run("batch", "--topics-file", topics, "--dry-run")
    assert [line.split()[-6] for line in done.stdout.splitlines()[1:]] == ["exists", "exists", "new"]
    assert done.stderr == (
        "note: no paid service is configured, so this is a free draft (3 jobs)\n"
        "1 new job, about $0.00; 2 already exist\n"
    )
    jobs = flow.json("batch", "--topics-file", topics, "--dry-run", "--json", "--stagger", "1d", "--delay", "1h")[
        "jobs"
    ]
    assert [job["state"] for job in jobs] == ["known", "known", "new"]
    again = flow.json("batch", "--topics-file", topics, "--dry-run", "--json", "--again")["jobs"]
    assert {job["state"] for job in again} == {"new"}


def test_unusable_files_are_refused(flow: Flow) -> None:
    """An empty file, a folder, a binary and a missing file each give one error line."""
    (flow.home / "binary").write_bytes(b"\x7fELF\0\0\0")
    for path, reason in (
        (write(flow, "empty.txt", "\n# nothing\n"), "has no topics; write one per line"),
        (str(flow.home), "Is a directory"),
        (str(flow.home / "binary"), "is not a text file; save it as UTF-8 text"),
        (str(flow.home / "none.txt"), "No such file or directory"),
    ):
        done = flow.run("batch", "--topics-file", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_tens_of_thousands_of_lines(flow: Flow) -> None:
    """A file of 30,000 lines is added completely; the second time nothing is added."""
    topics = write(flow, "many.txt", "".join(f"topic number {n}\n" for n in range(30_000)))
    assert "added 30,000 jobs" in flow.run("batch", "--topics-file", topics).stderr
    assert "30,000 already existed" in flow.run("batch", "--topics-file", topics).stderr


def test_bulk_commands_need_confirmation(flow: Flow) -> None:
    """Without a terminal, `cancel --scheduled` needs `--yes`; it then cancels all scheduled jobs of the channel."""
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "3", "--channel", "fun")
    flow.run("schedule", "--date", "2099-06-01", "--daily-count", "2", "--channel", "work")
    refused = flow.run("cancel", "--scheduled", "--channel", "fun")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "this would cancel 3 jobs; pass --yes to confirm" in refused.stderr
    assert flow.json("status")["jobs"]["scheduled"] == 5
    done = flow.run("cancel", "--scheduled", "--channel", "fun", "--yes")
    assert done.returncode == 0
    assert "3 of 3 jobs done" in done.stderr
    assert flow.json("status")["jobs"] | {"scheduled": 2, "cancelled": 3} == flow.json("status")["jobs"]
    for nonsense in (("cancel",), ("cancel", "x", "--scheduled"), ("cancel", "x", "--channel", "fun")):
        assert flow.run(*nonsense).returncode == 2


def test_a_refusal_among_several_jobs_is_exit_code_3(flow: Flow) -> None:
    """A command on several jobs continues after a refusal and exits with 3."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides")
    done = flow.run("cancel", "tides", "unknown")
    assert done.returncode == 3
    assert "job tides is cancelled" in done.stderr
    assert "no job has the id 'unknown'" in done.stderr
    assert "1 of 2 jobs done" in done.stderr


def test_cancelling_a_free_job_mentions_no_cost(flow: Flow) -> None:
    """Only jobs that cost something are said to be charged; the slot of a running generation is mentioned anyway."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides", "--service", "simulated")
    worker = flow.worker(TENXSOM_SIMULATED="latency=600")
    flow.until(lambda: flow.json("show", "tides", "--json")["status"] == "rendering", "the order")
    told = flow.run("cancel", "tides").stderr
    assert told.startswith("job tides is cancelled; simulated completes the render; its in-flight slot is freed when")
    assert "charge" not in told
    assert worker.poll() is None


def test_no_matching_jobs_is_success(flow: Flow) -> None:
    """Without matching jobs, bulk commands print a message and exit with 0."""
    for arguments, message in (
        (("retry", "--failed"), "no failed jobs\n"),
        (("retry", "--failed", "--channel", "fun"), "no failed jobs match\n"),
        (("cancel", "--scheduled"), "no scheduled jobs\n"),
    ):
        done = flow.run(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", message)


def test_all_failed_jobs_are_retried(flow: Flow) -> None:
    """`retry --failed` requeues all failed jobs."""
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
    assert "was moved or deleted" in flow.run("open", "j0").stderr


def test_the_queue_is_operated(flow: Flow) -> None:
    """Pause, resume, purge and limits work from the command line, and these limits override the environment."""
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
    assert "20 steps a second, set at run time" in flow.run("queue", "limits").stdout
    assert "must be 1 to 5000, not 0" in flow.run("queue", "limits", "--max-concurrent-dispatches", "0").stderr
    refused = flow.run("queue", "purge")
    assert refused.returncode == 2
    assert "this would cancel 1 waiting job; pass --yes to confirm" in refused.stderr
    assert "cancelled 1 job;" in flow.run("queue", "purge", "--yes").stderr
    assert flow.json("show", "x", "--json")["status"] == "cancelled"
    nothing = flow.run("queue", "purge")
    assert (nothing.returncode, nothing.stderr) == (0, "no waiting jobs, nothing to cancel\n")


def complete(flow: Flow, *words: str, **environment: str) -> list[str]:
    """Return bash's completions of the last word."""
    bin_dir = flow.home / "bin"
    bin_dir.mkdir(exist_ok=True)
    program = bin_dir / "run_flow_enhanced.py"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{ROOT / 'run_flow_enhanced.py'}' \"$@\"\n")
    program.chmod(0o755)
    script = """
        source <(run_flow_enhanced.py completion bash)
        FUNCTION=$(complete -p run_flow_enhanced.py | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $FUNCTION $1; echo "${COMPREPLY[@]}"
    """
    environment = flow.environment | {"PATH": f"{bin_dir}:{os.environ['PATH']}"} | environment
    command = ["bash", "-c", script, "bash", "run_flow_enhanced.py", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_a_shell_completes_commands_and_jobs(either: Flow) -> None:
    """The bash script completes commands, options, values and job ids."""
    either.run("single", "--topic", "Tides", "--job-id", "tides-1")
    assert complete(either, "sche") == ["schedule"]
    assert complete(either, "schedule", "--daily") == ["--daily-count"]
    assert complete(either, "show", "ti") == ["tides-1"]
    assert complete(either, "jobs", "--status", "s") == ["scheduled", "succeeded"]
    assert complete(either, "single", "--service", "") == ["auto", *service_specs()]
    assert complete(either, "single", "--aspect-ratio", "16") == ["16:9"]
    either.run("channel", "set", "fun", "--weight", "2")
    assert complete(either, "budget", "set", "channel", ":", "fu") == ["fun"]


def test_completion_has_no_side_effects(flow: Flow) -> None:
    """Completion creates no home, and prints nothing with wrong settings or an unreachable server."""
    home = flow.home / "none"
    assert complete(flow, "show", "", TENXSOM_HOME=str(home)) == []
    assert complete(flow, "channel", "show", "", TENXSOM_HOME=str(home)) == []
    assert complete(flow, "schedule", "show", "", TENXSOM_HOME=str(home)) == []
    assert not home.exists()
    assert complete(flow, "show", "", TENXSOM_QUEUE_TYPE="kafka") == []
    assert complete(flow, "jobs", "--channel", "", TENXSOM_QUEUE_TYPE="kafka") == []
    assert complete(flow, "show", "", REDIS_URL="redis://127.0.0.1:1/0") == []


def test_completion_supports_three_shells(flow: Flow) -> None:
    """Each shell has a script, and the help shows how to install it."""
    shown = flow.run("completion", "--help").stdout
    for shell in ("bash", "zsh", "fish"):
        assert "run_flow_enhanced.py" in flow.run("completion", shell).stdout
        assert f"completion {shell}" in shown


def test_the_statuses_of_the_command_line_are_the_jobs_own() -> None:
    """`jobs --status` accepts every status."""
    assert tuple(map(str, Status)) == options.STATUSES
