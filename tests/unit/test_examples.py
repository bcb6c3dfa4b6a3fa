"""Every command that the guide shows is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tenxsom_flow_engine.cli.cloud_tasks_worker import cloud_tasks_worker
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.cli.worker import worker

README = Path(__file__).resolve().parents[2] / "README.md"


def test_shown_commands_exist() -> None:
    """Each line of the README's shell blocks names a command of ours and options that it has."""
    blocks = "".join(re.findall(r"^```(?:bash)?\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    shown = re.findall(r"\b(run_flow_enhanced|cloud_tasks_worker|worker)\.py(.*)", blocks)
    assert len(shown) > 10
    for program, words in shown:
        command = {"worker": worker, "cloud_tasks_worker": cloud_tasks_worker}.get(program, cli)
        try:
            # Asked for its help behind all the rest, a command checks its options and does nothing.
            command.main([*shlex.split(words, comments=True), "--help"], standalone_mode=False)
        except click.ClickException as error:
            pytest.fail(f"{program}.py{words}: {error.format_message()}")
