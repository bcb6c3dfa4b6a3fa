"""The files that users run and import hold no logic."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The server's configuration, which is read, not imported.
CONFIGURATION = ROOT / "gunicorn.conf.py"
DOORS = sorted(path for path in ROOT.glob("*.py") if path != CONFIGURATION)


def test_the_doors_are_the_known_ones() -> None:
    assert [path.name for path in DOORS] == [
        "cloud_tasks_queue.py",
        "cloud_tasks_worker.py",
        "queue_manager.py",
        "rate_limiter.py",
        "run_flow_enhanced.py",
        "worker.py",
    ]


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.name)
def test_a_door_only_opens_a_room(door: Path) -> None:
    """A door is a docstring, imports, `__all__` and a main guard that calls one imported name."""
    tree = ast.parse(door.read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(door.read_text("utf-8").splitlines()) <= 15
    for node in tree.body[1:]:
        match node:
            case ast.ImportFrom(module=str(module)):
                assert module.startswith("tenxsom_flow_engine")
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=[ast.Expr(ast.Call(args=[]))], orelse=[]):
                pass
            case _:
                raise AssertionError(f"{door.name} line {node.lineno} is more than a door needs")


def test_no_module_of_the_package_is_named_like_a_door() -> None:
    names = {path.name for path in (ROOT / "tenxsom_flow_engine").glob("*.py")}
    assert not names & {path.name for path in DOORS}
