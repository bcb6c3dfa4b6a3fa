"""The environment file: what a line means, and which lines are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenxsom_flow_engine.env.file import read_env_file
from tenxsom_flow_engine.errors import ConfigurationError

#: Lines and the values of their variables. `tests/integration/test_deploy.py` gives them to systemd's reader too.
ACCEPTED: list[tuple[str, dict[str, str]]] = [
    ("A=plain", {"A": "plain"}),
    ("  A = with space  ", {"A": "with space"}),
    ("A=", {"A": ""}),
    ("A=#tag", {"A": "#tag"}),
    ("A=a#b", {"A": "a#b"}),
    ("A=redis://u:p%23w@host:6379/0?x=1&y=2", {"A": "redis://u:p%23w@host:6379/0?x=1&y=2"}),
    ("A=say 'yes' \"or\" no", {"A": "say 'yes' \"or\" no"}),
    ("A='single # quoted'", {"A": "single # quoted"}),
    ('A="double # quoted"  ', {"A": "double # quoted"}),
    (r"A='ab\cd'", {"A": r"ab\cd"}),
    (r'A="ab\cd"'.replace("c", "q"), {"A": r"ab\qd"}),
    (r'A="a\\b \"c\""', {"A": r'a\b "c"'}),
    ("A=$HOME ${HOME} `id`", {"A": "$HOME ${HOME} `id`"}),
    ("A='$HOME'", {"A": "$HOME"}),
    ("A='two\nlines'\nB=2", {"A": "two\nlines", "B": "2"}),
    ("# A=1\n; A=2\n\nA=3", {"A": "3"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("A=größer", {"A": "größer"}),
]
#: Lines that only this engine reads: systemd ignores `export`, and the process that it starts reads the file again.
OURS_ONLY: list[tuple[str, dict[str, str]]] = [("export A=1", {"A": "1"}), ("A", {}), ("\ufeffA=1", {"A": "1"})]


@pytest.mark.parametrize(("text", "values"), ACCEPTED + OURS_ONLY, ids=lambda value: repr(value)[:30])
def test_accepted_lines(tmp_path: Path, text: str, values: dict[str, str]) -> None:
    """An unambiguous line sets its variable to the value that systemd reads."""
    path = tmp_path / "flow.env"
    path.write_bytes(text.encode())
    assert read_env_file(path) == values


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A=secret   # comment", "has a # after a space"),
        ("A= # secret", "has a # after a space"),
        ("A='secret' # comment", "has text after the closing quote"),
        ("A='secret' 'more'", "has text after the closing quote"),
        ('A="secret"more', "has text after the closing quote"),
        (r"A=sec\ret", "has a backslash outside of quotes"),
        ("A=secret\\", "has a backslash outside of quotes"),
        (r"A='sec\\ret'", "has two backslashes in a row"),
        ("A='secret\\'", "in single quotes"),
        (r'A="sec\nret"', "has a backslash with two meanings"),
        (r'A="sec\$ret"', "has a backslash with two meanings"),
        ('A="secret\\\nmore"', "has a backslash with two meanings"),
        ("A='secret", "has no closing '"),
        ('A="secret\nmore', 'has no closing "'),
        ("# secret\\", "ends with a backslash"),
        ("SEC-RET=1", "is not VARIABLE=value"),
        ("'SECRET'=1", "is not VARIABLE=value"),
        ("not secret at all", "is not VARIABLE=value"),
    ],
)
def test_refused_lines(tmp_path: Path, line: str, reason: str) -> None:
    """An ambiguous line is refused with its number and the way to write it, and its value is not shown."""
    path = tmp_path / "flow.env"
    path.write_text(f"FIRST='1\n2'\n# three\n{line}\nLAST=1\n", "utf-8")
    with pytest.raises(ConfigurationError) as refusal:
        read_env_file(path)
    assert f"line 4 of the environment file {path}" in refusal.value.message
    assert reason in refusal.value.message
    assert "sec" not in str(refusal.value).replace(str(path), "").lower()


def test_the_next_step_is_accepted(tmp_path: Path) -> None:
    """A value with backslashes and quotes, written as the refusal says, is read back."""
    value = r"""a\b\\c"d'e\n $ ` #"""
    path = tmp_path / "flow.env"
    path.write_text('A="{}"\n'.format(value.replace("\\", "\\\\").replace('"', '\\"')), "utf-8")
    assert read_env_file(path) == {"A": value}
