"""Values that cannot be read are told wherever trips are used; too many of them end the command with nothing done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from taxiway.errors import BadData
from taxiway.inspection import inspect
from taxiway.progress import Silent
from taxiway.scoring import score
from taxiway.store import connect
from taxiway.training import train
from trip_files import green_trips, write_trips

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from taxiway.settings import Settings

TRAINED, HELD_OUT, LATER = "green:2023-01", "green:2023-02", "green:2023-03"
ROWS = 1500


class Notes(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


def with_dollars(month: str, count: int, seed: int = 7, **changes: Any) -> dict[str, Any]:
    """A month whose fares are texts, of which the first few cannot be read."""
    columns = green_trips(ROWS, month.split(":")[1], seed)
    fares = [f"${fare}" if index < count else str(fare) for index, fare in enumerate(columns["fare_amount"])]
    return {**columns, "fare_amount": fares, **changes}


def test_a_training_counts_them_in_its_result_and_its_runs(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    write_trips(tmp_path, TRAINED, with_dollars(TRAINED, 5))
    write_trips(tmp_path, HELD_OUT, with_dollars(HELD_OUT, 2, seed=8))
    options, notes = replace(settings, trips_source=str(tmp_path)), Notes()
    trained = train("tip", TRAINED, HELD_OUT, grid={"regParam": [0.01]}, settings=options, progress=notes)
    assert dict(trained.unreadable) == {"fare_amount": 7}
    assert any(note.startswith("7 values of fare_amount could not be read, such as '$") for note in notes.told)
    client = connect(options)
    for run_id in (trained.parent_run_id, trained.best_run_id):
        metrics = client.get_run(run_id).data.metrics
        assert (metrics["unreadable_values"], metrics["unreadable_fare_amount"]) == (7, 7)


def test_too_many_of_them_end_a_training_before_anything_is_recorded(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    write_trips(tmp_path, TRAINED, with_dollars(TRAINED, 16))
    write_trips(tmp_path, HELD_OUT, green_trips(ROWS, "2023-02", 1))
    options = replace(settings, trips_source=str(tmp_path))
    with pytest.raises(BadData, match=r"16 of 1,500 values of fare_amount cannot be read, such as '\$"):
        train("tip", TRAINED, HELD_OUT, settings=options)
    assert connect(options).get_experiment_by_name("tip") is None


def test_a_scoring_counts_them_or_leaves_the_folder_as_it_was(production_model: Any, tmp_path: Path) -> None:
    write_trips(tmp_path / "trips", LATER, with_dollars(LATER, 3))
    scored = score("tip", LATER, tmp_path / "out", settings=production_model.reading(tmp_path / "trips"))
    assert (scored.rows, dict(scored.unreadable)) == (ROWS, {"fare_amount": 3})
    before = sorted(path.name for path in (tmp_path / "out").rglob("*.parquet"))
    write_trips(tmp_path / "trips", LATER, with_dollars(LATER, 300))
    with pytest.raises(BadData, match="300 of 1,500 values of fare_amount"):
        score("tip", LATER, tmp_path / "out", settings=production_model.reading(tmp_path / "trips"))
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.parquet")) == before


def test_an_inspection_counts_them_and_warns_of_a_rule_that_rejects_nearly_all(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    # As in 2009, whose files do not tell the rate code.
    write_trips(tmp_path, TRAINED, with_dollars(TRAINED, 4, RatecodeID=np.full(ROWS, np.nan)))
    write_trips(tmp_path, HELD_OUT, green_trips(ROWS, "2023-02", 1))
    notes = Notes()
    first, second = inspect(
        f"{TRAINED},{HELD_OUT}", settings=replace(settings, trips_source=str(tmp_path)), progress=notes
    )
    assert (dict(first.unreadable), dict(second.unreadable)) == ({"fare_amount": 4}, {})
    assert "of green:2023-01 break one rule, rate_code_up_to_5: does the month tell what it asks?" in notes.told[0]
    assert len(notes.told) == 2
