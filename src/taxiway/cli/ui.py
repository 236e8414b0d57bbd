"""``taxiway ui``: MLflow's own pages on the same store."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from taxiway.cli.options import with_settings
from taxiway.settings import Settings


@click.command("ui")
@click.argument("show", required=False, metavar="[RECIPE[/VERSION]]")
@click.option("--run", metavar="ID", help="The sweep that this run belongs to; the newest by default.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="On 127.0.0.1.")
@with_settings
def command(settings: Settings, show: str | None, run: str | None, port: int) -> None:
    """Open MLflow's pages on the store, at model training; Ctrl-C ends them.

    Prints the link: to a sweep of RECIPE, to a VERSION of its model, or to all experiments. When
    the store is a server's, the link leads there and nothing is started.

    \b
    Example:  taxiway ui
              taxiway ui tip
              taxiway ui tip/3 --port 5001
    """
    from taxiway.cli.output import progress_bars, say
    from taxiway.ui import open_pages

    with ExitStack() as opened:
        with progress_bars() as bars:
            pages = opened.enter_context(open_pages(settings, port, bars, show=show, run=run))
        try:
            say(pages.address)
            sys.stdout.flush()
            if settings.on_stack and settings.stack is not None:
                password = settings.stack.secrets / "mlflow_taxiway_password"
                click.echo(f"Sign in as taxiway, with the password in {password}", err=True)
            if pages.process is not None:
                click.echo("Open it in a browser. Ctrl-C ends it.", err=True)
            pages.wait()
        except KeyboardInterrupt:
            click.echo("Ended.", err=True)
