"""The temporary folder of a run: kept only if a guarantee was broken."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from chaos.cluster import Stopped
from chaos.judge import Finding


class HasFindings(Protocol):
    """The result of a run."""

    @property
    def findings(self) -> Sequence[Finding]:
        """The broken guarantees."""


_Result = TypeVar("_Result", bound=HasFindings)


def in_new_folder(prefix: str, run: Callable[[Path], _Result]) -> _Result:
    """Return the result of `run` in a new folder, which is deleted if there are no findings or the run was stopped."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        result = run(folder)
    except Stopped:
        shutil.rmtree(folder)
        raise
    if not result.findings:
        shutil.rmtree(folder)
    return result
