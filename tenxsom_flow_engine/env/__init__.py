"""Environment variables, each declared once at the field of a settings class that holds its value.

    @dataclass(frozen=True)
    class WebSettings:
        port: Annotated[int, Variable("PORT", "port to listen on", minimum=0, maximum=65535)] = 8080

The field's type determines how the text is parsed, and its default applies if the variable is not set. `read_env` reads
the variables; `docs/configuration.md` is generated from the same declarations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from tenxsom_flow_engine.errors import ConfigurationError

_N = TypeVar("_N", int, float)


class Secret(str):
    """A key, or a URL that can contain a password. Its `repr` is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class Variable:
    """The declaration of a variable: its name, purpose and allowed values."""

    name: str
    #: Its purpose, as printed in the reference.
    help: str
    #: Which processes read it.
    scope: str = "all"
    minimum: float = -math.inf
    maximum: float = math.inf
    #: The default in words, if it is not a fixed value.
    default: str = ""
    #: An example of the notation, if the type does not imply it.
    example: str = ""
    #: Parses name and text to the value, if the type does not imply how. Raises `ConfigurationError` with the name.
    read: Callable[[str, str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A variable with the name, type and default of its field."""

    variable: Variable
    field: str
    #: The type of its values; `Secret` if they must not be shown.
    kind: type
    #: The value if the variable is not set; `dataclasses.MISSING` if it is determined elsewhere.
    default: Any

    def value(self, text: str) -> Any:
        """Parse a text to the variable's value. Raises `ConfigurationError` naming the variable."""
        value = (self.variable.read or _READERS[self.kind])(self.variable.name, text)
        if isinstance(value, int | float) and not self.variable.minimum <= value <= self.variable.maximum:
            raise ConfigurationError(f"{self.variable.name} must be {KINDS[self.kind]} {self.bounds}, not {text}")
        return self.kind(value) if self.kind is Secret else value

    @property
    def bounds(self) -> str:
        """The allowed range in words; empty if there is none."""
        low, high = self.variable.minimum, self.variable.maximum
        return "" if math.isinf(low) and math.isinf(high) else f"from {low} to {high}"


def fields_of(settings: type) -> tuple[Field, ...]:
    """Return the variables of a dataclass's fields, in declaration order."""
    found = []
    types = get_type_hints(settings, include_extras=True)
    for field in fields(settings):
        if get_origin(types[field.name]) is not Annotated:
            continue
        annotated, variable = get_args(types[field.name])
        if get_origin(annotated) is UnionType:
            annotated = next(one for one in get_args(annotated) if one is not NoneType)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found.append(Field(variable, field.name, annotated, default))
    return tuple(found)


def read_env(settings: type, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the fields whose variables are set, by field name; an empty variable counts as not set.

    Raises `ConfigurationError` naming the variable whose value is invalid.
    """
    texts = ((one, environment.get(one.variable.name, "").strip()) for one in fields_of(settings))
    return {one.field: one.value(text) for one, text in texts if text}


def absolute(name: str, text: str) -> Path:
    """Return the absolute path of a text. Raises `ConfigurationError` for an unknown `~user`."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"{name} is {text!r}, but that user does not exist") from error


def _number(name: str, text: str, read: Callable[[str], _N], kind: str) -> _N:
    try:
        return read(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be {kind}, not {text!r}") from None


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "false", "0", "no"):
        raise ConfigurationError(f"{name} must be true or false, not {text.lower()!r}")
    return text.lower() in ("true", "1", "yes")


#: The words for each type in messages and the reference.
KINDS: Mapping[type, str] = {
    str: "text",
    Secret: "text",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

_READERS: Mapping[type, Callable[[str, str], Any]] = {
    str: lambda name, text: text,
    Secret: lambda name, text: text,
    Path: absolute,
    int: lambda name, text: _number(name, text, int, KINDS[int]),
    float: lambda name, text: _number(name, text, float, KINDS[float]),
    bool: _switch,
}
