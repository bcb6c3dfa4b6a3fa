"""An engine on each kind of job store, for benchmarks that compare the stores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.settings import default_limits, load
from tests.redis_server import RedisServer

_LARGE_LIMITS = "; ".join(f"{name}=100000/s,100000/d" for name in default_limits())


def engines_on_both_stores() -> Iterator[tuple[str, Engine]]:
    """Yield the name of each store, and an engine on it without jobs and with limits that are never reached."""
    with tempfile.TemporaryDirectory() as folder:
        home = {"TENXSOM_HOME": folder, "TENXSOM_LIMITS": _LARGE_LIMITS}
        with open_engine(load(home), "local") as engine:
            yield "SQLite", engine
        server = RedisServer(Path(folder))
        try:
            with open_engine(load(home | {"REDIS_URL": server.url}), "redis") as engine:
                yield "Redis", engine
        finally:
            server.kill()
