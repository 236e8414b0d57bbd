"""``taxiway stack logs``: what the services write."""

from __future__ import annotations

import click

from taxiway.cli.options import with_settings
from taxiway.settings import Settings


@click.command("logs")
@click.argument("service", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--tail", type=click.IntRange(0), default=200, show_default=True, help="Lines of each service.")
@click.option("--all", "everything", is_flag=True, help="All lines that are kept.")
@with_settings
def command(settings: Settings, service: str | None, follow: bool, tail: int, everything: bool) -> None:
    """Show what the services, or one SERVICE, have written.

    \b
    Example:  taxiway stack logs
              taxiway stack logs mlflow_server --follow --tail 20
    """
    from taxiway.stack.lifecycle import logs

    try:
        for line in logs(settings, service, follow=follow, tail=None if everything else tail):
            click.echo(line)
    except KeyboardInterrupt:
        # The way to end it, once it follows.
        if not follow:
            raise
