"""`run_flow_enhanced.py emulator` as a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from tenxsom_flow_engine.env.file import read_env_file
from tests.e2e.conftest import ROOT, WAIT_SECONDS
from tests.http_target import ScriptedTarget

COMMAND = [sys.executable, str(ROOT / "run_flow_enhanced.py"), "emulator"]


def test_the_emulator_prints_settings_and_delivers(tmp_path: Path) -> None:
    """Even behind a proxy, the emulator prints a settings file, creates a queue, and delivers with a token."""
    target = ScriptedTarget()
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    proxied = {name: value for name, value in os.environ.items() if name.lower() not in ("no_proxy", "no_grpc_proxy")}
    proxied |= dict.fromkeys([*names, *(name.upper() for name in names)], "http://127.0.0.1:1")
    with (tmp_path / "env").open("w") as output:
        emulator = subprocess.Popen(
            [*COMMAND, "--port", "0", "--queue", "videos"],
            env=proxied,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        assert emulator.stderr is not None
        assert "serving" in emulator.stderr.readline()
        values = read_env_file(tmp_path / "env")
        with urllib.request.urlopen(str(values["TENXSOM_TOKEN_CERTS_URL"]), timeout=WAIT_SECONDS) as answer:
            assert all("BEGIN CERTIFICATE" in pem for pem in json.load(answer).values())
        with grpc.insecure_channel(values["CLOUD_TASKS_EMULATOR_HOST"]) as channel:
            client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
            queue = client.queue_path(
                str(values["GOOGLE_CLOUD_PROJECT"]),
                str(values["CLOUD_TASKS_LOCATION"]),
                str(values["CLOUD_TASKS_QUEUE"]),
            )
            oidc_token = {"service_account_email": values["CLOUD_TASKS_SERVICE_ACCOUNT"]}
            request = {"url": target.url, "oidc_token": oidc_token}
            # With Google's default limits a worker would get a hundred times more concurrent steps.
            assert client.get_queue(name=queue).rate_limits.max_concurrent_dispatches == 5
            client.create_task(parent=queue, task=tasks_v2.Task(name=f"{queue}/tasks/t-1", http_request=request))
            line = emulator.stderr.readline()
        assert "videos/t-1 attempt 1 " in line
        assert line.endswith("; done\n")
        assert target.received[0].headers["authorization"].startswith("Bearer ")
        emulator.send_signal(signal.SIGTERM)
        assert emulator.wait(WAIT_SECONDS) == 0
    finally:
        emulator.kill()
        emulator.communicate()
        target.close()


def test_a_port_that_is_taken_is_named() -> None:
    """A port in use ends the command with exit code 2 and a line that names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: cannot listen on port {port} ")
