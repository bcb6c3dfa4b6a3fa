"""Who speaks to Cloud Tasks, and about which queue: found without waiting for a metadata server that is not there.

Nothing of Google is imported before credentials are wanted, since `auto` asks here on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.settings import CloudTasksSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

#: Where Linux says what machine this is: the sign that google-auth trusts too when a metadata server is slow.
PRODUCT_NAME = Path("/sys/class/dmi/id/product_name")
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CREDENTIALS_STEP = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, "
    "or run: gcloud auth application-default login"
)


def lacking(settings: CloudTasksSettings) -> list[str]:
    """Return the variables that are missing before Cloud Tasks can be used, none if all is there."""
    on_google = _on_google(settings)
    there = {
        "CLOUD_TASKS_WORKER_URL": bool(settings.worker_url),
        "GOOGLE_CLOUD_PROJECT": bool(settings.project) or on_google,
        "GOOGLE_APPLICATION_CREDENTIALS": bool(settings.emulator_host or settings.credentials_file) or on_google,
    }
    return [name for name, known in there.items() if not known]


def credentials_and_project(settings: CloudTasksSettings) -> tuple[Credentials, str]:
    """Return the credentials, and the project, which may be empty. Raises `ConfigurationError`."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    if settings.credentials_file is None and not _on_google(settings):
        raise ConfigurationError("no Google credentials are there", next_step=CREDENTIALS_STEP)
    try:
        if settings.credentials_file is not None:
            # Not by google.auth.default(), which reads the environment and would not see an environment file.
            file = str(settings.credentials_file)
            found, project = google.auth.load_credentials_from_file(file, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        else:
            found, project = google.auth.default(scopes=[SCOPE])
    except (GoogleAuthError, OSError, ValueError) as error:
        where = f"in {settings.credentials_file} " if settings.credentials_file else ""
        raise ConfigurationError(
            f"the Google credentials {where}cannot be used: {error}", next_step=CREDENTIALS_STEP
        ) from error
    return found, settings.project or project or ""


def _on_google(settings: CloudTasksSettings) -> bool:
    """Tell whether this machine has a metadata server, without asking one."""
    if settings.metadata_server:
        return True
    try:
        return PRODUCT_NAME.read_text("utf-8").strip().startswith("Google")
    except (OSError, UnicodeDecodeError):
        return False
