"""All benchmarks of `make bench`, one after another, and the ratios that moved since the committed run.

`python -m benchmarks cloud_tasks limiters` runs some of them. The figures of benchmarks/README.md are those of one run
on a machine at rest, so the load of the machine is printed first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks import results
from benchmarks.venvs import ROOT

#: Modules of this package, each of which prints its figures and reports its ratios (`results.report`).
ALL = ("embedded_queue", "redis_queue", "cloud_tasks", "limiters", "draft_vs_moviepy", "remote_service")
#: Minutes that a run of all of them may take.
BUDGET = 15.0


def main() -> int:
    """Run the benchmarks; return the exit code: 1 if one failed or a ratio became worse."""
    names = sys.argv[1:] or list(ALL)
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    print(f"load before the run: {load:.1f} on {processors} processors", end="")
    print("; the machine is not at rest" if load > 0.1 * processors else "", flush=True)
    failed, began = [], time.monotonic()
    for name in names:
        print(f"\n== {name}\n", flush=True)
        started = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"\n({time.monotonic() - started:.0f} s)", flush=True)
    minutes = (time.monotonic() - began) / 60
    late = f", longer than the {BUDGET:.0f} that it may take" if minutes > BUDGET else ""
    print(f"\n== ratios, after {minutes:.1f} minutes{late}\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return max(results.compare(), int(bool(failed)))


if __name__ == "__main__":
    sys.exit(main())
