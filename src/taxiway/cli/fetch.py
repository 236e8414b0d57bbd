"""``taxiway fetch``: months of trips, downloaded and checked."""

from __future__ import annotations

from typing import Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings


@click.command("fetch")
@click.argument("months", nargs=-1, required=True)
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Months that are downloaded at once."
)
@with_json
@with_settings
def command(settings: Settings, months: tuple[str, ...], jobs: int, as_json: bool) -> None:
    """Download MONTHS of trips and check that each file is whole.

    A month is fetched once; an interrupted download goes on where it stopped. Trips in a folder
    are checked and read in place.

    \b
    Example:  taxiway fetch green:2023-01..2023-02
              taxiway fetch yellow:2018-05 --trips-source ~/trips --json
    """
    from taxiway.cli.output import print_json, print_table, progress_bars
    from taxiway.trips.source import fetch

    with progress_bars() as progress:
        found = fetch(",".join(months), settings, progress=progress, jobs=jobs)
    if as_json:
        print_json([_document(item) for item in found])
        return
    rows = [(_name(item), item.rows, describe_size(item.size), item.source) for item in found]
    print_table("Trips", ("month", "rows", "size", "source"), rows)


def describe_size(size: float) -> str:
    """Bytes in the largest unit that fits.

    Examples
    --------
    >>> describe_size(999), describe_size(1_854_605), describe_size(2e9)
    ('999 B', '1.9 MB', '2.0 GB')
    """
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:.0f} B"


def _name(item: Any) -> str:
    return f"{item.month}{' (synthetic)' if item.synthetic else ''}"


def _document(item: Any) -> dict[str, Any]:
    return {
        "month": str(item.month),
        "rows": item.rows,
        "bytes": item.size,
        "digest": item.digest,
        "source": item.source,
        "files": list(item.paths),
        "synthetic": item.synthetic,
    }
