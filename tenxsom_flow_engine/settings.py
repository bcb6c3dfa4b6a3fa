"""What can be set from outside: one frozen value, and the only place that reads the environment.

Each variable is declared at the field that holds its value (`env`); `docs/configuration.md` is made from that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from tenxsom_flow_engine.env import Field, Secret, Variable, absolute, fields_of, read_env
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.rate_limits.windows import DEFAULT_GLOBAL, GLOBAL, Limits, Windows, parse_limits, parse_windows
from tenxsom_flow_engine.services.registry import ServiceSpec, service_specs

#: Read beneath the environment where it exists and TENXSOM_ENV_FILE names no other.
DEFAULT_ENV_FILE = Path("/etc/tenxsom-flow-engine.env")

ENV_FILE = Variable(
    "TENXSOM_ENV_FILE",
    "a file of lines `VARIABLE=value`, which hold where the environment says nothing",
    default=f"`{DEFAULT_ENV_FILE}`, if it is there",
)


def _worker_url(name: str, text: str) -> str:
    url = text.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{name} must begin with https:// or http://, not {url!r}")
    if "@" in url.split("/")[2]:
        # It is shown, and is the audience of tokens.
        raise ConfigurationError(
            f"{name} holds a user or password, which Cloud Tasks does not need: it brings a token",
            next_step="set it without what precedes the @, and let no proxy before the worker ask for a password",
        )
    return url


#: A token of fewer characters could be guessed.
MIN_ADMIN_TOKEN_CHARACTERS = 16


def _admin_token(name: str, text: str) -> str:
    if len(text) < MIN_ADMIN_TOKEN_CHARACTERS:
        raise ConfigurationError(
            f"{name} must have at least {MIN_ADMIN_TOKEN_CHARACTERS} characters",
            next_step="make one with: openssl rand -base64 24",
        )
    return text


def default_limits() -> Limits:
    """Return the limits that hold unless others are set: the quotas of each service, and those over all of them."""
    return {**limits_of(service_specs().values()), GLOBAL: DEFAULT_GLOBAL}


def limits_of(specs: Iterable[ServiceSpec]) -> Limits:
    """Return the quotas of services by name. Raises `ConfigurationError` naming a service whose quotas are wrong."""
    limits: dict[str, Windows] = {}
    for spec in specs:
        if not spec.quotas:
            continue
        try:
            limits[spec.name] = parse_windows(spec.quotas)
        except InvalidInput as error:
            package = spec.distribution
            raise ConfigurationError(
                f"the quotas of the service {spec.name} of the package {package} cannot be used: {error.reason}",
                next_step=f"install another version of {package}, or uninstall it: pip uninstall {package}",
            ) from error
    return limits


def _limits(name: str, text: str) -> Limits:
    try:
        return {**default_limits(), **parse_limits(text)}
    except InvalidInput as error:
        raise ConfigurationError(f"{name}: {error.reason}", next_step=error.next_step) from error


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the Redis server is. A server that is named must be there; otherwise it is used if it answers."""

    url: Annotated[
        Secret | None,
        Variable("REDIS_URL", "the server, as `redis://` or `rediss://` with password and database; wins"),
    ] = None
    host: Annotated[str, Variable("REDIS_HOST", "the server's name", default="`localhost`")] = ""
    port: Annotated[int, Variable("REDIS_PORT", "its port; it alone names no server", minimum=1, maximum=65535)] = 6379
    key: Annotated[str, Variable("REDIS_QUEUE_KEY", "what our keys on the server begin with")] = (
        "tenxsom_flow_engine:job_queue"
    )

    @property
    def address(self) -> Secret:
        """The server's URL."""
        return self.url or Secret(f"redis://{self.host or 'localhost'}:{self.port}/0")

    @property
    def named(self) -> bool:
        """Whether somebody has named a server, so that it must be there."""
        return bool(self.url or self.host)


@dataclass(frozen=True, slots=True)
class CloudTasksSettings:
    """Where the Cloud Tasks queue is, who speaks to it, and where its worker listens. Empty text: not known."""

    project: Annotated[
        str, Variable("GOOGLE_CLOUD_PROJECT", "the project of the queue", default="that of the credentials")
    ] = ""
    location: Annotated[str, Variable("CLOUD_TASKS_LOCATION", "the region of the queue")] = "us-central1"
    queue: Annotated[str, Variable("CLOUD_TASKS_QUEUE", "the queue's name")] = "tenxsom-video-generation"
    worker_url: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_WORKER_URL",
            "the base address of the worker; `/process` is appended",
            example="https://flow.example.com",
            read=_worker_url,
        ),
    ] = ""
    service_account: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_SERVICE_ACCOUNT",
            "in whose name the worker is called: the only caller that it obeys",
            default="the account of the key file",
        ),
    ] = ""
    audience: Annotated[
        str,
        Variable("CLOUD_TASKS_AUDIENCE", "whom the tokens of the calls are meant for", default="the worker's address"),
    ] = ""
    emulator_host: Annotated[
        str,
        Variable(
            "CLOUD_TASKS_EMULATOR_HOST",
            "a plain-text Cloud Tasks API, such as `emulator` serves, which needs no credentials",
            example="127.0.0.1:8123",
        ),
    ] = ""
    credentials_file: Annotated[
        Path | None,
        Variable("GOOGLE_APPLICATION_CREDENTIALS", "the key file of a service account", default="what gcloud keeps"),
    ] = None
    gcloud_folder: Annotated[Path, Variable("CLOUDSDK_CONFIG", "where gcloud keeps its credentials")] = Path(
        "~/.config/gcloud"
    )
    metadata_host: Annotated[
        str,
        Variable("GCE_METADATA_HOST", "if set, a metadata server is asked for credentials, as on Google's machines"),
    ] = ""
    cloud_run: Annotated[
        str, Variable("K_SERVICE", "if set, as Cloud Run does, a metadata server is asked for credentials")
    ] = ""
    #: Where Linux says what machine this is.
    product_name: Path = Path("/sys/class/dmi/id/product_name")

    @property
    def metadata_server(self) -> bool:
        """Whether anything tells of a metadata server."""
        return bool(self.metadata_host or self.cloud_run)


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How a worker that jobs are pushed to serves, and whom."""

    port: Annotated[
        int,
        Variable(
            "PORT",
            "where it listens if no flag says otherwise; Cloud Run sets it",
            "web worker",
            minimum=0,
            maximum=65535,
        ),
    ] = 8080
    concurrency: Annotated[
        int,
        Variable(
            "TENXSOM_WORKER_CONCURRENCY",
            "steps at once in each process",
            "web worker",
            minimum=1,
            maximum=256,
            default="`CLOUD_TASKS_MAX_CONCURRENT`, at most 64",
        ),
    ] = 5
    allow_unauthenticated: Annotated[
        bool,
        Variable("TENXSOM_ALLOW_UNAUTHENTICATED", "take deliveries from anybody who reaches the worker", "web worker"),
    ] = False
    token_certs_url: Annotated[
        str,
        Variable(
            "TENXSOM_TOKEN_CERTS_URL",
            "where an emulator publishes the certificates of its tokens",
            "web worker",
            default="Google's",
        ),
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a process. Durations in seconds."""

    home: Annotated[
        Path,
        Variable(
            "TENXSOM_HOME", "the embedded queue, and what else is the engine's own", default="the user's data folder"
        ),
    ]
    output_dir: Annotated[
        Path, Variable("TENXSOM_OUTPUT_DIR", "the videos, one folder for each job", default="`videos` in the home")
    ]
    queue_type: Annotated[
        str,
        Variable(
            "TENXSOM_QUEUE_TYPE",
            "what carries jobs: `auto`, `cloud_tasks`, `redis` or `local`; a `--queue-type` flag wins",
        ),
    ] = "auto"
    store: Annotated[
        Secret | None,
        Variable(
            "TENXSOM_STORE",
            "where the local queue and its records are, on a local disk; for Cloud Tasks also `redis://…`",
            default="`sqlite://`*home*`/jobs.sqlite3`; for Cloud Tasks the Redis server, where one is named",
        ),
    ] = None
    max_dispatches_per_second: Annotated[
        float,
        Variable("CLOUD_TASKS_MAX_DISPATCHES", "steps in a second, over all workers", minimum=0.001, maximum=500),
    ] = 10.0
    max_concurrent_dispatches: Annotated[
        int, Variable("CLOUD_TASKS_MAX_CONCURRENT", "steps at once, over all workers", minimum=1, maximum=5000)
    ] = 5
    limits: Annotated[
        Limits,
        Variable(
            "TENXSOM_LIMITS",
            "paid creates in any second, minute, hour or day; the services that are named get these instead",
            example="pixverse=2/s,100/15m; heygen=none",
            read=_limits,
        ),
    ] = field(default_factory=default_limits)
    lease: Annotated[
        float,
        Variable(
            "TENXSOM_LEASE_SECONDS",
            "seconds for which a job stays with a worker that gives no sign of life",
            "workers",
            minimum=0.5,
            maximum=3600,
        ),
    ] = 30.0
    keep_days: Annotated[
        float,
        Variable(
            "TENXSOM_KEEP_DAYS",
            "days for which records of finished jobs are kept; failed and held ones stay",
            "workers",
            minimum=0.01,
            maximum=3650,
        ),
    ] = 30.0
    keep_jobs: Annotated[
        int,
        Variable(
            "TENXSOM_KEEP_JOBS", "how many records of finished jobs are kept", "workers", minimum=0, maximum=10_000_000
        ),
    ] = 100_000
    admin_token: Annotated[
        Secret | None,
        Variable(
            "TENXSOM_ADMIN_TOKEN",
            f"what opens the dashboard; at least {MIN_ADMIN_TOKEN_CHARACTERS} characters, the same for all processes",
            default="made once, in the file `admin-token` in the home",
            read=_admin_token,
        ),
    ] = None
    allow_private_downloads: Annotated[
        bool,
        Variable(
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS",
            "fetch videos from private addresses and over plain HTTP too; for tests",
            "workers",
        ),
    ] = False
    redis: RedisSettings
    cloud_tasks: CloudTasksSettings
    web: WebSettings
    #: The config of each configured service that has one, by the service's name.
    services: Mapping[str, Any]

    @property
    def secrets(self) -> frozenset[str]:
        """All texts that must never be shown."""
        parts = [
            self,
            *(part for own in fields(self) if is_dataclass(part := getattr(self, own.name))),
            *self.services.values(),
        ]
        values = [getattr(part, own.name) for part in parts for own in fields(part)]
        hidden = [_hidden(value) for value in values if isinstance(value, Secret)]
        return frozenset(text for secret in hidden for text in (secret, unquote(secret)) if text)


def load(
    environment: Mapping[str, str] | None = None,
    *,
    over: Mapping[str, str] | None = None,
    default_file: Path = DEFAULT_ENV_FILE,
) -> Settings:
    """Read the settings from a mapping, by default the process's environment, and from a file of defaults.

    `default_file` is read, if it exists, unless `TENXSOM_ENV_FILE` names another; the environment wins over it. `over`
    holds variables that win over all others. Raises `ConfigurationError` naming the variable that is wrong.
    """
    values = {**_with_file(os.environ if environment is None else environment, default_file), **(over or {})}
    own = read_env(Settings, values)
    home = own.pop("home", None) or _user_data_folder()
    settings = Settings(
        home=home,
        output_dir=own.pop("output_dir", home / "videos"),
        redis=RedisSettings(**read_env(RedisSettings, values)),
        cloud_tasks=_cloud_tasks(values),
        web=WebSettings(),
        services=_configs(values),
        **own,
    )
    # One process can then take all that the queue hands out, however unevenly it reaches several of them.
    at_once = min(settings.max_concurrent_dispatches, MAX_DEFAULT_CONCURRENCY)
    return replace(settings, web=WebSettings(**{"concurrency": at_once, **read_env(WebSettings, values)}))


#: Steps at once in a process that the queue's limit stands for at most; each takes a thread.
MAX_DEFAULT_CONCURRENCY = 64


def _cloud_tasks(values: Mapping[str, str]) -> CloudTasksSettings:
    google = CloudTasksSettings(**read_env(CloudTasksSettings, values))
    kept = google.gcloud_folder.expanduser() / "application_default_credentials.json"
    file = google.credentials_file or (kept if kept.is_file() else None)
    facts = _facts(file) if file else {}
    return replace(
        google,
        credentials_file=file,
        project=google.project or facts.get("project_id", ""),
        service_account=google.service_account or facts.get("client_email", ""),
        audience=google.audience or google.worker_url,
    )


def _configs(values: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the configs of the services by name. Of a service whose switch is not set nothing else is read."""
    return {
        name: spec.config(**read_env(spec.config, values))
        for name, spec in service_specs().items()
        if spec.config and (not spec.switch or values.get(spec.switch, "").strip())
    }


def declared() -> Mapping[str, Sequence[Field]]:
    """Return all variables, by the heading under which the reference of settings has them."""
    services = {f"Service {name}": spec.variables for name, spec in service_specs().items() if spec.variables}
    return {
        "General": (Field(ENV_FILE, "", Path, MISSING), *fields_of(Settings)),
        "Redis": fields_of(RedisSettings),
        "Google Cloud Tasks": fields_of(CloudTasksSettings),
        "Worker that is pushed to": fields_of(WebSettings),
        **services,
    }


def _hidden(secret: Secret) -> str:
    """Return what must not be shown of a secret: of an address its password, else all of it."""
    try:
        return (urlsplit(secret).password or "") if "://" in secret else str(secret)
    except ValueError:
        return str(secret)


def _facts(credentials_file: Path) -> dict[str, str]:
    """Return what a credentials file says in plain text, nothing where it cannot be read: whoever uses it says so."""
    try:
        facts = json.loads(credentials_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in facts.items() if isinstance(value, str)} if isinstance(facts, dict) else {}


def _with_file(environment: Mapping[str, str], default_file: Path) -> Mapping[str, str]:
    named = environment.get(ENV_FILE.name, "").strip()
    path = absolute(ENV_FILE.name, named) if named else default_file
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
            next_step=f"mend it, or set {ENV_FILE.name} to another",
        ) from error
    given = {name: value for name, value in environment.items() if value.strip()}
    return {name: value for name, value in beneath.items() if value is not None} | given


def _user_data_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("tenxsom-flow-engine", appauthor=False)
