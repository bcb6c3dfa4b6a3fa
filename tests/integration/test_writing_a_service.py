"""The page about writing a service, executed step by step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.environment import without_engine_variables

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/writing-a-service.md").read_text("utf-8")
#: The files on the page, by their paths.
FILES: dict[str, str] = dict(re.findall(r'^```(?:python|toml) title="([^"]+)"\n(.*?)^```$', PAGE, re.M | re.S))
MODULES = {Path(name).name: code for name, code in FILES.items() if name.startswith("tenxsom_clipworks/")}
TEST = "tests/test_clipworks.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's files."""
    project = tmp_path_factory.mktemp("tenxsom-clipworks")
    for name, code in FILES.items():
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, "utf-8")
    return project


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    """Install the page's package with pip, without a network, and return the folder."""
    site = project / "site"
    run([], "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(site), str(project))  # fmt: skip
    return site


def start(path: Sequence[Path], *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module with folders on its path."""
    environment = without_engine_variables() | variables | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def run(path: Sequence[Path], *arguments: str, cwd: Path = ROOT) -> str:
    """Run a Python module, which must succeed, and return its output."""
    done = start(path, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def flow(*arguments: str, path: Sequence[Path], environment: Mapping[str, str]) -> str:
    """Run a command of the engine and return its output. The exit code is ignored: `doctor` fails for missing fonts."""
    done = start(path, "run_flow_enhanced", *arguments, cwd=ROOT, **environment)
    return done.stdout + done.stderr


def test_the_package_of_the_page_is_clean(project: Path) -> None:
    """The code of the page passes this project's linter."""
    assert {*MODULES} == {"__init__.py", "config.py", "service.py"}
    run([], "ruff", "check", "--quiet", "--config", str(ROOT / "pyproject.toml"), "--exclude", "site", str(project))


def test_the_test_of_the_page_passes_with_the_installed_package(project: Path, site: Path) -> None:
    """The installed package buys a video once, with an unchanged engine."""
    run([site, ROOT], "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", TEST, cwd=project)


def test_an_installed_service_is_found_everywhere(site: Path, tmp_path: Path) -> None:
    """An installed service is in dry runs, `limits`, `doctor` and the reference of settings."""
    home = {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local"}
    keyed = home | {"CLIPWORKS_KEY": "a-key"}
    dry = flow("single", "--topic", "Tides", "--duration", "5", "--dry-run", path=[site], environment=keyed)
    assert "clipworks" in dry
    assert "0.08" in dry
    assert re.search(r"clipworks.*20/m", flow("limits", path=[site], environment=keyed), re.DOTALL)
    assert "CLIPWORKS_KEY (https://clipworks.example/docs)" in flow("doctor", path=[site], environment=home)
    assert "CLIPWORKS_KEY" not in flow("doctor", path=[], environment=home)
    assert "`CLIPWORKS_SLOTS`" in run([site, ROOT], "docs.generate_configuration")


def test_an_installed_service_cannot_take_a_variable_of_the_engine(site: Path, tmp_path: Path) -> None:
    """No command works while a service is installed that declares one of the engine's variables; the error names it."""
    shutil.copytree(site, tmp_path / "site", ignore=_compiled)
    config = tmp_path / "site/tenxsom_clipworks/config.py"
    config.write_text(config.read_text("utf-8").replace("CLIPWORKS_URL", "REDIS_URL"), "utf-8")
    printed = flow("limits", path=[tmp_path / "site"], environment={"TENXSOM_HOME": str(tmp_path)})
    assert "the service clipworks of tenxsom-clipworks declares REDIS_URL" in printed
    assert "pip uninstall tenxsom-clipworks" in printed


def test_a_folder_in_this_project_is_a_service_too(tmp_path: Path) -> None:
    """The modules of the page in a folder of `services/` are a service without a package or an entry point."""
    shutil.copytree(ROOT / "tenxsom_flow_engine", tmp_path / "tenxsom_flow_engine", ignore=_compiled)
    folder = tmp_path / "tenxsom_flow_engine/services/clipworks"
    folder.mkdir()
    for name, code in MODULES.items():
        (folder / name).write_text(code.replace("tenxsom_clipworks", "tenxsom_flow_engine.services.clipworks"), "utf-8")
    (tmp_path / "test_clipworks.py").write_text(FILES[TEST], "utf-8")
    run([tmp_path], "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "test_clipworks.py", cwd=tmp_path)


def _compiled(folder: str, names: list[str]) -> set[str]:
    return {"__pycache__"} & set(names)
