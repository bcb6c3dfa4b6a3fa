"""Retention of videos by workers and by the command, in a folder and in a bucket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.output.keep import KeepVideos
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.samples import TICKET, VIDEO, a_claim, new
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance
from tests.bucket_servers import GcsServer
from tests.contract.output_suite import fill
from tests.outputs import numbered


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local", "TENXSOM_KEEP_VIDEOS": "30d"}


@pytest.fixture
def engine(environment: dict[str, str]) -> Iterator[Engine]:
    with open_engine(load(environment)) as engine:
        yield engine


def publish(engine: Engine, number: int, days: float = 0.0) -> None:
    """Publish a video, some days ago."""
    video = engine.output.publish(numbered(number), fill(tiny_video("1:1", 5)))
    if days:
        metadata = Path(video.path).with_name("metadata.json")
        at = metadata.stat().st_mtime - days * 86400
        os.utime(metadata, (at, at))


def kept(engine: Engine) -> list[str]:
    return sorted(one.name for one in engine.output.publications())


def test_maintenance_removes_old_videos(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A worker removes videos beyond the age, once an hour, but none of a job that has not ended."""
    caplog.set_level("INFO")
    for number, days in enumerate((40.0, 1.0, 50.0)):
        publish(engine, number, days)
    engine.store.add("local", new("job-2"))
    foreign = Path(str(engine.settings.output_dir)) / "photos"
    foreign.mkdir()
    (foreign / "metadata.json").write_text('{"job_id": "another"}')
    os.utime(foreign / "metadata.json", (0, 0))
    worker = WorkerMaintenance(engine, concurrency=1)
    worker.do_output_chores(0.0)
    assert foreign.is_dir()
    assert kept(engine) == ["job-1", "job-2"]
    assert "removed 1 video beyond TENXSOM_KEEP_VIDEOS" in caplog.text
    engine.store.cancel("job-2")
    worker.do_output_chores(60.0)
    assert kept(engine) == ["job-1", "job-2"]
    worker.do_output_chores(4000.0)
    assert engine.store.require("job-2").status is Status.CANCELLED


def test_one_worker_at_a_time_removes_videos(engine: Engine) -> None:
    """A second process leaves it to the first one."""
    publish(engine, 0, 40.0)
    assert engine.store.acquire_lock("videos", "another", 3600.0)
    assert engine.prune_videos("me") == 0
    assert kept(engine) == ["job-0"]


def test_the_command_lists_and_removes(engine: Engine, environment: dict[str, str]) -> None:
    """`prune` removes what `--dry-run` lists, after a confirmation; the rule of the option wins over the setting."""
    for number, days in enumerate((40.0, 10.0, 1.0)):
        publish(engine, number, days)

    def run(*words: str, env: dict[str, str] = environment) -> str:
        done = CliRunner().invoke(cli, ["videos", *words], env=env, standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.stdout

    listed = json.loads(run("list", "--json"))["videos"]
    assert [(one["name"], one["job_id"], one["complete"]) for one in listed] == [
        (f"job-{n}", f"job-{n}", True) for n in range(3)
    ]
    assert "job-2" in run("list")
    assert [one["name"] for one in json.loads(run("prune", "--dry-run", "--json"))["videos"]] == ["job-0"]
    assert kept(engine) == ["job-0", "job-1", "job-2"]
    run("prune", "--keep", "7d", "--yes")
    assert kept(engine) == ["job-2"]
    assert run("prune", "--yes") == ""
    with pytest.raises(InvalidInput, match="must be an age, a size or both"):
        run("prune", "--keep", "soon")
    with pytest.raises(InvalidInput, match="keep: is missing"):
        run("prune", env=environment | {"TENXSOM_KEEP_VIDEOS": ""})


def test_retention_bounds_the_use_of_the_disk(engine: Engine) -> None:
    """Where old videos are removed, the pace of the new ones does not say when the disk is full."""
    store = engine.store
    store.add("local", new("made", service="draft"))
    (record,) = store.claim(a_claim(slots={"draft": 9})).records
    intent = Intent(submission_id="s", service="draft", lifetime=9.0, max_in_flight=9)
    store.intend("made", record.lease_token, intent)
    store.accept("made", Receipt(submission_id="s", ticket=TICKET, lifetime=9.0))
    store.settle("made", record.lease_token, Done(VIDEO))
    report = take_report(engine)
    assert report.jobs.day.succeeded == 1
    assert {one.days_left for one in report.disks} == {None}


def test_a_bucket_is_pruned_too(tmp_path: Path) -> None:
    """The oldest publications of a bucket are removed, with all their files."""
    server = GcsServer()
    environment = {"TENXSOM_HOME": str(tmp_path), **server.environment(tmp_path), "TENXSOM_KEEP_VIDEOS": "1TB"}
    with open_engine(replace(load(environment), queue_type="local"), "local") as engine:
        for number in range(3):
            publish(engine, number)
        assert engine.prune_videos("me") == 0
        (size,) = {one.size for one in engine.output.publications()}
        assert [one.name for one in engine.videos_to_remove(KeepVideos(size=2.5 * size))] == ["job-0"]
        engine.output.remove("job-0")
        assert kept(engine) == ["job-1", "job-2"]
    server.close()
