"""Credentials and project for Cloud Tasks, found without waiting for a metadata server that does not exist.

Google's libraries are imported only to load credentials, because `auto` calls this module on every machine.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import ConfigurationError, QueueUnavailable
from tenxsom_flow_engine.settings import CloudTasksSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CREDENTIALS_STEP = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the credentials file of a service account or a workload identity, "
    "or run: gcloud auth application-default login"
)


def lacking(settings: CloudTasksSettings) -> list[str]:
    """Return the variables that must still be set to use Cloud Tasks."""
    on_google = settings.on_google
    configured = {
        "CLOUD_TASKS_WORKER_URL": bool(settings.worker_url),
        "GOOGLE_CLOUD_PROJECT": bool(settings.project) or on_google,
        "GOOGLE_APPLICATION_CREDENTIALS": bool(settings.emulator_host or settings.credentials_file) or on_google,
    }
    return [name for name, known in configured.items() if not known]


def credentials_and_project(settings: CloudTasksSettings) -> tuple[Credentials, str]:
    """Return the credentials and the project, which can be empty. Raises `ConfigurationError` or `QueueUnavailable`."""
    from google.auth.exceptions import GoogleAuthError, TransportError

    file = settings.credentials_file
    if file is None and not settings.on_google:
        raise ConfigurationError("no Google credentials found", next_step=CREDENTIALS_STEP)
    where = f"in {file} " if file else ""
    try:
        found, project = _from_file(file) if file else _from_metadata_server()
    except TransportError as error:
        raise QueueUnavailable(
            f"the Google credentials {where}cannot be used now: {error}",
            next_step="check that the server of these credentials can be reached from here",
        ) from error
    # google-auth assumes that a file of a known type has all its fields.
    except (GoogleAuthError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the Google credentials {where}cannot be used: {error}", next_step=CREDENTIALS_STEP
        ) from error
    return found, settings.project or project or ""


def _from_file(file: Path) -> tuple[Credentials, str | None]:
    """Load the credentials in a file of any type that Google has.

    `google.auth.default` would find the file by the process's environment, not by the settings, and otherwise use the
    login of the user who runs the command.
    """
    import google.auth

    facts = json.loads(file.read_bytes())
    if not isinstance(facts, dict) or "type" not in facts:
        raise ValueError("it has no field type")
    with warnings.catch_warnings():
        # google-auth warns of files that strangers supply, since these can name other servers.
        warnings.simplefilter("ignore", DeprecationWarning)
        return google.auth.load_credentials_from_file(str(file), scopes=[SCOPE])  # type: ignore[no-untyped-call, no-any-return]


def _from_metadata_server() -> tuple[Credentials, str | None]:
    import google.auth
    from google.auth import compute_engine

    found, project = google.auth.default(scopes=[SCOPE])
    if not isinstance(found, compute_engine.Credentials):
        raise ValueError(
            "google-auth found another login than the metadata server's; set CLOUDSDK_CONFIG in the environment"
        )
    return found, project
