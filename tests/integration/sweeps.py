"""Sweeps in a store as training leaves them, with real logged models that cost no Spark."""

from __future__ import annotations

import math
import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param

from taxiway.settings import Settings
from taxiway.store import connect, experiment_id

PARAMETER = "regParam"
OWNER = {"taxiway.host": socket.gethostname(), "taxiway.pid": str(os.getpid())}


@dataclass(frozen=True)
class MadeSweep:
    """A sweep that a test has written, as training would."""

    parent: str
    runs: tuple[str, ...]
    best: str


def make_sweep(
    settings: Settings,
    recipe: str,
    scores: Mapping[str, float | None],
    *,
    status: str = "FINISHED",
    with_model: bool = True,
    direction: str = "max",
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    searched: Sequence[str] = (PARAMETER,),
) -> MadeSweep:
    """Write a sweep: one candidate for each value of the hyper-parameter, with its score."""
    client = connect(settings)
    experiment = experiment_id(client, settings, recipe)
    shared = {
        "taxiway.recipe": recipe,
        "taxiway.metric": "holdout_roc_auc",
        "taxiway.direction": direction,
        "taxiway.hyperparameters": ",".join(searched),
        **OWNER,
        **(tags or {}),
    }
    run_params = {"estimator": "logistic_regression", "holdout": "yellow:2018-10", **(params or {})}
    run = client.create_run(experiment, tags={**shared, "taxiway.kind": "sweep"}, run_name=f"{recipe} sweep")
    parent = run.info.run_id
    client.log_param(parent, "holdout", run_params["holdout"])
    child_tags = {**shared, "taxiway.kind": "candidate", "mlflow.parentRunId": parent}
    runs = {}
    for value, score in scores.items():
        run = client.create_run(experiment, tags=child_tags, run_name=f"{PARAMETER}={value}")
        runs[run.info.run_id] = score
        metrics = {} if score is None else {"holdout_roc_auc": score, "train_roc_auc": score + 0.01}
        log_batch(client, run.info.run_id, {**run_params, PARAMETER: value}, metrics)
        if with_model:
            log_model(client, experiment, run.info.run_id)
        client.set_terminated(run.info.run_id, status)
    scored = {run_id: score for run_id, score in runs.items() if score is not None and not math.isnan(score)}
    best = (max if direction == "max" else min)(scored, key=lambda run_id: scored[run_id], default="")
    if best and status == "FINISHED":
        client.set_tag(parent, "taxiway.best_run_id", best)
    client.set_terminated(parent, status)
    return MadeSweep(parent, tuple(runs), best)


def log_batch(client: MlflowClient, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
        params=[Param(name, value) for name, value in params.items()],
    )


def log_model(client: MlflowClient, experiment: str, run_id: str) -> str:
    """Log a tiny model under a run, with the calls by which training logs a large one."""
    logged = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {logged.model_id}\nrun_id: {run_id}\n")
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)
