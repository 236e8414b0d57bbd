"""The main job in a home whose name is a pattern to Spark, and with another default file system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taxiway.settings import load_settings
from trip_files import green_trips, write_trips

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTHS = ("green:2023-01", "green:2023-02")
NAME = "h[1]{a}* #é"


@pytest.fixture
def another_file_system(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Paths without a scheme are looked for in a store that is not there."""
    from mlflow.spark import _HadoopFileSystem

    # MLflow asks for the default once in the life of a process.
    monkeypatch.setattr(_HadoopFileSystem, "_filesystem", None)
    spark.catalog.listTables()  # the catalog makes its folder where the default is when it is first used
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    before = hadoop.get("fs.defaultFS")
    hadoop.set("fs.defaultFS", "hdfs://127.0.0.1:9")
    yield
    hadoop.set("fs.defaultFS", before)


@pytest.fixture
def program_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program was read from standard input, or from ``python -c``."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)


@pytest.mark.usefixtures("another_file_system", "program_without_a_file")
def test_every_path_that_spark_is_handed_means_itself(tmp_path: Path) -> None:
    import taxiway

    folder = tmp_path / NAME
    for seed, month in enumerate(MONTHS):
        write_trips(folder / "trips", month, green_trips(800, month.split(":")[1], seed))
    settings = load_settings({"home": folder / "home", "trips_source": folder / "trips"}, {}, tmp_path)
    taxiway.train("tip", *MONTHS, grid={"regParam": [0.01]}, settings=settings)
    taxiway.register("tip", settings)
    taxiway.promote("tip", settings)
    scored = taxiway.score("tip", MONTHS[1], folder / "out", settings=settings)
    assert scored.rows == 800
    (summary,) = taxiway.inspect(MONTHS[0], rejected_to=folder / "rejected", settings=settings)
    assert summary.rows == 800
    assert list((folder / "out" / "colour=green" / "month=2023-02").glob("*.parquet"))
