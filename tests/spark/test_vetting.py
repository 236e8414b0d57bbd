"""What a model's files may be: what training saves, and nothing that could run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.spark
import pytest
import yaml

from taxiway.downloads import load_model
from taxiway.errors import Refused
from taxiway.pipeline import FEATURES, assemble, build_estimator
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.metrics import Task
from taxiway.scoring import score
from taxiway.vetting import vet_model

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def files(production_model: Any, tmp_path: Path) -> Path:
    """The files of a model as training saved them."""
    found = load_model("tip", production_model.settings)
    return Path(shutil.copytree(found.files, tmp_path / "model"))


def flavor(name: str, **changes: Any) -> Callable[[Path], None]:
    """Change what MLmodel says of a flavor."""

    def change(folder: Path) -> None:
        file = folder / "MLmodel"
        document = yaml.safe_load(file.read_text())
        document["flavors"].setdefault(name, {}).update(changes)
        file.write_text(yaml.safe_dump(document))

    return change


def stage(kind: str, **changes: Any) -> Callable[[Path], None]:
    """Change the metadata of a stage."""

    def change(folder: Path) -> None:
        file = next(folder.glob(f"sparkml/stages/*_{kind}_*/metadata/part-*"))
        document = json.loads(file.read_text())
        params = changes.pop("params", {})
        document["paramMap"].update(params)
        file.write_text(json.dumps(document | changes))

    return change


def add(place: str, content: bytes = b"") -> Callable[[Path], None]:
    """Put a file beside the others."""

    def change(folder: Path) -> None:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)

    return change


def write(place: str, text: str) -> Callable[[Path], None]:
    """Replace a file."""
    return lambda folder: void((folder / place).write_text(text))


def link(folder: Path) -> None:
    """A file that is another one of this machine."""
    (folder / "requirements.txt").unlink()
    (folder / "requirements.txt").symlink_to("/etc/hostname")


def without_spark(folder: Path) -> None:
    document = yaml.safe_load((folder / "MLmodel").read_text())
    del document["flavors"]["spark"]
    (folder / "MLmodel").write_text(yaml.safe_dump(document))


def void(_: object) -> None:
    """Forget a value."""


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a module": (add("code/evil.py", b"raise SystemExit"), "code/evil.py"),
    "modules on the path": (flavor("spark", code="code"), "spark.code = code"),
    "modules for MLflow's own loader": (flavor("python_function", code="code"), "python_function.code = code"),
    "another loader": (flavor("python_function", loader_module="os"), "loader_module = os"),
    "a model in Python": (flavor("python_function", python_model="python_model.pkl"), "python_model"),
    "a flavor of pickles": (flavor("sklearn", pickled_model="model.pkl"), "flavor sklearn"),
    "no model of Spark": (without_spark, "no flavor spark"),
    "another class of model": (flavor("spark", model_class="pyspark.ml.connect.pipeline.PipelineModel"), "model_class"),
    "a model elsewhere": (flavor("spark", model_data="../elsewhere"), "model_data = ../elsewhere"),
    "a pickle": (add("model.pkl", pickle.dumps({})), "model.pkl"),
    "a pickle among Spark's files": (add("sparkml/stages/0_SQLTransformer_1/data/model.pkl"), "model.pkl"),
    "a jar": (add("sparkml/evil.jar"), "sparkml/evil.jar"),
    "a link": (link, "requirements.txt is a link"),
    "objects in MLmodel": (write("MLmodel", "flavors: !!python/object/apply:os.system ['true']"), "cannot be read"),
    "MLmodel without end": (write("MLmodel", " " * 2**21), "cannot be read"),
    "a class of one's own": (stage("LogisticRegression", **{"class": "evil.module.Stage"}), "evil.module.Stage"),
    "a class of Spark's that recipes have not": (
        stage("Imputer", **{"class": "org.apache.spark.ml.feature.RFormulaModel"}),
        "RFormulaModel",
    ),
    "SQL that calls Java": (
        stage(
            "SQLTransformer", params={"statement": "SELECT *, reflect('java.lang.System', 'exit') AS a FROM __THIS__"}
        ),
        "reflect",
    ),
    "SQL that calls a program": (
        stage("SQLTransformer", params={"statement": "SELECT TRANSFORM(fare_amount) USING 'sh' AS (a) FROM __THIS__"}),
        "not one plain selection",
    ),
    "SQL over files": (
        stage("SQLTransformer", params={"statement": "SELECT * FROM text.`/etc`"}),
        "something else than the trips",
    ),
    "metadata that is none": (stage("Imputer", paramMap=[]), "cannot be read"),
}


def test_what_training_saves_is_accepted(files: Path) -> None:
    vet_model(files, "tip/1")


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused(files: Path, case: str) -> None:
    change, reason = REFUSED[case]
    change(files)
    with pytest.raises(Refused, match="tip/1") as refused:
        vet_model(files, "tip/1")
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, kind in ESTIMATORS.items() for task in kind.tasks], ids=str
)
def test_every_estimator_of_recipes_is_accepted(spark: SparkSession, tmp_path: Path, name: str, task: Task) -> None:
    from pyspark.ml.linalg import Vectors

    rows = [(float(label), Vectors.dense(label, number)) for number in range(10) for label in (0, 1)]
    columns = spark.createDataFrame(rows, ["label", FEATURES])
    model = assemble([build_estimator(name, task, {}).fit(columns)])
    mlflow.spark.save_model(model, str(tmp_path / "model"), dfs_tmpdir=str(tmp_path / "spark"), pip_requirements=[])
    vet_model(tmp_path / "model", name)


def test_nothing_of_a_refused_model_runs(production_model: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    settings = production_model.settings
    found = load_model("tip", settings)
    model_id = yaml.safe_load((found.files / "MLmodel").read_text())["model_id"]
    stored = next(settings.home.rglob(f"{model_id}/artifacts"))
    kept = shutil.copytree(stored, tmp_path / "kept")
    module = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    try:
        add("code/mlflow_helper.py", module.encode())(stored)
        flavor("spark", code="code")(stored)
        flavor("python_function", loader_module="mlflow_helper")(stored)
        with pytest.raises(Refused, match="tip/1 are not what training saves"):
            score("tip", "green:2023-03", tmp_path / "out", settings=settings)
    finally:
        shutil.rmtree(stored)
        shutil.copytree(kept, stored)
    assert not mark.exists()
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").rglob("*.parquet"))
