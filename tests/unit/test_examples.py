"""Every command that the README shows exists."""

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
    """Each command in the README's shell blocks exists and has the options shown."""
    blocks = "".join(re.findall(r"^```(?:bash)?\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    programs = r"\b(run_flow_enhanced\.py|cloud_tasks_worker\.py|worker\.py|tenxsom-flow)((?: .*)?)$"
    shown = re.findall(programs, blocks, re.MULTILINE)
    assert len(shown) > 10
    assert {"run_flow_enhanced.py", "worker.py", "tenxsom-flow"} <= {program for program, _ in shown}
    for program, words in shown:
        command = {"worker.py": worker, "cloud_tasks_worker.py": cloud_tasks_worker}.get(program, cli)
        try:
            # With --help at the end a command checks its options and does nothing else.
            command.main([*shlex.split(words, comments=True), "--help"], standalone_mode=False)
        except click.ClickException as error:
            pytest.fail(f"{program}{words}: {error.format_message()}")
