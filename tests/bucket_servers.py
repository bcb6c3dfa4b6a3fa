"""Servers of buckets on the loopback interface: moto for S3, and our own for Google Cloud Storage.

moto is the one S3 server in the registries that is maintained, needs no other program, and honours `If-None-Match: *`.
The packaged server for Google Cloud Storage has only the JSON API, and the engine uses the XML API.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

from tests.gcs_server import GcsApplication
from tests.ports import free_port

logging.getLogger("werkzeug").setLevel(logging.ERROR)

_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class BucketServer(ABC):
    """A server with one new bucket. Faults apply to all its clients."""

    scheme: str

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.bucket = f"videos-{secrets.token_hex(4)}"
        #: The status of every answer while the bucket is away; 0: it is not.
        self.refusal = 0
        #: Method, path and query of each request.
        self.requests: list[str] = []
        #: Called before each request, with the same text.
        self.before: Callable[[str], object] = lambda request: None
        self._conditional = threading.Lock()
        self._application = self._make()
        self._server = make_server("127.0.0.1", self.port, self._serve, threaded=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @abstractmethod
    def _make(self) -> _Application:
        """Return the application, with the bucket in it."""

    @abstractmethod
    def credentials(self, folder: Path) -> Mapping[str, str]:
        """Return the environment variables with which a client uses the bucket; files go into a folder."""

    def address(self, prefix: str = "flow") -> str:
        """Return the value of `TENXSOM_OUTPUT_DIR`."""
        return f"{self.scheme}://{self.bucket}/{prefix}?endpoint={self.url}"

    def environment(self, folder: Path, prefix: str = "flow") -> dict[str, str]:
        """Return the settings of an engine that publishes here."""
        return {"TENXSOM_OUTPUT_DIR": self.address(prefix), **self.credentials(folder)}

    @contextmanager
    def away(self, status: int = 503) -> Iterator[None]:
        """Refuse every request during a block."""
        self.refusal = status
        try:
            yield
        finally:
            self.refusal = 0

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append(request)
        self.before(request)
        if self.refusal:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{self.refusal} Refused", [("Content-Length", "0")])
            return []
        if "HTTP_IF_NONE_MATCH" in environ:  # moto looks and writes in two steps, S3 in one
            with self._conditional:
                return list(self._application(environ, start_response))
        return self._application(environ, start_response)


class S3Server(BucketServer):
    """S3, as moto plays it."""

    scheme = "s3"

    def _make(self) -> _Application:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["aws"].create_bucket(self.bucket, "us-east-1")
        application: _Application = DomainDispatcherApplication(create_backend_app)
        return application

    def credentials(self, folder: Path) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket", "AWS_REGION": "us-east-1"}


class GcsServer(BucketServer):
    """Google Cloud Storage."""

    scheme = "gs"

    def _make(self) -> _Application:
        return GcsApplication()

    def credentials(self, folder: Path) -> Mapping[str, str]:
        file = folder / "google-key.json"
        file.write_text(_service_account())
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


@cache
def _service_account() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {"type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": pem,
         "client_email": "flow@p.iam.gserviceaccount.com", "client_id": "1",
         "token_uri": "https://oauth2.googleapis.com/token"}
    )  # fmt: skip


SERVERS: Mapping[str, type[BucketServer]] = {"s3": S3Server, "gs": GcsServer}
