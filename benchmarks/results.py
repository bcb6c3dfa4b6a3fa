"""The ratios of a run as data, and the comparison with the committed ones.

A benchmark calls `report` once, at its end. A ratio compares this project with another program, or with a bare loop, of
the same run, and is larger when this project is faster, so it says more about a change than figures of two days.
`.bench-results.json` has the latest ratios of each benchmark, `benchmarks/results.json` the committed ones.

`python -m benchmarks.results` names the ratios that moved, and ends with 1 if one became worse. With `--accept` it
makes the latest ratios the committed ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.venvs import ROOT
from tenxsom_flow_engine.files import write_whole

LATEST, COMMITTED = ROOT / ".bench-results.json", ROOT / "benchmarks" / "results.json"
#: Changes up to this factor, in both directions, are noise.
NOISE = 1.15

#: Ratios by name, by benchmark.
Ratios = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio that moved, appeared (`before` is None) or disappeared (`after` is None)."""

    benchmark: str
    ratio: str
    before: float | None
    after: float | None

    @property
    def worse(self) -> bool:
        """Whether the ratio shrank or disappeared."""
        return self.before is not None and (self.after is None or self.after < self.before)

    def __str__(self) -> str:
        name = f"{self.benchmark}: {self.ratio}"
        if self.before is None:
            return f"new: {name} is {self.after:.2f}"
        if self.after is None:
            return f"missing: {name} was {self.before:.2f}"
        kind = "worse" if self.worse else "better"
        return f"{kind}: {name} was {self.before:.2f}, is {self.after:.2f} ({self.after / self.before - 1:+.0%})"


def changes(before: Ratios, after: Ratios) -> Iterator[Change]:
    """Yield the ratios that differ by more than `NOISE`, of the benchmarks in `after`."""
    for benchmark, latest in after.items():
        committed = before.get(benchmark, {})
        for ratio in dict.fromkeys((*committed, *latest)):
            old, new = committed.get(ratio), latest.get(ratio)
            if old is None or new is None or not 1 / NOISE <= new / old <= NOISE:
                yield Change(benchmark, ratio, old, new)


def report(benchmark: str, ratios: Mapping[str, float]) -> None:
    """Save the ratios of a benchmark in place of its earlier ones. Raises ValueError for one that is not positive."""
    for name, ratio in ratios.items():
        if not 0 < ratio < float("inf"):
            raise ValueError(f"the ratio {name} of {benchmark} is {ratio}")
    save(LATEST, {**read(LATEST), benchmark: ratios})


def read(file: Path) -> dict[str, dict[str, float]]:
    """Return the ratios in a file; none if it does not exist."""
    saved: dict[str, dict[str, float]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return saved


def save(file: Path, ratios: Ratios) -> None:
    """Write ratios to a file, sorted and with three digits."""
    rounded = {name: {key: float(f"{value:.3g}") for key, value in of.items()} for name, of in ratios.items()}
    write_whole(file, (json.dumps(rounded, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def compare() -> int:
    """Print the ratios that moved since the committed run; return 1 if one became worse."""
    latest = read(LATEST)
    found = list(changes(read(COMMITTED), latest))
    for change in found:
        print(change)
    print(f"{len(found)} of {sum(map(len, latest.values()))} ratios are new, missing or moved by over {NOISE - 1:.0%}")
    return int(any(change.worse for change in found))


def main() -> int:
    """Compare or accept the latest ratios; return the exit code."""
    if not LATEST.exists():
        print("no benchmark has reported yet; run: make bench", file=sys.stderr)
        return 2
    if sys.argv[1:] == ["--accept"]:
        save(COMMITTED, {**read(COMMITTED), **read(LATEST)})
        return 0
    return compare()


if __name__ == "__main__":
    sys.exit(main())
