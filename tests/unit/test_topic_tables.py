"""Topics in tables, as spreadsheets and other programs write them."""

from __future__ import annotations

import io
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry, UnknownFields
from tenxsom_flow_engine.planning.files import read_topics


def read(content: bytes | str, name: str = "plan.csv", **how: Any) -> list[Entry | BadLine | Comment]:
    data = content.encode() if isinstance(content, str) else content
    return list(read_topics(io.BufferedReader(io.BytesIO(data)), name, UTC, **how))


def fields(content: bytes | str, name: str = "plan.csv", **how: Any) -> list[dict[str, Any]]:
    """Return the fields of the entries, which must all be valid."""
    entries = read(content, name, **how)
    assert all(isinstance(entry, Entry) for entry in entries), entries
    return [entry.fields for entry in entries if isinstance(entry, Entry)]


TIDES, DREAMS = {"topic": "How tides work", "duration": 8}, {"topic": "Why we dream", "duration": 8}


@pytest.mark.parametrize("name", ["plan.csv", "plan.txt", "-", "topics"])
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftopic;duration\r\nHow tides work;8\r\nWhy we dream;8\r\n",
        b"topic\tduration\nHow tides work\t8\nWhy we dream\t8\n",
        b"sep=;\r\ntopic;duration\r\nHow tides work;8\r\nWhy we dream;8\r\n",
        b'"sep=;"\ntopic;duration\nHow tides work;8\nWhy we dream;8\n',
        b"sep=|\ntopic|duration\nHow tides work|8\nWhy we dream|8\n",
        b"sep=\t\ntopic\tduration\nHow tides work\t8\nWhy we dream\t8\n",
        b"topic,duration\rHow tides work,8\rWhy we dream,8\r",
        b"topic,duration\r\nHow tides work,8\r\nWhy we dream,8\r\n,\r\n,\r\n",
        b"topic,duration,\r\nHow tides work,8,\r\nWhy we dream,8,\r\n",
        b"topic,duration\nHow tides work,8,,\nWhy we dream,8,\n",
        b"Topic ,Duration\nHow tides work, 8\nWhy we dream,8 \n",
        b'"topic", "duration"\n"How tides work", "8"\nWhy we dream, "8"\n',
        b"duration,TOPIC\n8.0,How tides work\n8.00,Why we dream\n",
        b'topic;duration\n"How tides work";"8,0"\nWhy we dream;8,00\n',
        b'topic,duration\n"How\ntides work",8\n" Why \r\n\r\n we dream ",8\n',
        "topic,duration\nHow tides work,8\nWhy we dream,8\n".encode("utf-16"),
        "topic\tduration\nHow tides work\t8\nWhy we dream\t8\n".encode("utf-16-le"),
        b"topic,duration,prompt,at,style\nHow tides work,8,,NaN,None\nWhy we dream,8\n",
    ],
    ids=[
        "semicolons and a mark", "tabs", "sep line", "quoted sep line", "sep line with a bar", "sep line with a tab",
        "old line ends", "empty rows", "an empty column", "empty cells after the last column", "header spelling",
        "quotes after blanks", "floats", "floats with a comma", "line breaks in topics", "utf-16",
        "utf-16 without a mark", "short rows and missing values",
    ],
)  # fmt: skip
def test_tables_of_spreadsheets_are_read(content: bytes, name: str) -> None:
    """Every usual way to write a table gives the same entries, with any name."""
    read_back = [{name: value.strip() if name == "topic" else value for name, value in row.items()}
                 for row in fields(content, name)]  # fmt: skip
    assert read_back == [TIDES, DREAMS]


def test_empty_rows_before_the_header() -> None:
    """Rows without text before the header are skipped, and lines keep their numbers."""
    assert read(";;\r\n\r\ntopic;channel;\r\nTides;fun;\r\n") == [Entry(4, {"topic": "Tides", "channel": "fun"})]


@pytest.mark.parametrize("header", ["Aspect Ratio", "aspect-ratio", "aspectRatio", "ASPECT_RATIO", " aspect  ratio "])
def test_header_spelling(header: str) -> None:
    """Case, blanks, hyphens and underscores of a column's name do not matter."""
    assert fields(f"Topic,{header}\nTides,16:9\n") == [{"topic": "Tides", "aspect_ratio": "16:9"}]


@pytest.mark.parametrize(
    ("cell", "ratio"),
    [("09:16", "9:16"), ("9:16:00", "9:16"), ("1:01", "1:1"), ("16:09", "16:9"), ("4:05:00", "4:5"), ("21:09", "21:9"),
     ("1:10", "1:10"), ("9:16:30", "9:16:30"), ("wide", "wide")],
)  # fmt: skip
def test_an_aspect_ratio_that_became_a_time(cell: str, ratio: str) -> None:
    """An aspect ratio that a spreadsheet turned into a time of day is read if it can only mean one; else it is kept."""
    assert fields(f"topic,aspect_ratio\nTides,{cell}\n") == [{"topic": "Tides", "aspect_ratio": ratio}]


@pytest.mark.parametrize("cell", ["8.5", "1.000", "1,000", "-8", "8 s", "1e1", "٨"])
def test_a_duration_must_be_whole(cell: str) -> None:
    """A fraction, thousands or a unit is refused, not rounded."""
    (bad,) = read(f'topic,duration\nTides,"{cell}"\n')
    assert bad == BadLine(2, f"duration: must be a whole number, not {cell!r}")


def test_after_the_header_a_cell_is_data() -> None:
    """A topic that begins with # is a topic, also with a blank; only lines before the header are comments."""
    content = '# a list\ntopic,duration\n"#1 mistake",8\n# no comment,8\n"#MeToo, five years on",8\n#,8\n'
    assert read(content)[0] == Comment(1)
    topics = [entry.fields["topic"] for entry in read(content) if isinstance(entry, Entry)]
    assert topics == ["#1 mistake", "# no comment", "#MeToo, five years on", "#"]


def test_a_prompt_keeps_its_line_breaks() -> None:
    """Line breaks in a topic become a blank; in a prompt they stay. The next line keeps its number."""
    content = 'topic,prompt\r\n"Two\r\nlines","A wave.\r\nAnd foam."\r\n,x\r\n'
    assert read(content) == [
        Entry(2, {"topic": "Two lines", "prompt": "A wave.\nAnd foam."}),
        BadLine(5, "has no topic"),
    ]


def test_a_table_of_one_column_has_no_separator() -> None:
    """Topics of a table with one column can contain every separator, with or without quotes."""
    content = 'Topic\nTides, and why\nOne; two\n"Red, green"\nTea\tor coffee\n'
    assert [row["topic"] for row in fields(content)] == ["Tides, and why", "One; two", "Red, green", "Tea\tor coffee"]


def test_a_row_with_too_many_cells_is_refused() -> None:
    """A cell beyond the last column is an invalid line."""
    assert read("topic,channel\nTides, and why,fun\nDreams,fun\n") == [
        BadLine(2, "has 3 cells, but the header has 2 columns"),
        Entry(3, {"topic": "Dreams", "channel": "fun"}),
    ]


def test_a_column_without_a_name_is_one_error() -> None:
    """A column with values must have a name, e.g. the index that data frames write; by choice it is left out."""
    content = ",topic,duration\n0,How tides work,8\n1,Why we dream,8\n"
    with pytest.raises(UnknownFields, match=r"^plan\.csv line 2: has a value in column 1, which has no name$"):
        read(content)
    assert fields(content, ignore_unknown=True) == [TIDES, DREAMS]


def test_unknown_columns_are_named_with_the_nearest_known_one() -> None:
    """A table with unknown columns is refused as a whole; the error names them."""
    with pytest.raises(UnknownFields) as refused:
        read("topic,Lenght,Aspect Ration,durations\nTides,8,9:16,8\n")
    assert refused.value.message.startswith(
        "plan.csv line 1: the header row has the unknown columns 'Lenght', "
        "'Aspect Ration' (did you mean aspect_ratio?), 'durations' (did you mean duration?); it can have topic, and"
    )
    with pytest.raises(InvalidInput, match=r"must begin with a header row.*'Topics' \(did you mean topic\?\)"):
        read("Topics;duration\nTides;8\n")


def test_unknown_columns_can_be_ignored() -> None:
    """With `ignore_unknown`, the rest is read as if the unknown columns did not exist, and each entry names them."""
    content = "topic,Notes,duration,,Owner\nHow tides work,for Ann,8,x,\nWhy we dream,,8\n"
    entries = [entry for entry in read(content, ignore_unknown=True) if isinstance(entry, Entry)]
    assert [entry.fields for entry in entries] == [TIDES, DREAMS]
    assert [entry.ignored for entry in entries] == [("Notes", "column 4"), ()]
    with pytest.raises(InvalidInput, match="must begin with a header row"):
        read("title,Notes\nTides,x\n", ignore_unknown=True)


def test_a_header_that_names_a_field_twice_is_refused() -> None:
    """Two spellings of one column are an error."""
    with pytest.raises(InvalidInput, match="names topic twice"):
        read("topic,Topic\na,b\n", ignore_unknown=True)


def test_a_pasted_table_without_a_header_is_explained() -> None:
    """Columns without a header row are invalid lines that say so, not topics with a tab."""
    (bad,) = read("How tides work\t8\n", "topics")
    assert isinstance(bad, BadLine)
    assert "has tabs; a table needs a header row" in bad.reason


def test_copied_cells_can_begin_with_a_quotation() -> None:
    """A cell that begins with a word in quotes is read, as spreadsheets copy it: with tabs, or in one column."""
    assert fields('topic\tduration\n"Heroes" by Bowie\t8\n"Low"\t8\n', "-") == [
        {"topic": '"Heroes" by Bowie', "duration": 8}, {"topic": "Low", "duration": 8}
    ]  # fmt: skip
    assert fields('topic\n"Heroes" by Bowie\n') == [{"topic": '"Heroes" by Bowie'}]


def test_blanks_around_quoted_cells() -> None:
    """Blanks before and after a quoted cell do not belong to it."""
    content = 'topic,prompt\n"Tides, and why","A ""big"" wave,\nand foam." \n"Salt" , "x" \n Dreams ,"x"  \n'
    rows = [{name: value.strip() for name, value in row.items()} for row in fields(content)]
    assert rows == [
        {"topic": "Tides, and why", "prompt": 'A "big" wave,\nand foam.'}, {"topic": "Salt", "prompt": "x"},
        {"topic": "Dreams", "prompt": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize("row", ['"a" b,8', '"a"b,8'])
def test_text_after_a_quoted_cell_is_explained(row: str) -> None:
    """The reason says how to write a quote within a cell, and the next line is read."""
    bad, good = read(f"topic,duration\n{row}\nfine,8\n")
    assert bad == BadLine(2, "is not CSV: text follows a closing quote; double the quotes within a quoted cell")
    assert good == Entry(3, {"topic": "fine", "duration": 8})


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20).filter(str.strip)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_any_written_table_is_read_back(rows: list[tuple[str, str]], separator: str) -> None:
    """What Python's csv module writes is read back, with every separator."""
    import csv

    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("topic", "prompt"), *rows])
    assert [(row["topic"], row["prompt"]) for row in fields(file.getvalue(), "-")] == rows
