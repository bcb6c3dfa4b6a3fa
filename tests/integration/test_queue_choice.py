"""Which queue `auto` uses where no variable names one: the home remembers the queue of its first job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.doctor.run import examine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, StoreBroken, StoreUnavailable
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.queues.selection import MEMORY, choose_queue
from tenxsom_flow_engine.queues.stores import summarize_store
from tenxsom_flow_engine.report.operator_json import describe_queue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.workers.pull import PullWorker
from tests.redis_server import RedisServer


class Home:
    """A home, and a Redis server on this machine that no variable names."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.folder = folder
        self.server = server
        self.environment = {"TENXSOM_HOME": str(folder), "REDIS_PORT": str(server.port), "CLOUDSDK_CONFIG": str(folder)}

    def open(self, queue_type: str | None = None, **variables: str) -> Engine:
        """Open the engine as a process would that starts now."""
        return open_engine(load(self.environment | variables), queue_type)

    def add(self, job_id: str, queue_type: str | None = None, **variables: str) -> None:
        """Add a job as a command would."""
        with self.open(queue_type, **variables) as engine:
            engine.add([engine.prepare(VideoJob(job_id=job_id, topic="Tides", created_at=1.0)).new])

    def chosen(self, **variables: str) -> str:
        """Return the queue that `auto` chooses now."""
        return choose_queue(load(self.environment | variables), None).queue_type

    def forget(self) -> None:
        """Make it a home of release 0.2, which remembered nothing."""
        (self.folder / MEMORY).unlink(missing_ok=True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    yield Home(tmp_path / "home", server)
    server.kill()


def test_a_server_that_starts_later_is_not_used(home: Home) -> None:
    """A home whose first job is in the embedded queue stays there when a server appears on this machine."""
    home.server.kill()
    home.add("first")
    home.server.start()
    assert home.chosen() == "local"
    with home.open() as engine:
        assert engine.store.require("first")
        assert "since its first job" in engine.queue_reason
        describe_queue(engine)
    with redis.Redis(port=home.server.port) as client:
        assert client.keys("*") == []  # nothing was written to a server that no setting names


def test_a_fresh_home_keeps_its_server(home: Home) -> None:
    """A fresh home uses a running server, and does not fall back to the embedded queue while that is away."""
    home.add("first")
    assert (home.folder / MEMORY).read_text() == "redis\n"
    home.server.kill()
    assert home.chosen() == "redis"
    with pytest.raises(StoreUnavailable) as away:
        home.open()
    assert "TENXSOM_QUEUE_TYPE=local" in away.value.next_step
    assert not (home.folder / "jobs.sqlite3").exists()


def test_looking_decides_nothing(home: Home) -> None:
    """A fresh home remembers a queue with its first job, not when a command reads its state."""
    home.open().close()
    assert not (home.folder / MEMORY).exists()
    home.server.kill()
    assert home.chosen() == "local"


def test_flags_and_variables_win(home: Home) -> None:
    """A flag or a variable selects another queue for its process, and the memory stays."""
    home.add("first", "local")
    home.add("second")
    assert home.chosen() == "local"
    with home.open(REDIS_URL=home.server.url) as engine:
        assert engine.queue.name == "redis"
    with home.open("redis") as engine:
        assert engine.queue.name == "redis"
    assert home.chosen(TENXSOM_QUEUE_TYPE="redis") == "redis"
    assert home.chosen(TENXSOM_STORE=f"sqlite://{home.folder}/other.sqlite3") == "local"
    assert home.chosen() == "local"


@pytest.mark.parametrize(
    ("embedded", "server", "chosen", "elsewhere"),
    [
        ("unfinished", "", "local", []),
        ("unfinished", "unfinished", "local", ["redis"]),
        ("unfinished", "finished", "local", []),
        ("finished", "", "local", []),
    ],
)
def test_a_home_of_the_last_release(home: Home, embedded: str, server: str, chosen: str, elsewhere: list[str]) -> None:
    """A home that remembers nothing uses its embedded jobs, remembers that, and reports jobs on the server."""
    for queue_type, jobs in (("local", embedded), ("redis", server)):
        if jobs:
            home.add("first", queue_type)
        if jobs == "finished":
            with home.open(queue_type) as engine:
                engine.cancel("first")
    home.forget()
    with home.open() as engine:
        assert engine.queue.name == chosen
        assert [other.queue_type for other in engine.other_stores] == elsewhere
    assert (home.folder / MEMORY).read_text() == f"{chosen}\n"
    home.server.kill()
    assert home.chosen() == chosen


@pytest.mark.parametrize("theirs", ["unfinished", "finished"])
@pytest.mark.parametrize("ours", ["", "finished"])
def test_a_server_with_jobs_must_be_named(home: Home, tmp_path: Path, theirs: str, ours: str) -> None:
    """A server that no setting names, and that has jobs of another home, is not used until a person names it."""
    stranger = Home(tmp_path / "stranger", home.server)
    stranger.add("theirs")
    if theirs == "finished":
        with stranger.open() as engine:
            engine.cancel("theirs")
    if ours:
        home.add("ours", "local")
        with home.open("local") as engine:
            engine.cancel("ours")
        home.forget()
    with pytest.raises(ConfigurationError, match="already has 1 job, and nothing says that they belong") as refused:
        home.open()
    assert str(home.folder) in refused.value.message
    assert "TENXSOM_QUEUE_TYPE=redis" in refused.value.next_step
    assert "TENXSOM_QUEUE_TYPE=local" in refused.value.next_step
    assert not (home.folder / MEMORY).exists()
    (finding,) = [one for one in examine(home.environment) if "already has 1 job" in str(one)]
    assert finding.state == "problem"
    for named in (home.open("redis"), home.open(TENXSOM_QUEUE_TYPE="redis"), home.open(REDIS_URL=home.server.url)):
        with named as engine:
            assert engine.store.require("theirs")
    with home.open("local") as engine:
        assert engine.store.get("theirs") is None
    assert stranger.chosen() == "redis"


def test_a_home_of_the_last_release_that_made_videos_keeps_its_server(home: Home) -> None:
    """Its embedded store has no jobs, so the jobs of its videos are on the server that no setting names."""
    home.add("first", "redis")
    home.forget()
    with pytest.raises(ConfigurationError):
        home.open()
    (home.folder / "videos" / "first").mkdir(parents=True)
    assert home.chosen() == "redis"
    home.add("second")
    assert (home.folder / MEMORY).read_text() == "redis\n"


def test_a_worker_keeps_its_queue(home: Home, tmp_path: Path) -> None:
    """A worker that started on an empty server can start again when another home has added jobs to it."""
    with home.open() as engine:
        PullWorker(engine, concurrency=1, burst=True).run()
    assert (home.folder / MEMORY).read_text() == "redis\n"
    Home(tmp_path / "producer", home.server).add("first", "redis")
    assert home.chosen() == "redis"


def test_a_store_that_cannot_be_read_is_not_replaced(home: Home) -> None:
    """A damaged store of a home that remembers nothing is an error, although a server is running."""
    home.add("first", "local")
    (home.folder / "jobs.sqlite3").write_bytes(b"no database")
    with pytest.raises(StoreBroken, match="not a job store"):
        home.open()


def test_jobs_in_another_store_are_reported(home: Home) -> None:
    """Unfinished jobs of this home that the chosen queue does not use are in the verdicts, `status` and `doctor`."""
    home.add("left-behind", "local")
    home.environment["REDIS_URL"] = home.server.url
    with home.open() as engine:
        status = describe_queue(engine)
        (other,) = status["other_stores"]
        assert other == {"queue_type": "local", "place": f"sqlite://{home.folder}/jobs.sqlite3", "unfinished": 1}
        (verdict,) = [one for one in status["verdicts"] if one["code"] == "jobs-elsewhere"]
        assert verdict["text"] == "1 unfinished job of this home is in a store that the redis queue does not use"
    (finding,) = [one for one in examine(home.environment) if one.code == "jobs-elsewhere"]
    assert finding.state == "warning"
    with home.open("local") as engine:
        engine.cancel("left-behind")
    with home.open() as engine:
        assert engine.other_stores == ()


def test_an_invalid_memory_is_an_error(home: Home) -> None:
    """A damaged memory is an error that names the file, not a reason to choose again."""
    home.folder.mkdir()
    (home.folder / MEMORY).write_text("somewhere\n")
    with pytest.raises(ConfigurationError, match="does not contain a queue type"):
        home.chosen()


def test_a_home_that_cannot_remember_still_works(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """If the memory cannot be written, jobs are added all the same, and a warning names the setting to use."""
    home.folder.write_text("a file instead of a folder")
    home.add("first")
    assert "TENXSOM_QUEUE_TYPE=redis" in caplog.text


def test_a_summary_creates_nothing(home: Home) -> None:
    """Looking for jobs in a store that does not exist creates neither a file nor a key."""
    settings = load(home.environment)
    missing = f"sqlite://{home.folder}/jobs.sqlite3"
    with home.open("redis") as engine:
        clock = engine.clock
    with redis.Redis(port=home.server.port) as client:
        client.flushall()
        assert summarize_store("redis", home.server.url, settings.redis.key, clock) is None
        assert client.keys("*") == []
    assert summarize_store("sqlite", missing, "", clock) is None
    assert not (home.folder / "jobs.sqlite3").exists()
