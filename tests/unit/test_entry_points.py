"""The files that users run and import have no logic."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The configuration of gunicorn, which is not an entry point.
CONFIGURATION = ROOT / "gunicorn.conf.py"
ENTRY_POINTS = sorted(path for path in ROOT.glob("*.py") if path != CONFIGURATION)


def test_the_entry_points_are_complete() -> None:
    """The project's folder has exactly these entry points."""
    assert [path.name for path in ENTRY_POINTS] == [
        "cloud_tasks_queue.py",
        "cloud_tasks_worker.py",
        "queue_manager.py",
        "rate_limiter.py",
        "run_flow_enhanced.py",
        "worker.py",
    ]


@pytest.mark.parametrize("script", ENTRY_POINTS, ids=lambda path: path.name)
def test_an_entry_point_has_no_logic(script: Path) -> None:
    """An entry point has a docstring, imports, `__all__` and a main guard that calls one imported name."""
    tree = ast.parse(script.read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(script.read_text("utf-8").splitlines()) <= 15
    for node in tree.body[1:]:
        match node:
            case ast.ImportFrom(module=str(module)):
                assert module.startswith("tenxsom_flow_engine")
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=[ast.Expr(ast.Call(args=[]))], orelse=[]):
                pass
            case _:
                raise AssertionError(f"{script.name} line {node.lineno} is more than an entry point needs")


def test_no_module_of_the_package_has_the_name_of_an_entry_point() -> None:
    """A module with such a name could be confused with the entry point."""
    names = {path.name for path in (ROOT / "tenxsom_flow_engine").glob("*.py")}
    assert not names & {path.name for path in ENTRY_POINTS}
