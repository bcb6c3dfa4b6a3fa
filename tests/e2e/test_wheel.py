"""The built wheel, installed into a fresh virtual environment, and the source distribution; without the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import tenxsom_flow_engine
from tests.e2e.conftest import ROOT, WAIT_SECONDS

#: Files of a developer's folder that are not in git.
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "videos", "build", "*.egg-info")
#: Imports every module of the installed package where pytest and hypothesis cannot be imported.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None
import tenxsom_flow_engine
names = [found.name for found in pkgutil.walk_packages(tenxsom_flow_engine.__path__, "tenxsom_flow_engine.")]
for name in names:
    importlib.import_module(name)
print(len(names), tenxsom_flow_engine.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the project, since a build writes into its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_COPIED)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


class Installed:
    """A virtual environment with the wheel and the dependencies of the running one, and a user's folder."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        self._venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self._venv)], check=True)
        _pip("--python", str(self._venv / "bin/python"), "install", "--no-deps", str(wheel))
        self.packages = next(self._venv.glob("lib/python*/site-packages"))
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "TENXSOM_HOME": str(folder / "home"), "REDIS_PORT": "1"
        }  # fmt: skip

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the virtual environment in the user's folder."""
        return subprocess.run(
            [str(self._venv / "bin" / program), *arguments], cwd=self.folder, env=self._environment,
            capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, env=os.environ | {"PIP_NO_INDEX": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_its_data_only(wheel: Path) -> None:
    """The wheel has every module and data file of the package, and no other file of the project."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "tenxsom_flow_engine"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert {Path(name).suffix for name in names} >= {".py", ".sql", ".lua", ".ttf", ".html", ".css", ".js", ".txt"}


def test_the_source_distribution_holds_the_project(tmp_path: Path) -> None:
    """The source distribution has every file of the project: what tests, documents and deployments need, too."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=NOT_COPIED)
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    build = "from setuptools import build_meta; build_meta.build_sdist('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert files - names == set()
    assert {name for name in names if "__pycache__" in name} == set()


def test_nothing_but_the_package_is_installed(installed: Installed) -> None:
    """An installation has no top-level modules other than the package."""
    own = {path.name for path in installed.packages.iterdir()} - {"dependencies.pth"}
    assert own == {"tenxsom_flow_engine", f"tenxsom_flow_engine-{tenxsom_flow_engine.__version__}.dist-info"}
    assert "ModuleNotFoundError" in installed.run("python", "-c", "import queue_manager").stderr


def test_every_installed_module_runs_without_test_libraries(installed: Installed) -> None:
    """No module of the wheel imports pytest or hypothesis."""
    done = installed.run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    number, file = done.stdout.split()
    assert int(number) > 100
    assert Path(file).is_relative_to(installed.packages)


@pytest.mark.parametrize(
    ("program", "arguments", "name"),
    [("tenxsom-flow", [], "tenxsom-flow"), ("python", ["-m", "tenxsom_flow_engine"], "python -m tenxsom_flow_engine")],
)
def test_messages_name_the_called_program(installed: Installed, program: str, arguments: list[str], name: str) -> None:
    """Help, usage errors and next steps name the program as it was called; completion uses the command's name."""
    assert installed.run(program, *arguments, "--version").stdout.endswith(f"{tenxsom_flow_engine.__version__}\n")
    shown = installed.run(program, *arguments, "--help").stdout
    assert shown.startswith(f"Usage: {name} ")
    assert f"{name} show JOB" in shown
    wrong = installed.run(program, *arguments, "single")
    assert (wrong.returncode, wrong.stderr.rpartition("; ")[2]) == (2, f"see: {name} single --help\n")
    added = installed.run(program, *arguments, "single", "--topic", "Tides", "--delay", "2h")
    assert added.returncode == 0, added.stderr
    assert installed.run(program, *arguments, "queue", "pause").stderr.endswith(f"{name} queue resume\n")
    assert installed.run(program, *arguments, "queue", "resume").returncode == 0
    for command in ("worker", "serve"):
        assert installed.run(program, *arguments, command, "--help").stdout.startswith(f"Usage: {name} {command} ")
    script = installed.run(program, *arguments, "completion", "bash").stdout
    assert "_TENXSOM_FLOW_COMPLETE" in script
    assert re.search(r"^\s*complete .* tenxsom-flow$", script, re.MULTILINE)


def test_the_command_makes_a_video_from_any_folder(installed: Installed) -> None:
    """A draft uses the fonts of the wheel, and writes nothing into the working folder."""
    done = installed.run("tenxsom-flow", "single", "--topic", "How tides work", "--duration", "1", "--wait",
                         "--service", "draft", "--quality", "540p")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).stat().st_size > 0
    assert list(installed.folder.iterdir()) == []


def test_the_python_api_is_installed(installed: Installed) -> None:
    """A program that imports the API adds jobs to the same queue as the command."""
    code = (
        "import asyncio\n"
        "from tenxsom_flow_engine import FlowError, QueueManager, VideoJob\n"
        "async def main():\n"
        "    async with QueueManager('local') as manager:\n"
        "        await manager.enqueue(VideoJob(job_id='api-1', topic='Tides', created_at=1.0))\n"
        "asyncio.run(main())\n"
    )
    done = installed.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert '"topic": "Tides"' in installed.run("tenxsom-flow", "show", "api-1", "--json").stdout


def test_gunicorn_finds_application_and_settings(installed: Installed) -> None:
    """Gunicorn serves the installed worker with the settings of `gunicorn.conf.py`."""
    done = installed.run(
        "python", "-m", "gunicorn", "-c", "python:tenxsom_flow_engine.web.gunicorn_conf", "--print-config",
        "tenxsom_flow_engine.web.wsgi:app",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^graceful_timeout += 150$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^worker_class += .*BufferingWorker$", done.stdout, re.MULTILINE)
