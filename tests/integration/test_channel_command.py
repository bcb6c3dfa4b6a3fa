"""`channel`: settings by command and by file, the defaults of jobs, and the figures of the month."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.samples import TICKET, a_claim
from tests.command_runner import Run, runner


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home with the service pixverse."""
    return {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local", "USEAPI_TOKEN": "t"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    return runner(environment)


@pytest.fixture
def engine(environment: dict[str, str]) -> Engine:
    return open_engine(load(environment))


def test_settings_by_command(run: Run, engine: Engine) -> None:
    """Settings are set one by one, shown, reset with `none`, and removed."""
    assert run("channel", "set", "fun", "--weight", "2", "--limits", "4/h", "--slots", "2").exception is None
    assert run("channel", "set", "fun", "--style", "retro", "--duration", "8").exception is None
    assert engine.store.channel("fun") == Channel(
        weight=2, limits="4/h", slots=2, defaults={"style": "retro", "duration": 8}
    )
    assert "resume it with" in run("channel", "pause", "fun", "--why", "holiday").stderr
    (shown,) = json.loads(run("channel", "list", "--json").stdout)["channels"]
    assert (shown["channel"], shown["paused"], shown["why"], shown["slots"]) == ("fun", True, "holiday", 2)
    assert "paused: holiday" in run("channel", "show", "fun").stdout
    run("channel", "resume", "fun")
    run("channel", "set", "fun", "--limits", "none", "--slots", "none", "--style", "none", "--duration", "none")
    assert engine.store.channel("fun") == Channel(weight=2)
    run("channel", "remove", "fun")
    assert engine.store.channels() == {}
    assert "has no settings" in str(run("channel", "remove", "fun").exception)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--weight", "0"], "weight"),
        (["--slots", "none at all"], "slots"),
        (["--limits", "fast"], "limits"),
        (["--service", "nosuch"], "service"),
        (["--style", "nosuch"], "style"),
        (["--duration", "900"], "duration"),
        ([], "at least one setting"),
    ],
)
def test_wrong_settings_are_refused(run: Run, engine: Engine, words: list[str], reason: str) -> None:
    """A wrong value is refused with its name, and nothing is stored; so is a command without a setting."""
    assert reason in str(run("channel", "set", "fun", *words).exception)
    assert engine.store.channels() == {}


def test_a_file_of_channels(run: Run, engine: Engine, tmp_path: Path) -> None:
    """A file sets the channels that it names; applying it again changes nothing, nor does a dry run."""
    run("channel", "set", "other", "--weight", "7")
    file = tmp_path / "channels.toml"
    file.write_text('[fun]\nweight = 2\nlimits = "20/d, 4/h"\n[fun.defaults]\nstyle = "retro"\n[news]\nslots = 1\n')
    assert "would change 2 channels of 2: fun, news" in run("channel", "apply", str(file), "--dry-run").stderr
    assert list(engine.store.channels()) == ["other"]
    assert "changed 2 channels of 2: fun, news" in run("channel", "apply", str(file)).stderr
    assert "changed 0 channels of 2" in run("channel", "apply", str(file)).stderr
    fun = Channel(weight=2, limits="4/h 20/d", defaults={"style": "retro"})
    assert engine.store.channels() == {"fun": fun, "news": Channel(slots=1), "other": Channel(weight=7)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[fun\n", "not TOML"),
        ("fun = 2\n", "is not a table"),
        ("[fun]\nwight = 2\n", "fun.wight"),
        ('[fun]\nweight = "2"\n', "fun"),
        ("[fun]\nslots = 0\n", "slots"),
        ('[fun]\nlimits = "x"\n', "limits"),
        ('[fun.defaults]\ntopic = "x"\n', "topic"),
        ('[fun.defaults]\nservice = "nosuch"\n', "service"),
        ('["a b"]\nweight = 2\n', "channel"),
    ],
)
def test_a_wrong_file_changes_nothing(run: Run, engine: Engine, tmp_path: Path, text: str, reason: str) -> None:
    """A wrong file is refused with the channel or the key, and no channel is changed."""
    file = tmp_path / "channels.toml"
    file.write_text(f"[good]\nweight = 3\n{text}" if text.startswith("[") else text)
    error = run("channel", "apply", str(file)).exception
    assert isinstance(error, InvalidInput)
    assert reason in str(error)
    assert engine.store.channels() == {}


def test_defaults_of_a_channel(run: Run, engine: Engine, tmp_path: Path) -> None:
    """Jobs get the defaults of their channel for what their command or line omits; ids do not depend on them."""
    before = run("single", "--topic", "Tides", "--channel", "fun", "--at", "2099-01-01T10:00Z").stdout.strip()
    run("channel", "set", "fun", "--style", "retro", "--service", "pixverse")
    topics = tmp_path / "topics.csv"
    topics.write_text("topic,channel,style,priority\nA,fun,,4\nB,fun,animation,\nC,,,\n")
    ids = run("batch", "--topics-file", str(topics)).stdout.split()
    jobs = [engine.store.require(job_id).job for job_id in ids]
    assert [(job.style, job.service == "pixverse", job.priority) for job in jobs] == [
        ("retro", True, 4), ("animation", True, 0), ("documentary", False, 0)
    ]  # fmt: skip
    once = run("single", "--topic", "D", "--channel", "fun", "--style", "documentary", "--priority", "9").stdout.strip()
    assert (engine.store.require(once).job.style, engine.store.require(once).job.priority) == ("documentary", 9)
    assert before == run("single", "--topic", "Tides", "--channel", "fun", "--at", "2099-01-01T10:00Z").stdout.strip()


def test_the_month_of_a_channel(run: Run, engine: Engine) -> None:
    """`cost`, `stats` and `status` show the purchases of the month by channel, and the next start."""
    run("single", "--topic", "Tides", "--channel", "fun", "--service", "pixverse", "--job-id", "a")
    run("single", "--topic", "Waves", "--channel", "fun", "--at", "2099-01-01T10:00Z")
    (record,) = engine.store.claim(a_claim(only="a", slots={"pixverse": 5})).records
    engine.store.intend("a", record.lease_token, Intent(submission_id="s", service="pixverse", lifetime=900.0))
    engine.store.accept("a", Receipt(submission_id="s", ticket=TICKET, lifetime=900.0, cost=record.cost))
    (fun,) = json.loads(run("stats").stdout)["channels"]
    assert (fun["channel"], fun["month"]["videos"], fun["next_due"]) == ("fun", 1, "2099-01-01T10:00:00.000Z")
    assert (
        fun
        == json.loads(run("status").stdout)["channels"][0]
        == json.loads(run("cost", "--json").stdout)["channels"][0]
    )
    assert "CHANNEL (THIS MONTH, UTC)" in run("cost").stdout
