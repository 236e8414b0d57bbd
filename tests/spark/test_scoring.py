"""Scoring with the version in production: every trip kept, partitions replaced whole, honest metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sklearn import metrics as reference

from taxiway.cli import taxiway
from taxiway.downloads import load_model
from taxiway.errors import NotFound, Refused
from taxiway.partitions import LOCK_FILE, replacing
from taxiway.predictions import NO_NUMBER, answer
from taxiway.scoring import score
from trip_files import green_trips, write_trips

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LATER = "green:2023-03"
PARTITION = "colour=green/month=2023-03"
ADDED = ["prediction", "probability", "reason", "model_name", "model_version", "run_id"]

# One trip per kind of dirt: what it changes, and the reason that scoring gives; None for an answer.
DIRT: dict[str, tuple[dict[str, Any], str | None]] = {
    "clean": ({}, None),
    "all that may be null": (
        dict.fromkeys(("passenger_count", "payment_type", "RatecodeID", "fare_amount", "VendorID", "extra")),
        None,
    ),
    "no times": (dict.fromkeys(("lpep_pickup_datetime", "lpep_dropoff_datetime")), None),
    "years outside its month": (
        {
            "lpep_pickup_datetime": np.datetime64("2009-01-01T10:00:00", "us"),
            "lpep_dropoff_datetime": np.datetime64("2009-01-01T10:10:00", "us"),
        },
        None,
    ),
    "a tip above the fare, known only afterwards": ({"tip_amount": 900.0}, None),
    "a zone never seen": ({"PULocationID": "999"}, None),
    "an id that is no number": ({"PULocationID": "JFK"}, None),
    "a new payment type": ({"payment_type": 9.0}, "paid_by_card_or_cash"),
    "a negative fare": ({"fare_amount": -12.5}, "fare_1_to_250_usd"),
    "no passengers": ({"passenger_count": 0.0}, "passengers_1_to_7"),
    "no distance": ({"trip_distance": 0.0}, "distance_up_to_100_miles"),
    "not a number": ({"trip_distance": float("nan")}, "distance_up_to_100_miles"),
    "infinitely far": ({"trip_distance": float("inf")}, "distance_up_to_100_miles"),
    "ends before it begins": ({"lpep_dropoff_datetime": np.datetime64("2023-03-01", "us")}, "lasts_30_to_7200_seconds"),
}


def read(out: Path) -> pd.DataFrame:
    """All predictions of a folder, as pyarrow finds them."""
    return ds.dataset(out, partitioning="hive").to_table().to_pandas()


def dirty_trips(folder: Path) -> list[str | None]:
    """Write one trip per kind of dirt, with ids as text; the reasons expected."""
    rows = []
    for changes, _ in DIRT.values():
        row = {name: values[0] for name, values in green_trips(1, "2023-03", seed=7).items()}
        row |= {"PULocationID": str(row["PULocationID"]), "DOLocationID": str(row["DOLocationID"])}
        rows.append(row | changes)
    # Not through pandas, which would make a null of what is not a number.
    write_trips(folder, LATER, {name: [row[name] for row in rows] for name in rows[0]})
    return [reason for _, reason in DIRT.values()]


def test_every_trip_is_answered_or_kept_with_the_reason(production_model: Any, tmp_path: Path) -> None:
    expected = dirty_trips(tmp_path / "trips")

    scoring = score("tip", LATER, tmp_path / "out", settings=production_model.reading(tmp_path / "trips"))

    found = read(tmp_path / "out")
    assert [reason or None for reason in found["reason"]] == expected
    assert (found["prediction"].notna() == found["reason"].isna()).all()
    assert (found["probability"].notna() == found["reason"].isna()).all()
    assert set(found["prediction"].dropna()) <= {0.0, 1.0}
    assert scoring.rows == len(expected)
    assert scoring.answered == expected.count(None)
    assert scoring.unanswered == {name: expected.count(name) for name in expected if name}


def test_rows_carry_the_trip_and_the_version(production_model: Any, tmp_path: Path) -> None:
    scoring = score("tip", LATER, tmp_path / "out", settings=production_model.settings)

    found = read(tmp_path / "out")
    published = pd.read_parquet(production_model.trips / "green_tripdata_2023-03.parquet")
    assert list(found.columns[-8:]) == [*ADDED, "colour", "month"]
    assert found["trip_distance"].tolist() == published["trip_distance"].tolist()
    assert found["pickup_at"].tolist() == published["lpep_pickup_datetime"].tolist()
    assert set(found["model_name"]) == {"tip"}
    assert set(found["model_version"]) == {scoring.version} == {1}
    assert set(found["run_id"]) == {scoring.run_id}
    assert len(list((tmp_path / "out" / PARTITION).glob("*.parquet"))) == 1
    assert not (production_model.settings.home / "tmp").exists() or not any(
        (production_model.settings.home / "tmp").iterdir()
    )


def test_spark_reads_months_as_text(production_model: Any, spark: SparkSession, tmp_path: Path) -> None:
    score("tip", LATER, tmp_path / "out", settings=production_model.settings)

    found = spark.read.parquet(str(tmp_path / "out"))

    assert dict(found.dtypes)["month"] == "string"
    assert found.count() == 1500


def test_metrics_equal_an_independent_computation(production_model: Any, tmp_path: Path) -> None:
    scoring = score("tip", LATER, tmp_path / "out", settings=production_model.settings)

    trips = read(tmp_path / "out")
    seconds = (trips["dropoff_at"] - trips["pickup_at"]).dt.total_seconds()
    usable = trips[
        (trips["pickup_at"].dt.strftime("%Y-%m") == "2023-03")
        & trips["passenger_count"].between(1, 7)
        & trips["fare_amount"].between(1, 250)
        & (trips["trip_distance"] > 0)
        & (trips["trip_distance"] <= 100)
        & (trips["rate_code_id"] <= 5)
        & seconds.between(30, 7200)
        & trips["tip_amount"].between(0, 25)
        & (trips["tip_amount"] < trips["fare_amount"])
        & trips["payment_type"].isin([1, 2])
    ]
    label, probability = usable["tip_amount"] > 0, usable["probability"]
    assert scoring.judged == len(usable)
    assert scoring.metrics is not None
    assert scoring.metrics["roc_auc"] == pytest.approx(reference.roc_auc_score(label, probability), abs=1e-9)
    assert scoring.metrics["pr_auc"] == pytest.approx(reference.average_precision_score(label, probability), abs=1e-9)
    assert scoring.metrics["log_loss"] == pytest.approx(reference.log_loss(label, probability), abs=1e-9)
    assert scoring.metrics["brier"] == pytest.approx(reference.brier_score_loss(label, probability), abs=1e-9)


def test_holdout_months_score_as_they_did_in_training(production_model: Any, tmp_path: Path) -> None:
    scoring = score("tip", "green:2023-02", tmp_path / "out", settings=production_model.settings)

    assert scoring.metrics == pytest.approx(scoring.training_metrics, abs=1e-9)
    assert scoring.metric == "roc_auc"


def test_labels_of_one_kind_give_no_metrics(production_model: Any, tmp_path: Path) -> None:
    trips = green_trips(50, "2023-03", seed=1)
    write_trips(tmp_path / "trips", LATER, {**trips, "tip_amount": np.zeros(50)})

    scoring = score("tip", LATER, tmp_path / "out", settings=production_model.reading(tmp_path / "trips"))

    assert scoring.metrics is None
    assert scoring.judged == 0
    assert scoring.answered == 50


def test_a_number_is_predicted(production_regression: Any, tmp_path: Path) -> None:
    scoring = score("duration", LATER, tmp_path / "out", settings=production_regression.settings)

    trips = read(tmp_path / "out")
    minutes = (trips["dropoff_at"] - trips["pickup_at"]).dt.total_seconds() / 60
    usable = minutes.between(0.5, 120) & (trips["trip_distance"] > 0) & (trips["trip_distance"] <= 100)
    assert "probability" not in trips.columns
    assert trips["prediction"].notna().all()
    assert scoring.metrics is not None
    assert scoring.metrics["rmse"] == pytest.approx(
        reference.root_mean_squared_error(minutes[usable], trips["prediction"][usable]), abs=1e-9
    )
    assert scoring.metrics["mae"] == pytest.approx(
        reference.mean_absolute_error(minutes[usable], trips["prediction"][usable]), abs=1e-9
    )


RECIPE = """
from taxiway.recipes import Estimator, Recipe, Rule
from taxiway.trips.schema import Column, Layout

rides = Layout(
    colour="bikes",
    columns=(
        Column("pickup_at", "timestamp_ntz", ("started",), required=True),
        Column("member", "string", codes={"yes": "member"}),
        Column("km", "double", required=True),
        Column("minutes", "double", required=True),
    ),
    files=("bikes_{month}.parquet",),
)
recipe = Recipe(
    name="ride-minutes",
    description="How long is a ride?",
    task="regression",
    label="minutes",
    features={"far": "case when km > 5 then 1 else 0 end"},
    numeric=("km", "far"),
    categorical=("member",),
    known_after=("minutes",),
    rules=(Rule("at_least_a_minute", "minutes >= 1"), Rule("not_around_the_world", "km < 1000")),
    estimators=(Estimator("linear_regression", fixed={"maxIter": 10}),),
    layouts={"bikes": rides},
)
"""


def test_a_recipe_of_ones_own_is_not_needed_again(store_with_models: Any, tmp_path: Path) -> None:
    trips, file = tmp_path / "rides", tmp_path / "my_recipe.py"
    trips.mkdir()
    file.write_text(RECIPE)
    for index, month in enumerate(("2023-01", "2023-02", "2023-03")):
        km = np.random.default_rng(index).gamma(2, 2, 200)
        rides = {"started": pd.Timestamp(f"{month}-02"), "member": "yes", "km": km, "minutes": 3 * km + 2}
        frame = pd.DataFrame(rides).astype({"started": "datetime64[us]"})
        frame.loc[0, "km"] = 2000 if month == "2023-03" else 1.0
        frame.to_parquet(trips / f"bikes_{month}.parquet")
    settings = store_with_models.reading(trips)
    train_and_promote(file, "ride-minutes", settings)
    file.unlink()

    scoring = score("ride-minutes", "bikes:2023-03", tmp_path / "out", settings=settings)

    assert scoring.rows == 200
    assert scoring.unanswered == {"not_around_the_world": 1}
    assert scoring.judged == 199
    found = read(tmp_path / "out")
    assert found["prediction"][1:].tolist() == pytest.approx(found["minutes"][1:].tolist(), abs=0.5)


def train_and_promote(recipe: Path, name: str, settings: Any) -> None:
    from taxiway.registry import promote, register
    from taxiway.training import train

    train(recipe, "bikes:2023-01", "bikes:2023-02", grid={"regParam": [0.0]}, settings=settings)
    register(name, settings)
    promote(name, settings, to="production")


def test_an_answer_that_is_no_number_is_none(production_regression: Any, spark: SparkSession) -> None:
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import SQLTransformer

    used = load_model("duration", production_regression.settings)
    statement = (
        "SELECT *, CASE passenger_count WHEN 1 THEN double('NaN') WHEN 2 THEN double('-Infinity') END AS prediction"
    )
    broken = PipelineModel([SQLTransformer(statement=f"{statement} FROM __THIS__")])
    trips = spark.createDataFrame([(1,), (2,), (3,)], "passenger_count int")
    # The rules of the recipe that are asked at scoring read none of its columns.
    assert not [rule for rule in used.recipe.rules if rule.at_scoring]

    found = answer(trips, used, broken).collect()

    assert [row["prediction"] for row in found] == [None, None, None]
    assert [row["reason"] for row in found] == [NO_NUMBER] * 3


def test_a_second_run_replaces_its_own_partition_alone(production_model: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score("tip", "green:2023-01..2023-03", out, settings=production_model.settings)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")}
    write_trips(tmp_path / "trips", LATER, green_trips(10, "2023-03", seed=5))

    score("tip", LATER, out, settings=production_model.reading(tmp_path / "trips"))

    after = {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")}
    replaced = {file for file in before if str(file.parent).endswith(PARTITION)}
    assert set(before) - set(after) == replaced
    assert {file: after[file] for file in before if file not in replaced} == {
        file: time for file, time in before.items() if file not in replaced
    }
    assert read(out).groupby("month").size().to_dict() == {"2023-01": 1500, "2023-02": 1500, "2023-03": 10}
    assert sorted(item.name for item in out.iterdir()) == [LOCK_FILE, "colour=green"]


# Scores two months and is killed by SIGKILL when the progress tells of a certain step.
KILLED = """
import os, signal, sys
from taxiway.progress import Silent
from taxiway.scoring import score
from taxiway.settings import load_settings

class Killing(Silent):
    def advance(self, task, by=1):
        self.end(task)

    def begin(self, task, total=None, unit=""):
        if task == "Comparing with what happened":
            os.kill(os.getpid(), signal.SIGKILL)

home, trips, out = sys.argv[1:]
settings = load_settings({"home": home, "trips_source": trips, "spark": {"spark.driver.memory": "1g"}})
score("tip", "green:2023-03", out, settings=settings, progress=Killing())
"""


def test_a_killed_run_leaves_the_former_partition_whole(production_model: Any, tmp_path: Path) -> None:
    out = tmp_path / "out [1]"
    score("tip", LATER, out, settings=production_model.settings)
    former = read(out)
    write_trips(tmp_path / "trips", LATER, green_trips(10, "2023-03", seed=5))
    arguments = [production_model.settings.home, tmp_path / "trips", out]

    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, env=os.environ, timeout=240)

    assert killed.returncode == -signal.SIGKILL
    assert [item.name for item in out.iterdir() if item.name.startswith(".taxiway-staging-")]
    pd.testing.assert_frame_equal(read(out), former)

    score("tip", LATER, out, settings=production_model.reading(tmp_path / "trips"))

    assert len(read(out)) == 10
    assert sorted(item.name for item in out.iterdir()) == [LOCK_FILE, "colour=green"]


def test_predictions_of_another_model_are_not_replaced(
    production_model: Any, production_regression: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score("tip", LATER, out, settings=production_model.settings)

    with pytest.raises(Refused, match="holds predictions of 'tip' and would be replaced"):
        score("duration", LATER, out, settings=production_model.settings)

    assert set(read(out)["model_name"]) == {"tip"}


@pytest.mark.parametrize("name", ["mine.parquet", "mine.txt"])
def test_what_is_no_prediction_is_not_replaced(production_model: Any, tmp_path: Path, name: str) -> None:
    mine = tmp_path / PARTITION / name
    mine.parent.mkdir(parents=True)
    if name.endswith(".parquet"):
        pq.write_table(pd_table({"mine": [1]}), mine)
    else:
        mine.write_text("mine")

    with pytest.raises(Refused, match=f"{name}, which is not a prediction"):
        score("tip", LATER, tmp_path, settings=production_model.settings)

    assert mine.exists()


def pd_table(columns: dict[str, list[int]]) -> Any:
    import pyarrow as pa

    return pa.table(columns)


def test_two_at_once_are_refused(production_model: Any, tmp_path: Path) -> None:
    with replacing(tmp_path), pytest.raises(Refused, match="Another process is writing"):
        score("tip", LATER, tmp_path, settings=production_model.settings)


def test_what_cannot_be_scored_leaves_nothing(production_model: Any, tmp_path: Path) -> None:
    settings, out = production_model.settings, tmp_path / "out"

    with pytest.raises(NotFound, match="no registered model 'tipp'"):
        score("tipp", LATER, out, settings=settings)
    with pytest.raises(NotFound, match="no version tip/7"):
        score("tip/7", LATER, out, settings=settings)
    with pytest.raises(NotFound, match="No version of 'tip' has the alias 'champion'"):
        score("tip@champion", LATER, out, settings=settings)
    with pytest.raises(NotFound, match="2023-07"):
        score("tip", "green:2023-07", out, settings=settings)

    assert not out.exists()


def test_a_store_without_models_is_told_before_spark_starts(tmp_path: Path, settings: Any) -> None:
    with pytest.raises(NotFound, match="no registered model 'tip'"):
        score("tip", LATER, tmp_path / "out", settings=settings)

    assert not (settings.home / "mlflow.db").exists()


def test_the_command_prints_one_document(production_model: Any, tmp_path: Path) -> None:
    store = ["--home", str(production_model.settings.home), "--trips-source", str(production_model.trips)]
    arguments = ["tip", "--months", LATER, "--out", str(tmp_path / "out"), *store]

    told = CliRunner().invoke(taxiway, ["score", *arguments, "--json"], standalone_mode=False, catch_exceptions=False)
    shown = CliRunner().invoke(taxiway, ["score", *arguments], standalone_mode=False, catch_exceptions=False)

    document = json.loads(told.stdout)
    assert document.keys() >= {"model", "version", "rows", "metrics", "path"}
    assert document["rows"] == document["answered"] + sum(document["unanswered"].values()) == 1500
    assert Path(document["path"]) == tmp_path / "out"
    assert document["metrics"].keys() == document["training_metrics"].keys()
    assert "at training" in shown.stdout
    assert "roc_auc" in shown.stdout
