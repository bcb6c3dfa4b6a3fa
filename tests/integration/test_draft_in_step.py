"""Drafts that are rendered within a step, as on Cloud Run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import Rejected, Transient
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.output.media import examine
from tenxsom_flow_engine.services.base import Ready
from tenxsom_flow_engine.services.draft.config import DraftConfig
from tenxsom_flow_engine.services.draft.service import CHILD, FETCHED, DraftService
from tenxsom_flow_engine.services.draft.workfolder import FILES, Order, WorkFolder
from tests.service_fixtures import order_and_create

JOB = VideoJob(job_id="job", topic="Why the ocean glows at night", duration=1, quality="540p", created_at=0.0)


def service_in(folder: Path, *child: str) -> DraftService:
    return DraftService(folder / "drafts", config=DraftConfig(in_step=True), child=child or CHILD)


def program(code: str) -> tuple[str, ...]:
    """Return Python arguments that run this code instead of a render; `folder` is the work folder."""
    head = "import sys; from pathlib import Path; from tenxsom_flow_engine.services.draft.workfolder import *"
    return "-c", f"{head}\nfolder = WorkFolder(Path(sys.argv[1]))\n{code}"


def test_a_draft_is_rendered_by_its_fetch(tmp_path: Path) -> None:
    """Nothing runs before the fetch, and any machine can do it: the order is in the job."""
    ticket = order_and_create(service_in(tmp_path / "one"), JOB, "order")
    other = DraftService(tmp_path / "other" / "drafts")  # also one that renders between steps
    other.check_ticket(ticket)
    ready = other.check(ticket)
    assert isinstance(ready, Ready)
    assert not (tmp_path / "one").exists()
    folder = tmp_path / "staging"
    folder.mkdir()
    other.fetch(JOB, ready, folder)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert examine(folder / "video.mp4").duration == pytest.approx(1.0, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["staging"]
    other.cancel(ticket)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("folder.fail(Fault('no font', 'install one', True))", Rejected, "no font"),
        ("folder.fail(Fault('no space', 'free some', False))", Transient, "no space"),
        ("sys.exit('out of memory')", Transient, "the render failed: out of memory"),
        ("import os; os.kill(os.getpid(), 9)", Transient, "the render failed: it was killed"),
    ],
)
def test_a_failed_render_leaves_nothing(tmp_path: Path, code: str, error: type[Exception], text: str) -> None:
    """A fault that cannot be repaired fails the job; any other is an attempt."""
    folder = tmp_path / "staging"
    folder.mkdir()
    with pytest.raises(error, match=text):
        service_in(tmp_path, *program(code)).fetch(JOB, Ready("in-step.order"), folder)
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["staging"]


def test_a_fetched_draft_is_removed_wherever_it_went(tmp_path: Path) -> None:
    """The work folder of a draft whose files are in a bucket is removed an hour after the fetch."""
    service = DraftService(tmp_path / "drafts")
    work = WorkFolder(tmp_path / "drafts" / "order")
    work.begin(Order("topic", "", 1, "9:16", "540p", "topic"))
    for name in FILES:
        (work.files / name).write_bytes(b"made")
    work.finish()
    folder = tmp_path / "staging"
    folder.mkdir()
    ready = service.check(Ticket("order"))
    assert isinstance(ready, Ready)
    service.fetch(JOB, ready, folder)
    for file in folder.iterdir():  # uploaded
        file.unlink()
    service.sweep()
    assert work.path.exists()
    long_ago = (work.path / "fetched").stat().st_mtime - FETCHED - 1
    os.utime(work.path / "fetched", (long_ago, long_ago))
    service.sweep()
    assert not work.path.exists()
