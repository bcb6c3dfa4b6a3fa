"""Publishing: complete videos under their final name, or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import msgspec
import pytest

from tenxsom_flow_engine.errors import InvalidVideo, OutputError
from tenxsom_flow_engine.jobs import JobRecord, Submission, SubmissionState, Video, VideoJob
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.output.leftovers import STALE
from tenxsom_flow_engine.output.metadata import duration_note, is_short
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.testing.samples import TICKET

RECORD = JobRecord(
    submission=Submission(state=SubmissionState.ACCEPTED, id="s-1", ticket=TICKET, prompt="Tides, seen from above."),
    job=VideoJob(job_id="tides", topic="how tides work, and why", created_at=1.0),
    queue="local", nonce="aaaa", service="simulated", added_at=1.0, updated_at=1.0,
)  # fmt: skip


def fill(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "video.mp4").write_bytes(content)

    return write


def must_not_fill(folder: Path) -> None:
    raise AssertionError("the video was fetched again")


@pytest.fixture
def output(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "videos")


def test_a_video_is_published_with_all_its_files(output: OutputFolder) -> None:
    """The folder contains video, thumbnail, captions and metadata, and the properties are those of the file."""
    content = tiny_video("9:16", 3)
    video = output.publish(RECORD, fill(content))
    folder = output.root / "tides"
    assert sorted(path.name for path in folder.iterdir()) == [
        "captions.srt", "metadata.json", "thumbnail.jpg", "video.mp4"
    ]  # fmt: skip
    assert (folder / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (folder / "captions.srt").read_text("utf-8").endswith("How tides work, and why\n")
    metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    assert metadata["title"] == "How tides work, and why"
    assert metadata["hashtags"] == ["#tides", "#work", "#shorts"]
    assert metadata["made"]["prompt"] == "Tides, seen from above."
    assert metadata["sha256"] == video.sha256 == hashlib.sha256(content).hexdigest()
    assert (video.path, video.size, video.duration) == (str(folder / "video.mp4"), len(content), 3.0)
    assert (video.width, video.height) == (54, 96)
    assert list((output.root / ".staging").iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_cut_file_is_not_published(output: OutputFolder, tmp_path: Path, share: float) -> None:
    """A truncated file, also one with its index at the front, is refused, and no files remain."""
    whole = _front_loaded(tiny_video("1:1", 20), tmp_path / "front.mp4")
    assert whole.find(b"moov") < whole.find(b"mdat")
    with pytest.raises(OutputError):
        output.publish(RECORD, fill(whole[: int(len(whole) * share)]))
    assert [path.name for path in output.root.iterdir()] == [".staging"]
    assert list((output.root / ".staging").iterdir()) == []


@pytest.mark.parametrize(("seconds", "fits"), [(1, False), (2, True), (5, True), (13, True), (20, False)])
def test_a_video_of_quite_another_length_is_not_published(output: OutputFolder, seconds: int, fits: bool) -> None:
    """A complete video with a very different length is another video, and is refused with both lengths."""
    if fits:
        assert output.publish(RECORD, fill(tiny_video("1:1", seconds))).duration == seconds
        return
    with pytest.raises(OutputError, match=rf"delivered {seconds}\.0 s .* instead of the ordered 5 s"):
        output.publish(RECORD, fill(tiny_video("1:1", seconds)))
    assert not (output.root / "tides").exists()


def test_a_length_that_the_service_announced_is_published(output: OutputFolder) -> None:
    """If the service reports the length itself, any length is accepted, and the metadata has the difference."""
    assert output.publish(RECORD, fill(tiny_video("1:1", 20)), reported_duration=20.4).duration == 20.0
    note = json.loads((output.root / "tides" / "metadata.json").read_text("utf-8"))["duration_note"]
    assert note == "the service made 20.0 s instead of the ordered 5 s (400%)"
    other = msgspec.structs.replace(RECORD, nonce="bbbb")
    with pytest.raises(OutputError, match="instead of the ordered 5 s"):
        output.publish(other, fill(tiny_video("1:1", 50)), reported_duration=8.0)


@pytest.mark.parametrize(("ordered", "made", "noted"), [(5, 6.0, False), (60, 65.0, False), (60, 47.4, True),
                                                       (60, 104.4, True)])  # fmt: skip
def test_a_different_length_is_noted(ordered: int, made: float, noted: bool) -> None:
    """A noticeable difference from the ordered length is noted, with both lengths and their ratio."""
    assert bool(duration_note(ordered, made)) is noted


@pytest.mark.parametrize(
    ("width", "height", "seconds", "short"),
    [(1080, 1920, 180.0, True), (1080, 1350, 5.0, True), (1080, 1920, 180.1, False), (1080, 1080, 5.0, False),
     (1920, 1080, 5.0, False)],
)  # fmt: skip
def test_only_vertical_videos_of_three_minutes_are_shorts(width: int, height: int, seconds: float, short: bool) -> None:
    """The shape and length of the file decide whether `#shorts` is a hashtag, not the requested ones."""
    assert is_short(Video("video.mp4", seconds, width, height, 1, "")) is short


def test_a_wide_video_is_no_short(output: OutputFolder) -> None:
    """A service can make another shape than the requested one: the metadata is that of the file."""
    output.publish(RECORD, fill(tiny_video("16:9", 5)))
    metadata = json.loads((output.root / "tides" / "metadata.json").read_text("utf-8"))
    assert metadata["hashtags"] == ["#tides", "#work"]
    assert metadata["description"].endswith("\n\n#tides #work")


def test_a_file_that_is_not_a_video_is_not_published(output: OutputFolder) -> None:
    """A web page instead of a video, or no file, is an `OutputError` with the reason."""
    with pytest.raises(InvalidVideo, match="not an MP4 or MOV file"):
        output.publish(RECORD, fill(b"<html>expired</html>"))
    with pytest.raises(OutputError, match="delivered no video file"):
        output.publish(RECORD, lambda folder: None)


def test_the_later_worker_discards_its_own(output: OutputFolder) -> None:
    """If another worker publishes during the fetch, the first video stays and both workers report it."""
    first, second = tiny_video("1:1", 2), tiny_video("1:1", 4)

    def slow(folder: Path) -> None:
        output.publish(RECORD, fill(first))
        (folder / "video.mp4").write_bytes(second)

    video = output.publish(RECORD, slow)
    assert video.sha256 == hashlib.sha256(first).hexdigest()
    assert Path(video.path).read_bytes() == first


def test_a_published_job_is_not_fetched_again(output: OutputFolder) -> None:
    """A delivery that is repeated after the publication finds the video, downloads nothing and keeps its metadata."""
    video = output.publish(RECORD, fill(tiny_video("1:1", 2)))
    metadata = Path(video.path).with_name("metadata.json")
    metadata.write_text(json.dumps(json.loads(metadata.read_text("utf-8")) | {"title": "My own <title>"}), "utf-8")
    assert output.publish(RECORD, must_not_fill) == video
    assert json.loads(metadata.read_text("utf-8"))["title"] == "My own <title>"


def test_an_earlier_job_of_the_same_id_keeps_its_video(output: OutputFolder) -> None:
    """A job with the id of an earlier job gets a separate folder."""
    old = output.publish(RECORD, fill(tiny_video("1:1", 2)))
    again = msgspec.structs.replace(RECORD, nonce="bbbb")
    new = output.publish(again, fill(tiny_video("1:1", 3)))
    assert Path(old.path).is_file()
    assert new.path == str(output.root / "tides~bbbb" / "video.mp4")
    assert output.publish(again, must_not_fill) == new


def test_an_existing_folder_without_a_video_is_an_error(output: OutputFolder) -> None:
    """A folder with the job's name and other content is never overwritten."""
    (output.root / "tides").mkdir(parents=True)
    (output.root / "tides" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="contains no finished video"):
        output.publish(RECORD, fill(tiny_video("1:1", 2)))
    assert (output.root / "tides" / "notes.txt").read_text() == "mine"


def test_a_video_that_was_changed_is_not_passed_off(output: OutputFolder) -> None:
    """A folder whose video is missing or truncated does not count as published."""
    video = Path(output.publish(RECORD, fill(tiny_video("1:1", 2))).path)
    video.write_bytes(video.read_bytes()[:-1])
    with pytest.raises(OutputError, match="contains no finished video"):
        output.publish(RECORD, must_not_fill)
    video.unlink()
    with pytest.raises(OutputError, match="contains no finished video"):
        output.publish(RECORD, must_not_fill)


def test_an_unwritable_output_folder_is_an_error(tmp_path: Path) -> None:
    """The error names the folder, the reason and the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written to .*file/videos: Not a directory") as caught:
        OutputFolder(tmp_path / "file" / "videos").check()
    assert "TENXSOM_OUTPUT_DIR" in caught.value.next_step


#: Refuses what a bucket that is mounted with gcsfuse refuses by default: to rename a folder with files.
MOUNTED_BUCKET = """
import errno, os, sys
from pathlib import Path
from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.output.folder import OutputFolder

def refuse(event, arguments):
    if event == "os.rename" and os.path.isdir(arguments[0]) and os.listdir(arguments[0]):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

sys.addaudithook(refuse)
root = Path(sys.argv[1])
try:
    OutputFolder(root).check()
except OutputError as error:
    print(error.message, error.next_step, [*(root / ".staging").iterdir()])
"""


def test_a_mounted_bucket_that_renames_no_folder_is_noticed(tmp_path: Path) -> None:
    """The check renames a folder with files, as publishing does; the error leads to the bucket; nothing is left."""
    done = subprocess.run(
        [sys.executable, "-c", MOUNTED_BUCKET, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert (
        f"videos cannot be published to {tmp_path}: its file system does not rename a folder with files" in done.stdout
    )
    assert "as Cloud Storage FUSE" in done.stdout
    assert "set TENXSOM_OUTPUT_DIR=gs://BUCKET" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_a_sweep_only_removes_old_folders(output: OutputFolder) -> None:
    """Files of killed workers are removed after a day; newer ones stay, because they can be in use."""
    output.check()
    fresh, old = output.root / ".staging" / "fresh.1", output.root / ".staging" / "old.1"
    for folder in (fresh, old):
        folder.mkdir()
    probe = output.root / ".staging" / "probe.1"
    probe.touch()
    long_ago = fresh.stat().st_mtime - STALE - 1
    for leftover in (old, probe):
        os.utime(leftover, (long_ago, long_ago))
    output.sweep()
    assert [path.name for path in (output.root / ".staging").iterdir()] == ["fresh.1"]


def _front_loaded(video: bytes, path: Path) -> bytes:
    """Move the index to the front, as in downloaded files."""
    with (
        av.open(io.BytesIO(video), "r") as source,
        av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()
