"""Settings: defaults, valid and invalid values, the environment file, and which module reads the environment."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tenxsom_flow_engine
from tenxsom_flow_engine import settings
from tenxsom_flow_engine.env import Secret
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.output.address import BucketAddress
from tenxsom_flow_engine.output.keep import KeepVideos
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.pixverse.config import PixVerseConfig
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.services.simulated.config import SimulatedConfig, SimulationPlan
from tenxsom_flow_engine.settings import BucketSettings, RedisSettings, Settings, WebSettings

PACKAGE = Path(tenxsom_flow_engine.__file__).parent


#: Tests must not read the environment file of this machine.
load = partial(settings.load, default_file=Path("/nonexistent.env"))

DEFAULTS: dict[str, Any] = {
    "queue_type": "auto",
    "fallback": "",
    "x_display": "",
    "wayland_display": "",
    "max_dispatches_per_second": 10.0,
    "max_concurrent_dispatches": 5,
    "lease": 30.0,
    "schedule_horizon": 86_400.0,
    "keep_days": 30.0,
    "keep_jobs": 100_000,
    "keep_videos": KeepVideos(),
    "limits": {
        **{name: parse_windows(spec.quotas) for name, spec in service_specs().items() if spec.quotas},
        "global": parse_windows("5/s 50/m 500/h 2000/d"),
    },
    "store": None,
    "redis": RedisSettings(None, "", 6379, "tenxsom_flow_engine:job_queue"),
    "web": WebSettings(port=8080, concurrency=5, allow_unauthenticated=False, token_certs_url=""),
    "admin_token": None,
    "public_url": "",
    "mcp_key": None,
    "allow_private_downloads": False,
    "allow_private_webhooks": False,
    "on_video": (),
    "services": {name: spec.config() for name, spec in service_specs().items() if spec.config and not spec.switch},
    "bucket": BucketSettings(),
    "budgets": {},
    "unknown_price": None,
}


def test_defaults() -> None:
    """Without variables, every setting has its documented default, and all paths are in the user's data folder."""
    found = load({})
    assert {name: getattr(found, name) for name in DEFAULTS} == DEFAULTS
    assert found.home.is_absolute()
    assert found.output_dir == found.home / "videos"
    assert {field.name for field in dataclasses.fields(Settings)} == {*DEFAULTS, "home", "output_dir", "cloud_tasks"}


QUOTAS = {"pixverse": "1/s 10/m 100/h", "ltx_studio": "2/s 20/m 200/h", "heygen": "3/s 30/m 300/h"}


@pytest.mark.parametrize(("service", "quotas"), QUOTAS.items())
def test_default_limits(service: str, quotas: str) -> None:
    """Without variables, the paid creates of a service are limited to its documented quotas."""
    assert load({}).limits[service] == parse_windows(quotas)


def test_the_home_moves_all_that_is_in_it(tmp_path: Path) -> None:
    """The output folder is in `TENXSOM_HOME` unless it is set."""
    found = load({"TENXSOM_HOME": str(tmp_path)})
    assert found.output_dir == tmp_path / "videos"


GOOD: list[tuple[str, str, str, Any]] = [
    ("TENXSOM_HOME", "/srv/flow", "home", Path("/srv/flow")),
    ("TENXSOM_OUTPUT_DIR", "/srv/my videos", "output_dir", Path("/srv/my videos")),
    ("TENXSOM_OUTPUT_DIR", "gs://my-videos/fun/", "output_dir", BucketAddress("gs", "my-videos", "fun")),
    (
        "TENXSOM_OUTPUT_DIR",
        "s3://videos?endpoint=https://r2.example.com/&region=auto",
        "output_dir",
        BucketAddress("s3", "videos", "", "https://r2.example.com", "auto"),
    ),
    ("TENXSOM_QUEUE_TYPE", "local", "queue_type", "local"),
    ("TENXSOM_STORE", "sqlite:///x/y.sqlite3", "store", "sqlite:///x/y.sqlite3"),
    ("CLOUD_TASKS_MAX_DISPATCHES", "0.5", "max_dispatches_per_second", 0.5),
    ("CLOUD_TASKS_MAX_DISPATCHES", " 500 ", "max_dispatches_per_second", 500.0),
    ("CLOUD_TASKS_MAX_CONCURRENT", "5000", "max_concurrent_dispatches", 5000),
    ("TENXSOM_LEASE_SECONDS", "0.5", "lease", 0.5),
    ("TENXSOM_SCHEDULE_HORIZON", "36h", "schedule_horizon", 129_600.0),
    ("TENXSOM_SCHEDULE_HORIZON", "28d", "schedule_horizon", 2_419_200.0),
    ("TENXSOM_KEEP_DAYS", "0.01", "keep_days", 0.01),
    ("TENXSOM_KEEP_JOBS", "0", "keep_jobs", 0),
    ("TENXSOM_ALLOW_PRIVATE_DOWNLOADS", "True", "allow_private_downloads", True),
    ("TENXSOM_ALLOW_PRIVATE_DOWNLOADS", "no", "allow_private_downloads", False),
    ("TENXSOM_ALLOW_PRIVATE_WEBHOOKS", "1", "allow_private_webhooks", True),
    ("TENXSOM_ON_VIDEO", "/opt/publish 'to all' -v", "on_video", ("/opt/publish", "to all", "-v")),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), GOOD)
def test_good_values(variable: str, text: str, name: str, value: Any) -> None:
    """A valid value is read; an empty variable gives the default."""
    assert getattr(load({variable: text}), name) == value
    assert getattr(load({variable: "  "}), name) == getattr(load({}), name)


REDIS: list[tuple[dict[str, str], str, bool]] = [
    ({}, "redis://localhost:6379/0", False),
    ({"REDIS_URL": "rediss://u:p@cache:1/2"}, "rediss://u:p@cache:1/2", True),
    ({"REDIS_URL": "redis://cache", "REDIS_HOST": "other"}, "redis://cache", True),
    ({"REDIS_HOST": "cache"}, "redis://cache:6379/0", True),
    ({"REDIS_PORT": "7000"}, "redis://localhost:7000/0", False),
]


@pytest.mark.parametrize(("variables", "address", "named"), REDIS)
def test_the_redis_server(variables: dict[str, str], address: str, named: bool) -> None:
    """A Redis server is set by its URL, which wins, or by its host; a port alone sets none."""
    found = load(variables).redis
    assert (found.address, found.named) == (address, named)
    assert load({"REDIS_QUEUE_KEY": "mine"}).redis.key == "mine"


def test_ipv6_addresses_of_redis() -> None:
    """An IPv6 address in REDIS_HOST works with and without brackets."""
    for host in ("::1", "[::1]"):
        assert load({"REDIS_HOST": host}).redis.address == "redis://[::1]:6379/0"


def test_the_variables_of_a_kubernetes_service_are_ignored() -> None:
    """A Service called `redis` makes Kubernetes set REDIS_PORT to a URL, which is not the port of our server."""
    link = {"REDIS_PORT": "tcp://10.96.7.7:6380"}
    assert load(link).redis == load({}).redis
    assert load(link | {"REDIS_HOST": "cache"}).redis.address == "redis://cache:6379/0"
    assert load(link | {"REDIS_URL": "redis://cache:7000/1"}).redis.address == "redis://cache:7000/1"


def test_a_redis_url_replaces_host_and_port() -> None:
    """If REDIS_URL is set, REDIS_HOST and REDIS_PORT are not read, so they can be invalid."""
    assert load({"REDIS_URL": "redis://cache/0", "REDIS_PORT": "x"}).redis.address == "redis://cache/0"


CLOUD = {
    "GOOGLE_CLOUD_PROJECT": "p-1",
    "CLOUD_TASKS_WORKER_URL": "https://worker.example/",
    "CLOUD_TASKS_SERVICE_ACCOUNT": "caller@p-1.iam.gserviceaccount.com",
}


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without credentials, on a machine outside Google."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def test_cloud_tasks(tmp_path: Path, empty_home: Path) -> None:
    """The queue, its worker and its account are read; the audience defaults to the worker's address."""
    found = load({"CLOUDSDK_CONFIG": str(tmp_path), **CLOUD}).cloud_tasks
    assert (found.project, found.location, found.queue) == ("p-1", "us-central1", "tenxsom-video-generation")
    assert (found.worker_url, found.audience) == ("https://worker.example", "https://worker.example")
    assert found.service_account == CLOUD["CLOUD_TASKS_SERVICE_ACCOUNT"]
    assert (found.credentials_file, found.metadata_server, found.emulator_host) == (None, False, "")
    assert load(CLOUD | {"CLOUD_TASKS_AUDIENCE": "flow"}).cloud_tasks.audience == "flow"
    assert load({"K_SERVICE": "flow"}).cloud_tasks.metadata_server


def test_credentials_in_a_folder_of_another_user(tmp_path: Path, empty_home: Path) -> None:
    """Credentials of gcloud that this user cannot look for count as missing."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    environment = {"TENXSOM_HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(closed / "gcloud")}
    root = os.geteuid() == 0  # whom no mode keeps out
    try:
        if root:
            os.seteuid(65534)
        assert load(environment).cloud_tasks.credentials_file is None
    finally:
        if root:
            os.seteuid(0)
        closed.chmod(0o700)


@pytest.mark.parametrize("kept", [False, True], ids=["named", "kept by gcloud"])
def test_a_key_file_provides_project_and_account(tmp_path: Path, kept: bool) -> None:
    """Values in the credentials file are defaults; variables win."""
    file = tmp_path / "application_default_credentials.json"
    file.write_text(json.dumps({"project_id": "p-2", "client_email": "key@p-2.iam.gserviceaccount.com"}))
    where = {"CLOUDSDK_CONFIG": str(tmp_path)} if kept else {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    found = load(where).cloud_tasks
    assert (found.project, found.service_account) == ("p-2", "key@p-2.iam.gserviceaccount.com")
    assert found.credentials_file == file
    assert load(where | CLOUD).cloud_tasks.project == "p-1"


def google(**variables: str) -> tuple[str, str, str, str]:
    """Return the credentials file's name and its origin, and the project and its origin."""
    found = load(variables).cloud_tasks
    file = found.credentials_file.name if found.credentials_file else ""
    return file, found.credentials_origin, found.project, found.project_origin


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.skipif(load({}).cloud_tasks.on_google, reason="this machine has an identity of Google's")
def test_credentials_of_google_ai_ultra(empty_home: Path) -> None:
    """The file in the home folder is found where no other credentials are set, and never wins over any."""
    name, key = ".google-ai-ultra-credentials.json", empty_home / "key.json"
    write(empty_home / name, json.dumps({"type": "service_account", "project_id": "p-3", "client_email": "a@p-3.test"}))
    assert google() == (name, f"~/{name}", "p-3", f"~/{name}")
    assert load({}).cloud_tasks.identity == "a@p-3.test"
    assert google(GOOGLE_CLOUD_PROJECT="p-1")[2:] == ("p-1", "GOOGLE_CLOUD_PROJECT")
    # A named file is used even if it does not exist: its error is reported.
    assert google(GOOGLE_APPLICATION_CREDENTIALS=str(key))[:2] == ("key.json", "GOOGLE_APPLICATION_CREDENTIALS")
    assert google(K_SERVICE="flow") == ("", "metadata server", "", "metadata server")
    assert google(CLOUD_TASKS_EMULATOR_HOST="here:1")[:2] == ("", "")
    write(empty_home / ".config" / "gcloud" / "application_default_credentials.json", '{"type": "authorized_user"}')
    assert google()[:2] == ("application_default_credentials.json", "gcloud")
    assert load({}).cloud_tasks.identity == "authorized_user"


def test_the_project_of_gcloud(empty_home: Path, tmp_path: Path) -> None:
    """The project of gcloud's active configuration is used if no variable and no key file names one."""
    folder = empty_home / ".config" / "gcloud"
    key = tmp_path / "key.json"
    write(key, json.dumps({"type": "service_account", "project_id": "p-2"}))
    assert google()[2:] == ("", "")
    write(folder / "configurations" / "config_default", "[core]\naccount = me\nproject = p-4\n")
    assert google()[2:] == ("p-4", "gcloud's configuration default")
    write(folder / "configurations" / "config_work", "[compute]\nzone = x\n[core]\nproject = p-5\n")
    write(folder / "active_config", "work\n")
    assert google()[2:] == ("p-5", "gcloud's configuration work")
    assert google(CLOUDSDK_ACTIVE_CONFIG_NAME="default")[2:] == ("p-4", "gcloud's configuration default")
    assert google(CLOUDSDK_CORE_PROJECT="p-6")[2:] == ("p-6", "CLOUDSDK_CORE_PROJECT")
    assert google(CLOUDSDK_CONFIG=str(tmp_path))[2:] == ("", "")
    assert google(GOOGLE_APPLICATION_CREDENTIALS=str(key))[2:] == ("p-2", "GOOGLE_APPLICATION_CREDENTIALS")
    assert google(GOOGLE_CLOUD_PROJECT="p-1")[2:] == ("p-1", "GOOGLE_CLOUD_PROJECT")
    assert google(K_SERVICE="flow")[2:] == ("", "metadata server")
    for text in ("project = p-7", "[core", "[core]\nproject\n", "[core]\n"):
        write(folder / "configurations" / "config_work", text)
        assert google()[2:] == ("", "")
    (folder / "configurations" / "config_work").write_bytes(b"\xff\xfe")
    assert google()[2:] == ("", "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"project_id": 7}'])
def test_a_bad_key_file_does_not_prevent_loading(tmp_path: Path, empty_home: Path, text: str) -> None:
    """An invalid key file does not prevent reading the settings, because most commands do not need it."""
    file = tmp_path / "key.json"
    file.write_text(text)
    assert load({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}).cloud_tasks.project == ""


WEB: list[tuple[str, str, str, Any]] = [
    ("PORT", "9000", "port", 9000),
    ("TENXSOM_WORKER_CONCURRENCY", "256", "concurrency", 256),
    ("CLOUD_TASKS_MAX_CONCURRENT", "20", "concurrency", 20),
    ("CLOUD_TASKS_MAX_CONCURRENT", "5000", "concurrency", 64),
    ("TENXSOM_ALLOW_UNAUTHENTICATED", "True", "allow_unauthenticated", True),
    ("TENXSOM_ALLOW_UNAUTHENTICATED", "no", "allow_unauthenticated", False),
    ("TENXSOM_TOKEN_CERTS_URL", "http://localhost:1/certs", "token_certs_url", "http://localhost:1/certs"),
    (
        "TENXSOM_API_ORIGINS",
        "https://App.example.org/, http://[::1]:5173",
        "api_origins",
        ("https://app.example.org", "http://[::1]:5173"),
    ),
    ("TENXSOM_ALLOWED_HOSTS", "Ops.example.org, b.example.,", "allowed_hosts", ("ops.example.org", "b.example")),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), WEB)
def test_good_values_of_the_web_worker(variable: str, text: str, name: str, value: Any) -> None:
    """A push worker's concurrency defaults to the queue's limit of concurrent steps."""
    assert getattr(load({variable: text}).web, name) == value
    assert load({variable: "  "}).web == load({}).web


def test_limits_over_the_built_in_ones() -> None:
    """A named service gets the given limits, possibly none; other services keep theirs."""
    found = load({"TENXSOM_LIMITS": "pixverse=2/s, 100/15m; simulated=50/s; heygen=none"}).limits
    assert found["pixverse"] == parse_windows("2/s 100/15m")
    assert found["simulated"] == parse_windows("50/s")
    assert found["heygen"] == ()
    assert found["ltx_studio"] == load({}).limits["ltx_studio"]


def test_budgets() -> None:
    """Budgets are read by scope, and the price of videos without a known one may be nothing."""
    found = load({"TENXSOM_BUDGETS": "all=40/d; channel:fun=10/d,200/mo Europe/Berlin", "TENXSOM_UNKNOWN_PRICE": "0"})
    assert [str(budget) for budget in found.budgets.values()] == ["all 40/d", "channel:fun 10/d 200/mo Europe/Berlin"]
    assert found.unknown_price == 0
    assert (load({}).budgets, load({}).unknown_price) == ({}, None)


BAD = [
    (
        "TENXSOM_LIMITS",
        [
            "pixverse",
            "pixverse=",
            "pixverse=fast",
            "pixverse=0/s",
            "pixverse=1/0s",
            "pixverse=1/w",
            "pixverse=1/s 2/s",
            "=1/s",
            "pixverse=1000000/s",
            "pixverse=1/40d",
        ],
    ),
    (
        "TENXSOM_BUDGETS",
        ["40/d", "all", "all=40", "all=-1/d", "all=1/y", "fun=1/d", "all=1/d Mars", "all=1/d;all=2/d"],
    ),
    ("TENXSOM_UNKNOWN_PRICE", ["-1", "cheap", "nan"]),
    ("CLOUD_TASKS_WORKER_URL", ["worker.example", "ftp://worker.example"]),
    ("PORT", ["-1", "65536", "http"]),
    ("TENXSOM_WORKER_CONCURRENCY", ["0", "257", "few"]),
    ("TENXSOM_ALLOW_UNAUTHENTICATED", ["maybe", "2", "on"]),
    ("TENXSOM_API_ORIGINS", ["*", "app.example.org", "https://app.example.org/page", "file://x"]),
    ("TENXSOM_ALLOWED_HOSTS", ["https://ops.example.org", "ops.example.org:443", "*.example.org", "a b"]),
    ("CLOUD_TASKS_MAX_DISPATCHES", ["0", "-1", "501", "fast", "nan", "inf", "1,5", "0x10"]),
    ("CLOUD_TASKS_MAX_CONCURRENT", ["0", "5001", "2.5", "many", "1e3", "9" * 5000]),
    ("TENXSOM_LEASE_SECONDS", ["0", "0.4", "3601", "30s", "nan"]),
    ("TENXSOM_SCHEDULE_HORIZON", ["24", "59m", "29d", "a day", "-1d", "1 d"]),
    ("TENXSOM_KEEP_DAYS", ["0", "3651", "a week"]),
    ("TENXSOM_KEEP_VIDEOS", ["30", "0d", "200", "1d 1GB"]),
    ("TENXSOM_KEEP_JOBS", ["-1", "10000001", "1.5", "all"]),
    ("REDIS_PORT", ["0", "65536", "redis"]),
    ("TENXSOM_ALLOW_PRIVATE_DOWNLOADS", ["maybe", "2"]),
    ("TENXSOM_ALLOW_PRIVATE_WEBHOOKS", ["maybe", "2"]),
    ("TENXSOM_ON_VIDEO", ["'publish", "''"]),
    ("TENXSOM_HOME", ["~no-such-user-here/flow"]),
    (
        "TENXSOM_OUTPUT_DIR",
        [
            "~no-such-user-here/flow",
            "ftp://videos",
            "gs://",
            "gs://Videos",
            "gs://key:secret@videos",
            "gs://videos/../x",
            "gs://videos/a b",
            "gs://videos?region=x",
            "s3://videos?endpoint=r2.example.com",
            "s3://[x",
            "s3://videos?endpoint=https://key:secret@r2.example.com",
        ],
    ),
    ("TENXSOM_ENV_FILE", ["/nowhere/at/all.env", "/", "~no-such-user-here/x.env"]),
]


@pytest.mark.parametrize(
    ("variable", "text"), [(variable, text) for variable, texts in BAD for text in texts], ids=lambda text: text[:40]
)
def test_bad_values(variable: str, text: str) -> None:
    """An invalid value is a configuration error that names the variable or the file."""
    with pytest.raises(ConfigurationError) as refusal:
        load({variable: text})
    assert variable in str(refusal.value)


PIXVERSE = [
    ("USEAPI_BASE_URL", "https://mirror.example/v2", "base_url", "https://mirror.example/v2"),
    ("USEAPI_PIXVERSE_CREATE_PATH", "/pixverse/videos/create-v5", "create_path", "/pixverse/videos/create-v5"),
    ("USEAPI_PIXVERSE_MODEL", "v7", "model", "v7"),
    ("USEAPI_PIXVERSE_EMAIL", "me@example.org", "email", "me@example.org"),
    ("USEAPI_PIXVERSE_SLOTS", "8", "max_in_flight", 8),
    ("USEAPI_PIXVERSE_PRICES", "720p=7, 1080p=14.5", "prices", {"720p": 7.0, "1080p": 14.5}),
    ("USEAPI_PIXVERSE_USD_PER_CREDIT", "0.01", "usd_per_credit", 0.01),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), PIXVERSE)
def test_pixverse(variable: str, text: str, name: str, value: Any) -> None:
    """A token enables PixVerse, with the quotas of UseAPI unless another variable changes them."""
    usual, changed = (
        load({"USEAPI_TOKEN": "user:1-abc", variable: value}).services["pixverse"] for value in ("", text)
    )
    assert usual == PixVerseConfig(Secret("user:1-abc"))
    assert getattr(changed, name) == value


LTX = [
    ("LTX_BASE_URL", "https://api.ltx.video", "base_url", "https://api.ltx.video"),
    ("LTX_MODEL", "ltx-2-3-pro", "model", "ltx-2-3-pro"),
    ("LTX_SLOTS", "4", "max_in_flight", 4),
    ("LTX_PRICES", "720p=0.1 4k=0.5", "prices", {"720p": 0.1, "4k": 0.5}),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), LTX)
def test_ltx(variable: str, text: str, name: str, value: Any) -> None:
    """A key enables LTX, with the vendor's defaults unless another variable changes them."""
    usual, changed = (load({"LTX_API_KEY": "ltx-abc", variable: value}).services["ltx_studio"] for value in ("", text))
    assert usual == LtxConfig(Secret("ltx-abc"))
    assert getattr(changed, name) == value


HEYGEN = [
    ("HEYGEN_BASE_URL", "https://mirror.example", "base_url", "https://mirror.example"),
    ("HEYGEN_AVATAR_ID", "look_1", "avatar_id", "look_1"),
    ("HEYGEN_VOICE_ID", "v_1", "voice_id", "v_1"),
    ("HEYGEN_SLOTS", "20", "max_in_flight", 20),
    ("HEYGEN_PRICES", "agent=0.1, avatar_v=0.2", "prices", {"agent": 0.1, "avatar_v": 0.2}),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), HEYGEN)
def test_heygen(variable: str, text: str, name: str, value: Any) -> None:
    """A key enables HeyGen, with the vendor's defaults unless another variable changes them."""
    usual, changed = (load({"HEYGEN_API_KEY": "hg-abc", variable: value}).services["heygen"] for value in ("", text))
    assert usual == HeyGenConfig(Secret("hg-abc"))
    assert getattr(changed, name) == value


def test_the_simulated_service() -> None:
    """The simulated service is always configured and behaves as its variable specifies."""
    found = load({"TENXSOM_SIMULATED": "latency=60 busy=0.02"}).services
    assert found["simulated"] == SimulatedConfig(SimulationPlan(latency=60.0, busy=0.02))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TENXSOM_SIMULATED", "luck=1"),
        ("USEAPI_TOKEN", "geheim und mehr"),
        ("USEAPI_BASE_URL", "http://api.useapi.net/v2"),
        ("USEAPI_PIXVERSE_SLOTS", "0"),
        ("USEAPI_PIXVERSE_PRICES", "720p"),
        ("USEAPI_PIXVERSE_PRICES", "720p=cheap"),
        ("USEAPI_PIXVERSE_PRICES", "720p=-1"),
        ("USEAPI_PIXVERSE_USD_PER_CREDIT", "-1"),
        ("LTX_API_KEY", "geheim und mehr"),
        ("LTX_BASE_URL", "ftp://api.ltx.io"),
        ("LTX_SLOTS", "0"),
        ("LTX_PRICES", "720p=-1"),
        ("HEYGEN_API_KEY", "geheim und mehr"),
        ("HEYGEN_BASE_URL", "http://api.heygen.com"),
        ("HEYGEN_SLOTS", "many"),
        ("HEYGEN_PRICES", "agent"),
    ],
)
def test_bad_values_of_services(variable: str, text: str) -> None:
    """An error about an invalid value names its variable and does not contain a key."""
    keys = {"USEAPI_TOKEN": "user:1-abc", "LTX_API_KEY": "ltx-abc", "HEYGEN_API_KEY": "hg-abc"}
    with pytest.raises(ConfigurationError, match=variable) as refusal:
        load(keys | {variable: text})
    assert "geheim" not in str(refusal.value)


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is resolved against the present working folder, and `~` is the user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/user")
    found = load({"TENXSOM_HOME": "flow", "TENXSOM_OUTPUT_DIR": "~/videos"})
    assert (found.home, found.output_dir) == (tmp_path / "flow", Path("/home/user/videos"))


def test_settings_are_frozen() -> None:
    """Settings are immutable."""
    with pytest.raises(AttributeError):
        load({}).lease = 1.0  # type: ignore[misc]


def test_the_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, the process's environment is read."""
    monkeypatch.setenv("TENXSOM_LEASE_SECONDS", "77")
    assert load().lease == 77.0


class EnvFile(NamedTuple):
    """An environment file and a function that reads settings with it."""

    path: Path
    load: Callable[[], Settings]


@pytest.fixture(params=["named", "default"])
def env_file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvFile:
    """The environment file, once named by its variable and once at its default path."""
    path = tmp_path / "flow.env"
    if request.param == "named":
        monkeypatch.setenv("TENXSOM_ENV_FILE", str(path))
        return EnvFile(path, load)
    return EnvFile(path, partial(settings.load, default_file=path))


def test_the_file_lies_beneath_the_environment(env_file: EnvFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file provides values for variables that the environment does not set."""
    env_file.path.write_text(
        "# a comment\nTENXSOM_LEASE_SECONDS=44\nexport TENXSOM_KEEP_JOBS=7\n\nTENXSOM_KEEP_DAYS='3'\n"
        'TENXSOM_HOME="/srv/with space"\nREDIS_QUEUE_KEY=${HOME}\n',
        "utf-8",
    )
    monkeypatch.setenv("TENXSOM_LEASE_SECONDS", "55")
    found = env_file.load()
    assert (found.lease, found.keep_jobs, found.keep_days, found.home) == (55.0, 7, 3.0, Path("/srv/with space"))
    assert found.redis.key == "${HOME}"


def test_a_bad_value_in_the_file_names_the_variable(env_file: EnvFile) -> None:
    """An invalid value in the file is reported like one in the environment."""
    env_file.path.write_text("TENXSOM_LEASE_SECONDS=soon\n", "utf-8")
    with pytest.raises(ConfigurationError, match="TENXSOM_LEASE_SECONDS"):
        env_file.load()


def test_a_binary_file(env_file: EnvFile) -> None:
    """An unreadable file is an error with its name and the next step."""
    env_file.path.write_bytes(b"TENXSOM_HOME=\xff\xfe\n")
    with pytest.raises(ConfigurationError) as refusal:
        env_file.load()
    assert str(env_file.path) in refusal.value.message
    assert refusal.value.next_step


def test_the_file_does_not_change_the_environment(env_file: EnvFile) -> None:
    """Reading the settings does not change the process's environment."""
    env_file.path.write_text("TENXSOM_LEASE_SECONDS=44\n", "utf-8")
    before = dict(os.environ)
    env_file.load()
    assert dict(os.environ) == before


def _reads_environment(tree: ast.AST) -> list[int]:
    """Return the lines in which a module accesses the process's environment, under any imported name."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    lines = []
    for node in ast.walk(tree):
        touched: set[str] = set()
        if isinstance(node, ast.Attribute):
            # A WSGI request has an attribute of the same name.
            touched = {node.attr} if ast.unparse(node.value) != "request" else set()
        elif isinstance(node, ast.Name):
            touched = {node.id}
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "posix"):
            touched = {alias.name for alias in node.names}
        if touched & names:
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return lines


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_desktop_is_recognised(name: str) -> None:
    """A display means that a desktop can open files; without one, only macOS can."""
    assert load({name: ":0"}).desktop
    assert load({name: ""}).desktop == (sys.platform == "darwin")


def test_only_settings_reads_the_environment() -> None:
    """No other module of the package, and no entry point, reads the environment."""
    root = PACKAGE.parent
    files = [
        *PACKAGE.rglob("*.py"),
        *root.glob("*.py"),
    ]
    found = {
        str(path.relative_to(root)): lines
        for path in files
        if (lines := _reads_environment(ast.parse(path.read_text("utf-8"))))
    }
    assert set(found) == {"tenxsom_flow_engine/settings.py"}


@pytest.mark.parametrize("line", ["os.environ['A']", "from os import environ as e", "os.getenv('A')", "x = environ"])
def test_the_walk_sees_every_way(line: str) -> None:
    """The check above detects each way to access the environment."""
    assert _reads_environment(ast.parse(line)) == [1]


def test_secrets_are_not_shown() -> None:
    """The `repr` of the settings does not contain the password of a URL."""
    given = {"REDIS_URL": "redis://:geheim@cache:6379/0", "TENXSOM_STORE": "rediss://u:geheim-2@b/0"}
    found = load(given | {"USEAPI_TOKEN": "geheim-3"})
    assert "geheim" not in repr(found)
    assert found.secrets == {"geheim", "geheim-2", "geheim-3"}


def test_a_password_in_the_workers_address_is_refused() -> None:
    """The worker's URL, which is displayed and sent to Google, cannot contain a login; the refusal does not show it."""
    with pytest.raises(ConfigurationError, match="CLOUD_TASKS_WORKER_URL") as refused:
        load({"CLOUD_TASKS_WORKER_URL": "https://flow:geheim@worker.example"})
    assert "geheim" not in str(refused.value)
    assert load({"CLOUD_TASKS_WORKER_URL": "https://worker.example/@flow"}).cloud_tasks.worker_url
