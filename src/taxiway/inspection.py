"""What is in months of trips: counted by rule, drawn, and the rejected ones written out on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.destination import open_destination
from taxiway.java_faults import in_our_words
from taxiway.progress import Progress, Silent
from taxiway.recipes import Recipe, load_recipe
from taxiway.settings import Settings, load_settings
from taxiway.trips.checking import check_trips
from taxiway.trips.months import Month, parse_months
from taxiway.trips.quality import BROKEN_RULE, MonthSummary, broken_in_training, summarize, warn_of_rejections
from taxiway.trips.schema import COLOUR, MONTH, layout_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TASK = "Counting trips"
_DISTANCE = "trip_distance"


@in_our_words
def inspect(
    months: str | Sequence[Month],
    recipe: str | Path | Recipe = "tip",
    *,
    rejected_to: str | Path | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> tuple[MonthSummary, ...]:
    """Count the trips of months, valid and rejected by which rule.

    Parameters
    ----------
    months : str or sequence of Month
        ``yellow:2018-01..2018-03``.
    recipe : str or Path or Recipe
        Whose rules are asked.
    rejected_to : str or Path, optional
        A folder, or a bucket as ``s3a://bucket/folder``, to write the rejected trips to: Parquet
        with the trip's canonical columns and ``rejected_by``, one partition for each colour and
        month. A partition that is there already is replaced.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional

    Returns
    -------
    tuple of MonthSummary
        By colour and month.

    Raises
    ------
    NotFound
        A month that is not published.
    BadData
        A file that cannot be read, lacks columns, or has too many values that cannot be read.
    MachineError
        `rejected_to` cannot be written.
    """
    from taxiway.spark import spark_session
    from taxiway.trips.source import check_seen, fetch

    options, watch = settings or load_settings(), progress or Silent()
    compiled = load_recipe(recipe)
    layouts = compiled.recipe.layouts
    asked = parse_months(months)
    check_seen(options)
    files = fetch(asked, options, layouts=layouts, progress=watch)
    layout = layout_of(asked[0].colour, layouts)
    watch.begin(_TASK)
    spark = spark_session(options, watch, rows=sum(item.rows for item in files))
    checked = check_trips(spark, files, layouts, compiled.reads)
    trips = checked.read()
    distance = _DISTANCE if _DISTANCE in layout.column_names() else None
    counted = summarize(trips, compiled.rules, layout.time, distance)
    unreadable = {str(item.month): checked.unreadable_in(item.month) for item in files}
    summaries = tuple(replace(summary, unreadable=unreadable[str(summary)]) for summary in counted)
    odd = (text for each in summaries for text in warn_of_rejections(str(each), each.rows, each.rejected))
    for note in (*odd, *checked.notes):
        watch.note(note)
    if rejected_to is not None:
        rejected = trips.withColumn(BROKEN_RULE, broken_in_training(compiled.rules)).where(f"{BROKEN_RULE} is not null")
        _write_rejected(rejected, asked, rejected_to, options)
    watch.end(_TASK)
    return summaries


def _write_rejected(rejected: DataFrame, months: Sequence[Month], out: str | Path, settings: Settings) -> None:
    with open_destination(out, settings) as staging:
        partitions = {f"{COLOUR}={month.colour}/{MONTH}={month.label}": month for month in months}
        for partition, month in partitions.items():
            mine = rejected.where(f"{COLOUR} = '{month.colour}' and {MONTH} = '{month.label}'")
            mine.drop(COLOUR, MONTH).coalesce(1).write.parquet(staging.address(partition))
        for partition in partitions:
            staging.publish(partition)
