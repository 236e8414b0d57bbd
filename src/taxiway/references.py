"""Which version is meant by ``tip``, ``tip/3``, ``tip@production`` or ``models:/tip/3``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxiway.errors import NotFound, did_you_mean
from taxiway.names import quote
from taxiway.settings import Settings
from taxiway.store import connect
from taxiway.versions import ALIASES, PRODUCTION, Version, get_model, in_stage, parse_model, pick, versions_of

_SCHEME = "models:/"
_STAGES = {alias: stage for stage, alias in ALIASES.items()}


@dataclass(frozen=True)
class Reference:
    """What a user names a model by.

    Parameters
    ----------
    name : str
        The registered model's.
    version : int, optional
    alias : str
        Where no version is named; ``production`` by default.
    """

    name: str
    version: int | None = None
    alias: str = ALIASES[PRODUCTION]


def parse_reference(text: str) -> Reference:
    """Read what names a model, a version or an alias of it.

    Raises
    ------
    UsageError
        It is none of them.

    Examples
    --------
    >>> parse_reference("tip/3").version, parse_reference("models:/tip@staging").alias
    (3, 'staging')
    """
    said = text.removeprefix(_SCHEME)
    if "/" not in said and "@" in said:
        name, _, alias = said.rpartition("@")
        if name and alias:
            return Reference(parse_model(name)[0], alias=alias)
    name, number = parse_model(said)
    return Reference(name, number)


def find_version(text: str, settings: Settings) -> Version:
    """The version that a reference means.

    Of the aliases that go with a stage the stage decides. Should the two disagree, the version says so and the next
    promotion repairs it.

    Parameters
    ----------
    text : str
        As `parse_reference` reads it.
    settings : Settings

    Raises
    ------
    UsageError
        No reference of a model.
    NotFound
        There is no such model, version or alias, or none of its versions is in production.
    """
    client, meant = connect(settings), parse_reference(text)
    # MLflow lets a model be called a@b.
    whole = text.removeprefix(_SCHEME)
    if meant.version is None and "@" in whole and get_model(client, whole) is not None:
        meant = Reference(whole)
    return choose(versions_of(client, meant.name), meant)


def choose(versions: Sequence[Version], meant: Reference) -> Version:
    """Of a model's versions, the one that is meant.

    Raises
    ------
    NotFound
        There is none.
    """
    if meant.version is not None:
        return pick(versions, meant.name, meant.version)
    named = next((version for version in versions if meant.alias in version.aliases), None)
    stage = _STAGES.get(meant.alias)
    if stage is None:
        if named is None:
            known = sorted({f"{meant.name}@{alias}" for version in versions for alias in version.aliases})
            text = f"{meant.name}@{meant.alias}"
            raise NotFound(f"No version of '{meant.name}' has the alias '{meant.alias}'", did_you_mean(text, known))
        return named
    found = in_stage(versions, stage)
    if found is None:
        but = f", though {named} has the alias '{meant.alias}': the stage decides" if named else ""
        shown = quote(str(named or meant.name))
        raise NotFound(
            f"No version of '{meant.name}' is in {stage.lower()}{but}",
            f"Promote one: taxiway promote {shown} --to {meant.alias}",
        )
    return found
