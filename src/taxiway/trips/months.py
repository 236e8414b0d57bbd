"""Months of trip records, as people write them: ``yellow:2018-01..2018-10``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from taxiway.errors import NotFound, UsageError

_RANGE = re.compile(r"(?P<colour>[a-z][a-z0-9_-]*):(?P<first>\d{4}-\d{2})(?:\.\.(?P<last>\d{4}-\d{2}))?", re.ASCII)
_EXAMPLE = "Write yellow:2018-05 or green:2023-01..2023-03"


@dataclass(frozen=True, order=True)
class Month:
    """One month of one colour's trip records.

    Parameters
    ----------
    colour : str
        ``yellow``, ``green``, or the name of a recipe's own data set.
    year : int
        Calendar year, four digits.
    month : int
        1 to 12.
    """

    colour: str
    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.colour}:{self.label}"

    @property
    def label(self) -> str:
        """The month alone, ``2018-05``."""
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def start(self) -> datetime:
        """The first moment of the month, New York local time."""
        return datetime(self.year, self.month, 1)

    @property
    def end(self) -> datetime:
        """The first moment after the month, New York local time."""
        return datetime(self.year + self.month // 12, self.month % 12 + 1, 1)


def parse_months(text: str | Sequence[str] | Sequence[Month], today: date | None = None) -> tuple[Month, ...]:
    """Read months and ranges of months.

    Parameters
    ----------
    text : str or sequence of str or sequence of Month
        ``yellow:2018-05``, ``green:2023-01..2023-03``, or several of them, separated by commas.
    today : date, optional
        The day that decides which months lie in the future; today by default.

    Returns
    -------
    tuple of Month
        In the order given, each once.

    Raises
    ------
    UsageError
        A malformed range, or one that ends before it starts.
    NotFound
        A month in the future.

    Examples
    --------
    >>> [str(month) for month in parse_months("green:2022-12..2023-01")]
    ['green:2022-12', 'green:2023-01']
    """
    months: dict[Month, None] = {}
    for item in (text,) if isinstance(text, str) else text:
        parts = (item,) if isinstance(item, Month) else item.split(",")
        for part in parts:
            months.update(dict.fromkeys((part,) if isinstance(part, Month) else _parse_range(part.strip())))
    now = today or date.today()
    for month in months:
        if (month.year, month.month) > (now.year, now.month):
            raise NotFound(f"{month} lies in the future", f"The newest month that can exist is {now:%Y-%m}")
    return tuple(months)


def describe_months(months: Iterable[Month]) -> str:
    """Write months as ranges, the inverse of `parse_months`.

    Parameters
    ----------
    months : iterable of Month
        In any order; each is written once.

    Returns
    -------
    str

    Examples
    --------
    >>> describe_months(parse_months("green:2023-01,green:2023-02,yellow:2018-05"))
    'green:2023-01..2023-02,yellow:2018-05'
    """
    runs: list[list[Month]] = []
    for month in sorted(set(months)):
        if runs and runs[-1][-1].colour == month.colour and runs[-1][-1].end == month.start:
            runs[-1].append(month)
        else:
            runs.append([month])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1].label}" for run in runs)


def _parse_range(text: str) -> tuple[Month, ...]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a month or a range of months", _EXAMPLE)
    first = _parse_month(match["first"], text)
    last = _parse_month(match["last"] or match["first"], text)
    if last < first:
        raise UsageError(f"'{text}' ends before it starts", _EXAMPLE)
    indices = range(first[0] * 12 + first[1] - 1, last[0] * 12 + last[1])
    return tuple(Month(match["colour"], index // 12, index % 12 + 1) for index in indices)


def _parse_month(text: str, whole: str) -> tuple[int, int]:
    year, month = (int(part) for part in text.split("-"))
    if not 1 <= month <= 12 or year < 1:
        raise UsageError(f"'{whole}' names a month that no calendar has", _EXAMPLE)
    return year, month
