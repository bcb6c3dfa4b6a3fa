"""Peak memory of a process that downloads large videos from a vendor and publishes them to a bucket.

Run by `make bench-bucket-memory`. All parts but vendor and bucket are real: the download, the spool, the inspection and
the upload. Vendor and bucket are servers in this process; a child does the rest and reports its largest resident set.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.table import print_table
from tests import fork_server
from tests.bucket_servers import GcsServer
from tests.outputs import numbered, open_as

#: Bytes of each video, and the limit of the resident set of the process.
SIZE, LIMIT = 500_000_000, 256 << 20
#: Videos published at once.
AT_ONCE = (1, 4)
_BLOCK = bytes(1 << 20)


def main() -> int:
    """Print the peak memory for each number of videos at once; return 1 if one is above the limit."""
    vendor = ThreadingHTTPServer(("127.0.0.1", 0), _Vendor)
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    rows, highest = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for number in AT_ONCE:
            server, report = GcsServer(), Path(folder) / "report"
            home = Path(folder) / f"home-{number}"
            home.mkdir()
            environment = {"TENXSOM_HOME": str(home), **server.environment(home)}
            url = f"http://127.0.0.1:{vendor.server_address[1]}/video.mp4"
            child = fork_server.start(publish, environment, url, number, report, log=Path(folder) / "log")
            if child.wait() != 0:
                print((Path(folder) / "log").read_text())
                return 1
            peak = int(report.read_text())
            highest = max(highest, peak)
            rows.append([str(number), f"{SIZE / 1e6:.0f} MB", f"{peak / 2**20:.0f} MiB"])
            server.close()
    print_table(["videos at once", "size of each", "peak resident set"], rows)
    return int(highest > LIMIT)


def publish(environment: dict[str, str], url: str, number: int, report: Path) -> None:
    """Download and publish some videos at once, and write the peak memory of this process in bytes."""
    from tenxsom_flow_engine.services.http.download import Downloader

    output, downloader = open_as(environment, inspect=None), Downloader(allow_private=True)

    def fill(folder: Path) -> None:
        downloader.fetch("vendor", url, folder / "video.mp4")

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda one: output.publish(numbered(one), fill), range(number)))
    report.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


class _Vendor(BaseHTTPRequestHandler):
    """Sends a valid video of `SIZE` bytes: a short one, and a box that players skip."""

    def do_GET(self) -> None:
        from tenxsom_flow_engine.services.tiny_video import tiny_video

        head = tiny_video("9:16", 5)
        rest = SIZE - len(head) - 8
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self.wfile.write(head + (rest + 8).to_bytes(4) + b"free")
        for _ in range(rest >> 20):
            self.wfile.write(_BLOCK)
        self.wfile.write(bytes(rest & (1 << 20) - 1))

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    sys.exit(main())
