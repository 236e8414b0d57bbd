"""Features, label and rules in Spark against an independent computation, on every real trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import independent
from taxiway.features import LABEL, feature_column, feature_statement, label_value
from taxiway.recipes import RECIPES, compile_recipe
from taxiway.settings import load_settings
from taxiway.trips.checking import read_trips
from taxiway.trips.quality import BROKEN_RULE, broken_in_training
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FOLDERS = {
    ".": "yellow:2018-01..2019-06,green:2023-01..2023-02",
    "odd": "green:2021-01..2021-02,yellow:2018-05",
}
RAW = {
    "month": "month",
    "pickup_at": "pickup",
    "dropoff_at": "dropoff",
    "trip_distance": "miles",
    "fare_amount": "fare",
    "tip_amount": "tip",
    "pickup_zone_id": "from_zone",
    "dropoff_zone_id": "to_zone",
    "passenger_count": "passengers",
    "payment_type": "payment",
    "rate_code_id": "rate",
    "vendor_id": "vendor",
    "extra": "extra",
    "tolls_amount": "tolls",
}


@pytest.fixture(scope="module")
def trips(
    _shared_spark: SparkSession, real_trips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What Spark computed and what the files say, row beside row."""
    home = tmp_path_factory.mktemp("features")
    files = [
        item
        for folder, months in FOLDERS.items()
        for item in fetch(months, load_settings({"home": home, "trips_source": real_trips / folder}, {}, home))
    ]
    published = [independent.published_trips(Path(item.paths[0]), item.month.label) for item in files]
    out = home / "computed"
    compute_all(read_trips(_shared_spark, files)).write.parquet(str(out))
    # Spark promises no order: both sides are sorted by all that a trip record says.
    return (
        pd.read_parquet(out).sort_values(list(RAW), ignore_index=True),
        pd.concat(published).sort_values(list(RAW.values()), ignore_index=True),
    )


@pytest.fixture(scope="module")
def expected(trips: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, np.ndarray]:
    return independent.features(trips[1])


def compute_all(trips: DataFrame) -> DataFrame:
    """The columns of every built-in recipe beside each other, as ``recipe.column``."""
    from pyspark.ml.feature import SQLTransformer
    from pyspark.sql import functions as F

    kept = [F.col(name) for name in RAW]
    for name, recipe in RECIPES.items():
        compiled = compile_recipe(recipe)
        names = [feature_column(feature) for feature in recipe.inputs]
        trips = SQLTransformer(statement=feature_statement(compiled)).transform(trips)
        own = {feature: f"{name}.{feature.removeprefix('feature_')}" for feature in names}
        trips = trips.withColumnsRenamed(own).withColumns(
            {f"{name}.{LABEL}": F.expr(compiled.label), f"{name}.{BROKEN_RULE}": broken_in_training(compiled.rules)}
        )
        kept += [F.col(f"`{column}`") for column in (*own.values(), f"{name}.{LABEL}", f"{name}.{BROKEN_RULE}")]
    return trips.select(kept)


def test_every_trip_is_there_once_as_published(trips: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    computed, published = trips
    assert len(published) > 400_000
    for canonical, own in RAW.items():
        pd.testing.assert_series_equal(
            computed[canonical], published[own], check_names=False, check_dtype=False, check_exact=True
        )


@pytest.mark.parametrize(
    ("recipe", "feature"), [(name, feature) for name, recipe in RECIPES.items() for feature in recipe.inputs]
)
def test_feature_agrees(
    trips: tuple[pd.DataFrame, pd.DataFrame], expected: dict[str, np.ndarray], recipe: str, feature: str
) -> None:
    found = trips[0][f"{recipe}.{feature}"]
    if feature in RECIPES[recipe].numeric:
        np.testing.assert_array_equal(found.to_numpy(), expected[feature])
    else:
        assert (found.where(found.notna(), None).to_numpy() == expected[feature]).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_label_agrees(trips: tuple[pd.DataFrame, pd.DataFrame], recipe: str) -> None:
    computed, published = trips
    np.testing.assert_array_equal(computed[f"{recipe}.{LABEL}"].to_numpy(), independent.label(published, recipe))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_rule_that_rejects_agrees(trips: tuple[pd.DataFrame, pd.DataFrame], recipe: str) -> None:
    computed, published = trips
    found = computed[f"{recipe}.{BROKEN_RULE}"]
    assert (found.where(found.notna(), None).to_numpy() == independent.rejected_by(published, recipe)).all()


def test_every_hour_and_every_bin_occurs(trips: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    computed, _ = trips
    assert set(computed["tip.pickup_hour"]) == {str(hour) for hour in range(24)}
    at_18 = computed.loc[computed["tip.pickup_hour"] == "18", "tip.traffic_time_bin"]
    assert set(at_18) == {"PMRush"}
    assert set(computed["tip.traffic_time_bin"]) == {"Night", "AMRush", "Afternoon", "PMRush"}


def test_a_label_that_is_no_finite_number_is_not_known(spark: SparkSession) -> None:
    recipe = compile_recipe(replace(RECIPES["duration"], label="trip_distance"))
    values = [1.5, -2.0, 0.0, float("inf"), float("-inf"), float("nan"), None]
    trips = spark.createDataFrame([(value,) for value in values], "trip_distance double")
    found = [row[0] for row in trips.select(label_value(recipe)).collect()]
    assert found == [1.5, -2.0, 0.0, None, None, None, None]
