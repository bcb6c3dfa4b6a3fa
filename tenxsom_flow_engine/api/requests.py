"""Read bodies and parameters of requests into types. Unknown names are refused, each error with its field and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from tenxsom_flow_engine.api.problems import InvalidRequest, WrongValue
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.json_lists import item_lines

_T = TypeVar("_T")
_Query = TypeVar("_Query", bound=msgspec.Struct)

#: Maximum number of characters of an idempotency key.
MAX_KEY = 255
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def check_json(mimetype: str) -> None:
    """Raise `UnsupportedMediaType` for a body that does not say that it is JSON."""
    if mimetype != "application/json":
        raise UnsupportedMediaType("the body must have the content type application/json")


def decode(data: bytes, wanted: type[_T]) -> _T:
    """Decode a JSON body. Raises `InvalidRequest`."""
    try:
        return msgspec.json.decode(data, type=wanted)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequest([_wrong(data, error)]) from error


def decode_each(data: bytes, wanted: type[_T], most: int) -> list[_T]:
    """Decode a JSON list, and report all of its invalid items together. Raises `InvalidRequest`."""
    raw = decode(data, list[msgspec.Raw])
    if not raw:
        raise InvalidRequest([WrongValue("", "is an empty list")])
    if len(raw) > most:
        raise InvalidRequest(
            [WrongValue("", f"has {len(raw):,} jobs, at most {most:,} are allowed")], "send several requests"
        )
    items: list[_T] = []
    wrong: list[tuple[int, WrongValue]] = []
    for index, one in enumerate(raw):
        try:
            items.append(msgspec.json.decode(one, type=wanted))
        except (msgspec.MsgspecError, RecursionError) as error:
            wrong.append((index, _wrong(bytes(one), error)))
    refuse_items(data, wrong)
    return items


def refuse_items(data: bytes, wrong: Sequence[tuple[int, WrongValue]]) -> None:
    """Raise `InvalidRequest` for the invalid items of a JSON list, if there are any."""
    if wrong:
        lines = item_lines(data.decode("utf-8", "replace"))
        raise InvalidRequest(
            [WrongValue(f"[{index}].{one.field}".removesuffix("."), one.detail, lines[index]) for index, one in wrong]
        )


def canonical(data: bytes) -> bytes:
    """Return a valid JSON body in a form that does not depend on blanks and the order of names."""
    return msgspec.json.encode(msgspec.json.decode(data), order="deterministic") if data.strip() else b""


def read_query(given: MultiDict[str, str], wanted: type[_Query]) -> _Query:
    """Convert the parameters of an address; one that is a list can be repeated, or be separated by commas.

    Raises `InvalidRequest`.
    """
    lists = {one.encode_name for one in msgspec.structs.fields(wanted) if "tuple" in str(one.type)}
    values: dict[str, Any] = {}
    for name in given:
        every = given.getlist(name)
        if name in lists:
            values[name] = [part for value in every for part in value.split(",") if part]
        elif len(every) > 1:
            raise InvalidRequest([WrongValue(name, "is given more than once")])
        else:
            values[name] = every[0]
    try:
        return msgspec.convert(values, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest([_wrong(b"", error)]) from error


def idempotency_key(text: str | None) -> str:
    """Return the value of the header `Idempotency-Key`; empty if there is none. Raises `InvalidInput`."""
    if text is None:
        return ""
    if not re.fullmatch(rf"[!-~]{{1,{MAX_KEY}}}", text):
        raise InvalidInput("Idempotency-Key", f"must be 1 to {MAX_KEY} visible ASCII characters without blanks")
    return text


def _wrong(data: bytes, error: Exception) -> WrongValue:
    """Return the field, the reason and the line of an error of the decoder."""
    if isinstance(error, msgspec.ValidationError):
        if isinstance(error.__cause__, InvalidInput):
            return WrongValue(error.__cause__.field, error.__cause__.reason)
        reason, _, path = str(error).partition(" - at `")
        field = path.removeprefix("key in ").strip("`").removeprefix("$").removeprefix(".").replace("[...]", "")
        if unknown := _UNKNOWN.fullmatch(reason):
            return WrongValue(f"{field}.{unknown[1]}".removeprefix("."), "is an unknown field")
        if missing := _MISSING.fullmatch(reason):
            return WrongValue(f"{field}.{missing[1]}".removeprefix("."), "is missing")
        return WrongValue(field, reason[:1].lower() + reason[1:])
    if isinstance(error, RecursionError):
        return WrongValue("", "is nested too deeply")
    place = re.search(r"\(byte (\d+)\)", str(error))
    before = data[: int(place[1])] if place else data
    return WrongValue("", f"is not JSON: {error}"[:200], before.count(b"\n") + 1)
