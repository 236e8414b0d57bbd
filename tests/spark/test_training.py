"""Training as a user calls it: what is refused, what MLflow holds afterwards, and how a run ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from made_trips import write_month
from taxiway.errors import BadData, NotFound, RecipeError, Refused, TaxiwayError, UsageError
from taxiway.recipes import RECIPES
from taxiway.settings import Settings, load_settings
from taxiway.store import connect, training_lock
from taxiway.training import Training, train

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from pyspark.sql import SparkSession

TRAIN, HOLDOUT = "yellow:2018-01..2018-02", "yellow:2018-03"
GRID = {"regParam": [0.001, 0.1, 10.0]}
ENDED = {"FINISHED", "FAILED", "KILLED"}
pytestmark = pytest.mark.usefixtures("_shared_spark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trips")
    for month in ("2018-01", "2018-02", "2018-03"):
        write_month(folder, month)
    write_month(folder, "2018-04", tips=False)
    write_month(folder, "2018-05", rows=0)
    return folder


def settings_in(home: Path, folder: Path) -> Settings:
    return load_settings({"home": home, "trips_source": folder}, {}, home)


@pytest.fixture(scope="module")
def settings(_shared_spark: SparkSession, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("home"), folder)


@pytest.fixture(scope="module")
def training(settings: Settings) -> Training:
    return train("tip", TRAIN, HOLDOUT, grid=GRID, seed=5, settings=settings)


@pytest.fixture(scope="module")
def client(settings: Settings, training: Training) -> MlflowClient:
    return connect(settings)


@pytest.fixture(scope="module")
def parent(client: MlflowClient, training: Training) -> Run:
    return client.get_run(training.parent_run_id)


@pytest.fixture(scope="module")
def best(client: MlflowClient, training: Training) -> Run:
    return client.get_run(training.best_run_id)


def all_runs(client: MlflowClient, recipe: str = "tip") -> list[Run]:
    experiment = client.get_experiment_by_name(recipe)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


# What a training says


def test_the_best_comes_first_by_the_recipe_s_metric(training: Training) -> None:
    values = [run.metrics["holdout_roc_auc"] for run in training.runs]
    assert len(values) == len(GRID["regParam"])
    assert values == sorted(values, reverse=True)
    assert training.best.run_id == training.best_run_id
    assert training.metric == "holdout_roc_auc"
    assert {run.params["regParam"] for run in training.runs} == set(GRID["regParam"])


def test_every_trip_is_used_or_rejected_by_a_rule(training: Training) -> None:
    assert sum(training.rows.values()) + sum(training.rejected.values()) == 3 * 1_500
    assert set(training.rejected) <= {rule.name for rule in RECIPES["tip"].rules}
    assert training.rejected["passengers_1_to_7"] > 0
    assert not training.synthetic


def test_the_same_trips_and_seed_give_the_same_numbers(training: Training, folder: Path, tmp_path: Path) -> None:
    again = train("tip", TRAIN, HOLDOUT, grid=GRID, seed=5, settings=settings_in(tmp_path, folder))
    assert [run.params for run in again.runs] == [run.params for run in training.runs]
    assert [run.metrics for run in again.runs] == [run.metrics for run in training.runs]
    assert again.leakage == training.leakage


# What MLflow holds


def test_one_parent_and_a_child_for_each_candidate_all_finished(
    client: MlflowClient, training: Training, parent: Run
) -> None:
    runs = {run.info.run_id: run for run in all_runs(client)}
    assert set(runs) == {training.parent_run_id, *(run.run_id for run in training.runs)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {runs[run.run_id].data.tags["mlflow.parentRunId"] for run in training.runs} == {parent.info.run_id}
    assert parent.data.tags["taxiway.best_run_id"] == training.best_run_id


def test_parameters_and_hyper_parameters(training: Training, parent: Run, best: Run) -> None:
    shared = {
        "train": TRAIN,
        "holdout": HOLDOUT,
        "train_rows": str(training.rows["train"]),
        "holdout_rows": str(training.rows["holdout"]),
        "seed": "5",
    }
    assert parent.data.params == shared
    own = {"estimator": "logistic_regression", "maxIter": "50", "elasticNetParam": "0.0"}
    assert best.data.params == {**shared, **own, "regParam": str(training.best.params["regParam"])}


def test_metrics_on_training_and_holdout(training: Training, best: Run, parent: Run) -> None:
    names = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
    expected = {f"{part}_{name}" for part in ("train", "holdout") for name in names}
    assert expected <= set(best.data.metrics)
    for name in expected:
        assert best.data.metrics[name] == pytest.approx(training.best.metrics[name], abs=1e-12)
        assert parent.data.metrics[name] == best.data.metrics[name]
    assert best.data.metrics["fit_seconds"] > 0


def test_the_data_s_identity(training: Training, best: Run, parent: Run, folder: Path) -> None:
    for run in (best, parent):
        inputs = {item.tags[0].value: item.dataset for item in run.inputs.dataset_inputs}
        assert set(inputs) == {"training", "evaluation"}
        assert inputs["training"].name == TRAIN
        assert json.loads(inputs["training"].source) == {"uri": str(folder), "months": TRAIN}
        assert json.loads(inputs["evaluation"].profile)["usable_rows"] == training.rows["holdout"]
        assert len(inputs["training"].digest) >= 16
        assert inputs["training"].digest != inputs["evaluation"].digest


def test_code_and_library_versions(best: Run) -> None:
    import mlflow
    import pyspark

    from taxiway import __version__

    tags = best.data.tags
    assert tags["taxiway.version"] == __version__
    assert tags["taxiway.spark_version"] == pyspark.__version__
    assert tags["taxiway.mlflow_version"] == mlflow.__version__
    assert tags["taxiway.python_version"] == sys.version.split()[0]
    assert tags["taxiway.recipe"] == "tip"
    assert len(tags["taxiway.recipe_digest"]) == 16
    assert "taxiway.synthetic" not in tags


def test_pictures_and_documents(client: MlflowClient, training: Training, tmp_path: Path) -> None:
    folder = Path(client.download_artifacts(training.best_run_id, "", str(tmp_path)))
    for name in ("evaluation.png", "weights.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    weights = {item["name"]: item["value"] for item in json.loads((folder / "weights.json").read_text())["weights"]}
    assert weights["payment_type = 1"] > weights["payment_type = 2"]
    assert {"fare_amount", "trip_seconds", "payment_type unknown"} <= set(weights)


def test_the_leakage_audit_is_kept_and_said(
    client: MlflowClient, training: Training, best: Run, tmp_path: Path
) -> None:
    assert [item.feature for item in training.leakage if item.flagged] == ["payment_type"]
    assert best.data.tags["taxiway.leakage"] == "payment_type"
    for run_id in (training.parent_run_id, training.best_run_id):
        folder = tmp_path / run_id
        folder.mkdir()
        kept = json.loads(Path(client.download_artifacts(run_id, "leakage.json", str(folder))).read_text())
        assert [(item["feature"], item["alone"], item["without"], item["flagged"]) for item in kept] == [
            (item.feature, item.alone, item.without, item.flagged) for item in training.leakage
        ]


def test_the_model_takes_raw_columns_and_answers_as_evaluated(
    spark: SparkSession, client: MlflowClient, training: Training, settings: Settings
) -> None:
    import mlflow
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    from taxiway.recipes import load_recipe
    from taxiway.trips.checking import read_trips
    from taxiway.trips.quality import broken_in_training
    from taxiway.trips.source import fetch

    uri = f"runs:/{training.best_run_id}/model"
    info = mlflow.models.get_model_info(uri)
    compiled = load_recipe("tip")
    assert info.signature.inputs.input_names() == list(compiled.columns)
    assert info.signature.inputs.required_input_names() == []
    assert "tip_amount" not in info.signature.inputs.input_names()
    assert info.saved_input_example_info is not None
    model = mlflow.spark.load_model(uri, dfs_tmpdir=str(settings.home / "tmp" / "load"))
    trips = read_trips(spark, fetch(HOLDOUT, settings))
    usable = trips.where(broken_in_training(compiled.rules).isNull())
    # Raw columns in, the tip not among them; the answers that were evaluated out.
    scored = model.transform(usable.withColumn("label", F.expr(compiled.label)).drop("tip_amount", "total_amount"))
    rows = scored.select("label", vector_to_array("probability")[1].alias("p")).collect()
    assert len(rows) == training.rows["holdout"]
    brier = sum((row["p"] - row["label"]) ** 2 for row in rows) / len(rows)
    assert brier == pytest.approx(training.best.metrics["holdout_brier"], abs=1e-9)


# What is refused, and leaves nothing half done


def test_a_classification_of_numbers_is_one_line_and_no_run(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, folder)
    # A hundred labels would be a hundred classes to Spark, and minutes of a fit that nobody asked for.
    recipe = replace(RECIPES["tip"], label="trip_distance", known_after=())
    with pytest.raises(RecipeError, match="0 or 1") as refused:
        train(recipe, "yellow:2018-01..2018-02", "yellow:2018-03", grid=GRID, settings=settings)
    assert re.fullmatch(r"The label of 'tip' is [\d.]+ on a row of the train months; .*", str(refused.value))
    assert all_runs(connect(settings)) == []


@pytest.mark.parametrize(
    ("months", "holdout", "kind", "words"),
    [
        ("yellow:2018-01..2018-02", "yellow:2018-02..2018-03", Refused, "yellow:2018-02 stands in both"),
        ("yellow:2018-02..2018-03", "yellow:2018-01", Refused, "not later than the training months"),
        ("yellow:2018-01", None, UsageError, "cannot be split in time"),
        ("yellow:2018-01..2018-02", "yellow:2018-04", BadData, "have the same label"),
        ("yellow:2018-01..2018-02", "yellow:2018-05", BadData, "holds no trips"),
        ("yellow:2018-01..2018-02", "yellow:9999-01", NotFound, "lies in the future"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_no_run(
    folder: Path,
    tmp_path: Path,
    months: str,
    holdout: str | None,
    kind: type[TaxiwayError],
    words: str,
) -> None:
    settings = settings_in(tmp_path, folder)
    with pytest.raises(kind, match=words) as refused:
        train("tip", months, holdout, grid=GRID, settings=settings)
    assert "\n" not in str(refused.value)
    assert {run.info.status for run in all_runs(connect(settings))} <= {"FAILED"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"estimator": "random_forrest"}, "Did you mean 'random_forest'"),
        ({"grid": GRID, "trials": 3}, "cannot be used together"),
        ({"trials": 0}, "too few"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(settings: Settings, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train("tip", TRAIN, HOLDOUT, settings=settings, **options)


def test_two_trainings_on_one_store_are_refused(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, folder)
    with training_lock(settings), pytest.raises(Refused, match="Another training") as refused:
        train("tip", TRAIN, HOLDOUT, settings=settings)
    assert refused.value.exit_code == 7
    assert str(os.getpid()) in refused.value.message


def test_a_training_that_fails_ends_failed(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, folder)
    with pytest.raises(Exception, match="regParam"):
        train("tip", TRAIN, HOLDOUT, grid={"regParam": [-1.0]}, settings=settings)
    assert {run.info.status for run in all_runs(connect(settings))} == {"FAILED"}
    # The store is free again.
    with training_lock(settings):
        pass


# Interruption, in a process of its own


@pytest.fixture
def long_training(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Settings]]:
    """A training that would take minutes, with a home of its own."""
    settings = settings_in(tmp_path, folder)
    grid = ",".join(str(value / 1000) for value in range(1, 1001))
    arguments = ["train", "tip", "--train", TRAIN, "--holdout", HOLDOUT, "--grid", f"regParam={grid}"]
    environment = {**os.environ, "TAXIWAY_HOME": str(settings.home), "TAXIWAY_TRIPS_SOURCE": str(folder)}
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "taxiway"), *arguments],
        env={**environment, "TAXIWAY_SPARK": "spark.driver.memory=800m"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process, settings
    process.kill()
    process.communicate()


def await_run(process: subprocess.Popen[str], settings: Settings, seconds: int = 240) -> None:
    """Wait until the parent run stands in the store as RUNNING."""
    for _ in range(2 * seconds):
        # Waiting for the process paces the loop, and ends it at once if the training has ended.
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            pytest.fail(f"the training ended by itself: {process.communicate()[1]}")
        if (settings.home / "mlflow.db").exists() and all_runs(connect(settings)):
            return
    pytest.fail("no run appeared in the store")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_ends_killed(
    long_training: tuple[subprocess.Popen[str], Settings], number: signal.Signals
) -> None:
    process, settings = long_training
    await_run(process, settings)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    runs = all_runs(connect(settings))
    assert {run.info.status for run in runs} <= ENDED
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["KILLED"]
    with training_lock(settings):
        pass
