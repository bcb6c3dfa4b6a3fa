"""Write the settings reference, `docs/configuration.md`, from the declarations of the settings: `make docs`."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tenxsom_flow_engine.env import KINDS, Field, Secret
from tenxsom_flow_engine.settings import declared

HEAD = """\
# Configuration

Generated from the settings by `make docs`; a test checks that it is up to date.

All settings are environment variables; an empty variable counts as not set. They are read when a process starts. An
invalid value ends a command with exit code 2 and a message that names the variable. A command's flag overrides its
variable, and the environment overrides the file that `TENXSOM_ENV_FILE` names. The run-time limits of `queue limits`
and `limits set` take effect at once in all running processes; they are stored with the records and override the
variables.

*By* lists the processes that read a variable: `workers` are `worker.py` and `cloud_tasks_worker.py`, the `web worker`;
`all` also includes `run_flow_enhanced.py`. A **secret** is never shown, logged or recorded.
"""


def main() -> None:
    """Print the reference, in UTF-8 whatever the locale."""
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    print(HEAD)
    for title, variables in declared().items():
        print(f"## {title}\n\n| variable | value | default | purpose | by |\n|---|---|---|---|---|")
        for one in variables:
            print(
                f"| `{one.variable.name}` | {_value(one)} | {_default(one)} | {one.variable.help} |"
                f" {one.variable.scope} |"
            )
        print()


def _value(one: Field) -> str:
    words = KINDS.get(one.kind, "text") if not one.variable.example else f"e.g. `{one.variable.example}`"
    return " ".join(filter(None, (words, one.bounds))) + (", **secret**" if one.kind is Secret else "")


def _default(one: Field) -> str:
    if one.variable.default:
        return one.variable.default
    value: Any = one.default
    if value is MISSING or value is None or value == "":
        return ""
    if isinstance(value, Mapping):
        value = "; ".join(f"{name}={','.join(map(str, windows))}" for name, windows in value.items())
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    main()
