"""Google's credentials are those that the settings name, never another login that google-auth finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tenxsom_flow_engine.doctor.engine_checks import google_identity
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project
from tenxsom_flow_engine.settings import load

KEY, ADC = "GOOGLE_APPLICATION_CREDENTIALS", "application_default_credentials.json"
#: A person's own login.
LOGIN = {"type": "authorized_user", "client_id": "person", "client_secret": "s", "refresh_token": "r"}
SOURCE = {"type": "authorized_user", "client_id": "source", "client_secret": "s", "refresh_token": "r"}
IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/flow@p-2.test:generateAccessToken"
WORKFORCE = "//iam.googleapis.com/locations/global/workforcePools/pool/providers/own"


def pem(key: PrivateKeyTypes) -> str:
    """Return a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def files_of_all_types(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return the content of a credentials file of each type."""
    token = tmp_path / "token"
    return {
        "service_account": {
            "project_id": "p-2", "client_email": "flow@p-2.test", "token_uri": "https://oauth2.googleapis.com/token",
            "private_key": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        },
        "authorized_user": SOURCE,
        "external_account": {
            "audience": WORKFORCE, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token", "credential_source": {"file": str(token)},
            "service_account_impersonation_url": IMPERSONATION,
        },
        "external_account_authorized_user": {
            "audience": WORKFORCE, "refresh_token": "r", "token_url": "https://sts.googleapis.com/v1/token",
            "token_info_url": "https://sts.googleapis.com/v1/introspect", "client_id": "source", "client_secret": "s",
        },
        "impersonated_service_account": {
            "service_account_impersonation_url": IMPERSONATION, "source_credentials": SOURCE
        },
        "gdch_service_account": {
            "format_version": "1", "project": "p-2", "private_key_id": "k",
            "private_key": pem(ec.generate_private_key(ec.SECP256R1())),
            "name": "flow", "ca_cert_path": "", "token_uri": "https://service-identity.example/authenticate",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "identity", "project"),
    [
        ("service_account", "flow@p-2.test", "p-2"),
        ("authorized_user", "source", ""),
        ("external_account", "flow@p-2.test", ""),
        ("external_account_authorized_user", "source", ""),
        ("impersonated_service_account", "flow@p-2.test", ""),
        ("gdch_service_account", "flow", "p-2"),
    ],
)
@pytest.mark.parametrize("named_by", [KEY, "CLOUDSDK_CONFIG"])
def test_credentials_are_those_that_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, identity: str, project: str, named_by: str
) -> None:
    """A file of any type is used if only an environment file names it, also where a person has a login of their own."""
    theirs, ours, env = tmp_path / "person", tmp_path / "ours", tmp_path / "flow.env"
    theirs.mkdir()
    ours.mkdir()
    (theirs / ADC).write_text(json.dumps(LOGIN))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(theirs))
    monkeypatch.setenv("HOME", str(theirs))
    monkeypatch.delenv(KEY, raising=False)
    file = ours / ADC
    file.write_text(json.dumps({**files_of_all_types(tmp_path)[kind], "type": kind}))
    env.write_text(f"{named_by}={file if named_by == KEY else ours}\n")
    found = load({"TENXSOM_HOME": str(tmp_path), "REDIS_PORT": "1", "TENXSOM_ENV_FILE": str(env)})
    credentials, its_project = credentials_and_project(found.cloud_tasks)
    names = ("service_account_email", "client_id", "_service_identity_name")
    assert identity in [getattr(credentials, name, None) for name in names]
    assert its_project == project


def test_a_persons_login_does_not_replace_the_metadata_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Google machine, a login that the settings do not name is refused."""
    theirs = tmp_path / "person"
    theirs.mkdir()
    (theirs / ADC).write_text(json.dumps(LOGIN))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(theirs))
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(ConfigurationError, match="another login than the metadata server's"):
        credentials_and_project(
            load({"TENXSOM_HOME": str(tmp_path), "K_SERVICE": "x", "CLOUDSDK_CONFIG": str(tmp_path)}).cloud_tasks
        )


@pytest.mark.skipif(load({}).cloud_tasks.on_google, reason="this machine has an identity of Google's")
def test_the_file_of_google_ai_ultra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is loaded where no other credentials are set, and `doctor` names the account, the file and the project."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".google-ai-ultra-credentials.json"
    file.write_text(json.dumps({**files_of_all_types(tmp_path)["service_account"], "type": "service_account"}))
    found = load({"TENXSOM_HOME": str(tmp_path)}).cloud_tasks
    credentials, project = credentials_and_project(found)
    assert (getattr(credentials, "service_account_email", None), project) == ("flow@p-2.test", "p-2")
    assert google_identity(found, project) == (
        f"Google identity flow@p-2.test (from ~/{file.name}, {file}), project p-2 (from ~/{file.name})"
    )
