"""`completion`: a script with which a shell completes commands, options and job ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli.console import out
from tenxsom_flow_engine.cli.program import Command, program_word

if TYPE_CHECKING:
    from tenxsom_flow_engine.settings import Settings

#: Maximum number of ids suggested to a shell.
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
    """Return the ids of recent jobs that start with a text. Creates no store; after an error, returns no ids."""
    from tenxsom_flow_engine.clock import SystemClock
    from tenxsom_flow_engine.composition import open_store
    from tenxsom_flow_engine.queues.selection import choose_queue
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.store.values import JobFilter

    try:
        settings = load()
        chosen = choose_queue(settings, queue_type).queue_type
        if not _store_exists(settings, chosen):
            return []
        store = open_store(settings, chosen, SystemClock())
        try:
            page = store.page(JobFilter(text=incomplete), limit=MAX_SUGGESTIONS)
        finally:
            store.close()
    except Exception:  # completion has no place to show an error
        return []
    return [record.job_id for record in page.records if record.job_id.startswith(incomplete)]


def _store_exists(settings: Settings, queue_type: str) -> bool:
    """Return whether the store exists, without creating it or waiting for it."""
    if queue_type == "redis":
        from tenxsom_flow_engine.store.redis.probe import is_redis_listening

        return is_redis_listening(settings.redis.address)
    path = settings.store.removeprefix("sqlite://") if settings.store else settings.home / "jobs.sqlite3"
    return Path(path).is_file()
