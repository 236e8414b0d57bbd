"""``taxiway stack clear``: say what would go, ask, and remove it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from taxiway.cli.options import with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.stack.lifecycle import Clearing


@click.command("clear")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def command(settings: Settings, yes: bool) -> None:
    """Remove this stack's containers, networks, volumes and secrets: every model and notebook in it.

    Says what would go and asks. Images, and what is not this stack's, stay.

    \b
    Example:  taxiway stack clear
              taxiway stack clear --yes
    """
    from taxiway.cli.output import say
    from taxiway.errors import Interrupted, Refused
    from taxiway.stack.lifecycle import clear, plan_clear

    plan = plan_clear(settings)
    if plan.empty:
        say("There is nothing to remove.")
        return
    for line in _lines(plan):
        click.echo(line, err=True)
    if not yes and not sys.stdin.isatty():
        raise Refused("Clearing asks first, and there is no terminal to ask on", "Add --yes")
    if not yes and not click.confirm("Remove all of this?", err=True):
        raise Interrupted("Nothing was removed", "You did not say yes")
    clear(plan, settings)
    say(f"Removed containers, networks, volumes and secrets of {plan.docker.stack.project}. Its images stay.")


def _lines(plan: Clearing) -> list[str]:
    goes = (("containers", plan.containers), ("networks", plan.networks), ("volumes", plan.volumes))
    lines = [f"goes:   {kind:<10} {', '.join(names)}" for kind, names in goes if names]
    if plan.files:
        lines.append(f"goes:   secrets    {len(plan.files)} files in {plan.docker.stack.secrets}")
    return lines
