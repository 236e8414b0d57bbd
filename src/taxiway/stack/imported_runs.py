"""Experiments, runs and logged models of an embedded store, written into the stack over MLflow's API.

The API gives everything a new id. What had been another one's parent, best run or model is named by the new
ids: in tags, and in the ``MLmodel`` files, which say whose model they are. All other files stay as they were.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taxiway.names import begins_with
from taxiway.parallel import side_by_side
from taxiway.progress import Progress
from taxiway.stack.embedded import EmbeddedStore, Store, files_below
from taxiway.stack.ledger import (
    ADDED,
    DIFFERENT,
    EXPERIMENTS,
    FILES,
    IMPORTED_AT,
    IMPORTED_FROM,
    LOGGED_MODELS,
    PRESENT,
    RUNS,
    Ledger,
)
from taxiway.versions import VERSIONS_TAG

if TYPE_CHECKING:
    from mlflow.entities import Experiment, LoggedModel, Metric, Run

_AT_ONCE = 4
_ENDED = ("FINISHED", "FAILED", "KILLED")
_MOST_METRICS, _MOST_PARAMS = 1000, 100  # that MLflow takes in one request
_EXTERNAL = "mlflow.model.isExternal"  # a model that MLflow keeps no files of
_MARKED = begins_with(f"tags.`{IMPORTED_FROM}`", "")
_TASK = "Runs"


@dataclass
class RunImport:
    """One import of experiments, runs and logged models.

    Parameters
    ----------
    source : EmbeddedStore
    target : Store
    ledger : Ledger
    progress : Progress
    scratch : Path
        A private folder for files that are rewritten.
    """

    source: EmbeddedStore
    target: Store
    ledger: Ledger
    progress: Progress
    scratch: Path
    _runs: dict[str, Run] = field(default_factory=dict)
    _models: dict[str, LoggedModel] = field(default_factory=dict)

    def run(self) -> None:
        """Import everything that has ended; what is there already stays as it is."""
        experiments = self.source.experiments()
        for experiment in experiments:
            self.ledger.expect(run.info.run_id for run in self.source.runs(experiment.experiment_id))
            self.ledger.expect(model.model_id for model in self.source.logged_models(experiment.experiment_id))
        places = {experiment.experiment_id: self._experiment(experiment) for experiment in experiments}
        for experiment_id, place in places.items():
            self._import_experiment(experiment_id, place)
        # A second round, since a sweep names its best run, which came after it.
        for experiment_id, place in places.items():
            self._complete_experiment(experiment_id, place)

    def _experiment(self, experiment: Experiment) -> str:
        found = self.target.client.get_experiment_by_name(experiment.name)
        if found is None:
            self.ledger.count(EXPERIMENTS, ADDED)
            return str(self.target.client.create_experiment(experiment.name, tags=dict(experiment.tags)))
        if found.lifecycle_stage == "deleted":
            self.target.client.restore_experiment(found.experiment_id)
        self.ledger.count(EXPERIMENTS, PRESENT)
        for key, value in experiment.tags.items():
            if key not in found.tags:
                self.target.client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _import_experiment(self, experiment_id: str, place: str) -> None:
        runs = list(self.source.runs(experiment_id))
        models = list(self.source.logged_models(experiment_id))
        self.progress.begin(_TASK, len(runs))
        self._runs = _by_origin(self.target.runs(place, _MARKED))
        self._models = _by_origin(self.target.logged_models(place))
        for old, model in self._models.items():
            self.ledger.rename(old, model.model_id)
        own: dict[str | None, list[LoggedModel]] = {}
        for model in models:
            own.setdefault(model.source_run_id, []).append(model)

        def import_one(run: Run) -> None:
            self._import_run(run, place, own.get(run.info.run_id, ()))
            self.progress.advance(_TASK)

        for generation in _generations(runs):
            side_by_side(import_one, generation, _AT_ONCE)
        ids = {run.info.run_id for run in runs}
        for model in models:
            if model.source_run_id not in ids:
                self._import_model(model, place, self.ledger.new_id(model.source_run_id))
        self.progress.end(_TASK)

    def _import_run(self, run: Run, place: str, models: Sequence[LoggedModel]) -> None:
        old, known = run.info.run_id, self._runs.get(run.info.run_id)
        if run.info.status not in _ENDED:
            self.ledger.leave_out(RUNS, f"Run {old} has not ended ({run.info.status}); import again when it has")
            return
        if known is not None:
            self.ledger.rename(old, known.info.run_id)
            if IMPORTED_AT in known.data.tags or known.info.lifecycle_stage == "deleted":
                self.ledger.count(RUNS, PRESENT)
                for model in models:
                    self._import_model(model, place, known.info.run_id)
                return
        with self._ended(run, known, place) as new:
            self.ledger.rename(old, new)
            self._log(run, new)
            for model in models:
                self._import_model(model, place, new)
            self._link_outputs(run, known, new)
            folder = self.source.files(run.info.artifact_uri)
            if folder is not None:
                put = self.target.client.log_artifact
                self._upload(folder, lambda file, inside: put(new, str(file), inside))
        self.ledger.count(RUNS, ADDED)

    @contextmanager
    def _ended(self, run: Run, known: Run | None, place: str) -> Iterator[str]:
        """The id of the run in the stack; it ends as the original did, or KILLED and to be taken up again."""
        client = self.target.client
        if known is not None:
            new = known.info.run_id
        else:
            tags = {**self.ledger.translate_tags(run.data.tags), IMPORTED_FROM: run.info.run_id}
            # The name stands in a tag too.
            made = client.create_run(place, start_time=run.info.start_time, tags=tags)
            new = made.info.run_id
        try:
            yield new
        except BaseException:
            with suppress(Exception):  # what is told is why the import ended
                client.set_terminated(new, "KILLED")
            raise
        client.set_terminated(new, run.info.status, run.info.end_time)
        client.set_tag(new, IMPORTED_AT, _now())

    def _log(self, run: Run, new: str) -> None:
        """Parameters, all points of all metrics, and inputs; what is there already MLflow does not add twice."""
        from mlflow.entities import Param

        client = self.target.client
        params = [Param(key, value) for key, value in run.data.params.items()]
        for part in _parts(params, _MOST_PARAMS):
            client.log_batch(new, params=part)
        for key in run.data.metrics:
            self._log_points(new, self.source.client.get_metric_history(run.info.run_id, key))
        if run.inputs and run.inputs.dataset_inputs:
            client.log_inputs(new, run.inputs.dataset_inputs)

    def _log_points(self, new: str, points: Sequence[Metric]) -> None:
        for part in _parts(points, _MOST_METRICS):
            self.target.client.log_batch(new, metrics=part)

    def _import_model(self, model: LoggedModel, place: str, run_id: str | None) -> None:
        known = self._models.get(model.model_id)
        if known is not None and IMPORTED_AT in known.tags:
            self.ledger.count(LOGGED_MODELS, PRESENT)
            return
        folder = self.source.files(model.artifact_location)
        if str(model.status) == "PENDING" or (folder is None and model.tags.get(_EXTERNAL) != "true"):
            why = "was never finished" if folder is not None else "has no files"
            self.ledger.leave_out(LOGGED_MODELS, f"Model {model.model_id} of run {model.source_run_id} {why}")
            return
        made = known or self._create_model(model, place, run_id)
        self.ledger.rename(model.model_id, made.model_id)
        client = self.target.client
        if folder is not None:
            put = client.log_model_artifact
            places = {model.artifact_location: made.artifact_location}
            self._upload(folder, lambda file, inside: put(made.model_id, str(file), inside), places)
        client.finalize_logged_model(made.model_id, model.status)
        client.set_logged_model_tags(made.model_id, {IMPORTED_AT: _now()})
        self.ledger.count(LOGGED_MODELS, ADDED)

    def _create_model(self, model: LoggedModel, place: str, run_id: str | None) -> LoggedModel:
        tags = self.ledger.translate_tags({key: value for key, value in model.tags.items() if key != VERSIONS_TAG})
        return self.target.client.create_logged_model(
            place,
            name=model.name,
            source_run_id=run_id,
            tags={**tags, IMPORTED_FROM: model.model_id},
            params=dict(model.params),
            model_type=model.model_type,
        )

    def _link_outputs(self, run: Run, known: Run | None, new: str) -> None:
        from mlflow.entities import LoggedModelOutput

        there = {output.model_id for output in known.outputs.model_outputs} if known and known.outputs else set()
        outputs = run.outputs.model_outputs if run.outputs else []
        named = [(self.ledger.new_id(output.model_id), output.step) for output in outputs]
        links = [LoggedModelOutput(model, step) for model, step in named if model and model not in there]
        if links:
            self.target.client.log_outputs(new, links)

    def _upload(
        self, folder: Path, put: Callable[[Path, str | None], None], places: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        for file, inside in files_below(folder):
            if file.name != "MLmodel":
                put(file, inside)
            else:
                with tempfile.TemporaryDirectory(dir=self.scratch) as own:
                    rewritten = Path(own, file.name)
                    text = file.read_text(encoding="utf-8")
                    for old, new in places.items():
                        text = text.replace(old, new)
                    rewritten.write_text(self.ledger.translate(text), encoding="utf-8")
                    put(rewritten, inside)
            self.ledger.count(FILES, ADDED)

    def _complete_experiment(self, experiment_id: str, place: str) -> None:
        """Add what could not be named in the first round, or was added to the original since; compare the rest."""
        there = _by_origin(self.target.runs(place, _MARKED))
        models = _by_origin(self.target.logged_models(place))
        for run in self.source.runs(experiment_id):
            found = there.get(run.info.run_id)
            if found is None or found.info.lifecycle_stage == "deleted":
                continue
            self._complete_run(run, found)
            if run.info.lifecycle_stage == "deleted":
                self.target.client.delete_run(found.info.run_id)
        for model in self.source.logged_models(experiment_id):
            if model.model_id in models:
                self._complete_metrics(model, models[model.model_id])

    def _complete_run(self, run: Run, found: Run) -> None:
        from mlflow.entities import LoggedModelInput, Param, RunTag

        new, client = found.info.run_id, self.target.client
        tags, params = self.ledger.translate_tags(run.data.tags), run.data.params
        missing_tags = [RunTag(key, value) for key, value in tags.items() if key not in found.data.tags]
        missing_params = [Param(key, value) for key, value in params.items() if key not in found.data.params]
        for part in _parts([*missing_tags], _MOST_PARAMS):
            client.log_batch(new, tags=part)
        for part in _parts(missing_params, _MOST_PARAMS):
            client.log_batch(new, params=part)
        for key in run.data.metrics.keys() - found.data.metrics.keys():
            self._log_points(new, self.source.client.get_metric_history(run.info.run_id, key))
        inputs = _model_inputs(self.source, run.info.run_id)
        if inputs:
            there = _model_inputs(self.target, new)
            named = [self.ledger.new_id(model_id) for model_id in inputs]
            client.log_inputs(new, models=[LoggedModelInput(model) for model in named if model and model not in there])
        different = [key for key, value in tags.items() if found.data.tags.get(key, value) != value]
        different += [key for key, value in params.items() if found.data.params.get(key, value) != value]
        if different:
            self.ledger.count(RUNS, DIFFERENT)
            self.ledger.note(f"Run {new} has another {', '.join(sorted(different)[:5])} in the stack, which stays")

    def _complete_metrics(self, model: LoggedModel, found: LoggedModel) -> None:
        """Metrics that are a model's as well as a run's; the run need not be the one that made the model."""
        from mlflow.entities import Metric

        there = {(point.key, point.timestamp, point.step, point.run_id) for point in found.metrics or ()}
        for point in model.metrics or ():
            run_id = self.ledger.new_id(point.run_id)
            if run_id and (point.key, point.timestamp, point.step, run_id) not in there:
                of = {"dataset_name": point.dataset_name, "dataset_digest": point.dataset_digest}
                again = Metric(point.key, point.value, point.timestamp, point.step, model_id=found.model_id, **of)
                self.target.client.log_batch(run_id, metrics=[again])


def _by_origin(items: Iterable[Any]) -> dict[str, Any]:
    """Runs or logged models of the stack by the id that they had where they were imported from."""
    found = {}
    for item in items:
        tags = item.data.tags if hasattr(item, "data") else item.tags
        if origin := tags.get(IMPORTED_FROM):
            found[origin] = item
    return found


def _model_inputs(store: Store, run_id: str) -> list[str]:
    """The logged models that a run has used; a search for runs does not tell them (3.17)."""
    inputs = store.client.get_run(run_id).inputs
    return [item.model_id for item in inputs.model_inputs] if inputs else []


def _generations(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Parents before their children, who name them."""
    waiting = {run.info.run_id: run for run in runs}
    while waiting:
        ready = [run for run in waiting.values() if run.data.tags.get("mlflow.parentRunId") not in waiting]
        # Runs that are one another's parents cannot be put in order; they are taken as they come.
        ready = ready or list(waiting.values())
        yield ready
        for run in ready:
            del waiting[run.info.run_id]


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
