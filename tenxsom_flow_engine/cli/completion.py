"""`completion`: the script that teaches a shell the commands, options and job ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli.console import out

if TYPE_CHECKING:
    from tenxsom_flow_engine.settings import Settings

PROGRAM = "run_flow_enhanced.py"
VARIABLE = "_RUN_FLOW_ENHANCED_PY_COMPLETE"

#: Ids that a shell is given at most.
MAX_SUGGESTIONS = 50

EPILOG = """\b
It completes the name run_flow_enhanced.py, so that must be found on PATH: put this folder there.

\b
For each new shell:
  bash: add to ~/.bashrc      source <(run_flow_enhanced.py completion bash)
  zsh:  add to ~/.zshrc       source <(run_flow_enhanced.py completion zsh)
  fish: run once              run_flow_enhanced.py completion fish \\
                                > ~/.config/fish/completions/run_flow_enhanced.py.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    out(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())


def job_ids(queue_type: str | None, incomplete: str) -> list[str]:
    """Return ids of the latest jobs that begin so. Makes nothing, and whatever is wrong is no id: TAB cannot say it."""
    from tenxsom_flow_engine.clock import SystemClock
    from tenxsom_flow_engine.composition import choose_queue, open_store
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.store.values import JobFilter

    try:
        settings = load()
        chosen = choose_queue(settings, queue_type).queue_type
        if not _is_there(settings, chosen):
            return []
        store = open_store(settings, chosen, SystemClock())
        try:
            page = store.page(JobFilter(text=incomplete), limit=MAX_SUGGESTIONS)
        finally:
            store.close()
    except Exception:  # a shell that completes has no place to show an error
        return []
    return [record.job_id for record in page.records if record.job_id.startswith(incomplete)]


def _is_there(settings: Settings, queue_type: str) -> bool:
    """Return whether there is a store to look into, without making one or waiting for one."""
    if queue_type == "redis":
        from tenxsom_flow_engine.store.redis.probe import is_redis_listening

        return is_redis_listening(settings.redis.address)
    path = settings.store.removeprefix("sqlite://") if settings.store else settings.home / "jobs.sqlite3"
    return Path(path).is_file()
