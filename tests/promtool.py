"""Finds promtool, the checker of Prometheus: on PATH, or from Debian's package, unpacked in the virtual environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PLACE = Path(sys.prefix) / "prometheus"


def promtool() -> str | None:
    """Return the path of promtool; None where it is neither installed nor in a package that can be downloaded."""
    if found := shutil.which("promtool"):
        return found
    program = _PLACE / "usr/bin/promtool"
    if not program.exists() and shutil.which("apt-get") and not _unpacked():
        # The package lists can be missing, as in a container.
        if os.geteuid() == 0:
            subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
        _unpacked()
    return str(program) if program.exists() else None


def _unpacked() -> bool:
    """Download and unpack the package, which needs no rights; return whether that succeeded."""
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
        os.chmod(folder, 0o755)
        if subprocess.run(["apt-get", "download", "-q", "prometheus"], cwd=folder, capture_output=True).returncode:
            return False
        (package,) = Path(folder).glob("prometheus_*.deb")
        unpacked = Path(folder) / "content"
        if subprocess.run(["dpkg-deb", "-x", package, unpacked], capture_output=True).returncode:
            return False
        with contextlib.suppress(OSError):  # another process of the test run was faster
            unpacked.rename(_PLACE)
    return True
