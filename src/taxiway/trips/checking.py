"""Values of files counted by Spark before anything is done with them: rows, what is there, what can be read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.trips.conversion import DAY_FIRST, SLASHED_DATE, UTC_ZONES, ZONE_SUFFIX, conversions, is_certain, presence
from taxiway.trips.findings import (
    PADDED,
    RAGGED,
    ColumnCount,
    Unreadable,
    check_day_first,
    check_joined,
    check_readable,
    check_records,
    choose_ways,
    describe,
    describe_zones,
    shorten,
    total,
)
from taxiway.trips.reading import FILE, Scan, Ways, check_together, raw_name, scans, union
from taxiway.trips.schema import LAYOUTS, Column, Layout

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

    from taxiway.trips.months import Month
    from taxiway.trips.published import FileFacts, MonthFiles, Source


@dataclass(frozen=True)
class CheckedTrips:
    """Months of trips whose values have been counted, ready to be read.

    Parameters
    ----------
    spark : SparkSession
    files : tuple of MonthFiles
    layouts : mapping of str to Layout
    ways : mapping of str to tuple of (int, int)
        Path -> position of a column, and by which of several conversions it is read.
    unreadable : tuple of Unreadable
        What is null although something stood there, by file and column.
    notes : tuple of str
        What a user should know before they use these trips, a sentence each.
    """

    spark: SparkSession = field(repr=False)
    files: tuple[MonthFiles, ...]
    layouts: Mapping[str, Layout] = field(repr=False)
    ways: Mapping[str, Ways]
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...]

    def read(self, *files: MonthFiles) -> DataFrame:
        """The trips of some of these months; of all by default. Columns as `taxiway.trips.reading.read_trips` says."""
        chosen = scans(files or self.files, self.layouts, self.ways)
        return union([scan.select(scan.raw(self.spark)) for scan in chosen])

    def unreadable_in(self, month: Month) -> dict[str, int]:
        """Unreadable values of a month by canonical column."""
        return total([item for item in self.unreadable if item.month == month])


def read_trips(
    spark: SparkSession,
    files: Sequence[MonthFiles],
    layouts: Mapping[str, Layout] = LAYOUTS,
    needed: Collection[str] = (),
) -> DataFrame:
    """Read months of trips.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of MonthFiles
        What `taxiway.trips.source.fetch` returned.
    layouts : mapping of str to Layout
        The data sets known.
    needed : collection of str, optional
        Canonical columns of which a file must not have more than one value in a hundred that cannot be read.

    Returns
    -------
    DataFrame
        One row per trip record: the canonical columns of the layout, then ``colour`` and
        ``month`` of the file it came from. What cannot be read as a column's type is null.

    Raises
    ------
    UsageError
        No months, or months of data sets whose columns differ.
    BadData
        As `check_trips`.
    """
    return check_trips(spark, files, layouts, needed).read()


def check_trips(
    spark: SparkSession,
    files: Sequence[MonthFiles],
    layouts: Mapping[str, Layout] = LAYOUTS,
    needed: Collection[str] = (),
) -> CheckedTrips:
    """Count what is in files of trips, and refuse those that would be answered from nulls that stand for values.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of MonthFiles
        What `taxiway.trips.source.fetch` returned.
    layouts : mapping of str to Layout
        The data sets known.
    needed : collection of str, optional
        Canonical columns that a feature, a rule or the label reads.

    Returns
    -------
    CheckedTrips

    Raises
    ------
    UsageError
        No months, or months of data sets whose columns differ.
    BadData
        More than one value in a hundred of a needed column cannot be read; a date has its day first; two columns for
        one both have a value in a row; or other rows came back than the file holds.
    """
    check_together(files, layouts)
    by_path = {path: facts for item in files for path, facts in zip(item.paths, item.facts, strict=True)}
    ways: dict[str, Ways] = {}
    unreadable: list[Unreadable] = []
    zones: dict[str, str] = {}
    for scan in scans(files, layouts):
        for path, row in _counted(spark, scan):
            facts = by_path[path]
            check_records(path, facts.rows, row["n"] if row else 0)
            if row is None:
                continue
            counts = list(_column_counts(scan, row))
            _check_joined(scan, row, path)
            check_day_first(path, counts, scan.months[path])
            ways[path] = choose_ways(counts)
            found = [*_ragged(scan, facts, row, path), *_unreadable(counts, ways[path], scan.months[path], path)]
            check_readable(found, needed)
            unreadable += found
            zones |= dict.fromkeys(_zones(scan, counts), path)
    return CheckedTrips(
        spark=spark,
        files=tuple(files),
        layouts=layouts,
        ways=ways,
        unreadable=tuple(unreadable),
        notes=(*describe_zones(zones), *describe(unreadable)),
    )


def _counted(spark: SparkSession, scan: Scan) -> Iterator[tuple[str, Row | None]]:
    """One row of counts for each file of a scan; None for a file of which no row came back."""
    from pyspark.sql import functions as F

    counts = [F.count("*").alias("n"), *(F.expr(text).alias(name) for name, text in _questions(scan))]
    raw = scan.raw(spark)
    if len(scan.months) == 1:
        # By whatever name Spark knows the file: all that came back is counted.
        yield next(iter(scan.months)), raw.agg(*counts).collect()[0]
        return
    rows = {row[FILE]: row for row in raw.groupBy(FILE).agg(*counts).collect()}
    for path in scan.months:
        yield path, rows.get(Path(path).name)


def _uncertain(scan: Scan) -> Iterator[tuple[Column, Source]]:
    """The columns whose values have to be looked at, one by one."""
    for column in scan.layout.columns:
        for source in scan.facts.sources[column.name]:
            # A footer may say how large values are, and be wrong about a damaged page: nothing is taken from it.
            if not is_certain(column, source.kind):
                yield column, source


def _questions(scan: Scan) -> Iterator[tuple[str, str]]:
    """What is counted, as names and SQL aggregates."""
    for column, source in _uncertain(scan):
        value, at = scan.value_of(source), source.position
        there = presence(column, source.kind).replace("{v}", value)
        yield f"present_{at}", f"count_if({there})"
        for way, conversion in enumerate(conversions(column, source.kind)):
            unread = f"{there} and ({conversion.of(value)}) is null"
            yield f"unread_{at}_{way}", f"count_if({unread})"
            yield f"sample_{at}_{way}", f"min(case when {unread} then cast({value} as string) end)"
        if column.type == "timestamp_ntz" and source.kind.values == "text":
            yield f"day_first_{at}", f"min(case when trim({value}) rlike '{DAY_FIRST}' then {value} end)"
            if column.name == scan.layout.time:
                yield f"dates_{at}", f"collect_set(nullif(regexp_extract(trim({value}), '{SLASHED_DATE}', 1), ''))"
            zone = f"nullif(regexp_extract(trim({value}), '{ZONE_SUFFIX}', 1), '')"
            yield f"zones_{at}", f"collect_set(case when {there} then {zone} end)"
    for column in scan.layout.columns:
        sources = scan.facts.sources[column.name]
        if len(sources) > 1:
            all_there = (presence(column, one.kind).replace("{v}", scan.value_of(one)) for one in sources)
            yield f"both_{column.name}", f"count_if({' + '.join(f'cast({each} as int)' for each in all_there)} > 1)"
    if scan.overlong:
        yield "overlong", f"count_if({scan.overlong})"
        yield "overlong_sample", f"min(case when {scan.overlong} then concat_ws(',', {_all(scan)}) end)"


def _all(scan: Scan) -> str:
    return ", ".join(raw_name(at) for at in range(scan.width))


def _column_counts(scan: Scan, row: Row) -> Iterator[ColumnCount]:
    for column, source in _uncertain(scan):
        at, ways = source.position, conversions(column, source.kind)
        present = row[f"present_{at}"]
        asked = f"day_first_{at}" in row
        yield ColumnCount(
            column=column,
            published=source.name,
            position=at,
            present=present,
            conversions=ways,
            read=tuple(present - row[f"unread_{at}_{way}"] for way in range(len(ways))),
            samples=tuple(row[f"sample_{at}_{way}"] for way in range(len(ways))),
            day_first=row[f"day_first_{at}"] if asked else None,
            dates=tuple(row[f"dates_{at}"]) if f"dates_{at}" in row else (),
            zones=tuple(row[f"zones_{at}"]) if asked else (),
        )


def _check_joined(scan: Scan, row: Row, path: str) -> None:
    for column in scan.layout.columns:
        sources = scan.facts.sources[column.name]
        if len(sources) > 1:
            check_joined(path, column.name, [source.name for source in sources], row[f"both_{column.name}"])


def _ragged(scan: Scan, facts: FileFacts, row: Row, path: str) -> Iterator[Unreadable]:
    month = scan.months[path]
    if scan.overlong and row["overlong"]:
        yield Unreadable(month, path, RAGGED, "", row["overlong"], facts.rows, shorten(row["overlong_sample"]))
    if facts.csv is not None and facts.csv.short:
        yield Unreadable(month, path, PADDED, "", facts.csv.short, facts.rows, "")


def _unreadable(counts: Sequence[ColumnCount], ways: Ways, month: Month, path: str) -> Iterator[Unreadable]:
    for count in counts:
        chosen = dict(ways).get(count.position, 0)
        if missed := count.present - count.read[chosen]:
            sample = shorten(count.samples[chosen])
            yield Unreadable(month, path, count.column.name, count.published, missed, count.present, sample)


def _zones(scan: Scan, counts: Sequence[ColumnCount]) -> Iterator[str]:
    for count in counts:
        yield from count.zones
        # Counted from 1970 on, as computers do, which is in UTC.
        if count.present and count.conversions[0].name.endswith("since 1970"):
            yield UTC_ZONES[0]
    for sources in scan.facts.sources.values():
        # Azure Open Datasets, which alone writes names so, is known to store wall clocks as instants in UTC.
        known = (source.kind.zone for source in sources if not re.match("[tl]pep[A-Z]", source.name))
        yield from (zone for zone in known if zone)
