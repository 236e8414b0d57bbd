"""``taxiway synth``: synthetic trips, for offline use and for tests of scale."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.errors import UsageError
from taxiway.folders import expanded

if TYPE_CHECKING:
    from taxiway.settings import Settings

_ROWS = re.compile(r"(?P<number>\d[\d_,]*(?:\.\d+)?)(?P<unit>[kKmM]?)")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_rows(text: str) -> int:
    """Read a number of rows: ``7_000_000``, ``100k`` or ``7M``.

    Raises
    ------
    UsageError
        Anything else.
    """
    match = _ROWS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not a number of rows", "Write 100_000, 100k or 7M")
    return round(float(match["number"].replace("_", "").replace(",", "")) * _UNITS[match["unit"].lower()])


@click.command("synth")
@click.argument("months")
@click.option("--rows", default="100_000", show_default=True, metavar="N", help="Trips in each month: 100_000, 7M.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to.  [default: HOME/synthetic]")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same trips.")
@with_json
@with_settings
def command(settings: Settings, months: str, rows: str, out: Path | None, seed: int, as_json: bool) -> None:
    """Make synthetic trips: one labelled file a month, under the TLC's names and columns.

    MONTHS are months or ranges of months of yellow or green trips. A file that is not synthetic
    is never replaced.

    \b
    Example:  taxiway synth green:2023-01..2023-02 --rows 100_000
              taxiway train tip --train green:2023-01 --holdout green:2023-02 \\
                  --trips-source ~/.taxiway/synthetic
    """
    from taxiway.cli.output import print_json, print_table, progress_bars, say
    from taxiway.trips.synthetic import synthesize

    folder = expanded(out or settings.home / "synthetic")
    began = perf_counter()
    with progress_bars() as bars:
        made = synthesize(months, parse_rows(rows), folder, seed=seed, progress=bars)
    seconds = perf_counter() - began
    listed: list[dict[str, Any]] = [
        {"month": str(item.month), "path": str(item.path), "rows": item.rows, "seed": item.seed} for item in made
    ]
    if as_json:
        print_json(listed)
        return
    print_table(
        f"Synthetic trips, {sum(item.rows for item in made):,} in {seconds:.1f} s",
        ("month", "rows", "seed", "file"),
        [(item["month"], item["rows"], str(item["seed"]), item["path"]) for item in listed],
    )
    say(f"Use them with --trips-source {folder}", style="bold")
