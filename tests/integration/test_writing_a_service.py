"""The page that says how to add a service, followed step by step."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/writing-a-service.md"
#: The blocks of code, each with the file that it is for: the whole of it, or what changes.
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def follow(page: str, project: Path) -> list[str]:
    """Do what the page says to a project, and return the files that it touches, in order."""
    touched = []
    for kind, name, code in BLOCK.findall(page):
        file = project / name
        touched.append(name)
        if kind == "python":
            assert not file.exists()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
        else:
            lines = code.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            assert file.read_text().count(before) == 1, before
            file.write_text(file.read_text().replace(before, after))
    return touched


def test_the_page_leads_to_a_service(tmp_path: Path) -> None:
    """Whoever does what the page says, and nothing else, has a service that makes videos and pays once."""
    shutil.copytree(ROOT / "tenxsom_flow_engine", tmp_path / "tenxsom_flow_engine", ignore=_compiled)
    touched = follow(PAGE.read_text("utf-8"), tmp_path)
    assert touched.count("tenxsom_flow_engine/services/clipworks.py") == 1
    assert len(touched) == 8
    run(tmp_path, "ruff", "check", "--quiet", "--config", str(ROOT / "pyproject.toml"), *set(touched))
    run(tmp_path, "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", touched[-1])


def _compiled(folder: str, names: list[str]) -> set[str]:
    return {"__pycache__"} & set(names)


def run(folder: Path, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
