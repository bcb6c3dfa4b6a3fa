"""The conformance suite of outputs: one test for each guarantee of `output.base`.

A test module subclasses `OutputSuite` and supplies the fixture `outputs`, a function that opens the same place again,
as another machine does: with its own local folders.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tenxsom_flow_engine.errors import InvalidVideo, OutputError
from tenxsom_flow_engine.jobs import JobRecord, Submission, SubmissionState, Video, VideoJob
from tenxsom_flow_engine.output.base import FILES, Output
from tenxsom_flow_engine.output.media import examine
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.testing.samples import TICKET

RECORD = JobRecord(
    submission=Submission(state=SubmissionState.ACCEPTED, id="s-1", ticket=TICKET, prompt="Tides, seen from above."),
    job=VideoJob(job_id="tides", topic="how tides work, and why", created_at=1.0),
    queue="local", nonce="aaaa", service="simulated", added_at=1.0, updated_at=1.0,
)  # fmt: skip
#: The record of a later job with the same id.
AGAIN = msgspec.structs.replace(RECORD, nonce="bbbb")

OpenOutput = Callable[[], Output]


def fill(content: bytes) -> Callable[[Path], None]:
    """Return a function that writes a video into a folder."""

    def write(folder: Path) -> None:
        (folder / "video.mp4").write_bytes(content)

    return write


def must_not_fill(folder: Path) -> None:
    """Fail, because the video exists already."""
    raise AssertionError("the video was fetched again")


def padded(seconds: int, size: int) -> bytes:
    """Return a valid video of about `size` bytes: an MP4 file with a box that players skip (`free`)."""
    box = (size + 8).to_bytes(4) + b"free"
    return tiny_video("1:1", seconds) + box + bytes(size)


class OutputSuite:
    """The guarantees of `Output`."""

    @pytest.fixture
    def output(self, outputs: OpenOutput) -> Output:
        return outputs()

    def test_a_video_is_published_with_all_its_files(self, output: Output, tmp_path: Path) -> None:
        """Video, thumbnail, captions and metadata can be read, and the properties are those of the file."""
        content = tiny_video("9:16", 3)
        video = output.publish(RECORD, fill(content))
        files = output.files(video)
        assert set(files) == set(FILES)
        assert files["video.mp4"] == video.path
        assert video.path.startswith(f"{output.place}/tides/")
        assert output.read(video, "thumbnail.jpg").startswith(b"\xff\xd8")
        assert output.read(video, "captions.srt").decode().endswith("How tides work, and why\n")
        metadata = json.loads(output.read(video, "metadata.json"))
        assert (metadata["title"], metadata["job_id"]) == ("How tides work, and why", "tides")
        assert metadata["sha256"] == video.sha256 == hashlib.sha256(content).hexdigest()
        assert (video.size, video.duration, video.width, video.height) == (len(content), 3.0, 54, 96)
        output.download(video, "video.mp4", tmp_path / "copy.mp4")
        assert (tmp_path / "copy.mp4").read_bytes() == content
        assert [(one.name, one.job_id, one.complete) for one in output.publications()] == [("tides", "tides", True)]

    def test_a_link_gives_the_file_or_there_is_none(self, output: Output) -> None:
        """A link needs no credentials, supports ranges and names the type; an output off the web has no links."""
        content = tiny_video("9:16", 3)
        video = output.publish(RECORD, fill(content))
        link = output.link(video)
        if link is None:
            assert output.link(video, "thumbnail.jpg") is None
            return
        with urllib.request.urlopen(link) as answer:
            assert (answer.read(), answer.headers["Content-Type"]) == (content, "video/mp4")
        with urllib.request.urlopen(urllib.request.Request(link, headers={"Range": "bytes=4-11"})) as answer:
            assert (answer.status, answer.read()) == (206, content[4:12])
        assert output.link(video) == link  # so that a browser can use its cache
        assert output.link(msgspec.structs.replace(video, path="/elsewhere/video.mp4")) is None

    def test_a_large_video_is_published_whole(self, output: Output, tmp_path: Path) -> None:
        """A video of many parts arrives with the bytes that were fetched."""
        content = padded(3, 17 << 20)
        video = output.publish(RECORD, fill(content))
        output.download(video, "video.mp4", tmp_path / "copy.mp4")
        assert hashlib.sha256((tmp_path / "copy.mp4").read_bytes()).hexdigest() == video.sha256
        assert examine(tmp_path / "copy.mp4").duration == 3.0

    @pytest.mark.parametrize("content", [b"<html>expired</html>", tiny_video("1:1", 3)[:-40]])
    def test_nothing_is_published_of_a_bad_file(self, output: Output, content: bytes) -> None:
        """A web page or a truncated video is refused, and nothing of it can be found."""
        with pytest.raises(OutputError):
            output.publish(RECORD, fill(content))
        with pytest.raises(OutputError, match="delivered no video file"):
            output.publish(RECORD, lambda folder: None)
        with pytest.raises(AssertionError, match="the video was fetched again"):
            output.publish(RECORD, must_not_fill)
        with pytest.raises(OutputError, match="File exists"):  # an error of the file system
            output.publish(RECORD, lambda folder: folder.mkdir())
        assert list(output.publications()) == []
        assert output.recover(RECORD) is None
        assert (output.waiting(), output.deliver()) == (0, 0)

    def test_a_video_of_another_length_is_refused(self, output: Output) -> None:
        """The length of the order counts, or the one that the service reports."""
        with pytest.raises(OutputError, match="instead of the ordered 5 s"):
            output.publish(RECORD, fill(tiny_video("1:1", 20)))
        assert output.publish(RECORD, fill(tiny_video("1:1", 20)), reported_duration=20.4).duration == 20.0

    def test_a_video_that_cannot_be_published_is_refused(self, output: Output) -> None:
        """A file of another type fails the job."""
        with pytest.raises(InvalidVideo):
            output.publish(RECORD, fill(b"GIF89a" + bytes(100)))

    def test_the_later_worker_discards_its_own(self, outputs: OpenOutput) -> None:
        """If another machine publishes during the fetch, the first video stays and both workers report it."""
        first, second = tiny_video("1:1", 2), tiny_video("1:1", 4)
        output, other = outputs(), outputs()

        def slow(folder: Path) -> None:
            other.publish(RECORD, fill(first))
            (folder / "video.mp4").write_bytes(second)

        video = output.publish(RECORD, slow)
        assert video.sha256 == hashlib.sha256(first).hexdigest()
        assert {one.sha256 for one in (output.recover(RECORD), other.recover(RECORD)) if one} == {video.sha256}
        assert set(output.files(video)) == set(FILES)
        assert output.waiting() == 0

    def test_one_of_many_workers_publishes(self, outputs: OpenOutput, tmp_path: Path) -> None:
        """Of eight machines that publish different files at one moment, one succeeds, and all report its video."""
        start = threading.Barrier(8, timeout=60)

        def publish(number: int) -> Video:
            output = outputs()

            def write(folder: Path) -> None:
                (folder / "video.mp4").write_bytes(padded(3, number * 1000))
                start.wait()

            return output.publish(RECORD, write)

        with ThreadPoolExecutor(8) as pool:
            (video,) = set(pool.map(publish, range(8)))
        output = outputs()
        (publication,) = output.publications()
        files = output.files(video)
        assert set(files) == set(FILES)
        output.download(video, "video.mp4", tmp_path / "copy.mp4")
        assert hashlib.sha256((tmp_path / "copy.mp4").read_bytes()).hexdigest() == video.sha256
        sizes = [len(output.read(video, name)) for name in FILES]
        assert publication.size == sum(sizes)  # nothing of the others remains

    def test_a_published_job_is_not_fetched_again(self, outputs: OpenOutput) -> None:
        """A delivery that is repeated after the publication finds the video on any machine, and downloads nothing."""
        video = outputs().publish(RECORD, fill(tiny_video("1:1", 2)))
        assert outputs().publish(RECORD, must_not_fill) == video
        assert outputs().recover(RECORD) == video

    def test_an_earlier_job_of_the_same_id_keeps_its_video(self, output: Output) -> None:
        """A job with the id of an earlier job gets a separate place, and both are publications of that id."""
        old = output.publish(RECORD, fill(tiny_video("1:1", 2)))
        assert output.recover(AGAIN) is None
        new = output.publish(AGAIN, fill(tiny_video("1:1", 3)))
        assert old.path != new.path
        assert (output.recover(RECORD), output.recover(AGAIN)) == (old, new)
        assert [one.job_id for one in output.publications()] == ["tides", "tides"]

    def test_a_removed_publication_is_gone(self, output: Output) -> None:
        """After the removal no file can be found, and removing it again is no error."""
        video = output.publish(RECORD, fill(tiny_video("1:1", 2)))
        other = output.publish(AGAIN, fill(tiny_video("1:1", 3)))
        output.remove("tides")
        output.remove("tides")
        assert output.files(video) == {}
        with pytest.raises(OutputError):
            output.read(video, "metadata.json")
        assert set(output.files(other)) == set(FILES)
        assert [one.size for one in output.publications()] == [
            sum(len(output.read(other, name)) for name in FILES)
        ]  # fmt: skip

    def test_only_own_files_are_found(self, output: Output, tmp_path: Path) -> None:
        """A record from another machine can name any path: none outside this output is read."""
        video = output.publish(RECORD, fill(tiny_video("1:1", 2)))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "video.mp4").write_bytes(b"secret")
        for path in (str(tmp_path / "elsewhere" / "video.mp4"), "s3://other/tides/video.mp4", "", "video.mp4",
                     video.path + "/../../x", video.path.replace("tides/", "tides/../../")):  # fmt: skip
            foreign = msgspec.structs.replace(video, path=path)
            assert output.files(foreign) == {}
            with pytest.raises(OutputError):
                output.read(foreign, "video.mp4")

    def test_the_check_changes_nothing(self, output: Output) -> None:
        """A usable output passes any number of checks, without a publication."""
        output.check()
        output.check()
        assert list(output.publications()) == []
        assert output.free_space()
