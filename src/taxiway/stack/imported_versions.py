"""Registered models and versions of an embedded store, written into the stack: numbers kept, nothing pushed aside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taxiway.progress import Progress
from taxiway.stack.embedded import EmbeddedStore, Store, model_id_in
from taxiway.stack.ledger import (
    ADDED,
    DIFFERENT,
    IMPORTED_AT,
    IMPORTED_FROM,
    PRESENT,
    REGISTERED_MODELS,
    VERSIONS,
    Ledger,
)
from taxiway.versions import ALIASES, NONE, VERSIONS_TAG, get_model, linked_versions, stages_allowed

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

FIRST_REGISTERED = "taxiway.first_registered"
"""The tag with the moment of the original's registration; MLflow gives the copy its own."""
NUMBERS_USED = "taxiway.numbers_used"
"""The tag with the highest number that an import has seen in use: MLflow forgets those that were deleted."""
_READY = "READY"
_WAIT = 60
_TASK = "Versions"


@dataclass(frozen=True)
class Origin:
    """What a version of the stack is to be made from.

    Parameters
    ----------
    source : str
        As MLflow's API takes it.
    run_id, model_id : str or None
        In the stack.
    """

    source: str
    run_id: str | None
    model_id: str | None


@dataclass
class VersionImport:
    """One import of registered models; runs and logged models must have been imported before.

    Parameters
    ----------
    source : EmbeddedStore
    target : Store
    ledger : Ledger
    progress : Progress
    """

    source: EmbeddedStore
    target: Store
    ledger: Ledger
    progress: Progress

    def run(self) -> None:
        """Import every version that is not there yet; a number that another version has is not taken from it."""
        models = [(model, self.source.versions(model.name)) for model in self.source.registered_models()]
        self.progress.begin(_TASK, sum(len(versions) for _, versions in models))
        for model, versions in models:
            self._import_model(model)
            for version in versions:
                self._import_version(model, version)
                self.progress.advance(_TASK)
            self._close(model.name)
        self.progress.end(_TASK)

    def _import_model(self, model: RegisteredModel) -> None:
        client, found = self.target.client, get_model(self.target.client, model.name)
        if found is None:
            client.create_registered_model(model.name, tags=dict(model.tags), description=model.description)
            self.ledger.count(REGISTERED_MODELS, ADDED)
            return
        self.ledger.count(REGISTERED_MODELS, PRESENT)
        for key, value in model.tags.items():
            if key not in found.tags:
                client.set_registered_model_tag(model.name, key, value)
        if model.description and not found.description:
            client.update_registered_model(model.name, model.description)

    def _import_version(self, model: RegisteredModel, version: ModelVersion) -> None:
        number, origin_id = int(version.version), _origin_id(version)
        there = {int(found.version): found for found in self.target.versions(model.name)}
        found = there.get(number)
        if found is not None and found.tags.get(IMPORTED_FROM) != origin_id:
            self.ledger.refuse(f"{model.name}/{number} is another version in the stack")
            return
        if found is not None and IMPORTED_AT in found.tags:
            self._compare(version, found)
            return
        if found is None and not (self._number_is_free(number, model.name, there) and self._create(version, origin_id)):
            return
        self._move(model, version, there)
        client = self.target.client
        client.set_model_version_tag(model.name, str(number), IMPORTED_AT, datetime.now(UTC).isoformat())
        self.ledger.count(VERSIONS, ADDED)

    def _number_is_free(self, number: int, name: str, there: dict[int, ModelVersion]) -> bool:
        """Whether MLflow, which counts on from the highest number there ever was, may still give this one."""
        if number < max(there, default=0):
            self.ledger.refuse(f"{name}/{number} cannot be made: the stack has used that number")
            return False
        model = get_model(self.target.client, name)
        if model is not None and number <= int(model.tags.get(NUMBERS_USED, "0")):
            self.ledger.leave_out(VERSIONS, f"{name}/{number} is not imported: it was deleted in the stack")
            return False
        return True

    def _create(self, version: ModelVersion, origin_id: str) -> bool:
        """Make the version under its own number; False when that cannot be, which is said."""
        number = int(version.version)
        origin = self._origin(version)
        if isinstance(origin, str):
            self.ledger.leave_out(VERSIONS, f"{version.name}/{number} is not imported: {origin}")
            return False
        registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
        tags = {FIRST_REGISTERED: registered, **self.ledger.translate_tags(version.tags), IMPORTED_FROM: origin_id}
        made = 0
        while made < number:
            created = self.target.client.create_model_version(
                version.name,
                source=origin.source,
                run_id=origin.run_id,
                tags=tags,
                description=version.description,
                await_creation_for=_WAIT,
                model_id=origin.model_id,
            )
            made = int(created.version)
            if made != number:
                # A number that was deleted in the original is used and deleted here too.
                self.target.client.delete_model_version(version.name, str(made))
        if made > number:
            self.target.client.set_registered_model_tag(version.name, NUMBERS_USED, str(made))
            self.ledger.refuse(f"{version.name}/{number} cannot be made: the stack has used that number")
        return made == number

    def _origin(self, version: ModelVersion) -> Origin | str:
        """What the version's copy is made from, or why there is nothing to make it from."""
        if version.status != _READY:
            return f"it is {version.status}"
        client = self.source.client
        location = client.get_model_version_download_uri(version.name, str(version.version))
        folder = self.source.files(location)
        if folder is None or not any(folder.iterdir()):
            return "its files are gone"
        run_id = self.ledger.new_id(version.run_id)
        model_id = self.ledger.new_id(model_id_in(version.source or ""))
        if model_id is not None:
            return Origin(f"models:/{model_id}", run_id, model_id)
        if run_id is None or version.run_id is None:
            return "the run that it was made from is not there"
        root, place = client.get_run(version.run_id).info.artifact_uri, self.target.client.get_run(run_id)
        if not location.startswith(f"{root}/"):
            return f"its files are at {location}, outside its run"
        return Origin(f"{place.info.artifact_uri}{location.removeprefix(root)}", run_id, None)

    def _move(self, model: RegisteredModel, version: ModelVersion, there: dict[int, ModelVersion]) -> None:
        """Give the new version its stage and its aliases, unless another version of the stack has them."""
        client, number, stage = self.target.client, int(version.version), version.current_stage
        now = get_model(client, model.name)
        taken = {} if now is None else {alias: int(owner) for alias, owner in now.aliases.items()}
        holder = next((other for other, item in there.items() if item.current_stage == stage and other != number), None)
        if stage in ALIASES and holder is not None:
            self.ledger.note(f"{model.name}/{number} stays in None: {model.name}/{holder} is in {stage} in the stack")
        elif stage != NONE:
            with stages_allowed():
                client.transition_model_version_stage(model.name, str(number), stage)
        for alias, owner in model.aliases.items():
            if int(owner) != number or taken.get(alias) == number:
                continue
            if alias in taken:
                other = f"{model.name}/{taken[alias]}"
                self.ledger.note(f"{model.name}/{number} goes without the alias '{alias}', which {other} has")
            else:
                client.set_registered_model_alias(model.name, alias, str(number))

    def _compare(self, version: ModelVersion, found: ModelVersion) -> None:
        self.ledger.count(VERSIONS, PRESENT)
        pairs = (
            ("stage", version.current_stage, found.current_stage),
            ("description", version.description or "", found.description or ""),
        )
        different = [f"{what} '{now}' in the stack, not '{then}'" for what, then, now in pairs if then != now]
        if different:
            self.ledger.count(VERSIONS, DIFFERENT)
            self.ledger.note(f"{found.name}/{found.version} has {' and '.join(different)}, and keeps it")

    def _close(self, name: str) -> None:
        """Remember the numbers; take those that were made to be used up out of the logged models' lists."""
        client, there = self.target.client, self.target.versions(name)
        numbers = {int(version.version) for version in there}
        model = get_model(client, name)
        used = int(model.tags.get(NUMBERS_USED, "0")) if model else 0
        if max(numbers, default=0) > used:
            client.set_registered_model_tag(name, NUMBERS_USED, str(max(numbers)))
        for model_id in {found for version in there if (found := model_id_in(version.source or ""))}:
            linked = linked_versions(client.get_logged_model(model_id))
            kept = [item for item in linked if item.get("name") != name or int(item.get("version", 0)) in numbers]
            if kept != linked:
                client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(kept)})


def _origin_id(version: ModelVersion) -> str:
    """What tells an imported version from another one of the same number."""
    return model_id_in(version.source or "") or version.run_id or version.source or ""
