"""``taxiway ui``: MLflow's own pages on the same store."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from taxiway.cli.options import with_settings
from taxiway.settings import Settings


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="On 127.0.0.1.")
@with_settings
def command(settings: Settings, port: int) -> None:
    """Open MLflow's pages on the store; Ctrl-C ends them.

    When the store is a server's, its own address is printed instead.

    \b
    Example:  taxiway ui --port 5001
    """
    from taxiway.cli.output import progress_bars, say
    from taxiway.ui import open_pages

    with ExitStack() as opened:
        with progress_bars() as bars:
            pages = opened.enter_context(open_pages(settings, port, bars))
        say(pages.address)
        if settings.on_stack and settings.stack is not None:
            password = settings.stack.secrets / "mlflow_taxiway_password"
            click.echo(f"Sign in as taxiway, with the password in {password}", err=True)
        sys.stdout.flush()
        if pages.process is not None:
            click.echo("Choose 'Model training' on the first page. Ctrl-C ends it.", err=True)
        try:
            pages.wait()
        except KeyboardInterrupt:
            click.echo("Ended.", err=True)
