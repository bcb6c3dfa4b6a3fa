"""Days of a channel, planned as a user or cron does."""

from __future__ import annotations

from typing import Any

from .conftest import Flow


def write(flow: Flow, name: str, text: str) -> str:
    path = flow.home / name
    path.write_text(text, "utf-8")
    return str(path)


def topics_of(slots: list[dict[str, Any]]) -> str:
    return "".join(slot["topic"] for slot in slots)


def test_a_day_is_scheduled_once(flow: Flow) -> None:
    """A second run adds only new slots, and reports the number of existing ones."""
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
    assert "40 already existed" in second.stderr
    assert second.stdout.split() == [slot["job_id"] for slot in plan[40:]]
    assert flow.json("status")["jobs"]["scheduled"] == 96
    known = flow.json(*day, "--dry-run", "--json")["slots"]
    assert {slot["state"] for slot in known} == {"known"}
    assert [slot["topic"] for slot in known] == [slot["topic"] for slot in plan]
    assert "0 new jobs, about $0.00; 96 already exist" in flow.run(*day, "--dry-run").stderr


def test_built_in_topics_have_scripts(flow: Flow) -> None:
    """Drafts of built-in topics are as long as their scripts; a job that names HeyGen has the script."""
    day = ("schedule", "--date", "2099-06-01", "--daily-count", "3", "--videos-per-hour", "1", "--json")
    slots = flow.json(*day, "--dry-run")["slots"]
    assert all(slot["prompt"].count(". ") >= 2 and slot["duration"] > 10 for slot in slots)
    short = flow.run(*day, "--dry-run", "--duration", "5")
    assert short.stderr.count("at a readable pace, but the draft lasts 5 s and shows") == 3
    flow.environment["HEYGEN_API_KEY"] = "x"
    spoken = flow.json(*day, "--service", "heygen")
    assert all(slot["duration"] > 10 and "exactly these words" in slot["prompt"] for slot in spoken["slots"])
    assert flow.json("show", spoken["added"][0], "--json")["script"] in slots[0]["prompt"]


def test_days_join_in_any_zone(flow: Flow) -> None:
    """Days planned one by one have no gap or overlap, even when the clocks change."""
    instants: list[str] = []
    for day in ("2099-10-24", "2099-10-25", "2099-10-26"):
        slots = flow.json("schedule", "--date", day, "--timezone", "Europe/Berlin", "--daily-count", "24",
                          "--videos-per-hour", "1", "--json")["slots"]  # fmt: skip
        instants += [slot["start"] for slot in slots]
    assert instants[0] == "2099-10-23T22:00:00.000Z"
    # The day of 25 hours has its 24 videos in the first 24 of them.
    assert instants[47:49] == ["2099-10-25T21:00:00.000Z", "2099-10-25T23:00:00.000Z"]
    assert len(set(instants)) == 72


def test_the_next_24_hours_are_planned_from_now(flow: Flow) -> None:
    """Without a date, the plan covers the next 24 hours."""
    slots = flow.json("schedule", "--daily-count", "96", "--videos-per-hour", "4", "--json")["slots"]
    assert len(slots) == 96
    assert flow.json("status")["jobs"]["scheduled"] >= 95


def test_a_part_of_the_grid_is_not_topped_up(flow: Flow) -> None:
    """A daily count below the number of slots holds in any 24 hours, however often the command runs."""
    command = ("schedule", "--daily-count", "5", "--videos-per-hour", "4", "--channel", "fun")
    added = []
    for start in ("2099-06-01T00:00Z", "2099-06-01T00:00Z", "2099-06-01T01:00Z", "2099-06-01T02:00Z"):
        added.append(flow.run(*command, "--start", start).stdout.split())
    assert added == [
        [f"fun-20990601T{at}00Z" for at in ("0000", "0015", "0030", "0045", "0100")],
        [],
        # One of the five videos of the next 24 hours exists; the fifth new one has to wait until a day has passed.
        [f"fun-20990602T{at}00Z" for at in ("0000", "0015", "0030", "0045")],
        [f"fun-20990602T{at}00Z" for at in ("0100",)],
    ]


def test_too_many_videos_are_refused(flow: Flow) -> None:
    """97 videos at 4 an hour are refused with exit code 2 and the values that fit."""
    done = flow.run("schedule", "--daily-count", "97", "--videos-per-hour", "4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: daily-count: 97 videos do not fit: 4 per hour gives 96 in 1 day; use 96 videos, or 5 per hour\n"
    )


def test_clock_changes_and_past_slots_are_reported(flow: Flow) -> None:
    """A day of 23 hours has 92 slots, one of 25 hours 100, and past slots are left out."""
    berlin = ("--timezone", "Europe/Berlin", "--dry-run")
    spring = flow.run("schedule", "--date", "2099-03-29", *berlin)
    assert spring.stderr.splitlines()[:2] == [
        "the clocks change on this day, so it is 23 h long",
        "this period has 92 slots, so only 92 of 96 videos fit",
    ]
    autumn = flow.run("schedule", "--date", "2099-10-25", "--daily-count", "100", *berlin)
    assert autumn.stderr.splitlines()[0] == "the clocks change on this day, so it is 1 day 1 h long"
    past = flow.run("schedule", "--date", "2020-01-01", "--dry-run")
    assert past.returncode == 0
    assert past.stderr.splitlines()[0] == "left out 96 slots in the past"
    gap = flow.run("schedule", "--date", "2099-03-29", "--start", "02:30", "--daily-count", "1", *berlin)
    assert "the clocks skip 02:30 on 2099-03-29, so the period begins at 03:30" in gap.stderr
    assert "2099-03-29 01:30" in gap.stdout


def test_videos_of_another_pace_are_reported(flow: Flow) -> None:
    """Videos of another pace count; after the suggested cancel command, the day can be planned again."""
    day = ("schedule", "--date", "2099-06-01", "--channel", "fun", "--daily-count", "24")
    flow.run(*day, "--videos-per-hour", "4")
    changed = flow.run(*day, "--videos-per-hour", "1")
    assert "added 0 jobs" in changed.stderr
    advice = "cancel the scheduled ones with: run_flow_enhanced.py cancel --scheduled --channel fun\n"
    assert f"the daily count includes 18 videos planned at another pace, outside this grid; {advice}" in changed.stderr
    flow.run("cancel", "--scheduled", "--channel", "fun", "--yes")
    planned_again = flow.run(*day, "--videos-per-hour", "1")
    assert "added 18 jobs" in planned_again.stderr
    advice = "restore a job with: run_flow_enhanced.py retry JOB\n"
    assert "left out 6 slots whose job was cancelled or expired; " + advice in planned_again.stderr
    assert "outside this grid" not in planned_again.stderr


def test_own_topics_continue_where_they_stopped(flow: Flow) -> None:
    """A list of topics is used in order over several plans, then repeated."""
    topics = write(flow, "topics.txt", "".join(f"topic {n}\n" for n in range(5)))
    for start, count, expected in (("08:00", 3, [0, 1, 2]), ("08:00", 5, [0, 1, 2, 3, 4]), ("10:00", 2, [0, 1])):
        slots = flow.json("schedule", "--date", "2099-06-01", "--start", start, "--daily-count", str(count),
                          "--topics-file", topics, "--json")["slots"]  # fmt: skip
        assert [slot["topic"] for slot in slots] == [f"topic {n}" for n in expected]


def test_own_topics_are_neither_lost_nor_repeated(either: Flow) -> None:
    """Duplicates, a missed day, a clock change, another pace and other channels do not change the order of a list."""
    topics = write(either, "topics.txt", "A\nB\nA\nC\nD\n")
    command = ("schedule", "--channel", "fun", "--topics-file", topics, "--timezone", "Europe/Berlin", "--json")
    either.run("schedule", "--date", "2099-10-24", "--topics-file", topics)
    used = ""
    for day, count, rate in (
        ("2099-10-20", 1, "1"), ("2099-10-21", 1, "1"), ("2099-10-22", 1, "1"),
        ("2099-10-24", 1, "1"), ("2099-10-25", 25, "1"), ("2099-10-26", 3, "1/2"), ("2099-11-26", 2, "7"),
    ):  # fmt: skip
        plan = ("--date", day, "--daily-count", str(count), "--videos-per-hour", rate)
        used += topics_of(either.json(*command, *plan)["slots"])
    assert used == ("ABACD" * 7)[:34]


def test_a_schedule_refuses_lines_with_a_time(flow: Flow) -> None:
    """A line with a time is refused, because the schedule sets times and channels."""
    topics = write(flow, "topics.csv", "topic,at\nTides,2099-01-01T00:00Z\n")
    done = flow.run("schedule", "--date", "2099-06-01", "--topics-file", topics)
    assert done.returncode == 2
    assert "line 2: has a time or a channel" in done.stderr


def test_every_line_of_a_list_is_checked_before_anything_is_planned(flow: Flow) -> None:
    """Every invalid line is reported, even one that the plan would not use."""
    topics = write(flow, "topics.jsonl", '{"topic": "fine"}\n{"topic": "x", "duration": 99}\n{"topic": ""}\n')
    done = flow.run("schedule", "--date", "2099-06-01", "--daily-count", "1", "--topics-file", topics)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition("topics.jsonl ")[2] for line in done.stderr.splitlines()[:2]] == [
        "line 2: duration: drafts are 1 to 60 seconds long, not 99",
        "line 3: topic: is empty (describe the video in a few words)",
    ]
    assert done.stderr.endswith("error: nothing was added: 2 invalid lines; fix them\n")
    assert flow.json("status")["approximate_task_count"] == 0


def test_channels_have_different_topics(flow: Flow) -> None:
    """Channels have different topics in the same slots, and a channel can be named like the default prefix `slot`."""
    plans = []
    for channel in ("", "fun", "slot"):
        plans.append(flow.json("schedule", "--date", "2099-06-01", "--channel", channel, "--json")["slots"])
        assert len({slot["topic"] for slot in plans[-1]}) == 96
    assert all(len({slot["topic"] for slot in slots}) == 3 for slots in zip(*plans, strict=True))
    assert flow.json("status")["jobs"]["scheduled"] == 3 * 96


def test_overdue_jobs_are_cancelled_too(either: Flow) -> None:
    """`cancel --scheduled` also cancels jobs whose time passed while no worker ran, but no job that started at once."""
    for job_id, start in (("overdue", ["--delay", "3s"]), ("later", ["--delay", "2h"]), ("now", [])):
        either.run("single", "--topic", "Tides", "--channel", "fun", "--job-id", job_id, *start)
    either.until(lambda: either.json("status")["jobs"]["queued"] == 2, "the start of the first job")
    cancelled = either.run("cancel", "--scheduled", "--channel", "fun", "--yes")
    assert "2 of 2 jobs done" in cancelled.stderr
    assert [either.json("show", name, "--json")["status"] for name in ("overdue", "later", "now")] == [
        "cancelled", "cancelled", "queued"
    ]  # fmt: skip
