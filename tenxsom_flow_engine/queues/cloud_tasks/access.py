"""Credentials and project for Cloud Tasks, found without waiting for a metadata server that does not exist.

Google's libraries are imported only to load credentials, because `auto` calls this module on every machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.settings import CloudTasksSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CREDENTIALS_STEP = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, "
    "or run: gcloud auth application-default login"
)


def lacking(settings: CloudTasksSettings) -> list[str]:
    """Return the variables that must still be set to use Cloud Tasks."""
    on_google = _on_google(settings)
    configured = {
        "CLOUD_TASKS_WORKER_URL": bool(settings.worker_url),
        "GOOGLE_CLOUD_PROJECT": bool(settings.project) or on_google,
        "GOOGLE_APPLICATION_CREDENTIALS": bool(settings.emulator_host or settings.credentials_file) or on_google,
    }
    return [name for name, known in configured.items() if not known]


def credentials_and_project(settings: CloudTasksSettings) -> tuple[Credentials, str]:
    """Return the credentials and the project, which can be empty. Raises `ConfigurationError`."""
    from google.auth.exceptions import GoogleAuthError

    if settings.credentials_file is None and not _on_google(settings):
        raise ConfigurationError("no Google credentials found", next_step=CREDENTIALS_STEP)
    try:
        found, project = _load(settings.credentials_file)
    except (GoogleAuthError, OSError, ValueError) as error:
        where = f"in {settings.credentials_file} " if settings.credentials_file else ""
        raise ConfigurationError(
            f"the Google credentials {where}cannot be used: {error}", next_step=CREDENTIALS_STEP
        ) from error
    return found, settings.project or project or ""


def _load(file: Path | None) -> tuple[Credentials, str | None]:
    """Load a credentials file of the common types directly: google-auth reads its path only from the environment."""
    import google.auth
    from google.oauth2 import credentials as user
    from google.oauth2 import service_account

    facts = json.loads(file.read_bytes()) if file else {}
    match facts.get("type") if isinstance(facts, dict) else None:
        case "service_account":
            loaded = service_account.Credentials.from_service_account_info(facts, scopes=[SCOPE])  # type: ignore[no-untyped-call]
            return loaded, loaded.project_id
        case "authorized_user":
            return user.Credentials.from_authorized_user_info(facts, scopes=[SCOPE]), None  # type: ignore[no-untyped-call]
        case None if file:
            raise ValueError("it has no field type")
        case _:  # a metadata server, or another type, which google-auth loads from the same variable
            return google.auth.default(scopes=[SCOPE])


def _on_google(settings: CloudTasksSettings) -> bool:
    """Return whether this machine has a metadata server, without a request to it."""
    if settings.metadata_server:
        return True
    try:  # google-auth checks this file too when a metadata server is slow
        return settings.product_name.read_text("utf-8").strip().startswith("Google")
    except (OSError, UnicodeDecodeError):
        return False
