"""The registry of video services: those in the folders of this package and those of installed packages.

A folder here is a service if its package has a `SPEC`. An installed package names its `ServiceSpec` in the entry point
group `tenxsom_flow_engine.services`. Specs are cheap to import: a factory imports the modules that its service needs.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.env import Field, fields_of
from tenxsom_flow_engine.errors import ConfigurationError, FlowError
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from tenxsom_flow_engine.services.base import VideoService
    from tenxsom_flow_engine.services.http.download import Downloader

#: The entry point group in which installed packages register services.
GROUP = "tenxsom_flow_engine.services"
#: The distribution of the built-in services.
OURS = "tenxsom-flow-engine"
#: Names that mean something else where a service is named: the automatic choice, and the limit over all services.
RESERVED_NAMES = frozenset({"auto", "global"})
_NAME = re.compile("[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """The parts of the engine that a service's factory receives."""

    clock: Clock
    timings: Timings
    #: `TENXSOM_HOME`, and the folder of the videos, or of unfinished ones if the videos go to a bucket.
    home: Path
    output_dir: Path
    #: Whether videos may be fetched from private addresses and over plain HTTP.
    allow_private_downloads: bool = False

    def downloader(self) -> Downloader:
        """Return a downloader for the service's videos."""
        from tenxsom_flow_engine.services.http.download import Downloader

        return Downloader(allow_private=self.allow_private_downloads, timings=self.timings)


@dataclass(frozen=True, slots=True)
class MachineState:
    """The result of a `MachineCheck`: `code` and `fix` are empty if nothing is missing."""

    text: str
    #: Machine-readable cause, e.g. `tool-missing`.
    code: str = ""
    #: How to fix it.
    fix: str = ""


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """A check, run by `doctor`, of something on this machine that a service uses."""

    #: The part that is checked, e.g. `fonts`.
    about: str
    run: Callable[[], MachineState]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """The description of a service, available before the service is made.

    `config` is a frozen dataclass whose fields declare the service's variables (see `env`). If its first field has no
    default, that variable switches the service on; otherwise, and without a `config`, it is always configured.
    """

    name: str
    #: Makes the service from its config (None without one). Its imports belong inside the function.
    factory: Callable[[Any, ServiceContext], VideoService]
    config: type | None = None
    #: The default limits of its paid creates, such as `1/s 10/m 100/h`; empty: none.
    quotas: str = ""
    #: Its documentation: a path in this project, or a URL.
    docs: str = ""
    #: Its position in lists, and the tie-breaker in routing: the lowest first, then by name.
    order: int = 50
    #: Whether it makes no real videos, only rehearsals: the dashboard shows it only after it was used.
    rehearsal: bool = False
    #: Checks of this machine, run if the service is configured. Their imports belong inside the functions.
    machine_checks: tuple[MachineCheck, ...] = ()
    #: The distribution that contains it; set by the registry.
    distribution: str = OURS

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in RESERVED_NAMES:
            raise ConfigurationError(
                f"{self.name!r} cannot be the name of a service",
                next_step="name it with up to 40 lower-case letters, digits and underscores, beginning with a letter, "
                f"and not {' or '.join(sorted(RESERVED_NAMES))}",
            )
        declared = {variable.field for variable in self.variables}
        required = {
            field.name
            for field in (fields(self.config) if self.config else ())
            if field.init and field.default is MISSING and field.default_factory is MISSING
        }
        if undeclared := sorted(required - declared):
            raise ConfigurationError(
                f"{', '.join(undeclared)} in the config of the service {self.name} needs a variable or a default",
                next_step="declare a Variable at the field (see `env`), or give it a default",
            )
        late = [field.variable.name for field in self.variables[1:] if field.default is MISSING]
        if late:
            raise ConfigurationError(
                f"{', '.join(late)} of the service {self.name} needs a default",
                next_step="give it a default: only the first variable may lack one",
            )

    @property
    def variables(self) -> tuple[Field, ...]:
        """The variables that its config declares."""
        return fields_of(self.config) if self.config else ()

    @property
    def switch(self) -> str:
        """The name of the variable that switches it on; empty if it is always configured."""
        variables = self.variables
        return variables[0].variable.name if variables and variables[0].default is MISSING else ""

    def make(self, config: Any, context: ServiceContext) -> VideoService:
        """Make the service. Raises `ConfigurationError`, also in place of other exceptions of the factory."""
        from tenxsom_flow_engine.services.base import VideoService

        try:
            service: object = self.factory(config, context)
            name = getattr(service, "name", None)
        except FlowError:
            raise
        except (Exception, SystemExit) as error:
            raise _broken(f"the service {self.name}", self.distribution, error) from error
        if not isinstance(service, VideoService):
            reason = f"its factory returned {type(service).__name__}, not a VideoService"
            raise _broken(f"the service {self.name}", self.distribution, reason)
        if name != self.name:
            raise _broken(f"the service {self.name}", self.distribution, f"its class is named {name!r}")
        return service


@cache
def service_specs() -> Mapping[str, ServiceSpec]:
    """Return the specs of all services by name, configured or not, in their order. Raises `ConfigurationError`."""
    from importlib.metadata import entry_points

    return collect([*built_in().values(), *installed(entry_points(group=GROUP))])


@cache
def built_in() -> Mapping[str, ServiceSpec]:
    """Return the specs of the services below this package, by the full name of the service's package."""
    package = __name__.rpartition(".")[0]
    folders = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    modules = {folder.name: importlib.import_module(folder.name) for folder in folders if folder.ispkg}
    return {name: module.SPEC for name, module in modules.items() if hasattr(module, "SPEC")}


def installed(points: Iterable[EntryPoint]) -> Iterator[ServiceSpec]:
    """Load the specs that entry points name. Raises `ConfigurationError` with the package of a broken one."""
    for point in points:
        distribution = point.dist.name if point.dist else point.value
        try:
            spec = point.load()
        except (Exception, SystemExit) as error:  # a module that exits must not end the command silently
            raise _broken(f"the service {point.name}", distribution, error) from error
        if not isinstance(spec, ServiceSpec):
            raise _broken(f"the service {point.name}", distribution, f"{point.value} is not a ServiceSpec")
        yield replace(spec, distribution=distribution)


def collect(specs: Iterable[ServiceSpec]) -> Mapping[str, ServiceSpec]:
    """Return the specs by name, in their order. Raises `ConfigurationError` if two share their name or a variable."""
    found: dict[str, ServiceSpec] = {}
    owners: dict[str, ServiceSpec] = {}
    for spec in sorted(specs, key=lambda spec: (spec.order, spec.name)):
        if other := found.get(spec.name):
            raise ConfigurationError(
                f"{other.distribution} and {spec.distribution} both provide a service {spec.name}",
                next_step=_uninstall(other, spec),
            )
        found[spec.name] = spec
        for variable in (field.variable.name for field in spec.variables):
            if (owner := owners.setdefault(variable, spec)) is not spec:
                raise ConfigurationError(
                    f"the services {owner.name} of {owner.distribution} and {spec.name} of {spec.distribution} both "
                    f"declare the variable {variable}",
                    next_step=_uninstall(owner, spec),
                )
    return found


def refuse_variables(specs: Iterable[ServiceSpec], engine: Collection[str]) -> None:
    """Raise `ConfigurationError` if a service declares one of the engine's own variables."""
    for spec in specs:
        if taken := [field.variable.name for field in spec.variables if field.variable.name in engine]:
            raise ConfigurationError(
                f"the service {spec.name} of {spec.distribution} declares {', '.join(taken)}, which {OURS} declares",
                next_step=_uninstall(spec),
            )


def _uninstall(*specs: ServiceSpec) -> str:
    """Return the next step after a conflict between services, or of one with the engine."""
    packages = sorted({spec.distribution for spec in specs} - {OURS})
    if not packages:
        return "rename one of them"
    return f"uninstall {'one of them' if len(packages) > 1 else 'it'}: pip uninstall {' or '.join(packages)}"


def _broken(what: str, distribution: str, reason: object) -> ConfigurationError:
    if isinstance(reason, FlowError):
        fault: object = reason.message
    else:
        fault = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
    removal = "" if distribution == OURS else f", or uninstall it: pip uninstall {distribution}"
    return ConfigurationError(
        f"{what} of the package {distribution} cannot be used: {fault}",
        next_step=f"install another version of {distribution}{removal}",
    )
