"""A model's life in the registry: register, promote, list, delete.

A stage and its alias move together. The stage is written first, in one transaction that archives
whoever was there, and decides in case of doubt; the alias follows. Whatever is interrupted in
between shows in `models` as a disagreement and is repaired by the next `promote`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taxiway import run_tags
from taxiway.comparison import Comparison, compare, find_experiment, find_run
from taxiway.deletion import Deletion, delete, plan_deletion
from taxiway.errors import BadData, NotFound, Refused, UsageError, did_you_mean
from taxiway.names import check_name, equals, quote
from taxiway.open_runs import FINISHED
from taxiway.settings import Settings, load_settings
from taxiway.store import connect, registry_lock
from taxiway.versions import (
    ALIASES,
    ARCHIVED,
    NONE,
    PRODUCTION,
    STAGES,
    STAGING,
    VERSIONS_TAG,
    Version,
    get_model,
    in_stage,
    linked_versions,
    models,
    numbers_in_use,
    parse_model,
    pick,
    stages_allowed,
    versions_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

__all__ = [
    "Deletion",
    "Move",
    "Promotion",
    "Version",
    "delete",
    "models",
    "plan_deletion",
    "promote",
    "register",
]

MODEL = "model"
READY = "READY"
_WAIT = 60


@dataclass(frozen=True)
class Move:
    """One version's change of stage."""

    name: str
    version: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    Parameters
    ----------
    version : Version
        As it is now.
    moves : tuple of Move
        In order, the archived ones included; empty when everything was so already.
    repairs : tuple of str
        What an interrupted promotion or another program had left in disagreement.
    """

    version: Version
    moves: tuple[Move, ...]
    repairs: tuple[str, ...] = ()


def register(
    recipe_name: str,
    settings: Settings | None = None,
    run: str | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> Version:
    """Make a version of a run's model.

    Parameters
    ----------
    recipe_name : str
        The experiment's name, and the registered model's.
    settings : Settings, optional
        Read from the environment by default.
    run : str, optional
        A candidate, or a sweep, whose best is taken, by its id or how that begins. The best run of
        the latest sweep by default.
    description : str
    tags : mapping of str to str, optional

    Returns
    -------
    Version
        With ``already_registered`` when the run's model had a version; description and tags are
        then written to that one.

    Raises
    ------
    UsageError
        No model can have this name, though an experiment can.
    NotFound
        No such recipe, experiment or run.
    Refused
        The run did not finish.
    BadData
        The run has no complete model.
    """
    check_name(recipe_name)
    options = settings or load_settings()
    client = connect(options)
    chosen = _choose_run(client, recipe_name, options, run)
    logged = _logged_model(client, chosen)
    with registry_lock(options):
        versions = versions_of(client, recipe_name) if get_model(client, recipe_name) else ()
        existing = next((version for version in versions if version.run_id == chosen.info.run_id), None)
        if existing is not None:
            _annotate(client, existing, description, tags or {})
            number = existing.version
        else:
            number = _create_version(client, recipe_name, chosen, logged, description, tags or {})
        found = pick(versions_of(client, recipe_name), recipe_name, number)
    return replace(found, already_registered=existing is not None)


def promote(model: str, settings: Settings | None = None, to: str = "production") -> Promotion:
    """Move a version to a stage, its alias with it.

    Parameters
    ----------
    model : str
        ``tip/3``, or ``tip``: to Staging goes the newest version in None, to Production the
        version in Staging, else the newest that is not archived.
    settings : Settings, optional
        Read from the environment by default.
    to : {"production", "staging", "none", "archived"}

    Returns
    -------
    Promotion
        A version in None passes through Staging on its way to Production. Whoever was in the
        target stage is archived; a version that waits in Staging stays there.

    Raises
    ------
    NotFound
        No such model or version, or only archived ones and none is named.
    Refused
        The version is not ready.
    """
    stage = _stage_named(to)
    name, number = parse_model(model)
    options = settings or load_settings()
    client = connect(options)
    with registry_lock(options):
        versions = versions_of(client, name)
        version = pick(versions, name, number) if number else candidate(versions, name, stage)
        repairs = tuple(f"{other} {other.disagreement}" for other in versions if other.disagreement)
        moves = (*_move(client, versions, version, stage), *_align(client, name))
        found = pick(versions_of(client, name), name, version.version)
    return Promotion(found, moves, repairs)


def _stage_named(text: str) -> str:
    by_name = {stage.lower(): stage for stage in STAGES}
    if text.lower() not in by_name:
        raise UsageError(f"'{text}' is not a stage", did_you_mean(text, by_name))
    return by_name[text.lower()]


def candidate(versions: Sequence[Version], name: str, stage: str) -> Version:
    """The version that is meant when only the model is named."""
    if stage not in ALIASES:
        raise UsageError(f"Which version of '{name}' should go to {stage}?", f"Name it: {name}/3")
    staged = in_stage(versions, STAGING)
    if stage == PRODUCTION:
        found = staged or next((version for version in versions if version.stage != ARCHIVED), None)
    else:
        found = next((version for version in versions if version.stage == NONE), None)
        # Asked twice, an older version must not push out the one that the first call moved.
        if staged is not None and (found is None or found.version < staged.version):
            found = staged
    if found is None and versions:
        # What was archived on purpose does not come back unasked.
        newest = max(versions, key=lambda version: version.version)
        state = "only archived versions" if stage == PRODUCTION else "no version in None or Staging"
        raise NotFound(
            f"'{name}' has {state}, and you named none",
            f"Name the one you mean: taxiway promote {quote(str(newest))} --to {stage.lower()}",
        )
    if found is None:
        raise NotFound(
            f"'{name}' has no version that could go to {stage}", f"Register one: taxiway register {quote(name)}"
        )
    return found


def moves_of(versions: Sequence[Version], version: Version, stage: str) -> tuple[Move, ...]:
    """What has to change for a version to be in a stage: its own steps, then whoever gives way.

    Parameters
    ----------
    versions : sequence of Version
        All of the model.
    version : Version
        One of them.
    stage : str

    Returns
    -------
    tuple of Move
        Empty when it is so already.
    """
    steps = [STAGING, PRODUCTION] if (version.stage, stage) == (NONE, PRODUCTION) else [stage]
    path = [version.stage, *steps] if version.stage != stage else []
    own = [Move(version.name, version.version, *pair) for pair in itertools.pairwise(path)]
    # Staging and Production have room for one.
    others = [other for other in versions if other.stage == stage and other != version] if stage in ALIASES else []
    return (*own, *(Move(other.name, other.version, stage, ARCHIVED) for other in others))


def _move(client: MlflowClient, versions: Sequence[Version], version: Version, stage: str) -> tuple[Move, ...]:
    """Write the stages; a single transaction archives whoever held the last one."""
    moves = moves_of(versions, version, stage)
    if moves and version.status != READY:
        raise Refused(f"{version} is not ready ({version.status})", "Register its run again")
    steps = [move.after for move in moves if move.version == version.version] or [stage] * bool(moves)
    for step in steps:
        archive = step == stage and stage in ALIASES
        # A number, where MLflow 3.17 asks for a text: it compares with numbers, which PostgreSQL insists on.
        number: Any = version.version
        with stages_allowed():
            client.transition_model_version_stage(version.name, number, step, archive_existing_versions=archive)
    return moves


def _align(client: MlflowClient, name: str) -> tuple[Move, ...]:
    """Leave one version in each stage in use, and its alias on that version."""
    versions = versions_of(client, name)
    moves = []
    for stage, alias in ALIASES.items():
        owner = in_stage(versions, stage)
        for extra in versions:
            if extra.stage == stage and extra != owner:
                with stages_allowed():
                    client.transition_model_version_stage(name, str(extra.version), ARCHIVED)
                moves.append(Move(name, extra.version, stage, ARCHIVED))
        if owner is None:
            if any(alias in version.aliases for version in versions):
                client.delete_registered_model_alias(name, alias)
        elif alias not in owner.aliases:
            client.set_registered_model_alias(name, alias, str(owner.version))
    return tuple(moves)


def _choose_run(client: MlflowClient, recipe_name: str, settings: Settings, run_id: str | None) -> Run:
    experiment = find_experiment(client, recipe_name)
    if run_id is None:
        return client.get_run(_best_of(compare(recipe_name, settings)))
    run = find_run(client, experiment, recipe_name, run_id)
    if run.data.tags.get(run_tags.KIND) == "sweep":
        run = client.get_run(_best_of(compare(recipe_name, settings, run=run_id)))
    if run.info.status != FINISHED:
        raise Refused(f"Run '{run_id}' is {run.info.status}, not finished", "Register a run that finished")
    return run


def _best_of(comparison: Comparison) -> str:
    if comparison.best is None:
        raise BadData(
            f"The sweep '{comparison.parent_run_id}' ({comparison.status}) has no run that finished", "Train again"
        )
    return comparison.best.run_id


def _logged_model(client: MlflowClient, run: Run) -> LoggedModel:
    """The run's model, known to be whole."""
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=equals("source_run_id", run.info.run_id)
    )
    named = [model for model in found if _is_model_of(model, run) and str(model.status) == READY]
    if not named:
        raise BadData(f"Run '{run.info.run_id}' has no complete model", "Register another run, or train again")
    files = client.list_logged_model_artifacts(named[0].model_id)
    if "MLmodel" not in {file.path for file in files}:
        # After `mlflow gc` a model downloads as an empty folder, without an error (3.17).
        raise BadData(f"The files of run '{run.info.run_id}' are gone", "Register another run, or train again")
    return named[0]


def _is_model_of(model: LoggedModel, run: Run) -> bool:
    return bool(model.name == MODEL and model.source_run_id == run.info.run_id)


def _create_version(
    client: MlflowClient, name: str, run: Run, logged: LoggedModel, description: str, tags: Mapping[str, str]
) -> int:
    is_new = _ensure_model(client, name)
    copied = {key: run.data.tags[key] for key in run_tags.OF_A_VERSION if key in run.data.tags}
    try:
        made = client.create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run.info.run_id,
            tags={**copied, **tags},
            description=description,
            await_creation_for=_WAIT,
            model_id=logged.model_id,
        )
    except BaseException:
        # Ctrl-C included: no model without a version stays behind. After a kill one does; it is
        # listed nowhere, and the next `register` fills it. The version may have been made before
        # the error, or another one by somebody else: then the model stays.
        if is_new and not numbers_in_use(client, name, known=(1,)):
            client.delete_registered_model(name)
        raise
    linked = [*linked_versions(logged), {"name": name, "version": int(made.version)}]
    client.set_logged_model_tags(logged.model_id, {VERSIONS_TAG: json.dumps(linked)})
    return int(made.version)


def _ensure_model(client: MlflowClient, name: str) -> bool:
    """Make the registered model; False when it was there."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={run_tags.RECIPE: name})
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
        return False
    return True


def _annotate(client: MlflowClient, version: Version, description: str, tags: Mapping[str, str]) -> None:
    if description:
        client.update_model_version(version.name, str(version.version), description)
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)
