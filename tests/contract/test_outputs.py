"""The folder and the bucket, on a server of each kind, pass the output suite."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.output.folder import OutputFolder
from tests.bucket_servers import SERVERS, BucketServer
from tests.contract.output_suite import OpenOutput, OutputSuite
from tests.outputs import open_bucket


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[BucketServer]:
    server = SERVERS[request.param]()
    yield server
    server.close()


class TestOutputFolder(OutputSuite):
    @pytest.fixture
    def outputs(self, tmp_path: Path) -> OpenOutput:
        return lambda: OutputFolder(tmp_path / "videos")


class TestOutputBucket(OutputSuite):
    @pytest.fixture
    def outputs(self, server: BucketServer, tmp_path: Path) -> OpenOutput:
        machines = itertools.count()
        prefix = f"{tmp_path.name}/videos"
        return lambda: open_bucket(server, tmp_path / f"machine-{next(machines)}", prefix)
