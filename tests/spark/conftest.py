"""Models in production, trained once for all tests that use one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trip_files import green_trips, write_trips

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from taxiway.settings import Settings

TRAINED, HELD_OUT, LATER = "green:2023-01", "green:2023-02", "green:2023-03"


@dataclass(frozen=True)
class InProduction:
    """A store with models in production, and the folder of trips that they were trained on."""

    settings: Settings
    trips: Path

    def reading(self, folder: Path) -> Settings:
        """The same store, with trips of another folder."""
        return replace(self.settings, trips_source=str(folder))

    def promote_new(self, recipe: str | Path, name: str, **options: Any) -> None:
        """Train a recipe and put its model into production."""
        from taxiway.registry import promote, register
        from taxiway.training import train

        train(recipe, TRAINED, HELD_OUT, settings=self.settings, **{"grid": {"regParam": [0.01]}, **options})
        register(name, self.settings)
        promote(name, self.settings, to="production")


@pytest.fixture(scope="session")
def store_with_models(_shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> InProduction:
    """Three months of trips and a store that is still empty."""
    from taxiway.settings import load_settings

    home = tmp_path_factory.mktemp("production")
    trips = home / "trips"
    for seed, month in enumerate((TRAINED, HELD_OUT, LATER)):
        write_trips(trips, month, green_trips(1500, month.split(":")[1], seed))
    return InProduction(load_settings({"home": home / "home", "trips_source": trips}, {}, home), trips)


@pytest.fixture(scope="session")
def production_model(store_with_models: InProduction) -> InProduction:
    """The recipe ``tip`` in production."""
    store_with_models.promote_new("tip", "tip")
    return store_with_models


@pytest.fixture(scope="session")
def production_regression(store_with_models: InProduction) -> InProduction:
    """The recipe ``duration`` in production."""
    store_with_models.promote_new("duration", "duration")
    return store_with_models
