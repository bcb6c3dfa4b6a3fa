"""Rules for the code of tests, chaos runs and benchmarks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for folder in ("tests", "chaos", "benchmarks", "fuzz") for path in (ROOT / folder).rglob("*.py"))
ENGINE = "tenxsom_flow_engine"
#: Parts of the names of modules with test doubles, whose attributes tests set.
DOUBLES = ("fake", "testing", "emulator")
#: Functions that replace an attribute of their first argument.
PATCHES = ("setattr", "delattr", "patch", "patch.object", "patch.dict", "patch.multiple")


def patched(source: str) -> list[str]:
    """Return the statements that overwrite an attribute of the engine.

    They are found by name: what the source imports from the engine, and parameters that are annotated with it. An
    object that is returned by a call is not followed.
    """
    tree = ast.parse(source)
    imported = set(_imported(tree))
    found = list(_overwriting(tree, imported))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            passed = {one.arg for one in parameters if one.annotation and ast.unparse(one.annotation) in imported}
            found += _overwriting(function, passed) if passed else ()
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] == ENGINE and not any(part in module for part in DOUBLES):
                yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.asname or ENGINE for alias in node.names if alias.name.partition(".")[0] == ENGINE)


def _overwriting(tree: ast.AST, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                found = any(isinstance(target, ast.Attribute) and _base(target) in names for target in targets)
            case ast.AugAssign(target=ast.Attribute() as target) | ast.AnnAssign(target=ast.Attribute() as target):
                found = _base(target) in names
            case ast.Call(func=function, args=[owner, *_]):
                text = owner.value if isinstance(owner, ast.Constant) and isinstance(owner.value, str) else ""
                found = _base(owner) in names or text.partition(".")[0] == ENGINE
                found = found and ast.unparse(function).endswith(PATCHES)
            case _:
                found = False
        if found:
            yield ast.unparse(node)


def _base(node: ast.expr) -> str:
    """Return the name that an expression such as `a.b[0].c` starts with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_nothing_patches_the_engine() -> None:
    """Tests, chaos runs, fuzz runs and benchmarks pass parts to the engine; they never overwrite its attributes."""
    found = {path.relative_to(ROOT): patched(path.read_text("utf-8")) for path in FILES}
    assert len(found) > 100
    assert {path: statements for path, statements in found.items() if statements} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "monkeypatch.setattr(server, 'open', None)",
        "setattr(server.Worker, 'open', None)",
        "mock.patch('tenxsom_flow_engine.web.server.open')",
        "mock.patch.object(server, 'open')",
        "server.open = None",
        "server.LIMITS['a'].size += 1",
        "del server.open",
        "def f(worker: Worker) -> None:\n    worker.store.advice = None",
    ],
)
def test_a_patch_of_the_engine_is_found(statement: str) -> None:
    """The rule finds each form of a patch, and accepts it for objects that are not the engine's."""
    assert len(patched(f"from tenxsom_flow_engine.web import server, Worker\n{statement}")) == 1
    other = statement.replace(ENGINE, "other")
    assert patched(f"from other.web import server, Worker\n{other}") == []


def paths(node: ast.expr) -> Path | None:
    """Return the path that an expression such as `ROOT / "docs" / "cli.md"` means."""
    match node:
        case ast.Name(id="ROOT"):
            return ROOT
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Constant(value=str() as name)):
            folder = paths(left)
            return folder / name if folder else None
    return None


#: Folders that a benchmark makes.
MADE = {ROOT / ".bench-venv", ROOT / ".bench-results.json"}
#: Programs that no test runs as a whole.
PROGRAMS = [path for folder in ("benchmarks", "chaos", "docs", "fuzz") for path in (ROOT / folder).rglob("*.py")]


def test_paths_into_the_repository_exist() -> None:
    """Every path in the repository that a benchmark, a chaos run or a script of the documents names exists."""
    text = rf"(?:benchmarks|chaos|deploy|docs|{ENGINE})/[\w./-]+"
    named = set()
    for path in PROGRAMS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.BinOp) and (found := paths(node)):
                named.add(found)
            elif isinstance(node, ast.Constant) and re.fullmatch(text, name := str(node.value)):
                named.add(ROOT / name)
    assert len(named) > 5
    assert sorted(str(path) for path in named - MADE if not path.exists()) == []
