"""The check of this machine's fonts, which `doctor` runs."""

from __future__ import annotations

from typing import Protocol

from tenxsom_flow_engine.errors import Rejected
from tenxsom_flow_engine.services.registry import MachineState

#: A sample text of each script that a draft can be asked to show.
SCRIPTS = {
    "Latin": "Aß",
    "Cyrillic": "Жя",
    "Greek": "Ωλ",
    "Arabic": "سلام",
    "Armenian": "Ողջույն",
    "Bengali": "নমস্কার",
    "Burmese": "မင်္ဂလာ",
    "Chinese": "世界",
    "Devanagari": "नमस्ते",
    "emoji": "🌊",
    "Ethiopic": "ሰላም",
    "Georgian": "გამარჯობა",
    "Gujarati": "નમસ્તે",
    "Gurmukhi": "ਸਤ ਸ੍ਰੀ",
    "Hebrew": "שלום",
    "Japanese": "こんにちは",
    "Kannada": "ನಮಸ್ಕಾರ",
    "Khmer": "សួស្តី",
    "Korean": "안녕",
    "Lao": "ສະບາຍດີ",
    "Malayalam": "നമസ്കാരം",
    "Odia": "ନମସ୍କାର",
    "Sinhala": "ආයුබෝවන්",
    "Tamil": "வணக்கம்",
    "Telugu": "నమస్కారం",
    "Thai": "สวัสดี",
}


class Fonts(Protocol):
    """The part of `render.fonts.Library` that the check uses."""

    def check(self, text: str) -> None:
        """Raise `Rejected` if the text cannot be drawn."""


def check_fonts(installed: Fonts | None = None) -> MachineState:
    """List the scripts that the installed fonts (by default this machine's) can draw, and those that they cannot.

    A missing script is no fault: a topic in it is refused when it is added.
    """
    from tenxsom_flow_engine.services.draft.render.fonts import library, package

    installed = installed or library()
    shown, refused, packages = [], [], set()
    for script, sample in SCRIPTS.items():
        try:
            installed.check(sample)
        except Rejected:
            refused.append(script)
            packages.add(package(sample[0]))
        else:
            shown.append(script)
    text = f"drafts can show {', '.join(shown)}"
    if refused:
        text += f"; not {', '.join(refused)} (apt install {' '.join(sorted(packages))})"
    return MachineState(text)
