"""``taxiway doctor``: everything that Taxiway needs, one line each."""

from __future__ import annotations

from dataclasses import asdict

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings


@click.command("doctor")
@with_json
@with_settings
def command(settings: Settings, as_json: bool) -> int:
    """Check Java, memory, disk, the tracking server, the source of trips and the home.

    Leaves with code 6 when anything is missing.

    \b
    Example:  taxiway doctor
    """
    from taxiway.cli.output import print_json, say
    from taxiway.doctor import diagnose
    from taxiway.errors import MachineError

    findings = diagnose(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark, style = ("ok  ", None) if finding.ok else ("FAIL", "bold red")
            step = f". {finding.next_step}" if finding.next_step else ""
            say(f"{mark}  {finding.name:<9} {finding.detail}{step}", style=style)
    return 0 if all(finding.ok for finding in findings) else MachineError.exit_code
