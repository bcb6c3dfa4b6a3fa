"""The check of this machine's fonts, which `doctor` runs."""

from __future__ import annotations

from typing import Protocol

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.registry import MachineState

#: A sample text of each script that drafts should be able to show.
SCRIPTS = {"Chinese and Japanese": "世界", "Arabic": "سلام", "Hindi": "नमस्ते"}


class Fonts(Protocol):
    """The part of `render.fonts.Library` that the check uses."""

    def runs(self, text: str) -> object:
        """Split a text into runs of one font. Raises `Rejected` for characters that no font contains."""


def check_fonts(installed: Fonts | None = None) -> MachineState:
    """Check that the installed fonts (by default this machine's) cover the scripts of `SCRIPTS`."""
    from tenxsom_flow_engine.services.draft.render.fonts import library

    installed = installed or library()
    for script, sample in SCRIPTS.items():
        try:
            installed.runs(sample)
        except Rejected as error:
            text = f"drafts cannot show {script} text: {error.message}"
            return MachineState(text, "fonts-missing", error.next_step)
    return MachineState(f"drafts can show {', '.join(SCRIPTS)}")
