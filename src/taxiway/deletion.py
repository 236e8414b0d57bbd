"""Deleting versions: what would go is said first, what is in use is refused, then it really goes.

What goes was found by a search, and an empty or short answer of a search proves nothing. Before
anything is removed it is counted again, each version by its number; a difference is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxiway.errors import Refused, UsageError, did_you_mean
from taxiway.names import quote
from taxiway.settings import Settings, load_settings
from taxiway.store import connect, registry_lock
from taxiway.versions import (
    ALIASES,
    VERSIONS_TAG,
    Version,
    get_model,
    get_version,
    linked_versions,
    numbers_in_use,
    parse_model,
    pick,
    versions_of,
)

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
    with_alias : tuple of str
        The other aliases that were named.
    """

    model: str
    name: str
    versions: tuple[Version, ...]
    whole_model: bool
    aliases: tuple[str, ...]
    runs: tuple[str, ...]
    in_stage: tuple[str, ...] = ()
    with_alias: tuple[str, ...] = ()


def plan_deletion(
    model: str, settings: Settings | None = None, in_stage: Sequence[str] = (), with_alias: Sequence[str] = ()
) -> Deletion:
    """Say what `delete` would remove, and refuse what is in use.

    Parameters
    ----------
    model : str
        ``tip/3``, or ``tip`` for the model with all its versions.
    settings : Settings, optional
        Read from the environment by default.
    in_stage : sequence of {"staging", "production"}
        Stages whose versions may go although they are in use.
    with_alias : sequence of str
        Other aliases, ``champion`` say, that may go with the versions that they point to.

    Returns
    -------
    Deletion

    Raises
    ------
    NotFound
        No such model or version.
    Refused
        A version is in use, in a stage or by an alias that is not named.
    """
    return _plan(connect(settings or load_settings()), model, in_stage, with_alias)


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
        Something has changed since the plan was made, or the store has more than the plan tells;
        nothing is removed then.
    """
    options = settings or load_settings()
    client = connect(options)
    with registry_lock(options):
        if _substance(_plan(client, plan.model, plan.in_stage, plan.with_alias)) != _substance(plan):
            raise Refused(f"'{plan.model}' has changed since you were asked", "Look at it again: taxiway models")
        if difference := _difference(client, plan):
            raise Refused(
                f"Nothing was deleted: {difference}", f"Look at it: taxiway models {quote(plan.name)}, then try again"
            )
        for alias in plan.aliases:
            client.delete_registered_model_alias(plan.name, alias)
        for version in plan.versions:
            client.delete_model_version(plan.name, str(version.version))
            _unlink(client, version)
        if plan.whole_model:
            client.delete_registered_model(plan.name)
    return plan


def _plan(client: MlflowClient, model: str, in_stage: Sequence[str], with_alias: Sequence[str]) -> Deletion:
    named = tuple(_stage_in_use(text) for text in in_stage)
    name, number = parse_model(model)
    versions = versions_of(client, name)
    going = versions if number is None else (pick(versions, name, number),)
    for version in going:
        check_unused(version, named, with_alias)
    return Deletion(
        model=model,
        name=name,
        versions=going,
        whole_model=len(going) == len(versions),
        aliases=tuple(alias for version in going for alias in version.aliases),
        runs=tuple(dict.fromkeys(version.run_id for version in going if version.run_id)),
        in_stage=named,
        with_alias=tuple(with_alias),
    )


def check_unused(version: Version, in_stage: Sequence[str], with_alias: Sequence[str]) -> None:
    """Let a version go that nobody uses, or whose every use was named.

    Parameters
    ----------
    version : Version
    in_stage : sequence of {"Staging", "Production"}
    with_alias : sequence of str

    Raises
    ------
    Refused
    """
    stages = [stage for stage in version.in_use if stage not in in_stage]
    if stages:
        command = f"taxiway promote {quote(str(version))} --to archived"
        raise Refused(
            f"{version} is in {stages[0]}", f"Move it first ({command}), or add --in-stage {stages[0].lower()}"
        )
    others = [alias for alias in version.aliases if alias not in (*ALIASES.values(), *with_alias)]
    if others:
        options = " ".join(f"--with-alias {quote(alias)}" for alias in others)
        named = "the alias" if len(others) == 1 else "the aliases"
        raise Refused(
            f"{version} is in use: it has {named} {', '.join(others)}",
            f"Give {'it' if len(others) == 1 else 'them'} to another version in MLflow's pages, or add {options}",
        )


def _difference(client: MlflowClient, plan: Deletion) -> str:
    """What the store has beyond a plan, asked for in another way than the plan was made; empty when nothing."""
    model = get_model(client, plan.name)
    there = {version.version: get_version(client, plan.name, version.version) for version in plan.versions}
    numbers = numbers_in_use(client, plan.name, known=there) if plan.whole_model else frozenset(there)
    aliases = {} if model is None else {alias: int(number) for alias, number in model.aliases.items()}
    stages = {number: str(found.current_stage) for number, found in there.items() if found is not None}
    return compared(plan, numbers, stages, aliases)


def compared(plan: Deletion, numbers: Collection[int], stages: Mapping[int, str], aliases: Mapping[str, int]) -> str:
    """What differs between a plan and a second look at the store; empty when nothing does.

    Parameters
    ----------
    plan : Deletion
    numbers : collection of int
        The versions that the model has, or those of the plan where others stay.
    stages : mapping of int to str
        The stage of each version of the plan that is there.
    aliases : mapping of str to int
        All aliases of the model.
    """
    planned = {version.version: version for version in plan.versions}
    more = sorted(set(numbers) - set(planned))
    if more:
        return (
            f"'{plan.name}' also has {', '.join(f'{plan.name}/{number}' for number in more)}, which the search left out"
        )
    for number, version in planned.items():
        if stages.get(number) != version.stage:
            return f"{version} was found in {version.stage}, and is {_where(stages.get(number))}"
    going = {alias for alias, number in aliases.items() if number in planned}
    if going != set(plan.aliases):
        return f"the aliases of '{plan.name}' are {', '.join(sorted(going)) or 'none'}, unlike those that were shown"
    return ""


def _where(stage: str | None) -> str:
    return "not there" if stage is None else f"in {stage}"


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
