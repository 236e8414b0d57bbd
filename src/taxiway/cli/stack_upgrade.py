"""``taxiway stack upgrade``: to the versions of this checkout."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taxiway.cli.options import with_settings
from taxiway.folders import expanded
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.cli.live import Services


@click.command("upgrade")
@click.option("--backup", metavar="FILE", help="Where the backup goes.  [default: HOME/backups, named by the time]")
@click.option("--no-backup", is_flag=True, help="Take none.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    metavar="MINUTES",
    help="Images and services.",
)
@with_settings
def command(settings: Settings, backup: str | None, no_backup: bool, timeout: int) -> None:
    """Bring the stack to the versions of this checkout.

    Builds the images anew, takes a backup, upgrades the tables of MLflow's database, and starts
    what has changed. Another major version of PostgreSQL is refused: its data have to be taken
    along by backup and restore.

    \b
    Example:  git pull && taxiway stack upgrade
              taxiway stack upgrade --no-backup
    """
    from taxiway.cli.live import watch_services
    from taxiway.cli.output import say
    from taxiway.cli.stack_up import print_addresses
    from taxiway.errors import UsageError
    from taxiway.stack.upgrading import upgrade

    if backup and no_backup:
        raise UsageError("--backup and --no-backup exclude each other", "Give one of them")
    file = expanded(backup) if backup else default_file(settings)
    with watch_services() as watch:
        take = None if no_backup else partial(_take_backup, settings, file, watch)
        done = upgrade(settings, take, watch=watch, patience=timeout * 60)
    if not no_backup:
        say(f"Backup       {file}")
    say(f"MLflow       {done.before or 'it did not run'} -> {done.after}")
    print_addresses(done.started)


def default_file(settings: Settings) -> Path:
    """Where a backup goes that nobody named."""
    return settings.home / "backups" / f"stack-{datetime.now().astimezone():%Y%m%d-%H%M%S}.tar"


def _take_backup(settings: Settings, file: Path, watch: Services) -> None:
    from taxiway.stack.backup import backup

    file.parent.mkdir(parents=True, exist_ok=True)
    backup(settings, file, watch)
