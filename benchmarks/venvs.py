"""The virtual environment of the benchmarks: `.bench-venv` in the repository's root."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench-venv"


def bench_python(*requirements: str) -> Path:
    """Return the environment's interpreter after pip has installed the requirements, given as arguments of pip."""
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(VENV, with_pip=True)
    contents = [Path(word).read_bytes() if Path(word).is_file() else word.encode() for word in requirements]
    stamp = VENV / ("." + hashlib.sha256(b"\n".join(contents)).hexdigest()[:16])
    if not stamp.exists():
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True)
        stamp.touch()
    return python
