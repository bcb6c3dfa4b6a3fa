"""`batch` with the files that people have: calendars of last year, tables of spreadsheets, old encodings."""

from __future__ import annotations

from .conftest import Flow


def write(flow: Flow, name: str, content: bytes) -> str:
    (flow.home / name).write_bytes(content)
    return name


def test_a_calendar_of_last_year_is_not_added_at_once(flow: Flow) -> None:
    """Times in the past are counted and listed; with `--past` their jobs are skipped or started, and added once."""
    rows = b"".join(b"topic %d,2020-01-%02dT10:00Z\n" % (day, day) for day in range(1, 31))
    batch = ("batch", "--topics-file", write(flow, "plan.csv", b"topic,at\n" + rows + b"Tides,2099-01-01T10:00Z\n"))
    for option in ([], ["--dry-run"], ["--keep-going"]):
        refused = flow.run(*batch, *option)
        assert (refused.returncode, refused.stdout) == (2, "")
        lines = refused.stderr.splitlines()
        assert lines[0] == "plan.csv line 2: 2020-01-01T10:00:00.000Z lies in the past"
        assert lines[-2:] == [
            "plan.csv: and 10 more times in the past",
            "error: nothing was added: the times of 30 of 31 jobs lie in the past; correct them, start these jobs "
            "with --past now, or skip them with --past skip",
        ]
    skipped = flow.run(*batch, "--past", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert "left out 30 jobs with a time in the past\n" in skipped.stderr
    assert "added 1 job" in skipped.stderr
    added = flow.json(*batch, "--past", "now", "--json")
    assert (len(added["added"]), len(added["known"]), added["past_lines"]) == (30, 1, 30)
    again = flow.run(*batch)
    assert again.returncode == 0, again.stderr
    assert "added 0 jobs" in again.stderr
    assert "31 already existed" in again.stderr


def test_a_list_that_is_skipped_completely_is_no_error(flow: Flow) -> None:
    """If all times have passed, `--past skip` adds nothing and succeeds."""
    plan = write(flow, "plan.csv", b"topic,at\nTides,2020-01-01T10:00Z\n")
    done = flow.run("batch", "--topics-file", plan, "--past", "skip")
    assert (done.returncode, done.stdout) == (0, "")
    assert "left out 1 job with a time in the past\nadded 0 jobs" in done.stderr


def test_a_single_job_in_the_past_is_refused_once(flow: Flow) -> None:
    """`single --at` refuses a time in the past, unless the job exists already."""
    single = ("single", "--topic", "Tides", "--job-id", "tides")
    refused = flow.run(*single, "--at", "2020-01-01T10:00Z")
    assert refused.returncode == 2
    assert refused.stderr == "error: at: 2020-01-01T10:00:00.000Z lies in the past; leave out --at to start now\n"
    flow.run(*single)
    assert "nothing was added" in flow.run(*single, "--at", "2020-01-01T10:00Z").stderr


def test_an_old_encoding_is_named(flow: Flow) -> None:
    """A file in a code page is one error that names the option which reads it."""
    plan = write(flow, "plan.csv", "topic\r\nWarum wir träumen – ein Überblick\r\n".encode("windows-1252"))
    for command in ("batch", "schedule"):
        refused = flow.run(command, "--topics-file", plan)
        assert refused.returncode == 2
        assert refused.stderr == (
            "error: plan.csv: is not in UTF-8 but in a code page such as windows-1252, in which line 2 is 'Warum wir "
            "träumen – ein Überblick'; save the file as UTF-8, or pass --encoding windows-1252 if that line is right\n"
        )
    rows = flow.json("batch", "--topics-file", plan, "--encoding", "windows-1252", "--dry-run", "--json")["jobs"]
    assert [row["topic"] for row in rows] == ["Warum wir träumen – ein Überblick"]


def test_unknown_columns_can_be_ignored(flow: Flow) -> None:
    """Unknown columns and fields are named, with the option that leaves them out, also for a schedule."""
    plan = write(flow, "plan.csv", b"\xef\xbb\xbfTopic;Notes;Duration\r\n#1 of 5;for Ann;8,0\r\n;;\r\n")
    lines = write(flow, "plan.jsonl", b'# a list\n{"topic": "#1 of 5", "notes": "for Ann", "duration": 8.0}\n')
    for command in ("batch", "schedule"):
        refused = flow.run(command, "--topics-file", plan)
        assert refused.returncode == 2
        assert refused.stderr.startswith(
            "error: plan.csv line 1: the header row has the unknown column 'Notes'; it can"
        )
        assert refused.stderr.endswith("rename or remove them, or leave out unknown fields with --ignore-unknown\n")
    assert "or leave out unknown fields with --ignore-unknown" in flow.run("batch", "--topics-file", lines).stderr
    added = flow.run("batch", "--topics-file", plan, "--ignore-unknown")
    assert "left out unknown fields: Notes\n" in added.stderr
    again = flow.run("batch", "--topics-file", lines, "--ignore-unknown")
    assert "skipped 1 comment line\nleft out unknown fields: notes\n" in again.stderr
    assert "added 0 jobs" in again.stderr
    assert "1 already existed" in again.stderr
