"""The Python API: the public names, and the cost of importing the package."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tenxsom_flow_engine

ROOT = Path(__file__).resolve().parents[2]
API = [
    "ActionRefused",
    "ConfigurationError",
    "FlowError",
    "InvalidInput",
    "JobNotFound",
    "JobRecord",
    "QueueError",
    "QueueManager",
    "RateLimitedAPIClient",
    "ServiceError",
    "Status",
    "StoreError",
    "UseAPIRateLimiter",
    "VideoJob",
    "__version__",
]


def test_the_public_names_are_pinned() -> None:
    """Adding or removing a public name is a decision: it changes this list."""
    assert tenxsom_flow_engine.__all__ == API
    assert set(API) <= set(dir(tenxsom_flow_engine))


@pytest.mark.parametrize("name", API)
def test_each_public_name_exists(name: str) -> None:
    """Each name is the object of the module that defines it."""
    value = getattr(tenxsom_flow_engine, name)
    if name != "__version__":
        assert value.__name__ == name
        assert getattr(sys.modules[value.__module__], name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not public raises the usual error."""
    with pytest.raises(AttributeError, match="module 'tenxsom_flow_engine' has no attribute 'Worker'"):
        tenxsom_flow_engine.__getattr__("Worker")


def test_importing_the_package_loads_none_of_its_modules() -> None:
    """`import tenxsom_flow_engine` only loads the standard library, and a name loads what it needs."""
    code = (
        "import json, sys; before = set(sys.modules); import tenxsom_flow_engine as api; "
        "bare = sorted(set(sys.modules) - before); api.VideoJob; "
        "print(json.dumps([bare, sorted(set(sys.modules) - before)]))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bare, with_job = json.loads(out)
    assert [name for name in bare if name.partition(".")[0] not in sys.stdlib_module_names] == ["tenxsom_flow_engine"]
    assert "tenxsom_flow_engine.jobs" in with_job
    assert not {"tenxsom_flow_engine.store", "tenxsom_flow_engine.engine", "flask", "redis", "grpc"} & {*with_job}


def test_type_checkers_know_the_public_names(tmp_path: Path) -> None:
    """For a strict type checker, a public name has its type, and any other name is an error."""
    program = tmp_path / "program.py"
    program.write_text(
        "from tenxsom_flow_engine import QueueManager, Status, VideoJob\n"
        "import tenxsom_flow_engine as api\n"
        "reveal_type(VideoJob)\n"
        "reveal_type(Status.QUEUED)\n"
        "reveal_type(QueueManager.enqueue)\n"
        "api.Worker\n"
    )
    # The package's own configuration would check the whole repository.
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={tmp_path}", str(program)]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "-> tenxsom_flow_engine.jobs.model.VideoJob" in done.stdout, done.stdout + done.stderr
    assert "Literal[tenxsom_flow_engine.jobs.model.Status.QUEUED]" in done.stdout
    assert "self: tenxsom_flow_engine.python_api.queue_manager.QueueManager" in done.stdout
    assert 'Module has no attribute "Worker"' in done.stdout


def test_the_changelog_has_a_section_for_this_version() -> None:
    """The newest release in the changelog is the version of the package, and the project metadata uses it."""
    version = tenxsom_flow_engine.__version__
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = [line.split()[1] for line in text.splitlines() if line.startswith("## ")]
    assert releases[0] in (f"[{version}]", "[Unreleased]")
    assert f"[{version}]" in releases
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "tenxsom_flow_engine.__version__"}
