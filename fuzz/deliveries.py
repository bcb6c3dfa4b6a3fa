"""Mutated deliveries of jobs, and mutated entries of the legacy list."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fuzz.json_values import damage, mutate
from fuzz.sample_store import SERVICE
from fuzz.subject import Subject
from fuzz.web_worker import ADMIN, WebWorker
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tests.dashboard_client import Visitor
from tests.redis_server import RedisServer


@dataclass(frozen=True)
class Entry:
    """The body of a delivery, or an entry of the legacy list."""

    body: bytes
    legacy: bool


class Deliveries(Subject):
    """Bodies of deliveries and entries of the legacy list: each is run or refused, and what is kept can be shown."""

    name = "deliveries"
    count, few = 3_000, 150

    def __enter__(self) -> Self:
        self._worker = WebWorker(serve=False)
        self._worker.__enter__()
        self._client = self._worker.app.test_client()
        self._visitor = Visitor.let_in(self._worker.app.test_client(), ADMIN)
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-redis-")
        self._redis = RedisServer(Path(self._folder.name))
        variables = {
            "TENXSOM_HOME": self._folder.name,
            "REDIS_URL": self._redis.url,
            "CLOUDSDK_CONFIG": self._folder.name,
        }
        self._importer = open_engine(load(variables), "redis")
        return self

    def __exit__(self, *exception: object) -> None:
        self._importer.close()
        self._redis.kill()
        self._folder.cleanup()
        self._worker.__exit__(*exception)

    def make(self, draw: random.Random) -> Entry:
        legacy = draw.random() < 0.3
        job_id = f"job-{draw.randrange(10**9)}"
        body = legacy_entry(job_id, draw) if legacy else delivery(job_id, draw)
        change = draw.choice((mutate, mutate, mutate, mutate, damage))
        return Entry(change(body, draw), legacy)

    def accepts(self, made: Any) -> bool:
        accepted = self._imports(made.body) if made.legacy else self._delivers(made.body)
        log = self._worker.log.take()
        assert "Traceback" not in log, log
        return accepted

    def _delivers(self, body: bytes) -> bool:
        answer = self._client.post(
            "/process", data=body, content_type="application/json",
            headers={"Authorization": f"Bearer {self._worker.token}"},
        )  # fmt: skip
        assert answer.status_code in (200, 400, 409), f"response {answer.status_code}: {answer.text}"
        if answer.status_code != 200:
            return False
        given = answer.get_json()
        # A delivery can be so old that its job was removed long ago.
        statuses = {"/jobs": 200, f"/jobs/{given['job']}": 404 if given["status"] is None else 200}
        for path, status in statuses.items():
            page = self._visitor.client.get(path)
            assert page.status_code == status, f"{path} answers {page.status_code}:\n{self._worker.log.take()}"
        self._worker.engine.store.trim(self._worker.engine.retention)
        return True

    def _imports(self, entry: bytes) -> bool:
        connection = self._importer.store.connection  # type: ignore[attr-defined]
        connection.client.lpush(self._importer.settings.redis.key, entry)
        result = self._importer.import_legacy()
        assert result.moved + result.rejected == 1, f"it stays on the list: {result}"
        page = self._importer.store.page(JobFilter(), limit=1)
        if result.moved:
            (record,) = page.records
            assert self._importer.store.get(record.job_id) == record
        return result.moved == 1


def delivery(job_id: str, draw: random.Random) -> bytes:
    """Return the body of a valid delivery: of a new job, or of one that was bought already."""
    job = {"v": 1, "job_id": job_id, "topic": "How tides work", "service": SERVICE, "created_at": 1.8e9,
    "channel": "sea",
           "options": {SERVICE: {"seed": 7}}, "prompt": "Tides, vertical", "duration": 5}  # fmt: skip
    body: dict[str, Any] = {"v": 1, "job": job, "nonce": "0123456789ab", "seq": 0, "added_at": 1.8e9}
    if draw.random() < 0.6:
        ticket = {"id": f"1700000000.000/1700000001.000/fine/{job_id}.0123456789ab.1", "credits": 12.5}
        submission = {"id": f"{job_id}.0123456789ab.1", "token": "t", "intended_at": 1.8e9, "first_intended_at": 1.8e9,
                      "prompt": "Tides, vertical", "deadline": 1.8e9, "state": "unknown"}  # fmt: skip
        if draw.random() < 0.7:
            submission |= {"state": "accepted", "ticket": ticket, "over": draw.random() < 0.5}
        body |= {"seq": 2, "attempts": 1, "service": SERVICE, "submission": submission}
    return json.dumps(body).encode()


def legacy_entry(job_id: str, draw: random.Random) -> bytes:
    """Return a valid entry of the legacy list, in one of its two forms."""
    fields = {"job_id": job_id, "topic": "How tides work", "duration": 5.0, "aspect_ratio": "9:16", "service": SERVICE,
              "channel": "sea", "prompt": "", "script": "Twice a day.", "quality": "", "priority": 3}  # fmt: skip
    entry: dict[str, Any] = fields if draw.random() < 0.5 else {"id": 7, "type": "video", "params": fields}
    return json.dumps(entry).encode()
