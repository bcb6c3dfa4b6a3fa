"""The virtual environment with what only benchmarks need: `.bench-venv` in the repository's root."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench-venv"


def bench_python(*requirements: str) -> Path:
    """Return the environment's interpreter, once pip has installed what is asked for (in pip's own words)."""
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(VENV, with_pip=True)
    asked = [Path(word).read_bytes() if Path(word).is_file() else word.encode() for word in requirements]
    stamp = VENV / ("." + hashlib.sha256(b"\n".join(asked)).hexdigest()[:16])
    if not stamp.exists():
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True)
        stamp.touch()
    return python
