"""``taxiway stack up``: from nothing, or from anything, to a healthy stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway import links
from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings
from taxiway.stack_settings import S3_SERVERS

if TYPE_CHECKING:
    from taxiway.stack.lifecycle import Started


@click.command("up")
@click.option("--s3", type=click.Choice(S3_SERVERS), help="The S3 server.  [default: as at the last start; seaweedfs]")
@click.option("--cluster", is_flag=True, help="Start a Spark master and two workers too.")
@click.option(
    "--timeout", type=click.IntRange(1), default=30, show_default=True, metavar="MINUTES", help="For all of it."
)
@with_json
@with_settings
def command(settings: Settings, s3: str | None, cluster: bool, timeout: int, as_json: bool) -> None:
    """Build what has changed, start every service and wait until all are healthy.

    Secrets are made at the first start. Ends with the addresses, JupyterLab's as a link that
    signs you in.

    \b
    Example:  taxiway stack up
              taxiway stack up --s3 minio
    """
    from taxiway.cli.live import watch_services
    from taxiway.cli.output import print_json
    from taxiway.stack.lifecycle import up

    with watch_services() as watch:
        started = up(settings, s3, cluster=cluster, watch=watch, patience=timeout * 60)
    if as_json:
        print_json(document(started))
    else:
        print_addresses(started)


def print_addresses(started: Started) -> None:
    """Say where everything is, and what comes next."""
    from taxiway.cli.output import say

    say(f"JupyterLab   {started.jupyterlab}")
    say(f"MLflow       {links.experiments(started.mlflow)}   as {', '.join(started.accounts)}")
    if started.console:
        say(f"MinIO        {started.console}   with the key in {started.stack.secrets / 's3_root'}")
    say(f"Passwords    {next(iter(started.accounts.values()))}, and so on: taxiway stack passwords")
    say()
    say("Next: open the first link and run work/nyc_traffic_taxi_model.ipynb, or from this machine:")
    say("  taxiway train tip --train green:2023-01 --holdout green:2023-02 --profile stack")
    say("taxiway stack down stops all of it; nothing is lost.")


def document(started: Started) -> dict[str, Any]:
    """A healthy stack as JSON shows it."""
    return {
        "jupyterlab": started.jupyterlab,
        "mlflow": started.mlflow,
        "console": started.console,
        "s3": started.stack.s3,
        "accounts": {name: str(file) for name, file in started.accounts.items()},
        "services": [{"service": view.service, "state": view.state} for view in started.views],
        "log": str(started.log),
    }
