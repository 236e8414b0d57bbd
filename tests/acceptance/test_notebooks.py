"""Both notebooks, executed as `make notebooks` and a user's JupyterLab execute them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from conftest import SPARK
from made_trips import write_month
from taxiway.comparison import compare
from taxiway.settings import Settings, load_settings
from taxiway.trips.months import parse_months
from taxiway.versions import models

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TRAINING, MANAGEMENT = "nyc_traffic_taxi_model.ipynb", "model_management.ipynb"
BOTH = (TRAINING, MANAGEMENT)
MONTHS = {
    "train_months": "yellow:2018-01..2018-02",
    "holdout_months": "yellow:2018-11",
    "aside_months": "yellow:2019-01",
}
PNG = "image/png"


@dataclass(frozen=True)
class Executed:
    """Both notebooks with their outputs, and the store that they left."""

    training: NotebookNode
    management: NotebookNode
    settings: Settings


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real trips where there are any, else made-up ones of the same months."""
    if folder := os.environ.get("TAXIWAY_TEST_TRIPS"):
        return Path(folder).resolve()
    made = tmp_path_factory.mktemp("trips")
    for months in MONTHS.values():
        for month in parse_months(months):
            write_month(made, month.label)
    return made


@pytest.fixture(scope="module")
def kernel(trips: Path, java_home: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the notebooks' kernels: a home of their own, and nothing of the developer's."""
    private = tmp_path_factory.mktemp("jupyter")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TAXIWAY_", "MLFLOW_"))}
    return {
        **own,
        "JAVA_HOME": java_home,
        "TAXIWAY_HOME": str(private / "home"),
        "TAXIWAY_TRIPS_SOURCE": str(trips),
        "TAXIWAY_SPARK": ";".join(f"{key}={value}" for key, value in SPARK.items()),
        "IPYTHONDIR": str(private / "ipython"),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
    }


@pytest.fixture(scope="module")
def executed(kernel: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Both notebooks, one after the other, as `make notebooks` runs them."""
    folder = tmp_path_factory.mktemp("executed")
    papermill(TRAINING, folder, kernel, MONTHS)
    papermill(MANAGEMENT, folder, kernel)
    return Executed(
        training=nbformat.read(folder / TRAINING, as_version=4),
        management=nbformat.read(folder / MANAGEMENT, as_version=4),
        settings=load_settings({}, {name: kernel[name] for name in ("TAXIWAY_HOME", "TAXIWAY_TRIPS_SOURCE")}, folder),
    )


def papermill(
    name: str, folder: Path, environment: dict[str, str], parameters: dict[str, str] | None = None, fails: bool = False
) -> str:
    """Execute a notebook into a folder; what papermill had to say."""
    chosen = [part for key, value in (parameters or {}).items() for part in ("-p", key, value)]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(NOTEBOOKS), *chosen]
    done = subprocess.run(
        [*command, str(NOTEBOOKS / name), str(folder / name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr


def written(notebook: NotebookNode) -> str:
    """All that a notebook printed."""
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def shown(notebook: NotebookNode, kind: str) -> list[str]:
    """All that a notebook shows of one kind: pictures, tables."""
    return [output.data[kind] for output in outputs(notebook) if kind in output.get("data", {})]


def outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Every output of every cell."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def test_the_training_notebook_leaves_a_finished_sweep_of_ten_with_one_best(executed: Executed) -> None:
    comparison = compare("tip", executed.settings)
    assert len(comparison.rows) == 10
    assert {row.status for row in comparison.rows} == {"FINISHED"}
    assert [row.best for row in comparison.rows] == [True] + [False] * 9
    assert comparison.hyperparameters == ("regParam",)
    assert len({row.params["regParam"] for row in comparison.rows}) == 10
    assert comparison.best is not None
    assert comparison.best.params["train"] == MONTHS["train_months"]
    assert comparison.best.params["holdout"] == MONTHS["holdout_months"]


def test_the_training_notebook_warns_of_the_leak(executed: Executed) -> None:
    assert "'payment_type' carries the model" in written(executed.training)


def test_the_months_set_aside_are_later_than_all_that_any_run_has_seen(executed: Executed) -> None:
    aside = parse_months((executed.settings.home / "set-aside.txt").read_text())
    assert aside == parse_months(MONTHS["aside_months"])
    for row in compare("tip", executed.settings).rows:
        seen = parse_months(f"{row.params['train']},{row.params['holdout']}")
        assert min(month.start for month in aside) > max(month.start for month in seen)


def test_pictures_and_tables_are_in_the_cells(executed: Executed) -> None:
    assert len(shown(executed.training, PNG)) == 4
    assert len(shown(executed.management, PNG)) == 2
    tables = "".join(shown(executed.training, "text/html"))
    for heading in ("passengers_1_to_7", "traffic_time_bin", "VectorAssembler", "holdout_roc_auc", "model without it"):
        assert heading in tables


def test_no_cell_writes_warnings(executed: Executed) -> None:
    for notebook in (executed.training, executed.management):
        assert [out.text for out in outputs(notebook) if out.get("name") == "stderr"] == []


def test_the_version_goes_through_the_stages_and_is_used_in_production(executed: Executed) -> None:
    story = written(executed.management)
    steps = [
        "tip/1: None -> Staging",
        "tip/1: Staging -> Production",
        "In production: tip/1",
        "answered, with tip/1",
        "tip/1 is in Production. Move it first",
        "Versions that are left: none",
    ]
    places = [story.find(step) for step in steps]
    assert -1 not in places, story
    assert places == sorted(places)


def test_the_months_set_aside_are_scored_whole(executed: Executed) -> None:
    import pyarrow.dataset as ds

    predictions = ds.dataset(executed.settings.home / "predictions" / "tip", format="parquet", partitioning="hive")
    assert {Path(file).parent.name for file in predictions.files} == {"month=2019-01"}
    source = Path(executed.settings.trips_source) / "yellow_tripdata_2019-01.parquet"
    assert predictions.count_rows() == ds.dataset(source).count_rows()
    best = compare("tip", executed.settings).best
    assert best is not None
    assert set(predictions.to_table(columns=["run_id"])["run_id"].to_pylist()) == {best.run_id}


def test_the_model_is_deleted_at_the_end_and_its_run_stays(executed: Executed) -> None:
    assert models(settings=executed.settings) == ()
    best = compare("tip", executed.settings).best
    assert best is not None
    assert best.run_id in written(executed.management)


def test_months_that_overlap_stop_the_notebook_before_anything_is_read(kernel: dict[str, str], tmp_path: Path) -> None:
    environment = {**kernel, "TAXIWAY_HOME": str(tmp_path / "home")}
    overlapping = {**MONTHS, "aside_months": MONTHS["holdout_months"]}
    said = papermill(TRAINING, tmp_path, environment, overlapping, fails=True)
    assert "yellow:2018-11 stands in both training and holdout" in said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", BOTH)
def test_committed_notebooks_are_clean(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert len([cell for cell in cells if cell.metadata.get("tags") == ["parameters"]]) == 1


@pytest.mark.parametrize("name", BOTH)
def test_notebooks_hold_no_logic(name: str) -> None:
    """They import taxiway alone, define nothing and loop over nothing."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While), cell.source
            if isinstance(node, ast.Import):
                assert [alias.name for alias in node.names] == ["taxiway"], cell.source
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] == "taxiway", cell.source


@pytest.mark.parametrize("name", BOTH)
def test_every_cell_is_explained(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    kinds = [cell.cell_type for cell in notebook.cells]
    runs = "".join("c" if kind == "code" else "m" for kind in kinds)
    assert runs.startswith("m")
    assert "ccc" not in runs
