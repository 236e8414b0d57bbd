"""A model that can predict: its files, and the recipe that it was trained by. No registry, no stage, no session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from taxiway.errors import NotFound
from taxiway.recipes import CompiledRecipe
from taxiway.recipes.document import read_document
from taxiway.vetting import MLMODEL, vet_model

MODEL_FOLDER, RECIPE_FILE = "model", "recipe.json"


@dataclass(frozen=True)
class Model:
    """A model whose files are on this machine.

    Parameters
    ----------
    name : str
        The registered model's, or the recipe's.
    recipe : CompiledRecipe
        As it was when the model was trained, whatever the recipe of that name says today.
    files : Path
        MLflow's model folder; canonical trip columns in, prediction and probability out.
    version : int, optional
        Its number; None for files that no registry told of.
    run_id : str
        The run that trained it; empty for such files.
    training_metrics : mapping of str to float
        Its metrics on the holdout months of its training; empty for such files.
    kept_by : object
        What keeps the files there; they go with it.
    """

    name: str
    recipe: CompiledRecipe
    files: Path
    version: int | None = None
    run_id: str = ""
    training_metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    kept_by: object = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}/{self.version}"


def load(folder: Path, called: str = "") -> Model:
    """A model from its files alone; nothing of them is run.

    Parameters
    ----------
    folder : Path
        With MLflow's model folder as ``model``, and ``recipe.json``.
    called : str, optional
        What messages call the model; the folder by default.

    Returns
    -------
    Model

    Raises
    ------
    NotFound
        One of the two is not there.
    Refused
        The files are not what training saves.
    """
    called = called or str(folder)
    files, recipe = folder / MODEL_FOLDER, folder / RECIPE_FILE
    for file in (files / MLMODEL, recipe):
        if not file.is_file():
            raise NotFound(f"{called} has no {file.relative_to(folder)}", "Name a folder with a model's files")
    vet_model(files, called)
    compiled = read_document(json.loads(recipe.read_text(encoding="utf-8")))
    return Model(compiled.recipe.name, compiled, files)
