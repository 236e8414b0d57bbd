"""``taxiway warmup``: let every later start of Spark be a quick one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taxiway.cli.options import with_json, with_settings

if TYPE_CHECKING:
    from taxiway.settings import Settings


@click.command("warmup")
@click.option("--again", is_flag=True, help="Replace the archive that is there.")
@with_json
@with_settings
def command(settings: Settings, again: bool, as_json: bool) -> None:
    """Keep Spark's classes ready, once for each installation: it takes a minute and 230 MB.

    It runs the main job on a few made-up trips in a store of its own, and writes the classes that
    Java has loaded into one file beside the installed packages. Nothing is different without it
    but the time that Spark takes to start.

    \b
    Example:  taxiway warmup
    """
    from taxiway.cli.output import print_json, progress_bars, say
    from taxiway.warmup import warm_up

    with progress_bars() as bars:
        archive = warm_up(settings, bars, again)
    if as_json:
        print_json({"path": str(archive.path), "bytes": archive.size, "made": archive.made})
    else:
        say(f"Spark's classes are ready: {archive.path} ({archive.size / 1e6:.0f} MB)")
