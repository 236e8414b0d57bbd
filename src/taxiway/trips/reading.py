"""Files of trips -> one DataFrame of canonical columns, as dirty as published."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway.errors import UsageError, did_you_mean
from taxiway.recipes.recipe import COLOUR, MONTH
from taxiway.trips.schema import LAYOUTS, Column, Layout

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

    from taxiway.trips.months import Month
    from taxiway.trips.source import MonthFiles


def read_trips(spark: SparkSession, files: Sequence[MonthFiles], layouts: Mapping[str, Layout] = LAYOUTS) -> DataFrame:
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
    frames = [_read_group(spark, group, layouts) for group in _groups(files)]
    return reduce(lambda left, right: left.unionByName(right), frames)


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


@dataclass(frozen=True)
class _Group:
    """Files that one scan can read: of one colour, one format and one physical schema."""

    colour: str
    format: str
    columns: Mapping[str, str | None]
    schema: Any
    """Arrow's schema of Parquet files; None for CSV."""

    months: Mapping[str, Month]
    """Path -> month."""


def _groups(files: Sequence[MonthFiles]) -> Iterator[_Group]:
    """Put files of equal schema together: a query over one scan starts sooner than a union of many."""
    found: dict[tuple[str, ...], list[tuple[str, Any, MonthFiles]]] = defaultdict(list)
    for item in files:
        for path, schema in zip(item.paths, item.schemas, strict=True):
            shape = str(item.month) if schema is None else str(_types_by_name(schema))
            found[item.month.colour, item.format, str(sorted(item.columns.items(), key=str)), shape].append(
                (path, schema, item)
            )
    for group in found.values():
        # A row tells its month by its file's name, so the names must be plain and differ.
        names = {Path(path).name for path, _, _ in group}
        plain = len(names) == len(group) and all(re.fullmatch(r"[\w.-]+", name) for name in names)
        for part in [group] if plain else [[file] for file in group]:
            _, schema, first = part[0]
            months = {path: item.month for path, _, item in part}
            yield _Group(first.month.colour, first.format, first.columns, schema, months)


def _read_group(spark: SparkSession, group: _Group, layouts: Mapping[str, Layout]) -> DataFrame:
    from pyspark.sql import functions as F

    paths = list(group.months)
    if group.format == "csv":
        raw = spark.read.csv(paths, header=True)
        kinds = dict.fromkeys(raw.columns, "string")
    else:
        kinds = _spark_types(group.schema, [name for name in group.columns.values() if name])
        # The schema is known: asking Spark to infer it would start a job for each scan.
        raw = spark.read.schema(", ".join(f"`{name}` {kind}" for name, kind in kinds.items())).parquet(*paths)
    return raw.select(
        *(
            _canonical(column, group.columns.get(column.name), kinds)
            for column in layout_of(group.colour, layouts).columns
        ),
        F.lit(group.colour).alias(COLOUR),
        _month_of(group.months).alias(MONTH),
    )


def _month_of(months: Mapping[str, Month]) -> SparkColumn:
    """The label of the month that a row's file belongs to."""
    from pyspark.sql import functions as F

    labels = {month.label for month in months.values()}
    if len(labels) == 1:
        return F.lit(labels.pop())
    pairs = [F.lit(text) for path, month in months.items() for text in (Path(path).name, month.label)]
    return F.create_map(*pairs)[F.col("_metadata.file_name")]


def _types_by_name(schema: Any) -> dict[str, Any]:
    return dict(zip(schema.names, schema.types, strict=True))


def _spark_types(schema: Any, names: Sequence[str]) -> dict[str, str]:
    """Spark SQL types of a Parquet file's columns; what holds no value at all is left out."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    types = _types_by_name(schema)
    used = pa.schema([(name, types[name]) for name in names if types[name] != pa.null()])
    return {field.name: field.dataType.simpleString() for field in from_arrow_schema(used, prefer_timestamp_ntz=True)}


def _canonical(column: Column, published: str | None, kinds: Mapping[str, str]) -> SparkColumn:
    from pyspark.sql import functions as F

    if published is None or published not in kinds:
        return F.lit(None).cast(column.type).alias(column.name)
    quoted = f"`{published.replace('`', '``')}`"
    return F.expr(_conversion(column, quoted, kinds[published])).alias(column.name)


def _conversion(column: Column, value: str, kind: str) -> str:
    if kind == column.type:
        return value
    if kind == "timestamp" and column.type == "timestamp_ntz":
        # Stored as an instant, meant as a wall clock in UTC. Counted, not converted: a session's
        # zone with daylight saving has one name for two instants, and the hour between is lost.
        return f"timestampadd(MICROSECOND, unix_micros({value}), timestamp_ntz'1970-01-01 00:00:00')"
    if kind == "string" and column.codes:
        codes = ", ".join(f"'{text}', '{code}'" for text, code in column.codes.items())
        value = f"coalesce(map({codes})[lower(trim({value}))], {value})"
    if column.type == "int":
        return f"try_cast(try_cast({value} as double) as int)"
    return f"try_cast({value} as {column.type})"
