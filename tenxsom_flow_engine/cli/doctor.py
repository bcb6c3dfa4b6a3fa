"""`doctor`: looks at the whole installation, and says what to mend and how."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import DONE, FAILED, count, info, out


@click.command()
@options.queue_type
@options.as_json
def doctor(queue_type: str | None, as_json: bool) -> int:
    """Look at Python, libraries, disk, store, queue, worker, services and clocks, and say what to mend.

    Nothing is bought and no job is changed. Ends with 1 if something must be mended.
    """
    from dataclasses import asdict

    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.doctor.run import examine

    findings = []
    for finding in examine(queue_type=queue_type):
        findings.append(finding)
        if not as_json:
            out(f"{finding.state:8} {finding.about}: {finding.text}")
            if finding.fix:
                out(f"{'':8} → {finding.fix}")
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "problems": problems})
    elif problems:
        info(f"{count(problems, 'thing')} must be mended")
    else:
        info("nothing must be mended")
    return FAILED if problems else DONE
