"""The names of downloaded files, and the header that has them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.web.download_names import MAX_NAME, attachment, file_name

#: All that a topic can contain: see `VideoJob`.
TOPICS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=500)


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("How tides work", 'filename="How tides work.mp4"'),
        ('AT&T "quoted" topic; with semicolon', 'filename="AT&T quoted topic; with semicolon.mp4"'),
        ("Łódź in 60 seconds",
         "filename=\"odz in 60 seconds.mp4\"; filename*=UTF-8''%C5%81%C3%B3d%C5%BA%20in%2060%20seconds.mp4"),
        ("50 % off", "filename=\"50 off.mp4\"; filename*=UTF-8''50%20%25%20off.mp4"),
        ("論語", "filename=\"job-1.mp4\"; filename*=UTF-8''%E8%AB%96%E8%AA%9E.mp4"),
        ("../etc/passwd", 'filename="etc passwd.mp4"'),
        ("<>?", 'filename="job-1.mp4"'),
    ],
)  # fmt: skip
def test_a_download_is_named_after_its_topic(topic: str, names: str) -> None:
    """The header has the name, and an approximation in ASCII if necessary; the job's id replaces an empty name."""
    assert attachment(topic, ".mp4", "job-1") == f"attachment; {names}"


@pytest.mark.parametrize("topic", ["con", "NUL", "com1", "Lpt9.backup", "aux .x", "COM¹"])
def test_names_of_devices_are_not_used(topic: str) -> None:
    """Windows cannot create a file named like a device, whatever its extension is."""
    assert file_name(topic, ".mp4", "job-1").startswith("_")


@given(TOPICS, st.sampled_from([".mp4", ".jpg", ".srt", ".json"]))
def test_any_topic_makes_a_valid_header(topic: str, suffix: str) -> None:
    """The header is ASCII and names one file, with its extension and without reserved or control characters."""
    header = attachment(topic, suffix, "job-1")
    parsed = re.fullmatch(
        r"attachment; filename=\"([ -!#-\[\]-~]+)\"(?:; filename\*=UTF-8''([A-Za-z0-9._~%-]+))?", header
    )
    assert parsed
    name = file_name(topic, suffix, "job-1")
    assert (unquote(parsed[2], errors="strict") if parsed[2] else parsed[1]) == name
    for one in (name, parsed[1]):
        assert len(one.encode()) <= MAX_NAME
        assert one.endswith(suffix)
        assert not one.startswith((".", " "))
        assert one.removesuffix(suffix).strip(" .") == one.removesuffix(suffix) != ""
        assert not set(one) & set('\\/:*?"<>|')
        assert all(unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") for c in one if c not in "\u200c\u200d")
