"""The address of a bucket: `gs://BUCKET/PREFIX` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from tenxsom_flow_engine.env import Secret, absolute
from tenxsom_flow_engine.errors import ConfigurationError

#: Google Cloud Storage; Amazon S3, or a server with its interface, such as R2, MinIO or Ceph.
GCS, S3 = "gs", "s3"
_GOOGLE = "https://storage.googleapis.com"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
#: Names between slashes, of characters that need no encoding in any address.
_PREFIX = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The place of the videos in a bucket, without credentials."""

    scheme: str
    bucket: str
    #: Without slashes at both ends; can be empty.
    prefix: str = ""
    #: The server's URL; empty for Google and Amazon.
    endpoint: str = ""
    #: The region of an S3 bucket; empty if AWS_REGION names it.
    region: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def origin(self, default_region: str = "") -> str:
        """Return scheme, host and port of the links to its objects."""
        if self.endpoint:
            parts = urlsplit(self.endpoint)
            return f"{parts.scheme}://{parts.netloc}"
        if self.scheme == GCS:
            return _GOOGLE
        return f"https://s3.{self.region or default_region or 'us-east-1'}.amazonaws.com"


@dataclass(frozen=True, slots=True)
class BucketKeys:
    """The credentials that the settings name. Without any, those of the machine are used, such as its role."""

    google_file: Path | None = None
    key_id: str = ""
    secret: Secret | None = None
    session_token: Secret | None = None
    region: str = ""


#: Without credentials in the settings.
NO_KEYS = BucketKeys()


def read_place(name: str, text: str) -> Path | BucketAddress:
    """Return the folder or bucket that a variable names. Raises `ConfigurationError`."""
    scheme, separator, _ = text.partition("://")
    return _bucket(name, text) if separator and scheme.isalnum() else absolute(name, text)


def _bucket(name: str, text: str) -> BucketAddress:
    def refuse(reason: str) -> ConfigurationError:
        example = "write gs://BUCKET/PREFIX, s3://BUCKET/PREFIX?region=NAME, or a path"
        return ConfigurationError(f"{name}: {reason}", next_step=example)

    try:
        parts = urlsplit(text)
    except ValueError:
        raise refuse("the address is invalid") from None
    if parts.scheme not in (GCS, S3):
        raise refuse(f"{parts.scheme}:// is not supported")
    if "@" in parts.netloc:  # the address is shown
        raise refuse("credentials do not belong into the address: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not _BUCKET.fullmatch(parts.netloc):
        raise refuse(f"{parts.netloc!r} is no name of a bucket")
    prefix = unquote(parts.path).strip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise refuse("the prefix can have names of letters, digits, . _ - between slashes")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    allowed = {"endpoint", "region"} if parts.scheme == S3 else {"endpoint"}
    if unknown := sorted(options.keys() - allowed):
        raise refuse(
            f"unknown option {unknown[0]!r}; the options of {parts.scheme}:// are {', '.join(sorted(allowed))}"
        )
    endpoint = options.get("endpoint", "").rstrip("/")
    if endpoint and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._/-]*)?", endpoint):
        raise refuse("the endpoint must be an http:// or https:// URL without user name and options")
    return BucketAddress(parts.scheme, parts.netloc, prefix, endpoint, options.get("region", ""))
