"""Writes the reference of the settings, `docs/configuration.md`, from their declarations: `make docs`."""

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

Made from the settings by `make docs`; a test sees that it is up to date.

All settings are environment variables; one that is empty counts as not set. They are read when a process starts; a
value that cannot be used ends a command with exit code 2 and the variable's name. A command's flag wins over its
variable, the environment over the file that `TENXSOM_ENV_FILE` names. What `queue limits` and `limits set` say holds at
once for all that run; it is kept with the records and wins over the variables.

*By* says who heeds a variable: `workers` are `worker.py` and `cloud_tasks_worker.py`, which is the `web worker`; `all`
are these and `run_flow_enhanced.py`. What is **secret** is never shown, logged or recorded.
"""


def main() -> None:
    """Print the reference, in UTF-8 whatever the locale."""
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8")
    print(HEAD)
    for title, variables in declared().items():
        print(f"## {title}\n\n| variable | value | default | what it is for | by |\n|---|---|---|---|---|")
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
