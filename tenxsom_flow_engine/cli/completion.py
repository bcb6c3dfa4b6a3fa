"""`completion`: a script with which a shell completes commands, options and names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli.console import out
from tenxsom_flow_engine.cli.program import Command, program_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tenxsom_flow_engine.settings import Settings
    from tenxsom_flow_engine.store.base import JobStore

#: Maximum number of names suggested to a shell.
MAX_SUGGESTIONS = 50

EPILOG = """\b
The script completes the name {word}; the shell must find it on PATH.

\b
For each new shell:
  bash: add to ~/.bashrc      source <({program} completion bash)
  zsh:  add to ~/.zshrc       source <({program} completion zsh)
  fish: run once              {program} completion fish \\
                                > ~/.config/fish/completions/{word}.fish
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    name = program_word()
    variable = f"_{name}_COMPLETE".replace("-", "_").replace(".", "_").upper()  # the name that click reads
    out(kind(ctx.find_root().command, {}, name, variable).source())


def job_ids(queue_type: str | None, incomplete: str) -> list[str]:
    """Return the ids of recent jobs that start with a text."""
    from tenxsom_flow_engine.store.values import JobFilter

    def recent(store: JobStore) -> Iterable[str]:
        page = store.page(JobFilter(text=incomplete), limit=MAX_SUGGESTIONS)
        return [record.job_id for record in page.records]

    return _from_store(queue_type, incomplete, recent)


def channels(queue_type: str | None, incomplete: str) -> list[str]:
    """Return the channels that start with a text: those with settings, a schedule, or jobs in the present month."""
    from tenxsom_flow_engine.store.totals import channel_kind, month

    def known(store: JobStore) -> Iterable[str]:
        busy = [total.service for total in store.totals(channel_kind(month(store.now())))]
        return [*store.channels(), *(one.channel for one in store.schedules()), *sorted(busy)]

    return _from_store(queue_type, incomplete, known)


def schedules(queue_type: str | None, incomplete: str) -> list[str]:
    """Return the names of schedules that start with a text."""
    return _from_store(queue_type, incomplete, lambda store: [one.name for one in store.schedules()])


def services(incomplete: str) -> list[str]:
    """Return the services that start with a text."""
    from tenxsom_flow_engine.errors import ConfigurationError
    from tenxsom_flow_engine.services.registry import service_specs

    try:
        names = ("auto", *service_specs())
    except ConfigurationError:  # completion has no place to show an error
        return []
    return [name for name in names if name.startswith(incomplete)]


def scopes(queue_type: str | None, incomplete: str) -> list[str]:
    """Return the scopes of budgets that start with a text."""
    kind, colon, name = incomplete.partition(":")
    names = [*(f"service:{one}" for one in services("") if one != "auto"), "all"]
    if "channel".startswith(kind) and (colon == "" or kind == "channel"):
        names += [f"channel:{one}" for one in channels(queue_type, name)]
    return [one for one in names if one.startswith(incomplete)]


def _from_store(queue_type: str | None, incomplete: str, read: Callable[[JobStore], Iterable[str]]) -> list[str]:
    """Return what a function reads from the store, if it starts with a text.

    Creates no store; after an error, returns nothing.
    """
    from tenxsom_flow_engine.clock import SystemClock
    from tenxsom_flow_engine.composition import open_store
    from tenxsom_flow_engine.queues.selection import choose_queue
    from tenxsom_flow_engine.settings import load

    try:
        settings = load()
        chosen = choose_queue(settings, queue_type).queue_type
        if not _store_exists(settings, chosen):
            return []
        store = open_store(settings, chosen, SystemClock())
        try:
            names = [name for name in dict.fromkeys(read(store)) if name and name.startswith(incomplete)]
        finally:
            store.close()
    except Exception:  # completion has no place to show an error
        return []
    return names[:MAX_SUGGESTIONS]


def _store_exists(settings: Settings, queue_type: str) -> bool:
    """Return whether the store exists, without creating it or waiting for it."""
    if queue_type == "redis":
        from tenxsom_flow_engine.store.redis.probe import is_redis_listening

        return is_redis_listening(settings.redis.address)
    path = settings.store.removeprefix("sqlite://") if settings.store else settings.home / "jobs.sqlite3"
    return Path(path).is_file()
