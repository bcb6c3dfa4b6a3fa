"""The dashboard as a separate process, for installations whose workers pull."""

from __future__ import annotations

import re
import signal
import urllib.request

from tests.e2e.conftest import ROOT, WAIT_SECONDS, Flow


def test_the_dashboard_serves_until_stopped(flow: Flow) -> None:
    """`dashboard` names the place of its token, serves its address, and redirects visitors to the login."""
    process = flow._start([str(ROOT / "run_flow_enhanced.py"), "dashboard", "--port", "0"], {})
    listening = flow.until(lambda: re.search(r"Listening at: (http://[\d.:]+)", flow.log()), "the dashboard's address")
    assert str(flow.home / "admin-token") in flow.log()
    with urllib.request.urlopen(f"{listening[1]}/health", timeout=WAIT_SECONDS) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{listening[1]}/", timeout=WAIT_SECONDS) as page:
        assert page.url.startswith(f"{listening[1]}/login")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0
