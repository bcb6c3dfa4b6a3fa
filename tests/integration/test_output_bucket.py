"""A bucket that is away, and workers that end during an upload: what was fetched is published once, and never half."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest

from tenxsom_flow_engine.errors import InvalidVideo, OutputAway, OutputError
from tenxsom_flow_engine.output.base import FILES
from tenxsom_flow_engine.output.keep import KeepVideos
from tenxsom_flow_engine.output.leftovers import STALE
from tenxsom_flow_engine.output.retention import to_remove
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tests import fork_server
from tests.bucket_servers import SERVERS, BucketServer, GcsServer, S3Server
from tests.contract.output_suite import RECORD, fill, must_not_fill, padded
from tests.fork_server import Child
from tests.outputs import Order, numbered, open_bucket, publish_job


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[BucketServer]:
    server = SERVERS[request.param]()
    yield server
    server.close()


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return tmp_path.name


@pytest.mark.parametrize("status", [503, 403])
def test_a_video_is_safe_while_the_bucket_is_away(
    server: BucketServer, tmp_path: Path, prefix: str, status: int
) -> None:
    """It waits in the spool, and is published by the next delivery, also after a restart, without another fetch."""
    output = open_bucket(server, tmp_path / "one", prefix)
    content = tiny_video("1:1", 3)
    with server.away(status):
        with pytest.raises(OutputAway, match=r"the video waits in the spool of .*: the bucket .* cannot be"):
            output.publish(RECORD, fill(content))
        with pytest.raises(OutputAway) as again:
            open_bucket(server, tmp_path / "one", prefix).publish(RECORD, must_not_fill)
        with pytest.raises(OutputAway) as once_more:
            output.recover(RECORD)
        assert str(again.value) == str(once_more.value)  # so that the timeline has one line
        with pytest.raises(OutputAway if status == 503 else OutputError):
            output.check()
    assert (output.waiting(), output.waiting(300.0)) == (1, 0)
    (metadata,) = (tmp_path / "one" / "spool").glob("*/metadata.json")
    long_ago = metadata.stat().st_mtime - 301
    os.utime(metadata, (long_ago, long_ago))
    assert output.waiting(300.0) == 1
    restarted = open_bucket(server, tmp_path / "one", prefix)
    video = restarted.recover(RECORD)
    assert video is not None
    assert video.sha256 == hashlib.sha256(content).hexdigest()
    assert set(restarted.files(video)) == set(FILES)
    assert restarted.waiting() == 0


def test_maintenance_empties_the_spool(server: BucketServer, tmp_path: Path, prefix: str) -> None:
    """A job that another machine has published since stays as it is; all others are published."""
    one, other = open_bucket(server, tmp_path / "one", prefix), open_bucket(server, tmp_path / "other", prefix)
    second = msgspec.structs.replace(RECORD, job=msgspec.structs.replace(RECORD.job, job_id="second"))
    third = msgspec.structs.replace(RECORD, job=msgspec.structs.replace(RECORD.job, job_id="third"))
    with server.away():
        for record in (RECORD, second, third):
            with pytest.raises(OutputAway):
                one.publish(record, fill(tiny_video("1:1", 3)))
        with pytest.raises(OutputAway):
            one.deliver()
    published = other.publish(RECORD, fill(tiny_video("1:1", 4)))
    assert (one.deliver(), one.waiting(), one.deliver()) == (3, 0, 0)
    assert one.recover(RECORD) == published
    assert sorted(publication.name for publication in one.publications()) == ["second", "third", "tides"]


def test_one_entry_of_the_spool_delays_no_other(server: BucketServer, tmp_path: Path, prefix: str) -> None:
    """A video that another thread uploads is left to it, and one that is refused is named after the others."""
    output = open_bucket(server, tmp_path, prefix)
    with server.away():
        for number in range(4):
            with pytest.raises(OutputAway):
                output.publish(numbered(number), fill(tiny_video("1:1", 3)))
    output._objects.create("job-1/metadata.json", b"[]")
    busy = tmp_path / "spool" / "job-2.aaaa"
    with output._spool.locked(busy), pytest.raises(OutputAway, match=r"job-1/metadata\.json"):
        output.deliver()
    assert sorted(one.name for one in output._spool.entries()) == ["job-1.aaaa", "job-2.aaaa"]
    output._objects.delete(["job-1/metadata.json"])
    assert (output.deliver(), output.waiting()) == (2, 0)


def test_a_bucket_that_fails_during_the_upload_is_continued(tmp_path: Path, prefix: str) -> None:
    """Wherever the bucket fails in an upload of several parts, no reader sees a part, and the rest follows."""
    server = S3Server()
    reader = open_bucket(server, tmp_path / "reader", prefix)
    part = 5 << 20  # the least that S3 allows
    content = padded(3, 11 << 20)
    failures = 0
    for number in range(100):
        record = numbered(number)
        output = open_bucket(server, tmp_path / f"machine-{number}", prefix, part=part)
        first = len(server.requests) + number

        def fail(request: str, first: int = first) -> None:
            server.refusal = 503 if len(server.requests) > first else 0

        server.before = fail
        try:
            output.publish(record, fill(content))
        except OutputAway:
            failures += 1
        server.before, server.refusal = lambda request: None, 0
        if failures <= number:  # it had no more requests than this
            break
        assert reader.recover(record) is None
        video = output.recover(record)
        assert video is not None
        assert video.sha256 == hashlib.sha256(content).hexdigest()
        assert set(reader.files(video)) == set(FILES)
    assert failures >= 9
    server.close()


def test_files_of_other_programs_stay(server: BucketServer, tmp_path: Path, prefix: str) -> None:
    """Retention finds only publications, so what else is in the bucket stays, also in the folder of a job."""
    output = open_bucket(server, tmp_path, prefix)
    output.publish(RECORD, fill(tiny_video("1:1", 3)))
    foreign = {"photos/2020/a.jpg", "data/metadata.json", "data/1.bin", "tides/notes.txt", "tides/a/metadata.json"}
    unfinished = "killed/video-5f3a9c21b07d.mp4"
    for key in (*foreign, unfinished):
        output._objects.create(key, b"content")
    later = time.time() + 2 * STALE
    removed = to_remove(output.publications(), KeepVideos(age=STALE), later, lambda one: True)
    assert sorted(one.name for one in removed) == ["killed", "tides"]
    for one in removed:
        output.remove(one.name)
    assert {one.key for one in output._objects.list()} == foreign


def test_a_bad_file_leaves_nothing_in_the_spool(server: BucketServer, tmp_path: Path, prefix: str) -> None:
    """A refused file is not kept, and an unfinished one of a killed worker is removed after a day."""
    output = open_bucket(server, tmp_path, prefix)
    with pytest.raises(InvalidVideo):
        output.publish(RECORD, fill(b"<html>expired</html>"))
    staging = tmp_path / "spool" / ".staging"
    assert list(staging.iterdir()) == []
    old = staging / "old.1"
    old.mkdir()
    long_ago = old.stat().st_mtime - STALE - 1
    os.utime(old, (long_ago, long_ago))
    (staging / "fresh.1").mkdir()
    output.sweep()
    assert [path.name for path in staging.iterdir()] == ["fresh.1"]


def test_a_spool_that_cannot_be_written_is_an_error(server: BucketServer, tmp_path: Path, prefix: str) -> None:
    """The error names the folder and the setting."""
    (tmp_path / "spool").write_text("a file in its place")
    with pytest.raises(OutputError, match=r"cannot be kept in the spool .*: Not a directory") as caught:
        open_bucket(server, tmp_path, prefix).check()
    assert "TENXSOM_HOME" in caught.value.next_step


def test_a_missing_bucket_is_named(tmp_path: Path) -> None:
    """The error names the bucket, and what to do."""
    server = GcsServer()
    server.bucket = "missing-bucket"
    with pytest.raises(OutputError, match="the bucket gs://missing-bucket/flow cannot be written to") as caught:
        open_bucket(server, tmp_path).check()
    assert caught.value.next_step == "create the bucket, or correct TENXSOM_OUTPUT_DIR"
    server.close()


def test_a_server_without_conditions_is_refused(tmp_path: Path) -> None:
    """A server that overwrites what must only be created could let two workers publish one job."""
    server = GcsServer()

    def ignore_conditions(environ: dict[str, object], start_response: object) -> object:
        environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        return application(environ, start_response)  # type: ignore[arg-type]

    application, server._application = server._application, ignore_conditions  # type: ignore[assignment]
    with pytest.raises(OutputError, match="two workers could publish a video twice"):
        open_bucket(server, tmp_path).check()
    server.close()


#: The requests that one job takes: two reads, an upload of four parts, and the other files.
REQUESTS = 11
#: The jobs; for a long run, set the variable.
JOBS = int(os.environ.get("KILLED_JOBS", str(REQUESTS)))


def test_workers_killed_at_every_request_publish_each_job_once(tmp_path: Path) -> None:
    """A worker dies with `kill -9` at some request of each job; at the end each job has its complete files, once."""
    server = GcsServer()
    content = padded(3, 200_000)
    (tmp_path / "video").write_bytes(content)
    reader = open_bucket(server, tmp_path / "reader")
    environment = {"TENXSOM_HOME": str(tmp_path / "home"), **server.environment(tmp_path)}
    for number in range(JOBS):
        order = Order(environment, tmp_path / "video", number, 1 << 16)
        first = len(server.requests) + number % REQUESTS
        victim: Future[Child] = Future()

        def kill(request: str, first: int = first, victim: Future[Child] = victim) -> None:
            if len(server.requests) > first:
                victim.result().kill()

        server.before = kill
        victim.set_result(fork_server.start(publish_job, order, log=tmp_path / "log"))
        assert victim.result().wait(60) == -signal.SIGKILL
        server.before = lambda request: None
        for publication in reader.publications():  # what a reader sees now is whole
            if publication.complete:
                video = reader.recover(numbered(int(publication.name.partition("-")[2])))
                assert video is not None
                assert set(reader.files(video)) == set(FILES)
        assert fork_server.start(publish_job, order, log=tmp_path / "log").wait(60) == 0
    found = list(reader.publications())
    assert sorted(one.name for one in found) == sorted(f"job-{number}" for number in range(JOBS))
    for number in range(JOBS):
        video = reader.recover(numbered(number))
        assert video is not None
        reader.download(video, "video.mp4", tmp_path / "copy.mp4")
        assert (tmp_path / "copy.mp4").read_bytes() == content
        sizes = [len(reader.read(video, name)) for name in FILES]
        assert next(one.size for one in found if one.name == f"job-{number}") == sum(sizes)
    server.close()
