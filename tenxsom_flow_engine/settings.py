"""What can be set from outside: one frozen value, and the only place that reads the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.rate_limits.windows import DEFAULT_LIMITS, Limits, parse_limits
from tenxsom_flow_engine.services.setups import (
    HeyGenSetup,
    LtxSetup,
    PixVerseSetup,
    check_base_url,
    check_key,
    read_prices,
)

_T = TypeVar("_T")
_N = TypeVar("_N", int, float)

#: Read beneath the environment where it exists and TENXSOM_ENV_FILE names no other.
DEFAULT_ENV_FILE = Path("/etc/tenxsom-flow-engine.env")


class Secret(str):
    """Text that may hold a password: shown as stars wherever it is written for people."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class CloudTasksSettings:
    """Where the Cloud Tasks queue is, who speaks to it, and where its worker listens. Empty text: not known."""

    #: GOOGLE_CLOUD_PROJECT, else the project of the credentials' file.
    project: str
    #: CLOUD_TASKS_LOCATION: the region of the queue.
    location: str
    #: CLOUD_TASKS_QUEUE: the queue's name.
    queue: str
    #: CLOUD_TASKS_WORKER_URL: the base address of the worker.
    worker_url: str
    #: CLOUD_TASKS_SERVICE_ACCOUNT: in whose name the worker is called, else the account of the credentials' file.
    service_account: str
    #: CLOUD_TASKS_AUDIENCE: whom the calls' tokens are meant for, else the worker's address.
    audience: str
    #: CLOUD_TASKS_EMULATOR_HOST: host:port of a plain-text Cloud Tasks API, which needs no credentials.
    emulator_host: str
    #: GOOGLE_APPLICATION_CREDENTIALS, else the file that gcloud keeps, if it is there.
    credentials_file: Path | None
    #: Whether GCE_METADATA_HOST or K_SERVICE (which Cloud Run sets) tells of a metadata server.
    metadata_server: bool


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How a worker that jobs are pushed to serves, and whom."""

    #: PORT: where it listens if no flag says otherwise; Cloud Run sets it.
    port: int
    #: TENXSOM_WORKER_CONCURRENCY: steps at once in each process.
    concurrency: int
    #: TENXSOM_ALLOW_UNAUTHENTICATED: whether deliveries are taken from anybody.
    allow_unauthenticated: bool
    #: TENXSOM_TOKEN_CERTS_URL: where an emulator publishes the certificates of its tokens; empty: Google's are used.
    token_certs_url: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process. Durations in seconds."""

    #: TENXSOM_HOME: where the engine keeps what is its own.
    home: Path
    #: TENXSOM_OUTPUT_DIR: the videos, one folder for each job.
    output_dir: Path
    #: TENXSOM_QUEUE_TYPE: the carrier of new jobs, or `auto`.
    queue_type: str
    #: TENXSOM_STORE: where records are kept, as a URL; None: where the queue is.
    store: str | None
    #: REDIS_URL, or made of REDIS_HOST and REDIS_PORT: the Redis server.
    redis_url: Secret
    #: Whether somebody has named a Redis server, so that it must be there.
    redis_named: bool
    #: REDIS_QUEUE_KEY: what our keys on the Redis server begin with.
    redis_key: str
    #: The variables of Google Cloud Tasks.
    cloud_tasks: CloudTasksSettings
    #: CLOUD_TASKS_MAX_DISPATCHES: steps in a second, over all workers of a queue.
    max_dispatches_per_second: float
    #: CLOUD_TASKS_MAX_CONCURRENT: steps at once, over all workers of a queue.
    max_concurrent_dispatches: int
    #: TENXSOM_LIMITS: the limits of the services and of all together, over the built-in ones.
    limits: Limits
    #: TENXSOM_LEASE_SECONDS: how long a job stays with a worker that gives no sign of life.
    lease: float
    #: TENXSOM_KEEP_DAYS: for how many days the records of finished jobs are kept.
    keep_days: float
    #: TENXSOM_KEEP_JOBS: how many records of finished jobs are kept.
    keep_jobs: int
    #: TENXSOM_SIMULATED: how the service `simulated` behaves (see `services.simulated.SimulationPlan`).
    simulated: str
    #: The variables of a worker that jobs are pushed to.
    web: WebSettings
    #: TENXSOM_ADMIN_TOKEN: what opens the dashboard; empty: one is made and kept in the home.
    admin_token: Secret
    #: TENXSOM_ALLOW_PRIVATE_DOWNLOADS: fetch videos from private addresses and over plain HTTP too.
    allow_private_downloads: bool
    #: The variables of PixVerse over UseAPI; None without USEAPI_TOKEN.
    pixverse: PixVerseSetup | None
    #: The variables of LTX; None without LTX_API_KEY.
    ltx: LtxSetup | None
    #: The variables of HeyGen; None without HEYGEN_API_KEY.
    heygen: HeyGenSetup | None

    @property
    def secrets(self) -> frozenset[str]:
        """All that must never be shown."""
        try:
            password = urlsplit(self.redis_url).password or ""
        except ValueError:
            password = ""
        setups = [getattr(self, own.name) for own in fields(self)]
        values = [getattr(one, own.name) for one in setups if is_dataclass(one) for own in fields(one)]
        keys = [str(value) for value in values if isinstance(value, Secret)]
        return frozenset(filter(None, (password, unquote(password), str(self.admin_token), *keys)))


def load(environment: Mapping[str, str] | None = None, *, over: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from a mapping, by default the process's environment, with a file beneath it.

    `over` holds variables that win over all others. Raises `ConfigurationError` naming the variable that is wrong.
    """
    values = _Values({**_with_file(os.environ if environment is None else environment), **(over or {})})
    redis_host = values.text("REDIS_HOST", "localhost")
    redis_port = values.whole("REDIS_PORT", 6379, least=1, most=65535)
    home = values.path("TENXSOM_HOME", default=_user_data_folder)
    return Settings(
        home=home,
        output_dir=values.path("TENXSOM_OUTPUT_DIR", default=lambda: home / "videos"),
        queue_type=values.text("TENXSOM_QUEUE_TYPE", "auto"),
        store=values.text("TENXSOM_STORE", "") or None,
        redis_url=Secret(values.text("REDIS_URL", f"redis://{redis_host}:{redis_port}/0")),
        redis_named=bool(values.text("REDIS_URL", "") or values.text("REDIS_HOST", "")),
        redis_key=values.text("REDIS_QUEUE_KEY", "tenxsom_flow_engine:job_queue"),
        cloud_tasks=_cloud_tasks(values),
        max_dispatches_per_second=values.number("CLOUD_TASKS_MAX_DISPATCHES", 10.0, least=0.001, most=500.0),
        max_concurrent_dispatches=_max_concurrent(values),
        limits={**DEFAULT_LIMITS, **values.limits("TENXSOM_LIMITS")},
        lease=values.number("TENXSOM_LEASE_SECONDS", 30.0, least=0.5, most=3600.0),
        keep_days=values.number("TENXSOM_KEEP_DAYS", 30.0, least=0.01, most=3650.0),
        keep_jobs=values.whole("TENXSOM_KEEP_JOBS", 100_000, least=0, most=10_000_000),
        simulated=values.text("TENXSOM_SIMULATED", ""),
        web=_web(values),
        admin_token=_admin_token(values),
        allow_private_downloads=values.switch("TENXSOM_ALLOW_PRIVATE_DOWNLOADS"),
        pixverse=_pixverse(values),
        ltx=_ltx(values),
        heygen=_heygen(values),
    )


def _cloud_tasks(values: _Values) -> CloudTasksSettings:
    folder = values.path("CLOUDSDK_CONFIG", lambda: Path("~/.config/gcloud").expanduser())
    kept = folder / "application_default_credentials.json"
    file = values.path("GOOGLE_APPLICATION_CREDENTIALS", lambda: kept)
    named = bool(values.text("GOOGLE_APPLICATION_CREDENTIALS", ""))
    facts = _facts(file)
    worker_url = values.text("CLOUD_TASKS_WORKER_URL", "").rstrip("/")
    if worker_url and not worker_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"CLOUD_TASKS_WORKER_URL must begin with https:// or http://, not {worker_url!r}")
    if worker_url and "@" in worker_url.split("/")[2]:
        # It is shown, and is the audience of tokens.
        raise ConfigurationError(
            "CLOUD_TASKS_WORKER_URL holds a user or password, which Cloud Tasks does not need: it brings a token",
            next_step="set it without what precedes the @, and let no proxy before the worker ask for a password",
        )
    return CloudTasksSettings(
        project=values.text("GOOGLE_CLOUD_PROJECT", "") or facts.get("project_id", ""),
        location=values.text("CLOUD_TASKS_LOCATION", "us-central1"),
        queue=values.text("CLOUD_TASKS_QUEUE", "tenxsom-video-generation"),
        worker_url=worker_url,
        service_account=values.text("CLOUD_TASKS_SERVICE_ACCOUNT", "") or facts.get("client_email", ""),
        audience=values.text("CLOUD_TASKS_AUDIENCE", worker_url),
        emulator_host=values.text("CLOUD_TASKS_EMULATOR_HOST", ""),
        credentials_file=file if named or kept.is_file() else None,
        metadata_server=bool(values.text("GCE_METADATA_HOST", "") or values.text("K_SERVICE", "")),
    )


def _pixverse(values: _Values) -> PixVerseSetup | None:
    token = values.text("USEAPI_TOKEN", "")
    if not token:
        return None
    usual = PixVerseSetup(token)
    return PixVerseSetup(
        token=Secret(check_key("USEAPI_TOKEN", token)),
        base_url=check_base_url("USEAPI_BASE_URL", values.text("USEAPI_BASE_URL", usual.base_url)),
        create_path=values.text("USEAPI_PIXVERSE_CREATE_PATH", usual.create_path),
        model=values.text("USEAPI_PIXVERSE_MODEL", usual.model),
        email=values.text("USEAPI_PIXVERSE_EMAIL", usual.email),
        slots=values.whole("USEAPI_PIXVERSE_SLOTS", usual.slots, least=1, most=1000),
        prices=read_prices("USEAPI_PIXVERSE_PRICES", values.text("USEAPI_PIXVERSE_PRICES", ""), "credits"),
        usd_per_credit=values.number("USEAPI_PIXVERSE_USD_PER_CREDIT", usual.usd_per_credit, least=0.0, most=100.0),
    )


def _ltx(values: _Values) -> LtxSetup | None:
    key = values.text("LTX_API_KEY", "")
    if not key:
        return None
    usual = LtxSetup(key)
    return LtxSetup(
        key=Secret(check_key("LTX_API_KEY", key)),
        base_url=check_base_url("LTX_BASE_URL", values.text("LTX_BASE_URL", usual.base_url)),
        model=values.text("LTX_MODEL", usual.model),
        slots=values.whole("LTX_SLOTS", usual.slots, least=1, most=1000),
        prices=read_prices("LTX_PRICES", values.text("LTX_PRICES", ""), "USD"),
    )


def _heygen(values: _Values) -> HeyGenSetup | None:
    key = values.text("HEYGEN_API_KEY", "")
    if not key:
        return None
    usual = HeyGenSetup(key)
    return HeyGenSetup(
        key=Secret(check_key("HEYGEN_API_KEY", key)),
        base_url=check_base_url("HEYGEN_BASE_URL", values.text("HEYGEN_BASE_URL", usual.base_url)),
        avatar_id=values.text("HEYGEN_AVATAR_ID", usual.avatar_id),
        voice_id=values.text("HEYGEN_VOICE_ID", usual.voice_id),
        slots=values.whole("HEYGEN_SLOTS", usual.slots, least=1, most=1000),
        prices=read_prices("HEYGEN_PRICES", values.text("HEYGEN_PRICES", ""), "USD"),
    )


def _facts(credentials_file: Path) -> dict[str, str]:
    """Return what a credentials file says in plain text, nothing where it cannot be read: whoever uses it says so."""
    try:
        facts = json.loads(credentials_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in facts.items() if isinstance(value, str)} if isinstance(facts, dict) else {}


#: Steps at once in a process that the queue's limit stands for at most; each takes a thread.
MOST_BY_DEFAULT = 64


def _web(values: _Values) -> WebSettings:
    # One process can then take all that the queue hands out, however unevenly it reaches several of them.
    at_once = min(_max_concurrent(values), MOST_BY_DEFAULT)
    return WebSettings(
        port=values.whole("PORT", 8080, least=0, most=65535),
        concurrency=values.whole("TENXSOM_WORKER_CONCURRENCY", at_once, least=1, most=256),
        allow_unauthenticated=values.switch("TENXSOM_ALLOW_UNAUTHENTICATED"),
        token_certs_url=values.text("TENXSOM_TOKEN_CERTS_URL", ""),
    )


#: A token of fewer characters could be guessed.
LEAST_ADMIN_TOKEN = 16


def _admin_token(values: _Values) -> Secret:
    token = values.text("TENXSOM_ADMIN_TOKEN", "")
    if token and len(token) < LEAST_ADMIN_TOKEN:
        raise ConfigurationError(
            f"TENXSOM_ADMIN_TOKEN must have at least {LEAST_ADMIN_TOKEN} characters",
            next_step="make one with: openssl rand -base64 24",
        )
    return Secret(token)


def _max_concurrent(values: _Values) -> int:
    return values.whole("CLOUD_TASKS_MAX_CONCURRENT", 5, least=1, most=5000)


class _Values:
    """Reads typed values out of text, naming the variable where one is wrong. Empty counts as not set."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str) -> str:
        return self._values.get(name, "").strip() or default

    def path(self, name: str, default: Callable[[], Path]) -> Path:
        value = self._values.get(name, "").strip()
        return _absolute(name, value) if value else default()

    def limits(self, name: str) -> Limits:
        try:
            return parse_limits(self._values.get(name, ""))
        except InvalidInput as error:
            raise ConfigurationError(f"{name}: {error.reason}", next_step=error.next_step) from error

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        return self._within(name, default, float, "a number", least, most)

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        return self._within(name, default, int, "a whole number", least, most)

    def _within(self, name: str, default: _N, read: Callable[[str], _N], kind: str, least: _N, most: _N) -> _N:
        text = self._values.get(name, "").strip()
        if not text:
            return default
        try:
            number = read(text)
        except ValueError:
            raise ConfigurationError(f"{name} must be {kind}, not {text!r}") from None
        if not least <= number <= most:
            raise ConfigurationError(f"{name} must be {kind} from {least:g} to {most:g}, not {text}")
        return number

    def switch(self, name: str) -> bool:
        """Read a yes or no; not set is no."""
        text = self._values.get(name, "").strip().lower()
        if text not in ("", "true", "1", "yes", "false", "0", "no"):
            raise ConfigurationError(f"{name} must be true or false, not {text!r}")
        return text in ("true", "1", "yes")


def _with_file(environment: Mapping[str, str]) -> Mapping[str, str]:
    named = environment.get("TENXSOM_ENV_FILE", "").strip()
    path = _absolute("TENXSOM_ENV_FILE", named) if named else DEFAULT_ENV_FILE
    if not named and not path.is_file():
        return environment
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as file:
            # systemd reads the same file and expands nothing, so neither does this.
            beneath = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the environment file {path} cannot be read: {error}",
            next_step="mend it, or set TENXSOM_ENV_FILE to another",
        ) from error
    given = {name: value for name, value in environment.items() if value.strip()}
    return {name: value for name, value in beneath.items() if value is not None} | given


def _absolute(name: str, text: str) -> Path:
    """Return a path as other processes, with other working folders, can use it."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"{name} is {text!r}, and there is no such user") from error


def _user_data_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("tenxsom-flow-engine", appauthor=False)
