"""``taxiway stack restore``: a backup into the stack, or checked alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.stack.restore import Plan


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put it in the place of what the stack holds, which goes. Asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--check", is_flag=True, help="Compare every sum in FILE and change nothing. Needs no stack.")
@with_json
@with_settings
def command(settings: Settings, file: Path, replace: bool, yes: bool, check: bool, as_json: bool) -> None:
    """Bring a backup into an empty stack: on this machine or another one, on any S3 server.

    MLflow is stopped meanwhile. Passwords stay those of the stack. What the stack held before is
    there until the new is whole.

    \b
    Example:  taxiway stack restore stack.tar
              taxiway stack restore stack.tar --replace
              taxiway stack restore stack.tar --check
    """
    from taxiway.cli.output import print_json, progress_bars, say
    from taxiway.cli.stack_backup import document
    from taxiway.stack.restore import check_backup, describe, plan_restore, restore

    if check:
        with progress_bars() as bars:
            manifest = check_backup(file, bars)
        if as_json:
            print_json({"path": str(file), **document(manifest)})
        else:
            say(f"{file} is whole: {describe(manifest.counts)}, of {manifest.created}.")
        return
    with progress_bars() as bars:
        plan = plan_restore(settings, file, bars)
    if replace and not plan.empty and not yes:
        _ask(plan)
    with progress_bars() as bars:
        done = restore(settings, plan, bars, replace=replace)
    if as_json:
        restored = {"path": str(file), "seconds": done.seconds, "removed": done.removed}
        print_json({**restored, "replaced": dict(plan.present), **document(plan.manifest)})
        return
    for missing in plan.manifest.missing:
        say(f"Not complete: {missing}.", style="yellow")
    say(f"Restored {describe(plan.manifest.counts)} in {done.seconds:.1f} s.")


def _ask(plan: Plan) -> None:
    from taxiway.errors import Interrupted, Refused
    from taxiway.stack.restore import describe

    click.echo(f"goes:   {describe(plan.present)}", err=True)
    click.echo(f"comes:  {describe(plan.manifest.counts)}, of {plan.manifest.created}", err=True)
    if not sys.stdin.isatty():
        raise Refused("Replacing asks first, and there is no terminal to ask on", "Add --yes")
    if not click.confirm("Replace what the stack holds?", err=True):
        raise Interrupted("Nothing was changed", "You did not say yes")
