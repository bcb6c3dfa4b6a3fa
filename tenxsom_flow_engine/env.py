"""Environment variables, each declared once: at the field of a settings class that holds its value.

    @dataclass(frozen=True)
    class WebSettings:
        port: Annotated[int, Variable("PORT", "where it listens", minimum=0, maximum=65535)] = 8080

The field's type says how the text is read, its default what holds where the variable is not set. `read_env` reads, and
`docs/configuration.md` is written from the same declarations.
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
    """Text that is a key, or an address that may hold a password: shown as stars wherever it is written for people."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class Variable:
    """What a variable is called and for, and which values it may have."""

    name: str
    #: What it is for, in words that the reference prints.
    help: str
    #: Who heeds it.
    scope: str = "all"
    minimum: float = -math.inf
    maximum: float = math.inf
    #: The default in words, where it is no fixed value.
    default: str = ""
    #: A value as it is written, where the type does not say how.
    example: str = ""
    #: Makes the value of name and text, where the type does not say how. Raises `ConfigurationError` with the name.
    read: Callable[[str, str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A variable with what its field says of it."""

    variable: Variable
    field: str
    #: The type of its values; `Secret` if they must not be shown.
    kind: type
    #: What holds where it is not set; `dataclasses.MISSING` if that is found out elsewhere.
    default: Any

    def value(self, text: str) -> Any:
        """Return the value that a text stands for. Raises `ConfigurationError` naming the variable."""
        value = (self.variable.read or _READERS[self.kind])(self.variable.name, text)
        if isinstance(value, int | float) and not self.variable.minimum <= value <= self.variable.maximum:
            raise ConfigurationError(f"{self.variable.name} must be {KINDS[self.kind]} {self.bounds}, not {text}")
        return self.kind(value) if self.kind is Secret else value

    @property
    def bounds(self) -> str:
        """The least and the most that it may be, in words; empty if it is no number."""
        low, high = self.variable.minimum, self.variable.maximum
        return "" if math.isinf(low) and math.isinf(high) else f"from {low} to {high}"


def fields_of(settings: type) -> tuple[Field, ...]:
    """Return the variables that the fields of a dataclass are declared with, in their order."""
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
    """Return the values of those fields of a dataclass whose variables are set, by field; empty counts as not set.

    Raises `ConfigurationError` naming the variable whose value is wrong.
    """
    texts = ((one, environment.get(one.variable.name, "").strip()) for one in fields_of(settings))
    return {one.field: one.value(text) for one, text in texts if text}


def absolute(name: str, text: str) -> Path:
    """Return a path as other processes, with other working folders, can use it."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"{name} is {text!r}, and there is no such user") from error


def _number(name: str, text: str, read: Callable[[str], _N], kind: str) -> _N:
    try:
        return read(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be {kind}, not {text!r}") from None


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "false", "0", "no"):
        raise ConfigurationError(f"{name} must be true or false, not {text.lower()!r}")
    return text.lower() in ("true", "1", "yes")


#: What values of a type are called.
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
