"""Jobs that expire, are changed before they buy, or repeat a topic, as a user does it."""

from __future__ import annotations

from .conftest import Flow
from .test_command_line import SIMULATED

LATER = ("single", "--topic", "How tides work", "--job-id", "tides", "--delay", "2h")


def test_a_late_job_expires_unbought_and_can_be_retried(either: Flow) -> None:
    """A job that could not start in time is not made; it says why, and a retry makes it."""
    flow = either
    flow.run("single", "--topic", "Tides", "--job-id", "tides", "--service", "simulated", "--start-by", "0s")
    assert flow.run("worker", "--burst").returncode == 0
    shown = flow.json("show", "tides", "--json")
    assert (shown["status"], shown["error"]["code"], shown["purchases"]) == ("cancelled", "expired", [])
    assert "bought nothing by then" in shown["error"]["message"]
    assert "cancelled (expired)" in flow.run("jobs").stdout
    assert "1 job expired in 24 hours" in flow.run("status").stdout
    assert flow.run("retry", "--expired", "--yes").returncode == 0
    assert flow.json("show", "tides", "--json")["status"] == "queued"
    assert "no expired jobs" in flow.run("retry", "--expired").stderr


def test_a_scheduled_job_is_edited(either: Flow) -> None:
    """`edit` changes a waiting job after a question with the price, and keeps its time."""
    flow = either
    flow.run(*LATER, "--start-by", "1h")
    before = flow.json("show", "tides", "--json")
    asked = flow.run("edit", "tides", "--to-service", "simulated")
    assert (asked.returncode, "at an unknown price; pass --yes" in asked.stderr) == (2, True)
    assert flow.json("show", "tides", "--json") == before
    edited = flow.run("edit", "tides", "--prompt", "a calm sea", "--topic", "Ebb and flow")
    assert (edited.returncode, "job tides is changed and starts" in edited.stderr) == (0, True)
    after = flow.json("show", "tides", "--json")
    assert (after["topic"], after["prompt"], after["status"]) == ("Ebb and flow", "a calm sea", "scheduled")
    assert (after["due"], after["start_by"]) == (before["due"], before["start_by"])
    assert after["events"][-1]["what"] == "edited"
    for same in (("--prompt", "a calm sea"), ("--start-by", "1h")):
        again = flow.run("edit", "tides", *same)
        assert (again.returncode, "nothing would change" in again.stderr) == (2, True)
    assert flow.json("show", "tides", "--json") == after
    assert flow.run("edit", "tides").returncode == 2
    assert "must be 1 to 1800 seconds" in flow.run("edit", "tides", "--duration", "9999").stderr


def test_a_scheduled_job_gets_another_time(either: Flow) -> None:
    """`reschedule` and `run-now` move a job; a time in the past, and a job that has a video, are refused."""
    flow = either
    flow.run(*LATER, "--service", "simulated")
    assert flow.run("reschedule", "tides", "--at", "2099-12-24T18:00Z", "--start-by", "1h").returncode == 0
    shown = flow.json("show", "tides", "--json")
    assert (shown["due"], shown["start_by"]) == ("2099-12-24T18:00:00.000Z", "2099-12-24T19:00:00.000Z")
    assert "lies in the past" in flow.run("reschedule", "tides", "--at", "2020-01-01T00:00Z").stderr
    assert flow.run("reschedule", "tides").returncode == 2
    assert flow.run("run-now", "tides", "--yes").returncode == 0
    assert flow.json("show", "tides", "--json")["status"] == "queued"
    assert flow.run("worker", "--burst", **SIMULATED).returncode == 0
    for command in (("edit", "tides", "--topic", "x"), ("run-now", "tides"), ("reschedule", "tides", "--delay", "1h")):
        refused = flow.run(*command)
        assert (refused.returncode, "its video is bought, or might be" in refused.stderr) == (2, True)


def test_starting_a_paid_job_names_its_price(flow: Flow) -> None:
    """`run-now` buys, so it asks; a cancelled job can be rescheduled, which buys it then."""
    flow.run(*LATER, "--service", "simulated")
    asked = flow.run("run-now", "tides")
    assert "start job tides now, and buy its video at an unknown price; pass --yes" in asked.stderr
    flow.run("cancel", "tides")
    refused = flow.run("run-now", "tides", "--yes")
    assert (refused.returncode, "retry it with" in refused.stderr) == (2, True)
    assert "pass --yes" in flow.run("reschedule", "tides", "--delay", "1h").stderr
    assert flow.run("reschedule", "tides", "--delay", "1h", "--yes").returncode == 0
    assert flow.json("show", "tides", "--json")["status"] == "scheduled"


def test_a_latest_start_alone_does_not_retry_a_job(flow: Flow) -> None:
    """`edit --start-by` without `--at` is refused for a cancelled job, which would be bought at once."""
    flow.run(*LATER, "--service", "simulated")
    flow.run("cancel", "tides")
    refused = flow.run("edit", "tides", "--start-by", "6h", "--yes")
    assert (refused.returncode, "has no latest start; pass --at too" in refused.stderr) == (2, True)
    assert flow.json("show", "tides", "--json")["status"] == "cancelled"


def test_topics_of_a_channel_are_not_repeated(flow: Flow) -> None:
    """With `--unless-made-within`, topics that the channel has planned are skipped and named, cancelled ones not."""
    topics = flow.home / "topics.txt"
    topics.write_text("How tides work\nWhy we dream\n")
    batch = ("batch", "--topics-file", str(topics), "--channel", "fun", "--delay", "1h")
    made = ("--unless-made-within", "30d")
    (tides, dreams) = flow.run(*batch, *made).stdout.split()
    again = flow.run(*batch, *made)
    assert (again.stdout, "2 already existed" in again.stderr) == ("", True)
    flow.run("cancel", dreams)
    topics.write_text("HOW  tides work\nwhy we dream\nWhy we dream\n")
    skipped = flow.json(*batch, *made, "--duration", "9", "--dry-run", "--json")
    assert [job["topic"] for job in skipped["jobs"]] == ["why we dream"]
    first = skipped["skipped"][0]
    assert (first["topic"], first["job_id"]) == ("How tides work", tides)
    single = flow.run("single", "--topic", "How tides work", "--channel", "fun", "--again", *made)
    assert (single.returncode, single.stdout) == (0, "")
    assert f"skipped How tides work: planned, job {tides}" in single.stderr
    assert flow.run("single", "--topic", "How tides work", "--channel", "work", *made).stdout != ""


def test_a_schedule_takes_the_next_topic_instead(flow: Flow) -> None:
    """A slot whose topic was made gets the next one of the list; if there is none, it stays without a job."""
    topics = flow.home / "topics.txt"
    topics.write_text("Tides\nDreams\nStars\n")
    flow.run("single", "--topic", "tides", "--channel", "fun", "--delay", "1h")
    day = ("schedule", "--date", "2099-06-01", "--channel", "fun", "--daily-count", "4", "--videos-per-hour", "1")
    made = ("--topics-file", str(topics), "--unless-made-within", "30d")
    planned = flow.json(*day, *made, "--dry-run", "--json")
    assert [slot["topic"] for slot in planned["slots"]] == ["Dreams", "Stars"]
    why = "without a job: the channel has made or planned all topics"
    topics.write_text("Tides\nDreams\nStars\nEchoes\n")
    assert f"1 slot stays {why}" in flow.run(*day, *made, "--dry-run").stderr
    topics.write_text("Tides\nDreams\nStars\n")
    assert f"2 slots stay {why}" in flow.run(*day, *made).stderr
    built_in = ("--unless-made-within", "30d", "--dry-run", "--json")
    assert len({slot["topic"] for slot in flow.json(*day, *built_in)["slots"]}) == 4


def test_a_schedule_has_a_latest_start_and_catches_up(flow: Flow) -> None:
    """Jobs of a schedule expire after one interval; slots that passed without a job are left out unless asked for."""
    day = ("schedule", "--daily-count", "24", "--videos-per-hour", "2", "--service", "draft")
    (slot,) = flow.run(*day[:1], "--date", "2099-06-01", "--daily-count", "1", "--service", "draft").stdout.split()
    shown = flow.json("show", slot, "--json")
    assert (shown["due"], shown["start_by"]) == ("2099-06-01T00:00:00.000Z", "2099-06-01T00:15:00.000Z")
    flow.run("schedule", "--date", "2099-06-02", "--daily-count", "1", "--start-by", "never")
    assert flow.json("show", "slot-20990602T000000Z", "--json")["start_by"] is None
    past = (*day, "--start", "2020-01-01T00:00Z")
    assert "left out 24 slots in the past" in flow.run(*past).stderr
    assert flow.run(*past, "--catch-up", "latest").stdout.split() == ["slot-20200101T233000Z"]
    caught_up = flow.json("show", "slot-20200101T233000Z", "--json")
    assert caught_up["status"] == "queued"
    assert caught_up["start_by"] > caught_up["added_at"]
    assert len(flow.run(*past, "--catch-up", "all").stdout.split()) == 23
