"""`run_flow_enhanced.py` as users and scripts run it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tenxsom_flow_engine.store.values import Retention
from tests.redis_server import RedisServer

from .conftest import ROOT, WAIT_SECONDS, Flow

SIMULATED = {"TENXSOM_SIMULATED": "latency=0"}


def test_single_with_wait_makes_the_video(flow: Flow) -> None:
    """Without a worker, `single --wait` makes the video and prints only its path to standard output."""
    done = flow.run("single", "--topic", "How tides work", "--service", "simulated", "--wait", **SIMULATED)
    assert done.returncode == 0, done.stderr
    video = Path(done.stdout.strip())
    assert video.is_file()
    assert {path.name for path in video.parent.iterdir()} == {
        "video.mp4", "thumbnail.jpg", "captions.srt", "metadata.json"
    }  # fmt: skip
    assert "no worker is running" in done.stderr


def test_single_with_wait_leaves_the_work_to_a_worker(flow: Flow) -> None:
    """With a worker, `single --wait` only follows the job."""
    worker = flow.worker(**SIMULATED)
    flow.until(lambda: flow.json("status")["workers_alive"], "the worker's start")
    done = flow.run("single", "--topic", "How tides work", "--service", "simulated", "--wait")
    assert done.returncode == 0, done.stderr
    assert "no worker is running" not in done.stderr
    assert '"step":"fetch"' in flow.log()
    assert worker.poll() is None


def test_single_adds_a_job_once(flow: Flow) -> None:
    """An existing job id adds nothing, and a message reports that."""
    first = flow.run("single", "--topic", "Tides", "--job-id", "tides")
    again = flow.run("single", "--topic", "Tides", "--job-id", "tides")
    assert (first.returncode, first.stdout) == (0, "tides\n")
    assert "start one with: python3 worker.py" in first.stderr
    assert (again.returncode, again.stdout) == (0, "tides\n")
    assert "nothing was added" in again.stderr
    assert flow.json("status")["approximate_task_count"] == 1


def test_single_takes_a_script(flow: Flow) -> None:
    """A script comes from an option or a file; a draft is by default as long, and the plan says if it is too short."""
    file = flow.home / "script.md"
    file.write_text("# Tides\r\n" + "- The sea **rises** and falls.\r\n" * 6, "utf-8-sig")
    order = ("single", "--topic", "How tides work", "--dry-run", "--json")
    plan = flow.json(*order, "--script-file", str(file))
    assert plan["prompt"].splitlines()[:2] == ["# Tides", "- The sea **rises** and falls."]
    assert plan["duration"] in range(12, 18)
    done = flow.run(*order, "--script", "The sea rises and falls. " * 6, "--duration", "8")
    assert re.search(
        r"script needs about 1\d s at a readable pace, but the draft lasts 8 s and shows 4 of 6", done.stderr
    )
    both = flow.run(*order, "--script", "a", "--script-file", str(file))
    assert (both.returncode, "exclude each other" in both.stderr) == (2, True)
    file.write_bytes(b"\xff")
    assert "is not a readable UTF-8 text file" in flow.run(*order, "--script-file", str(file)).stderr


def test_the_same_topic_and_options_are_the_same_job(flow: Flow) -> None:
    """`single` typed twice adds one job, like a batch of that topic; other options and `--again` add another one."""
    command = ("single", "--topic", "How tides work", "--service", "simulated")
    first = flow.run(*command)
    again = flow.run(*command, "--delay", "1h")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert again.stderr.startswith(
        f"job {first.stdout.strip()} already exists and is queued, so nothing was added; pass --again to add another"
    )
    (flow.home / "topics.txt").write_text("How tides work\n")
    batch = flow.run("batch", "--topics-file", str(flow.home / "topics.txt"), "--service", "simulated")
    assert (batch.returncode, batch.stdout) == (0, "")
    others = [flow.run(*command, *more).stdout for more in (["--again"], ["--again"], ["--duration", "6"])]
    assert len({first.stdout, *others}) == 4
    assert flow.run(*command, "--again", "--job-id", "x").returncode == 2


def test_waiting_again_follows_the_same_job(flow: Flow) -> None:
    """After an interruption, the same command ends with the job's result; a finished video is not made again."""
    command = ("single", "--topic", "How tides work", "--service", "simulated", "--wait")
    flow.run(*command[:-1])
    made = flow.run(*command, **SIMULATED)
    again = flow.run(*command, **SIMULATED)
    assert (made.returncode, again.returncode, again.stdout) == (0, 0, made.stdout)
    assert "already exists and is succeeded, so nothing was added\n" in again.stderr
    assert len(flow.sold()) == 1
    Path(made.stdout.strip()).unlink()
    deleted = flow.run(*command, **SIMULATED)
    assert "but its video is not on this machine, so nothing was added; pass --again" in deleted.stderr


def test_a_failed_job_is_changed_and_retried(flow: Flow) -> None:
    """`retry` buys a failed job again only after a question with the price, and can change it first."""
    single = ("single", "--topic", "Tides", "--job-id", "tides", "--service", "simulated", "--wait")
    assert flow.run(*single, TENXSOM_SIMULATED="rejected=1").returncode == 1
    assert flow.run(*single).returncode == 1  # it is the same job, and has failed
    asked = flow.run("retry", "tides", "--prompt", "a calm sea")
    assert (asked.returncode, flow.json("show", "tides", "--json")["status"]) == (2, "failed")
    assert "this would retry job tides, and buy 1 video again at an unknown price; pass --yes" in asked.stderr
    for wrong in (["--style", "cubist"], ["--failed", "--prompt", "x"]):
        assert flow.run("retry", "tides", *wrong, "--yes").returncode == 2
    assert flow.run("retry", "tides", "--prompt", "a calm sea", "--script", "It rises.", "--yes").returncode == 0
    shown = flow.json("show", "tides", "--json")
    assert (shown["status"], shown["prompt"]) == ("queued", "a calm sea")
    assert shown["events"][-1]["detail"] == "changed prompt, script"


def test_single_schedules(flow: Flow) -> None:
    """`--delay` and `--at` set the start; `--dry-run` adds nothing."""
    flow.run("single", "--topic", "Later", "--job-id", "later", "--delay", "2h")
    flow.run("single", "--topic", "Then", "--job-id", "then", "--at", "2099-12-24T18:00+01:00")
    dry = flow.run("single", "--topic", "Never", "--job-id", "never", "--at", "2099-12-24T18:00Z", "--dry-run")
    assert "would add job never" in dry.stderr
    assert flow.json("status")["jobs"]["scheduled"] == 2
    assert flow.json("show", "then", "--json")["due"] == "2099-12-24T17:00:00.000Z"
    assert flow.run("show", "never").returncode == 1


def test_the_demo_says_how_to_look_at_it(flow: Flow) -> None:
    """`make demo` prints a command that lists the job of the demo, whose records no other command sees."""
    target = (ROOT / "Makefile").read_text("utf-8")
    recipe = target.partition("\ndemo: ")[2].partition("\n\n")[0].split("\n", 1)[1]
    variables = re.findall(r"^DEMO := (.*)$", target, re.MULTILINE)[0]
    for written, here in {
        "\t@": "", "$$": "$", "$(DEMO)": variables, ".venv/bin/python run_": f"{sys.executable} {ROOT}/run_",
        "--service draft": "--service simulated",
    }.items():  # fmt: skip
        recipe = recipe.replace(written, here)
    environment = {"TOPIC": "Why the ocean glows", **SIMULATED}

    def run(commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e"], input=commands, env=flow.environment | environment, cwd=flow.home, capture_output=True,
            text=True, timeout=WAIT_SECONDS, check=True,
        )  # fmt: skip

    made = run(recipe)
    video = Path(made.stdout.strip())
    assert video.is_file()
    listed = run(made.stderr.rpartition("with:\n")[2].strip()).stdout
    assert video.parent.name in listed
    assert flow.json("jobs", "--json")["jobs"] == []


def test_status_is_one_json_object(flow: Flow) -> None:
    """`status` has the documented keys, and the reason for the selected queue."""
    status = flow.json("status")
    assert status["queue_type"] == "local"
    assert status["state"] == "RUNNING"
    assert status["rate_limits"]["max_dispatches_per_second"] == 500
    assert status["rate_limits"]["max_concurrent_dispatches"] == 64
    assert status["approximate_task_count"] == 0
    assert status["selected_because"].startswith("auto:")


def test_jobs_lists_and_pages(flow: Flow) -> None:
    """`jobs` filters by status, channel and text, and pages with a cursor."""
    for n in range(3):
        flow.run("single", "--topic", f"Größe {n}", "--job-id", f"j{n}", "--channel", "fun" if n else "work")
    assert [job["job_id"] for job in flow.json("jobs", "--json")["jobs"]] == ["j2", "j1", "j0"]
    assert [job["job_id"] for job in flow.json("jobs", "--json", "--channel", "fun")["jobs"]] == ["j2", "j1"]
    assert [job["job_id"] for job in flow.json("jobs", "--json", "--text", "GRÖSSE 0")["jobs"]] == ["j0"]
    page = flow.json("jobs", "--json", "--limit", "2", "--status", "queued")
    rest = flow.json("jobs", "--json", "--limit", "2", "--after", page["next"])
    assert [job["job_id"] for job in rest["jobs"]] == ["j0"]
    assert rest["next"] is None
    table = flow.run("jobs").stdout.splitlines()
    assert table[0].split() == ["JOB", "STATUS", "SERVICE", "ADDED", "(UTC)", "DUE", "(UTC)", "TOPIC"]
    assert len(table) == 4


def test_jobs_answers_what_failed_and_what_comes_next(either: Flow) -> None:
    """`jobs` lists held and failed jobs with time and reason first, then the next due and results."""
    for job_id, plan in {"fails": "rejected=1", "works": "latency=0"}.items():
        either.run("single", "--topic", "Tides", "--service", "simulated", "--job-id", job_id)
        either.worker("--burst", TENXSOM_SIMULATED=plan).wait()
    for job_id, hour in {"late": 18, "early": 12}.items():
        either.run("single", "--topic", "Tides", "--job-id", job_id, "--at", f"2099-12-24T{hour}:00Z")
    _, *rows = either.run("jobs").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["fails", "early", "late", "works"]
    assert "the prompt was refused" in rows[0]
    failed_at = either.json("show", "fails", "--json")["finished_at"]
    assert f"{failed_at[:10]} {failed_at[11:16]}" in rows[0]
    assert "2099-12-24 12:00" in rows[1]

    def listed(*options: str) -> list[str]:
        return [job["job_id"] for job in either.json("jobs", "--json", *options)["jobs"]]

    assert listed() == listed("--sort", "added") == ["early", "late", "works", "fails"]
    assert listed("--sort", "due") == ["early", "late"]
    assert listed("--sort", "finished") == ["works", "fails"]
    assert listed("--sort", "attention", "--status", "failed") == ["fails"]
    refused = either.run("jobs", "--sort", "due", "--after", "7")
    assert (refused.returncode, "leave out --sort" in refused.stderr) == (2, True)


def test_cancel_and_retry(flow: Flow) -> None:
    """A job can be cancelled and retried; a second cancel is refused with a reason."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides")
    assert flow.run("cancel", "tides").returncode == 0
    again = flow.run("cancel", "tides")
    assert again.returncode == 1
    assert again.stderr == "error: job tides is already cancelled, so it cannot be cancelled\n"
    assert flow.run("retry", "tides").returncode == 0
    assert flow.json("show", "tides", "--json")["status"] == "queued"


def test_a_failed_job_says_why(flow: Flow) -> None:
    """`single --wait` for a failing job exits with 1 and prints one line with the reason, which `show` repeats."""
    done = flow.run("single", "--topic", "Tides", "--job-id", "tides", "--service", "simulated", "--wait",
                    TENXSOM_SIMULATED="rejected=1")  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "error: simulated: the prompt was refused (simulated); change it and retry with: "
        "run_flow_enhanced.py retry tides --prompt TEXT; retry it with: run_flow_enhanced.py retry tides"
    )
    shown = flow.run("show", "tides").stdout
    assert "the prompt was refused" in shown
    assert '"reference": "tides.' in shown
    assert flow.json("show", "tides", "--json")["order"]["duration"] == 5


BAD: list[tuple[list[str], dict[str, str], int, str]] = [
    (["single", "--topic", ""], {}, 2, "topic: is empty; describe the video in a few words"),
    (["single", "--topic", "x" * 501], {}, 2, "topic: has 501 characters, at most 500"),
    (["single", "--topic", "a\x07b"], {}, 2, "topic: has a control character (U+0007) at position 2"),
    (["single", "--topic", "x\udcff"], {}, 2, "the argument x\\udcff is not valid UTF-8"),
    (["single", "--topic", "x", "--duration", "0"], {}, 2, "duration: must be 1 to 1800 seconds, not 0"),
    (["single", "--topic", "x", "--duration", "61"], {}, 2, "duration: drafts are 1 to 60 seconds long, not 61"),
    (["single", "--topic", "x", "--duration", "five"], {}, 2, "'five' is not a valid integer"),
    (["single", "--topic", "x", "--aspect-ratio", "5:9"], {}, 2, "aspect_ratio: must be one of 9:16,"),
    (["single", "--topic", "x", "--aspect-ratio", "4:3"], {}, 2, "aspect_ratio: drafts are 9:16, 16:9, 1:1"),
    (["single", "--topic", "x", "--quality", "8K"], {}, 2, "quality: drafts are 1080p, 720p, 540p, not 8K"),
    (["single", "--topic", "x", "--service", "sora"], {}, 2, "use one of: auto, draft, simulated"),
    (["single", "--topic", "x", "--queue-type", "kafka"], {}, 2, "use one of: auto, cloud_tasks, redis, local"),
    (["single", "--topic", "x", "--job-id", "../x"], {}, 2, "job_id: must be 1 to 100 letters, digits, _ or -"),
    (["single", "--topic", "x", "--channel", "a b"], {}, 2, "channel: must be at most 64 letters, digits"),
    (["single", "--topic", "x", "--delay", "soon"], {}, 2, "not a length of time such as 90s"),
    (["single", "--topic", "x", "--delay", "18.30"], {}, 2, "'18.30' has no unit; write a length of time as 90s"),
    (["single", "--topic", "x", "--at", "2099-01-10 18.30"], {}, 2, "has no colon; write hours and minutes as 18:30"),
    (["schedule", "--date", "2099-01-10", "--start", "18.30"], {}, 2, "start: the time in '18.30' has no colon"),
    (["batch", "--topics-file", "/dev/null", "--encoding", "klingon"], {}, 2, "encoding: 'klingon' is unknown; use"),
    (["single", "--topic", "x", "--at", "soon"], {}, 2, "not a date and time such as 2026-12-24T18:00"),
    (["single", "--topic", "x", "--at", "2026-12-24", "--delay", "1s"], {}, 2, "--delay and --at exclude each other"),
    (["single"], {}, 2, "Missing argument 'TOPIC'; see: "),
    (["jobs", "--status", "fine"], {}, 2, "Invalid value for '--status': 'fine' is not one of 'scheduled'"),
    (["jobs", "--after", "yonder"], {}, 2, "cursor: 'yonder' is not a cursor of an earlier page"),
    (["jobs", "--since", "foo"], {}, 2, "Invalid value for '--since': 'foo' is not a date and time such as"),
    (["single", "--topic", "x", "--delay", "9" * 30 + "d"], {}, 2, "Invalid value for '--delay': '9999"),
    (["single", "--topic", "x", "--delay", "999999999d"], {}, 2, "is longer than a hundred years"),
    (["single", "--topic", "x", "--at", "9999-12-31T23:59-12:00"], {}, 2, "must be in the years 1970 to"),
    (["batch", "--topics-file", "/dev/null", "--stagger", "9" * 9 + "d"], {}, 2, "is longer than a hundred years"),
    (["schedule", "--date", "9999-12-31"], {}, 2, "date: 9999-12-31 is outside the years 1971 to 9998"),
    (["schedule", "--start", "9999-12-31T23:00Z"], {}, 2, "start: must be in the years 1970 to 9998"),
    (["schedule", "--date", "2011-12-30", "--timezone", "Pacific/Apia"], {}, 2, "2011-12-30 does not exist in"),
    (["schedule", "--videos-per-hour", "1e999999999"], {}, 2, "'1e999999999' is not a number such as 4, 0.5 or 1/3"),
    (["schedule", "--timezone", "UTC"], {}, 2, "--timezone needs --date"),
    (["show", "missing"], {}, 1, "no job has the id 'missing'; list them with"),
    (["status"], {"TENXSOM_QUEUE_TYPE": "kafka"}, 2, "unknown queue type 'kafka'"),
    (["status"], {"TENXSOM_STORE": "file.db"}, 2, "TENXSOM_STORE 'file.db' is not a valid store for the local queue"),
    (["status"], {"TENXSOM_STORE": "redis://:secret@b/0"}, 2, "TENXSOM_STORE 'redis://…' is not a valid store"),
    (["status"], {"REDIS_URL": "localhost:6379"}, 1, "the address of the Redis server is invalid; write redis://HOST"),
    (["status"], {"REDIS_URL": "http://:secret@b/0"}, 1, "the address of the Redis server is invalid"),
    (["status"], {"REDIS_URL": "redis://:secret/1@b/0"}, 1, "the address of the Redis server is invalid"),
    (["status"], {"TENXSOM_HOME": "/proc/none"}, 5, "the folder /proc/none cannot be created"),
    (["status"], {"TENXSOM_STORE": f"sqlite://{ROOT / 'README.md'}"}, 1, "is not a job store, or is damaged"),
    (["status"], {"TENXSOM_LEASE_SECONDS": "long"}, 2, "TENXSOM_LEASE_SECONDS must be a number, not 'long'"),
    (["status"], {"TENXSOM_SIMULATED": "luck=1"}, 2, "TENXSOM_SIMULATED: 'luck' is not one of busy"),
    (["status"], {"TENXSOM_ENV_FILE": "/none"}, 2, "the environment file /none cannot be read"),
    (["single", "--topic", "x", "--service", "draft", "--wait"], {"TENXSOM_OUTPUT_DIR": "/proc/none"}, 1,
     "videos cannot be written to /proc/none: No such file or directory; set TENXSOM_OUTPUT_DIR"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "environment", "code", "reason"), BAD)
def test_bad_input_is_one_clear_line(
    flow: Flow, arguments: list[str], environment: dict[str, str], code: int, reason: str
) -> None:
    """Invalid input prints one line that names the thing and the next step, and ends with the documented exit code."""
    done = flow.run(*arguments, **environment)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    if "TENXSOM_STORE" not in environment and "TENXSOM_HOME" not in environment:
        assert flow.json("jobs", "--json")["jobs"] == []


@pytest.mark.parametrize("command", [(), ("queue",)])
def test_a_bare_command_prints_its_help_only(flow: Flow, command: tuple[str, ...]) -> None:
    """A command without arguments prints its help and no error line."""
    done = flow.run(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: run_flow_enhanced.py")
    assert "error: " not in done.stderr
    assert "\nCommands:\n" in done.stderr


def test_a_trimmed_job_is_reported(flow: Flow) -> None:
    """The id of a trimmed job is known: nothing is added, printed or followed, and the exit code is 0."""
    flow.run("single", "--topic", "x", "--job-id", "x")
    flow.run("cancel", "x")
    with contextlib.closing(flow.store()) as store:
        assert store.trim(Retention(age=0.0, count=0)) == 1
    for options in (("--json",), ("--wait",), ("--wait", "--json"), ()):
        done = flow.run("single", "--topic", "x", "--job-id", "x", *options)
        assert (done.returncode, done.stdout) == (0, "")
        assert "job x finished earlier, and its record was removed" in done.stderr


def test_wait_on_a_paused_queue_says_so(flow: Flow) -> None:
    """`--wait` reports that the queue is paused and how to resume it, and continues after the resume."""
    flow.run("queue", "pause")
    command = [sys.executable, str(ROOT / "run_flow_enhanced.py"), "single", "--topic", "x", "--service", "simulated"]
    process = subprocess.Popen(
        [*command, "--wait"],
        env=flow.environment | SIMULATED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = ""
    while "the queue is paused" not in line:
        line = process.stderr.readline()
        assert line
        assert "makes the video" not in line
    assert line == "the queue is paused; resume it with: run_flow_enhanced.py queue resume\n"
    flow.run("queue", "resume")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert Path(out.strip()).is_file()


def test_wait_follows_in_the_queue_that_was_asked_for(either: Flow) -> None:
    """`--queue-type` applies to adding the job and to following it."""
    command = ("single", "--topic", "x", "--service", "simulated", "--wait", "--json")
    done = either.run(*command, "--queue-type", either.queue, **SIMULATED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["queue"] == either.queue


def test_tables_are_whole_in_a_pipe(flow: Flow) -> None:
    """A pipe gets full columns, whatever COLUMNS says; a scheduled job shows its due time."""
    topic = "long " * 40 + "end"
    flow.run("single", "--topic", topic, "--job-id", "x", "--at", "2099-12-24T18:00Z")
    listed = flow.run("jobs", COLUMNS="40").stdout
    assert topic in listed
    assert "2099-12-24 18:00" in listed


def test_the_queue_is_shown(either: Flow) -> None:
    """`queue show` prints state, limits and counts, one per line."""
    shown = dict(line.split(None, 1) for line in either.run("queue", "show").stdout.splitlines())
    assert shown["queue"].startswith(either.queue)
    assert shown["state"] == "RUNNING"
    assert shown["queued"] == "0"


@pytest.mark.parametrize("script", ["run_flow_enhanced", "worker", "cloud_tasks_worker"])
def test_help_is_quick_to_load(script: str) -> None:
    """`--help` imports no database, server, media or event-loop library."""
    code = (
        f"import sys; sys.argv = ['{script}.py', '--help']\n"
        f"import {script}\n"
        f"try: {script}.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "import json; print('MODULES' + json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in json.loads(out.partition("MODULES")[2])}
    heavy = ["google", "grpc", "redis", "flask", "gunicorn", "requests", "sqlite3", "asyncio", "msgspec", "av", "numpy"]
    assert [name for name in heavy if name in loaded] == []


def test_every_command_has_help(flow: Flow) -> None:
    """Each command and each of its options has a help text."""
    from tenxsom_flow_engine.cli.main import cli

    for name, command in cli.commands.items():
        done = flow.run(name, "--help")
        assert done.returncode == 0
        assert command.help
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.name}"


def test_output_can_be_cut_short(flow: Flow) -> None:
    """A reader that closes early, such as `head`, ends the command without an error message."""
    for n in range(3):
        flow.run("single", "--topic", f"topic {n}")
    done = subprocess.run(
        f"{sys.executable!r} {str(ROOT / 'run_flow_enhanced.py')!r} jobs --json | true",
        shell=True, env=flow.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize("command", [("show",), ("cancel",), ("jobs", "--channel"), ("single", "--topic")])
def test_an_argument_that_is_not_text_is_a_usage_error(flow: Flow, command: tuple[str, ...]) -> None:
    """An argument that is not UTF-8 is refused in one line, without a traceback."""
    done = flow.run(*command, "caf\udce9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the argument caf\\udce9 is not valid UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_output_that_is_not_utf8(flow: Flow) -> None:
    """Characters that the output's encoding lacks are printed as escapes; JSON keeps its meaning."""
    topic = "Größe — 深海 🐙"
    flow.environment["TENXSOM_SIMULATED"] = "latency=0"  # a draft would need fonts for these characters
    assert flow.run("single", "--topic", topic, "--service", "simulated", "--job-id", "sea").returncode == 0
    for command in (("jobs",), ("show", "sea"), ("status",)):
        done = flow.run(*command, PYTHONIOENCODING="ascii")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "\\u6df1\\u6d77" in flow.run("show", "sea", PYTHONIOENCODING="ascii").stdout
    shown = flow.run("show", "sea", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(shown.stdout)["topic"] == topic


#: Runs a command as a user id without a home folder, as containers do.
HOMELESS = """
import os, pwd, runpy, sys
os.environ.pop("HOME", None)
def unknown(*_): raise KeyError
pwd.getpwuid = unknown
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_adding_to_a_paused_queue_says_so(either: Flow) -> None:
    """Every command that adds jobs to a paused queue prints how to resume it."""
    either.run("queue", "pause")
    (either.home / "topics.txt").write_text("Dreams\n")
    single = either.run("single", "--topic", "Tides", "--job-id", "tides")
    assert f"added job tides to the {either.queue} queue, which is paused\n" in single.stderr
    batch = either.run("batch", "--topics-file", str(either.home / "topics.txt"))
    schedule = either.run("schedule", "--date", "2099-06-01", "--daily-count", "2")
    for done in (single, batch, schedule):
        assert "the queue is paused; resume it with: run_flow_enhanced.py queue resume\n" in done.stderr
        assert "auto" not in done.stderr
    either.run("queue", "resume")
    assert "paused" not in either.run("single", "--topic", "Stars").stderr


def test_jobs_stay_in_sight_when_a_server_starts(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A Redis server that starts on this machine hides no job, and the workers keep serving theirs."""
    flow.run("single", "--topic", "Tides", "--job-id", "tides", "--service", "simulated")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        flow.environment["REDIS_PORT"] = str(server.port)
        assert flow.worker("--burst", **SIMULATED).wait() == 0
        assert flow.json("show", "tides", "--json")["status"] == "succeeded"
        assert flow.json("status")["queue_type"] == "local"
    finally:
        server.kill()


def test_the_first_job_comes_to_a_waiting_worker(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A worker that starts before the first job decides for its home, though a server starts in between."""
    worker = flow.worker(**SIMULATED)
    flow.until(lambda: "serves the local queue" in flow.log(), "the worker's start")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        flow.environment["REDIS_PORT"] = str(server.port)
        added = flow.run("single", "--topic", "Tides", "--service", "simulated", "--wait")
        assert (added.returncode, "no worker is running" in added.stderr) == (0, False)
    finally:
        server.kill()
    assert worker.poll() is None


def test_a_fresh_home_says_which_server_it_uses(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first job names the server that no setting names, and later jobs go there too, or fail."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        flow.environment["REDIS_PORT"] = str(server.port)
        first = flow.run("single", "--topic", "Tides")
        assert "so this home uses the server redis://localhost:" in first.stderr
        assert "this home uses" not in flow.run("single", "--topic", "Stars").stderr
    finally:
        server.kill()
    refused = flow.run("single", "--topic", "Dreams")
    assert refused.returncode == 5
    assert "set TENXSOM_QUEUE_TYPE=local to use the embedded queue" in refused.stderr


def test_jobs_in_another_store_are_mentioned(on_redis: Flow) -> None:
    """Adding a job mentions unfinished jobs of this home in a store that the queue does not use."""
    on_redis.run("single", "--topic", "Tides", "--queue-type", "local")
    added = on_redis.run("single", "--topic", "Stars")
    assert "note: this home has 1 unfinished job in another store, sqlite:///" in added.stderr
    assert "list them with: run_flow_enhanced.py jobs --queue-type local" in added.stderr


def test_a_user_without_a_home_folder(flow: Flow) -> None:
    """Without a home folder, TENXSOM_HOME is the only setting needed; without it, the error says so."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", HOMELESS, str(ROOT / "run_flow_enhanced.py"), *arguments],
            env=flow.environment, capture_output=True, text=True, cwd=flow.home, check=False,
        )  # fmt: skip

    assert run("single", "--topic", "Tides").returncode == 0
    flow.environment |= {"TENXSOM_HOME": "", "XDG_DATA_HOME": ""}
    lost = run("status")
    assert (lost.returncode, lost.stdout) == (2, "")
    assert lost.stderr.startswith("error: this user has no home folder; set TENXSOM_HOME")
