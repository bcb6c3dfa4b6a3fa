"""`doctor`: check the whole installation and print how to fix what is wrong."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED
from tenxsom_flow_engine.text import plural


@click.command()
@options.queue_type
@options.as_json
def doctor(queue_type: str | None, as_json: bool) -> int:
    """Check this installation and print how to fix what is wrong.

    It checks Python, libraries, disk, store, queue, worker, services and clocks. It buys nothing and changes no job.
    The exit code is 1 if it finds a problem; warnings do not count.
    """
    from dataclasses import asdict, replace

    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.doctor.run import examine

    findings = []
    for found in examine(queue_type=queue_type):
        finding = replace(found, fix=advise(found.fix, found.actions, found.subject))
        findings.append(finding)
        if not as_json:
            out(f"{finding.state:8} {finding.about}: {finding.text}")
            if finding.fix:
                out(f"{'':8} → {finding.fix}")
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "problems": problems})
    elif problems:
        info(f"{plural(problems, 'problem')} found")
    else:
        info("no problems found")
    return FAILED if problems else DONE
