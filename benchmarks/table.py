"""Markdown tables, padded for the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. A row can have fewer cells than the head."""
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines if n < len(line)) for n in range(len(head))]
    rule = ["-" * width for width in widths]
    for line in (head, rule, *rows):
        print(f"| {' | '.join(cell.ljust(widths[n]) for n, cell in enumerate(line))} |", flush=True)
