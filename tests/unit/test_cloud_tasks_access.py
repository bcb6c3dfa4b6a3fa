"""Credentials and project for Cloud Tasks: missing settings are found without a request, and named."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project, lacking
from tenxsom_flow_engine.queues.selection import choose_queue
from tenxsom_flow_engine.settings import Settings, load

URL, PROJECT, KEY = "CLOUD_TASKS_WORKER_URL", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections, because `auto` checks for a Redis server on this machine."""

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refused)


def settings(tmp_path: Path, **variables: str) -> Settings:
    """Return the settings of a machine outside Google, unless the test writes the file `product`."""
    values = {"CLOUDSDK_CONFIG": str(tmp_path), "TENXSOM_HOME": str(tmp_path), "REDIS_PORT": "1", **variables}
    found = load(values)
    return replace(found, cloud_tasks=replace(found.cloud_tasks, product_name=tmp_path / "product"))


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"project_id": "p-2", "client_email": "key@p-2.test", "type": "service_account"}))
    return str(file)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((), [URL, PROJECT, KEY]),
        ((URL,), [PROJECT, KEY]),
        ((URL, PROJECT), [KEY]),
        ((URL, KEY), []),  # the key file contains the project
        ((PROJECT, KEY), [URL]),
        ((URL, PROJECT, "CLOUD_TASKS_EMULATOR_HOST"), []),
        ((URL, "CLOUD_TASKS_EMULATOR_HOST"), [PROJECT]),
        ((URL, "K_SERVICE"), []),  # there the metadata server has the rest
        ((URL, "GCE_METADATA_HOST"), []),
    ],
)
def test_auto_names_missing_variables(tmp_path: Path, given: tuple[str, ...], missing: list[str]) -> None:
    """`auto` chooses Cloud Tasks if configured; otherwise it names the missing variables and tries the next queue."""
    values = {URL: "https://worker.example", PROJECT: "p-1", KEY: key_file(tmp_path)}
    found = settings(tmp_path, **{name: values.get(name, "here:1") for name in given})
    assert lacking(found.cloud_tasks) == missing
    choice = choose_queue(found, None)
    assert choice.queue_type == ("local" if missing else "cloud_tasks")
    assert all(name in choice.reason for name in missing)
    assert choose_queue(found, None, pulled=True).queue_type == "local"


def test_a_google_machine(tmp_path: Path) -> None:
    """On a Google machine the metadata server has the credentials, which is known without a request to it."""
    (tmp_path / "product").write_text("Google Compute Engine\n")
    assert lacking(settings(tmp_path, CLOUD_TASKS_WORKER_URL="https://worker.example").cloud_tasks) == []


def test_missing_credentials_are_named(tmp_path: Path) -> None:
    """Without credentials there is no network request: the error says what to set."""
    with pytest.raises(ConfigurationError) as refusal:
        credentials_and_project(settings(tmp_path).cloud_tasks)
    assert KEY in refusal.value.next_step


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"type": "service_account"}'])
def test_a_bad_key_file_is_named(tmp_path: Path, text: str | None) -> None:
    """A missing or invalid key file is an error that names the file."""
    file = tmp_path / "bad.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        credentials_and_project(settings(tmp_path, **{KEY: str(file)}).cloud_tasks)
    assert str(file) in refusal.value.message


@pytest.mark.parametrize("kind", ["impersonated_service_account", "no_such_type"])
def test_an_incomplete_file_is_named(tmp_path: Path, kind: str) -> None:
    """A file without the fields of its type is an error that names the file."""
    file = tmp_path / "bad.json"
    file.write_text(json.dumps({"type": kind}))
    with pytest.raises(ConfigurationError) as refusal:
        credentials_and_project(settings(tmp_path, **{KEY: str(file)}).cloud_tasks)
    assert str(file) in refusal.value.message
