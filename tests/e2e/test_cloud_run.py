"""The settings of the Cloud Run service, run here: gunicorn under a read-only root, called by the emulator."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tenxsom_flow_engine.jobs import Status, VideoJob
from tests.bucket_servers import S3Server
from tests.environment import without_engine_variables

from .conftest import ROOT, Flow
from .test_cloud_tasks_worker import Cloud
from .test_cloud_tasks_worker import cloud as cloud

#: Runs a program with a root file system that is read-only, except for the folder that is the first argument.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$PWD" && exec "$@"'


def printed(kind: str) -> str:
    """Return the commands that the script prints."""
    options = ["--project", "project", "--bucket", "videos"]
    script = [str(ROOT / "deploy" / "cloud-run" / "deploy.sh"), kind, *options]
    return subprocess.run(["bash", *script], capture_output=True, text=True, check=True).stdout


def settings_of(kind: str) -> dict[str, str]:
    """Return the variables that the script sets."""
    (text,) = re.findall(r"--set-env-vars (\S+)", printed(kind))
    return dict(one.split("=", 1) for one in text.replace("\\,", ",").split(","))


def read_only(writable: Path) -> list[str]:
    """Return the beginning of a command that runs the rest with a read-only root; empty if this machine cannot."""
    if not shutil.which("unshare"):
        return []
    command = ["unshare", "-rm", "sh", "-c", READ_ONLY, str(writable)]
    probe = [*command, "sh", "-c", f"touch {writable}/probe && ! touch {ROOT}/read-only-probe 2>/dev/null"]
    return command if subprocess.run(probe, capture_output=True, check=False).returncode == 0 else []


@pytest.fixture
def bucket() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.mark.usefixtures("on_redis")
def test_a_draft_is_made_as_on_cloud_run(cloud: Cloud, flow: Flow, bucket: S3Server, tmp_path: Path) -> None:
    """A job that Cloud Tasks delivers becomes a video in the bucket, and nothing stays on the disk."""
    writable = tmp_path / "writable"
    writable.mkdir()
    flow.environment |= bucket.environment(tmp_path) | {"CLOUDSDK_CONFIG": str(tmp_path)}
    own = {name: value for name, value in flow.environment.items() if name.startswith(("CLOUD", "GOOGLE", "REDIS"))}
    here = {
        "TENXSOM_HOME": str(writable / "flow"), "TMPDIR": str(writable), "PORT": str(cloud.port),
        "TENXSOM_TOKEN_CERTS_URL": flow.environment["TENXSOM_TOKEN_CERTS_URL"], **bucket.environment(tmp_path),
        "TENXSOM_ADMIN_TOKEN": "a-token-of-this-test",
    }  # fmt: skip
    environment = without_engine_variables() | settings_of("service") | own | here
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "cloud_tasks_worker:app"]
    with (tmp_path / "worker-log").open("w") as log:
        worker = subprocess.Popen(
            [*read_only(writable), *gunicorn], env=environment, cwd=ROOT, stderr=log, start_new_session=True
        )
    try:
        cloud._answering(worker)  # type: ignore[arg-type]
        job = VideoJob(job_id="job-0", topic="How tides work", service="draft", duration=1, quality="540p",
                       created_at=cloud.engine.store.now())  # fmt: skip
        cloud.engine.add([cloud.engine.prepare(job).new])
        flow.until(lambda: cloud.record().status in (Status.SUCCEEDED, Status.FAILED), "the video")
        record = cloud.record()
        assert (record.status, record.error) == (Status.SUCCEEDED, None), (tmp_path / "worker-log").read_text()
        assert record.result is not None
        assert record.result.path.startswith(f"s3://{bucket.bucket}/flow/job-0/video-")
        link = cloud.engine.output.link(record.result)
        assert link is not None
        assert len(requests.get(link, timeout=60).content) == record.result.size
        assert cloud.get("/ready")["status"] in ("ready", "degraded")
        left = [path for path in (writable / "flow").rglob("*") if path.is_file()]
        assert [path for path in left if path.suffix in (".mp4", ".part")] == []
    finally:
        flow.kill(worker)  # type: ignore[arg-type]


def test_the_script_fills_the_limit_of_the_queue() -> None:
    """Instances times steps are the queue's limit, no more, and the service scales to zero."""
    command = printed("service")
    settings = settings_of("service")
    most = int(re.findall(r"--max-instances (\d+)", command)[0])
    steps = int(settings["TENXSOM_WORKER_CONCURRENCY"])
    assert (most - 1) * steps < int(settings["CLOUD_TASKS_MAX_CONCURRENT"]) <= most * steps
    assert "--min-instances 0 " in command
    assert int(re.findall(r"--concurrency (\d+)", command)[0]) > steps
    assert settings["TENXSOM_OUTPUT_DIR"] == "gs://videos/videos"
    assert settings["TENXSOM_DRAFT_IN_STEP"] == "1"


@pytest.mark.parametrize(("kind", "words"), [("job", "worker.py,--burst"), ("pool", "worker-pools deploy flow-pool")])
def test_the_script_has_a_job_and_a_pool(kind: str, words: str) -> None:
    """Both pull from Redis, with the same bucket."""
    command = printed(kind)
    assert words in command.replace("\\,", ",")
    assert settings_of(kind)["TENXSOM_QUEUE_TYPE"] == "redis"
    assert "--add-volume" not in command


def test_the_script_refuses_wrong_arguments() -> None:
    """A missing option, or a kind that does not exist, is a usage error."""
    for arguments in ([], ["service"], ["server", "--project", "p"], ["job", "--project", "p", "--concurrent", "0"]):
        script = str(ROOT / "deploy" / "cloud-run" / "deploy.sh")
        done = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, "usage" in done.stderr) == (2, True)
