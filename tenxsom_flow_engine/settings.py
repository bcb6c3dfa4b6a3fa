"""The settings of a process as one frozen value. This is the only module that reads the environment.

Each variable is declared at the field that holds its value (see `env`); `docs/configuration.md` is generated from that.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from tenxsom_flow_engine.budgets import Budget, parse_budgets
from tenxsom_flow_engine.env import Field, Secret, Variable, absolute, fields_of, read_env
from tenxsom_flow_engine.env.file import read_env_file
from tenxsom_flow_engine.env.google import (
    AI_ULTRA,
    ai_ultra_credentials,
    facts_of,
    gcloud_credentials,
    gcloud_project,
)
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.output.address import BucketAddress, BucketKeys, read_place
from tenxsom_flow_engine.output.keep import ALL_VIDEOS, KeepVideos, parse_keep_videos
from tenxsom_flow_engine.rate_limits.windows import DEFAULT_GLOBAL, GLOBAL, Limits, Windows, parse_limits, parse_windows
from tenxsom_flow_engine.services.registry import ServiceSpec, refuse_variables, service_specs
from tenxsom_flow_engine.text import host_in_url

#: Provides defaults for the environment if it exists and TENXSOM_ENV_FILE does not name another file.
DEFAULT_ENV_FILE = Path("/etc/tenxsom-flow-engine.env")

DEFAULT_REDIS_PORT = 6379
#: The origin of credentials and project on Google's machines.
METADATA_SERVER = "metadata server"

ENV_FILE = Variable(
    "TENXSOM_ENV_FILE",
    "file with lines `VARIABLE=value`, used for variables that the environment does not set; read as systemd reads it",
    default=f"`{DEFAULT_ENV_FILE}`, if it exists",
)


def _redis_port(name: str, text: str) -> int:
    # Kubernetes sets `tcp://ADDRESS:PORT` for a Service called `redis`, which need not be the server of REDIS_HOST.
    if text.startswith("tcp://"):
        return DEFAULT_REDIS_PORT
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}") from None


def _base_url(name: str, text: str) -> str:
    url = text.rstrip("/")
    if not url.startswith(("http://", "https://")) or not url.split("/")[2]:
        raise ConfigurationError(f"{name} must begin with https:// or http:// and a host, not {url!r}")
    return url


def _worker_url(name: str, text: str) -> str:
    url = _base_url(name, text)
    if "@" in url.split("/")[2]:
        # The URL is displayed, and is the audience of tokens.
        raise ConfigurationError(
            f"{name} contains a user name or password, but Cloud Tasks authenticates with a token",
            next_step="remove the part before the @, and require no password in a proxy in front of the worker",
        )
    return url


def _fallback(name: str, text: str) -> str:
    if text not in ("redis", "local"):
        raise ConfigurationError(f"{name} must be redis or local, not {text!r}")
    return text


def _host_names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(one.strip().rstrip(".").lower() for one in text.split(",") if one.strip())
    for one in names:
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", one):
            raise ConfigurationError(
                f"{name}: {one!r} is no host name", next_step="write names without scheme, port and path"
            )
    return names


def _origins(name: str, text: str) -> tuple[str, ...]:
    origins = tuple(one.strip().rstrip("/").lower() for one in text.split(",") if one.strip())
    for one in origins:
        if not re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", one):
            raise ConfigurationError(
                f"{name}: {one!r} is no origin", next_step="write scheme, host and port: https://app.example.org"
            )
    return origins


#: Shorter tokens could be guessed.
MIN_ADMIN_TOKEN_CHARACTERS = 16


def _admin_token(name: str, text: str) -> str:
    if len(text) < MIN_ADMIN_TOKEN_CHARACTERS:
        raise ConfigurationError(
            f"{name} must have at least {MIN_ADMIN_TOKEN_CHARACTERS} characters",
            next_step="generate one with: openssl rand -base64 24",
        )
    return text


def default_limits() -> Limits:
    """Return the default limits: the quotas of each service, and the limit over all services."""
    return {**limits_of(service_specs().values()), GLOBAL: DEFAULT_GLOBAL}


def limits_of(specs: Iterable[ServiceSpec]) -> Limits:
    """Return the quotas of services by name. Raises `ConfigurationError` naming a service with invalid quotas."""
    limits: dict[str, Windows] = {}
    for spec in specs:
        if not spec.quotas:
            continue
        try:
            limits[spec.name] = parse_windows(spec.quotas)
        except InvalidInput as error:
            package = spec.distribution
            raise ConfigurationError(
                f"the package {package} declares invalid quotas for its service {spec.name}: {error.reason}",
                next_step=f"install another version of {package}, or uninstall it: pip uninstall {package}",
            ) from error
    return limits


def _limits(name: str, text: str) -> Limits:
    try:
        return {**default_limits(), **parse_limits(text)}
    except InvalidInput as error:
        raise ConfigurationError(f"{name}: {error.reason}", next_step=error.next_step) from error


def _budgets(name: str, text: str) -> Mapping[str, Budget]:
    try:
        return parse_budgets(text)
    except InvalidInput as error:
        raise ConfigurationError(f"{name}: {error.reason}", next_step=error.next_step) from error


def _command(name: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigurationError(f"{name} cannot be split into words: {error}") from error
    if not words or not words[0]:
        raise ConfigurationError(f"{name} names no program")
    return words


#: The shortest and the longest horizon of schedules; Cloud Tasks delivers at most 30 days later.
MIN_HORIZON, MAX_HORIZON = 3600.0, 28 * 86400.0


def _horizon(name: str, text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([mhd])", text)
    seconds = float(match[1]) * {"m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0.0
    if not MIN_HORIZON <= seconds <= MAX_HORIZON:
        raise ConfigurationError(f"{name} must be a time from 1h to 28d, such as 36h or 2d, not {text!r}")
    return seconds


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The Redis server. If a URL or a host is set, the server must be reachable; otherwise a local one is optional."""

    url: Annotated[
        Secret | None,
        Variable(
            "REDIS_URL",
            "URL of the server, `redis://` or `rediss://`, with password and database, or of its sentinels, "
            "`redis+sentinel://`; wins over host and port",
        ),
    ] = None
    host: Annotated[str, Variable("REDIS_HOST", "host name of the server", default="`localhost`")] = ""
    port: Annotated[
        int,
        Variable(
            "REDIS_PORT",
            "port of the server; does not select a server without `REDIS_HOST`; the `tcp://…` of Kubernetes is ignored",
            minimum=1,
            maximum=65535,
            read=_redis_port,
        ),
    ] = DEFAULT_REDIS_PORT
    key: Annotated[str, Variable("REDIS_QUEUE_KEY", "prefix of the engine's keys on the server")] = (
        "tenxsom_flow_engine:job_queue"
    )

    @property
    def address(self) -> Secret:
        """The server's URL."""
        return self.url or Secret(f"redis://{host_in_url(self.host or 'localhost')}:{self.port}/0")

    @property
    def named(self) -> bool:
        """Whether the environment names a server, so that it must be reachable."""
        return bool(self.url or self.host)


@dataclass(frozen=True, slots=True)
class CloudTasksSettings:
    """The Cloud Tasks queue, its credentials and the address of its worker. Empty text means unknown."""

    project: Annotated[
        str, Variable("GOOGLE_CLOUD_PROJECT", "project of the queue", default="that of the credentials, or gcloud's")
    ] = ""
    location: Annotated[str, Variable("CLOUD_TASKS_LOCATION", "region of the queue")] = "us-central1"
    queue: Annotated[str, Variable("CLOUD_TASKS_QUEUE", "name of the queue")] = "tenxsom-video-generation"
    worker_url: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_WORKER_URL",
            "base URL of the worker; `/process` is appended",
            example="https://flow.example.com",
            read=_worker_url,
        ),
    ] = ""
    service_account: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_SERVICE_ACCOUNT",
            "service account that signs delivery tokens; the worker accepts no other",
            default="the account of the key file",
        ),
    ] = ""
    audience: Annotated[
        str,
        Variable("CLOUD_TASKS_AUDIENCE", "audience (`aud`) of the delivery tokens", default="`CLOUD_TASKS_WORKER_URL`"),
    ] = ""
    emulator_host: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_EMULATOR_HOST",
            "address of an unencrypted Cloud Tasks API without credentials, such as the `emulator` command serves",
            example="127.0.0.1:8123",
        ),
    ] = ""
    credentials_file: Annotated[
        Path | None,
        Variable(
            "GOOGLE_APPLICATION_CREDENTIALS",
            "file with Google credentials of any type: a service account's key, a workload identity, an impersonation",
            default=f"gcloud's; on other machines than Google's then `{AI_ULTRA}`",
        ),
    ] = None
    gcloud_folder: Annotated[
        Path | None, Variable("CLOUDSDK_CONFIG", "folder of gcloud's credentials", default="`~/.config/gcloud`")
    ] = None
    metadata_host: Annotated[
        str,
        Variable("GCE_METADATA_HOST", "if set, credentials come from the metadata server, as on Google's machines"),
    ] = ""
    cloud_run: Annotated[
        str, Variable("K_SERVICE", "set by Cloud Run; if set, credentials come from the metadata server")
    ] = ""
    gcloud_project: Annotated[
        str,
        Variable(
            "CLOUDSDK_CORE_PROJECT", "gcloud's project; used without another", default="`gcloud config set project`"
        ),
    ] = ""
    gcloud_configuration: Annotated[
        str,
        Variable("CLOUDSDK_ACTIVE_CONFIG_NAME", "gcloud's configuration", default="the active one"),
    ] = ""
    #: Where the credentials and the project come from: a variable, a tool, a file; empty if they are unknown.
    credentials_origin: str = ""
    project_origin: str = ""
    #: The account of the credentials file, or its type; empty if there is no file, or it is unreadable.
    identity: str = ""
    #: The file in which Linux names the machine's product, to recognise Google's machines.
    product_name: Path = Path("/sys/class/dmi/id/product_name")

    @property
    def metadata_server(self) -> bool:
        """Whether the environment indicates a metadata server."""
        return bool(self.metadata_host or self.cloud_run)

    @property
    def on_google(self) -> bool:
        """Whether this machine has a metadata server; found without a request to it."""
        if self.metadata_server:
            return True
        try:  # google-auth checks this file too when a metadata server is slow
            return self.product_name.read_text("utf-8").strip().startswith("Google")
        except (OSError, UnicodeDecodeError):
            return False


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The settings of a push worker."""

    port: Annotated[
        int,
        Variable(
            "PORT",
            "port to listen on unless a flag sets it; Cloud Run sets this variable",
            "web worker",
            minimum=0,
            maximum=65535,
        ),
    ] = 8080
    concurrency: Annotated[
        int,
        Variable(
            "TENXSOM_WORKER_CONCURRENCY",
            "number of steps that each process runs concurrently",
            "web worker",
            minimum=1,
            maximum=256,
            default="`CLOUD_TASKS_MAX_CONCURRENT`, at most 64",
        ),
    ] = 5
    allow_unauthenticated: Annotated[
        bool,
        Variable("TENXSOM_ALLOW_UNAUTHENTICATED", "accept deliveries without a token, from any sender", "web worker"),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Variable(
            "TENXSOM_ALLOWED_HOSTS",
            "domains of dashboard and web worker, separated by commas; addresses and private names need no entry",
            "web worker",
            default="the host of `CLOUD_TASKS_WORKER_URL`",
            example="ops.example.org",
            read=_host_names,
        ),
    ] = ()
    api_origins: Annotated[
        tuple[str, ...],
        Variable(
            "TENXSOM_API_ORIGINS",
            "origins of the web pages whose scripts may use the HTTP API, separated by commas",
            "web worker",
            default="none",
            example="https://app.example.org",
            read=_origins,
        ),
    ] = ()
    token_certs_url: Annotated[
        str,
        Variable(
            "TENXSOM_TOKEN_CERTS_URL",
            "URL of the certificates for delivery tokens, if an emulator signs them",
            "web worker",
            default="Google's certificates",
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """The credentials of a bucket, in the variables that Amazon's tools read. Those of Google are in another group."""

    key_id: Annotated[
        str,
        Variable("AWS_ACCESS_KEY_ID", "id of the access key of an S3 bucket", default="the role of the machine"),
    ] = ""
    secret: Annotated[Secret | None, Variable("AWS_SECRET_ACCESS_KEY", "secret of that access key")] = None
    session_token: Annotated[Secret | None, Variable("AWS_SESSION_TOKEN", "token of a temporary access key")] = None
    region: Annotated[
        str, Variable("AWS_REGION", "region of an S3 bucket whose address names none", default="`us-east-1`")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a process. Durations in seconds."""

    home: Annotated[
        Path,
        Variable(
            "TENXSOM_HOME",
            "folder of the embedded queue and the engine's other files",
            default="the user's data folder",
        ),
    ]
    output_dir: Annotated[
        Path | BucketAddress,
        Variable(
            "TENXSOM_OUTPUT_DIR",
            "folder of the videos, with one folder for each job; or a bucket: `gs://BUCKET/PREFIX`, "
            "`s3://BUCKET/PREFIX?endpoint=URL&region=NAME`",
            default="`videos` in `TENXSOM_HOME`",
            read=read_place,
        ),
    ]
    queue_type: Annotated[
        str,
        Variable(
            "TENXSOM_QUEUE_TYPE",
            "queue backend: `auto`, `cloud_tasks`, `redis` or `local`; `--queue-type` wins",
        ),
    ] = "auto"
    store: Annotated[
        Secret | None,
        Variable(
            "TENXSOM_STORE",
            "URL of the store of the local queue, a file on a local disk; for Cloud Tasks also `redis://…`",
            default="`jobs.sqlite3` in `TENXSOM_HOME`; for Cloud Tasks the Redis server, if one is set",
        ),
    ] = None
    fallback: Annotated[
        str,
        Variable(
            "TENXSOM_FALLBACK",
            "pull queue, `redis` or `local`, that takes new jobs while Cloud Tasks cannot be reached; it must have the "
            "same store, and workers",
            default="none: adding a job fails then",
            read=_fallback,
        ),
    ] = ""
    x_display: Annotated[
        str, Variable("DISPLAY", "set by an X desktop; if set, `open` starts a player on a terminal", "commands")
    ] = ""
    wayland_display: Annotated[
        str, Variable("WAYLAND_DISPLAY", "set by a Wayland desktop; if set, `open` starts a player", "commands")
    ] = ""
    max_dispatches_per_second: Annotated[
        float,
        Variable(
            "CLOUD_TASKS_MAX_DISPATCHES",
            "maximum number of steps started in a second, over all workers",
            minimum=0.001,
            maximum=500,
        ),
    ] = 10.0
    max_concurrent_dispatches: Annotated[
        int,
        Variable(
            "CLOUD_TASKS_MAX_CONCURRENT",
            "maximum number of concurrent steps, over all workers",
            minimum=1,
            maximum=5000,
        ),
    ] = 5
    limits: Annotated[
        Limits,
        Variable(
            "TENXSOM_LIMITS",
            "limits of paid creates in any second, minute, hour or day; replaces the defaults of the named services",
            example="pixverse=2/s,100/15m; heygen=none",
            read=_limits,
        ),
    ] = field(default_factory=default_limits)
    budgets: Annotated[
        Mapping[str, Budget],
        Variable(
            "TENXSOM_BUDGETS",
            "most US dollars that are spent in a day, week or month; a budget that a command sets wins",
            example="all=40/d; channel:fun=10/d,200/mo Europe/Berlin",
            read=_budgets,
        ),
    ] = field(default_factory=dict)
    unknown_price: Annotated[
        float | None,
        Variable(
            "TENXSOM_UNKNOWN_PRICE",
            "US dollars at which a video without a known price counts against the budgets",
            default="such videos are not bought where a budget applies",
            minimum=0,
            maximum=100_000,
        ),
    ] = None
    lease: Annotated[
        float,
        Variable(
            "TENXSOM_LEASE_SECONDS",
            "lease duration in seconds: how long a job stays leased to a worker that stops renewing",
            "workers",
            minimum=0.5,
            maximum=3600,
        ),
    ] = 30.0
    schedule_horizon: Annotated[
        float,
        Variable(
            "TENXSOM_SCHEDULE_HORIZON",
            "how far ahead workers plan the slots of schedules, from `1h` to `28d`",
            default="`24h`",
            example="36h",
            read=_horizon,
        ),
    ] = 86400.0
    keep_days: Annotated[
        float,
        Variable(
            "TENXSOM_KEEP_DAYS",
            "days to keep the records of finished jobs; failed and held jobs are not removed",
            "workers",
            minimum=0.01,
            maximum=3650,
        ),
    ] = 30.0
    keep_jobs: Annotated[
        int,
        Variable(
            "TENXSOM_KEEP_JOBS",
            "maximum number of records of finished jobs",
            "workers",
            minimum=0,
            maximum=10_000_000,
        ),
    ] = 100_000
    keep_videos: Annotated[
        KeepVideos,
        Variable(
            "TENXSOM_KEEP_VIDEOS",
            "how long videos are kept (`h`, `d`), and how much of them (`MB`, `GB`, `TB`); the oldest go first",
            default="all videos are kept",
            example="30d,200GB",
            read=parse_keep_videos,
        ),
    ] = ALL_VIDEOS
    admin_token: Annotated[
        Secret | None,
        Variable(
            "TENXSOM_ADMIN_TOKEN",
            f"login token of the dashboard, at least {MIN_ADMIN_TOKEN_CHARACTERS} characters; same for all processes",
            default="generated once, in the file `admin-token` in `TENXSOM_HOME`",
            read=_admin_token,
        ),
    ] = None
    public_url: Annotated[
        str,
        Variable(
            "TENXSOM_PUBLIC_URL",
            "address at which receivers of webhooks reach the HTTP API, for links to videos",
            default="`CLOUD_TASKS_WORKER_URL`",
            example="https://flow.example.com",
            read=_base_url,
        ),
    ] = ""
    mcp_key: Annotated[
        Secret | None,
        Variable(
            "TENXSOM_MCP_KEY",
            "API key whose rights and budget an assistant has",
            "`mcp`",
            default="all rights",
        ),
    ] = None
    allow_private_downloads: Annotated[
        bool,
        Variable(
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS",
            "also download videos from private addresses and over plain HTTP; for tests",
            "workers",
        ),
    ] = False
    allow_private_webhooks: Annotated[
        bool,
        Variable(
            "TENXSOM_ALLOW_PRIVATE_WEBHOOKS",
            "also send webhooks to private addresses and over plain HTTP; for receivers on this machine or network",
            "workers",
        ),
    ] = False
    on_video: Annotated[
        tuple[str, ...],
        Variable(
            "TENXSOM_ON_VIDEO",
            "command that workers run for each finished video, with the job as JSON on standard input",
            "workers",
            default="none",
            example="/usr/local/bin/publish --quiet",
            read=_command,
        ),
    ] = ()
    redis: RedisSettings
    cloud_tasks: CloudTasksSettings
    web: WebSettings
    bucket: BucketSettings = BucketSettings()
    #: The config of each configured service that has one, by the service's name.
    services: Mapping[str, Any]

    @property
    def work_dir(self) -> Path:
        """The local folder of unfinished videos: the folder of the videos, or the spool of a bucket."""
        return self.output_dir if isinstance(self.output_dir, Path) else self.home / "spool"

    @property
    def bucket_keys(self) -> BucketKeys:
        """The credentials of the bucket."""
        own = self.bucket
        file = self.cloud_tasks.credentials_file
        return BucketKeys(file, own.key_id, own.secret, own.session_token, own.region)

    @property
    def desktop(self) -> bool:
        """Whether a desktop can open files."""
        return sys.platform == "darwin" or bool(self.x_display or self.wayland_display)

    @property
    def secrets(self) -> frozenset[str]:
        """All texts that must be redacted."""
        parts = [
            self,
            *(part for own in fields(self) if is_dataclass(part := getattr(self, own.name))),
            *self.services.values(),
        ]
        values = [getattr(part, own.name) for part in parts for own in fields(part)]
        hidden = [text for value in values if isinstance(value, Secret) for text in _hidden(value)]
        return frozenset(text for secret in hidden for text in (secret, unquote(secret)) if text)


def load(
    environment: Mapping[str, str] | None = None,
    *,
    over: Mapping[str, str] | None = None,
    default_file: Path = DEFAULT_ENV_FILE,
) -> Settings:
    """Read the settings from a mapping, by default the process's environment, and from a file of defaults.

    `default_file` is read, if it exists, unless `TENXSOM_ENV_FILE` names another; the environment wins over it. `over`
    contains variables that win over all others. Raises `ConfigurationError` naming the invalid variable.
    """
    return _settings({**_with_file(os.environ if environment is None else environment, default_file), **(over or {})})


def load_valid(
    environment: Mapping[str, str] | None = None, *, default_file: Path = DEFAULT_ENV_FILE
) -> tuple[Settings, Mapping[str, ConfigurationError]]:
    """Read the settings without the variables whose values are invalid, and return the errors of those by name.

    Raises `ConfigurationError` for any other error.
    """
    values = dict(_with_file(os.environ if environment is None else environment, default_file))
    groups = (Settings, RedisSettings, CloudTasksSettings, BucketSettings, WebSettings)
    configs = [spec.config for spec in _switched_on(values).values() if spec.config]
    errors: dict[str, ConfigurationError] = {}
    for one in (one for group in (*groups, *configs) for one in fields_of(group)):
        try:
            if text := values.get(one.variable.name, "").strip():
                one.value(text)
        except ConfigurationError as error:
            errors[one.variable.name] = error
            del values[one.variable.name]
    return _settings(values), errors


def _settings(values: Mapping[str, str]) -> Settings:
    own = read_env(Settings, values)
    home = own.pop("home", None) or _user_data_folder()
    settings = Settings(
        home=home,
        output_dir=own.pop("output_dir", home / "videos"),
        redis=_redis(values),
        cloud_tasks=_cloud_tasks(values),
        web=WebSettings(),
        bucket=BucketSettings(**read_env(BucketSettings, values)),
        services=_configs(values),
        **own,
    )
    # One process can then handle every concurrent delivery, however unevenly the queue distributes them.
    at_once = min(settings.max_concurrent_dispatches, MAX_DEFAULT_CONCURRENCY)
    return replace(settings, web=WebSettings(**{"concurrency": at_once, **read_env(WebSettings, values)}))


#: Upper bound of the default number of concurrent steps in a process; each needs a thread.
MAX_DEFAULT_CONCURRENCY = 64


def _redis(values: Mapping[str, str]) -> RedisSettings:
    if values.get("REDIS_URL", "").strip():
        values = {**values, "REDIS_HOST": "", "REDIS_PORT": ""}  # the URL wins, so they need not be valid
    return RedisSettings(**read_env(RedisSettings, values))


def _cloud_tasks(values: Mapping[str, str]) -> CloudTasksSettings:
    google = CloudTasksSettings(**read_env(CloudTasksSettings, values))
    file, origin = _credentials(google)
    facts = facts_of(file) if file else {}
    named = replace(google, credentials_file=file, credentials_origin=origin)
    project, project_origin = _project(named, facts)
    return replace(
        named,
        project=project,
        project_origin=project_origin,
        identity=facts.get("client_email") or facts.get("type", ""),
        service_account=google.service_account or facts.get("client_email", ""),
        audience=google.audience or google.worker_url,
    )


def _credentials(google: CloudTasksSettings) -> tuple[Path | None, str]:
    """Return the credentials file and where it comes from. One that is named is used even if it does not exist."""
    if google.credentials_file:
        return google.credentials_file, "GOOGLE_APPLICATION_CREDENTIALS"
    if file := gcloud_credentials(google.gcloud_folder):
        return file, "gcloud"
    if google.on_google:  # it has an identity, which a file must not replace silently
        return None, METADATA_SERVER
    if google.emulator_host:
        return None, ""
    return (file, AI_ULTRA) if (file := ai_ultra_credentials()) else (None, "")


def _project(google: CloudTasksSettings, facts: Mapping[str, str]) -> tuple[str, str]:
    """Return the project and where it comes from; both are empty if only the metadata server can know it."""
    if google.project:
        return google.project, "GOOGLE_CLOUD_PROJECT"
    if project := facts.get("project_id", ""):
        return project, google.credentials_origin
    if google.credentials_origin == METADATA_SERVER:
        return "", METADATA_SERVER
    if google.gcloud_project:
        return google.gcloud_project, "CLOUDSDK_CORE_PROJECT"
    project, configuration = gcloud_project(google.gcloud_folder, google.gcloud_configuration)
    return project, f"gcloud's configuration {configuration}" if project else ""


def _configs(values: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the configs of the services by name, ignoring services whose switch is not set."""
    refuse_variables(service_specs().values(), own_variables())
    return {
        name: spec.config(**read_env(spec.config, values)) for name, spec in _switched_on(values).items() if spec.config
    }


def _switched_on(values: Mapping[str, str]) -> Mapping[str, ServiceSpec]:
    """Return the specs of the services whose switch is set, or that need none."""
    specs = service_specs().items()
    return {name: spec for name, spec in specs if not spec.switch or values.get(spec.switch, "").strip()}


def declared() -> Mapping[str, Sequence[Field]]:
    """Return all variables by heading, for the reference of settings."""
    services = {f"Service {name}": spec.variables for name, spec in service_specs().items() if spec.variables}
    return {**_own(), **services}


@cache
def own_variables() -> frozenset[str]:
    """Return the names of the engine's own variables, which no service may declare."""
    return frozenset(field.variable.name for group in _own().values() for field in group)


def _own() -> Mapping[str, Sequence[Field]]:
    return {
        "General": (Field(ENV_FILE, "", Path, MISSING), *fields_of(Settings)),
        "Redis": fields_of(RedisSettings),
        "Google Cloud Tasks": fields_of(CloudTasksSettings),
        "Bucket": fields_of(BucketSettings),
        "Push worker": fields_of(WebSettings),
    }


def _hidden(secret: Secret) -> Sequence[str]:
    """Return the parts of a secret to redact: the passwords of a URL, or the whole text."""
    _, _, rest = secret.partition("://")
    if not rest:
        return [str(secret)]
    # `urlsplit` refuses some addresses that name several hosts.
    login, _, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
    options = [option.partition("=") for option in rest.partition("?")[2].partition("#")[0].split("&")]
    return [login.partition(":")[2], *(value for name, _, value in options if name.endswith("password"))]


def _with_file(environment: Mapping[str, str], default_file: Path) -> Mapping[str, str]:
    named = environment.get(ENV_FILE.name, "").strip()
    path = absolute(ENV_FILE.name, named) if named else default_file
    if not named and not path.is_file():
        return environment
    try:
        defaults = read_env_file(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the environment file {path} cannot be read: {error}",
            next_step=f"fix it, or set {ENV_FILE.name} to another file",
        ) from error
    given = {name: value for name, value in environment.items() if value.strip()}
    return defaults | given


def _user_data_folder() -> Path:
    from platformdirs import user_data_path

    try:
        return user_data_path("tenxsom-flow-engine", appauthor=False)
    except RuntimeError as error:
        raise ConfigurationError(
            "this user has no home folder", next_step="set TENXSOM_HOME to the folder for the records"
        ) from error
