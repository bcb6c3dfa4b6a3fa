"""The fuzz runs: a short one of each subject, and how an unexpected answer is reported."""

from __future__ import annotations

import random

import pytest

from fuzz.__main__ import SUBJECTS, main
from fuzz.subject import Subject, try_inputs


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_answer_is_unexpected(name: str) -> None:
    """Each of the first inputs is accepted, or refused with an error of the tree."""
    result = try_inputs(SUBJECTS[name](), 7, range(SUBJECTS[name].few))
    assert result.unexpected == {}
    assert result.refused > 0


class Numbers(Subject):
    name = "numbers"
    count = 40

    def make(self, draw: random.Random) -> int:
        return draw.randrange(3)

    def accepts(self, made: int) -> bool:
        return bool(10 // (made - 1) > 0)


def test_an_unexpected_answer_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected answer gives the exit code 1, and a command that repeats its input alone."""
    assert main([], {"numbers": Numbers}) == 1
    printed = capsys.readouterr().out
    (_, inputs, accepted, refused, unexpected, _) = map(str.strip, printed.splitlines()[2].strip("|").split("|"))
    assert inputs == "40"
    assert int(accepted) + int(refused) + int(unexpected) == 40
    assert printed.count("ZeroDivisionError:") == int(unexpected) > 0
    number = printed.partition("SUBJECTS=numbers SEED=7 ONLY=")[2].split()[0]
    assert main(["--subjects", "numbers", "--only", number], {"numbers": Numbers}) == 1
    assert capsys.readouterr().out.count("UNEXPECTED") == 1
