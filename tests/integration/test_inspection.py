"""The inspection of delivered files: a crafted file costs its job, never the worker."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import InvalidVideo, OutputError
from tenxsom_flow_engine.output.inspection import Inspector
from tenxsom_flow_engine.output.inspection_child import MAX_FILES
from tenxsom_flow_engine.output.media import MAX_FRAMES, MediaFacts
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tests import crafted_media
from tests.fork_server import ROOT

FACTS = MediaFacts(3.0, 64, 96)

#: Faults of a child, by the name of the file; other files are examined as usual.
FAULTY = """
import os, signal, sys, time
from pathlib import Path
from tenxsom_flow_engine.output import inspection_child as child

def spin():
    while True:
        pass

def open_files():
    files = [open("/dev/null") for _ in range(1000)]

def fill_memory():
    parts = [bytearray(1 << 24) for _ in range(1000)]

def raise_(error):
    raise error

FAULTS = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "spin": spin,
    "sleep": lambda: time.sleep(1000),
    "memory": fill_memory,
    "files": open_files,
    "exit": lambda: os._exit(3),
    "second": lambda: seen and os.abort(),
    "name itself": lambda: Path(sys.argv[2]).write_text(str(os.getpid())),
    "attribute": lambda: raise_(AttributeError("no\\x1b[2J stream")),
    "unicode": lambda: b"\\xff".decode(),
    "large file": lambda: Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", f"big.{os.getpid()}")
        .write_bytes(bytes(2 << 20)),
}

#: The files that this child has examined.
seen = []

def examine(path, thumbnail):
    FAULTS.get(path.name, lambda: None)()
    seen.append(path)
    return child.examine(path.parent / "video.mp4", thumbnail)

child.main(examine, child.Limits(memory=512 << 20, processor_time=1, wall_time=int(sys.argv[1]), file_size=1 << 20))
"""


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    with closing(Inspector()) as made:
        yield made


@pytest.fixture(scope="module")
def faulty() -> Iterator[Inspector]:
    with closing(Inspector(("-c", FAULTY, "60"))) as made:
        yield made


def write(folder: Path, content: bytes) -> Path:
    path = folder / "video.mp4"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_video_is_read(inspector: Inspector, tmp_path: Path, container: str) -> None:
    """The properties of an MP4 and of a MOV are returned, and the thumbnail is a JPEG."""
    path = write(tmp_path, crafted_media.video(container))
    assert inspector.inspect(path, tmp_path / "thumbnail.jpg") == FACTS
    assert (tmp_path / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
    (tmp_path / "thumbnail.jpg").unlink()
    assert inspector.inspect(path) == FACTS
    assert not (tmp_path / "thumbnail.jpg").exists()


@pytest.mark.parametrize("content", crafted_media.TEXTS.values(), ids=crafted_media.TEXTS)
def test_a_text_is_not_a_video(inspector: Inspector, tmp_path: Path, content: bytes) -> None:
    """A text that FFmpeg would open as a video, also one that names another file, is refused."""
    (tmp_path / "other.mp4").write_bytes(crafted_media.video())
    for prefix in (b"", bytes(8), b"\0\0\0\x10ftypisom\0\0\0\0"):
        with pytest.raises(OutputError):
            inspector.inspect(write(tmp_path, prefix + content))
    with pytest.raises(InvalidVideo, match="is not an MP4 or MOV file"):
        inspector.inspect(write(tmp_path, content))


INVALID = {
    "a GIF": (crafted_media.gif, "not an MP4 or MOV"),
    "pictures in a MOV": (lambda: crafted_media.video("mov", "png", "rgb24"), "has the codec png"),
    "too many pixels": (lambda: crafted_media.with_picture_size(16000, 16000), "16000 × 16000 pixels"),
    "too many frames": (lambda: crafted_media.with_frames(600_000), f"more than {MAX_FRAMES:,} frames"),
    "too many frames in a chunk": (lambda: crafted_media.with_samples_in_one_chunk(600_000), "frames"),
    "as many frames as possible": (lambda: crafted_media.with_frames(2**32 - 1), "frames"),
    "damaged header": (lambda: crafted_media.with_picture_size(64, 96), "not a valid video"),
}


@pytest.mark.parametrize(("make", "reason"), INVALID.values(), ids=INVALID)
def test_an_invalid_video(inspector: Inspector, tmp_path: Path, make: object, reason: str) -> None:
    """A file of another format, or beyond a limit, is refused for good, with the reason."""
    assert callable(make)
    with pytest.raises(InvalidVideo, match=reason):
        inspector.inspect(write(tmp_path, make()), tmp_path / "thumbnail.jpg")


@pytest.mark.parametrize("movflags", ["disable_chpl", "faststart"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file(inspector: Inspector, tmp_path: Path, share: float, movflags: str) -> None:
    """A truncated file is incomplete, so that it is downloaded again."""
    whole = crafted_media.video(movflags=movflags)
    with pytest.raises(OutputError) as caught:
        inspector.inspect(write(tmp_path, whole[: int(len(whole) * share)]))
    assert type(caught.value) is OutputError


def test_metadata_in_another_encoding(inspector: Inspector, tmp_path: Path) -> None:
    """Metadata that are not UTF-8 make no difference."""
    assert inspector.inspect(write(tmp_path, crafted_media.with_title(b"caf\xe9 \xff\xfe"))) == FACTS


FAULTS: dict[str, tuple[type[Exception], str]] = {
    "crash": (InvalidVideo, "crashes the video library .SIGSEGV"),
    "abort": (InvalidVideo, "crashes the video library .SIGABRT"),
    "spin": (InvalidVideo, "processor time"),
    "memory": (InvalidVideo, "more than 512 MiB of memory"),
    "attribute": (InvalidVideo, r"the library fails on it: AttributeError: no \[2J stream"),
    "unicode": (InvalidVideo, "UnicodeDecodeError"),
    "killed": (OutputError, "was killed"),
    "exit": (OutputError, "exit code 3"),
    "files": (OSError, os.strerror(errno.EMFILE)),
    "large file": (OSError, os.strerror(errno.EFBIG)),
}


@pytest.mark.parametrize(("name", "kind", "reason"), [(name, *row) for name, row in FAULTS.items()], ids=FAULTS)
def test_a_fault_of_a_child(faulty: Inspector, tmp_path: Path, name: str, kind: type[Exception], reason: str) -> None:
    """A child that crashes, or reaches a limit, costs its file; the next file is inspected as usual."""
    write(tmp_path, crafted_media.video())
    with pytest.raises(kind, match=reason) as caught:
        faulty.inspect(tmp_path / name)
    assert type(caught.value) is kind
    assert faulty.inspect(tmp_path / "video.mp4") == FACTS


def test_a_file_that_takes_too_long(tmp_path: Path) -> None:
    """A file that is not read within the time limit is inspected again later."""
    with closing(Inspector(("-c", FAULTY, "1"))) as inspector, pytest.raises(OutputError) as caught:
        inspector.inspect(tmp_path / "sleep")
    assert type(caught.value) is OutputError
    assert "could not be read within" in caught.value.message


def test_valid_videos_share_a_child(tmp_path: Path) -> None:
    """A child reads several valid videos, each within its own limits, and a file that is not one ends it."""
    write(tmp_path, crafted_media.video())
    report = tmp_path / "pid"

    def child() -> str:
        assert made.inspect(tmp_path / "name itself") == FACTS
        return report.read_text()

    with closing(Inspector(("-c", FAULTY, "60", str(report)), at_once=1)) as made:
        first = child()
        assert child() == first
        for fault in ("attribute", "spin", "killed"):
            before = child()
            with pytest.raises(OutputError):
                made.inspect(tmp_path / fault)
            assert child() != before
        assert made.inspect(tmp_path / "second") == FACTS  # a fault of every child but a new one
        killed = int(child())
        os.kill(killed, signal.SIGKILL)
        while running(killed):
            time.sleep(0.005)
        assert child() != str(killed)


def test_a_child_reads_a_limited_number_of_videos(tmp_path: Path) -> None:
    """After so many videos the next one gets a new child."""
    write(tmp_path, crafted_media.video())
    report, seen = tmp_path / "pid", []
    with closing(Inspector(("-c", FAULTY, "60", str(report)), at_once=1)) as made:
        for _ in range(MAX_FILES + 1):
            assert made.inspect(tmp_path / "name itself") == FACTS
            seen.append(report.read_text())
    assert [seen.count(pid) for pid in dict.fromkeys(seen)] == [MAX_FILES, 1]


def test_a_process_that_was_killed_is_replaced(tmp_path: Path, children: Callable[[], set[int]]) -> None:
    """If the process is killed between two files, the next file is inspected by a new one."""
    path = write(tmp_path, crafted_media.video())
    with closing(Inspector(at_once=1)) as inspector:
        assert inspector.inspect(path) == FACTS
        (first,) = children()
        os.kill(first, signal.SIGKILL)
        assert inspector.inspect(path) == FACTS
        (second,) = children()
        assert first != second
    assert children() == set()


def test_a_process_that_does_not_answer(tmp_path: Path, children: Callable[[], set[int]]) -> None:
    """A process that hangs is killed, and its file is inspected again later."""
    with closing(Inspector(("-c", "import time; time.sleep(1000)"), timeout=0.2)) as inspector:
        with pytest.raises(OutputError, match=r"within 0\.2 s"):
            inspector.inspect(write(tmp_path, b""))
        assert children() == set()


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "print('no answer', flush=True); input()"])
def test_a_process_that_cannot_start(tmp_path: Path, program: str, children: Callable[[], set[int]]) -> None:
    """A process that ends or prints nonsense is an error with the next step."""
    with closing(Inspector(("-c", program))) as inspector, pytest.raises(OutputError) as caught:
        inspector.inspect(write(tmp_path, b""))
    assert "packages av and pillow" in caught.value.next_step
    assert children() == set()


def test_many_threads(tmp_path: Path, children: Callable[[], set[int]]) -> None:
    """Threads that inspect at the same time get their own answers, and share a few processes."""
    paths = []
    for seconds in range(1, 9):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        paths.append(write(folder, tiny_video("1:1", seconds)))
    with closing(Inspector(at_once=2)) as inspector, ThreadPoolExecutor(8) as pool:
        facts = list(pool.map(inspector.inspect, paths * 3))
        assert len(children()) == 2
    assert [one.duration for one in facts] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0] * 3
    assert children() == set()


def test_a_child_ends_with_its_worker(tmp_path: Path) -> None:
    """When a worker is killed while a file is inspected, the inspection ends as well."""
    report = tmp_path / "pids"
    hanging = (
        "import os, time; from pathlib import Path; from tenxsom_flow_engine.output import inspection_child as child\n"
        f"def examine(path, thumbnail): Path({str(report)!r}).write_text(f'{{os.getppid()}} {{os.getpid()}}\\n');"
        " time.sleep(1000)\n"
        "child.main(examine)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from tenxsom_flow_engine.output.inspection import"
         " Inspector\nInspector(('-c', sys.argv[1])).inspect(Path('video.mp4'))", hanging], cwd=ROOT,
    )  # fmt: skip
    while not (report.exists() and report.read_text().endswith("\n")):
        time.sleep(0.005)
    worker.kill()
    worker.wait()
    for pid in report.read_text().split():
        while running(int(pid)):
            time.sleep(0.005)


def test_the_worker_loads_no_video_library() -> None:
    """Only the child imports the libraries that read videos."""
    code = (
        "import sys; from tenxsom_flow_engine.output import folder; assert not {'av', 'PIL', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def running(pid: int) -> bool:
    """Return whether a process runs, and is not a zombie that no process has waited for yet."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """Return a function that returns this process's new children, also those that nobody has waited for."""
    before = child_processes()
    return lambda: child_processes() - before


def child_processes() -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(") ")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found
