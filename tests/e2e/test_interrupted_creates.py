"""A paid create is never cut off by the signals that end a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.services.http.fake_server import At, Request
from tenxsom_flow_engine.services.ltx_studio.fake import KEY, FakeLtx

from .conftest import ROOT, WAIT_SECONDS, Flow
from .test_terminal import Terminal

SINGLE = ("single", "--topic", "Tides", "--job-id", "tides", "--duration", "6", "--wait")


class SlowVendor:
    """A fake LTX that sells a video, and answers when the test allows it."""

    def __init__(self, ltx: FakeLtx) -> None:
        self.sold = threading.Event()
        self.may_answer = threading.Event()
        ltx.on_moment = self._at

    def _at(self, route: str, moment: At, request: Request) -> None:
        if route.startswith("create") and moment is At.DONE:
            self.sold.set()
            self.may_answer.wait(WAIT_SECONDS)


@pytest.fixture
def vendor(flow: Flow) -> Iterator[SlowVendor]:
    with FakeLtx() as ltx:
        ltx.life = ("pending",)
        flow.environment |= {
            "LTX_API_KEY": KEY, "LTX_BASE_URL": ltx.url, "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true"
        }  # fmt: skip
        yield SlowVendor(ltx)


def the_ticket_is_kept(flow: Flow) -> bool:
    store = flow.store()
    try:
        record = store.require("tides")
    finally:
        store.close()
    return record.status is Status.RENDERING and record.submission.ticket is not None


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_waiting_for_a_video(flow: Flow, vendor: SlowVendor, stop: signal.Signals) -> None:
    """`single --wait` ends after the answer to its paid create, and keeps the ticket."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_flow_enhanced.py"), *SINGLE],
        env=flow.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert vendor.sold.wait(WAIT_SECONDS)
    for _ in range(1 if stop is signal.SIGINT else 2):  # `timeout` and shells send these twice
        process.send_signal(stop)
    vendor.may_answer.set()
    _, messages = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130, messages
    assert "job tides stays in the queue" in messages
    assert the_ticket_is_kept(flow)


def test_a_closed_terminal(flow: Flow, vendor: SlowVendor) -> None:
    """If its terminal is closed, `single --wait` keeps the ticket too, though it can print nothing more."""
    terminal = Terminal(flow, *SINGLE)
    assert vendor.sold.wait(WAIT_SECONDS)
    code = terminal.close()
    vendor.may_answer.set()
    assert code() in (1, 130)
    assert the_ticket_is_kept(flow)


def test_a_worker_under_nohup(flow: Flow) -> None:
    """A worker that was started with SIGHUP ignored continues when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = flow.worker(TENXSOM_SIMULATED="latency=0")
    finally:
        signal.signal(signal.SIGHUP, before)
    flow.until(lambda: "serves the" in flow.log(), "the worker's start")
    os.killpg(worker.pid, signal.SIGHUP)
    flow.run("single", "--topic", "Tides", "--service", "simulated", "--job-id", "tides")
    flow.until(lambda: flow.json("show", "tides", "--json")["status"] == "succeeded", "the video")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_SECONDS) == 0
