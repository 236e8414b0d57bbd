"""``taxiway stack down``: stop every service."""

from __future__ import annotations

import click

from taxiway.cli.options import with_settings
from taxiway.settings import Settings


@click.command("down")
@with_settings
def command(settings: Settings) -> None:
    """Stop every service; nothing is lost.

    Containers, networks, volumes and secrets stay. Kernels that run in JupyterLab end.

    \b
    Example:  taxiway stack down
    """
    from taxiway.cli.output import say
    from taxiway.stack.lifecycle import down

    stopped = down(settings)
    if stopped:
        say(f"Stopped {', '.join(stopped)}. Nothing is lost; taxiway stack up starts them again.")
    else:
        say("No service was running.")
