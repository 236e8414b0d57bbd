"""What one training records in MLflow: a parent run, and a run for each candidate."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway import __version__, run_tags
from taxiway.evaluation import HOLDOUT, TRAIN
from taxiway.leakage import FeatureAudit
from taxiway.open_runs import open_run
from taxiway.parallel import side_by_side
from taxiway.pipeline import assemble
from taxiway.plots import draw_evaluation, draw_weights
from taxiway.preparation import Split, Table
from taxiway.progress import Progress
from taxiway.reach import Watch
from taxiway.recipes import CompiledRecipe
from taxiway.recipes.document import write_document
from taxiway.scratch import private_folder
from taxiway.search import Candidate, Search
from taxiway.settings import Settings
from taxiway.sharing import S3_SCHEMES, copying_on_this_machine, savable
from taxiway.trips.months import describe_months

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from pyspark.ml import PipelineModel

    from taxiway.trips.source import MonthFiles

MODEL = "model"
_WRITERS = 3

# Canonical type -> MLflow's. Whole numbers are `long`, which takes int32 and int64 alike.
_MLFLOW_TYPES = {"int": "long", "double": "double", "string": "string", "timestamp_ntz": "datetime"}


@dataclass(frozen=True)
class Sweep:
    """The open parent run of one training.

    Parameters
    ----------
    client : MlflowClient
    settings : Settings
    compiled : CompiledRecipe
    experiment_id, run_id : str
    shared_params : mapping of str to str
        What every candidate was trained with.
    shared_tags : mapping of str to str
    datasets : sequence
        MLflow dataset inputs.
    shared_metrics : mapping of str to float
        What could not be read of the trips that every candidate was trained on.
    """

    client: MlflowClient
    settings: Settings
    compiled: CompiledRecipe
    experiment_id: str
    run_id: str
    shared_params: Mapping[str, str]
    shared_tags: Mapping[str, str]
    datasets: Sequence[Any]
    shared_metrics: Mapping[str, float]

    @classmethod
    @contextmanager
    def open(
        cls,
        client: MlflowClient,
        settings: Settings,
        compiled: CompiledRecipe,
        split: Split,
        files: Sequence[MonthFiles],
        table: Table,
        search: Search,
        seed: int,
    ) -> Iterator[Sweep]:
        """Open the parent run of a training; it ends FINISHED, FAILED or KILLED, never RUNNING."""
        from taxiway.store import close_abandoned_runs, experiment_id

        recipe, rows = compiled.recipe, table.rows
        experiment = experiment_id(client, settings, recipe.name)
        close_abandoned_runs(client, experiment)
        params = {
            "train": describe_months(split.train),
            "holdout": describe_months(split.holdout),
            "train_rows": str(rows[TRAIN]),
            "holdout_rows": str(rows[HOLDOUT]),
            "seed": str(seed),
        }
        tags = {
            run_tags.RECIPE: recipe.name,
            run_tags.METRIC: f"{HOLDOUT}_{recipe.chosen_metric}",
            run_tags.DIRECTION: "max" if recipe.higher_is_better else "min",
            run_tags.HYPERPARAMETERS: ",".join(search.searched),
            **_identity_tags(compiled),
        }
        if any(item.synthetic for item in files):
            tags[run_tags.SYNTHETIC] = "true"
        datasets = [
            _dataset_input(part, months, files, rows[part])
            for part, months in ((TRAIN, split.train), (HOLDOUT, split.holdout))
        ]
        parent_tags = {**tags, run_tags.KIND: "sweep", "mlflow.note.content": recipe.description}
        name = f"{recipe.name} sweep {time.strftime('%Y-%m-%d %H:%M')}"
        with open_run(client, experiment, tags=parent_tags, run_name=name) as run_id:
            client.log_inputs(run_id, datasets)
            unreadable = _unreadable_metrics(table.unreadable)
            _log(client, run_id, params, unreadable)
            yield cls(client, settings, compiled, experiment, run_id, params, tags, datasets, unreadable)

    def record(
        self,
        prepared: PipelineModel,
        slots: Sequence[tuple[str, str]],
        candidates: Sequence[Candidate],
        example: Sequence[Mapping[str, Any]],
        progress: Progress,
    ) -> list[str]:
        """Record every candidate as a child run with its model, best first.

        Returns
        -------
        list of str
            Run ids in the order of the candidates.
        """
        task = "Recording runs"
        progress.begin(task, len(candidates))
        tags = {**self.shared_tags, run_tags.KIND: "candidate", "mlflow.parentRunId": self.run_id}
        sample = _InputExample.of(self.compiled, example)

        def record_one(candidate: Candidate) -> str:
            run_id = self._record_candidate(candidate, tags, prepared, slots, sample, watch)
            progress.advance(task)
            return run_id

        with Watch(self.client.tracking_uri) as watch, copying_on_this_machine():
            # One candidate's pictures are drawn while other ones' models are written by the JVM.
            run_ids = side_by_side(record_one, candidates, _WRITERS, insist=watch.insist)
        progress.end(task)
        return run_ids

    def conclude(self, run_ids: Sequence[str], best: Candidate, leakage: Sequence[FeatureAudit]) -> None:
        """Say on the parent run which candidate is best, and what the audit found on all of them.

        Parameters
        ----------
        run_ids : sequence of str
            Of the candidates, the best one's first.
        best : Candidate
        leakage : sequence of FeatureAudit
        """
        from taxiway.comparison import compare, log_comparison

        _log(self.client, self.run_id, {}, best.metrics)
        self.client.set_tag(self.run_id, run_tags.BEST_RUN_ID, run_ids[0])
        if flagged := ",".join(item.feature for item in leakage if item.flagged):
            for run_id in (self.run_id, *run_ids):
                self.client.set_tag(run_id, run_tags.LEAKAGE, flagged)
        document = json.dumps([asdict(item) for item in leakage], indent=2)
        for run_id in (self.run_id, run_ids[0]):
            self.client.log_text(run_id, document, "leakage.json")
        log_comparison(self.client, compare(self.compiled.recipe.name, self.settings, run=self.run_id))

    def _record_candidate(
        self,
        candidate: Candidate,
        tags: Mapping[str, str],
        prepared: PipelineModel,
        slots: Sequence[tuple[str, str]],
        example: _InputExample,
        watch: Watch,
    ) -> str:
        # Before what MLflow would begin to wait for: drawing and saving take seconds, in which it may have gone.
        watch.await_server()
        name = _run_name(candidate, self.shared_tags[run_tags.HYPERPARAMETERS])
        begun = int(candidate.started * 1000)
        with open_run(self.client, self.experiment_id, tags=dict(tags), run_name=name, start_time=begun) as run_id:
            params = {**self.shared_params, **{name: str(value) for name, value in candidate.named_params.items()}}
            metrics = {**candidate.metrics, **self.shared_metrics, "fit_seconds": candidate.seconds}
            _log(self.client, run_id, params, metrics)
            self.client.log_inputs(run_id, self.datasets)
            with private_folder(self.settings) as folder:
                _write_pictures(folder / "artifacts", self.compiled, candidate, slots)
                watch.await_server()
                self.client.log_artifacts(run_id, str(folder / "artifacts"))
                self._log_model(folder, run_id, assemble([*prepared.stages, candidate.model]), params, example, watch)
        return run_id

    def _log_model(
        self,
        folder: Path,
        run_id: str,
        model: PipelineModel,
        params: Mapping[str, str],
        example: _InputExample,
        watch: Watch,
    ) -> None:
        """Save the model here, then hand it over file by file.

        `mlflow.spark.log_model` would load it twice more to validate the example, and with a
        proxied store first try to make Spark write to ``mlflow-artifacts:`` itself, with a Java
        stack trace (seen in MLflow 3.17).
        """
        import mlflow.spark
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        logged = self.client.create_logged_model(
            self.experiment_id, name=MODEL, source_run_id=run_id, params=dict(params), model_type="spark"
        )
        mlflow.spark.save_model(
            savable(model, self.settings),
            str(folder / MODEL),
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=run_id,
                model_id=logged.model_id,
            ),
            # Its default, /tmp/mlflow, is shared by all users of the machine.
            dfs_tmpdir=str(folder / "spark"),
            signature=example.signature,
            input_example=example.rows,
            # Named, since inferring them starts a second Spark session for half a minute.
            pip_requirements=_requirements(),
        )
        watch.await_server()
        self.client.log_model_artifacts(logged.model_id, str(folder / MODEL))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])


@dataclass(frozen=True)
class _InputExample:
    """The model's signature and a few raw rows to show it."""

    signature: ModelSignature
    rows: Any

    @classmethod
    def of(cls, compiled: CompiledRecipe, rows: Sequence[Mapping[str, Any]]) -> _InputExample:
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema, TensorSpec

        # Nothing is required: a trip that lacks a value is answered all the same.
        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(_MLFLOW_TYPES[kind], name=name, required=False) for name, kind in compiled.columns.items()
        ]
        signature = ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", name="prediction")]))
        return cls(signature, pd.DataFrame(list(rows), columns=list(compiled.columns)) if rows else None)


def _unreadable_metrics(unreadable: Mapping[str, int]) -> dict[str, float]:
    """How many values could not be read, in all and of each column that has some."""
    by_column = {f"unreadable_{column}": float(count) for column, count in unreadable.items()}
    return {"unreadable_values": sum(by_column.values()), **by_column}


def _run_name(candidate: Candidate, searched: str) -> str:
    values = [f"{name}={_short(candidate.params[name])}" for name in searched.split(",") if name in candidate.params]
    return " ".join([candidate.estimator, *values])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_pictures(
    folder: Path,
    compiled: CompiledRecipe,
    candidate: Candidate,
    slots: Sequence[tuple[str, str]],
) -> None:
    folder.mkdir(parents=True)
    draw_evaluation(compiled.recipe, candidate.parts).savefig(folder / "evaluation.png")
    weights = weights_of(candidate.model, [slot for _, slot in slots])
    title = "Coefficients" if hasattr(candidate.model, "coefficients") else "Importances"
    draw_weights(f"{title}, {candidate.estimator}", weights).savefig(folder / "weights.png")
    document = {"weights": [{"name": name, "value": value} for name, value in weights]}
    (folder / "weights.json").write_text(json.dumps(document, indent=2))
    (folder / "recipe.json").write_text(json.dumps(write_document(compiled), indent=2, default=str))


def weights_of(model: Any, slots: Sequence[str]) -> list[tuple[str, float]]:
    """A fitted stage's coefficients or feature importances, by the name of the slot."""
    values = model.coefficients if hasattr(model, "coefficients") else model.featureImportances
    return [(name, float(value)) for name, value in zip(slots, values.toArray(), strict=True)]


def _identity_tags(compiled: CompiledRecipe) -> dict[str, str]:
    import mlflow
    import pyspark

    document = json.dumps(write_document(compiled), sort_keys=True, default=str)
    tags = {
        run_tags.VERSION: __version__,
        run_tags.RECIPE_DIGEST: hashlib.sha256(document.encode()).hexdigest()[:16],
        run_tags.SPARK_VERSION: pyspark.__version__,
        run_tags.MLFLOW_VERSION: mlflow.__version__,
        run_tags.PYTHON_VERSION: platform.python_version(),
        run_tags.HOST: socket.gethostname(),
        run_tags.PID: str(os.getpid()),
        "mlflow.source.name": "taxiway",
        "mlflow.source.type": "LOCAL",
    }
    if commit := _git_commit():
        tags["mlflow.source.git.commit"] = commit
    return tags


def _git_commit() -> str:
    """The commit of the user's working directory, where it is one."""
    git = shutil.which("git")
    if git is None:
        return ""
    answer = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _requirements() -> list[str]:
    import mlflow
    import pyspark

    return [f"mlflow=={mlflow.__version__}", f"pyspark=={pyspark.__version__}"]


def _dataset_input(part: str, months: Sequence[Any], files: Sequence[MonthFiles], rows: int) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    used = [item for item in files if item.month in months]
    digest = hashlib.sha256("".join(f"{item.month}{item.digest}" for item in used).encode()).hexdigest()[:32]
    source = {"uri": used[0].source, "months": describe_months(months)}
    profile = {"usable_rows": rows, "files": sum(len(item.paths) for item in used), "bytes": sum(i.size for i in used)}
    return DatasetInput(
        dataset=Dataset(
            name=describe_months(months)[:500],
            digest=digest,
            source_type=_source_type(used[0].source),
            source=json.dumps(source),
            profile=json.dumps(profile),
        ),
        tags=[InputTag("mlflow.data.context", "training" if part == TRAIN else "evaluation")],
    )


def _source_type(source: str) -> str:
    """MLflow's word for where trips come from."""
    scheme = source.partition("://")[0]
    return "s3" if scheme in S3_SCHEMES else "http" if scheme in ("http", "https") else "local"


def _log(client: MlflowClient, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
        params=[Param(name, value) for name, value in params.items()],
    )
