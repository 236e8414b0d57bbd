"""Files of trips -> one DataFrame of canonical columns, as dirty as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from taxiway.errors import UsageError, did_you_mean
from taxiway.recipes.recipe import COLOUR, MONTH
from taxiway.trips.schema import LAYOUTS, Column, Layout

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

    from taxiway.trips.source import MonthFiles


def read_trips(
    spark: SparkSession, files: Sequence[MonthFiles], layouts: Mapping[str, Layout] = LAYOUTS
) -> DataFrame:
    """Read months of trips.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of MonthFiles
        What `taxiway.trips.source.fetch` returned.
    layouts : mapping of str to Layout
        The data sets known.

    Returns
    -------
    DataFrame
        One row per trip record: the canonical columns of the layout, then ``colour`` and
        ``month`` of the file it came from. What cannot be read as a column's type is null.

    Raises
    ------
    UsageError
        No months, or months of data sets whose columns differ.
    """
    if not files:
        raise UsageError("No months were named", "Write for example green:2023-01..2023-02")
    names = {layout_of(item.month.colour, layouts).column_names() for item in files}
    if len(names) > 1:
        raise UsageError("These months have different columns and cannot be used together", "Name one data set")
    return reduce(lambda left, right: left.unionByName(right), (_read_month(spark, item, layouts) for item in files))


def layout_of(colour: str, layouts: Mapping[str, Layout]) -> Layout:
    """The layout of a colour.

    Raises
    ------
    UsageError
        Unknown colour, with the closest known one.
    """
    if colour not in layouts:
        raise UsageError(f"There are no '{colour}' trips", did_you_mean(colour, layouts))
    return layouts[colour]


def _read_month(spark: SparkSession, files: MonthFiles, layouts: Mapping[str, Layout]) -> DataFrame:
    from pyspark.sql import functions as F

    layout = layout_of(files.month.colour, layouts)
    if files.format == "csv":
        raw = spark.read.csv([*files.paths], header=True)
    else:
        raw = spark.read.parquet(*files.paths)
    kinds = {name.lower(): kind for name, kind in raw.dtypes}
    return raw.select(
        *(_canonical(column, files.columns.get(column.name), kinds) for column in layout.columns),
        F.lit(files.month.colour).alias(COLOUR),
        F.lit(files.month.label).alias(MONTH),
    )


def _canonical(column: Column, published: str | None, kinds: Mapping[str, str]) -> SparkColumn:
    from pyspark.sql import functions as F

    if published is None:
        return F.lit(None).cast(column.type).alias(column.name)
    kind = kinds[published.lower()]
    quoted = f"`{published.replace('`', '``')}`"
    return F.expr(_conversion(column, quoted, kind)).alias(column.name)


def _conversion(column: Column, value: str, kind: str) -> str:
    if kind == column.type:
        return value
    if kind == "void":
        return f"cast(null as {column.type})"
    if kind == "timestamp" and column.type == "timestamp_ntz":
        # Stored as an instant, meant as a wall clock: read it in the zone it was written in.
        return f"convert_timezone(current_timezone(), 'UTC', cast({value} as timestamp_ntz))"
    if kind == "string" and column.codes:
        codes = ", ".join(f"'{text}', '{code}'" for text, code in column.codes.items())
        value = f"coalesce(map({codes})[lower(trim({value}))], {value})"
    if column.type == "int":
        return f"try_cast(try_cast({value} as double) as int)"
    return f"try_cast({value} as {column.type})"
