"""Files of topics, valid and malformed."""

from __future__ import annotations

import codecs
import gc
import io
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob, check_job_id
from tenxsom_flow_engine.planning.batch import Batch, Timing, plan_batch
from tenxsom_flow_engine.planning.entries import FIELDS, BadLine, Comment, Entry
from tenxsom_flow_engine.planning.files import as_line, read_topics
from tenxsom_flow_engine.planning.lines import MAX_LINE, NotUtf8
from tenxsom_flow_engine.planning.rotation import Playlist, Use, builtin_topic, use_of
from tenxsom_flow_engine.planning.slots import Slot
from tenxsom_flow_engine.topics import builtin_script, builtin_topics


def read(content: bytes | str, name: str = "topics.txt", **how: Any) -> list[Entry | BadLine]:
    """Read a list, without its comments."""
    data = content.encode() if isinstance(content, str) else content
    lines = read_topics(io.BufferedReader(io.BytesIO(data)), name, **how)
    return [line for line in lines if not isinstance(line, Comment)]


def as_batch(entries: Iterable[Entry | BadLine], **defaults: Any) -> Batch[VideoJob]:
    return plan_batch(entries, defaults, Timing(0.0), lambda job, due: job)


def topics(content: bytes | str, name: str = "topics.txt", **how: Any) -> list[tuple[int, str]]:
    entries = read(content, name, **how)
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
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=[
        "utf-8",
        "utf-8 with mark",
        "utf-16",
        "utf-16 big-endian",
        "utf-16 little-endian without mark",
        "utf-16 big-endian without mark",
        "utf-32",
        "crlf",
        "cr",
        "no last line end",
    ],
)
def test_one_topic_a_line(encode: Callable[[str], bytes]) -> None:
    """Blank lines and comments are skipped, line numbers are those of the file, and every usual encoding is read."""
    assert topics(encode("How tides work\n\n  # not this\n  Größe \n")) == PLAIN


def test_csv() -> None:
    """A CSV file has named columns; quoted cells can contain commas and line ends; empty cells are ignored."""
    content = 'topic,duration,channel,at\n"Tides, and why",8,,\n"Two\nlines",5,fun,2026-12-24T18:00Z\n'
    entries = read(content, "plan.csv")
    assert entries == [
        Entry(2, {"topic": "Tides, and why", "duration": 8}),
        Entry(3, {"topic": "Two lines", "duration": 5, "channel": "fun"}, 1798135200.0),
    ]


def test_csv_is_known_by_its_head() -> None:
    """Standard input has no name, so its first line determines the format; a topic with a comma is not a header."""
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


def test_options_of_services() -> None:
    """A JSON line can contain service-specific options, which change the job's id; CSV cannot."""
    lines = '{"topic": "Tides", "options": {"heygen": {"script": "Hi."}}}\n{"topic": "Tides", "options": {}}\n'
    batch = as_batch(read(lines, "a.jsonl"))
    jobs = batch.jobs
    assert batch.bad == []
    assert [job.options for job in jobs] == [{"heygen": {"script": "Hi."}}, {}]
    assert len({job.job_id for job in jobs}) == 2
    assert as_batch(read("Tides\n", "a.txt")).jobs[0].job_id == jobs[1].job_id
    with pytest.raises(InvalidInput, match="unknown column 'options'"):
        read("topic,options\nTides,{}\n", "a.csv")


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
        ('{"topic": "x", "at": "soon"}', "at: 'soon' is not a date and time"),
        ('{"topic": "x"', "is not JSON"),
        ('{"topic": "x", "options": 5}', "options: must be objects by service"),
        ('{"topic": "x", "options": {"heygen": "script"}}', "options: must be objects by service"),
        ('["x"]', "is not a JSON object"),
        ("[" * 60_000, "is not readable JSON"),
        ("9" * 5000, "is not readable JSON: Exceeds the limit"),
    ],
)
def test_bad_json_lines_are_reported_by_number(line: str, reason: str) -> None:
    """An invalid line has its number and reason, and the lines after it are read."""
    bad, good = read(f'{line}\n{{"topic": "fine"}}\n', "plan.jsonl")
    assert isinstance(bad, BadLine)
    assert bad.line == 1
    assert reason in bad.reason
    assert good == Entry(2, {"topic": "fine"})


def test_bad_csv_lines_are_reported_by_number() -> None:
    """Too many cells, no topic, and an unclosed quote are one invalid line each."""
    content = 'topic,channel\na,b,c\n,fun\nfine,fun\n"never closed,x\n' + "y\n" * MAX_LINE
    entries = read(content, "plan.csv")
    assert entries[:3] == [
        BadLine(2, "has 3 cells, but the header has 2 columns"),
        BadLine(3, "has no topic"),
        Entry(4, {"topic": "fine", "channel": "fun"}),
    ]
    assert entries[3] == BadLine(5, "is not CSV: a quoted cell has no closing quote")


def test_a_csv_head_must_name_known_columns() -> None:
    """A header without `topic`, or with an unknown column, is one error that lists the allowed names."""
    for head in ("title,channel", "topic,length", "topic,topic"):
        with pytest.raises(InvalidInput, match="topic, and any of prompt, script, style, duration"):
            read(f"{head}\na,b\n", "plan.csv")


def test_a_csv_head_names_its_file_and_line(capfd: pytest.CaptureFixture[str]) -> None:
    """The error is the same if the file is not read to its end."""
    with pytest.raises(InvalidInput, match=r"^plan\.csv line 3: a CSV file must begin"):
        read(b"# list\n\ntitle,channel\na,b\n", "plan.csv")
    gc.collect()
    assert capfd.readouterr().err == ""


def test_comments_before_the_first_entry_do_not_hide_the_format() -> None:
    """The first line that is not blank or a comment determines the format, and lines keep their numbers."""
    for comments in ("# a comment\n\n", "\n  # another\n"):
        assert topics(f"{comments}topic,channel\nTides,fun\n", "-") == [(4, "Tides")]
        assert topics(f'{comments}{{"topic": "Tides"}}\n', "-") == [(3, "Tides")]
        assert topics(f"{comments}topic\nTides\n", "-") == [(4, "Tides")]
        assert topics(f"{comments}Tides\n", "-") == [(3, "Tides")]


def test_a_head_of_one_column_is_a_head() -> None:
    """A list with the header `topic`, as spreadsheets export it, has no video about `topic`."""
    assert topics('"Topic"\nTides\n"Why, oh why"\n', "-") == [(2, "Tides"), (3, "Why, oh why")]


def test_an_unpaired_surrogate_in_json() -> None:
    """An unpaired surrogate is valid JSON but invalid text: its field and position are reported."""
    batch = as_batch(read('{"topic": "ab\\ud800"}\n', "a.jsonl"))
    assert (batch.jobs, batch.bad) == ([], [BadLine(1, "topic: is not valid Unicode at position 3")])


@pytest.mark.parametrize("content", [b"\x7fELF\0\0\0\1", b"PK\3\4\0\0", b"topic\0\n"])
def test_binary_files_are_refused_at_once(content: bytes) -> None:
    """A binary file is one error, not a thousand invalid lines."""
    with pytest.raises(InvalidInput, match=r"topics\.txt: is not a text file"):
        read(content)


@pytest.mark.parametrize(
    ("encoding", "topic", "code_page"),
    [
        ("windows-1252", "Warum wir träumen – ein Überblick", "windows-1252"),
        ("windows-1252", "Don’t panic", "windows-1252"),
        ("windows-1251", "Почему мы видим сны", "windows-1251"),
    ],
)
def test_a_code_page_is_one_error_that_shows_a_line_in_it(encoding: str, topic: str, code_page: str) -> None:
    """Text in a code page of Windows is refused; the error names the code page, and shows its first line as text."""
    content = f"fine\n{topic}\n".encode(encoding)
    with pytest.raises(NotUtf8) as refused:
        read(content)
    assert refused.value.code_page == code_page
    assert f"a code page such as {code_page}, in which line 2 is {topic!r}" in refused.value.message
    assert topics(content, encoding=encoding) == [(1, "fine"), (2, topic)]


def test_an_encoding_must_exist() -> None:
    """An unknown encoding, or a codec that is not for text, is refused; a byte order mark wins over any encoding."""
    for encoding in ("klingon", "hex"):
        with pytest.raises(InvalidInput, match="is unknown; use a name such as windows-1252"):
            read("Tides", encoding=encoding)
    with pytest.raises(InvalidInput, match="is not valid ascii after line"):
        read("Größe\n".encode("windows-1252"), encoding="ascii")
    assert topics(codecs.BOM_UTF8 + "Größe".encode(), encoding="windows-1252") == [(1, "Größe")]


def test_a_damaged_character_is_a_bad_line() -> None:
    """In a file that is otherwise UTF-8, a damaged character is an invalid line with its position."""
    batch = as_batch(read("Größe\nGr".encode() + b"\xf6e\n"))
    assert [job.topic for job in batch.jobs] == ["Größe"]
    assert batch.bad == [BadLine(2, "topic: is not valid Unicode at position 3")]


def test_a_cut_utf16_file_is_refused() -> None:
    """An incomplete character at the end is an error of the file."""
    with pytest.raises(InvalidInput, match="is not valid utf-16"):
        read("Tides\n".encode("utf-16")[:-1])


class Endless(io.RawIOBase):
    """A line of a gigabyte, generated while it is read."""

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
    """The long line is skipped in small pieces, and the next line is read."""
    stream = Endless(10**9, b"\nfine\n")
    entries = list(read_topics(io.BufferedReader(stream), "topics.txt"))
    assert entries == [BadLine(1, "has more than 65,536 characters"), Entry(2, {"topic": "fine"})]
    assert stream.largest < 2**20


def test_a_csv_line_that_is_too_long() -> None:
    """It is reported by its length, not as an error about quotes."""
    content = f"topic\n{'x' * (MAX_LINE + 1)}\nfine\n"
    assert read(content, "a.csv") == [BadLine(2, "has more than 65,536 characters"), Entry(3, {"topic": "fine"})]


def test_lines_at_the_bound() -> None:
    """A line of the maximum length is read; a longer one is not."""
    for name in ("topics.txt", "-"):
        assert len(topics("x" * MAX_LINE, name)[0][1]) == MAX_LINE
        assert read("x" * (MAX_LINE + 1), name) == [BadLine(1, "has more than 65,536 characters")]


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a.csv", "a.jsonl", "-"]))
def test_any_bytes_give_entries_bad_lines_or_one_error(content: bytes, name: str) -> None:
    """Any input gives entries and invalid lines with increasing line numbers, or `InvalidInput`."""
    try:
        entries = read(content, name)
    except InvalidInput:
        return
    lines = [entry.line for entry in entries]
    assert lines == sorted(lines)


one_line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=50)


@given(st.lists(st.fixed_dictionaries({"topic": one_line})))
def test_json_lines_round_trip(rows: list[dict[str, str]]) -> None:
    """Entries written as JSON lines survive a round trip."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    assert [entry.fields for entry in read(content, "a.jsonl") if isinstance(entry, Entry)] == rows


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)
    # Mostly the characters and words that formats use.
    | st.lists(st.sampled_from([*'#[]{}",;:= \\', "sep", "topic", "Topic", "at", "x"]), min_size=1).map("".join)
)
@example("# 1")
@example("#")
@example("#1 mistake")
@example("[]")
@example('["Tides"] and more')
@example("Topic;notes")
@example("sep=;")
@example("\ufeffTides")
@example('"Tides"')
@example("topic")
@example("Topic,at")
@example('{"topic": 5}')
def test_any_topic_can_be_written_as_a_line(topic: str) -> None:
    """A topic that looks like a comment, a header or JSON survives a round trip."""
    assert read(as_line(topic)) == [Entry(1, {"topic": topic})]


def plan(content: str, *, salt: str = "", **defaults: Any) -> list[tuple[VideoJob, float | None]]:
    batch = plan_batch(read(content), defaults, Timing(1000.0), lambda job, due: (job, due), salt=salt)
    assert not batch.bad
    return batch.jobs


def test_ids_follow_from_content_and_occurrence() -> None:
    """The same list gives the same ids, equal lines have different ids, and a longer list keeps the existing ones."""
    first = [job.job_id for job, _ in plan("Tides\nDreams\nTides\n")]
    assert len(set(first)) == 3
    assert [job.job_id for job, _ in plan("Tides\nDreams\nTides\n")] == first
    # Order, other lines, comments and blank lines do not matter.
    assert set(first) < {job.job_id for job, _ in plan("# list\nDreams\n\nTides\nTides\nNew\n")}
    assert not set(first) & {job.job_id for job, _ in plan("Tides\nDreams\nTides\n", duration=8)}
    assert not set(first) & {job.job_id for job, _ in plan("Tides\nDreams\nTides\n", salt="again")}
    for job_id in first:
        check_job_id(job_id)


@pytest.mark.parametrize(
    "line",
    [
        '{"topic": "d"}',
        '{"topic": "d", "prompt": ""}',
        '{"topic": " d ", "duration": 5}',
        '{"channel": "", "topic": "d"}',
    ],
)
def test_an_id_depends_on_content_not_notation(line: str) -> None:
    """Spaces around text and values that are defaults do not change the id."""
    ((job, _),) = plan(line)
    ((plain, _),) = plan(
        "d", duration=5, service="auto", aspect_ratio="9:16", quality="", channel="", style="documentary"
    )
    assert (job.job_id, job.topic) == (plain.job_id, "d")
    assert job.job_id == "d-383564468322611b"


def test_ids_of_earlier_lists_stay() -> None:
    """Lists of every format have the ids of the last release; with others, their jobs would be bought again."""
    lists = {
        "plan.txt": (
            "How tides work\n\n# a comment\n  Größe, and why \nHow tides work\n['Why']\n",
            ["how-tides-work-aba17e0dbcd145c0", "groe-and-why-3022de70368ea5a5", "how-tides-work-f17619089740552a",
             "why-bac0253feab2c03f"],
        ),
        "plan.csv": (
            'topic,prompt,duration,aspect_ratio,at,channel\n"Tides, and why","The moon\npulls.",8,16:9,'
            "2099-12-24T18:00Z,sea\nWhy we dream,,,,,\n",
            ["tides-and-why-6b716ae02b0a3a48", "why-we-dream-e309c85868539fcd"],
        ),
        "plan.jsonl": (
            '{"topic": " Salt ", "duration": 8, "options": {"pixverse": {"seed": 7}}}\n'
            '{"topic": "Salt", "options": {}, "prompt": "", "quality": "720p"}\n{"topic": "None", "prompt": "null", '
            '"service": "draft", "style": "retro", "at": "2099-12-24T18:00+01:00"}\n',
            ["salt-0e3cf5e26d140c17", "salt-6f2d94849c0e5d6a", "none-9defb3654db595eb"],
        ),
        "-": ('topic\nTides\n"Why, oh why"\n', ["tides-b48867f9cf5a5bcb", "why-oh-why-b186608dcf00b881"]),
    }  # fmt: skip
    for name, (content, ids) in lists.items():
        batch = as_batch(read(content, name), duration=5, channel="", service="auto")
        assert (batch.bad, [job.job_id for job in batch.jobs]) == ([], ids)


def test_stagger_and_delay_set_the_starts() -> None:
    """Each job starts one stagger after the previous one; a line's own time wins and does not shift the others."""
    content = '{"topic": "a"}\n{"topic": "b", "at": "2026-12-24T18:00Z"}\n{"topic": "c"}\n'
    timing = Timing(1000.0, start=2000.0, stagger=60.0)
    assert plan_batch(read(content, "a.jsonl"), {}, timing, lambda job, due: due).jobs == [2000.0, 1798135200.0, 2120.0]
    assert Timing(1000.0).due(5) is None
    assert Timing(1000.0, stagger=10.0).due(2) == 1020.0


def test_jobs_that_are_known_take_no_place_in_the_stagger() -> None:
    """The new jobs of an extended list start now, not after all jobs that were added before."""
    old = {job.job_id for job, _ in plan("a\nb\n")}
    batch = plan_batch(
        read("a\nb\nc\nd\n"),
        {},
        Timing(1000.0, stagger=60.0),
        lambda job, due: (job.topic, due),
        known=old.__contains__,
    )
    assert batch.jobs[2:] == [("c", 1000.0), ("d", 1060.0)]


def test_a_start_beyond_all_years_is_a_bad_line() -> None:
    """A stagger that leads beyond the supported years is reported as an invalid line."""
    batch = plan_batch(read("a\nb\n"), {}, Timing(1000.0, stagger=3e11), lambda job, due: due)
    assert batch.jobs == [1000.0]
    assert batch.bad == [BadLine(2, "stagger: must be in the years 1970 to 9998")]


def test_a_refused_job_is_a_bad_line() -> None:
    """A job that the service refuses is reported like an invalid line."""

    def prepare(job: VideoJob, due: float | None) -> VideoJob:
        if job.duration > 5:
            raise InvalidInput("duration", "too long")
        return job

    entries = read('{"topic": "a", "duration": 9}\n{"topic": ""}\n{"topic": "c"}\n', "a.jsonl")
    batch = plan_batch(entries, {}, Timing(0.0), prepare)
    assert [job.topic for job in batch.jobs] == ["c"]
    assert [(line.line, line.reason.partition(" (")[0]) for line in batch.bad] == [
        (1, "duration: too long"),
        (2, "topic: is empty"),
    ]


def test_a_job_without_a_duration_gets_the_default_one() -> None:
    """The default duration is used if neither the entry nor the defaults have one, and does not change the id."""
    entries = read('{"topic": "a"}\n{"topic": "b", "duration": 5}\n', "a.jsonl")

    def prepare(job: VideoJob, due: float | None) -> VideoJob:
        return job

    def plan(defaults: dict[str, Any]) -> list[tuple[str, int]]:
        batch = plan_batch(
            entries, defaults, Timing(0.0), prepare, at_default_duration=lambda job: replace(job, duration=30)
        )
        return [(job.job_id, job.duration) for job in batch.jobs]

    first, second = (job.job_id for job in plan_batch(entries, {}, Timing(0.0), prepare).jobs)
    assert plan({}) == [(first, 30), (second, 5)]
    assert plan({"duration": 5}) == [(first, 5), (second, 5)]


def test_builtin_topics_are_many_and_good() -> None:
    """There are more than 200 valid, distinct topics, and their number is prime, so days differ."""
    listed = builtin_topics()
    assert len(listed) > 200
    assert len({topic.casefold() for topic in listed}) == len(listed)
    assert all(len(listed) % divisor for divisor in range(2, len(listed)))
    for topic in listed:
        VideoJob(job_id="x", topic=topic, script=builtin_script(topic), created_at=0.0)


def test_builtin_scripts_are_found_by_their_topic() -> None:
    """A built-in topic has its script, whatever its case and spaces; any other topic has none."""
    script = builtin_script("Why the ocean glows at night")
    assert "plankton" in script
    assert builtin_script(" why the  OCEAN glows at night") == script
    assert builtin_script("Why the ocean glows") == ""


@given(st.integers(0, 10**7), st.sampled_from(["", "fun", "work"]))
def test_builtin_topics_rotate(number: int, channel: str) -> None:
    """No topic repeats within 200 consecutive slots, and the next day begins with a different one."""
    chosen = [builtin_topic(Slot(n, 0), channel) for n in range(number, number + 200)]
    assert len(set(chosen)) == 200
    for per_day in (24, 48, 96, 240):
        assert builtin_topic(Slot(number, 0), channel) != builtin_topic(Slot(number + per_day, 0), channel)


def test_channels_have_different_topics_in_the_same_slot() -> None:
    """Channels that are planned on one machine do not publish the same topic at the same time."""
    assert len({builtin_topic(Slot(1000, 0), channel) for channel in ("", "fun", "work", "science")}) == 4


def playlist(letters: str) -> Playlist:
    return Playlist([VideoJob(job_id="x", topic=letter, created_at=0.0) for letter in letters])


def assigned(entries: str, instants: Iterable[int], used: dict[int, Use]) -> dict[int, Use]:
    """Return the uses of the slots at these instants, as a later run reads them."""
    found = {at: use_of(job) for at, job in playlist(entries).assign(instants, used)}
    return {at: use for at, use in found.items() if use}


def topics_of(used: dict[int, Use]) -> str:
    return "".join(used[at].topic for at in sorted(used))


def test_a_list_with_duplicates_keeps_its_place() -> None:
    """Planned slot by slot, `A B A C D` continues after the used A, not after the first one."""
    used: dict[int, Use] = {}
    for at in range(8):
        used |= assigned("ABACD", [at], used)
    assert topics_of(used) == "ABACDABA"


def test_a_missed_day_and_another_pace_lose_nothing() -> None:
    """The list continues after the latest earlier slot, at any distance and on any grid."""
    used = assigned("ABCDE", range(0, 3600, 900), {})
    used |= assigned("ABCDE", range(864_000, 864_003), used)
    assert topics_of(used) == "ABCDEAB"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("xBy", "yx"), ("xy", "xy"), ("BxBy", "Bx"), ("Bx", "xB")],
    ids=["after the last used topic", "that was removed", "that occurs twice", "with another end"],
)
def test_a_changed_list_continues_after_the_last_topic(changed: str, expected: str) -> None:
    """A changed list continues after the last used topic if it contains that once, or else from its start."""
    used = assigned("ABC", [0, 1], {})
    assert topics_of(assigned(changed, [2, 3], used)) == expected


def test_two_lists_of_a_channel_do_not_disturb_each_other() -> None:
    """A list continues at its position even if another list was used in between."""
    used = assigned("ABC", [0, 1], {})
    used |= assigned("xyz", [2, 3], used)
    used |= assigned("ABC", [4, 5], used)
    used |= assigned("xyz", [6], used)
    assert topics_of(used) == "ABxyCAz"


@given(st.text("ABC", min_size=1, max_size=6), st.integers(1, 30), st.sets(st.integers(1, 29)))
def test_any_split_of_a_plan_uses_the_list_as_one_run(letters: str, count: int, cuts: set[int]) -> None:
    """The number of runs does not affect the result."""
    whole = assigned(letters, range(count), {})
    parts: dict[int, Use] = {}
    edges = [0, *sorted(cut for cut in cuts if cut < count), count]
    for begin, end in itertools.pairwise(edges):
        # Overlaps existing slots, as a rerun does.
        parts |= assigned(letters, range(max(0, begin - 2), end), parts)
    assert parts == whole


def test_every_field_of_a_file_is_a_jobs() -> None:
    """The fields of a file are fields of a job, and the time."""
    assert set(FIELDS) - {"at"} <= set(VideoJob.__struct_fields__)
