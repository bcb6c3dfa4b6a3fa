"""Files of topics, well made and from hell."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob, check_job_id
from tenxsom_flow_engine.planning.batch import Timing, plan_batch
from tenxsom_flow_engine.planning.files import FIELDS, MAX_LINE, BadLine, Entry, read_topics
from tenxsom_flow_engine.planning.rotation import builtin_topic, builtin_topics, in_order
from tenxsom_flow_engine.planning.slots import Slot


def read(content: bytes | str, name: str = "topics.txt") -> list[Entry | BadLine]:
    data = content.encode() if isinstance(content, str) else content
    return list(read_topics(io.BufferedReader(io.BytesIO(data)), name))


def topics(content: bytes | str, name: str = "topics.txt") -> list[tuple[int, str]]:
    entries = read(content, name)
    assert all(isinstance(entry, Entry) for entry in entries)
    return [(entry.line, entry.fields["topic"]) for entry in entries if isinstance(entry, Entry)]


PLAIN = [(1, "How tides work"), (4, "Größe")]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "utf-16 big-endian", "crlf", "cr", "no last line end"],
)
def test_one_topic_a_line(encode: Callable[[str], bytes]) -> None:
    """Blank lines and comments are skipped, numbers are the file's, and every usual encoding is read."""
    assert topics(encode("How tides work\n\n  # not this\n  Größe \n")) == PLAIN


def test_csv() -> None:
    """A CSV file has named columns, quoted cells may hold commas and line ends, and empty cells say nothing."""
    content = 'topic,duration,channel,at\n"Tides, and why",8,,\n"Two\nlines",5,fun,2026-12-24T18:00Z\n'
    entries = read(content, "plan.csv")
    assert entries == [
        Entry(2, {"topic": "Tides, and why", "duration": 8}),
        Entry(3, {"topic": "Two\nlines", "duration": 5, "channel": "fun"}, 1798135200.0),
    ]


def test_csv_is_known_by_its_head() -> None:
    """On standard input, which has no ending, the first line tells; a topic with a comma is no head."""
    assert topics("topic,channel\nTides,fun\n", "-") == [(2, "Tides")]
    assert topics("Tides, and why\n", "-") == [(1, "Tides, and why")]


def test_json_lines() -> None:
    """Each line is an object with a job's fields."""
    content = '{"topic": "Tides", "duration": 8}\n\n{"topic": "Größe", "service": "draft"}\n'
    for name in ("plan.jsonl", "-"):
        assert read(content, name) == [
            Entry(1, {"topic": "Tides", "duration": 8}),
            Entry(3, {"topic": "Größe", "service": "draft"}),
        ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"topic": "x", "length": 5}', "unknown field 'length'"),
        ('{"duration": 5}', "has no topic"),
        ('{"topic": "x", "duration": "five"}', "duration: must be a whole number, not 'five'"),
        ('{"topic": "x", "duration": 5.5}', "duration: must be a whole number"),
        ('{"topic": "x", "duration": true}', "duration: must be a whole number"),
        ('{"topic": 5}', "topic: must be text"),
        ('{"topic": "x", "at": 5}', "at: must be text"),
        ('{"topic": "x", "at": "soon"}', "at: 'soon' is not a moment"),
        ('{"topic": "x"', "is not JSON"),
        ('["x"]', "is not a JSON object"),
        ("[" * 60_000, "is not JSON"),
    ],
)
def test_bad_json_lines_are_told_by_number(line: str, reason: str) -> None:
    """A bad line has its number and reason, and the lines after it are read."""
    bad, good = read(f'{line}\n{{"topic": "fine"}}\n', "plan.jsonl")
    assert isinstance(bad, BadLine)
    assert bad.line == 1
    assert reason in bad.reason
    assert good == Entry(2, {"topic": "fine"})


def test_bad_csv_lines_are_told_by_number() -> None:
    """Too many cells, too few, and a quote that is never closed: each is one bad line."""
    content = 'topic,channel\na,b,c\nonly\nfine,fun\n"never closed,x\n' + "y\n" * MAX_LINE
    entries = read(content, "plan.csv")
    assert entries[:3] == [
        BadLine(2, "has 3 cells under 2 columns"),
        BadLine(3, "has 1 cells under 2 columns"),
        Entry(4, {"topic": "fine", "channel": "fun"}),
    ]
    assert isinstance(entries[3], BadLine)
    assert entries[3].line == 5


def test_a_csv_head_must_name_known_columns() -> None:
    """A head without `topic`, or with a column that no job has, is one error that lists the names."""
    for head in ("title,channel", "topic,length", "topic,topic"):
        with pytest.raises(InvalidInput, match="topic, and any of prompt, duration"):
            read(f"{head}\na,b\n", "plan.csv")


@pytest.mark.parametrize("content", [b"\x7fELF\0\0\0\1", b"PK\3\4\0\0", b"topic\0\n"])
def test_binary_files_are_refused_at_once(content: bytes) -> None:
    """A file that is no text is one error, not a thousand bad lines."""
    with pytest.raises(InvalidInput, match=r"topics\.txt: is not a text file"):
        read(content)


def test_text_that_is_not_utf8_is_a_bad_line() -> None:
    """Latin-1 text shows as a bad line with the position of the letter."""
    good, bad = plan_batch(read("fine\nGr\xf6\xdfe\n".encode("latin-1")), {}, Timing(0.0), lambda job, due: job)
    assert [job.topic for job in good] == ["fine"]
    assert bad == [BadLine(2, "topic: is not valid Unicode at position 3")]


def test_a_cut_utf16_file_is_refused() -> None:
    """Half a letter at the end is an error of the file."""
    with pytest.raises(InvalidInput, match="is not valid utf-16"):
        read("Tides\n".encode("utf-16")[:-1])


class Endless(io.RawIOBase):
    """A line of a gigabyte, made as it is read."""

    def __init__(self, size: int, tail: bytes) -> None:
        self._left = size
        self._tail = tail
        self.largest = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.largest = max(self.largest, len(buffer))
        if self._left:
            count = min(len(buffer), self._left)
            buffer[:count] = b"x" * count
            self._left -= count
            return count
        count = min(len(buffer), len(self._tail))
        buffer[:count] = self._tail[:count]
        self._tail = self._tail[count:]
        return count


def test_a_line_of_a_gigabyte_is_one_bad_line() -> None:
    """It is passed over in small pieces, and the next line is read."""
    stream = Endless(10**9, b"\nfine\n")
    entries = list(read_topics(io.BufferedReader(stream), "topics.txt"))
    assert entries == [BadLine(1, "has more than 65,536 characters"), Entry(2, {"topic": "fine"})]
    assert stream.largest < 2**20


def test_lines_at_the_bound() -> None:
    """The longest line that is allowed is read; one letter more is not."""
    for name in ("topics.txt", "-"):
        assert len(topics("x" * MAX_LINE, name)[0][1]) == MAX_LINE
        assert read("x" * (MAX_LINE + 1), name) == [BadLine(1, "has more than 65,536 characters")]


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a.csv", "a.jsonl", "-"]))
def test_any_bytes_give_entries_bad_lines_or_one_error(content: bytes, name: str) -> None:
    """Nothing else comes out, and line numbers grow."""
    try:
        entries = read(content, name)
    except InvalidInput:
        return
    lines = [entry.line for entry in entries]
    assert lines == sorted(lines)


@given(st.lists(st.fixed_dictionaries({"topic": st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)})))
def test_json_lines_round_trip(rows: list[dict[str, str]]) -> None:
    """What is written as JSON lines is read as it was."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    assert [entry.fields for entry in read(content, "a.jsonl") if isinstance(entry, Entry)] == rows


def plan(content: str, *, salt: str = "", **defaults: Any) -> list[tuple[VideoJob, float | None]]:
    good, bad = plan_batch(read(content), defaults, Timing(1000.0), lambda job, due: (job, due), salt=salt)
    assert not bad
    return good


def test_ids_follow_from_content_and_occurrence() -> None:
    """The same list has the same ids, equal lines have different ones, and a longer list keeps those it had."""
    first = [job.job_id for job, _ in plan("Tides\nDreams\nTides\n")]
    assert len(set(first)) == 3
    assert [job.job_id for job, _ in plan("Tides\nDreams\nTides\n")] == first
    # Order, neighbours, comments and blank lines do not matter.
    assert set(first) < {job.job_id for job, _ in plan("# list\nDreams\n\nTides\nTides\nNew\n")}
    assert not set(first) & {job.job_id for job, _ in plan("Tides\nDreams\nTides\n", duration=8)}
    assert not set(first) & {job.job_id for job, _ in plan("Tides\nDreams\nTides\n", salt="again")}
    for job_id in first:
        check_job_id(job_id)


def test_ids_are_the_same_for_ever() -> None:
    """Another machine or version must find the same id, or it would buy again."""
    ((job, _),) = plan("How tides work", duration=5)
    assert job.job_id == "how-tides-work-52dddc82a546aa19"


def test_stagger_and_delay_set_the_starts() -> None:
    """Each job starts a stagger after the one before; a line's own time wins and does not shift the others."""
    content = '{"topic": "a"}\n{"topic": "b", "at": "2026-12-24T18:00Z"}\n{"topic": "c"}\n'
    good, _ = plan_batch(read(content, "a.jsonl"), {}, Timing(1000.0, start=2000.0, stagger=60.0), lambda job, due: due)
    assert good == [2000.0, 1798135200.0, 2120.0]
    assert Timing(1000.0).due(5) is None
    assert Timing(1000.0, stagger=10.0).due(2) == 1020.0


def test_a_refused_job_is_a_bad_line() -> None:
    """What the service cannot make is told like a line that cannot be read."""

    def prepare(job: VideoJob, due: float | None) -> VideoJob:
        if job.duration > 5:
            raise InvalidInput("duration", "too long")
        return job

    entries = read('{"topic": "a", "duration": 9}\n{"topic": ""}\n{"topic": "c"}\n', "a.jsonl")
    good, bad = plan_batch(entries, {}, Timing(0.0), prepare)
    assert [job.topic for job in good] == ["c"]
    assert [(line.line, line.reason.partition(" (")[0]) for line in bad] == [
        (1, "duration: too long"),
        (2, "topic: is empty"),
    ]


def test_builtin_topics_are_many_and_good() -> None:
    """More than 200, each different and a valid topic; their number is prime, so the days differ."""
    listed = builtin_topics()
    assert len(listed) > 200
    assert len({topic.casefold() for topic in listed}) == len(listed)
    assert all(len(listed) % divisor for divisor in range(2, len(listed)))
    for topic in listed:
        VideoJob(job_id="x", topic=topic, created_at=0.0)


@given(st.integers(0, 10**7))
def test_builtin_topics_rotate(number: int) -> None:
    """No topic comes twice within 200 slots that follow each other, and the next day begins with another."""
    chosen = [builtin_topic(Slot(n, 0)) for n in range(number, number + 200)]
    assert len(set(chosen)) == 200
    for per_day in (24, 48, 96, 240):
        assert builtin_topic(Slot(number, 0)) != builtin_topic(Slot(number + per_day, 0))


def test_own_topics_are_used_in_order_then_again() -> None:
    """A list goes on behind the topic that was used last."""
    entries = [Entry(n, {"topic": topic}) for n, topic in enumerate("abc")]

    def first(count: int, after: str | None) -> str:
        supply = in_order(entries, after)
        return "".join(next(supply).fields["topic"] for _ in range(count))

    assert first(5, None) == "abcab"
    assert first(3, "a") == "bca"
    assert first(3, "c") == "abc"
    assert first(3, "gone from the list") == "abc"


def test_every_field_of_a_file_is_a_jobs() -> None:
    """The fields that a file may have are a job's own, and the time."""
    assert set(FIELDS) - {"at"} <= set(VideoJob.__struct_fields__)
