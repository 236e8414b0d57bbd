"""Counts by rule against an independent count; every trip is valid or rejected, never both or neither."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import independent
from taxiway.recipes import RECIPES, CompiledRule, compile_recipe
from taxiway.settings import load_settings
from taxiway.trips.checking import read_trips
from taxiway.trips.quality import MonthSummary, broken_at_scoring, broken_in_training, summarize
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTHS = "yellow:2018-05,yellow:2019-02,green:2023-01"


@pytest.fixture(scope="module", params=list(RECIPES))
def counted(
    request: pytest.FixtureRequest,
    _shared_spark: SparkSession,
    real_trips: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, dict[str, MonthSummary]]:
    home = tmp_path_factory.mktemp("quality")
    files = fetch(MONTHS, load_settings({"home": home, "trips_source": real_trips}, {}, home))
    rules = compile_recipe(RECIPES[request.param]).rules
    found = summarize(read_trips(_shared_spark, files), rules, "pickup_at", "trip_distance")
    return request.param, {str(summary): summary for summary in found}


@pytest.mark.parametrize("month", MONTHS.split(","))
def test_counts_agree(counted: tuple[str, dict[str, MonthSummary]], real_trips: Path, month: str) -> None:
    recipe, summaries = counted
    colour, label = month.split(":")
    trips = independent.published_trips(real_trips / f"{colour}_tripdata_{label}.parquet", label)
    rejected = independent.rejected_by(trips, recipe)
    valid = trips[rejected == np.array(None)]
    summary = summaries[month]
    assert (summary.colour, summary.month, summary.rows) == (colour, label, len(trips))
    assert summary.rejected == Counter(name for name in rejected if name is not None)
    assert summary.valid == len(valid)
    assert summary.valid + sum(summary.rejected.values()) == summary.rows
    by_hour = Counter(zip(valid["pickup"].dt.weekday, valid["pickup"].dt.hour, strict=True))
    assert summary.pickups == tuple(tuple(by_hour[day, hour] for hour in range(24)) for day in range(7))
    by_mile = Counter(np.minimum(np.floor(valid["miles"]), 30))
    assert summary.distances == tuple(by_mile[mile] for mile in range(31))


RULES = (
    CompiledRule("fare_known", "fare > 1", at_scoring=True),
    CompiledRule("tip_small", "tip < 5", at_scoring=False),
)


def test_an_unknown_value_is_rejected_in_training_and_answered_at_scoring(spark: SparkSession) -> None:
    rows = [(2.0, 1.0), (None, 1.0), (0.0, 1.0), (2.0, 9.0), (2.0, None), (float("nan"), 9.0)]
    frame = spark.createDataFrame(rows, "fare double, tip double")
    found = frame.select(
        broken_in_training(RULES).alias("training"), broken_at_scoring(RULES).alias("scoring")
    ).collect()
    assert [row["training"] for row in found] == [
        *(None, "fare_known", "fare_known", "tip_small", "tip_small", "tip_small"),
    ]
    assert [row["scoring"] for row in found] == [None, None, "fare_known", None, None, None]


def test_without_rules_every_trip_is_valid(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [("blue", "2020-01", None), ("blue", "2020-01", datetime(2020, 1, 1, 5))],
        "colour string, month string, at timestamp_ntz",
    )
    (summary,) = summarize(frame, (), "at", None)
    assert (summary.rows, summary.valid, dict(summary.rejected)) == (2, 2, {})
    assert summary.pickups[2][5] == 1
    assert sum(summary.distances) == 0


def test_odd_distances_do_not_break_the_picture(spark: SparkSession) -> None:
    at = datetime(2020, 1, 1, 5)
    values = [float("nan"), float("inf"), -3.0, 1e300, None, 0.5]
    frame = spark.createDataFrame(
        [("blue", "2020-01", at, value) for value in values],
        "colour string, month string, at timestamp_ntz, miles double",
    )
    (summary,) = summarize(frame, (), "at", "miles")
    assert summary.valid == len(values)
    assert summary.distances[0] == 1
    assert sum(summary.distances) <= len(values)
