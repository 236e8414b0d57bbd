"""Which trips can be used, and by which rule the others are rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taxiway.trips.schema import COLOUR, MONTH

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

    from taxiway.recipes import CompiledRule

BROKEN_RULE = "rejected_by"
NEARLY_ALL = 0.9
"""Share of a month's trips that one rule may reject before it is worth a warning."""

LONGEST_MILES = 30


@dataclass(frozen=True)
class MonthSummary:
    """What is in one month of trips.

    Parameters
    ----------
    colour, month : str
        The file's.
    rows : int
        Trip records read.
    valid : int
        Those that meet every rule.
    rejected : mapping of str to int
        The others, each counted once, under the first rule it breaks: ``valid`` and these add
        up to ``rows``.
    pickups : tuple of tuple of int
        Valid trips by weekday (7, Monday first) and hour (24) of pick-up.
    distances : tuple of int
        Valid trips by whole miles of distance, 0 to 30; the last one holds all longer trips.
    unreadable : mapping of str to int
        Values by column that stood in the files and could not be read: they are null.
    """

    colour: str
    month: str
    rows: int
    valid: int
    rejected: Mapping[str, int]
    pickups: tuple[tuple[int, ...], ...]
    distances: tuple[int, ...]
    unreadable: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.colour}:{self.month}"


def warn_of_rejections(month: str, rows: int, rejected: Mapping[str, int]) -> Iterator[str]:
    """What is to be said of a rule that rejects nearly every trip of a month: the rule, or the month, is an odd one.

    Parameters
    ----------
    month : str
    rows : int
        Trips of the month.
    rejected : mapping of str to int
        Trips by the rule that they break.
    """
    for rule, count in rejected.items():
        if rows and count > NEARLY_ALL * rows:
            yield f"{count:,} of {rows:,} trips of {month} break one rule, {rule}: does the month tell what it asks?"


def broken_in_training(rules: Sequence[CompiledRule]) -> Column:
    """The first rule that a row breaks as training sees it: what is not true is broken.

    Returns
    -------
    Column
        Name of the rule, null for a row that meets all of them.
    """
    return _first((rule.name, f"coalesce({rule.condition}, false)") for rule in rules)


def broken_at_scoring(rules: Sequence[CompiledRule]) -> Column:
    """The first rule that a row breaks as scoring sees it: what is false is broken.

    Rules that read what is known only afterwards are not asked; an unknown value breaks nothing,
    since the model has an answer for it.
    """
    return _first((rule.name, f"coalesce({rule.condition}, true)") for rule in rules if rule.at_scoring)


def _first(conditions: Iterable[tuple[str, str]]) -> Column:
    from pyspark.sql import functions as F

    cases = " ".join(f"when not {condition} then '{name}'" for name, condition in conditions)
    return F.expr(f"case {cases} end") if cases else F.lit(None).cast("string")


def summarize(
    trips: DataFrame, rules: Sequence[CompiledRule], time: str, distance: str | None
) -> tuple[MonthSummary, ...]:
    """Count each month's trips by rule, by time and by distance, in one pass.

    Parameters
    ----------
    trips : DataFrame
        Canonical columns with ``colour`` and ``month``.
    rules : sequence of CompiledRule
        Asked in order.
    time : str
        Column that says when the trip began.
    distance : str or None
        Column of its length in miles, where there is one.

    Returns
    -------
    tuple of MonthSummary
        By colour and month.
    """
    from pyspark.sql import functions as F

    broken = broken_in_training(rules)
    miles = _whole_miles(F.col(distance)) if distance else F.lit(None)
    # A rejected trip is counted by its rule alone, so that its odd values make no groups.
    valid = F.col(BROKEN_RULE).isNull()
    counted = (
        trips.select(COLOUR, MONTH, broken.alias(BROKEN_RULE), F.col(time).alias("at"), miles.alias("miles"))
        .select(
            COLOUR,
            MONTH,
            BROKEN_RULE,
            F.when(valid, F.weekday("at")).alias("weekday"),
            F.when(valid, F.hour("at")).alias("hour"),
            F.when(valid, F.col("miles")).alias("miles"),
        )
        .groupBy(COLOUR, MONTH, BROKEN_RULE, "weekday", "hour", "miles")
        .count()
        .collect()
    )
    months = sorted({(row[COLOUR], row[MONTH]) for row in counted})
    return tuple(_summary(colour, month, counted) for colour, month in months)


def _whole_miles(distance: Column) -> Column:
    """0 to `LONGEST_MILES`; null for what is no distance. Bounded first: a floor of 1e300 raises."""
    from pyspark.sql import functions as F

    return F.when((distance >= 0) & ~F.isnan(distance), F.floor(F.least(distance, F.lit(LONGEST_MILES))).cast("int"))


def _summary(colour: str, month: str, counted: Sequence[Row]) -> MonthSummary:
    rows = [row for row in counted if (row[COLOUR], row[MONTH]) == (colour, month)]
    rejected: Counter[str] = Counter()
    pickups = [[0] * 24 for _ in range(7)]
    distances = [0] * (LONGEST_MILES + 1)
    for row in rows:
        if row[BROKEN_RULE] is not None:
            rejected[row[BROKEN_RULE]] += row["count"]
            continue
        if row["weekday"] is not None:
            pickups[row["weekday"]][row["hour"]] += row["count"]
        if row["miles"] is not None:
            distances[row["miles"]] += row["count"]
    total = sum(row["count"] for row in rows)
    return MonthSummary(
        colour=colour,
        month=month,
        rows=total,
        valid=total - rejected.total(),
        rejected=dict(rejected.most_common()),
        pickups=tuple(tuple(hours) for hours in pickups),
        distances=tuple(distances),
    )
