"""The version in production, ready to use: its recipe as it was trained, and its model in Spark."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.errors import NotFound
from taxiway.names import quote
from taxiway.recipes.document import read_document
from taxiway.scratch import private_folder
from taxiway.sharing import check_shared, load_model
from taxiway.versions import production_version
from taxiway.vetting import MLMODEL, vet_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

    from taxiway.progress import Progress
    from taxiway.recipes import CompiledRecipe
    from taxiway.settings import Settings
    from taxiway.versions import Version

_RECIPE_FILE = "recipe.json"


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


@dataclass(frozen=True)
class Download:
    """A version in production whose files are here for as long as the block of `downloaded` lasts.

    Parameters
    ----------
    version : Version
    recipe : CompiledRecipe
    files : Path
        MLflow's model folder.
    settings : Settings
    """

    version: Version
    recipe: CompiledRecipe
    files: Path
    settings: Settings

    def load(self, spark: SparkSession) -> Production:
        """Load the model into a session."""
        import mlflow.spark

        # MLflow 3.17 would look for the files in the store that ``fs.defaultFS`` names, and on a cluster have
        # executors read them where they are, on this machine.
        saved = mlflow.models.Model.load(str(self.files)).flavors[mlflow.spark.FLAVOR_NAME]["model_data"]
        return Production(self.version, self.recipe, load_model(self.files / saved, self.settings), spark)


@contextmanager
def downloaded(name: str, settings: Settings, progress: Progress | None = None) -> Iterator[Download]:
    """Find the version of a model that is in production, and have its files here while the block runs.

    Parameters
    ----------
    name : str
        The registered model's, which is its recipe's.
    settings : Settings
    progress : Progress, optional
        Told where the version's stage and the aliases contradict each other.

    Yields
    ------
    Download

    Raises
    ------
    NotFound
        No such model, none of its versions is in production, or its files are gone.
    Refused
        Its files are not what training saves.
    Unreachable
        The server does not answer.
    """
    from taxiway.store import check_embedded_store

    if settings.embedded_store and not check_embedded_store(settings):
        raise NotFound(f"There is no registered model '{name}'", f"Train one: taxiway train {quote(name)}")
    with private_folder(settings) as folder:
        version = production_version(name, settings)
        if progress is not None and version.disagreement:
            progress.note(doubt(version))
        recipe = _download_artifact(version, f"runs:/{version.run_id}/{_RECIPE_FILE}", folder, _RECIPE_FILE)
        model = _download_artifact(version, version.uri, folder, "model")
        if not (model / MLMODEL).is_file():
            # What `mlflow gc` removed downloads as an empty folder, without an error (seen in 3.17).
            raise _gone(version, f"{version.uri} is empty")
        vet_model(model, str(version))
        yield Download(version, read_document(json.loads(recipe.read_text(encoding="utf-8"))), model, settings)


def doubt(version: Version) -> str:
    """What to know of a version in production whose stage and alias contradict each other, in one sentence."""
    return (
        f"{version} is used, whose stage decides, but it {version.disagreement}; "
        f"to repair it: taxiway promote {quote(str(version))} --to production"
    )


def load_production(name: str, settings: Settings, progress: Progress | None = None) -> Production:
    """Load the version of a model that is in production, into a session that is started if need be.

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
        As `downloaded`.
    UsageError
        Spark runs on a cluster, and nothing is set that this machine shares with it.
    """
    from taxiway.spark import spark_session

    check_shared(settings)
    with downloaded(name, settings, progress) as found:
        return found.load(spark_session(settings, progress))


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
