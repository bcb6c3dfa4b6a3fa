"""The objects below a bucket's address: written whole, or created only if absent. A thin layer over `obstore`."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import OutputAway, OutputError
from tenxsom_flow_engine.output.address import GCS, NO_KEYS, BucketAddress, BucketKeys

if TYPE_CHECKING:
    from obstore.store import GCSStore, S3Store

#: Bytes of a part of an upload, parts of one upload under way, and uploads of a process: 64 MiB in all. The library
#: holds each part in memory. S3 allows 10,000 parts, so a video of 80 GB fits.
PART, PARTS_AT_ONCE, UPLOADS_AT_ONCE = 8 << 20, 2, 4
#: Bytes of the largest object that is read into memory, and of a block of a download.
MAX_READ, BLOCK = 8 << 20, 1 << 20
#: Objects in one answer to a list request, the most that S3 gives.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, with its size in bytes and the time of its last change in seconds since 1970."""

    key: str
    size: int
    at: float


class Objects:
    """The objects of a bucket by their keys below the address. Thread-safe.

    The connection is opened at the first use in a process, because the library's threads do not survive a fork. All
    methods raise `OutputAway` if the bucket cannot be reached now, `OutputError` if it refuses.
    """

    def __init__(self, address: BucketAddress, keys: BucketKeys = NO_KEYS, part: int = PART) -> None:
        self._address = address
        self._part = part
        self._keys = keys
        self._opened: tuple[int, GCSStore | S3Store] | None = None
        self._lock = threading.Lock()
        self._uploads = threading.BoundedSemaphore(UPLOADS_AT_ONCE)

    def upload(self, key: str, file: Path, attributes: Mapping[str, str]) -> None:
        """Write a file to an object, which appears when it is complete. `attributes` are headers of HTTP."""
        import obstore

        with self._uploads, self._mapped("written to"):
            obstore.put(
                self._store(),
                key,
                file,
                attributes=dict(attributes),
                chunk_size=self._part,
                max_concurrency=PARTS_AT_ONCE,
            )

    def create(self, key: str, content: bytes, attributes: Mapping[str, str] = {}) -> bool:
        """Create an object if it does not exist; return whether it was created."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._mapped("written to"):
            try:
                obstore.put(self._store(), key, content, attributes=dict(attributes), mode="create")
            except AlreadyExistsError:
                return False
        return True

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object; None if it does not exist."""
        import obstore

        with self._mapped("read"):
            try:
                answer = obstore.get(self._store(), key)
            except FileNotFoundError:
                return None
            if answer.meta["size"] > MAX_READ:
                raise OutputError(f"{self._address}/{key} has {answer.meta['size']:,} bytes, too many to be read here")
            return bytes(answer.bytes())

    def download(self, key: str, target: Path) -> None:
        """Copy an object to a local file."""
        import obstore

        with self._mapped("read"), target.open("wb") as file:
            for block in obstore.get(self._store(), key).stream(min_chunk_size=BLOCK):
                file.write(block)

    def list(self, below: str = "") -> Iterator[StoredObject]:
        """Give the objects below a key, or all, in the order of their keys."""
        import obstore

        with self._mapped("listed"):
            for answer in obstore.list(self._store(), below or None, chunk_size=LISTED):
                for one in answer:
                    yield StoredObject(one["path"], one["size"], one["last_modified"].timestamp())

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        import obstore

        with self._mapped("deleted from"), contextlib.suppress(FileNotFoundError):
            if keys:
                obstore.delete(self._store(), list(keys))

    def sign(self, key: str, lifetime: float) -> str:
        """Return a URL with which anyone can read an object for some seconds."""
        import obstore

        with self._mapped("signed for"):
            return obstore.sign(self._store(), "GET", key, timedelta(seconds=lifetime))

    def _store(self) -> GCSStore | S3Store:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), _open(self._address, self._keys)
            return self._opened[1]

    @contextlib.contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (exceptions.BaseError, FileNotFoundError, ValueError) as error:
            reason = _reason(error)
            message = f"the bucket {self._address} cannot be {what}: {reason}"
            match error:
                case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
                    step = "give the account of this machine the permissions in docs/output.md"
                    raise OutputError(message, next_step=step) from error
                case FileNotFoundError():
                    raise OutputError(message, next_step="create the bucket, or correct TENXSOM_OUTPUT_DIR") from error
                case exceptions.GenericError():
                    raise OutputAway(message, next_step="check the network, and the status of the service") from error
                case _:
                    raise OutputError(message, next_step="check TENXSOM_OUTPUT_DIR") from error


def _reason(error: Exception) -> str:
    """Return the first line of an error without times and counts, so that a repeated error has the same text.

    The other lines show the structure of the library's error.
    """
    return re.sub(r" in [\d.]+\S*?s(, after .*?)? - ", ": ", str(error).partition("\n")[0])[:300]


def _open(address: BucketAddress, keys: BucketKeys) -> GCSStore | S3Store:
    from obstore.store import GCSStore, S3Store

    options = {
        "allow_http": address.endpoint.startswith("http://"), "connect_timeout": "5s", "timeout": "600s",
        "read_timeout": "30s",
    }  # fmt: skip
    retry = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
    prefix = address.prefix or None
    if address.scheme == GCS:
        config: dict[str, object] = {}
        if address.endpoint:
            config["base_url"] = address.endpoint
        if keys.google_file is not None:
            config["application_credentials"] = str(keys.google_file)
        elif address.endpoint:  # an emulator, which needs no credentials
            config["bearer_token"] = "none"
        return GCSStore(address.bucket, prefix=prefix, config=config, client_options=options, retry_config=retry)  # type: ignore[arg-type]
    named = {
        "endpoint": address.endpoint, "region": address.region or keys.region, "access_key_id": keys.key_id,
        "secret_access_key": str(keys.secret or ""), "session_token": str(keys.session_token or ""),
    }  # fmt: skip
    given = {name: value for name, value in named.items() if value}
    return S3Store(address.bucket, prefix=prefix, config=given, client_options=options, retry_config=retry)  # type: ignore[arg-type]
