"""What gcloud and other tools of Google keep on this machine: credentials and the project in use.

https://docs.cloud.google.com/sdk/docs/configurations describes gcloud's folder: `active_config` has the name of the
configuration in use, and `configurations/config_NAME` its properties as an INI file.
"""

from __future__ import annotations

import configparser
import json
from pathlib import Path

#: The credentials file that Google AI Ultra subscribers of this engine have in their home folder.
AI_ULTRA = "~/.google-ai-ultra-credentials.json"


def gcloud_credentials(folder: Path | None) -> Path | None:
    """Return the file of the application default credentials in gcloud's folder, if there is one."""
    found = _gcloud(folder)
    path = found / "application_default_credentials.json" if found else None
    return path if path and _is_file(path) else None


def ai_ultra_credentials() -> Path | None:
    """Return the credentials file of Google AI Ultra in the home folder of this user, if there is one."""
    path = _expanded(AI_ULTRA)
    return path if path and _is_file(path) else None


def gcloud_project(folder: Path | None, configuration: str) -> tuple[str, str]:
    """Return the project of gcloud's configuration, and the configuration's name; the project is empty if unknown.

    `configuration`: the name that the environment gives it; empty: the active one.
    """
    found = _gcloud(folder)
    if found is None:
        return "", ""
    name = configuration or _text(found / "active_config").strip() or "default"
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(found / "configurations" / f"config_{name}"))
        return parser.get("core", "project", fallback="").strip(), name
    except configparser.Error:  # gcloud itself reports it
        return "", name


def facts_of(credentials_file: Path) -> dict[str, str]:
    """Return the text values of a credentials file; empty if it is unreadable, which is reported when it is used."""
    try:
        facts = json.loads(credentials_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in facts.items() if isinstance(value, str)} if isinstance(facts, dict) else {}


def _gcloud(folder: Path | None) -> Path | None:
    return folder or _expanded("~/.config/gcloud")


def _expanded(text: str) -> Path | None:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # this user has no home folder
        return None


def _is_file(path: Path) -> bool:
    """Return whether a file exists; a folder that this user cannot enter has none."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
