"""The documents match the code."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click
import pytest

from tenxsom_flow_engine.cli import exit_codes
from tenxsom_flow_engine.cli.main import cli as commands
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import make_services
from tenxsom_flow_engine.errors import Transient
from tenxsom_flow_engine.jobs import TRANSITIONS
from tenxsom_flow_engine.services.pixverse.models import MODELS as PIXVERSE_MODELS
from tenxsom_flow_engine.services.registry import ServiceSpec, built_in
from tenxsom_flow_engine.settings import declared, load
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.web.app import worker_app
from tenxsom_flow_engine.web.auth import anybody
from tenxsom_flow_engine.web.runtime import WorkerRuntime

ROOT = Path(__file__).resolve().parents[2]


def test_the_diagram_of_states_matches_the_code() -> None:
    """The diagram has every transition of `jobs.TRANSITIONS` and no other."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE))
    assert drawn == {(str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters}


def test_the_table_of_packages_matches_the_code() -> None:
    """The table lists each package and module once, in the layer of the import rules; there are ten layers."""
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"\w+", layer) for layer in rules[0]["layers"]]
    rows = re.findall(r"^\| (\d+) \| (`.*?`) \|", page, re.MULTILINE)
    shown = [(int(layer), name) for layer, names in rows for name in re.findall(r"`(.*?)`", names)]
    assert sorted(shown) == sorted((number, name) for number, names in enumerate(layers, 1) for name in names)
    assert len(layers) == 10
    contents = [path for path in (ROOT / "tenxsom_flow_engine").iterdir() if path.suffix in (".py", "")]
    assert {path.stem for path in contents} - {"__init__", "__main__", "__pycache__"} == {name for _, name in shown}


def test_the_package_root_stays_small() -> None:
    """The package root has at most ten modules besides `__init__` and `__main__`."""
    modules = {path.stem for path in (ROOT / "tenxsom_flow_engine").glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= 10


def test_each_guarantee_has_its_tests() -> None:
    """The ten guarantees are listed in order, each with existing test files."""
    rows = re.findall(
        r"^\| (\d+) \| \*\*.*?\| (.*) \|$", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE
    )
    assert [int(number) for number, _ in rows] == [*range(1, 11)]
    for number, kept_by in rows:
        named = re.findall(r"`(tests/[\w/]+(?:\.py|/))`", kept_by)
        assert named, number
        assert all((ROOT / name).exists() for name in named), number


#: All pages except the changelog, which names files of earlier releases.
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
]


@pytest.mark.parametrize("document", PAGES)
def test_named_files_exist(document: str) -> None:
    """Every path of the project that a document names exists."""
    # Code that the reader writes names files that do not exist yet.
    text = re.sub(r"^```\w+ title=.*?^```$", "", (ROOT / document).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\b((?:docs|tests|testing|benchmarks|store|services)/[\w./-]*\w\.\w+)", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [name for name in named if not any((base / name).exists() for base in (
        ROOT, ROOT / "docs", ROOT / "tenxsom_flow_engine"))]  # fmt: skip
    assert not missing


PACKAGE = "tenxsom_flow_engine"
#: The text of every module, by dotted name; names of the package omit the package.
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__").removeprefix(f"{PACKAGE}."): (
        path.read_text("utf-8")
    )
    for folder in (PACKAGE, "tests", "chaos", "benchmarks", "fuzz")
    for path in (ROOT / folder).rglob("*.py")
}


def is_named(name: str) -> bool:
    """Return whether a dotted name is a module, or the names after a module occur in the module."""
    words = name.removeprefix(f"{PACKAGE}.").split(".")
    lengths = [length for length in range(1, len(words) + 1) if ".".join(words[:length]) in MODULES]
    text = MODULES[".".join(words[: max(lengths)])] if lengths else ""
    return bool(lengths) and all(re.search(rf"\b{word}\b", text) for word in words[max(lengths) :])


def test_named_modules_exist() -> None:
    """Every module, or name in a module, that a page, docstring or comment quotes exists."""
    texts = [*MODULES.values(), *((ROOT / page).read_text("utf-8") for page in PAGES)]
    first = "|".join({PACKAGE, *(name.partition(".")[0] for name in MODULES)})
    dotted = {name for text in texts for name in re.findall(rf"`((?:{first})\.[\w.]*\w)`", text)}
    dotted = {name for name in dotted if not name.endswith((".py", ".sqlite3", ".env", ".toml"))}  # files
    paths = {name for text in texts for name in re.findall(r"`(\w[\w/]*/\w+\.py)`", text)}
    assert min(len(dotted), len(paths)) > 10
    assert sorted(name for name in dotted if not is_named(name)) == []
    assert sorted(name for name in paths if not ((ROOT / name).exists() or (ROOT / PACKAGE / name).exists())) == []


@pytest.mark.parametrize("document", [*PAGES, "benchmarks/README.md"])
def test_links_lead_to_headings(document: str) -> None:
    """Every link to a section leads to an existing heading."""
    page = ROOT / document
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8")):
        text = (page.parent / target if target else page).read_text("utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@pytest.mark.parametrize("document", [*PAGES, "deploy/google-cloud.sh"])
def test_named_commands_exist(document: str) -> None:
    """Every command in a document exists and has the options shown."""
    text = (ROOT / document).read_text("utf-8")
    for line in re.findall(r"(?:run_flow_enhanced\.py|tenxsom-flow) ([^`#|;&>\n]+)", text):
        command: click.Command = commands
        for word in line.split():
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif word.startswith("--"):
                known = [name for parameter in command.params for name in parameter.opts]
                assert word.partition("=")[0].rstrip(",.)") in [*known, "--help"], line


#: First parts of our variables' names, such as `USEAPI`.
PREFIXES = {one.variable.name.partition("_")[0] for group in declared().values() for one in group}
VARIABLE = rf"\b((?:{'|'.join(sorted(PREFIXES))})_[A-Z_]+[A-Z])\b"
CONFIGURATION = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/configuration.md").read_text("utf-8"), re.MULTILINE))


def test_every_setting_is_documented() -> None:
    """The reference lists every variable that the program names."""
    files = [*ROOT.glob("tenxsom_flow_engine/**/*.py"), *ROOT.glob("*.py")]
    named = {name for file in files for name in re.findall(f'"{VARIABLE}"', file.read_text("utf-8"))}
    assert len(named) > 40
    assert named <= CONFIGURATION


@pytest.mark.parametrize("document", [*PAGES, "deploy/tenxsom-flow-engine.env.example", "deploy/google-cloud.sh"])
def test_named_variables_exist(document: str) -> None:
    """The program reads every variable that a document names."""
    assert set(re.findall(VARIABLE, (ROOT / document).read_text("utf-8"))) <= CONFIGURATION


def test_every_program_is_in_the_command_reference() -> None:
    """The table of the command reference lists each script next to the installed command."""
    scripts = {path.name for path in ROOT.glob("*.py") if path.read_text("utf-8").startswith("#!")}
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    rows = re.findall(r"^\| `tenxsom-flow (\w+)` \|.*\| `python3 (\S+\.py).*?` \|$", page, re.MULTILINE)
    assert {script for _, script in rows} == scripts
    assert {command for command, _ in rows} - {"COMMAND"} <= set(commands.commands)


def test_the_exit_codes_match_the_code() -> None:
    """The command reference lists exactly the exit codes of the program."""
    listed = (ROOT / "docs/cli.md").read_text("utf-8").partition("Exit codes:")[2].partition("##")[0]
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert {int(number) for number in re.findall(r"(\d+) [a-z]", listed)} == codes | {4}  # reserved


def test_every_address_is_documented() -> None:
    """The page on monitoring lists each address of a worker by the first part of its path."""
    parts = WorkerRuntime(lambda: pytest.fail("nothing is opened"))
    served = worker_app(parts, anybody, concurrency=1, admin="a" * 16).url_map.iter_rules()
    (table,) = re.findall(r"^## Addresses\n(.*?)^## ", (ROOT / "docs/monitoring.md").read_text("utf-8"), re.M | re.S)
    named = set(re.findall(r"`(?:GET |POST )?(/[\w.]*)", table))
    assert {f"/{rule.rule.split('/')[1]}" for rule in served} == named


@pytest.mark.parametrize("document", [*PAGES, "benchmarks/README.md"])
def test_named_targets_exist(document: str) -> None:
    """Every make target that a document names exists."""
    targets = " ".join(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)).split()
    assert set(re.findall(r"(?:`|^)make ([\w-]+)", (ROOT / document).read_text("utf-8"), re.MULTILINE)) <= {*targets}


def test_each_figure_has_its_benchmark() -> None:
    """Every section of the benchmarks page begins with the make target that measures it."""
    sections = (ROOT / "benchmarks/README.md").read_text("utf-8").split("\n## ")[1:]
    assert len(sections) > 5
    assert [section.splitlines()[0] for section in sections if not re.match(r".*\n\n\*`make [\w-]+`", section)] == []


#: The built-in paid services, by package.
PAID = {package: spec for package, spec in built_in().items() if spec.switch}


@pytest.mark.parametrize(("package", "spec"), PAID.items(), ids=[spec.name for spec in PAID.values()])
def test_the_page_of_a_service_is_complete(package: str, spec: ServiceSpec, tmp_path: Path) -> None:
    """The service's page lists its switch, every known model, and every status and code with a meaning."""
    text = (ROOT / spec.docs).read_text("utf-8")
    settings = load({"TENXSOM_HOME": str(tmp_path), spec.switch: "a-key"}, default_file=tmp_path / "none.env")
    service = make_services(settings, SystemClock(), Timings())[spec.name]
    # A service that derives its table from others has the documented one in its module.
    rows = _value(f"{package}.errors", "ROWS") or getattr(service, "errors", ())
    models = _value(f"{package}.models", "MODELS")
    assert spec.switch in text
    assert [name for name in models if f"`{name}`" not in text] == []
    assert [row.status for row in rows if str(row.status) not in text and row.error is not Transient] == []
    assert [row.code for row in rows if row.code not in text] == []


def _value(module: str, name: str) -> Collection[Any]:
    """Return a value of a module; nothing if there is no such module or value."""
    return getattr(importlib.import_module(module), name, ()) if importlib.util.find_spec(module) else ()


def test_the_example_environment_names_each_paid_service() -> None:
    """The example environment file has the variable that enables each paid service."""
    example = (ROOT / "deploy/tenxsom-flow-engine.env.example").read_text("utf-8")
    assert [spec.switch for spec in PAID.values() if f"#{spec.switch}=" not in example] == []


def test_the_page_of_pixverse_has_its_lengths() -> None:
    """The page of PixVerse lists each model's shortest and longest video."""
    text = (ROOT / "docs/services/pixverse.md").read_text("utf-8")
    for model in PIXVERSE_MODELS.values():
        assert f"{model.shortest}–{model.longest}" in text
