"""`completion`: the script that teaches a shell the commands, options and job ids."""

from __future__ import annotations

import click

PROGRAM = "run_flow_enhanced.py"
VARIABLE = "_RUN_FLOW_ENHANCED_PY_COMPLETE"

EPILOG = """\b
For this shell, and for each new one:
  source <(./run_flow_enhanced.py completion bash)
  ./run_flow_enhanced.py completion bash > ~/.local/share/bash-completion/completions/run_flow_enhanced.py
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
