"""Count phrases that read as translated in comments, docstrings, strings and documents; fail above a limit.

Run by `make check`. `--list` prints every hit. A quotation that must keep a phrase is listed in `QUOTATIONS`.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Hits allowed per 10,000 words of a group.
LIMIT = 3.0
#: By name: the pattern of a phrase, and the words to use instead.
MARKERS: dict[str, tuple[str, str]] = {
    "nobody": (r"(?:no|some|any)body", "no one else's name: the worker, the operator, the caller"),
    "told": (r"told|tells? of", "reported, shown, passed"),
    "go on": (r"(?:go|goes|going|went|gone) on", "continue"),
    "What is": (
        r"What (?:is|was|are|were|does|did|comes?|came|goes|it|a|an|the)(?=[^?.\n]*(?:[.\n]|$))",
        "name the thing",
    ),
    "look at": (r"look(?:s|ed|ing)? (?:at|after|into)", "read, check, examine"),
    "in hand": (r"in hand", "running, active, leased"),
    "of its own": (r"of (?:its|their|our|one's|his|her) own|of (?:ours|theirs)", "own, separate"),
    "whoever": (r"whoever", "the caller, any process that"),
    "so many": (r"so (?:many|much|long)", "a number, this many, up to N"),
    "anew": (r"anew", "again"),
    "beside": (r"beside|beneath", "next to, besides, below"),
    "mend": (r"mend(?:s|ed|ing)?", "fix"),
    "by itself": (r"by (?:itself|themselves|himself)", "automatically"),
    "bring": (r"br(?:ings?|inging|ought)", "deliver, carry"),
    "meanwhile": (r"meanwhile", "since, in between"),
    "sign of life": (r"signs? of life", "heartbeat"),
    "is said": (r"(?:is|are) said", "is reported"),
    "of old": (r"of old", "legacy"),
    "is there": (r"(?:is|are) there", "exists"),
}
#: Quotations by file: names that release 0.1 stored, codes that programs read, and lines shown in drafts.
QUOTATIONS: dict[str, tuple[str, ...]] = {
    "tenxsom_flow_engine/doctor/worker_url.py": ("open-to-anybody",),
    "tenxsom_flow_engine/jobs/model.py": ("delivered anew", "ordered anew"),
    "tenxsom_flow_engine/rate_limits/schema.sql": ("told ", "waiters_told", ", told)"),
    "tenxsom_flow_engine/rate_limits/scripts/ask.lua": ("'told:'",),
    "tenxsom_flow_engine/rate_limits/scripts/forget.lua": ("'told:'",),
    "tenxsom_flow_engine/rate_limits/scripts/snapshot.lua": ("'told:'",),
    "tenxsom_flow_engine/rate_limits/sqlite.py": ("told > ?", "told < ?", "told AS hint"),
    "tests/integration/test_earlier_records.py": ("when that is mended",),
}
_PATTERNS = {
    name: re.compile(rf"\b(?:{pattern})\b", 0 if name == "What is" else re.I) for name, (pattern, _) in MARKERS.items()
}
_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]+")


def main(arguments: Sequence[str]) -> int:
    """Print the hits of each group; return 1 if a group is above the limit."""
    words: Counter[str] = Counter()
    hits: dict[str, list[tuple[str, str, str]]] = {"product": [], "tests": []}
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        path = ROOT / name
        # This file has to contain the phrases.
        if name == "docs/check_language.py" or not path.is_file():
            continue
        group = "tests" if name.startswith(("tests/", "chaos/", "benchmarks/")) else "product"
        for number, line in prose(path):
            words[group] += len(_WORD.findall(line))
            for quotation in QUOTATIONS.get(name, ()):
                line = line.replace(quotation, "")
            for marker, pattern in _PATTERNS.items():
                hits[group] += [(marker, f"{name}:{number}", line.strip()) for _ in pattern.finditer(line)]
    failed = False
    for group, found in hits.items():
        rate = 10_000 * len(found) / max(1, words[group])
        failed |= rate > LIMIT
        common = ", ".join(f"{name} {count}" for name, count in Counter(hit[0] for hit in found).most_common(6))
        print(
            f"{group}: {words[group]:,} words, {len(found)} phrases, {rate:.1f} per 10,000 (limit {LIMIT:g}); {common}"
        )
        if "--list" in arguments:
            for marker, place, line in found:
                print(f"  {place}: [{marker}: {MARKERS[marker][1]}] {line[:160]}")
    if failed:
        print("error: too many phrases that read as translated; list them with: python docs/check_language.py --list")
    return int(failed)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of prose in a file: a whole document, or the comments and strings of code."""
    match path.suffix:
        case ".py":
            yield from _python(path.read_text("utf-8"))
        case ".md":
            yield from enumerate(path.read_text("utf-8").splitlines(), 1)
        case (
            ".html"
            | ".js"
            | ".lua"
            | ".sql"
            | ".sh"
            | ".toml"
            | ".yml"
            | ".conf"
            | ".service"
            | ".timer"
            | ".example"
            | ".css"
        ):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                yield number, re.sub(r"<[^>]*>|\{[%{].*?[%}]\}", " ", line)


def _python(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield from enumerate(token.string.splitlines(), token.start[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
