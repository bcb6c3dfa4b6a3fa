"""The draft service with real rendering processes: behaviour after crashes, lost files and full disks."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from tenxsom_flow_engine.errors import InvalidInput, Transient
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.services.base import Cancels, Failed, Lost, Progress, Ready
from tenxsom_flow_engine.services.draft import service as module
from tenxsom_flow_engine.services.draft.render.fonts import Library
from tenxsom_flow_engine.services.draft.service import CHILD, SETTLED, STALE, DraftService
from tenxsom_flow_engine.services.draft.workfolder import FILES, Order, WorkFolder
from tests.service_fixtures import order_and_create

JOB = VideoJob(job_id="job", topic="Why the ocean glows at night", duration=1, quality="540p", created_at=0.0)
LONG = VideoJob(job_id="long", topic="Why the ocean glows at night", duration=60, created_at=0.0)


#: Renders with the bundled fonts only.
WITHOUT_FONTS = """
from tenxsom_flow_engine.services.draft.render.fonts import Library
child.main(sys.argv[1], render=lambda order, folder: child.render_order(order, folder, Library(folders=())))
"""
MakeService = Callable[..., DraftService]


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Return a factory of services on one folder, with optional replacements of the render. Kills the renders."""
    made: list[DraftService] = []

    def make(*child: str) -> DraftService:
        made.append(DraftService(tmp_path / "drafts", child=child or CHILD))
        return made[-1]

    yield make
    for service in made:
        end(service)


@pytest.fixture
def service(make_service: MakeService) -> DraftService:
    """Return a service that really renders."""
    return make_service()


def end(service: DraftService) -> None:
    for child in service._children:
        child.kill()
        child.wait()


def folder_of(ticket: Ticket) -> WorkFolder:
    return WorkFolder(Path(ticket.id))


def wait_for_the_child(ticket: Ticket) -> None:
    """Wait until no process holds the folder's lock."""
    with (folder_of(ticket).path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def program(code: str) -> tuple[str, ...]:
    """Return Python arguments that run this code instead of a render; `sys.argv[1]` is the path of the work folder."""
    return "-c", f"import sys\nfrom tenxsom_flow_engine.services.draft import child\n{code}"


def held_render(tmp_path: Path) -> tuple[tuple[str, ...], Path]:
    """Return a program that renders once the pipe has been written to, and the pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    return program(f"open({str(pipe)!r}).read()\nchild.main(sys.argv[1])"), pipe


def finished(service: DraftService, reference: str = "order") -> WorkFolder:
    """Return a work folder with the files of a finished render."""
    folder = WorkFolder(service._root / reference)
    folder.begin(Order("topic", "", 1, "9:16", "540p", "topic"))
    for name in FILES:
        (folder.files / name).write_bytes(b"made")
    folder.finish()
    return folder


def test_the_service_starts_without_the_renderers_libraries() -> None:
    """Commands that do not render do not import the renderer's libraries."""
    code = f"import sys, {module.__name__}; assert not {{'numpy', 'av', 'PIL'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_order_becomes_files(make_service: MakeService, tmp_path: Path) -> None:
    """An order is rendered and polled, and its files can be fetched more than once."""
    held, pipe = held_render(tmp_path)
    service = make_service(*held)
    ticket = order_and_create(service, JOB, "order")
    assert isinstance(service.check(ticket), Progress)
    pipe.write_text("go")
    wait_for_the_child(ticket)
    ready = service.check(ticket)
    assert isinstance(ready, Ready)
    for staging in (tmp_path / "first", tmp_path / "second"):
        staging.mkdir()
        service.fetch(JOB, ready, staging)
        assert {file.name for file in staging.iterdir()} == set(FILES)


def test_a_killed_render_is_restarted(make_service: MakeService, service: DraftService, tmp_path: Path) -> None:
    """An order survives a kill -9 of its render."""
    first = make_service(*held_render(tmp_path)[0])
    ticket = order_and_create(first, JOB, "order")
    os.kill(first._children[0].pid, signal.SIGKILL)
    wait_for_the_child(ticket)
    assert isinstance(service.check(ticket), Progress)
    wait_for_the_child(ticket)
    assert isinstance(service.check(ticket), Ready)


def test_a_render_that_dies_three_times_has_failed(make_service: MakeService) -> None:
    """A render that always dies fails with the last line of its error output and leaves no incomplete files."""
    dying = program("open(sys.argv[1] + '/files/video.mp4', 'w'); sys.exit('the sky fell')")
    service = make_service(*dying)
    ticket = order_and_create(service, JOB, "order")
    wait_for_the_child(ticket)
    for _ in range(2):
        service.check(ticket)  # restarts it
        wait_for_the_child(ticket)
    answer = service.check(ticket)
    assert answer == service.check(ticket) == Failed("the render failed 3 times: the sky fell")
    assert list(folder_of(ticket).files.iterdir()) == []


def test_many_workers_render_an_order_once(make_service: MakeService) -> None:
    """Repeated creates by many workers, concurrent or later, start one render."""
    services = [make_service(*program("")) for _ in range(6)]
    with ThreadPoolExecutor(12) as pool:
        tickets = list(pool.map(lambda service: order_and_create(service, JOB, "order"), services * 2))
    assert len(set(tickets)) == 1
    wait_for_the_child(tickets[0])
    order_and_create(services[0], JOB, "order")
    assert sum(len(service._children) for service in services) == 1
    assert folder_of(tickets[0]).starts == 1


def test_another_worker_follows_a_running_render(make_service: MakeService, tmp_path: Path) -> None:
    """A worker with a different output folder finds a running render and its result."""
    held, pipe = held_render(tmp_path)
    service = make_service(*held)
    ticket = order_and_create(service, JOB, "order")
    other = DraftService(tmp_path / "elsewhere")
    assert isinstance(other.check(ticket), Progress)
    pipe.write_text("go")
    wait_for_the_child(ticket)
    assert isinstance(other.check(ticket), Ready)
    assert folder_of(ticket).starts == 1


def test_a_relative_root_makes_a_ticket_for_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket is valid from every working directory."""
    monkeypatch.chdir(tmp_path)
    service = DraftService(Path("drafts"), child=program(""))
    ticket = order_and_create(service, JOB, "order")
    end(service)
    assert ticket.id == str(tmp_path / "drafts" / "order")


def test_a_deleted_folder_is_lost(service: DraftService) -> None:
    """An order whose work folder was deleted counts as lost, not as failed."""
    ticket = Ticket(str(finished(service).path))
    assert isinstance(service.check(ticket), Ready)
    shutil.rmtree(ticket.id)
    assert isinstance(service.check(ticket), Lost)


def test_a_folder_of_another_machine_is_not_lost(service: DraftService) -> None:
    """The error for a render's folder on another machine names that machine."""
    for call in (service.check, service.cancel):
        with pytest.raises(Transient, match="renders on elsewhere") as caught:
            call(Ticket("/not/here", account="elsewhere"))
        assert "TENXSOM_OUTPUT_DIR" in caught.value.next_step


def test_files_deleted_before_the_fetch_are_a_transient_error(service: DraftService, tmp_path: Path) -> None:
    """A fetch that finds no files is a transient error, so that the job is polled again."""
    folder = finished(service)
    (folder.files / "video.mp4").unlink()
    with pytest.raises(Transient, match="no longer exists"):
        service.fetch(JOB, Ready(str(folder.path)), tmp_path)


def test_a_topic_that_cannot_be_shown_is_refused_with_a_next_step(make_service: MakeService) -> None:
    """A refusal has the same reason and next step at every poll, and is not rendered again."""
    service = make_service(*program(WITHOUT_FONTS))
    ticket = order_and_create(
        service, VideoJob(job_id="job", topic="海", duration=1, quality="540p", created_at=0.0), "order"
    )
    wait_for_the_child(ticket)
    for _ in range(2):
        assert service.check(ticket) == Failed(
            "no font on this machine covers: 海 (U+6D77)",
            next_step="apt install fonts-noto-cjk, or rewrite the text",
        )
    assert folder_of(ticket).starts == 1


@pytest.mark.parametrize(
    ("topic", "prompt", "field", "package"),
    [
        ("海が光る", "", "topic", "fonts-noto-cjk"),
        ("The sea", "It glows. लहर", "prompt", "fonts-noto-core"),
        ("🌊🌊", "", "topic", "fonts-noto-color-emoji"),
    ],
)
def test_a_job_without_a_font_is_refused_when_it_is_added(
    tmp_path: Path, topic: str, prompt: str, field: str, package: str
) -> None:
    """A topic or prompt that no font covers does not fit, with the package to install."""
    service = DraftService(tmp_path, fonts=Library(folders=()))
    with pytest.raises(InvalidInput) as caught:
        service.fit(replace(JOB, topic=topic, prompt=prompt))
    assert caught.value.field == field
    assert caught.value.next_step == f"apt install {package}, or rewrite the text"


@pytest.mark.parametrize("topic", ["Why the ocean glows at night", "L’été à Zürich", "Почему?", "Octopus 🐙"])
def test_a_job_with_the_bundled_fonts_fits_everywhere(tmp_path: Path, topic: str) -> None:
    """A text in the bundled fonts fits on a machine without fonts; its emoji are omitted."""
    job = replace(JOB, topic=topic)
    assert DraftService(tmp_path, fonts=Library(folders=())).fit(job).job == job


def test_a_full_disk_while_rendering(make_service: MakeService) -> None:
    """A render that fills the disk fails with the advice to free space, leaves no files, and is restarted twice."""
    full = program(
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\nchild.main(sys.argv[1])"
    )
    service = make_service(*full)
    ticket = order_and_create(service, JOB, "order")
    for _ in range(2):
        wait_for_the_child(ticket)
        with pytest.raises(Transient, match="could not be written") as caught:
            service.check(ticket)
        assert caught.value.next_step.startswith("free some space")
        assert list(folder_of(ticket).files.iterdir()) == []
        assert isinstance(service.check(ticket), Progress)
    wait_for_the_child(ticket)
    answer = service.check(ticket)
    assert isinstance(answer, Failed)
    assert "free some space" in answer.message


def test_a_full_disk_at_the_order(service: DraftService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step for an order on a full disk is to free some space."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Transient, match="No space left") as caught:
        order_and_create(service, JOB, "order")
    assert caught.value.next_step.startswith("free some space")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("time_base=0, time_per_second=0", "took longer than 0 seconds"),
        ("memory=2**30, render=lambda *_: bytearray(2**31)", "more than 1.0 GiB of memory"),
    ],
)
def test_a_render_beyond_its_limits_is_stopped(make_service: MakeService, limit: str, reason: str) -> None:
    """A render that takes too long or too much memory is stopped, and the failure has the reason."""
    service = make_service(*program(f"child.main(sys.argv[1], {limit})"))
    ticket = order_and_create(service, JOB, "order")
    wait_for_the_child(ticket)
    for _ in range(2):
        service.check(ticket)  # restarts it
        wait_for_the_child(ticket)
    answer = service.check(ticket)
    assert isinstance(answer, Failed)
    assert reason in answer.message


def test_a_cancelled_render_stops_and_leaves_nothing(service: DraftService) -> None:
    """A cancelled draft stops early and its folder is removed; cancelling it again does nothing."""
    assert isinstance(service, Cancels)
    ticket = order_and_create(service, LONG, "order")
    child = service._children[0]
    service.cancel(ticket)
    assert isinstance(service.check(ticket), Lost)
    assert child.wait() == 0
    assert not folder_of(ticket).path.exists()
    assert isinstance(service.check(ticket), Lost)
    service.cancel(ticket)


def test_a_cancelled_order_without_a_render_is_removed_at_once(service: DraftService) -> None:
    """Cancelling a draft whose render has finished or died removes its folder."""
    folder = finished(service)
    service.cancel(Ticket(str(folder.path)))
    assert not folder.path.exists()


def test_a_published_draft_is_swept_a_minute_later(service: DraftService, tmp_path: Path) -> None:
    """The work folder of a published video is removed, but not while the video might be fetched again."""
    folder = finished(service)
    service.fetch(JOB, Ready(str(folder.path)), tmp_path)
    service.sweep()
    assert folder.finished
    DraftService(service._root, now=lambda: time.time() + SETTLED + 1).sweep()
    assert not folder.path.exists()
    assert (tmp_path / "video.mp4").read_bytes() == b"made"


def test_a_draft_that_was_not_fetched_is_swept_a_day_later(service: DraftService) -> None:
    """A draft that was not fetched is kept for a day."""
    folder = finished(service)
    DraftService(service._root, now=lambda: time.time() + STALE - 60).sweep()
    assert folder.path.exists()
    DraftService(service._root, now=lambda: time.time() + STALE + 60).sweep()
    assert not folder.path.exists()


def test_a_cancelled_draft_is_swept_at_once(service: DraftService) -> None:
    """A cancelled draft whose render was killed before it removed the folder is removed."""
    folder = finished(service)
    folder.cancel()
    service.sweep()
    assert not folder.path.exists()


def test_a_running_render_is_never_swept(make_service: MakeService, tmp_path: Path) -> None:
    """The folder of a running render is kept, whatever its age."""
    service = make_service(*held_render(tmp_path)[0])
    ticket = order_and_create(service, JOB, "order")
    DraftService(service._root, now=lambda: time.time() + 2 * STALE).sweep()
    assert isinstance(service.check(ticket), Progress)


def test_a_folder_that_cannot_be_removed_does_not_stop_the_sweep(
    service: DraftService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be removed is named in the log, and the others are removed."""
    stuck, *others = (finished(service, reference) for reference in "abc")
    (service._root / ".DS_Store").touch()
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        if self == stuck.path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    DraftService(service._root, now=lambda: time.time() + 2 * STALE).sweep()
    assert [folder.path.exists() for folder in others] == [False, False]
    assert [(record.levelname, str(stuck.path) in record.getMessage()) for record in caplog.records] == [
        ("WARNING", True)
    ]


def test_a_sweep_before_the_first_order_finds_nothing(service: DraftService) -> None:
    """A sweep without a folder does nothing."""
    service.sweep()
    assert not service._root.exists()


def test_a_folder_without_an_order_is_neither_changed_nor_removed(service: DraftService) -> None:
    """A folder that no order made is not a draft: a check reports it as lost, a cancellation leaves it alone."""
    folder = service._root / "foreign"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "kept").write_text("mine")
    assert isinstance(service.check(Ticket(str(folder))), Lost)
    service.cancel(Ticket(str(folder)))
    assert [path.name for path in folder.rglob("*")] == ["files", "kept"]
