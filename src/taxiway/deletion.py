"""Deleting versions: what would go is said first, what is in use is refused, then it really goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxiway.errors import Refused, UsageError, did_you_mean
from taxiway.settings import Settings, load_settings
from taxiway.store import connect, registry_lock
from taxiway.versions import ALIASES, VERSIONS_TAG, Version, linked_versions, parse_model, pick, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Deletion:
    """What goes and what stays when versions are deleted.

    Parameters
    ----------
    model : str
        What was asked for, ``tip/3`` or ``tip``.
    name : str
        The registered model's.
    versions : tuple of Version
        Those that go, newest first.
    whole_model : bool
        Whether the registered model goes with them.
    aliases : tuple of str
        Aliases that go.
    runs : tuple of str
        Runs that stay, with their metrics and the files of their models.
    in_stage : tuple of str
        The stages in use that were named, ``Staging`` and ``Production``.
    """

    model: str
    name: str
    versions: tuple[Version, ...]
    whole_model: bool
    aliases: tuple[str, ...]
    runs: tuple[str, ...]
    in_stage: tuple[str, ...] = ()


def plan_deletion(model: str, settings: Settings | None = None, in_stage: Sequence[str] = ()) -> Deletion:
    """Say what `delete` would remove, and refuse what is in use.

    Parameters
    ----------
    model : str
        ``tip/3``, or ``tip`` for the model with all its versions.
    settings : Settings, optional
        Read from the environment by default.
    in_stage : sequence of {"staging", "production"}
        Stages whose versions may go although they are in use.

    Returns
    -------
    Deletion

    Raises
    ------
    NotFound
        No such model or version.
    Refused
        A version is in use in a stage that is not named.
    """
    return _plan(connect(settings or load_settings()), model, in_stage)


def delete(plan: Deletion, settings: Settings | None = None) -> Deletion:
    """Remove what a plan says: aliases first, then versions, then a model without versions.

    Runs, their metrics and the files of their models stay.

    Parameters
    ----------
    plan : Deletion
        From `plan_deletion`.
    settings : Settings, optional
        Read from the environment by default.

    Returns
    -------
    Deletion
        The plan that was carried out.

    Raises
    ------
    Refused
        Something has changed since the plan was made; nothing is removed then.
    """
    options = settings or load_settings()
    client = connect(options)
    with registry_lock(options):
        if _substance(_plan(client, plan.model, plan.in_stage)) != _substance(plan):
            raise Refused(f"'{plan.model}' has changed since you were asked", "Look at it again: taxiway models")
        for alias in plan.aliases:
            client.delete_registered_model_alias(plan.name, alias)
        for version in plan.versions:
            client.delete_model_version(plan.name, str(version.version))
            _unlink(client, version)
        if plan.whole_model:
            client.delete_registered_model(plan.name)
    return plan


def _plan(client: MlflowClient, model: str, in_stage: Sequence[str]) -> Deletion:
    named = tuple(_stage_in_use(text) for text in in_stage)
    name, number = parse_model(model)
    versions = versions_of(client, name)
    going = versions if number is None else (pick(versions, name, number),)
    for version in going:
        unnamed = [stage for stage in version.in_use if stage not in named]
        if unnamed:
            raise Refused(
                f"{version} is in {unnamed[0]}",
                f"Move it first (taxiway promote {version} --to archived), or add --in-stage {unnamed[0].lower()}",
            )
    return Deletion(
        model=model,
        name=name,
        versions=going,
        whole_model=len(going) == len(versions),
        aliases=tuple(alias for version in going for alias in version.aliases),
        runs=tuple(dict.fromkeys(version.run_id for version in going if version.run_id)),
        in_stage=named,
    )


def _stage_in_use(text: str) -> str:
    by_name = {stage.lower(): stage for stage in ALIASES}
    if text.lower() not in by_name:
        raise UsageError(f"'{text}' is not a stage that a version is in use in", did_you_mean(text, by_name))
    return by_name[text.lower()]


def _substance(plan: Deletion) -> tuple[object, ...]:
    versions = tuple((version.version, version.stage, version.aliases) for version in plan.versions)
    return (plan.name, versions, plan.whole_model, plan.aliases)


def _unlink(client: MlflowClient, version: Version) -> None:
    """Take the version out of its logged model's list, which MLflow itself leaves as it was."""
    from mlflow.exceptions import MlflowException

    if not version.model_id:
        return
    try:
        logged = client.get_logged_model(version.model_id)
        kept = [item for item in linked_versions(logged) if not _names(item, version)]
        client.set_logged_model_tags(version.model_id, {VERSIONS_TAG: json.dumps(kept)})
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _names(item: dict[str, object], version: Version) -> bool:
    return item.get("name") == version.name and str(item.get("version")) == str(version.version)
