"""Runs commands of the command line in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from click.testing import CliRunner, Result

from tenxsom_flow_engine.cli.main import cli

Run = Callable[..., Result]


def runner(environment: Mapping[str, str]) -> Run:
    """Return a function that runs a command in an environment; `given` is its standard input."""

    def invoke(*words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(words), input=given, env=environment, standalone_mode=False)

    return invoke
