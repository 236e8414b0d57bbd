"""The version in production, ready to use: its recipe as it was trained, and its model in Spark."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.errors import MachineError, NotFound
from taxiway.progress import Progress, Silent
from taxiway.recipes.document import read_document
from taxiway.versions import production_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

    from taxiway.recipes import CompiledRecipe
    from taxiway.settings import Settings
    from taxiway.versions import Version

_RECIPE_FILE = "recipe.json"
_MODEL_FILE = "MLmodel"


@dataclass(frozen=True)
class Production:
    """A version in production.

    Parameters
    ----------
    version : Version
    recipe : CompiledRecipe
        As it was when the version was trained, whatever the recipe of that name says today.
    model : PipelineModel
        Canonical trip columns in, prediction and probability out.
    spark : SparkSession
        The session that it is loaded in.
    """

    version: Version
    recipe: CompiledRecipe
    model: PipelineModel
    spark: SparkSession


def load_production(name: str, settings: Settings, progress: Progress | None = None) -> Production:
    """Load the version of a model that is in production, and start Spark for it.

    Parameters
    ----------
    name : str
        The registered model's, which is its recipe's.
    settings : Settings
    progress : Progress, optional

    Returns
    -------
    Production

    Raises
    ------
    NotFound
        No such model, none of its versions is in production, or its files are gone.
    Unreachable
        The server does not answer; said before Spark is started.
    """
    from taxiway.spark import spark_session
    from taxiway.store import check_embedded_store, connect

    watch = progress or Silent()
    if not settings.embedded_store:
        connect(settings)
    elif not check_embedded_store(settings):
        raise NotFound(f"There is no registered model '{name}'", f"Train one: taxiway train {name}")
    with _private_folder(settings) as folder, ThreadPoolExecutor(1) as pool:
        # Asking the store and starting Spark take seconds each, mostly waiting.
        asked = pool.submit(_download, name, settings, folder)
        watch.begin("Starting Spark")
        spark = spark_session(settings, watch)
        version, recipe, files = asked.result()
        watch.end("Starting Spark")
        return Production(version, recipe, _load(files, folder), spark)


def _download(name: str, settings: Settings, folder: Path) -> tuple[Version, CompiledRecipe, Path]:
    version = production_version(name, settings)
    recipe = _download_artifact(version, f"runs:/{version.run_id}/{_RECIPE_FILE}", folder, _RECIPE_FILE)
    model = _download_artifact(version, version.uri, folder, "model")
    if not (model / _MODEL_FILE).is_file():
        # What `mlflow gc` removed downloads as an empty folder, without an error (seen in 3.17).
        raise _gone(version, f"{version.uri} is empty")
    return version, read_document(json.loads(recipe.read_text(encoding="utf-8"))), model


def _download_artifact(version: Version, uri: str, folder: Path, name: str) -> Path:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    place = folder / name
    place.mkdir()
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(place)))
    except (MlflowException, FileNotFoundError) as error:
        raise _gone(version, next(iter(str(error).splitlines()), type(error).__name__)) from error


def _gone(version: Version, reason: str) -> NotFound:
    return NotFound(
        f"The files of {version} cannot be had from run {version.run_id}: {reason[:200]}",
        "Promote a version whose files are there: taxiway models",
    )


def _load(files: Path, folder: Path) -> PipelineModel:
    import mlflow.spark

    # Its default, /tmp/mlflow, is shared by all users of the machine.
    model: PipelineModel = mlflow.spark.load_model(str(files), dfs_tmpdir=str(folder / "spark"))
    return model


@contextmanager
def _private_folder(settings: Settings) -> Iterator[Path]:
    parent = settings.home / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{parent} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
