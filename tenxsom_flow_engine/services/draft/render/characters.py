"""Classes of characters that decide how a text is split, and in which font it is set."""

from __future__ import annotations

import re
import unicodedata

#: Characters that control breaks and direction: soft hyphen, zero-width space, and direction marks.
CONTROLS = "\u00ad\u200b\u200e\u200f\u061c"
#: Zero-width non-joiner and joiner.
JOINERS = "\u200c\u200d"
#: The tags in the flags of England, Scotland and Wales.
TAGS = "\U000e0020-\U000e007f"
_SILENT = re.compile(f"[{CONTROLS}{JOINERS}{TAGS}\u2060\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# What emoji-data.txt of Unicode 16 lists as Emoji_Presentation below U+10000.
_COLOURFUL = re.compile(
    "[\u231a\u231b\u23e9-\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd"
    "\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e"
    "\u2753-\u2755\u2757\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55]"
)
# Thai, Lao, Tibetan, Burmese, Khmer, New Tai Lue, Tai Tham; kana, bopomofo and Han characters.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf"
    "\u3005-\u3007\u3021-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def is_silent(char: str) -> bool:
    """Return whether the character only controls its neighbours and is never drawn."""
    return bool(_SILENT.match(char))


def is_emoji(cluster: str) -> bool:
    """Return whether the cluster is drawn in colour by default: an emoji, a keycap or a flag."""
    first = cluster[0]
    return (
        "\ufe0f" in cluster
        or "\U0001f000" <= first <= "\U0001faff"
        or ("\ufe0e" not in cluster and bool(_COLOURFUL.match(first)))
    )


def is_symbol(cluster: str) -> bool:
    """Return whether the cluster is an emoji or another pictograph, without which a text can still be read."""
    first = cluster[0]
    pictograph = unicodedata.category(first) == "So" and ("\u2190" <= first <= "\u2bff" or first >= "\U0001f000")
    return is_emoji(cluster) or cluster[-1] == "\u20e3" or pictograph


def is_wide(char: str) -> bool:
    """Return whether the character is as wide as it is high: Chinese, Japanese, Korean."""
    return unicodedata.east_asian_width(char) in "WF"


def is_spaceless(text: str) -> bool:
    """Return whether the text has a letter of a script that is written without spaces between words."""
    return bool(_SPACELESS.search(text))


def han_language(text: str) -> str:
    """Return the language whose forms of Chinese characters suit a text: ja, ko, zh-Hans, zh-Hant, or none.

    Kana mean Japanese and Hangul Korean. Otherwise it is simplified Chinese if more of the characters occur only in the
    encoding of simplified Chinese (GB 2312) than only in that of traditional Chinese (Big5).
    """
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    han = _HAN.findall(text)
    if not han:
        return ""
    simplified = sum(_encodes(c, "gb2312") for c in han)
    traditional = sum(_encodes(c, "big5") for c in han)
    return "zh-Hans" if simplified > traditional else "zh-Hant"


def _encodes(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
