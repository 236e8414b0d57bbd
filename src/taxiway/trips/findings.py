"""What was found in files of trips when their values were counted, and what follows from it: pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from taxiway.errors import BadData
from taxiway.trips.conversion import USUAL_ZONES, UTC_ZONES, Conversion
from taxiway.trips.months import Month
from taxiway.trips.schema import Column

MOST_UNREADABLE = 0.01
"""Share of a column's values in one file that may be unreadable before the file is refused."""

_LONGEST_SAMPLE = 60

RAGGED = "records_with_too_many_values"
"""Under this name records are counted that have values for which the header has no name; none of theirs is used."""

PADDED = "records_with_too_few_values"
"""Under this name records are counted that end early; what they lack is null."""


@dataclass(frozen=True)
class Unreadable:
    """Values of one column in one file that were there and could not be read; they are null.

    Parameters
    ----------
    month : Month
    where : str
        The file.
    column : str
        The canonical column, or what is wrong with whole records.
    published : str
        Its name in the file.
    count : int
        Values that could not be read.
    present : int
        Values that were there.
    sample : str
        One of those that could not be read.
    """

    month: Month
    where: str
    column: str
    published: str
    count: int
    present: int
    sample: str


@dataclass(frozen=True)
class ColumnCount:
    """What was counted of one published column in one file.

    Parameters
    ----------
    column : Column
    published : str
    position : int
        Where it stands in the file.
    present : int
        Values that are there.
    conversions : tuple of Conversion
        The ways in which they may be read.
    read : tuple of int
        How many values each of them reads.
    samples : tuple of str or None
        For each of them, a value that it does not read.
    day_first : str or None
        A value that can only be read with its day first.
    dates : tuple of str
        The different dates of the time that a file's month goes by, as far as slashes part them: ``5/31/2018``.
    zones : tuple of str
        Time zones that values name.
    """

    column: Column
    published: str
    position: int
    present: int
    conversions: tuple[Conversion, ...]
    read: tuple[int, ...]
    samples: tuple[str | None, ...]
    day_first: str | None = None
    dates: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()


def choose_ways(counts: Sequence[ColumnCount]) -> tuple[tuple[int, int], ...]:
    """Which of several ways to write a time a file uses: the one that reads most of the values written alike.

    Returns
    -------
    tuple of (int, int)
        Position of a column, and the index of its conversion; for columns that have a choice.
    """
    open_to_choice = [count for count in counts if len(count.conversions) > 1]
    chosen = []
    for count in open_to_choice:
        alike = [other.read for other in open_to_choice if other.conversions == count.conversions]
        read = [sum(each) for each in zip(*alike, strict=True)]
        chosen.append((count.position, read.index(max(read))))
    return tuple(chosen)


def check_records(where: str, expected: int, found: int) -> None:
    """Refuse to go on when a reader came back with more or fewer rows than the file holds.

    Raises
    ------
    BadData
    """
    if found != expected:
        raise BadData(
            f"{where} holds {expected:,} trips, and {found:,} were read",
            "The file is damaged, or was changed meanwhile: replace it, and run the command again",
        )


def check_joined(where: str, column: str, published: Sequence[str], both: int) -> None:
    """Refuse two published columns for one canonical one that say something in the same row.

    Raises
    ------
    BadData
    """
    if both:
        names = " and ".join(f"'{name}'" for name in published)
        raise BadData(
            f"{where} has two columns for {column}: {names} both have a value in {both:,} rows",
            "Leave one of them out",
        )


def check_day_first(where: str, counts: Sequence[ColumnCount], month: Month) -> None:
    """Refuse a file of dates whose day comes first.

    A date such as 05/01/2018 says nothing by itself. What the dates of a month's file have in common does.

    Raises
    ------
    BadData
    """
    for count in counts:
        value = count.day_first if count.day_first is not None else _with_day_first(count.dates, month)
        if value is not None:
            raise BadData(
                f"{where}: '{shorten(value)}' in {count.published} has its day first, not its month",
                "Write times as yyyy-MM-dd HH:mm:ss, or as MM/dd/yyyy HH:mm",
            )


def _with_day_first(dates: Collection[str], month: Month) -> str | None:
    """One of the dates, if most of them lie in the month when they are read with their day first, and only then."""
    wanted = (month.month, month.year)
    numbers = {date: [int(part) for part in date.split("/")] for date in sorted(dates)}
    in_order = [date for date, (first, _, year) in numbers.items() if (first, year) == wanted]
    swapped = [date for date, (_, second, year) in numbers.items() if (second, year) == wanted]
    return swapped[0] if 2 * len(swapped) > len(numbers) and len(swapped) > len(in_order) else None


def check_readable(found: Sequence[Unreadable], needed: Collection[str]) -> None:
    """Refuse a file in which too much of a column cannot be read that something depends on.

    Parameters
    ----------
    found : sequence of Unreadable
    needed : collection of str
        Canonical columns that a feature, a rule or the label reads.

    Raises
    ------
    BadData
        The file, the column, how much of it, and a sample.
    """
    for item in found:
        if item.column == RAGGED and item.count > MOST_UNREADABLE * item.present:
            raise BadData(
                f"{item.where}: {item.count:,} of {item.present:,} records have more values than the header has "
                f"names, such as '{item.sample}'",
                "Quote values that hold a comma",
            )
        if item.column in needed and item.count > MOST_UNREADABLE * item.present:
            raise BadData(
                f"{item.where}: {item.count:,} of {item.present:,} values of {item.published} cannot be read, "
                f"such as '{item.sample}'",
                f"The column {item.column} is needed: correct its values, or name another source with --trips-source",
            )


def describe_zones(zones: Mapping[str, str]) -> Iterator[str]:
    """What is to be said of the time zones that files name, a sentence for each.

    Parameters
    ----------
    zones : mapping of str to str
        Zone -> a file that names it.
    """
    odd = {zone: where for zone, where in zones.items() if zone not in (*USUAL_ZONES, *UTC_ZONES)}
    for zone, where in sorted(odd.items()):
        yield f"{where} gives its times in the time zone {zone}: they are read as the clock shows there"
    utc = sorted(where for zone, where in zones.items() if zone in UTC_ZONES)
    if utc:
        yield f"{utc[0]} gives its times in UTC: they are taken as they are, as New York local time"


def shorten(value: str | None) -> str:
    """A value as it may be shown: on one line, and not all of a long one."""
    return " ".join(str(value).split())[:_LONGEST_SAMPLE]


def total(found: Sequence[Unreadable]) -> dict[str, int]:
    """Unreadable values by canonical column, the most first."""
    sums: dict[str, int] = {}
    for item in found:
        sums[item.column] = sums.get(item.column, 0) + item.count
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def describe(found: Sequence[Unreadable]) -> Iterator[str]:
    """What is to be said of values that could not be read, a sentence for each column."""
    for column, count in total(found).items():
        first = next(item for item in found if item.column == column)
        what = (
            f"{count:,} values of {column}"
            if column not in (RAGGED, PADDED)
            else f"{count:,} {column.replace('_', ' ')}"
        )
        sample = f", such as '{first.sample}' in {first.where}" if first.sample else f", in {first.where}"
        yield f"{what} could not be read{sample}" if column != PADDED else f"{what}{sample}"
