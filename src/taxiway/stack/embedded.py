"""An embedded store to import from: read by MLflow's own client, its files found even where the home was moved."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from taxiway.errors import NotFound
from taxiway.names import equals
from taxiway.settings import Settings, embedded_uri
from taxiway.stack.ledger import ID
from taxiway.store import check_embedded_store, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_PAGE = 1000
_SMALL_PAGE = 100


@dataclass(frozen=True)
class Store:
    """Everything in an MLflow store, page after page. Deleted runs are there, deleted experiments are not."""

    client: MlflowClient

    def experiments(self) -> list[Experiment]:
        """All experiments that are not deleted, the oldest first."""
        return list(_pages(self.client.search_experiments, _PAGE, order_by=["creation_time ASC"]))

    def runs(self, experiment_id: str, condition: str = "") -> Iterator[Run]:
        """Runs of an experiment, the oldest first."""
        from mlflow.entities import ViewType

        return _pages(
            self.client.search_runs,
            _PAGE,
            experiment_ids=[experiment_id],
            filter_string=condition,
            run_view_type=ViewType.ALL,
            order_by=["attributes.start_time ASC"],
        )

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """Logged models of an experiment."""
        return _pages(self.client.search_logged_models, _SMALL_PAGE, experiment_ids=[experiment_id])

    def registered_models(self) -> Iterator[RegisteredModel]:
        """All registered models."""
        return _pages(self.client.search_registered_models, _SMALL_PAGE)

    def versions(self, name: str) -> list[ModelVersion]:
        """A registered model's versions, the first one first."""
        found = _pages(self.client.search_model_versions, _PAGE, filter_string=equals("name", name))
        return sorted((version for version in found if version.name == name), key=lambda version: int(version.version))


@dataclass(frozen=True)
class EmbeddedStore(Store):
    """The store under a home."""

    home: Path = Path()

    def files(self, location: str) -> Path | None:
        """The folder that an artifact location means today, or None when it is not on this machine.

        A home that was moved or copied has its files with it, while the store names the former place.
        """
        path = _local_path(location)
        if path is None:
            return None
        below = [Path(*path.parts[place + 1 :]) for place, part in enumerate(path.parts) if part == "artifacts"]
        # Only what names a run or a model: nothing else there is of one thing alone.
        moved = [self.home / "artifacts" / rest for rest in below if ID.search(rest.as_posix())]
        return next((folder for folder in (*moved, path) if folder.is_dir()), None)


def open_embedded_store(settings: Settings) -> EmbeddedStore:
    """The store under the settings' home, whatever store the settings name.

    Raises
    ------
    NotFound
        There is none.
    MachineError
        It cannot be read, or is another MLflow version's.
    """
    own = replace(settings, tracking_uri=embedded_uri(settings.home), origins={})
    if not check_embedded_store(own):
        raise NotFound(f"There is no embedded store under {own.home}", "Name the home that has one with --home")
    return EmbeddedStore(connect(own), own.home)


def files_below(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Each file below a folder, with the path of its own folder from there (None for the folder itself)."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        inside = Path(root).relative_to(folder).as_posix()
        for name in sorted(names):
            yield Path(root, name), None if inside == "." else inside


def model_id_in(source: str) -> str:
    """The logged model that a version was made from; the SQL store keeps it nowhere else (3.17).

    Examples
    --------
    >>> model_id_in("models:/m-0f3a"), model_id_in("file:///home/ana/model")
    ('m-0f3a', '')
    """
    match = re.fullmatch(r"models:/(m-[0-9a-f]+)", source)
    return match[1] if match else ""


def _local_path(location: str) -> Path | None:
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path) if parts.scheme else location)


def _pages(search: Callable[..., Any], size: int, **what: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=size, page_token=token, **what)
        yield from page
        token = page.token
        if not token:
            return
