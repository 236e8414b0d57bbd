"""Registered versions as they are: their stages and aliases, and whether the two agree."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taxiway import run_tags
from taxiway.errors import NotFound, UsageError, did_you_mean
from taxiway.names import check_name, equals, impossible, quote, shown
from taxiway.settings import Settings, load_settings
from taxiway.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

NONE, STAGING, PRODUCTION, ARCHIVED = "None", "Staging", "Production", "Archived"
STAGES = (NONE, STAGING, PRODUCTION, ARCHIVED)
ALIASES: Mapping[str, str] = MappingProxyType({STAGING: "staging", PRODUCTION: "production"})
"""The alias that moves together with a stage."""

VERSIONS_TAG = "mlflow.modelVersions"
"""A logged model's list of the versions made from it, which MLflow's pages show."""


@dataclass(frozen=True)
class Version:
    """One registered version of a model.

    Parameters
    ----------
    name : str
        The registered model's, which is the recipe's.
    version : int
    stage : str
        ``None``, ``Staging``, ``Production`` or ``Archived``.
    aliases : tuple of str
    run_id : str
        The run that trained it.
    metrics : mapping of str to float
        The run's; empty when the run was removed for good.
    metric : str
        The metric that the recipe decides by.
    description : str
    tags : mapping of str to str
    created : datetime
        When it was registered, UTC.
    source : str
        Where MLflow says that its files are.
    model_id : str
        MLflow's id of the run's logged model.
    disagreement : str
        What its stage and the aliases contradict each other in; empty when they agree.
    already_registered : bool
        Whether `register` found it instead of making it.
    status : str
        ``READY`` once its files are there.
    """

    name: str
    version: int
    stage: str
    aliases: tuple[str, ...]
    run_id: str
    metrics: Mapping[str, float]
    metric: str
    description: str
    tags: Mapping[str, str]
    created: datetime
    source: str = ""
    model_id: str = ""
    disagreement: str = ""
    already_registered: bool = False
    status: str = "READY"

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def uri(self) -> str:
        """What MLflow loads it by; its source where the name holds a ``?``, which no such address can."""
        return self.source if "?" in self.name else f"models:/{self.name}/{self.version}"

    @property
    def in_use(self) -> tuple[str, ...]:
        """The stages that it is in use in, by its stage or by an alias: ``Staging``, ``Production``."""
        return tuple(stage for stage, alias in ALIASES.items() if self.stage == stage or alias in self.aliases)

    @property
    def flagged(self) -> tuple[str, ...]:
        """Features that the leakage audit flagged."""
        return run_tags.flagged_features(self.tags)

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on made-up trips."""
        return run_tags.is_synthetic(self.tags)


def parse_model(text: str) -> tuple[str, int | None]:
    """Read ``tip`` or ``tip/3``: whatever MLflow may have as a name, and the number after the only ``/``.

    Raises
    ------
    UsageError
        It is neither.

    Examples
    --------
    >>> parse_model("tip/3"), parse_model("o'hare")
    (('tip', 3), ("o'hare", None))
    """
    name, slash, number = text.partition("/")
    fault = impossible(name)
    if not fault and slash and not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        fault = "after the / comes the number of a version"
    if "/" in number:
        fault = impossible(text)
    if fault:
        raise UsageError(f"'{shown(text)}' is neither a model nor a version of one: {fault}", "Write tip, or tip/3")
    return name, int(number) if number else None


def models(name: str | None = None, settings: Settings | None = None) -> tuple[Version, ...]:
    """All registered versions, newest first within a model.

    Parameters
    ----------
    name : str, optional
        One model alone.
    settings : Settings, optional
        Read from the environment by default.

    Returns
    -------
    tuple of Version

    Raises
    ------
    NotFound
        There is no model of that name.
    """
    client = connect(settings or load_settings())
    names = [name] if name is not None else sorted(known_models(client))
    return tuple(version for each in names for version in versions_of(client, each))


def versions_of(client: MlflowClient, name: str) -> tuple[Version, ...]:
    """A model's versions, newest first.

    Raises
    ------
    NotFound
        There is no model of that name.
    UsageError
        There can be none.
    """
    check_name(name)
    model = get_model(client, name)
    if model is None:
        raise unknown_model(client, name)
    aliases = {alias: int(version) for alias, version in model.aliases.items()}
    raw = sorted(_search_versions(client, name), key=lambda item: -int(item.version))
    stages = {int(item.version): str(item.current_stage) for item in raw}
    runs = {run_id: _get_run(client, run_id) for run_id in {item.run_id or "" for item in raw}}
    return tuple(_version(item, runs[item.run_id or ""], aliases, stages) for item in raw)


def pick(versions: Sequence[Version], name: str, number: int) -> Version:
    """The version with a number.

    Raises
    ------
    NotFound
        There is none.
    """
    for version in versions:
        if version.version == number:
            return version
    known = [str(version) for version in versions]
    raise NotFound(f"There is no version {name}/{number}", did_you_mean(f"{name}/{number}", known))


def in_stage(versions: Sequence[Version], stage: str) -> Version | None:
    """The version in a stage; of several, the one that the alias names, else the newest."""
    inside = [version for version in versions if version.stage == stage]
    inside.sort(key=lambda version: (ALIASES.get(stage) not in version.aliases, -version.version))
    return inside[0] if inside else None


def get_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """A registered model, or None."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    # A database that takes capitals for small letters may answer with another model.
    return found if found.name == name else None


def known_models(client: MlflowClient) -> tuple[str, ...]:
    """Names of all registered models."""
    names: list[str] = []
    token = None
    while True:
        page = client.search_registered_models(max_results=500, page_token=token)
        names += [model.name for model in page]
        token = page.token
        if not token:
            return tuple(names)


def unknown_model(client: MlflowClient, name: str) -> NotFound:
    """The error for a model that is not there."""
    known = known_models(client)
    remedy = did_you_mean(name, known) if known else f"Register one: taxiway register {quote(name)}"
    return NotFound(f"There is no registered model '{name}'", remedy)


def numbers_in_use(client: MlflowClient, name: str, known: Iterable[int] = ()) -> frozenset[int]:
    """The versions that a model has, each asked for by its number: what to trust before something is destroyed.

    A search may find fewer: it goes by a filter, and a server leaves out what one may not read.

    Parameters
    ----------
    client : MlflowClient
    name : str
    known : iterable of int
        Numbers to ask for besides all those up to the highest that the model itself tells.
    """
    model = get_model(client, name)
    if model is None:
        return frozenset()
    told = {int(version.version) for version in model.latest_versions}
    told |= {int(version) for version in model.aliases.values()}
    highest = max({1, *told, *known})
    return frozenset(number for number in range(1, highest + 1) if get_version(client, name, number) is not None)


def get_version(client: MlflowClient, name: str, number: int) -> ModelVersion | None:
    """A version as MLflow has it under its number, or None."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        raise
    return found if (found.name, int(found.version)) == (name, number) else None


def linked_versions(logged: LoggedModel) -> list[dict[str, Any]]:
    """The versions that a logged model says were made from it."""
    try:
        return list(json.loads(logged.tags.get(VERSIONS_TAG, "[]")))
    except ValueError:
        return []


@contextmanager
def stages_allowed() -> Iterator[None]:
    """Use stages without MLflow's warning.

    They are deprecated since MLflow 2.9 and work in 3.17. Taxiway keeps aliases in step with
    them, so that nothing is lost on the day they go.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*transition_model_version_stage.* deprecated", category=FutureWarning
        )
        yield


def _search_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(equals("name", name), max_results=1000, page_token=token)
        found += [version for version in page if version.name == name]
        token = page.token
        if not token:
            return found


def _get_run(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _version(item: Any, run: Run | None, aliases: Mapping[str, int], stages: Mapping[int, str]) -> Version:
    number = int(item.version)
    tags = {**(run.data.tags if run else {}), **item.tags}
    tags = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    return Version(
        name=item.name,
        version=number,
        stage=str(item.current_stage),
        aliases=tuple(sorted(alias for alias, owner in aliases.items() if owner == number)),
        run_id=item.run_id or "",
        metrics=MappingProxyType(dict(run.data.metrics) if run else {}),
        metric=tags.get(run_tags.METRIC, ""),
        description=item.description or "",
        tags=MappingProxyType(tags),
        created=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC),
        source=item.source or "",
        model_id=item.model_id or _model_id_in(item.source or ""),
        disagreement=_disagreement(number, aliases, stages),
        status=str(item.status),
    )


def _model_id_in(source: str) -> str:
    """The logged model that a version was made from; the SQL store keeps it nowhere else (3.17)."""
    match = re.fullmatch(r"models:/(m-[0-9a-f]+)", source)
    return match[1] if match else ""


def _disagreement(number: int, aliases: Mapping[str, int], stages: Mapping[int, str]) -> str:
    for stage, alias in ALIASES.items():
        mine = stages[number] == stage
        if mine and sum(other == stage for other in stages.values()) > 1:
            return f"shares {stage} with another version"
        if mine and aliases.get(alias) != number:
            return f"is in {stage} without the alias '{alias}'"
        if not mine and aliases.get(alias) == number:
            return f"has the alias '{alias}' without being in {stage}"
    return ""
