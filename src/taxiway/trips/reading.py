"""Files of trips -> one DataFrame of canonical columns; what cannot be read is counted before anything uses it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.errors import UsageError
from taxiway.spark_paths import spark_path
from taxiway.trips.conversion import conversions, presence
from taxiway.trips.schema import COLOUR, MONTH, Column, Layout, layout_of

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

    from taxiway.trips.months import Month
    from taxiway.trips.published import FileFacts, MonthFiles, Source

FILE = "file"

Ways = tuple[tuple[int, int], ...]
"""Position of a column, and by which of several conversions it is read."""


def check_together(files: Sequence[MonthFiles], layouts: Mapping[str, Layout]) -> None:
    """Refuse months that cannot be one table.

    Raises
    ------
    UsageError
    """
    if not files:
        raise UsageError("No months were named", "Write for example green:2023-01..2023-02")
    names = {layout_of(item.month.colour, layouts).column_names() for item in files}
    if len(names) > 1:
        raise UsageError("These months have different columns and cannot be used together", "Name one data set")


@dataclass(frozen=True)
class Scan:
    """Files that one scan can read: of one colour, one format, the same columns and the same way to write times.

    Parameters
    ----------
    layout : Layout
    format : str
    facts : FileFacts
        Of the first file; what it says of columns holds for all.
    width : int
        Columns that are read of a CSV file: as many as its longest record has.
    months : mapping of str to Month
        Path -> month.
    ways : tuple of (int, int)
        Position of a column, and by which of several conversions it is read; the first by default.
    """

    layout: Layout
    format: str
    facts: FileFacts
    width: int
    months: Mapping[str, Month]
    ways: Ways = ()

    def raw(self, spark: SparkSession) -> DataFrame:
        """The published columns as they are, named by `raw_name`, then ``file``, the name of a row's file."""
        from pyspark.sql import functions as F

        paths = [spark_path(path, reading=True) for path in self.months]
        if self.format == "csv":
            return self._raw_csv(spark, paths).withColumn(FILE, F.col("_metadata.file_name"))
        sources = {source.position: source for found in self.facts.sources.values() for source in found}
        schema = ", ".join(f"{_quoted(source.name)} {source.kind.spark}" for source in sources.values())
        _allow(spark, sources.values())
        # The schema is known: asking Spark to infer it would start a job for each scan.
        frame = spark.read.schema(schema).parquet(*paths)
        return frame.select(
            *(F.expr(_quoted(source.name)).alias(raw_name(at)) for at, source in sources.items()),
            F.col("_metadata.file_name").alias(FILE),
        )

    def _raw_csv(self, spark: SparkSession, paths: list[str]) -> DataFrame:
        shape = self.facts.csv
        return spark.read.csv(
            paths,
            schema=", ".join(f"{raw_name(at)} string" for at in range(self.width)),
            header=True,
            # Slower, and needed only where a value may hold a line break.
            multiLine=shape is not None and shape.quoted,
            # A quotation mark within quotes is written twice, not behind a backslash as Spark would have it.
            escape='"',
            encoding="UTF-8",
        )

    def select(self, raw: DataFrame) -> DataFrame:
        """The canonical columns of `raw`."""
        from pyspark.sql import functions as F

        return raw.select(
            *(self._canonical(column) for column in self.layout.columns),
            F.lit(self.layout.colour).alias(COLOUR),
            _month_of(self.months).alias(MONTH),
        )

    def value_of(self, source: Source) -> str:
        """A published column as SQL. Of a record with too many values none can be told to be in its place: null."""
        name = raw_name(source.position)
        return f"(case when {self.overlong} then null else {name} end)" if self.overlong else name

    @property
    def overlong(self) -> str:
        """SQL that tells whether a record has a value for which the header has no name; empty where none can."""
        extra = [raw_name(at) for at in range(len(self.facts.names), self.width)] if self.format == "csv" else []
        return " or ".join(f"coalesce(trim({name}), '') <> ''" for name in extra)

    def _canonical(self, column: Column) -> SparkColumn:
        from pyspark.sql import functions as F

        found = [self._read(column, source) for source in self.facts.sources[column.name]]
        if not found:
            return F.lit(None).cast(column.type).alias(column.name)
        return F.expr(found[0] if len(found) == 1 else f"coalesce({', '.join(found)})").alias(column.name)

    def _read(self, column: Column, source: Source) -> str:
        way = conversions(column, source.kind)[dict(self.ways).get(source.position, 0)]
        read = way.of(self.value_of(source))
        if len(self.facts.sources[column.name]) == 1:
            return read
        return f"case when {presence(column, source.kind).replace('{v}', self.value_of(source))} then {read} end"


def scans(
    files: Sequence[MonthFiles], layouts: Mapping[str, Layout], ways: Mapping[str, Ways] | None = None
) -> Iterator[Scan]:
    """Put files of equal columns together: a query over one scan starts sooner than a union of many.

    Parameters
    ----------
    files : sequence of MonthFiles
    layouts : mapping of str to Layout
    ways : mapping of str to tuple of (int, int), optional
        Path -> position of a column, and by which of several conversions it is read.
    """
    found: dict[tuple[object, ...], list[tuple[str, FileFacts, MonthFiles]]] = defaultdict(list)
    for item in files:
        for path, facts in zip(item.paths, item.facts, strict=True):
            # A CSV file is told by its own shape, and so is scanned by itself.
            shape = path if facts.csv else tuple(sorted(facts.sources.items()))
            found[item.month.colour, item.format, (ways or {}).get(path, ()), shape].append((path, facts, item))
    for group in found.values():
        # A row tells its month by its file's name, so the names must be plain and differ.
        names = {Path(path).name for path, _, _ in group}
        plain = len(names) == len(group) and all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in names)
        for part in [group] if plain else [[file] for file in group]:
            path, facts, first = part[0]
            yield Scan(
                layout=layout_of(first.month.colour, layouts),
                format=first.format,
                facts=facts,
                width=facts.csv.widest if facts.csv else len(facts.names),
                months={path: item.month for path, _, item in part},
                ways=(ways or {}).get(path, ()),
            )


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """One DataFrame of all."""
    return reduce(lambda left, right: left.unionByName(right), frames)


def raw_name(position: int) -> str:
    """What a published column is called while it is read: its own name may differ from another one's by case alone."""
    return f"c{position}"


def _month_of(months: Mapping[str, Month]) -> SparkColumn:
    """The label of the month that a row's file belongs to."""
    from pyspark.sql import functions as F

    labels = {month.label for month in months.values()}
    if len(labels) == 1:
        return F.lit(labels.pop())
    pairs = [F.lit(text) for path, month in months.items() for text in (Path(path).name, month.label)]
    return F.create_map(*pairs)[F.col(FILE)]


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _allow(spark: SparkSession, sources: Collection[Source]) -> None:
    """Let the session read what it otherwise refuses: only where a file has it, since the session may be the user's."""
    if any(source.kind.values == "nanoseconds" for source in sources):
        # Spark 4.3 has no type for nanoseconds: it reads them as whole numbers when it is told to.
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    if len({source.name.lower() for source in sources}) < len(sources):
        # Otherwise two columns whose names differ by case alone are one to Spark's reader.
        spark.conf.set("spark.sql.caseSensitive", "true")
