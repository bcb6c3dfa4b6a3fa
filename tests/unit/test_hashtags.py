"""Hashtags of topics in all scripts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.output.hashtags import MAX_WORD, hashtags


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("How tides work, and why", "#tides #work"),
        ("Top 5 budget phones under $300", "#top #budget #phones"),
        ("108 names", "#names"),
        ("Don’t panic: what's a guide?", "#dont #panic #guide"),
        ("AI, 5G and H2O on TV", "#ai #5g #h2o #tv"),
        ("España y el café", "#españa #café"),
        ("Espan\u0303a y el cafe\u0301", "#españa #café"),
        ("L'histoire de l’eau", "#histoire #eau"),
        ("İstanbul'un fethi: bilinmeyen 5 gerçek", "#istanbulun #fethi #bilinmeyen #gerçek"),
        ("STRASSE, Straße, strasse", "#strasse"),
        ("Почему мы спим", "#почему #спим"),
        ("गायत्री मंत्र का अर्थ और महत्व", "#गायत्री #मंत्र #अर्थ #और #महत्व"),
        ("தமிழ் மொழியின் வரலாறு", "#தமிழ் #மொழியின் #வரலாறு"),
        ("ประวัติศาสตร์ของกรุงเทพมหานคร", "#ประวัติศาสตร์ #ของ #กรุงเทพมหานคร"),
        ("日本のAIスタートアップ10選：ChatGPTの次は何？", "#日本 #ai #スタートアップ #chatgpt"),
        ("看看他《论语》怎么写（第2部分）", "#看看 #论语 #怎么 #部分"),
        ("한국의 역사와 문화", "#한국의 #역사와 #문화"),
        ('למה ארה"ב ב-2026 השקיעה ב-AI?', "#למה #ארהב #השקיעה #ai"),
        ("ChatGPT يغير العالم: 5 حقائق!", "#chatgpt #يغير #العالم #حقائق"),
        ("می‌شود", "#میشود"),
        ("5️⃣ facts ❤️about", "#facts"),
        ("Tom & Jerry &amp; the &lt;b&gt; tag", "#tom #jerry #tag"),
        ("shorts", ""),
        ("2026: 10 / 7", ""),
    ],
)
def test_hashtags_are_the_significant_words(topic: str, expected: str) -> None:
    """Hashtags are whole words with their marks; numbers, small words and duplicates are left out."""
    assert hashtags(topic) == expected.split()


@given(st.text())
def test_every_hashtag_is_accepted(topic: str) -> None:
    """A hashtag has only letters, marks, digits and `_`, begins with none of the marks, and has a letter."""
    tags = hashtags(topic)
    assert len(tags) == len({tag.casefold() for tag in tags}) <= 5
    for tag in tags:
        word = tag.removeprefix("#")
        kinds = [unicodedata.category(character)[0] for character in word]
        assert len(word) <= MAX_WORD
        assert "L" in kinds
        assert kinds[0] != "M"
        assert all(kind in "LMN" or character == "_" for character, kind in zip(word, kinds, strict=True))
        assert unicodedata.is_normalized("NFC", word)
