"""The registry of services: built-in folders, installed packages, and errors of broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Annotated

import pytest
from grimp import ImportGraph

from tenxsom_flow_engine import services
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import make_services
from tenxsom_flow_engine.env import Variable
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, parse_windows
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.draft.service import DraftService
from tenxsom_flow_engine.services.registry import (
    GROUP,
    RESERVED_NAMES,
    ServiceContext,
    ServiceSpec,
    built_in,
    collect,
    installed,
    refuse_variables,
    service_specs,
)
from tenxsom_flow_engine.settings import limits_of, load, own_variables
from tenxsom_flow_engine.timings import Timings
from tests.service_contract import imports_from_outside

Install = Callable[[str], list[EntryPoint]]


def a_spec(name: str = "clips", **changes: object) -> ServiceSpec:
    return ServiceSpec(**({"name": name, "factory": _make_draft} | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _OneKey:
    key: Annotated[str, Variable("CLIPS_KEY", "the key")]


def _make_draft(config: object, context: ServiceContext) -> VideoService:
    return DraftService(context.home)


def context(tmp_path: Path) -> ServiceContext:
    return ServiceContext(clock=SystemClock(), timings=Timings(), home=tmp_path, output_dir=tmp_path)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs the package `clips-plugin` with one module and returns its entry points."""

    def install(code: str) -> list[EntryPoint]:
        (tmp_path / "clips_plugin.py").write_text(code, "utf-8")
        metadata = tmp_path / "clips_plugin-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: clips-plugin\nVersion: 1.0\n", "utf-8")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nclips = clips_plugin:SPEC\n", "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "clips_plugin", raising=False)
        (found,) = distributions(path=[str(tmp_path)])
        return list(found.entry_points)

    return install


def test_each_folder_is_a_service() -> None:
    """Every folder, except the shared one, is registered under its name."""
    folders = {path.parent.name for path in Path(services.__path__[0]).glob("*/__init__.py")} - {"http"}
    assert {package.rpartition(".")[2]: spec.name for package, spec in built_in().items()} == {
        name: name for name in folders
    }
    assert {spec.name for spec in built_in().values()} <= service_specs().keys()


def test_paid_services_come_first() -> None:
    """Paid services are listed before drafts, and rehearsals are last."""
    specs = collect([*built_in().values(), a_spec(config=_OneKey)])
    kinds = ["rehearsal" if spec.rehearsal else "paid" if spec.switch else "free" for spec in specs.values()]
    assert kinds == sorted(kinds, key=["paid", "free", "rehearsal"].index)
    assert set(kinds) == {"paid", "free", "rehearsal"}


def test_timings_reach_the_services(tmp_path: Path) -> None:
    """All services over HTTP use the timings of a rehearsal."""
    keys = {"USEAPI_TOKEN": "user:1-abc", "LTX_API_KEY": "ltx-abc", "HEYGEN_API_KEY": "hg-abc"}
    default, short = Timings(), Timings(paid_call=Timings().read_call)
    by_timings = [
        make_services(load({"TENXSOM_HOME": str(tmp_path), **keys}), SystemClock(), timings)
        for timings in (default, short)
    ]
    times = [{name: service.create_timeout for name, service in services.items()} for services in by_timings]
    assert [(one["pixverse"], one["ltx_studio"], one["heygen"]) for one in times] == [(90, 60, 120), (60, 30, 60)]


def test_an_installed_service_is_known_by_its_package(install: Install) -> None:
    """The spec of an installed service has the name of its package."""
    points = install(
        "from tenxsom_flow_engine.services.registry import ServiceSpec\n"
        "SPEC = ServiceSpec(name='clips', factory=lambda config, context: None)\n"
    )
    (spec,) = installed(points)
    assert (spec.name, spec.distribution) == ("clips", "clips-plugin")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_missing_library", "a_missing_library"),
        ("NOTHING = 1", "SPEC"),
        ("SPEC = 'clips'", "is not a ServiceSpec"),
        ("raise SystemError('out of order')", "SystemError: out of order"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            "from tenxsom_flow_engine.services.registry import ServiceSpec\n"
            "SPEC = ServiceSpec(name='auto', factory=lambda config, context: None)",
            "'auto' cannot be the name",
        ),
        (
            "from dataclasses import dataclass\n"
            "from tenxsom_flow_engine.services.registry import ServiceSpec\n"
            "@dataclass\nclass Config:\n    region: str\n"
            "SPEC = ServiceSpec(name='clips', factory=lambda config, context: None, config=Config)",
            "region in the config of the service clips needs",
        ),
    ],
)
def test_a_broken_package_is_named(install: Install, code: str, reason: str) -> None:
    """The error for a service that cannot be loaded names its package, the reason and the command to remove it."""
    with pytest.raises(ConfigurationError, match=reason) as refusal:
        list(installed(install(code)))
    assert "clips-plugin" in refusal.value.message
    assert "pip uninstall clips-plugin" in refusal.value.next_step


def test_two_services_of_one_name_are_refused() -> None:
    """Two services with the same name are an error that names both packages and the one to uninstall."""
    duplicates = [a_spec("pixverse", distribution="clips-plugin"), *built_in().values()]
    with pytest.raises(ConfigurationError, match="pixverse") as refusal:
        collect(duplicates)
    assert "clips-plugin" in refusal.value.message
    assert "tenxsom-flow-engine" in refusal.value.message
    assert "pip uninstall clips-plugin" in refusal.value.next_step


def test_quotas_are_limits() -> None:
    """A service's quotas become its limits; the error for invalid ones names the package."""
    assert limits_of([a_spec(quotas="1/s 20/m"), a_spec("free")]) == {"clips": parse_windows("1/s 20/m")}
    with pytest.raises(ConfigurationError, match="clips-plugin"):
        limits_of([a_spec(quotas="often", distribution="clips-plugin")])


def _raise(config: object, context: ServiceContext) -> VideoService:
    raise ImportError("no module named clips_library")


def _exit(config: object, context: ServiceContext) -> VideoService:
    raise SystemExit(3)


class _LookAlike:
    name = "clips"


def _make_look_alike(config: object, context: ServiceContext) -> VideoService:
    return _LookAlike()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (a_spec(factory=_raise, distribution="clips-plugin"), "no module named clips_library"),
        (a_spec(factory=lambda config, context: None, distribution="clips-plugin"), "returned NoneType"),
        (a_spec(factory=_make_look_alike, distribution="clips-plugin"), "returned _LookAlike, not a VideoService"),
        (a_spec(factory=_exit, distribution="clips-plugin"), "SystemExit: 3"),
        (a_spec(distribution="clips-plugin"), "its class is named 'draft'"),
    ],
)
def test_a_service_that_cannot_be_made_names_its_package(spec: ServiceSpec, reason: str, tmp_path: Path) -> None:
    """The error for a factory that fails, or makes anything but a service of its name, names the package."""
    with pytest.raises(ConfigurationError, match=reason) as refusal:
        spec.make(None, context(tmp_path))
    assert "clips-plugin" in refusal.value.message


@dataclass(frozen=True)
class _TwoKeys:
    key: Annotated[str, Variable("CLIPS_KEY", "the key")]
    secret: Annotated[str, Variable("CLIPS_SECRET", "another key")]


def test_only_the_first_variable_may_lack_a_default() -> None:
    """A config is refused if a variable other than the first has no default."""
    with pytest.raises(ConfigurationError, match="CLIPS_SECRET"):
        a_spec(config=_TwoKeys)


@dataclass(frozen=True)
class _PlainField:
    key: Annotated[str, Variable("CLIPS_KEY", "the key")]
    region: str
    hosts: tuple[str, ...] = ()


def test_a_field_without_a_default_has_a_variable() -> None:
    """A config is refused if a field has neither a variable nor a default."""
    with pytest.raises(ConfigurationError, match="region in the config of the service clips needs") as refusal:
        a_spec(config=_PlainField)
    assert "declare a Variable" in refusal.value.next_step


@pytest.mark.parametrize("name", ["auto", "global", "", "Clips", "my-clips", "1clip", "_clips", "c" * 41, "clips\n"])
def test_names_of_services(name: str) -> None:
    """A name is refused if it is reserved, too long, or cannot be a Python name in lower case."""
    with pytest.raises(ConfigurationError, match="cannot be the name of a service") as refusal:
        a_spec(name)
    assert "auto or global" in refusal.value.next_step


def test_good_names_of_services() -> None:
    """A name has up to 40 lower-case letters, digits and underscores; those with another meaning are reserved."""
    assert [a_spec(name).name for name in ("c", "clips_2", "c" * 40)] == ["c", "clips_2", "c" * 40]
    assert {AUTO, GLOBAL} == RESERVED_NAMES


def test_services_cannot_share_a_variable() -> None:
    """Two services that declare one variable are an error that names both, the variable and the package to remove."""
    sharing = a_spec("reels", config=_OneKey, distribution="reels-plugin")
    with pytest.raises(ConfigurationError, match="CLIPS_KEY") as refusal:
        collect([a_spec(config=_OneKey), sharing])
    assert all(word in refusal.value.message for word in ("clips of tenxsom", "reels of reels-plugin"))
    assert refusal.value.next_step == "uninstall it: pip uninstall reels-plugin"


@dataclass(frozen=True)
class _EngineVariable:
    home: Annotated[str, Variable("TENXSOM_HOME", "the folder of clips")]


def test_a_service_cannot_declare_a_variable_of_the_engine() -> None:
    """A service that declares one of the engine's variables is an error that names both; no built-in one does."""
    refuse_variables(service_specs().values(), own_variables())
    with pytest.raises(ConfigurationError, match="TENXSOM_HOME") as refusal:
        refuse_variables([a_spec(config=_EngineVariable, distribution="clips-plugin")], own_variables())
    assert all(word in refusal.value.message for word in ("clips of clips-plugin", "tenxsom-flow-engine"))
    assert "pip uninstall clips-plugin" in refusal.value.next_step


def test_the_import_rule_sees_every_import_of_a_service() -> None:
    """Imports of a service by other services, shared modules and the engine are found; imports inside it are not."""
    graph = ImportGraph()
    for module in ("s", "s.a", "s.a.x", "s.b", "s.b.y", "s.base", "engine"):
        graph.add_module(module)
    edges = [("s.a.x", "s.b.y"), ("s.base", "s.a"), ("engine", "s.b"), ("s.a.x", "s.a"), ("s.a", "s.base")]
    for importer, imported in edges:
        graph.add_import(importer=importer, imported=imported)
    assert sorted(imports_from_outside(graph, ["s.a", "s.b"])) == ["engine -> s.b", "s.a.x -> s.b.y", "s.base -> s.a"]
