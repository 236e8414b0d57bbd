"""``taxiway trips``: rows, valid, rejected by which rule, when and how far people ride."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxiway.settings import Settings
    from taxiway.trips.quality import MonthSummary

_BLOCKS = " ▁▂▃▄▅▆▇█"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@click.command("trips")
@click.argument("months", nargs=-1, required=True)
@click.option("--recipe", default="tip", show_default=True, help="Whose rules are asked: a name or a Python file.")
@click.option(
    "--plot", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture to a PNG file."
)
@click.option(
    "--rejected",
    metavar="FOLDER",
    help="Write the rejected trips as Parquet, each with the rule it breaks; a folder or s3a://bucket/folder.",
)
@with_json
@with_settings
def command(
    settings: Settings, months: tuple[str, ...], recipe: str, plot: Path | None, rejected: str | None, as_json: bool
) -> None:
    """Show what is in MONTHS of trips: rows, valid, and rejected by which rule.

    A rejected trip is counted once, under the first rule it breaks.

    \b
    Example:  taxiway trips green:2023-01..2023-02
              taxiway trips yellow:2018-05 --recipe card-tip --rejected rejected/ --plot trips.png
    """
    from taxiway.cli.output import print_json, progress_bars, say
    from taxiway.errors import MachineError
    from taxiway.inspection import inspect
    from taxiway.trips.months import parse_months

    if plot is not None and not plot.absolute().parent.is_dir():
        raise MachineError(
            f"There is no folder {plot.absolute().parent}", "Make it, or choose another file with --plot"
        )
    with progress_bars() as bars:
        asked = parse_months(months)
        summaries = inspect(asked, recipe, rejected_to=rejected, settings=settings, progress=bars)
    if plot is not None:
        _save(summaries, plot)
    if as_json:
        print_json([document(summary) for summary in summaries])
        return
    _print(summaries)
    for what, place in (("Rejected trips", rejected), ("Picture", plot)):
        if place is not None:
            say(f"{what}: {place}")


def document(summary: MonthSummary) -> dict[str, Any]:
    """A month's summary as JSON shows it."""
    return {
        "month": str(summary),
        "rows": summary.rows,
        "valid": summary.valid,
        "rejected": dict(summary.rejected),
        "unreadable": dict(summary.unreadable),
        "pickups": [list(hours) for hours in summary.pickups],
        "distances": list(summary.distances),
    }


def _save(summaries: Sequence[MonthSummary], file: Path) -> None:
    from taxiway.errors import MachineError
    from taxiway.plots import draw_trips

    try:
        draw_trips(summaries).savefig(file, format="png")
    except OSError as error:
        raise MachineError(f"{file} cannot be written: {error.strerror}", "Choose another file with --plot") from error


def _print(summaries: Sequence[MonthSummary]) -> None:
    from taxiway.cli.output import print_table, say

    rules = list(dict.fromkeys(rule for summary in summaries for rule in summary.rejected))
    rows = [
        (str(summary), summary.rows, summary.valid, f"{summary.valid / max(1, summary.rows):.1%}")
        for summary in summaries
    ]
    print_table("Trips", ("month", "rows", "valid", "share"), rows)
    if rules:
        by_rule = [(rule, *(summary.rejected.get(rule, 0) for summary in summaries)) for rule in rules]
        print_table("Rejected, by the first rule a trip breaks", ("rule", *map(str, summaries)), by_rule)
    columns = list(dict.fromkeys(column for summary in summaries for column in summary.unreadable))
    if columns:
        by_column = [(column, *(summary.unreadable.get(column, 0) for summary in summaries)) for column in columns]
        print_table("Values that could not be read", ("column", *map(str, summaries)), by_column)
    for line in picture(summaries):
        say(line)


def picture(summaries: Sequence[MonthSummary]) -> list[str]:
    """When and how far people ride, as lines of text.

    Parameters
    ----------
    summaries : sequence of MonthSummary
        Drawn together.

    Returns
    -------
    list of str
    """
    pickups = [[sum(s.pickups[day][hour] for s in summaries) for hour in range(24)] for day in range(7)]
    highest = max(max(hours) for hours in pickups)
    lines = ["When people ride, by hour of pick-up", "     0     6     12    18"]
    lines += [f"{day}  {_bars(hours, highest)}" for day, hours in zip(_DAYS, pickups, strict=True)]
    miles = [sum(s.distances[mile] for s in summaries) for mile in range(len(summaries[0].distances))]
    lines += ["How far, by miles", "     0         10        20        30+", f"     {_bars(miles, max(miles))}"]
    return lines


def _bars(counts: Sequence[int], highest: int) -> str:
    steps = len(_BLOCKS) - 1
    # Rounded up: where anybody rides at all, something shows.
    return "".join(_BLOCKS[-(-count * steps // highest)] if highest else " " for count in counts)
