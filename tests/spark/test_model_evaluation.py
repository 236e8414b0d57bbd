"""Any model on any months: the figures of a scoring, month by month, and beside another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from taxiway.cli import taxiway
from taxiway.downloads import load_model
from taxiway.errors import NotFound, Refused, UsageError
from taxiway.model import MODEL_FOLDER, RECIPE_FILE, Model, load
from taxiway.model_evaluation import evaluate_model
from taxiway.scoring import score

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTHS = "green:2023-02..2023-03"


@pytest.fixture
def files(production_model: Any, tmp_path: Path) -> Path:
    """A folder with a model's files, as anybody could have copied it."""
    loaded = load_model("tip", production_model.settings)
    return Path(shutil.copytree(loaded.files.parent, tmp_path / "copy"))


@pytest.mark.parametrize("reference", ["tip", "tip/1", "tip@production", "models:/tip/1"])
def test_every_reference_means_the_version_in_production(production_model: Any, reference: str) -> None:
    found = load_model(reference, production_model.settings)
    assert str(found) == "tip/1"
    assert found.recipe.recipe.name == "tip"
    assert "roc_auc" in found.training_metrics


def test_the_files_of_a_model_go_with_it(production_model: Any) -> None:
    found = load_model("tip", production_model.settings)
    files = found.files
    assert files.is_dir()
    del found
    assert not files.exists()


def test_metrics_are_those_of_a_scoring_of_the_same_months(production_model: Any, tmp_path: Path) -> None:
    settings = production_model.settings
    scored = score("tip", MONTHS, tmp_path / "out", settings=settings)
    found = evaluate_model("tip", MONTHS, settings=settings)
    assert found.metrics == pytest.approx(scored.metrics)
    assert (found.rows, found.judged, dict(found.unanswered)) == (scored.rows, scored.judged, dict(scored.unanswered))
    assert found.training_metrics == scored.training_metrics
    assert found.metric == "roc_auc"


def test_each_month_is_judged_by_itself(production_model: Any) -> None:
    settings = production_model.settings
    whole = evaluate_model("tip", MONTHS, settings=settings)
    assert [str(item.month) for item in whole.months] == ["green:2023-02", "green:2023-03"]
    assert sum(item.rows for item in whole.months) == whole.rows
    assert sum(item.judged for item in whole.months) == whole.judged
    alone = evaluate_model("tip", "green:2023-03", settings=settings)
    assert whole.months[1].metrics == pytest.approx(alone.metrics)
    assert (whole.months[1].rows, whole.months[1].judged) == (alone.rows, alone.judged)


def test_a_model_is_its_files_alone(production_model: Any, files: Path) -> None:
    from_files = load(files)
    assert (from_files.version, from_files.run_id, str(from_files)) == (None, "", "tip")
    registered = evaluate_model("tip", "green:2023-03", settings=production_model.settings)
    found = evaluate_model(from_files, "green:2023-03", settings=production_model.settings)
    assert found.metrics == pytest.approx(registered.metrics)


@pytest.mark.parametrize("missing", [RECIPE_FILE, f"{MODEL_FOLDER}/MLmodel"])
def test_a_folder_without_a_part_of_a_model_is_said(files: Path, missing: str) -> None:
    (files / missing).unlink()
    with pytest.raises(NotFound, match=missing):
        load(files)


def test_a_folder_with_something_else_in_it_is_refused(files: Path) -> None:
    (files / MODEL_FOLDER / "code.py").write_text("print('hello')")
    with pytest.raises(Refused, match="there is a file"):
        load(files)


def test_what_cannot_be_evaluated_is_one_line(production_model: Any) -> None:
    settings = production_model.settings
    with pytest.raises(NotFound, match="no version tip/9"):
        evaluate_model("tip/9", MONTHS, settings=settings)
    with pytest.raises(UsageError, match="No months"):
        evaluate_model("tip", [], settings=settings)
    with pytest.raises(NotFound, match="2023-07"):
        evaluate_model("tip", "green:2023-07", settings=settings)


def test_the_command_puts_two_models_side_by_side(production_model: Any) -> None:
    settings = production_model.settings
    place = ["--home", str(settings.home), "--trips-source", str(settings.trips_source)]
    asked = ["evaluate", "tip/1", "--months", MONTHS, "--against", "tip@production", *place]
    done = CliRunner().invoke(taxiway, [*asked, "--json"])
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"model", "version", "run_id", "metrics", "months", "against"} <= document.keys()
    assert [sorted(item) for item in document["months"]] == [["judged", "metrics", "month", "rows"]] * 2
    assert {k: v for k, v in document["against"].items() if k != "seconds"} == {
        key: value for key, value in document.items() if key not in ("seconds", "against")
    }
    shown = CliRunner().invoke(taxiway, asked)
    assert shown.exit_code == 0, shown.stderr
    assert "roc_auc by month, higher is better" in shown.stdout


def test_a_version_can_be_scored_by_its_number(production_model: Any, spark: SparkSession, tmp_path: Path) -> None:
    found = score("tip/1", "green:2023-03", tmp_path / "out", settings=production_model.settings)
    assert (found.model, found.version) == ("tip", 1)
    assert spark.read.parquet(*found.partitions).count() == found.rows


def test_a_loaded_model_is_scored_as_it_is(production_model: Any, tmp_path: Path) -> None:
    loaded = load_model("tip", production_model.settings)
    assert isinstance(loaded, Model)
    found = score(loaded, "green:2023-03", tmp_path / "out", settings=production_model.settings)
    assert found.run_id == loaded.run_id
