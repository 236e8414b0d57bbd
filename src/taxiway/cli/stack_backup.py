"""``taxiway stack backup``: the stack's databases and objects in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.stack.archive import Manifest


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--incomplete", is_flag=True, help="Also when versions or models have lost files; they are named in it.")
@with_json
@with_settings
def command(settings: Settings, file: Path, incomplete: bool, as_json: bool) -> None:
    """Write experiments, runs, models, versions and their files to FILE, whole or not at all.

    The stack goes on working meanwhile. FILE ends in .tar, .tar.gz or .tar.zst, and is for its
    owner alone. Passwords and keys, trips, and JupyterLab's folder work are not in it.

    \b
    Example:  taxiway stack backup stack.tar
              taxiway stack backup /backups/taxiway-$(date +%F).tar.zst --json
    """
    from taxiway.cli.output import print_json, progress_bars, say
    from taxiway.stack.backup import backup
    from taxiway.stack.restore import describe

    with progress_bars() as bars:
        made = backup(settings, file, bars, incomplete=incomplete)
    if as_json:
        print_json({"path": str(made.path), "bytes": made.bytes, "seconds": made.seconds, **document(made.manifest)})
        return
    for missing in made.manifest.missing:
        say(f"Not complete: {missing}.", style="yellow")
    say(f"Backed up {describe(made.manifest.counts)} in {made.seconds:.1f} s: {made.path}")


def document(manifest: Manifest) -> dict[str, Any]:
    """What JSON says of a backup."""
    return {
        "created": manifest.created,
        "taxiway": manifest.taxiway,
        "mlflow": manifest.mlflow,
        "postgresql": manifest.postgresql,
        "counts": dict(manifest.counts),
        "missing": list(manifest.missing),
    }
