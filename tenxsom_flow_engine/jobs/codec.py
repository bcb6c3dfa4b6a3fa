"""The wire format of jobs, records and deliveries: JSON with a version in `v`, validated when it is read.

Invalid input raises `InvalidInput` with the field and the reason.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.jobs.delivery import Delivery

_T = TypeVar("_T")

_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(JobRecord)
_delivery_decoder = msgspec.json.Decoder(Delivery)


def encode(value: VideoJob | JobRecord | Delivery) -> bytes:
    """Encode a job, a record or a delivery as compact UTF-8 JSON."""
    return _encoder.encode(value)


def decode_record(data: bytes | str) -> JobRecord:
    """Decode a record. Raises `InvalidInput`."""
    return decode(_record_decoder, data)


def decode_delivery(data: bytes | str) -> Delivery:
    """Decode a delivery. Raises `InvalidInput`."""
    return decode(_delivery_decoder, data)


def check_options(job: VideoJob) -> None:
    """Raise `InvalidInput` if a job's options cannot be encoded as JSON."""
    if job.options:
        try:
            # Not msgspec, which writes NaN and infinity as null.
            json.dumps(job.options, allow_nan=False)
            _encoder.encode(job.options)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput("options", f"cannot be written as JSON: {error}") from error


def to_builtins(value: VideoJob | JobRecord) -> dict[str, Any]:
    """Return the wire format as a dict, for printing."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def decode(decoder: msgspec.json.Decoder[_T], data: bytes | str) -> _T:
    """Decode a job or a value that contains one. Raises `InvalidInput`."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        # msgspec wraps the `InvalidInput` that `VideoJob` raises; it already names the field.
        if isinstance(error.__cause__, InvalidInput):
            raise error.__cause__ from None
        reason, _, path = str(error).partition(" - at `$")
        raise InvalidInput(path.strip("`.") or "job", reason) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInput("job", f"is not JSON: {error}") from error
