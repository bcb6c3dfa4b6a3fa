"""The dashboard as a separate process, for installations whose workers pull."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.request

import pytest

from tests.e2e.conftest import ROOT, WAIT_SECONDS, Flow


def has_ipv6() -> bool:
    """Return whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_dashboard_serves_until_stopped(flow: Flow, host: str) -> None:
    """`dashboard` names the place of its token, serves its address, and redirects visitors to the login."""
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    process = flow._start([str(ROOT / "run_flow_enhanced.py"), "dashboard", "--host", host, "--port", "0"], {})
    listening = flow.until(lambda: re.search(r"Listening at: (http://[][\d.:]+)", flow.log()), "the address")
    assert str(flow.home / "admin-token") in flow.log()
    with urllib.request.urlopen(f"{listening[1]}/health", timeout=WAIT_SECONDS) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{listening[1]}/", timeout=WAIT_SECONDS) as page:
        assert page.url.startswith(f"{listening[1]}/login")
    os.killpg(process.pid, signal.SIGHUP)  # as a terminal that is closed
    assert process.wait(WAIT_SECONDS) == 0
