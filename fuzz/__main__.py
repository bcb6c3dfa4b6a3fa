"""`make fuzz`: give mutated inputs to the engine, and print how many it accepted, refused, or answered unexpectedly."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.table import print_table
from fuzz.databases import Databases
from fuzz.deliveries import Deliveries
from fuzz.media import Media
from fuzz.records import Records
from fuzz.requests import Requests
from fuzz.subject import Result, Subject, try_new
from fuzz.tokens import Tokens

SUBJECTS: Mapping[str, type[Subject]] = {
    subject.name: subject for subject in (Requests, Tokens, Databases, Records, Deliveries, Media)
}


def main(arguments: Sequence[str] | None = None, subjects: Mapping[str, type[Subject]] = SUBJECTS) -> int:
    """Try the inputs of all subjects; return 0 if no answer was unexpected, else 1."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--subjects", default=" ".join(subjects), help=", ".join(subjects))
    parser.add_argument("--seed", type=int, default=7, help="seed of the inputs; default: 7")
    parser.add_argument("--inputs", type=int, help="number of inputs of each subject; default: its own")
    parser.add_argument("--only", type=int, help="try only the input with this number")
    options = parser.parse_args(arguments)
    names = options.subjects.split()
    if not names or set(names) - subjects.keys():
        parser.error(f"the subjects are {', '.join(subjects)}")
    chosen = [subjects[name] for name in names]
    counts = [options.inputs or subject.count for subject in chosen]
    numbers = [range(count) if options.only is None else (options.only,) for count in counts]
    if len(chosen) == 1:
        results = [try_new(chosen[0], options.seed, numbers[0])]
    else:
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            results = list(pool.map(try_new, chosen, [options.seed] * len(chosen), numbers))
    _print(results, options.seed)
    return 1 if any(result.unexpected for result in results) else 0


def _print(results: Sequence[Result], seed: int) -> None:
    rows = []
    for result in results:
        unexpected = len(result.unexpected)
        inputs = result.accepted + result.refused + unexpected
        numbers = (inputs, result.accepted, result.refused, unexpected)
        rows.append([result.name, *(f"{number:,}" for number in numbers), f"{result.slowest:.1f} s"])
    print_table(["subject", "inputs", "accepted", "refused", "unexpected", "slowest"], rows)
    for result in results:
        for number, trace in result.unexpected.items():
            print(f"\nUNEXPECTED: make fuzz SUBJECTS={result.name} SEED={seed} ONLY={number}\n{trace}")


if __name__ == "__main__":
    sys.exit(main())
