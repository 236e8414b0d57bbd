"""A registered version as a model that can predict: found by its reference, its files brought here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from taxiway.errors import NotFound
from taxiway.evaluation import HOLDOUT
from taxiway.model import MODEL_FOLDER, RECIPE_FILE, Model, load
from taxiway.names import quote
from taxiway.references import find_version, parse_reference
from taxiway.scratch import KeptFolder
from taxiway.settings import Settings, load_settings
from taxiway.vetting import MLMODEL

if TYPE_CHECKING:
    from taxiway.progress import Progress
    from taxiway.versions import Version


def load_model(reference: str, settings: Settings | None = None, progress: Progress | None = None) -> Model:
    """Load a registered version: its files come to this machine, and are looked through before anything uses them.

    Parameters
    ----------
    reference : str
        ``tip`` for the version in production, ``tip/3``, ``tip@production`` or another alias, or one of these as MLflow
        writes it, ``models:/tip/3``.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional
        Told where the version's stage and the aliases contradict each other.

    Returns
    -------
    Model
        Its files lie under the home for as long as the model is in use.

    Raises
    ------
    UsageError
        No reference of a model.
    NotFound
        No such model, version or alias; none in production; or its files are gone.
    Refused
        Its files are not what training saves.
    Unreachable
        The server does not answer.
    """
    from taxiway.store import check_embedded_store

    options = settings or load_settings()
    meant = parse_reference(reference)
    if options.embedded_store and not check_embedded_store(options):
        raise NotFound(f"There is no registered model '{meant.name}'", f"Train one: taxiway train {quote(meant.name)}")
    version = find_version(reference, options)
    if progress is not None and version.disagreement and meant.version is None:
        progress.note(doubt(version))
    folder = KeptFolder(options)
    place = folder.path
    recipe = _download_artifact(version, f"runs:/{version.run_id}/{RECIPE_FILE}", place / "run")
    files = _download_artifact(version, version.uri, place / "version")
    if not (files / MLMODEL).is_file():
        # What `mlflow gc` removed downloads as an empty folder, without an error (seen in 3.17).
        raise _gone(version, f"{version.uri} is empty")
    recipe.rename(place / RECIPE_FILE)
    files.rename(place / MODEL_FOLDER)
    prefix = f"{HOLDOUT}_"
    metrics = {name.removeprefix(prefix): value for name, value in version.metrics.items() if name.startswith(prefix)}
    return replace(
        load(place, str(version)),
        name=version.name,
        version=version.version,
        run_id=version.run_id,
        training_metrics=MappingProxyType(metrics),
        kept_by=folder,
    )


def doubt(version: Version) -> str:
    """What to know of a version whose stage and alias contradict each other, in one sentence."""
    return (
        f"{version} is used, whose stage decides, but it {version.disagreement}; "
        f"to repair it: taxiway promote {quote(str(version))} --to production"
    )


def _download_artifact(version: Version, uri: str, place: Path) -> Path:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

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
